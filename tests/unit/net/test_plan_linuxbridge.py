"""What a host that runs `linuxbridge` consists of, as rows; and what the mechanism binds."""

from __future__ import annotations

import msgspec
import pytest
from plancloud import PEERS, SETTINGS, far_port, group, intent, port, rule, subnet, uid, vlan_network, vxlan_network

from deuteron.agent.statuses import port_reports
from deuteron.model.intent import (
    DeviceKind,
    HostIntent,
    HostSettings,
    IntentNetwork,
    IntentObject,
    Plug,
    ServerPort,
    TunnelPeer,
)
from deuteron.net.bridge_rows import FDB_TABLE, GUARD_TABLE, NOBODY_KNOWN, FdbEntry, FrameGuard
from deuteron.net.connections import Connection, forbidden
from deuteron.net.host import UnfitTable, simulated_drivers, table_names, tables_of
from deuteron.net.mechanisms import Binding, HostFacts, PortToBind, Refusal, Segment
from deuteron.net.mechanisms.linuxbridge.binding import linuxbridge
from deuteron.net.mechanisms.linuxbridge.host import linuxbridge as on_host
from deuteron.net.mechanisms.openvswitch.host import openvswitch
from deuteron.net.plan import names, plan, planner
from deuteron.net.plan.linuxbridge import plan_linuxbridge
from deuteron.net.reconcile import Outcome, Reconciler
from deuteron.net.rows import HOST, Address, HostPlan, Link, TrackedZone

BRIDGES = msgspec.structs.replace(
    SETTINGS,
    mechanism_drivers=("linuxbridge",),
    bridge_ports={**SETTINGS.bridge_ports, "br-eth1": "eth1"},
    bridge_addresses={"br-eth1": "10.0.0.1/24"},
)
WITHOUT_VLANS = msgspec.structs.replace(BRIDGES, device_kinds=("vxlan",))
VLAN = vlan_network("n1", 1, 1000)
VXLAN = vxlan_network("x1", 5, 13)
FLAT = vlan_network("ext", 3, 0, network_type="flat", physical_network="public", segmentation_id=None)
RULES = group("g", rule("r", protocol=6, port_range_min=22, port_range_max=22), rule("m", remote_group_id=uid("g")))


def wired(word: str, number: int, network: IntentNetwork, *addresses: str, **more: object) -> IntentObject:
    return port(word, number, network, *addresses, mechanism="linuxbridge", **more)


def host(*objects: IntentObject, settings: HostSettings = BRIDGES, peers: tuple[TunnelPeer, ...] = PEERS) -> HostPlan:
    return plan(intent(*objects, peers=peers), settings, [plan_linuxbridge])


def links(plan: HostPlan) -> dict[str, Link]:
    return {link.name: link for link in plan.links if link.namespace == HOST}


def chain(plan: HostPlan, name: str, table: str = "filter", family: int = 4) -> tuple[str, ...]:
    (found,) = (row for row in plan.iptables if (row.table, row.family) == (table, family))
    return next(each.rules for each in found.chains if each.name == name)


A = wired("a", 16, VLAN, "10.10.10.2")


def test_a_vlan_is_a_bridge_with_a_device_of_its_tag_and_a_tap_for_each_port() -> None:
    made = host(VLAN, A, RULES)
    found = links(made)
    brq, tap = names.brq_name(VLAN.id), names.tap_name(A.id)
    assert found[brq] == Link(HOST, brq, "bridge", mtu_bytes=1500, learns=True)
    assert found["eth2.1000"] == Link(
        HOST, "eth2.1000", "vlan", mtu_bytes=1500, master=brq, vlan_id=1000, parent="eth2"
    )
    assert (found[tap].kind, found[tap].master, found[tap].mac) == ("tap", brq, "fe:16:3e:00:00:10")
    assert found["eth2"].kind == found["eth1"].kind == "existing"
    assert made.addresses == (Address(HOST, "eth1", "10.0.0.1/24"),)
    assert (made.bridges, made.ovs_ports, made.flows) == ((), (), ())
    settings = {row.name: row.value for row in made.sysctls}
    for device in (brq, tap, "eth2/1000"):
        assert settings[f"net.ipv6.conf.{device}.disable_ipv6"] == "1", "the host has no part in it"


def test_a_flat_network_s_bridge_takes_the_interface() -> None:
    assert links(host(FLAT, wired("a", 16, FLAT, "10.10.10.2")))["eth3"].master == names.brq_name(FLAT.id)


def test_without_vlan_devices_the_switch_puts_the_tags_on() -> None:
    made = host(VLAN, FLAT, A, settings=WITHOUT_VLANS)
    found = links(made)
    for network, device, bridge, tag in ((VLAN, "eth2.1000", "br-eth2", 1000), (FLAT, "eth3.0", "br-ex", 0)):
        outer = names.switched_name(network.id)
        assert (found[device].kind, found[device].peer, found[device].master) == (
            "veth", outer, names.brq_name(network.id)
        )  # fmt: skip
        (on_switch,) = (row for row in made.ovs_ports if row.name == outer)
        assert (on_switch.bridge, on_switch.tag) == (bridge, tag), "untagged frames are those of VLAN 0"
    assert {row.name for row in made.bridges} == {"br-eth2", "br-ex"}
    assert {flow.actions for flow in made.flows} == {"NORMAL"}
    assert not [link for link in made.links if link.kind == "vlan"]


def test_a_vxlan_device_knows_the_peers_that_have_ports_and_their_macs() -> None:
    far = far_port("f", 99, VXLAN, "10.10.10.9", tunnel_ip="10.0.0.2")
    stranger = far_port("s", 98, VXLAN, "10.10.10.8", tunnel_ip="10.0.0.77")
    made = host(VXLAN, wired("a", 16, VXLAN, "10.10.10.2"), far, stranger)
    assert links(made)["vxlan-13"] == Link(
        HOST, "vxlan-13", "vxlan", mtu_bytes=1450, master=names.brq_name(VXLAN.id), vni=13, local_ip="10.0.0.1"
    )
    assert set(made.own[FDB_TABLE]) == {
        FdbEntry("vxlan-13", NOBODY_KNOWN, "10.0.0.2"),
        FdbEntry("vxlan-13", far.mac_address, "10.0.0.2"),
    }, "of a host that is no peer nothing is known"


def test_a_local_network_leads_nowhere() -> None:
    local = vlan_network("l", 4, 0, network_type="local", physical_network=None, segmentation_id=None)
    made = host(local, wired("a", 16, local, "10.10.10.2"))
    assert set(links(made)) - {"eth1", "eth2", "eth3"} == {names.brq_name(local.id), names.tap_name(uid("a"))}


def test_a_port_that_is_down_carries_nothing_and_has_no_rules() -> None:
    made = host(VLAN, wired("a", 16, VLAN, "10.10.10.2", admin_state_up=False), RULES)
    assert not links(made)[names.tap_name(A.id)].up
    assert chain(made, "neutron-linuxbri-FORWARD") == ()


def test_the_chains_are_neutron_s_under_this_agent_s_name() -> None:
    made = host(VLAN, A, RULES)
    i, o, s = (f"neutron-linuxbri-{letter}{A.id[:10]}" for letter in "ios")
    assert f"-j {s}" in chain(made, o)
    assert "-p tcp -m tcp --dport 22 -j RETURN" in chain(made, i)
    assert any(line.startswith(f"-m set --match-set NIPv4{uid('g')[:24]}") for line in chain(made, i))
    tap = names.tap_name(A.id)
    assert [line.split(" -m comment")[0] for line in chain(made, "neutron-linuxbri-sg-chain")] == [
        f"-m physdev --physdev-in {tap} --physdev-is-bridged",
        f"-m physdev --physdev-out {tap} --physdev-is-bridged",
        "-j ACCEPT",
    ]
    assert [row.name for row in made.ipsets] == [names.ipset_name(kind, uid("g")) for kind in ("IPv4",)]
    settings = {row.name: row.value for row in made.sysctls}
    assert settings["net.bridge.bridge-nf-call-iptables"] == settings["net.bridge.bridge-nf-call-ip6tables"] == "1"


def test_connections_of_a_network_are_in_one_zone_which_its_stateful_ports_judge() -> None:
    made = host(VLAN, A, wired("b", 17, VLAN, "10.10.10.3"), RULES)
    brq = names.brq_name(VLAN.id)
    comment = f'-m comment --comment "Set zone for {VLAN.id[4:]}"'
    assert chain(made, "neutron-linuxbri-PREROUTING", "raw") == (f"-i {brq} {comment} -j CT --zone 4098",)
    (zone,) = made.zones
    assert isinstance(zone, TrackedZone) and (zone.place, zone.zone) == ("kernel", 4098)
    assert {item.id for item in zone.ports} == {A.id, uid("b")}


def test_what_an_open_port_has_in_the_zone_of_its_network_is_allowed() -> None:
    made = host(VLAN, A, wired("b", 17, VLAN, "10.10.10.3", port_security_enabled=False), RULES)
    (zone,) = made.zones
    its_own = [
        Connection(zone.zone, 6, "10.10.10.3", "10.10.10.99", 40000, 80),
        Connection(zone.zone, 6, "10.10.10.99", "10.10.10.3", 40000, 23),
    ]
    to_a = Connection(zone.zone, 6, "10.10.10.3", "10.10.10.2", 40000, 23)
    assert forbidden(zone, [*its_own, to_a]) == [to_a]


def test_what_is_to_and_from_a_stateless_port_is_not_tracked_but_for_a_stateful_one() -> None:
    loose = wired("b", 17, VLAN, "10.10.10.3", groups=("h",))
    made = host(VLAN, A, loose, RULES, group("h", stateful=False))
    brq = names.brq_name(VLAN.id)
    matches = [line.split(" -m comment")[0] for line in chain(made, "neutron-linuxbri-PREROUTING", "raw")]
    targets = [line.rpartition("-j ")[2] for line in chain(made, "neutron-linuxbri-PREROUTING", "raw")]
    assert list(zip(matches, targets, strict=True)) == [
        (f"-m physdev --physdev-in {names.tap_name(A.id)}", "CT --zone 4098"),
        (f"-d 10.10.10.2/32 -i {brq}", "CT --zone 4098"),
        (f"-m physdev --physdev-in {names.tap_name(loose.id)}", "CT --notrack"),
        (f"-d 10.10.10.3/32 -i {brq}", "CT --notrack"),
        (f"-i {brq}", "CT --zone 4098"),
    ]
    assert not [line for line in chain(made, f"neutron-linuxbri-i{loose.id[:10]}") if "ESTABLISHED" in line]


def test_guards_know_what_iptables_does_not_see() -> None:
    dual = vlan_network("n1", 1, 1000, subnets=(subnet("s4"), subnet("s6", "fd00:10::/64", None)))
    made = host(
        dual, wired("a", 16, dual, "10.10.10.2", "fd00:10::2"), wired("b", 17, dual, port_security_enabled=False)
    )
    tap, open_tap = names.tap_name(uid("a")), names.tap_name(uid("b"))
    own = ("10.10.10.2/32", "fd00:10::2/128", "fe80::f816:3eff:fe00:10/128")
    assert made.own[GUARD_TABLE] == (
        FrameGuard("eth2.1000"),
        FrameGuard(tap, ("fa:16:3e:00:00:10",), own),
        FrameGuard(open_tap),
    )


@pytest.mark.parametrize("settings", [BRIDGES, WITHOUT_VLANS], ids=["vlan devices", "switch"])
def test_a_host_is_made_and_unmade_in_one_pass_each_and_planned_in_parts_the_same(settings: HostSettings) -> None:
    far = far_port("f", 99, VXLAN, "10.10.10.9", tunnel_ip="10.0.0.2")
    objects = (
        VLAN,
        VXLAN,
        FLAT,
        A,
        wired("b", 17, VXLAN, "10.10.10.2"),
        wired("c", 18, FLAT, "10.10.10.5"),
        far,
        RULES,
    )
    mechanisms = (on_host(),)
    drivers = simulated_drivers(settings.bridge_ports.values(), mechanisms)
    reconciler = Reconciler(tables_of(dict(drivers), mechanisms).values())
    made = host(*objects, settings=settings)
    outcome = reconciler.run(made, full=True)
    assert outcome.is_complete and outcome.pending == ()
    assert drivers[FDB_TABLE].rows and drivers[GUARD_TABLE].rows
    assert bool(drivers["port"].rows) is (settings == WITHOUT_VLANS)
    planned_in_parts = planner([plan_linuxbridge])
    planned_in_parts.plan(HostIntent(), settings)
    parted = planned_in_parts.plan(intent(*objects, peers=PEERS), settings)
    assert {row.key for row in parted.links} == {row.key for row in made.links}
    assert reconciler.run(HostPlan(), full=False).is_complete
    assert {name for name in table_names(mechanisms) if drivers[name].rows} <= {"setting", "interface", "address"}


def test_a_port_is_at_fault_with_its_bridge_its_way_out_and_its_rules() -> None:
    made = host(VLAN, A, RULES)
    given = intent(VLAN, A, RULES)

    def status(**concerned: str) -> str:
        outcome = Outcome(True, (), concerned, (), {}, None)
        return port_reports(given, made, outcome, ("linuxbridge",))[A.id].status

    assert status() == "ACTIVE"
    for concern in (f"port:{VLAN.id[:11]}", f"port:{A.id[:11]}", "hybrid"):
        assert status(**{concern: "why"}) == "ERROR", concern
    drivers = simulated_drivers(("eth1", "eth2", "eth3"), (on_host(),))
    drivers["device"].refuse = lambda key: "no such kind" if key == (HOST, "eth2.1000") else None
    drivers["iptables"].refuse = lambda key: "no"
    outcome = Reconciler(tables_of(dict(drivers), (on_host(),)).values()).run(made, full=True)
    assert outcome.concerned[f"port:{VLAN.id[:11]}"] == "no such kind"
    assert (HOST, names.tap_name(A.id)) not in drivers["device"].rows, "no tap before its rules"


def test_a_guest_is_plugged_into_the_agent_s_tap() -> None:
    card = ServerPort(port_id=A.id, network_id=VLAN.id, mac_address=A.mac_address, mtu_bytes=1500)
    assert on_host().plug(card, BRIDGES) == Plug(names.tap_name(A.id))


def test_a_host_does_not_run_it_beside_openvswitch() -> None:
    with pytest.raises(UnfitTable, match='cannot use table "bridge"'):
        table_names((openvswitch(), on_host()))


def test_names_of_vlan_devices_fit() -> None:
    assert names.vlan_device("eth2", 4094) == "eth2.4094"
    long = names.vlan_device("enp175s0f1np", 4094)
    assert len(long) == 15 and long.startswith("enp1") and long.endswith(".4094")


FACTS = HostFacts(
    host="c2",
    bridge_mappings={"physnet1": "br-eth2"},
    interface_mappings={"physnet1": "eth2"},
    tunnel_ip="10.0.0.1",
    tunnel_types=("vxlan", "gre", "geneve"),
    mechanism_drivers=("linuxbridge",),
)
PORT = PortToBind(id=A.id)


@pytest.mark.parametrize(
    "segment",
    [Segment("vlan", "physnet1", 7), Segment("flat", "physnet1"), Segment("vxlan", None, 7), Segment("local")],
)
def test_a_port_is_bound_as_neutron_binds_it(segment: Segment) -> None:
    details = {"connectivity": "l2", "port_filter": True}
    assert linuxbridge().bind(PORT, segment, FACTS) == Binding("linuxbridge", "bridge", details, segment)


KERNEL: tuple[DeviceKind, ...] = ("vlan",)


@pytest.mark.parametrize(
    ("asked", "segment", "facts", "reason"),
    [
        (PORT, Segment("gre", None, 7), FACTS, '"gre" is not supported (supported: flat, local, vlan, vxlan)'),
        (PORT, Segment("geneve", None, 7), FACTS, 'network type "geneve" is not supported'),
        (PORT, Segment("vlan", "other", 7), FACTS, 'no interface for physical network "other" (mapped: "physnet1")'),
        (PORT, Segment("vxlan", None, 7), msgspec.structs.replace(FACTS, device_kinds=KERNEL), "makes no VXLAN"),
        (PORT, Segment("vxlan", None, 7), msgspec.structs.replace(FACTS, tunnel_ip=None), "needs a tunnel address"),
        (PORT, Segment("vxlan", None, 7), msgspec.structs.replace(FACTS, tunnel_types=()), "no vxlan tunnels"),
        (PORT, Segment("local"), msgspec.structs.replace(FACTS, is_alive=False), "does not answer"),
        (msgspec.structs.replace(PORT, vnic_type="direct"), Segment("local"), FACTS, 'vnic_type "direct"'),
        (msgspec.structs.replace(PORT, has_qos_policy=True), Segment("local"), FACTS, "has a QoS policy"),
    ],
)  # fmt: skip
def test_what_it_cannot_wire_is_refused_with_the_reason(
    asked: PortToBind, segment: Segment, facts: HostFacts, reason: str
) -> None:
    answer = linuxbridge().bind(asked, segment, facts)
    assert isinstance(answer, Refusal) and reason in answer.reason and answer.hint


def test_the_agent_says_what_neutron_s_says_and_who_puts_tags_on() -> None:
    assert linuxbridge().agent_configurations(FACTS, 3) == {
        "bridge_mappings": {},
        "devices": 3,
        "extensions": [],
        "interface_mappings": {"physnet1": "eth2"},
        "l2_population": True,
        "tunnel_types": ["vxlan"],
        "tunneling_ip": "10.0.0.1",
        "vlan_devices": "kernel",
    }
    poor = msgspec.structs.replace(FACTS, device_kinds=())
    told = linuxbridge().agent_configurations(poor, 0)
    assert (told["tunnel_types"], told["vlan_devices"]) == ([], "openvswitch")


def test_dhcp_hangs_on_the_bridge_of_its_network_as_a_pair_into_its_namespace() -> None:
    served = msgspec.structs.replace(VLAN, dhcp_port_id=uid("d"), subnets=(subnet("s1"),))
    dhcp = wired("d", 17, served, "10.10.10.3", device_owner="network:dhcp")
    made = host(served, dhcp)
    tap, inner, namespace = names.tap_name(uid("d")), names.ns_name(uid("d")), f"qdhcp-{served.id}"
    assert links(made)[tap] == Link(
        HOST, tap, "veth", mtu_bytes=1500, master=names.brq_name(served.id), peer=inner, peer_namespace=namespace
    )
    (there,) = (row for row in made.links if row.name == inner)
    assert (there.namespace, there.kind, there.mac, there.mtu_bytes) == (namespace, "existing", dhcp.mac_address, 1500)
    assert FrameGuard(tap) in made.own[GUARD_TABLE]
    (daemon,) = made.dnsmasqs
    assert f"--interface={inner}" in daemon.arguments
    assert {row.link for row in made.addresses if row.namespace == namespace} == {inner}
    assert (made.ovs_ports, made.flows) == ((), ())

    closed = host(served, msgspec.structs.replace(dhcp, admin_state_up=False))
    assert not links(closed)[tap].up

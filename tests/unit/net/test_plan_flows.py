"""The planned flows as a whole: canonical, declared, complete, deterministic."""

from __future__ import annotations

import gc
import random
import re
import time
from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plancloud import (
    PEERS,
    SETTINGS,
    Switch,
    dhcp_port,
    far_port,
    group,
    hybrid,
    intent,
    logs,
    mac,
    member,
    planned,
    port,
    router_port,
    rule,
    subnet,
    uid,
    vlan_network,
    vxlan_network,
    whole_cloud,
)

from deuteron.model.intent import (
    AddressPair,
    FirewallDriver,
    HostIntent,
    HostSettings,
    IntentNetwork,
    IntentRouter,
    IntentRule,
    TunnelPeer,
)
from deuteron.net.pipeline import LOCAL_IP, BridgeKind, describe, tables_of
from deuteron.net.plan import TooManyBridges, plan
from deuteron.net.rows import Flow, HostPlan

KIND_OF_BRIDGE: dict[str, BridgeKind] = {
    "br-int": "integration",
    "br-tun": "tunnel",
    "br-ex": "physical",
    "br-eth2": "physical",
    "tbr-kkkkkkkk-k": "trunk",
}


def with_firewall(driver: FirewallDriver) -> HostSettings:
    return msgspec.structs.replace(SETTINGS, firewall_driver=driver)


def find(plan_: HostPlan, bridge: str, table: int, text: str) -> list[Flow]:
    """The flows of a table whose text holds these words."""
    return [
        flow
        for flow in plan_.flows
        if (flow.bridge, flow.table) == (bridge, table) and text in f"{flow.match} actions={flow.actions}"
    ]


@pytest.mark.parametrize("driver", ["openvswitch", "iptables_hybrid"])
def test_the_switch_prints_every_flow_exactly_as_planned(switch: Switch, driver: FirewallDriver) -> None:
    plan_ = planned(*whole_cloud(), *logs(), settings=with_firewall(driver), peers=PEERS)
    switch.load(plan_)
    assert {"br-int", "br-tun", "br-eth2", "br-ex"} <= {bridge.name for bridge in plan_.bridges}
    for bridge in plan_.bridges:
        printed = {re.sub(r"^(cookie=0x0, )?(table=0, )?", "", line) for line in switch.dump(bridge.name)}
        wanted = {
            (f"table={flow.table}, " if flow.table else "")
            + f"priority={flow.priority}{',' if flow.match else ''}{flow.match} actions={flow.actions}"
            for flow in plan_.flows
            if flow.bridge == bridge.name
        }
        assert wanted and printed == wanted


@pytest.mark.parametrize("driver", ["openvswitch", "iptables_hybrid"])
def test_every_flow_lives_in_and_leads_to_a_declared_table(driver: FirewallDriver) -> None:
    flows = planned(*whole_cloud(), settings=with_firewall(driver), peers=PEERS).flows
    assert {flow.bridge for flow in flows} == {"br-int", "br-tun", "br-eth2", "br-ex", "tbr-kkkkkkkk-k"}
    for flow in flows:
        declared = {table.number for table in tables_of(KIND_OF_BRIDGE[flow.bridge])}
        targets = {
            int(number)
            for found in re.findall(r"goto_table:(\d+)|resubmit\(,(\d+)\)|table=(\d+)", flow.actions)
            for number in found
            if number
        }
        assert {flow.table} | targets <= declared


@given(st.randoms(use_true_random=False))
@settings(max_examples=20, deadline=None)
def test_the_order_in_which_objects_arrive_leaves_no_trace(chance: random.Random) -> None:
    objects = whole_cloud()
    expected = planned(*objects, peers=PEERS)
    chance.shuffle(objects)
    assert planned(*objects, peers=PEERS) == expected


@pytest.mark.parametrize("driver", ["openvswitch", "iptables_hybrid"])
def test_keys_are_unique_and_sorted_in_every_table(driver: FirewallDriver) -> None:
    plan_ = planned(*whole_cloud(), settings=with_firewall(driver), peers=PEERS)
    # `own` is what other mechanisms bring; see test_host_mechanisms.
    tables = {
        field.name: getattr(plan_, field.name) for field in msgspec.structs.fields(HostPlan) if field.name != "own"
    }
    # Every kind of row is there with one firewall or the other.
    lacking = {name for name, rows in tables.items() if not rows}
    assert lacking <= ({"ipsets"} if driver == "openvswitch" else set()), lacking
    for name, rows in tables.items():
        keys = [row.key for row in rows]
        assert keys == sorted(set(keys)), name


def test_ports_of_a_bridge_have_numbers_of_their_own() -> None:
    numbers = [(row.bridge, row.ofport_request) for row in planned(*whole_cloud(), peers=PEERS).ovs_ports]
    assert len(numbers) == len(set(numbers))


def test_seed_d_flows_of_a_vlan_network() -> None:
    plan_ = planned(vlan_network("n1", 1, 1000))
    (entering,) = find(plan_, "br-int", 0, "dl_vlan=1000")
    (leaving,) = find(plan_, "br-eth2", 0, "dl_vlan=1")
    assert (entering.priority, entering.match) == (3, "in_port=1,dl_vlan=1000")
    assert entering.actions == "set_field:4097->vlan_vid,goto_table:58"
    assert (leaving.priority, leaving.match) == (4, "in_port=2,dl_vlan=1")
    assert leaving.actions == "set_field:5096->vlan_vid,NORMAL"


def test_seed_e_flow_that_learns_from_tunnels() -> None:
    (learning,) = find(planned(vxlan_network()), "br-tun", 10, "learn")
    assert learning.actions == (
        "learn(table=20,hard_timeout=300,priority=1,NXM_OF_VLAN_TCI[0..11],NXM_OF_ETH_DST[]=NXM_OF_ETH_SRC[],"
        "load:0->NXM_OF_VLAN_TCI[],load:NXM_NX_TUN_ID[]->NXM_NX_TUN_ID[],output:OXM_OF_IN_PORT[]),output:1"
    )


def test_only_hosts_where_the_network_lives_are_flooded() -> None:
    network = vxlan_network("x1", 5, 13)
    peers = (TunnelPeer("c2", "10.0.0.2"), TunnelPeer("c3", "10.0.0.3"))
    far = far_port("f", 99, network, "10.10.10.9", tunnel_ip="10.0.0.2")
    plan_ = planned(network, far, peers=peers)
    number = {row.name: row.ofport_request for row in plan_.ovs_ports}
    (flood,) = find(plan_, "br-tun", 22, "dl_vlan=5")
    (unicast,) = find(plan_, "br-tun", 20, "dl_dst=")
    assert flood.actions == f"pop_vlan,set_field:0xd->tun_id,output:{number['vxlan-0a000002']}"
    assert (unicast.match, unicast.actions) == (f"dl_vlan=5,dl_dst={mac(99)}", flood.actions)


def test_a_host_that_joins_moves_no_other_hosts_tunnel() -> None:
    def numbers(*addresses: str) -> dict[str, int]:
        peers = tuple(TunnelPeer(address, address) for address in addresses)
        return {row.name: row.ofport_request for row in planned(peers=peers).ovs_ports if row.type == "vxlan"}

    before, after = numbers("10.0.0.9"), numbers("10.0.0.2", "10.0.0.9")
    assert before["vxlan-0a000009"] == after["vxlan-0a000009"]


def test_a_host_without_tunnel_types_has_no_br_tun() -> None:
    plan_ = planned(settings=msgspec.structs.replace(SETTINGS, tunnel_types=()))
    assert [bridge.name for bridge in plan_.bridges] == ["br-eth2", "br-ex", "br-int"]
    assert not [row for row in plan_.ovs_ports if row.name == "patch-tun"]


def test_a_local_network_has_no_flow_on_any_physical_bridge() -> None:
    network = vlan_network(network_type="local", physical_network=None, segmentation_id=None)
    flows, without = (
        [flow for flow in plan_.flows if flow.bridge != "br-int"] for plan_ in (planned(network), planned())
    )
    assert flows == without


@pytest.mark.parametrize("host", [SETTINGS, hybrid()], ids=["openvswitch", "iptables_hybrid"])
@pytest.mark.parametrize("kind", [vlan_network, vxlan_network])
def test_a_network_that_is_down_loses_its_dhcp_and_nothing_else(
    kind: Callable[..., IntentNetwork], host: HostSettings
) -> None:
    def cloud(**change: object) -> HostPlan:
        network = kind(routed_by=uid("r"), **change)
        far = far_port("f", 99, network, "10.10.10.9", tunnel_ip="10.0.0.2")
        qr = port("e", 20, network, "10.10.10.1", groups=(), device_owner="network:router_interface")
        router = IntentRouter(uid("r"), uid("p"), interfaces=(router_port(qr, network, "10.10.10.1/24"),))
        guest, dhcp = port("a", 16, network, "10.10.10.2"), dhcp_port("d", 30, network, "10.10.10.3")
        return planned(network, guest, far, dhcp, qr, router, group("g"), settings=host, peers=PEERS)

    assert cloud(admin_state_up=False, dhcp_port_id=uid("d")) == cloud()


def test_a_port_that_is_down_is_on_the_dead_tag() -> None:
    network = vlan_network()
    plan_ = planned(network, port("a", 16, network, "10.10.10.2", admin_state_up=False), group("g"))
    assert [row.tag for row in plan_.ovs_ports if row.ofport_request == 16] == [4095]
    assert [flow.actions for flow in find(plan_, "br-int", 0, "in_port=16")] == ["drop"]


def test_remote_groups_cost_members_plus_rules() -> None:
    def count(members: int, rules: int) -> int:
        network = vlan_network(subnets=(subnet("s", "10.10.0.0/16"),))
        a = port("a", 16, network, "10.10.0.1")
        others = [port(f"{i:x}f", 100 + i, network, f"10.10.1.{i}") for i in range(members)]
        asked = [
            rule(f"r{i}", protocol=6, port_range_min=i, port_range_max=i, remote_group_id=uid("h"))
            for i in range(1, rules + 1)
        ]
        return len(planned(network, a, group("g", *asked), *(member("h", other) for other in others)).flows)

    assert count(20, 10) - count(10, 10) == 10
    assert count(10, 20) - count(10, 10) == 10


def test_a_change_of_one_group_moves_no_flow_of_another() -> None:
    network = vlan_network()
    a = port("a", 16, network, "10.10.10.2")
    b = port("b", 17, network, "10.10.10.3", groups=("h",))
    own = group("g", rule("1", remote_group_id=uid("g")))
    before = planned(network, a, b, own, group("h"), member("g", a))
    after = planned(network, a, b, own, group("h", rule("2", remote_group_id=uid("i"))), member("g", a))
    assert set(before.flows) <= set(after.flows)


def test_a_shared_mac_of_address_pairs_goes_to_the_port_whose_own_it_is() -> None:
    network = vlan_network()
    pair = (AddressPair("10.10.10.200", mac(17)),)
    a = port("a", 16, network, "10.10.10.2", allowed_address_pairs=pair)
    b = port("b", 17, network, "10.10.10.3")
    (delivery,) = find(planned(network, a, b, group("g")), "br-int", 73, f"dl_dst={mac(17)}")
    assert delivery.actions == "set_field:0x11->reg5,resubmit(,81)"


def test_a_port_bound_elsewhere_has_neither_device_nor_flow() -> None:
    network = vlan_network()
    here = planned(network)
    assert planned(network, far_port("f", 99, network, "10.10.10.9")) == here


def test_more_physical_bridges_than_patch_numbers_are_refused() -> None:
    mappings = {f"net{i}": f"br-{i}" for i in range(15)}
    with pytest.raises(TooManyBridges):
        plan(intent(), msgspec.structs.replace(SETTINGS, bridge_mappings=mappings))


def cloud_of(ports_count: int) -> HostIntent:
    """A network with so many ports on this host, each a member of the one group, which lets its members in."""
    network = vlan_network(subnets=(subnet("s", "10.10.0.0/16"),))
    ports = [port(f"{i:03x}f", 16 + i, network, f"10.10.{1 + i // 250}.{1 + i % 250}") for i in range(ports_count)]
    members = [member("g", item) for item in ports]
    return intent(network, *ports, *members, group("g", rule("1", remote_group_id=uid("g"))))


@pytest.mark.parametrize("driver", ["openvswitch", "iptables_hybrid"])
def test_planning_takes_time_in_proportion_to_the_ports(driver: FirewallDriver) -> None:
    host = with_firewall(driver)
    small, large = 250, 2000

    def rows_of(ports_count: int) -> int:
        made = plan(cloud_of(ports_count), host)
        return len(made.flows) + sum(len(chain.rules) for table in made.iptables for chain in table.chains)

    def cost_s(ports_count: int) -> float:
        cloud = cloud_of(ports_count)
        started = time.thread_time()
        plan(cloud, host)
        return time.thread_time() - started

    assert 7 < rows_of(large) / rows_of(small) < 9
    # The thread's own time without the garbage of other tests, and the best of turns about: a busy machine makes a
    # turn longer, never shorter.
    gc.collect()
    gc.disable()
    try:
        turns = [(cost_s(small), cost_s(large)) for _ in range(4)]
    finally:
        gc.enable()
    ratio = min(large_s for _, large_s in turns) / min(small_s for small_s, _ in turns)
    # Eight times the ports: eight times the time in proportion, sixty-four if each port looks at all the others.
    assert ratio < 12, f"8 times the ports cost {ratio:.1f} times as much"


def test_the_documented_pipeline_names_every_table() -> None:
    text = describe()
    for kind in ("integration", "tunnel", "physical"):
        assert tables_of(kind)
        for table in tables_of(kind):
            assert f"| {table.number} | `{table.name}` |" in text


def test_hybrid_has_no_tracking_in_the_switch() -> None:
    plan_ = planned(*whole_cloud(), settings=hybrid())
    assert [flow for flow in planned(*whole_cloud()).flows if "ct(" in flow.actions]
    # But for fragments of ICMPv6, which show their type only when they are put together, and local IPs' translations.
    tracked = [flow for flow in plan_.flows if "ct(" in flow.actions and flow.table != LOCAL_IP]
    assert not [flow for flow in tracked if "icmp6" not in flow.match]


@pytest.mark.parametrize("driver", ["openvswitch", "iptables_hybrid"])
def test_what_two_groups_of_a_port_both_say_is_said_once(driver: FirewallDriver) -> None:
    network = vlan_network()

    def rules(first: int) -> list[IntentRule]:
        return [
            rule(str(first), protocol=6, port_range_min=22, port_range_max=25),
            rule(str(first + 1), remote_group_id=uid("h")),
            rule(str(first + 2), ethertype="IPv6", protocol=58),
        ]

    def with_groups(*words: str) -> HostPlan:
        a = port("a", 16, network, "10.10.10.2", groups=words)
        groups = (group("g", *rules(1)), group("k", *rules(4)), member("h", a))
        return planned(network, a, *groups, settings=with_firewall(driver))

    assert with_groups("g", "k") == with_groups("g")

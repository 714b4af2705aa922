"""Distributed routers in the plan: flows by which what they send has another MAC on its way, rules, neighbours."""

from __future__ import annotations

import msgspec
from tests.unit.net.plancloud import (
    PATCH_ETH2,
    PATCH_TUN,
    SETTINGS,
    far_port,
    planned,
    port,
    router_port,
    subnet,
    uid,
    vlan_network,
    vxlan_network,
)

from deuteron.model.intent import (
    FloatingIp,
    HostRoute,
    IntentQosPolicy,
    IntentRouter,
    LimitedAddress,
    LocalFloatingIp,
    RateLimit,
    RouterDistributed,
    RouterFloating,
    RouterGateway,
)
from deuteron.net.rows import METER_TABLE, HostPlan, Link, Route, RoutingRule

OWNER = "network:router_interface_distributed"
LEFT = vxlan_network("x", 5, 13, subnets=(subnet("xs", "10.1.0.0/24", "10.1.0.1"),))
RIGHT = vlan_network("v", 6, 1000, subnets=(subnet("vs", "10.2.0.0/24", "10.2.0.1"),))
EXT = vlan_network("e", 7, 2000, external=True, subnets=(subnet("es", "172.24.4.0/24", "172.24.4.1"),))
QR_LEFT = port("a", 20, LEFT, "10.1.0.1", groups=(), device_owner=OWNER)
QR_RIGHT = port("b", 21, RIGHT, "10.2.0.1", groups=(), device_owner=OWNER)
SG_LEFT = port("c", 22, LEFT, "10.1.0.9", groups=(), device_owner="network:router_centralized_snat")
QG = port("d", 23, EXT, "172.24.4.10", groups=(), device_owner="network:router_gateway")
GUEST = port("1", 30, LEFT, "10.1.0.5", groups=())
OPEN = port("2", 31, RIGHT, "10.2.0.5", groups=(), port_security_enabled=False)
FAR = far_port("3", 32, RIGHT, "10.2.0.6", tunnel_ip="10.0.0.2")
UNBOUND = msgspec.structs.replace(far_port("4", 33, RIGHT, "10.2.0.7"), is_bound=False)
HOST_MAC = "fa:16:3f:00:00:01"
MACS = "fa:16:3f:00:00:00/ff:ff:ff:00:00:00"
NAMESPACE, SNAT = f"qrouter-{uid('r')}", f"snat-{uid('r')}"
TABLE = (10 << 24) + (1 << 16) + 1


def router(*, is_local: bool = True, is_central: bool = False) -> IntentRouter:
    how = RouterDistributed(HOST_MAC, (router_port(SG_LEFT, LEFT, "10.1.0.9/24"),), is_local, is_central)
    central = RouterGateway(router_port(QG, EXT, "172.24.4.10/24"), ("172.24.4.1",)) if is_central else None
    return IntentRouter(
        id=uid("r"),
        project_id=uid("p"),
        interfaces=(router_port(QR_LEFT, LEFT, "10.1.0.1/24"), router_port(QR_RIGHT, RIGHT, "10.2.0.1/24")),
        gateway=central,
        floating_ips=(FloatingIp(uid("f"), "172.24.4.20", "10.1.0.5"),) if is_central else (),
        distributed=how,
    )


def on_compute() -> HostPlan:
    return planned(LEFT, RIGHT, QR_LEFT, QR_RIGHT, GUEST, OPEN, FAR, UNBOUND, router())


def flows(plan: HostPlan, bridge: str, *tables: int) -> list[str]:
    return [
        f"{flow.table} {flow.priority} {flow.match} -> {flow.actions}"
        for flow in plan.flows
        if flow.bridge == bridge and flow.table in tables
    ]


def test_what_it_sends_leaves_with_the_mac_of_the_host_and_what_is_for_it_stays() -> None:
    made = on_compute()
    for bridge, gateway, tag, address, onward in (
        ("br-tun", QR_LEFT, 5, "10.1.0.1", 2),
        ("br-eth2", QR_RIGHT, 6, "10.2.0.1", 2),
    ):
        found = flows(made, bridge, 1)
        assert f"1 3 arp,dl_vlan={tag},arp_tpa={address} -> drop" in found
        assert f"1 2 dl_vlan={tag},dl_dst={gateway.mac_address} -> drop" in found
        rewritten = f"set_field:{HOST_MAC}->eth_src,goto_table:{onward}"
        assert f"1 1 dl_vlan={tag},dl_src={gateway.mac_address} -> {rewritten}" in found
    assert "2 4 dl_vlan=6 -> set_field:5096->vlan_vid,NORMAL" in flows(made, "br-eth2", 2)
    assert "0 5 in_port=1,dl_vlan=5 -> goto_table:1" in flows(made, "br-tun", 0)
    assert "0 5 in_port=2,dl_vlan=6 -> goto_table:1" in flows(made, "br-eth2", 0)
    assert any("tun_id=0xd" in text and text.endswith("goto_table:9") for text in flows(made, "br-tun", 4))


def test_who_gets_what_another_host_routed_sees_the_routers_mac() -> None:
    made = on_compute()
    assert f"0 4 in_port={PATCH_TUN},dl_vlan=5,dl_src={MACS} -> goto_table:1" in flows(made, "br-int", 0)
    to_local = "set_field:4102->vlan_vid,goto_table:2"
    assert f"0 4 in_port={PATCH_ETH2},dl_vlan=1000,dl_src={MACS} -> {to_local}" in flows(made, "br-int", 0)
    back = f"set_field:{QR_LEFT.mac_address}->eth_src,goto_table:58"
    assert f"1 4 ip,dl_vlan=5,dl_dst={GUEST.mac_address} -> {back}" in flows(made, "br-int", 1)
    # By the normal switch it would learn that the router is on another host.
    at_once = f"set_field:{QR_RIGHT.mac_address}->eth_src,pop_vlan,output:31"
    assert f"2 4 ip,dl_vlan=6,dl_dst={OPEN.mac_address} -> {at_once}" in flows(made, "br-int", 2)


def test_it_is_told_where_ports_are() -> None:
    known = {(row.namespace, row.link, row.address, row.mac) for row in on_compute().known}
    left, right = f"qr-{QR_LEFT.id[:11]}", f"qr-{QR_RIGHT.id[:11]}"
    assert known == {
        (NAMESPACE, left, "10.1.0.5", GUEST.mac_address),
        (NAMESPACE, right, "10.2.0.5", OPEN.mac_address),
        (NAMESPACE, right, "10.2.0.6", FAR.mac_address),
    }, "an address of a port that is nowhere may be somebody's"


def test_what_leaves_goes_by_rules_to_where_the_gateway_is() -> None:
    made = on_compute()
    device = f"qr-{QR_LEFT.id[:11]}"
    assert made.rules == (RoutingRule(NAMESPACE, TABLE, "10.1.0.0/24", TABLE),), "the other has no port there"
    assert made.routes == (Route(NAMESPACE, "0.0.0.0/0", "10.1.0.9", device, table=TABLE),)
    assert not any(row.name.startswith("snat-") for row in made.namespaces)
    assert all("SNAT --to" not in rule for table in made.iptables for chain in table.chains for rule in chain.rules)


def test_the_host_of_the_gateway_translates_in_a_namespace_of_its_own() -> None:
    made = planned(LEFT, EXT, SG_LEFT, QG, router(is_local=False, is_central=True))
    assert [row.name for row in made.namespaces] == [SNAT]
    assert {(row.link, row.interface) for row in made.addresses} == {
        (f"sg-{SG_LEFT.id[:11]}", "10.1.0.9/24"),
        (f"qg-{QG.id[:11]}", "172.24.4.10/24"),
        (f"qg-{QG.id[:11]}", "172.24.4.20/32"),
    }
    rules = {rule for table in made.iptables for chain in table.chains for rule in chain.rules}
    assert "-d 172.24.4.20/32 -j DNAT --to-destination 10.1.0.5" in rules
    assert made.metadata == () and made.known == ()
    assert flows(made, "br-tun", 1) == ["1 0  -> goto_table:2"], "nothing that it sends has another MAC"


def test_one_that_is_down_carries_nothing() -> None:
    down = msgspec.structs.replace(router(), admin_state_up=False)
    made = planned(LEFT, RIGHT, QR_LEFT, QR_RIGHT, GUEST, down)
    assert (made.rules, made.known, made.addresses) == ((), (), ())
    assert flows(made, "br-tun", 1) == ["1 0  -> goto_table:2"]


def test_the_linux_bridge_of_a_hybrid_port_gets_frames_at_once() -> None:
    settings = msgspec.structs.replace(SETTINGS, firewall_driver="iptables_hybrid")
    made = planned(LEFT, RIGHT, QR_LEFT, QR_RIGHT, GUEST, router(), settings=settings)
    assert any(text.endswith("pop_vlan,output:30") for text in flows(made, "br-int", 1))


# --- floating IPs of ports of the host ------------------------------------------------------------------------------

FG = port("9", 24, EXT, "172.24.4.30", groups=(), device_owner="network:floatingip_agent_gateway")
HERE = RouterFloating(
    router_port(FG, EXT, "172.24.4.30/24"),
    3,
    (LocalFloatingIp(uid("f"), "172.24.4.20", "10.1.0.5", 32770),),
    ("172.24.4.1",),
    (LimitedAddress("172.24.4.20", 4, uid("q")),),
)
FIP, RFP, FPR = f"fip-{EXT.id}", f"rfp-{uid('r')[:10]}", f"fpr-{uid('r')[:10]}"
OWN, THEIRS = "169.254.64.6", "169.254.64.7"
LAST = (169 << 24) + (254 << 16) + (64 << 8) + 7


def translating(here: RouterFloating = HERE, **values: object) -> IntentRouter:
    base = router()
    assert base.distributed is not None
    how = msgspec.structs.replace(base.distributed, floating=here)
    return msgspec.structs.replace(base, distributed=how, **values)


def with_floating(*more: object, **values: object) -> HostPlan:
    return planned(LEFT, RIGHT, EXT, QR_LEFT, QR_RIGHT, GUEST, FG, *more, translating(**values))  # type: ignore[arg-type]


def test_what_is_from_a_fixed_ip_with_a_floating_one_leaves_by_a_pair_of_devices() -> None:
    made = with_floating()
    assert RoutingRule(NAMESPACE, 32770, "10.1.0.5/32", 16) in made.rules
    assert RoutingRule(NAMESPACE, TABLE, "10.1.0.0/24", TABLE) in made.rules, "others go where the gateway is"
    assert Route(NAMESPACE, "0.0.0.0/0", THEIRS, RFP, table=16) in made.routes
    ends = {row.key: row for row in made.links}
    pair = Link(FIP, FPR, "veth", mac="02:00:a9:fe:40:07", mtu_bytes=1500, peer=RFP, peer_namespace=NAMESPACE)
    assert ends[FIP, FPR] == pair
    assert ends[NAMESPACE, RFP] == Link(NAMESPACE, RFP, "existing", mac="02:00:a9:fe:40:06", mtu_bytes=1500)
    addresses = {(row.namespace, row.link, row.interface) for row in made.addresses}
    assert {(NAMESPACE, RFP, f"{OWN}/31"), (FIP, FPR, f"{THEIRS}/31")} <= addresses
    assert (FIP, f"fg-{FG.id[:11]}", "172.24.4.30/24") in addresses


def test_its_router_translates_what_passes_the_pair() -> None:
    made = with_floating()
    nat = next(row for row in made.iptables if (row.namespace, row.family, row.table) == (NAMESPACE, 4, "nat"))
    chains = {chain.name.removeprefix("neutron-l3-agent-"): chain.rules for chain in nat.chains}
    assert f"-d 172.24.4.20/32 -i {RFP} -j DNAT --to-destination 10.1.0.5" in chains["PREROUTING"]
    assert chains["OUTPUT"] == ()
    assert chains["POSTROUTING"] == (f"! -o {RFP} -m conntrack ! --ctstate DNAT -j ACCEPT",)
    assert chains["float-snat"] == ("-s 10.1.0.5/32 -j SNAT --to-source 172.24.4.20 --random-fully",)
    assert chains["snat"] == ("-j neutron-l3-agent-float-snat",), "no other source is translated here"
    (connections,) = [row for row in made.connections if row.namespace == NAMESPACE]
    assert connections.floating == (("172.24.4.20", "10.1.0.5"),)
    assert not connections.snat


def test_its_host_answers_outside_for_what_it_has_a_route_to() -> None:
    made = with_floating()
    device = f"fg-{FG.id[:11]}"
    settings = {row.name: row.value for row in made.sysctls if row.namespace == FIP}
    assert settings[f"net.ipv4.conf.{device}.proxy_arp"] == "1"
    routes = [row for row in made.routes if row.namespace == FIP]
    assert routes == [
        Route(FIP, "0.0.0.0/0", "172.24.4.1", device, table=LAST),
        Route(FIP, "172.24.4.20/32", OWN, FPR, told_by=device),
    ]
    assert [row for row in made.rules if row.namespace == FIP] == [RoutingRule(FIP, LAST, "0.0.0.0/0", LAST, FPR)]
    (raw,) = [row for row in made.iptables if row.namespace == FIP]
    assert raw.table == "raw" and raw.chains[0].rules == ("-j CT --notrack",)


def test_routes_by_the_network_outside_are_there_too() -> None:
    made = with_floating(routes=(HostRoute("192.0.2.0/24", "172.24.4.77"), HostRoute("198.51.100.0/24", "10.1.0.77")))
    device = f"fg-{FG.id[:11]}"
    assert Route(FIP, "192.0.2.0/24", "172.24.4.77", device, table=LAST) in made.routes
    assert any(row.namespace == NAMESPACE and row.destination == "198.51.100.0/24" for row in made.routes)
    assert not any(row.namespace == FIP and row.destination == "198.51.100.0/24" for row in made.routes)


def test_a_limit_holds_at_the_port_outside_of_the_host() -> None:
    made = with_floating(IntentQosPolicy(uid("q"), egress=RateLimit(1000, 800)))
    assert f"59 30 ip,nw_src=172.24.4.20,in_port={FG.ofport}" in " ".join(flows(made, "br-int", 59))
    assert len(made.own[METER_TABLE]) == 1


def test_two_routers_share_the_namespace_and_the_last_takes_it_along() -> None:
    both = with_floating()
    other = msgspec.structs.replace(
        translating(msgspec.structs.replace(HERE, pair=4)), id=uid("o"), interfaces=(), floating_ips=()
    )
    made = planned(LEFT, RIGHT, EXT, QR_LEFT, QR_RIGHT, GUEST, FG, translating(), other)
    assert [row.name for row in made.namespaces if row.name.startswith("fip-")] == [FIP]
    assert {row.name for row in made.links if row.kind == "veth" and row.namespace == FIP} == {
        FPR,
        f"fpr-{uid('o')[:10]}",
    }
    assert both.namespaces == planned(LEFT, RIGHT, EXT, QR_LEFT, QR_RIGHT, GUEST, FG, translating()).namespaces
    assert not any(row.name.startswith("fip-") for row in on_compute().namespaces)


def test_a_router_that_is_down_has_no_pair() -> None:
    assert any(row.name == FPR for row in with_floating().links)
    made = with_floating(admin_state_up=False)
    assert not any(row.name.startswith(("rfp-", "fpr-")) for row in made.links)
    assert not any(row.name.startswith("fip-") for row in made.namespaces)


def test_nothing_of_it_is_planned_before_the_host_has_its_port() -> None:
    made = planned(LEFT, RIGHT, EXT, QR_LEFT, QR_RIGHT, GUEST, translating())
    assert any(row.table == 16 for row in with_floating().rules)
    assert not any(row.name.startswith(("rfp-", "fpr-", "fg-")) for row in made.links)
    assert not any(row.table == 16 for row in made.rules)

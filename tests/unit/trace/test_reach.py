"""What the objects of a cloud mean for a packet, said without a plan."""

from __future__ import annotations

from typing import Any

import pytest

from deuteron.trace.catalog import Catalog
from deuteron.trace.packet import TCP, UDP
from deuteron.trace.reach import OUTSIDE, Reach, reachable
from deuteron.trace.unknown import Unknown


def port(id: str, network: str, address: str, owner: str = "compute:nova", **more: Any) -> dict[str, Any]:
    return {
        "id": id, "network_id": network, "device_owner": owner, "device_id": "", "admin_state_up": True,
        "fixed_ips": [{"subnet_id": f"{network}-s", "ip_address": address}], "port_security_enabled": True,
        "security_groups": ["g"], "allowed_address_pairs": [], "binding:host_id": "h1", "binding:vif_type": "ovs",
        "binding:vif_details": {}, "project_id": "p", **more,
    }  # fmt: skip


def rule(direction: str, **more: Any) -> dict[str, Any]:
    nothing = dict.fromkeys(
        (
            "protocol",
            "port_range_min",
            "port_range_max",
            "remote_ip_prefix",
            "remote_group_id",
            "remote_address_group_id",
        )
    )
    return {**nothing, "direction": direction, "ethertype": "IPv4", **more}


SIX = {"id": "a6", "network_id": "a", "cidr": "fd00::/64", "gateway_ip": "fd00::", "ip_version": 6, "enable_dhcp": True,
       "host_routes": [], "ipv6_ra_mode": None, "project_id": "p"}  # fmt: skip


def state(
    *ports: dict[str, Any], rules: tuple[dict[str, Any], ...] = (), gateway_up: bool = True, **router: Any
) -> Catalog:
    """Networks a and b with a router between, and an external one beyond it, where 172.24.4.20 leads to port 1."""
    networks = [{"id": id, "router:external": id == "ext", "admin_state_up": True} for id in ("a", "b", "ext")]
    cidrs = {"a": "10.0.0.0/24", "b": "10.1.0.0/24", "ext": "172.24.4.0/24"}
    subnets = [
        {"id": f"{id}-s", "network_id": id, "cidr": cidr, "gateway_ip": cidr.replace("0/24", "1"), "ip_version": 4,
         "enable_dhcp": True, "host_routes": [], "ipv6_ra_mode": None, "project_id": "p"}
        for id, cidr in cidrs.items()
    ]  # fmt: skip
    interface, plugged = "network:router_interface", {}
    if router.get("distributed"):
        interface, plugged = f"{interface}_distributed", {"binding:host_id": "", "binding:vif_type": "distributed"}
    owned = [
        port("ra", "a", "10.0.0.1", interface, device_id="r", **plugged),
        port("rb", "b", "10.1.0.1", interface, device_id="r", **plugged),
        port("rg", "ext", "172.24.4.10", "network:router_gateway", device_id="r", admin_state_up=gateway_up),
    ]
    info = {"enable_snat": True}
    groups = [{"id": "g", "security_group_rules": [rule("egress"), *rules]}]
    return Catalog(
        {
            "network": networks, "subnet": [*subnets, SIX], "port": [*owned, *ports], "security_group": groups,
            "router": [{"id": "r", "admin_state_up": True, "external_gateway_info": info, "routes": [], **router}],
            "floatingip": [
                {"id": "f", "floating_ip_address": "172.24.4.20", "fixed_ip_address": "10.0.0.5", "router_id": "r",
                 "port_id": "1", "floating_network_id": "ext"}
            ],
        }
    )  # fmt: skip


ONE, TWO = port("1", "a", "10.0.0.5"), port("2", "b", "10.1.0.5")
SSH = rule("ingress", protocol="tcp", port_range_min=22, port_range_max=22)


def test_a_rule_lets_in_its_port_and_no_other() -> None:
    cloud = state(ONE, TWO, rules=(SSH,))
    assert reachable(cloud, "1", "10.1.0.5", TCP, 22) == Reach(True, at="2")
    refused = reachable(cloud, "1", "10.1.0.5", TCP, 23)
    assert (refused.arrives, refused.stopped_by) == (False, ("security_group", "g"))
    assert not reachable(cloud, "1", "10.1.0.5", UDP, 22).arrives


def test_members_of_a_remote_group_are_seen_by_their_own_addresses() -> None:
    cloud = state(ONE, TWO, rules=(rule("ingress", remote_group_id="g"),))
    assert reachable(cloud, "1", "10.1.0.5").arrives
    assert not reachable(cloud, OUTSIDE, "172.24.4.20").arrives, "who comes from outside is no member"


def test_a_floating_ip_leads_in_and_its_router_leads_out() -> None:
    cloud = state(ONE, TWO, rules=(SSH,))
    assert reachable(cloud, OUTSIDE, "172.24.4.20", TCP, 22).at == "1"
    assert reachable(cloud, "2", "8.8.8.8").at == OUTSIDE
    assert reachable(cloud, OUTSIDE, "10.0.0.5").stopped_by == ("floatingip", "")


@pytest.mark.parametrize(
    ("changed", "object"),
    [
        ({"admin_state_up": False}, ("port", "1")),
        ({"binding:host_id": "", "binding:vif_type": "unbound"}, ("port", "1")),
        ({"security_groups": []}, ("security_group", "")),
    ],
)
def test_what_stops_it_is_named(changed: dict[str, Any], object: tuple[str, str]) -> None:
    assert reachable(state({**ONE, **changed}, TWO), "1", "10.1.0.5").stopped_by == object


def test_a_router_that_is_down_stops_it() -> None:
    assert reachable(state(ONE, TWO, admin_state_up=False), "1", "10.1.0.5").stopped_by == ("router", "r")


@pytest.mark.parametrize(
    ("bound", "goes_out"),
    [
        ({"binding:vif_type": "bridge"}, True),
        ({"binding:vif_details": {"ovs_hybrid_plug": True}}, True),
        ({"binding:vif_details": {"ovs_hybrid_plug": False}}, False),
    ],
)
def test_a_firewall_on_a_linux_bridge_lets_all_of_icmpv6_out(bound: dict[str, Any], goes_out: bool) -> None:
    one = {**ONE, "fixed_ips": [{"subnet_id": "a6", "ip_address": "fd00::5"}], **bound}
    other = port("3", "a", "", port_security_enabled=False, fixed_ips=[{"subnet_id": "a6", "ip_address": "fd00::7"}])
    cloud = state(one, other)
    assert reachable(cloud, "1", "fd00::7").arrives is goes_out
    assert not reachable(cloud, "1", "fd00::7", TCP, 80).arrives


@pytest.mark.parametrize("owner", ["network:router_interface", "compute:nova"])
def test_every_router_has_the_first_address_of_an_ipv6_subnet_and_nobody_else(owner: str) -> None:
    one = {**ONE, "fixed_ips": [{"subnet_id": "a6", "ip_address": "fd00::5"}]}
    other = port("3", "a", "", owner, device_id="r", fixed_ips=[{"subnet_id": "a6", "ip_address": "fd00::7"}])
    cloud = state(one, other, rules=(rule("egress", ethertype="IPv6"),))
    assert reachable(cloud, "1", "fd00::").arrives is (owner == "network:router_interface")


def test_another_that_has_the_address_is_not_who_was_meant() -> None:
    cloud = state(ONE, TWO, rules=(rule("ingress"),))
    assert reachable(cloud, "1", "10.1.0.5", expected="2").arrives
    assert not reachable(cloud, "1", "10.1.0.5", expected="3").arrives


def test_what_it_does_not_know_of_it_refuses() -> None:
    with pytest.raises(Unknown):
        reachable(state({**ONE, "trunk_details": {"trunk_id": "t"}}, TWO), "1", "10.1.0.5")


def test_a_route_that_people_add_counts_before_that_the_router_is_on_the_network() -> None:
    cloud = state(ONE, TWO, rules=(rule("ingress"),), routes=[{"destination": "10.1.0.0/24", "nexthop": "10.0.0.9"}])
    assert reachable(cloud, "1", "10.1.0.5").stopped_by == ("network", "a"), "nobody has the next hop"
    wider = state(ONE, TWO, rules=(rule("ingress"),), routes=[{"destination": "10.1.0.0/16", "nexthop": "10.0.0.9"}])
    assert reachable(wider, "1", "10.1.0.5").arrives


AGENT = port("ag", "ext", "172.24.4.30", "network:floatingip_agent_gateway", device_id="agent")


def test_a_distributed_router_routes_wherever_its_networks_are() -> None:
    cloud = state(ONE, TWO, rules=(SSH,), distributed=True)
    assert reachable(cloud, "1", "10.1.0.5", TCP, 22) == Reach(True, at="2")
    assert reachable(cloud, OUTSIDE, "172.24.4.20", TCP, 22) == Reach(True, at="1")
    assert reachable(cloud, "1", "8.8.8.8", TCP, 22) == Reach(True, at=OUTSIDE)


def test_what_a_host_translates_itself_needs_no_gateway() -> None:
    for agents, arrives in (((AGENT,), True), ((), False), (({**AGENT, "binding:host_id": "h2"},), False)):
        cloud = state(ONE, TWO, *agents, rules=(SSH,), distributed=True, gateway_up=False)
        assert reachable(cloud, OUTSIDE, "172.24.4.20", TCP, 22).arrives is arrives
        assert reachable(cloud, "1", "8.8.8.8", TCP, 22).arrives is arrives
        assert not reachable(cloud, "2", "8.8.8.8", TCP, 22).arrives
    down = state(ONE, AGENT, rules=(SSH,), distributed=True, admin_state_up=False)
    assert reachable(down, OUTSIDE, "172.24.4.20", TCP, 22).stopped_by == ("router", "r")


def test_a_hosts_port_outside_answers_while_a_router_that_is_up_needs_it() -> None:
    asker = port("9", "ext", "172.24.4.9", **{"binding:host_id": "h9"})
    up = state(ONE, asker, AGENT, rules=(SSH,), distributed=True)
    assert reachable(up, "9", "172.24.4.30", TCP, 22) == Reach(True, at="ag")
    down = state(ONE, asker, AGENT, rules=(SSH,), distributed=True, admin_state_up=False)
    assert reachable(down, "9", "172.24.4.30", TCP, 22).why == "nobody has it"

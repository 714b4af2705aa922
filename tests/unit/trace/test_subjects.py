"""What else a plan may contain is followed as well: local IPs, limits, logs, port forwarding, two hosts."""

from __future__ import annotations

import msgspec
import pytest

from deuteron.model.intent import IntentPort, IntentRouter, PortForwarding, TunnelPeer
from deuteron.model.outside import ExternalNetwork
from deuteron.trace.packet import ICMP, TCP
from deuteron.trace.unknown import Unknown
from deuteron.trace.walk import Asked, End, Walked, walk
from deuteron.trace.world import Machine, World
from tests.unit.net.plancloud import (
    PEERS,
    SETTINGS,
    dhcp_port,
    far_port,
    group,
    intent,
    logs,
    port,
    rule,
    uid,
    vlan_network,
    vxlan_network,
    whole_cloud,
)

OUTSIDE = End("outside", is_outside=True)
EXTERNAL = (ExternalNetwork("public", None, ("172.24.4.1/24",)),)


def world(*objects: object) -> World:
    machine = Machine(intent(*objects, peers=PEERS), SETTINGS)  # type: ignore[arg-type]  # as plancloud has them
    return World({"aio": machine}, EXTERNAL, frozenset({"public"}))


def passes(walked: Walked) -> bool:
    return walked.there.dropped is None and walked.back is not None and walked.back.dropped is None


def test_a_local_ip_leads_to_its_port_and_the_answer_comes_from_it() -> None:
    cloud = world(*whole_cloud())
    walked = walk(cloud, End("b", port_id=uid("b")), End("local", address="10.10.10.50"), Asked(TCP, 22))
    assert passes(walked), walked.there.dropped or walked.back
    assert walked.there.arrived == f"guest {uid('vma')}"
    assert any("10.10.10.50 becomes" in hop.does and "10.10.10.2" in hop.does for hop in walked.there.hops)


def test_limits_and_marks_let_one_packet_pass() -> None:
    walked = walk(world(*whole_cloud()), End("c", port_id=uid("c")), End("dhcp", address="20.20.20.3"), Asked())
    assert passes(walked)
    assert any("meter:" in hop.rule for hop in walked.there.hops)


def test_what_is_logged_goes_on_all_the_same() -> None:
    cloud = world(*whole_cloud(), *logs())
    a, b = End("a", port_id=uid("a")), End("b", address="10.10.10.4")
    assert passes(walk(cloud, a, b, Asked(TCP, 80)))
    stranger = End("r", namespace=f"qrouter-{uid('r')}", host="aio")
    walked = walk(cloud, stranger, b, Asked(TCP, 81))
    assert walked.there.dropped is not None
    assert (walked.there.dropped.table, walked.there.dropped.port_id) == (82, uid("b"))


@pytest.mark.parametrize(
    ("external", "internal", "to", "arrives"),
    [((2222, 2222), (22, 22), 2222, True), ((200, 210), (15, 25), 207, True), ((2222, 2222), (22, 22), 2223, False)],
)
def test_a_forwarded_port_is_translated_alone(
    external: tuple[int, int], internal: tuple[int, int], to: int, arrives: bool
) -> None:
    objects = whole_cloud()
    router = next(item for item in objects if isinstance(item, IntentRouter))
    item = PortForwarding(uid("pf"), "tcp", "172.24.4.30", external, "10.10.10.4", internal)
    objects[objects.index(router)] = msgspec.structs.replace(router, port_forwardings=(item,))
    walked = walk(world(*objects), OUTSIDE, End("forwarded", address="172.24.4.30"), Asked(TCP, to))
    assert (walked.there.arrived == f"guest {uid('vmb')}") is arrives
    if arrives:
        assert any(f"port {to} becomes 22" in hop.does for hop in walked.there.hops)


def two_hosts(kind: str) -> World:
    """A guest on each of two hosts, on a network between them, and its DHCP on the first."""
    made = vlan_network("n1", 1, 1000) if kind == "vlan" else vxlan_network("n1", 1, 13)
    there = msgspec.structs.replace(made, local_vlan=2)
    everybody = group("g", rule("1"))
    near, far = port("a", 16, made, "10.10.10.2"), port("b", 17, there, "10.10.10.4")
    dhcp = dhcp_port("d", 22, made, "10.10.10.3")
    made = msgspec.structs.replace(made, dhcp_port_id=dhcp.id)
    first = intent(
        made, near, dhcp, everybody, far_port("b", 17, made, "10.10.10.4", tunnel_ip="10.0.0.2"),
        peers=(TunnelPeer("c1", "10.0.0.2", ("vxlan",)),),
    )  # fmt: skip
    second = intent(
        there, far, everybody, far_port("a", 16, made, "10.10.10.2", tunnel_ip="10.0.0.1"),
        far_port("d", 22, made, "10.10.10.3", tunnel_ip="10.0.0.1"),
        peers=(TunnelPeer("aio", "10.0.0.1", ("vxlan",)),),
    )  # fmt: skip
    other = msgspec.structs.replace(SETTINGS, host="c1", tunnel_ip="10.0.0.2")
    return World({"aio": Machine(first, SETTINGS), "c1": Machine(second, other)})


@pytest.mark.parametrize(
    ("kind", "seen"), [("vlan", "tag 1 becomes 1000"), ("vxlan", "vxlan with VNI 13 from 10.0.0.1")]
)
def test_hosts_are_crossed_by_vlan_and_by_tunnel(kind: str, seen: str) -> None:
    cloud = two_hosts(kind)
    walked = walk(cloud, End("a", port_id=uid("a")), End("b", address="10.10.10.4"), Asked(ICMP))
    assert passes(walked), walked.there.dropped
    assert {hop.host for hop in walked.there.hops} == {"aio", "c1"}
    assert any(seen in hop.does for hop in walked.there.hops)
    assert passes(walk(cloud, End("b", port_id=uid("b")), End("d", address="10.10.10.3"), Asked(ICMP)))


@pytest.mark.parametrize(("kind", "link"), [("vlan", "eth2"), ("vxlan", "eth1")])
def test_a_link_that_carries_nothing_ends_what_goes_by_it(kind: str, link: str) -> None:
    cloud = two_hosts(kind)
    if kind == "vxlan":
        settings = msgspec.structs.replace(
            SETTINGS, bridge_ports={**SETTINGS.bridge_ports, "br-eth1": "eth1"},
            bridge_addresses={"br-eth1": "10.0.0.1/24"},
        )  # fmt: skip
        machines = {**cloud.machines, "aio": Machine(cloud.machines["aio"].intent, settings)}
        cloud = msgspec.structs.replace(cloud, machines=machines)
    cut = msgspec.structs.replace(cloud, cut=frozenset({("aio", link)}))
    walked = walk(cut, End("a", port_id=uid("a")), End("b", address="10.10.10.4"), Asked(ICMP))
    assert walked.there.dropped is not None
    assert ("host", "link") in [(each.why, each.rule) for each in walked.there.dropped.within]


def test_a_host_that_does_not_run_is_not_reached() -> None:
    cloud = two_hosts("vxlan")
    off = Machine(cloud.machines["c1"].intent, cloud.machines["c1"].settings, is_running=False)
    dead = msgspec.structs.replace(cloud, machines={**cloud.machines, "c1": off})
    walked = walk(dead, End("a", port_id=uid("a")), End("b", address="10.10.10.4"), Asked(ICMP))
    assert walked.there.dropped is not None
    assert ("host", "c1") in [(each.why, each.host) for each in walked.there.dropped.within]


def test_a_port_that_another_mechanism_wires_is_not_guessed() -> None:
    objects = whole_cloud()
    other = next(item for item in objects if isinstance(item, IntentPort) and item.id == uid("b"))
    objects[objects.index(other)] = msgspec.structs.replace(other, mechanism="plainbridge")
    cloud = world(*objects)
    for source, destination in (("a", "b"), ("b", "a")):
        with pytest.raises(Unknown, match="the mechanism plainbridge"):
            walk(
                cloud, End(source, port_id=uid(source)),
                End(destination, port_id=uid(destination), address="10.10.10.4"), Asked(),
            )  # fmt: skip

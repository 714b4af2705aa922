"""A packet between hosts of which one has Open vSwitch and the other Linux bridges."""

from __future__ import annotations

import msgspec
import pytest

from deuteron.model.intent import HostSettings, IntentNetwork, IntentObject, IntentPort, TunnelPeer
from deuteron.trace.packet import ICMP, TCP
from deuteron.trace.walk import Asked, End, Walked, walk
from deuteron.trace.world import Machine, World
from tests.unit.net.plancloud import SETTINGS, far_port, group, intent, member, port, rule, uid, vlan_network
from tests.unit.net.plancloud import vxlan_network as vxlan

C1 = msgspec.structs.replace(SETTINGS, host="c1", bridge_addresses={"br-eth1": "10.0.0.1/24"})
C1 = msgspec.structs.replace(C1, bridge_ports={**SETTINGS.bridge_ports, "br-eth1": "eth1"})
C2 = msgspec.structs.replace(C1, host="c2", tunnel_ip="10.0.0.2", mechanism_drivers=("linuxbridge",))
NETWORKS = {
    "vlan": vlan_network("n1", 1, 1000),
    "flat": vlan_network("ext", 3, 0, network_type="flat", physical_network="public", segmentation_id=None),
    "vxlan": vxlan("x1", 5, 13),
}
RULES = group("g", rule("m", remote_group_id=uid("g")), rule("s", protocol=TCP, port_range_min=22, port_range_max=22))


def world(network: IntentNetwork, **cut: tuple[str, str]) -> World:
    """a and the stranger s on the host with the switch, b, c and the open o on the other."""
    places = {"a": (C1, 16), "s": (C1, 17), "b": (C2, 18), "c": (C2, 19), "o": (C2, 20)}
    ports = {
        name: port(
            name,
            number,
            network,
            f"10.10.10.{number}",
            groups=("h",) if name == "s" else ("g",) if name != "o" else (),
            port_security_enabled=name != "o",
            mechanism="openvswitch" if host is C1 else "linuxbridge",
        )
        for name, (host, number) in places.items()
    }
    return World(
        {host.host: Machine(_intent(host, network, ports, places), host) for host in (C1, C2)},
        cut=frozenset(cut.values()),
    )


def _intent(host: HostSettings, network: IntentNetwork, ports: dict[str, IntentPort], places: dict[str, object]):  # type: ignore[no-untyped-def]  # made below
    objects: list[IntentObject] = [network, RULES, group("h")]
    for name, (where, number) in places.items():  # type: ignore[misc]  # pairs
        if where is host:
            objects.append(ports[name])
        else:
            objects.append(far_port(name, number, network, f"10.10.10.{number}", tunnel_ip=where.tunnel_ip))
    objects += [member("g", ports[name]) for name in "abc"]
    peer = C2 if host is C1 else C1
    return intent(*objects, peers=(TunnelPeer(peer.host, str(peer.tunnel_ip)),))


def end(name: str, address: int = 0) -> End:
    number = {"a": 16, "s": 17, "b": 18, "c": 19, "o": 20}[name]
    return End(name, port_id=uid(name), address=f"10.10.10.{address or number}")


def passes(walked: Walked) -> bool:
    return walked.there.dropped is None and walked.back is not None and walked.back.dropped is None


@pytest.fixture(params=list(NETWORKS))
def made(request: pytest.FixtureRequest) -> World:
    return world(NETWORKS[request.param])


def test_members_of_a_group_reach_each_other_there_and_back(made: World) -> None:
    for one, other in (("a", "b"), ("b", "a"), ("b", "c"), ("c", "a"), ("o", "b")):
        assert passes(walk(made, end(one), end(other), Asked(TCP, 22))), (one, other)
    for one, other in (("a", "b"), ("b", "a"), ("b", "c")):
        assert passes(walk(made, end(one), end(other), Asked(ICMP))), (one, other)


def test_whom_no_rule_lets_in_ends_at_the_port_that_refuses(made: World) -> None:
    for sender, host in (("s", "c1"), ("o", "c2")):
        dropped = walk(made, end(sender), end("b"), Asked(TCP, 23)).there.dropped
        assert dropped is not None and (dropped.host, dropped.why, dropped.port_id, dropped.direction) == (
            "c2", "rule", uid("b"), "ingress"
        ), host  # fmt: skip
        assert dropped.stack.startswith("brq")


def test_who_sends_from_another_address_ends_at_its_own_bridge(made: World) -> None:
    dropped = walk(made, end("b", 99), end("a"), Asked(TCP, 22)).there.dropped
    assert dropped is not None and (dropped.host, dropped.port_id) == ("c2", uid("b"))
    assert passes(walk(made, end("o", 20), end("a"), Asked(TCP, 22)))


@pytest.mark.parametrize(
    ("kind", "host", "link", "says"),
    [
        ("vlan", "c2", "eth2", "on the wire of physical network physnet1, tag 1000"),
        ("flat", "c2", "eth3", "on the wire of physical network public"),
        ("vxlan", "c2", "eth1", "vxlan with VNI 13 from 10.0.0.2 to 10.0.0.1"),
    ],
)
def test_the_way_out_is_told_and_a_cut_link_ends_it(kind: str, host: str, link: str, says: str) -> None:
    told = walk(world(NETWORKS[kind]), end("b"), end("a"), Asked(TCP, 22)).there.hops
    assert says in [hop.does for hop in told]
    dropped = walk(world(NETWORKS[kind], link=(host, link)), end("b"), end("a"), Asked(TCP, 22)).there.dropped
    assert dropped is not None and dropped.why == "neighbour"
    assert {(each.why, each.device) for each in dropped.within if each.why == "host"} == {("host", link)}

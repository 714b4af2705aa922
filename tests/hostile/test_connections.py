"""What connection tracking does for guests and what it does not let them do, with both firewalls."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from deuteron.net.plan.firewall import CONNECTION_LIMIT
from deuteron.net.plan.hybrid import PORT_CONNECTION_LIMIT
from tests.hostile import frames
from tests.hostile.conftest import World
from tests.hostile.frames import IPV4, IPV6
from tests.hostile.guests import NET, Guest, Hands, plug

_AT_ONCE = 250
"""Frames that a tap holds until they are read."""


@dataclass
class Scene:
    world: World
    hands: Hands
    hybrid: bool
    open_group: str
    """A group that lets everything in and out."""

    def network(self, name: str, *cidrs: str, **values: Any) -> str:
        made: str = self.world.admin.create(f"{NET}/networks", "network", name=name, **values)["id"]
        for cidr in cidrs:
            six = {"ip_version": 6, "ipv6_address_mode": "dhcpv6-stateful", "ipv6_ra_mode": "dhcpv6-stateful"}
            family = six if ":" in cidr else {"ip_version": 4}
            self.world.admin.create(f"{NET}/subnets", "subnet", network_id=made, cidr=cidr, **family)
        return made

    def guest(self, network: str, *groups: str, **values: Any) -> Guest:
        wanted = {"security_groups": list(groups or (self.open_group,)), **values}
        return plug(self.world, self.hands, network, hybrid=self.hybrid, **wanted)


@pytest.fixture(scope="module", params=["openvswitch", "iptables_hybrid"])
def scene(request: pytest.FixtureRequest) -> Iterator[Scene]:
    hybrid = request.param == "iptables_hybrid"
    world: World = request.getfixturevalue("hybrid_world" if hybrid else "world")
    group = world.admin.create(f"{NET}/security-groups", "security_group", name="open")["id"]
    for family in ("IPv4", "IPv6"):
        rule = {"security_group_id": group, "direction": "ingress", "ethertype": family}
        world.admin.create(f"{NET}/security-group-rules", "security_group_rule", **rule)
    hands = Hands(world)
    try:
        yield Scene(world, hands, hybrid, group)
    finally:
        hands.close()


def pass_on(source: Guest, target: Guest, packet: bytes) -> None:
    kind = IPV6 if packet[0] >> 4 == 6 else IPV4
    source.send(frames.ethernet(source.mac, target.mac, kind, packet))


def heard(guest: Guest, *words: bytes, within_s: float = 5.0) -> bool:
    """Whether frames with each of these words come, or have come."""
    deadline = time.monotonic() + within_s
    while not all(any(word in frame for frame in guest.seen) for word in words):
        if time.monotonic() > deadline:
            return False
        guest.look()
    return True


@pytest.mark.parametrize(("mtu", "cidr", "first"), [(600, "10.22.0.0/24", 560), (1280, "fd00:22::/64", 1024)])
def test_fragments_pass_where_the_mtu_is_small(scene: Scene, mtu: int, cidr: str, first: int) -> None:
    network = scene.network(f"small {mtu}", cidr, mtu=mtu)
    one, two = scene.guest(network), scene.guest(network)
    source, target = (one.ip6, two.ip6) if ":" in cidr else (one.ip, two.ip)
    data = b"beginning".ljust(first + 145, b".") + b"the end"
    for packet in frames.udp_in_fragments(source, target, (5000, 5000), data, first):
        pass_on(one, two, packet)
    assert heard(two, b"beginning", b"the end")


def test_a_guest_fills_its_own_share_of_connections_and_no_other(scene: Scene) -> None:
    """As many connections as are allowed, and some more; then those of another network are made as ever."""
    flooded, quiet = scene.network("flooded", "10.23.0.0/24"), scene.network("quiet", "10.24.0.0/24")
    flooder, near = (scene.guest(flooded) for _ in range(2))
    one, two = (scene.guest(quiet) for _ in range(2))
    limit = PORT_CONNECTION_LIMIT if scene.hybrid else CONNECTION_LIMIT
    for begin in range(0, limit + 2_000, _AT_ONCE):
        ports = [(2 + number // 60_000, 1_000 + number % 60_000) for number in range(begin, begin + _AT_ONCE)]
        notes = [b"%06d." % number for number in range(begin, begin + _AT_ONCE)]
        packets = (frames.udp(flooder.ip, near.ip, pair, note) for pair, note in zip(ports, notes, strict=True))
        flooder.send(*(frames.ethernet(flooder.mac, near.mac, IPV4, packet) for packet in packets))
        near.seen.clear()
        if begin < limit - _AT_ONCE:
            assert heard(near, notes[-1])
    assert _connections(scene, flooder.ip) == limit
    assert _answers(one, two)


def _connections(scene: Scene, address: str) -> int:
    if scene.hybrid:
        return int(scene.hands.run("sh", "-c", f"conntrack -L -f ipv4 -s {address} 2>/dev/null | wc -l")) // 2
    return int(scene.hands.run("sh", "-c", f"ovs-appctl dpctl/dump-conntrack | grep -c orig=.src={address},"))


def _answers(one: Guest, two: Guest) -> bool:
    """Whether a datagram from one guest reaches the other and its answer comes back."""
    pass_on(one, two, frames.udp(one.ip, two.ip, (900, 900), b"question"))
    heard(two, b"question")
    pass_on(two, one, frames.udp(two.ip, one.ip, (900, 900), b"answer"))
    return heard(one, b"answer")

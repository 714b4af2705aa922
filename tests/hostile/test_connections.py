"""What connection tracking does for guests and what it does not let them do, with both firewalls."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest

from deuteron.net.plan.bridge_firewall import PORT_CONNECTION_LIMIT
from deuteron.net.plan.firewall import CONNECTION_LIMIT
from tests.hostile import frames
from tests.hostile.conftest import World
from tests.hostile.frames import IPV4, IPV6
from tests.hostile.guests import NET, Guest, Hands, plug, until

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
        return plug(self.world.admin, self.hands, network, hybrid=self.hybrid, **wanted)


@pytest.fixture(scope="module", params=["openvswitch", "iptables_hybrid"])
def scene(request: pytest.FixtureRequest) -> Iterator[Scene]:
    hybrid = request.param == "iptables_hybrid"
    world: World = request.getfixturevalue("hybrid_world" if hybrid else "world")
    more = {"quota": {"security_group": 100, "security_group_rule": 1000}}
    world.admin.expect("PUT", f"{NET}/quotas/{world.admin.project}", more)
    group = world.admin.create(f"{NET}/security-groups", "security_group", name="open")["id"]
    for family in ("IPv4", "IPv6"):
        rule = {"security_group_id": group, "direction": "ingress", "ethertype": family}
        world.admin.create(f"{NET}/security-group-rules", "security_group_rule", **rule)
    with Hands(world.cloud) as hands:
        yield Scene(world, hands, hybrid, group)


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
    # Of so many the first may have timed out, on a machine that was slow to send the others.
    assert 0.98 * limit <= _connections(scene, flooder.ip) <= limit
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


KINDS = ("datagrams", "datagrams of IPv6", "TCP", "TCP over IPv6", "pings", "pings of IPv6")


@dataclass
class Talk:
    """A connection from one guest to the other, spoken by hand: `say` sends the next word of either side."""

    kind: str
    caller: Guest
    called: Guest
    number: int = 0
    port: int = 7000

    def say(self, by_caller: bool) -> bytes:
        """The word, which is nowhere else."""
        self.number += 1
        word = f"{self.kind} {self.port} {self.number:04};".encode()
        one, two = (self.caller, self.called) if by_caller else (self.called, self.caller)
        source, target = (one.ip6, two.ip6) if "IPv6" in self.kind else (one.ip, two.ip)
        ports = (self.port, 7001) if by_caller else (7001, self.port)
        if "TCP" in self.kind:
            packet = frames.tcp(source, target, ports, (1_000 + self.number, 1_000 + self.number), 0x18, word)
        elif "pings" in self.kind:
            packet = frames.echo(source, target, word, is_answer=not by_caller, number=self.port)
        else:
            packet = frames.udp(source, target, ports, word)
        pass_on(one, two, packet)
        return word

    def open(self) -> None:
        if "TCP" in self.kind:
            six = "IPv6" in self.kind
            here, there = (self.caller.ip6, self.called.ip6) if six else (self.caller.ip, self.called.ip)
            pass_on(self.caller, self.called, frames.tcp(here, there, (self.port, 7001), (1_000, 0), 0x02, b"open;"))
            assert heard(self.called, b"open;")
            pass_on(self.called, self.caller, frames.tcp(there, here, (7001, self.port), (1_000, 1_001), 0x12, b"yes;"))
            assert heard(self.caller, b"yes;")
            pass_on(self.caller, self.called, frames.tcp(here, there, (self.port, 7001), (1_001, 1_001), 0x10))
        assert self.is_heard(True) and self.is_heard(False), f"{self.kind}: not even allowed"

    def is_heard(self, by_caller: bool, within_s: float = 3.0) -> bool:
        return heard(self.called if by_caller else self.caller, self.say(by_caller), within_s=within_s)


@dataclass
class Wards:
    """Two guests, and how the one that is called lets the other in and stops to."""

    talks: list[Talk]
    allow: Callable[[], None]
    forbid: Callable[[], None]
    probes: list[Talk]
    """Connections begun anew each time they are asked, to see which rules are in force."""

    def settle(self, allowed: bool) -> None:
        def is_so(probe: Talk) -> bool:
            probe.port += 1
            return probe.is_heard(True, 0.3) is allowed

        for probe in self.probes:
            until(f"{probe.kind} are {'heard' if allowed else 'not heard'}", partial(is_so, probe))


@pytest.fixture(scope="module", params=["by its rule", "by its group"])
def wards(scene: Scene, request: pytest.FixtureRequest) -> Wards:
    admin = scene.world.admin
    third = 25 + (request.param == "by its group") * 2
    network = scene.network(f"wards {request.param}", f"10.{third}.0.0/24", f"fd00:{third}::/64")
    friends, strangers, inner = (
        admin.create(f"{NET}/security-groups", "security_group", name=name)
        for name in ("friends", "strangers", "inner")
    )
    for rule in inner["security_group_rules"]:  # the one who is called says nothing but answers
        admin.expect("DELETE", f"{NET}/security-group-rules/{rule['id']}")
    friends, strangers, inner = friends["id"], strangers["id"], inner["id"]
    caller, called = scene.guest(network, friends), scene.guest(network, inner)
    rules: list[str] = []

    def let_in() -> None:
        for family in ("IPv4", "IPv6"):
            for protocol in ("tcp", "udp", "icmp" if family == "IPv4" else "ipv6-icmp"):
                wanted = {"direction": "ingress", "ethertype": family, "protocol": protocol, "remote_group_id": friends}
                made = admin.create(
                    f"{NET}/security-group-rules", "security_group_rule", security_group_id=inner, **wanted
                )
                rules.append(made["id"])

    def take_back() -> None:
        while rules:
            admin.expect("DELETE", f"{NET}/security-group-rules/{rules.pop()}")

    def join(*groups: str) -> None:
        admin.expect("PUT", f"{NET}/ports/{caller.id}", {"port": {"security_groups": list(groups)}})

    let_in()
    talks = [Talk(kind, caller, called) for kind in KINDS]
    probes = [Talk(kind, caller, called, port=20_000) for kind in KINDS]
    if request.param == "by its rule":
        return Wards(talks, let_in, take_back, probes)
    return Wards(talks, lambda: join(friends), lambda: join(strangers), probes)


def test_a_connection_lasts_as_long_as_its_permission(scene: Scene, wards: Wards) -> None:
    """It ends with it, in both directions, and goes on when the permission is back."""
    wards.settle(True)
    assert [talk.kind for talk in wards.talks] == list(KINDS)
    for talk in wards.talks:
        talk.open()
    for _ in range(2):
        wards.forbid()
        wards.settle(False)
        for talk in wards.talks:
            # Answers first: packets of the first direction would end the connection by the flows' mark, too.
            if not scene.hybrid and talk.kind == "pings of IPv6":
                # Ended by the next request, once the switch has marked the connection for it.
                until(
                    "pings of IPv6 end", lambda talk=talk: not (talk.is_heard(True, 0.3) or talk.is_heard(False, 0.3))
                )
                continue
            for by_caller in (False, True):
                if scene.hybrid and talk.kind == "pings of IPv6" and not by_caller:
                    continue  # a guest may send any ICMPv6, as with Neutron, and the caller's own rules let it in
                assert not talk.is_heard(by_caller, 0.3), f"{talk.kind} from the {'caller' if by_caller else 'called'}"
        wards.allow()
        wards.settle(True)
        for talk in wards.talks:
            assert talk.is_heard(True), f"{talk.kind} stay dead"
            assert talk.is_heard(False), f"answers to {talk.kind} stay dead"


def test_answers_to_a_stateless_group_need_a_rule(scene: Scene) -> None:
    """Of a peer whose group is stateful on the same host, too, whose connection the switch tracks."""
    network = scene.network("stateless", "10.29.0.0/24", "fd00:29::/64")
    wanted = {"name": "stateless", "stateful": False}
    stateless = scene.world.admin.create(f"{NET}/security-groups", "security_group", **wanted)["id"]
    caller, called = scene.guest(network, stateless), scene.guest(network)
    for kind in KINDS:
        talk = Talk(kind, caller, called)
        assert talk.is_heard(True)
        assert not talk.is_heard(False, 0.3), kind


def test_an_address_does_not_come_with_the_connections_of_its_last_holder(scene: Scene) -> None:
    network = scene.network("heirs", "10.30.0.0/24")
    (subnet,) = scene.world.admin.get(f"{NET}/subnets?network_id={network}")["subnets"]
    called = scene.guest(network)
    fixed = {"fixed_ips": [{"subnet_id": subnet["id"], "ip_address": "10.30.0.77"}]}
    closed = scene.world.admin.create(f"{NET}/security-groups", "security_group", name="heirs")["id"]
    first = scene.guest(network, closed, **fixed)
    Talk("datagrams", first, called).open()
    scene.world.admin.expect("DELETE", f"{NET}/ports/{first.id}")
    heir = scene.guest(network, closed, **fixed)
    assert not Talk("datagrams", heir, called, number=100).is_heard(False, 0.5)

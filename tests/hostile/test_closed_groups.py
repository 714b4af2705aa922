"""A guest whose group lets nothing in, and the ways round its rules: frames that a switch gives to everybody.

evil ── tap ┐                       evil may send what it likes; so may free, which has no port security;
free ── tap ├─ br-int ── router     closed has a group without ingress rules
closed  tap ┘
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.hostile import frames
from tests.hostile.conftest import World
from tests.hostile.frames import ARP, BROADCAST, IPV4, IPV6
from tests.hostile.guests import NET, Guest, Hands, plug, until

FRAMES = {
    "to all": BROADCAST,
    "to all nodes of IPv6": "33:33:00:00:00:01",
    "to a group of IPv4": "01:00:5e:00:00:fb",
    "to a group of nobody": "03:bf:0a:15:00:01",
}
PACKETS = ("ping", "datagram", "beginning of TCP", "datagram in fragments", "ping of IPv6", "datagram of IPv6",
           "beginning of TCP over IPv6", "datagram of IPv6 in fragments")  # fmt: skip
SENDERS = ("evil", "free")
WAYS = [(sender, packet, frame) for sender in SENDERS for packet in PACKETS for frame in FRAMES]


def note_of(way: tuple[str, str, str]) -> bytes:
    return f"way {WAYS.index(way):03}.".encode()


def packets(sender: Guest, closed: Guest, kind: str, note: bytes) -> list[bytes]:
    """A packet to the closed guest's own address with the note in it."""
    six = "IPv6" in kind
    source, target = (sender.ip6, closed.ip6) if six else (sender.ip, closed.ip)
    if "ping" in kind:
        return [frames.echo(source, target, note)]
    if "TCP" in kind:
        return [frames.tcp(source, target, (5000, 22), (1, 0), 0x02, note)]
    if "fragments" in kind:
        return frames.udp_in_fragments(source, target, (5000, 5000), note * 200)
    return [frames.udp(source, target, (5000, 5000), note)]


@dataclass
class Outcome:
    hybrid: bool
    heard: set[tuple[str, str, str]]
    broadcasts_heard: bool
    always: dict[str, bool]


@pytest.fixture(scope="module", params=["openvswitch", "iptables_hybrid"])
def outcome(request: pytest.FixtureRequest) -> Iterator[Outcome]:
    hybrid = request.param == "iptables_hybrid"
    world: World = request.getfixturevalue("hybrid_world" if hybrid else "world")
    with Hands(world.cloud) as hands:
        yield attack(world, hands, hybrid=hybrid)


def attack(world: World, hands: Hands, *, hybrid: bool) -> Outcome:
    admin = world.admin
    group = admin.create(f"{NET}/security-groups", "security_group", name="nothing in")["id"]
    net = admin.create(f"{NET}/networks", "network", name="closed")["id"]
    router = admin.create(f"{NET}/routers", "router", name="closed")["id"]
    six = {"ip_version": 6, "ipv6_ra_mode": "slaac", "ipv6_address_mode": "slaac", "cidr": "fd00:21::/64"}
    for values in ({"ip_version": 4, "cidr": "10.21.0.0/24"}, six):
        subnet = admin.create(f"{NET}/subnets", "subnet", network_id=net, **values)["id"]
        admin.expect("PUT", f"{NET}/routers/{router}/add_router_interface", {"subnet_id": subnet})
    evil, closed = (plug(world.admin, hands, net, hybrid=hybrid, security_groups=[group]) for _ in range(2))
    free = plug(world.admin, hands, net, hybrid=hybrid, security_groups=[], port_security_enabled=False)
    senders = {"evil": evil, "free": free}
    until("the router is there", lambda: "10.21.0.1" in hands.run("ip", "-n", f"qrouter-{router}", "-4", "address"))

    for way in WAYS:
        sender = senders[way[0]]
        for packet in packets(sender, closed, way[1], note_of(way)):
            kind = IPV6 if "IPv6" in way[1] else IPV4
            sender.send(frames.ethernet(sender.mac, FRAMES[way[2]], kind, packet))
    for address in ("255.255.255.255", "10.21.0.255"):
        evil.send(frames.ethernet(evil.mac, BROADCAST, IPV4, frames.udp(evil.ip, address, (5000, 5000), b"to all")))
    closed.send(frames.ethernet(closed.mac, BROADCAST, IPV4, frames.dhcp_discover(closed.mac, 0x51515151)))
    # What must arrive is sent last: once it is there, what was sent before has been dealt with.
    solicitation = bytes(4) + frames.ip(closed.ip6) + frames.note_option(b"nd of evil")
    evil.send(
        frames.ethernet(
            evil.mac, "33:33:00:00:00:01", IPV6,
            frames.neighbour_advertisement(evil.own6, evil.ip6, evil.mac, b"na of evil"),
        ),
        frames.ethernet(evil.mac, "33:33:ff:00:00:01", IPV6, frames.icmp6(evil.own6, "ff02::1", 135, solicitation)),
        frames.ethernet(
            evil.mac, BROADCAST, ARP, frames.arp(1, (evil.mac, evil.ip), (BROADCAST, closed.ip), b"arp of evil")
        ),
    )  # fmt: skip
    wanted = {
        "ARP": lambda frame: b"arp of evil" in frame,
        "neighbour solicitation": lambda frame: b"nd of evil" in frame,
        "neighbour advertisement": lambda frame: b"na of evil" in frame,
        "router advertisement": lambda frame: frame[12:14] == b"\x86\xdd" and frame[20:21] == b":" and frame[54] == 134,
        "answer of DHCP": lambda frame: frame[12:14] == b"\x08\0" and b"\x51\x51\x51\x51" in frame,
    }
    always = dict.fromkeys(wanted, False)
    here = frames.neighbour_advertisement(closed.own6, closed.own6, closed.mac, b"closed")
    asks = (  # the router answers one whose MAC it knows
        frames.ethernet(closed.mac, "33:33:00:00:00:01", IPV6, here),
        frames.ethernet(closed.mac, "33:33:00:00:00:02", IPV6, frames.icmp6(closed.own6, "ff02::2", 133, bytes(4))),
    )
    deadline, ask_at = time.monotonic() + 15, 0.0
    while not all(always.values()) and time.monotonic() < deadline:
        if time.monotonic() >= ask_at:  # again: the router may have just begun to listen
            closed.send(*asks)
            ask_at = time.monotonic() + 1
        for frame in closed.look():
            always |= {name: True for name, holds in wanted.items() if holds(frame)}
        time.sleep(0.01)
    closed.look()
    heard = {way for way in WAYS if any(note_of(way) in frame for frame in closed.seen)}
    return Outcome(hybrid, heard, any(b"to all" in frame for frame in closed.seen), always)


def test_what_every_guest_may_hear_arrives(outcome: Outcome) -> None:
    """ARP, neighbour discovery, router advertisements and DHCP travel in frames to many as well."""
    assert outcome.always and not [name for name, has_arrived in outcome.always.items() if not has_arrived]


@pytest.mark.parametrize("way", WAYS, ids=" ".join)
def test_a_closed_group_is_not_passed_in_a_frame_to_many(outcome: Outcome, way: tuple[str, str, str]) -> None:
    assert way not in outcome.heard


def test_iptables_judges_broadcasts_too(outcome: Outcome) -> None:
    """With `openvswitch` they arrive, as with Neutron: one copy of a frame is switched to all, past their rules."""
    assert outcome.broadcasts_heard is not outcome.hybrid

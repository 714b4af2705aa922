"""A guest that lies: about its MAC address, its address, who the gateway is, who serves DHCP, who routes.

    evil ── tap ┐                       all ports of the network have a group that lets everything in and out,
    victim ─ tap ├─ br-int ── router    so what is stopped here is stopped by anti-spoofing and nothing else
    stranger tap ┘  (another network)

All lies are sent once; then a letter that is true, and when it has arrived, what has not been seen is taken for held.
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

GATEWAY, GATEWAY6, ELSEWHERE = "10.20.0.1", "fd00:20::1", "192.0.2.77"
ALL_NODES = "33:33:00:00:00:01"


@dataclass
class Scene:
    world: World
    hands: Hands
    evil: Guest
    victim: Guest
    stranger: Guest
    router: str
    gateway_mac: str
    vlans: dict[str, int]
    """Numbers of the stranger's network: on the wire, and on this host."""


LIES = (
    "mac", "mac of the victim", "mac of the gateway", "ip of the gateway", "ip of the victim", "ip of nobody",
    "ip of everybody", "arp: I am the gateway", "arp: I am the victim", "arp: the gateway asks", "arp: nobody asks",
    "arp from another mac", "arp behind a vlan tag", "dhcp offer", "dhcp offer to all",
    "dhcp offer in fragments to all",
    "dhcp offer as the gateway", "dhcp offer behind a vlan tag", "dhcp6 advertisement", "dhcp6 advertisement to all",
    "router advertisement", "router advertisement behind options", "router advertisement in fragments",
    "router advertisement as the router", "neighbour: I am the gateway", "neighbour: I am the victim",
    "neighbour in fragments", "neighbour behind options", "neighbour asks as the victim", "ip6 of the victim",
    "ip6 of nobody", "ip6 from nowhere", "redirect as the gateway", "vlan of another network",
    "local vlan of another network",
    "two vlan tags", "spanning tree", "lldp",
)  # fmt: skip


def tell(scene: Scene, lie: str) -> list[bytes]:
    """The frames of one lie, with its name in them."""
    evil, victim, note = scene.evil, scene.victim, note_of(lie)
    me, you, gateway = evil.mac, victim.mac, scene.gateway_mac

    def says(
        source: str, payload: str | bytes, kind: int = IPV4, to: str = you, vlan: int | None = None
    ) -> list[bytes]:
        """A frame from `source`, with a packet from the address, or the payload itself."""
        if isinstance(payload, str):
            target = victim.ip6 if ":" in payload else victim.ip
            packet = frames.udp(payload, target, (5000, 5000), note)
            return [frames.ethernet(source, to, IPV6 if ":" in payload else IPV4, packet, vlan=vlan)]
        return [frames.ethernet(source, to, kind, payload, vlan=vlan)]

    def arp(operation: int, sender: tuple[str, str], source: str = me, vlan: int | None = None) -> list[bytes]:
        payload = frames.arp(operation, sender, (you, victim.ip), note)
        return says(source, payload, ARP, BROADCAST, vlan)

    offer = b"\x02\x01\x06\0" + note
    multicast6 = "33:33:00:00:00:01"
    advertisement = frames.router_advertisement(evil.own6, note)
    claim = frames.neighbour_advertisement(evil.own6, GATEWAY6, me, note)
    wire, local = scene.vlans["wire"], scene.vlans["local"]
    return {
        "mac": lambda: says("fa:16:3e:66:66:66", evil.ip),
        "mac of the victim": lambda: says(you, evil.ip),
        "mac of the gateway": lambda: says(gateway, GATEWAY),
        "ip of the gateway": lambda: says(me, GATEWAY),
        "ip of the victim": lambda: says(me, victim.ip),
        "ip of nobody": lambda: says(me, ELSEWHERE),
        "ip of everybody": lambda: says(me, "0.0.0.0"),
        "arp: I am the gateway": lambda: arp(2, (me, GATEWAY)),
        "arp: I am the victim": lambda: arp(2, (me, victim.ip)),
        "arp: the gateway asks": lambda: arp(1, (me, GATEWAY)),
        "arp: nobody asks": lambda: arp(1, (me, ELSEWHERE)),
        "arp from another mac": lambda: arp(2, (gateway, evil.ip), gateway),
        "arp behind a vlan tag": lambda: arp(2, (me, GATEWAY), vlan=local),
        "dhcp offer": lambda: says(me, frames.udp(evil.ip, victim.ip, (67, 68), offer)),
        "dhcp offer to all": lambda: says(me, frames.udp(evil.ip, "255.255.255.255", (67, 68), offer), to=BROADCAST),
        "dhcp offer in fragments to all": lambda: [
            frame
            for packet in frames.udp_in_fragments(evil.ip, "255.255.255.255", (67, 68), offer)
            for frame in says(me, packet, to=BROADCAST)
        ],
        "dhcp offer as the gateway": lambda: says(
            me, frames.udp(GATEWAY, "255.255.255.255", (67, 68), offer), to=BROADCAST
        ),
        "dhcp offer behind a vlan tag": lambda: says(
            me, frames.udp(evil.ip, "255.255.255.255", (67, 68), offer), to=BROADCAST, vlan=local
        ),
        "dhcp6 advertisement": lambda: says(me, frames.udp(evil.own6, victim.own6, (547, 546), b"\x02" + note), IPV6),
        "dhcp6 advertisement to all": lambda: says(
            me, frames.udp(evil.own6, "ff02::1", (547, 546), b"\x02" + note), IPV6, multicast6
        ),
        "router advertisement": lambda: says(me, advertisement, IPV6, multicast6),
        "router advertisement behind options": lambda: says(me, frames.behind_options(advertisement), IPV6, multicast6),
        "router advertisement in fragments": lambda: [
            frame
            for packet in frames.in_fragments6(frames.router_advertisement(evil.own6, note, 5))
            for frame in says(me, packet, IPV6, multicast6)
        ],
        "router advertisement as the router": lambda: says(
            me, frames.router_advertisement(frames.link_local(gateway), note), IPV6, multicast6
        ),
        "neighbour: I am the gateway": lambda: says(me, claim, IPV6, multicast6),
        "neighbour: I am the victim": lambda: says(
            me, frames.neighbour_advertisement(evil.own6, victim.ip6, me, note), IPV6, multicast6
        ),
        "neighbour in fragments": lambda: [
            frame
            for packet in frames.in_fragments6(frames.neighbour_advertisement(evil.own6, GATEWAY6, me, note, 5))
            for frame in says(me, packet, IPV6, multicast6)
        ],
        "neighbour behind options": lambda: says(me, frames.behind_options(claim), IPV6, multicast6),
        "neighbour asks as the victim": lambda: says(
            me,
            frames.icmp6(victim.ip6, "ff02::1", 135, bytes(4) + frames.ip(GATEWAY6) + frames.note_option(note)),
            IPV6,
            multicast6,
        ),
        "ip6 of the victim": lambda: says(me, victim.ip6),
        "ip6 of nobody": lambda: says(me, "2001:db8::66"),
        "ip6 from nowhere": lambda: says(me, "::"),
        "redirect as the gateway": lambda: says(
            me,
            frames.icmp6(
                frames.link_local(gateway), victim.ip6, 137,
                bytes(4) + frames.ip(evil.own6) + frames.ip("2001:db8::1") + frames.note_option(note),
            ),
            IPV6,
        ),
        "vlan of another network": lambda: says(me, evil.ip, to=scene.stranger.mac, vlan=wire)
        + arp(2, (me, evil.ip), vlan=wire),
        "local vlan of another network": lambda: says(me, evil.ip, to=scene.stranger.mac, vlan=local)
        + arp(2, (me, evil.ip), vlan=local),
        "two vlan tags": lambda: [
            frames.ethernet(me, BROADCAST, frames.VLAN, bytes([local >> 8, local & 255]) + frame[12:], vlan=wire)
            for frame in arp(2, (me, evil.ip))
        ],
        "spanning tree": lambda: [frames.ethernet(me, "01:80:c2:00:00:00", 38, b"\x42\x42\x03" + note)],
        "lldp": lambda: says(me, note, 0x88CC, "01:80:c2:00:00:0e"),
    }[lie]()  # fmt: skip


def note_of(lie: str) -> bytes:
    return f"lie {LIES.index(lie):03}.".encode()


def build(world: World, hands: Hands, *, hybrid: bool) -> Scene:
    admin = world.admin
    group = admin.create(f"{NET}/security-groups", "security_group", name="all in")["id"]
    for family in ("IPv4", "IPv6"):
        rule = {"security_group_id": group, "direction": "ingress", "ethertype": family}
        admin.create(f"{NET}/security-group-rules", "security_group_rule", **rule)
    net = admin.create(f"{NET}/networks", "network", name="lies")["id"]
    other = admin.create(f"{NET}/networks", "network", name="other")
    router = admin.create(f"{NET}/routers", "router", name="r")["id"]
    six = {"ip_version": 6, "ipv6_ra_mode": "slaac", "ipv6_address_mode": "slaac", "cidr": "fd00:20::/64"}
    for values in ({"ip_version": 4, "cidr": "10.20.0.0/24"}, six):
        subnet = admin.create(f"{NET}/subnets", "subnet", network_id=net, **values)["id"]
        admin.expect("PUT", f"{NET}/routers/{router}/add_router_interface", {"subnet_id": subnet})
    admin.create(f"{NET}/subnets", "subnet", network_id=other["id"], ip_version=4, cidr="10.20.0.0/24")
    (gateway,) = [
        port
        for port in admin.get(f"{NET}/ports?device_id={router}")["ports"]
        if any(item["ip_address"] == GATEWAY for item in port["fixed_ips"])
    ]
    evil, victim, stranger = (
        plug(world.admin, hands, network, hybrid=hybrid, security_groups=[group]) for network in (net, net, other["id"])
    )
    until("the router is there", lambda: GATEWAY in hands.run("ip", "-n", f"qrouter-{router}", "-4", "address"))
    port = f"{'qvo' if hybrid else 'tap'}{stranger.id[:11]}"
    local = int(hands.run("ovs-vsctl", "get", "Port", port, "tag"))
    vlans = {"wire": other["provider:segmentation_id"], "local": local}
    return Scene(world, hands, evil, victim, stranger, router, gateway["mac_address"], vlans)


@dataclass
class Outcome:
    """What came of it: lies that were seen, by the one who saw them; and what was true before and after."""

    heard: dict[str, list[str]]
    true: dict[str, bool]
    neighbours: str


@pytest.fixture(scope="module", params=["openvswitch", "iptables_hybrid"])
def outcome(request: pytest.FixtureRequest) -> Iterator[Outcome]:
    hybrid = request.param == "iptables_hybrid"
    world: World = request.getfixturevalue("hybrid_world" if hybrid else "world")
    with Hands(world.cloud) as hands:
        scene = build(world, hands, hybrid=hybrid)
        before = honest(scene, 1)
        for lie in LIES:
            scene.evil.send(*tell(scene, lie))
        after = honest(scene, 2)
        heard: dict[str, list[str]] = {}
        for name, guest in (("victim", scene.victim), ("stranger", scene.stranger)):
            guest.look()
            for lie in LIES:
                if any(note_of(lie) in frame for frame in guest.seen):
                    heard.setdefault(lie, []).append(name)
        neighbours = hands.run("ip", "-n", f"qrouter-{scene.router}", "neigh")
        lines = [line for line in neighbours.splitlines() if scene.evil.mac in line]
        wrong = [line for line in lines if line.split()[0] not in (*scene.evil.addresses, scene.evil.own6)]
        yield Outcome(heard, before | after, "\n".join(wrong))


def honest(scene: Scene, number: int) -> dict[str, bool]:
    """Whether what a guest may say arrives. Also the sign that all that was sent before has been dealt with."""
    evil, victim = scene.evil, scene.victim
    letters = {
        "datagram": frames.ethernet(evil.mac, victim.mac, IPV4, frames.udp(evil.ip, victim.ip, (5000, 5000),
        b"true %d" % number)),
        "datagram of IPv6": frames.ethernet(
            evil.mac, victim.mac, IPV6, frames.udp(evil.ip6, victim.ip6, (5000, 5000), b"six %d" % number)
        ),
        "ARP": frames.ethernet(
            evil.mac, BROADCAST, ARP, frames.arp(1, (evil.mac, evil.ip), (BROADCAST, victim.ip), b"arp %d" % number)
        ),
        "neighbour advertisement": frames.ethernet(
            evil.mac, ALL_NODES, IPV6, frames.neighbour_advertisement(evil.own6, evil.ip6, evil.mac, b"nd %d" % number)
        ),
    }  # fmt: skip
    notes = {
        "datagram": b"true %d",
        "datagram of IPv6": b"six %d",
        "ARP": b"arp %d",
        "neighbour advertisement": b"nd %d",
    }
    evil.send(*letters.values())
    deadline = time.monotonic() + 5
    arrived: dict[str, bool] = {}
    while len(arrived) < len(notes) and time.monotonic() < deadline:
        for frame in victim.look():
            arrived |= {f"{name} {number}": True for name, note in notes.items() if note % number in frame}
        time.sleep(0.01)
    time.sleep(0.3)
    return {f"{name} {number}": f"{name} {number}" in arrived for name in notes}


def test_what_is_true_arrives(outcome: Outcome) -> None:
    """Otherwise nothing below would prove anything."""
    assert outcome.true and not [name for name, has_arrived in outcome.true.items() if not has_arrived]


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_is_not_heard(outcome: Outcome, lie: str) -> None:
    assert lie not in outcome.heard, f"heard by {outcome.heard[lie]}"


def test_the_router_believes_nothing_of_it(outcome: Outcome) -> None:
    assert outcome.neighbours == "", "the router takes the guest for somebody else"

"""A routed provider network: each host is connected to one of its segments, and a router of the operator's is between.

c1 (physnet1)                                      c2 (public)
10.94.1.0/24 ── br-eth2 ── VLAN 1094 ── outside ── VLAN 94 ── br-ex ── 10.94.2.0/24
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.clouds import Cloud, running, wait_for
from tests.hostile import frames
from tests.hostile.client import Person, administrator
from tests.hostile.guests import NET, Guest, Hands, wired

TOPOLOGY = """\
[groups]
control = ["c1"]
network = ["c1", "c2"]
compute = ["c1", "c2"]

[hosts.c1]
physical_networks = ["physnet1"]

[hosts.c2]
physical_networks = ["public"]
"""
HOSTS = ("c1", "c2")
PHYSICAL = {"c1": "physnet1", "c2": "public"}
BRIDGE = {"c1": "br-eth2", "c2": "br-ex"}
WIRE = {"c1": "eth2", "c2": "eth3"}
VLAN = {"c1": 1094, "c2": 94}
PREFIX = {"c1": "10.94.1", "c2": "10.94.2"}
OTHER = {"c1": "c2", "c2": "c1"}
MASK, ROUTER, SERVER, ROUTES = 1, 3, 54, 121
"""Options of DHCP. Source: RFC 2132, RFC 3442."""
_marks = itertools.count(1)


@dataclass
class Router:
    """The operator's, outside of the cloud: it hears the wires of both physical networks as they are."""

    hands: Hands
    mac: str = "02:00:00:00:00:01"
    neighbours: dict[str, str] = field(default_factory=dict)
    heard: dict[str, list[bytes]] = field(default_factory=lambda: {host: [] for host in HOSTS})

    def open(self) -> None:
        for host in HOSTS:
            self.hands.do(open=WIRE[host], wire=True)

    def send(self, host: str, destination: str, kind: int, payload: bytes, vlan: int | None = None) -> None:
        frame = frames.ethernet(self.mac, destination, kind, payload, vlan=vlan or VLAN[host])
        self.hands.do(send=WIRE[host], frames=[frame.hex()])

    def turn(self) -> None:
        """Do what a router does with what came meanwhile."""
        for host in HOSTS:
            for text in self.hands.do(take=WIRE[host]):
                frame = bytes.fromhex(text)
                self.heard[host].append(frame)
                if vlan_of(frame) == VLAN[host]:
                    self._take(host, frame[:12] + frame[16:])

    def _take(self, host: str, frame: bytes) -> None:
        gateway = f"{PREFIX[host]}.1"
        if asks_for(frame, gateway):
            asker = frame[22:28].hex(":"), dotted(frame[28:32])
            self.send(host, asker[0], frames.ARP, frames.arp(2, (self.mac, gateway), asker))
        elif frame[12:14] == b"\x08\x06" and frame[20:22] == b"\0\2" and frame[:6] == frames.mac(self.mac):
            self.neighbours[dotted(frame[28:32])] = frame[22:28].hex(":")
        elif frame[12:14] == b"\x08\x00" and frame[:6] == frames.mac(self.mac):
            self._pass_on(frame[14:])

    def _pass_on(self, packet: bytes) -> None:
        target = dotted(packet[16:20])
        side = next((host for host in HOSTS if target.startswith(f"{PREFIX[host]}.")), None)
        if side is None:
            return
        if target not in self.neighbours:
            asked = frames.arp(1, (self.mac, f"{PREFIX[side]}.1"), ("00:00:00:00:00:00", target))
            self.send(side, frames.BROADCAST, frames.ARP, asked)
            return  # who sent it tries again
        head = packet[:8] + bytes([packet[8] - 1]) + packet[9:10] + b"\0\0" + packet[12:20]
        summed = head[:10] + frames.checksum(head).to_bytes(2, "big") + head[12:]
        self.send(side, self.neighbours[target], frames.IPV4, summed + packet[20:])


@dataclass
class Scene:
    cloud: Cloud
    admin: Person
    guests: dict[str, Guest]
    made: dict[str, Any]
    """The ports as they were before they had a host."""
    router: Router


@pytest.fixture(scope="module")
def scene() -> Iterator[Scene]:
    with ExitStack() as stack:
        cloud = stack.enter_context(running(topology=TOPOLOGY))
        admin = administrator(cloud.state)
        hands = {host: stack.enter_context(Hands(cloud, host)) for host in (*HOSTS, "outside")}
        network, group = furnish(admin)
        made = {host: admin.create(f"{NET}/ports", "port", network_id=network, **group) for host in HOSTS}
        guests = {}
        for host in HOSTS:
            bound = {"binding:host_id": host, "device_owner": "compute:nova"}
            port = admin.expect("PUT", f"{NET}/ports/{made[host]['id']}", {"port": bound})["port"]
            guests[host] = wired(admin, hands[host], port, hybrid=False)
        router = Router(hands["outside"])
        router.open()
        yield Scene(cloud, admin, guests, made, router)


def furnish(admin: Person) -> tuple[str, dict[str, Any]]:
    """The network, with a subnet on each segment; and what ports get for others to reach them."""
    wanted = [
        {
            "provider:network_type": "vlan",
            "provider:physical_network": PHYSICAL[host],
            "provider:segmentation_id": VLAN[host],
        }
        for host in HOSTS
    ]
    network = admin.create(f"{NET}/networks", "network", name="routed", segments=wanted)["id"]
    there = admin.get(f"{NET}/segments?network_id={network}")["segments"]
    for host in HOSTS:
        (segment,) = [each["id"] for each in there if each["physical_network"] == PHYSICAL[host]]
        on_it = {"cidr": f"{PREFIX[host]}.0/24", "ip_version": 4, "segment_id": segment}
        admin.create(f"{NET}/subnets", "subnet", network_id=network, **on_it)
    group = admin.create(f"{NET}/security-groups", "security_group", name="opened")["id"]
    opened = {"security_group_id": group, "direction": "ingress", "ethertype": "IPv4"}
    admin.create(f"{NET}/security-group-rules", "security_group_rule", **opened)
    return network, {"security_groups": [group]}


def dotted(raw: bytes) -> str:
    return ".".join(str(byte) for byte in raw)


def vlan_of(frame: bytes) -> int | None:
    return int.from_bytes(frame[14:16], "big") & 0xFFF if frame[12:14] == b"\x81\x00" else None


def asks_for(frame: bytes, address: str) -> bool:
    return frame[12:14] == b"\x08\x06" and frame[20:22] == b"\0\1" and dotted(frame[38:42]) == address


def offered(guest: Guest) -> tuple[str, dict[int, bytes]]:
    """The address that DHCP offers, and its options."""
    number = next(_marks)
    found: list[bytes] = []

    def look() -> bool:
        guest.send(frames.ethernet(guest.mac, frames.BROADCAST, frames.IPV4, frames.dhcp_discover(guest.mac, number)))
        found.extend(
            frame[42:]
            for frame in guest.look()
            if frame[12:14] == b"\x08\x00"
            and frame[34:38] == b"\0\x43\0\x44"
            and frame[46:50] == number.to_bytes(4, "big")
        )
        return bool(found)

    wait_for(f"DHCP answers {guest.ip}", look, timeout_s=20)
    options, rest = {}, found[0][240:]
    while rest and rest[0] != 255:
        if rest[0] == 0:
            rest = rest[1:]
            continue
        options[rest[0]], rest = rest[2 : 2 + rest[1]], rest[2 + rest[1] :]
    return dotted(found[0][16:20]), options


def routes_in(option: bytes) -> dict[str, str]:
    """Prefix to gateway. Source: RFC 3442."""
    found = {}
    while option:
        length = option[0]
        octets = (length + 7) // 8
        prefix = dotted(option[1 : 1 + octets].ljust(4, b"\0"))
        found[f"{prefix}/{length}"] = dotted(option[1 + octets : 5 + octets])
        option = option[5 + octets :]
    return found


def attend(guest: Guest) -> None:
    """Answer as a machine does to who asks for its address, and to pings."""
    for frame in guest.look():
        asker = frame[6:12].hex(":")
        if asks_for(frame, guest.ip):
            said = frames.arp(2, (guest.mac, guest.ip), (asker, dotted(frame[28:32])))
            guest.send(frames.ethernet(guest.mac, asker, frames.ARP, said))
        elif frame[12:14] == b"\x08\x00" and frame[23] == 1 and frame[34] == 8 and dotted(frame[30:34]) == guest.ip:
            data = frame[42 : 14 + int.from_bytes(frame[16:18], "big")]
            answer = frames.echo(guest.ip, dotted(frame[26:30]), data, is_answer=True)
            guest.send(frames.ethernet(guest.mac, asker, frames.IPV4, answer))


def test_ports_get_the_addresses_of_the_segments_of_their_hosts(scene: Scene) -> None:
    for host in HOSTS:
        assert (scene.made[host]["fixed_ips"], scene.made[host]["ip_allocation"]) == ([], "deferred")
        assert scene.guests[host].ip.startswith(f"{PREFIX[host]}.")
        bridges = scene.cloud.on(host, "ovs-vsctl list-br").split()
        assert BRIDGE[host] in bridges
        assert BRIDGE[OTHER[host]] not in bridges


@pytest.mark.parametrize("host", HOSTS)
def test_dhcp_on_each_host_offers_the_address_of_its_segment_and_the_way_to_the_other(scene: Scene, host: str) -> None:
    guest, gateway = scene.guests[host], f"{PREFIX[host]}.1"
    address, options = offered(guest)
    assert address == guest.ip
    assert dotted(options[MASK]) == "255.255.255.0"
    assert dotted(options[ROUTER]) == gateway
    assert dotted(options[SERVER]).startswith(f"{PREFIX[host]}.")
    told = routes_in(options[ROUTES])
    assert told[f"{PREFIX[OTHER[host]]}.0/24"] == gateway
    assert told["0.0.0.0/0"] == gateway


def gateway_mac(router: Router, guest: Guest, gateway: str) -> str:
    question = frames.arp(1, (guest.mac, guest.ip), ("00:00:00:00:00:00", gateway))
    found: set[str] = set()

    def look() -> bool:
        guest.send(frames.ethernet(guest.mac, frames.BROADCAST, frames.ARP, question))
        router.turn()
        attend(guest)
        found.update(
            frame[22:28].hex(":")
            for frame in guest.seen
            if frame[12:14] == b"\x08\x06" and frame[20:22] == b"\0\2" and dotted(frame[28:32]) == gateway
        )
        return bool(found)

    wait_for(f"{gateway} answers {guest.ip}", look, timeout_s=20)
    (mac,) = found
    return mac


def ping(router: Router, guest: Guest, far: Guest, via: str) -> bytes:
    """Ping until it is answered; the data of the pings."""
    data = b"ping %d;" % next(_marks)

    def answered() -> bool:
        guest.send(frames.ethernet(guest.mac, via, frames.IPV4, frames.echo(guest.ip, far.ip, data)))
        router.turn()
        attend(far)
        router.turn()
        attend(guest)
        return any(
            (frame[23], frame[34]) == (1, 0) and dotted(frame[26:30]) == far.ip and data in frame
            for frame in guest.seen
            if frame[12:14] == b"\x08\x00"
        )

    wait_for(f"{far.ip} answers {guest.ip}", answered, timeout_s=20)
    return data


@pytest.mark.parametrize("host", HOSTS)
def test_a_ping_goes_to_the_other_segment_by_the_route_of_dhcp_in_the_vlan_of_each(scene: Scene, host: str) -> None:
    router, guest, far = scene.router, scene.guests[host], scene.guests[OTHER[host]]
    via = gateway_mac(router, guest, routes_in(offered(guest)[1][ROUTES])[f"{PREFIX[OTHER[host]]}.0/24"])
    assert via == router.mac
    data = ping(router, guest, far, via)
    assert all(frame[22] == 63 for frame in far.seen if data in frame), "a router was between"
    for side in HOSTS:
        own, other = (frames.mac(scene.guests[each].mac) for each in (side, OTHER[side]))
        assert {vlan_of(frame) for frame in router.heard[side] if frame[6:12] == own} == {VLAN[side]}
        assert not [frame for frame in router.heard[side] if other in (frame[:6], frame[6:12])]


@pytest.mark.parametrize("host", HOSTS)
def test_frames_of_the_other_segments_vlan_on_the_wire_do_not_come_to_the_port(scene: Scene, host: str) -> None:
    guest, router = scene.guests[host], scene.router
    strange, known = b"strange %d;" % next(_marks), b"known %d;" % next(_marks)

    def came() -> bool:
        for vlan, data in ((VLAN[OTHER[host]], strange), (VLAN[host], known)):
            packet = frames.udp(f"{PREFIX[OTHER[host]]}.1", guest.ip, (7777, 53), data)
            router.send(host, guest.mac, frames.IPV4, packet, vlan)
        guest.look()
        return any(known in frame for frame in guest.seen)

    wait_for(f"frames come to {guest.ip}", came, timeout_s=20)
    assert not any(strange in frame for frame in guest.seen)
    said = scene.cloud.run("diff", host, check=False).stdout
    assert "as it should be" in said, said

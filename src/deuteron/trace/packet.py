"""The packet that is followed: one Ethernet frame with what rules may look at, and nothing else.

Addresses are canonical text. Of ARP, `source` and `destination` are the protocol addresses and `protocol` is the
operation. Of ICMP, `sport` is the type and `dport` the code, as Open vSwitch has them.
"""

from __future__ import annotations

import ipaddress
from functools import lru_cache
from typing import Final, Literal

import msgspec

Kind = Literal["arp", "ip", "ipv6"]
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

ICMP: Final = 1
TCP: Final = 6
UDP: Final = 17
ICMP6: Final = 58
SCTP: Final = 132
ECHO: Final = {ICMP: (8, 0), ICMP6: (128, 129)}
"""Types of the request and of the answer."""
SOLICITATION, ADVERTISEMENT = 135, 136
BROADCAST: Final = "ff:ff:ff:ff:ff:ff"
NAMES: Final = {ICMP: "icmp", TCP: "tcp", UDP: "udp", ICMP6: "ipv6-icmp", SCTP: "sctp"}

REQUEST, REPLY = 1, 2
CLIENT_PORT: Final = 40000
"""The port of who asks: one that nobody's rule is about."""
SMALL_BYTES: Final = 84
"""What `ping` sends."""


class Packet(msgspec.Struct, frozen=True):
    kind: Kind
    src_mac: str
    dst_mac: str
    source: str
    destination: str
    protocol: int
    sport: int = 0
    dport: int = 0
    vlan: int = 0
    """The tag of the frame; 0 without one."""
    tun_id: int = 0
    nd_target: str = ""
    """Of neighbour discovery: the address in question."""
    mac: str = ""
    """Of ARP and neighbour discovery: the MAC that is told."""
    ttl: int = 64
    size_bytes: int = SMALL_BYTES
    """Of the IP packet; it may not be fragmented."""
    mark: int = 0
    """What the kernel of one host notes of it."""
    is_answer: bool = False
    """Of a connection, whether it goes back: of TCP, with SYN and ACK."""

    @property
    def family(self) -> Literal[4, 6]:
        return 6 if self.kind == "ipv6" else 4

    @property
    def is_resolution(self) -> bool:
        """Whether it asks or tells where an address is."""
        if self.kind == "ipv6":
            return self.protocol == ICMP6 and self.sport in (SOLICITATION, ADVERTISEMENT)
        return self.kind == "arp"

    @property
    def words(self) -> str:
        """What it is, as a person asks for it: `tcp/22`."""
        if self.kind == "arp":
            return "ARP"
        name = {ICMP: "icmp", ICMP6: "icmp", TCP: "tcp", UDP: "udp", SCTP: "sctp"}.get(
            self.protocol, f"protocol {self.protocol}"
        )
        return f"{name}/{self.dport}" if self.protocol in (TCP, UDP, SCTP) else name

    def but(self, **changes: object) -> Packet:
        return msgspec.structs.replace(self, **changes)


def ask(source_mac: str, source: str, wanted: str) -> Packet:
    """The frame that asks for the MAC of an address: ARP, or a neighbour solicitation (RFC 4861)."""
    if ":" not in wanted:
        return Packet("arp", source_mac, BROADCAST, source, wanted, REQUEST, mac=source_mac)
    low = int(ipaddress.IPv6Address(wanted)) & 0xFFFFFF
    group = str(ipaddress.IPv6Address(int(ipaddress.IPv6Address("ff02::1:ff00:0")) | low))
    group_mac = f"33:33:ff:{low >> 16:02x}:{low >> 8 & 255:02x}:{low & 255:02x}"
    return Packet("ipv6", source_mac, group_mac, source, group, ICMP6, SOLICITATION, nd_target=wanted, mac=source_mac)


def told(asked: Packet, mac: str) -> Packet:
    """The answer to `ask` of who has the address."""
    if asked.kind == "arp":
        return Packet("arp", mac, asked.mac, asked.destination, asked.source, REPLY, mac=mac)
    return Packet(
        "ipv6", mac, asked.mac, asked.nd_target, asked.source, ICMP6, ADVERTISEMENT, nd_target=asked.nd_target, mac=mac
    )


def answer(packet: Packet) -> Packet:
    """What comes back of a packet that arrived, before it has MACs."""
    sport, dport = packet.dport, packet.sport
    if packet.protocol in ECHO:
        sport, dport = ECHO[packet.protocol][1], 0
    return packet.but(
        src_mac="",
        dst_mac="",
        vlan=0,
        tun_id=0,
        source=packet.destination,
        destination=packet.source,
        sport=sport,
        dport=dport,
        ttl=64,
        mark=0,
        is_answer=True,
    )


@lru_cache(maxsize=1 << 14)
def network(text: str) -> Network:
    return ipaddress.ip_network(text, strict=False)


@lru_cache(maxsize=1 << 14)
def number(address: str) -> tuple[int, int]:
    """The version and the number of an address."""
    it = ipaddress.ip_address(address)
    return it.version, int(it)


def within(address: str, prefix: str) -> bool:
    """Whether an address is in a prefix."""
    where = network(prefix)
    version, value = number(address)
    return where.version == version and value >> (where.max_prefixlen - where.prefixlen) == (
        int(where.network_address) >> (where.max_prefixlen - where.prefixlen)
    )


def is_multicast(mac: str) -> bool:
    return bool(int(mac[:2], 16) & 1)

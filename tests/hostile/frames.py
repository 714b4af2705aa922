"""Ethernet frames made by hand, honest or not: nothing here checks what it is asked to say."""

from __future__ import annotations

import ipaddress
import socket
import struct
from itertools import count

ARP, IPV4, IPV6, VLAN = 0x0806, 0x0800, 0x86DD, 0x8100
TCP, UDP, ICMP6, FRAGMENT = 6, 17, 58, 44
BROADCAST = "ff:ff:ff:ff:ff:ff"
_identifications = count(1)
_FIRST = 1248
"""Bytes in a first fragment: what Open vSwitch takes by itself (1200, and 1280 with header for IPv6)."""


def mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def ip(text: str) -> bytes:
    return ipaddress.ip_address(text).packed


def link_local(mac_address: str) -> str:
    """The address that a card with this MAC forms. Source: RFC 4291 appendix A."""
    raw = bytearray(mac(mac_address))
    raw[0] ^= 2
    return str(ipaddress.IPv6Address(b"\xfe\x80" + bytes(6) + bytes(raw[:3]) + b"\xff\xfe" + bytes(raw[3:])))


def ethernet(source: str, destination: str, kind: int, payload: bytes, *, vlan: int | None = None) -> bytes:
    tag = b"" if vlan is None else struct.pack(">HH", VLAN, vlan)
    return (mac(destination) + mac(source) + tag + struct.pack(">H", kind) + payload).ljust(60, b"\0")


def arp(operation: int, sender: tuple[str, str], target: tuple[str, str], note: bytes = b"") -> bytes:
    """1 asks, 2 answers; pairs are MAC and IP. The note follows where a frame is padded."""
    head = struct.pack(">HHBBH", 1, IPV4, 6, 4, operation)
    return head + mac(sender[0]) + ip(sender[1]) + mac(target[0]) + ip(target[1]) + note


def checksum(data: bytes) -> int:
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def _pseudo(source: str, destination: str, protocol: int, length: int) -> bytes:
    if ":" in source:
        return ip(source) + ip(destination) + struct.pack(">IxxxB", length, protocol)
    return ip(source) + ip(destination) + struct.pack(">BBH", 0, protocol, length)


def _summed(source: str, destination: str, protocol: int, data: bytes, at: int) -> bytes:
    """The segment with its checksum at byte `at`."""
    value = checksum(_pseudo(source, destination, protocol, len(data)) + data)
    return data[:at] + struct.pack(">H", value or 0xFFFF) + data[at + 2 :]


def ipv4(source: str, destination: str, protocol: int, payload: bytes, *, fragment: int = 0, number: int = 0) -> bytes:
    """`fragment` is the field of flags and offset; `number` the identification."""
    head = struct.pack(
        ">BBHHHBBH4s4s", 0x45, 0, 20 + len(payload), number or next(_identifications) & 0xFFFF, fragment, 64,
        protocol, 0,
        ip(source), ip(destination),
    )  # fmt: skip
    return head[:10] + struct.pack(">H", checksum(head)) + head[12:] + payload


def ipv6(source: str, destination: str, protocol: int, payload: bytes) -> bytes:
    return struct.pack(">IHBB", 6 << 28, len(payload), protocol, 255) + ip(source) + ip(destination) + payload


def udp(source: str, destination: str, ports: tuple[int, int], data: bytes) -> bytes:
    """A datagram in its packet, of either family."""
    segment = struct.pack(">HHHH", *ports, 8 + len(data), 0) + data
    segment = _summed(source, destination, UDP, segment, 6)
    return (ipv6 if ":" in source else ipv4)(source, destination, UDP, segment)


def udp_in_fragments(
    source: str, destination: str, ports: tuple[int, int], data: bytes, first: int = _FIRST
) -> list[bytes]:
    """The same in two packets, the first of which has the ports and `first` bytes, a multiple of 8."""
    data = data.ljust(first + 152, b".")
    segment = _summed(source, destination, UDP, struct.pack(">HHHH", *ports, 8 + len(data), 0) + data, 6)
    number = next(_identifications)
    if ":" in source:
        heads = (struct.pack(">BBHI", UDP, 0, 1, number), struct.pack(">BBHI", UDP, 0, first, number))
        return [
            ipv6(source, destination, FRAGMENT, heads[0] + segment[:first]),
            ipv6(source, destination, FRAGMENT, heads[1] + segment[first:]),
        ]
    return [
        ipv4(source, destination, UDP, segment[:first], fragment=0x2000, number=number),
        ipv4(source, destination, UDP, segment[first:], fragment=first // 8, number=number),
    ]


def tcp(
    source: str, destination: str, ports: tuple[int, int], numbers: tuple[int, int], flags: int, data: bytes = b""
) -> bytes:
    segment = struct.pack(">HHIIBBHHH", *ports, numbers[0], numbers[1], 5 << 4, flags, 64000, 0, 0) + data
    return (ipv6 if ":" in source else ipv4)(source, destination, TCP, _summed(source, destination, TCP, segment, 16))


def echo(source: str, destination: str, data: bytes, *, is_answer: bool = False, number: int = 7) -> bytes:
    """A ping in its packet, of either family."""
    body = struct.pack(">HH", number, 1) + data
    if ":" in source:
        return icmp6(source, destination, 129 if is_answer else 128, body)
    segment = struct.pack(">BBH", 0 if is_answer else 8, 0, 0) + body
    return ipv4(source, destination, 1, segment[:2] + struct.pack(">H", checksum(segment)) + segment[4:])


def dhcp_discover(mac_address: str, transaction: int) -> bytes:
    """A guest without an address asks for one; the answer may come to all. Source: RFC 2131 section 2."""
    head = struct.pack(">BBBBIHH16x", 1, 1, 6, 0, transaction, 0, 0x8000) + mac(mac_address) + bytes(10 + 192)
    return udp("0.0.0.0", "255.255.255.255", (68, 67), head + b"\x63\x82\x53\x63\x35\x01\x01\xff")


def icmp6(source: str, destination: str, kind: int, body: bytes) -> bytes:
    segment = _summed(source, destination, ICMP6, struct.pack(">BBH", kind, 0, 0) + body, 2)
    return ipv6(source, destination, ICMP6, segment)


def note_option(note: bytes) -> bytes:
    """An option of neighbour discovery that nobody knows, with a note in it. Source: RFC 4861 section 4.6."""
    length = (2 + len(note) + 7) // 8
    return (bytes([254, length]) + note).ljust(8 * length, b"\0")


def router_advertisement(source: str, note: bytes, long: int = 0) -> bytes:
    """`long` puts that many further options behind it, of 256 bytes each."""
    body = struct.pack(">BBHII", 64, 0, 1800, 0, 0) + note_option(note) + note_option(bytes(254)) * long
    return icmp6(source, "ff02::1", 134, body)


def neighbour_advertisement(source: str, target: str, its_mac: str, note: bytes, long: int = 0) -> bytes:
    body = (
        struct.pack(">I", 1 << 29)
        + ip(target)
        + b"\x02\x01"
        + mac(its_mac)
        + note_option(note)
        + note_option(bytes(254)) * long
    )
    return icmp6(source, "ff02::1", 136, body)


def solicited_advertisement(target: str, its_mac: str, destination: str) -> bytes:
    """The answer to a neighbour solicitation."""
    return icmp6(target, destination, 136, struct.pack(">I", 3 << 29) + ip(target) + b"\x02\x01" + mac(its_mac))


def in_fragments6(packet: bytes) -> list[bytes]:
    """An IPv6 packet in two fragments, made long enough by what follows it. Source: RFC 8200 section 4.5."""
    source, destination = (socket.inet_ntop(socket.AF_INET6, packet[at : at + 16]) for at in (8, 24))
    kind, payload, number = packet[6], packet[40:], next(_identifications)
    first, rest = payload[:_FIRST], payload[_FIRST:]
    return [
        ipv6(source, destination, FRAGMENT, struct.pack(">BBHI", kind, 0, 1, number) + first),
        ipv6(source, destination, FRAGMENT, struct.pack(">BBHI", kind, 0, _FIRST, number) + rest),
    ]


def behind_options(packet: bytes) -> bytes:
    """An IPv6 packet with a header of destination options put before its content."""
    options = struct.pack(">BB", packet[6], 0) + b"\x01\x04\0\0\0\0"
    source, destination = (socket.inet_ntop(socket.AF_INET6, packet[at : at + 16]) for at in (8, 24))
    return ipv6(source, destination, 60, options + packet[40:])


def text(raw: bytes) -> str:
    """An address of either family, as the rest of the world writes it."""
    return socket.inet_ntop(socket.AF_INET if len(raw) == 4 else socket.AF_INET6, raw)

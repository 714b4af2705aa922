"""Frames as they are on a device: read down to the packet inside, and made.

A tunnel's outer packet is taken off (VXLAN, Geneve, GRE), tags are noted, and of the packet inside `identity` says what
no switch and no router on its way changes: not its addresses, ports, tags, TTL or checksums.

Source: IEEE 802.1Q; RFC 791, 792, 826, 2784, 4443, 7348, 8200, 8926, 9293.
"""

from __future__ import annotations

import hashlib
import ipaddress
import struct
from typing import Final, NamedTuple

from deuteron.trace.packet import ICMP, ICMP6, SCTP, TCP, UDP, Packet

_IP4, _IP6, _ARP, _TAGS = 0x0800, 0x86DD, 0x0806, (0x8100, 0x88A8)
_BRIDGED = 0x6558
_GRE: Final = 47
_TUNNEL_PORTS: Final = {4789: "vxlan", 6081: "geneve"}
_EXTENSIONS: Final = (0, 43, 60)
_DEEPEST: Final = 4
_ICMP_WORDS: Final = {0: "echo reply", 3: "unreachable", 5: "redirect", 8: "echo request", 11: "time exceeded"}
_ICMP6_WORDS: Final = {
    1: "unreachable", 2: "too big", 3: "time exceeded", 128: "echo request", 129: "echo reply",
    133: "router solicitation", 134: "router advertisement", 135: "neighbour solicitation",
    136: "neighbour advertisement",
}  # fmt: skip
_FLAGS: Final = ((2, "SYN"), (16, "ACK"), (1, "FIN"), (4, "RST"), (8, "PSH"))


class Tunnelled(NamedTuple):
    kind: str
    vni: int
    source: str
    destination: str

    @property
    def words(self) -> str:
        return f"{self.kind} VNI {self.vni} {self.source} > {self.destination}"


class Frame(NamedTuple):
    """A frame, read to the packet inside. Of what is no IP and no ARP, the addresses are empty."""

    src_mac: str
    dst_mac: str
    tags: tuple[int, ...]
    tunnels: tuple[Tunnelled, ...]
    """From the outermost on."""
    inner: bytes
    """The innermost frame, without tags."""
    source: str
    destination: str
    protocol: int
    sport: int
    dport: int
    """Of ICMP, `sport` is the type and `dport` the code."""
    ttl: int
    words: str
    identity: bytes
    sequence: int = 0
    """Of TCP."""
    acknowledged: int = 0


def read(frame: bytes) -> Frame:
    """The frame, as far as it is whole."""
    tunnels: list[Tunnelled] = []
    for _ in range(_DEEPEST):
        tags, kind, at = _head(frame)
        inner = frame[:12] + frame[at - 2 :] if tags else frame
        found = _tunnelled(kind, frame[at:])
        if found is None:
            return _read(inner, tags, tuple(tunnels), kind, frame[at:])
        tunnels.append(found[0])
        frame = found[1]
    return _read(frame, (), tuple(tunnels), 0, b"")


def _head(frame: bytes) -> tuple[tuple[int, ...], int, int]:
    """Tags, the type, and where what it is of begins."""
    tags, at = [], 12
    kind = int.from_bytes(frame[at : at + 2], "big")
    while kind in _TAGS and len(frame) >= at + 6:
        tags.append(int.from_bytes(frame[at + 2 : at + 4], "big") & 0xFFF)
        at += 4
        kind = int.from_bytes(frame[at : at + 2], "big")
    return tuple(tags), kind, at + 2


class _Ip(NamedTuple):
    source: str
    destination: str
    protocol: int
    ttl: int
    name: bytes
    """What its sender calls this packet: the identification, or the flow label."""
    body: bytes
    is_fragment: bool


def _ip(kind: int, data: bytes) -> _Ip | None:
    if kind == _IP4 and len(data) >= 20:
        length, offset = (data[0] & 15) * 4, int.from_bytes(data[6:8], "big")
        whole = int.from_bytes(data[2:4], "big") or len(data)
        return _Ip(
            str(ipaddress.IPv4Address(data[12:16])), str(ipaddress.IPv4Address(data[16:20])), data[9], data[8],
            data[4:6] + (offset & 0x1FFF).to_bytes(2, "big"), data[length:whole], bool(offset & 0x1FFF),
        )  # fmt: skip
    if kind == _IP6 and len(data) >= 40:
        protocol, at = data[6], 40
        whole = 40 + int.from_bytes(data[4:6], "big")
        while protocol in _EXTENSIONS and len(data) >= at + 8:
            protocol, at = data[at], at + 8 + data[at + 1] * 8
        return _Ip(
            str(ipaddress.IPv6Address(data[8:24])), str(ipaddress.IPv6Address(data[24:40])), protocol, data[7],
            data[1:4], data[at:whole], protocol == 44,
        )  # fmt: skip
    return None


def _tunnelled(kind: int, data: bytes) -> tuple[Tunnelled, bytes] | None:
    ip = _ip(kind, data)
    if ip is None or ip.is_fragment:
        return None
    body = ip.body
    if ip.protocol == UDP and len(body) >= 16:
        port = int.from_bytes(body[2:4], "big")
        if port in _TUNNEL_PORTS:
            options = (body[8] & 0x3F) * 4 if port == 6081 else 0
            vni = int.from_bytes(body[12:15], "big")
            return Tunnelled(_TUNNEL_PORTS[port], vni, ip.source, ip.destination), body[16 + options :]
    if ip.protocol == _GRE and len(body) >= 4 and int.from_bytes(body[2:4], "big") == _BRIDGED:
        has_sum, has_key, has_number = body[0] & 0x80, body[0] & 0x20, body[0] & 0x10
        at = 4 + (4 if has_sum else 0)
        key = int.from_bytes(body[at : at + 4], "big") if has_key else 0
        at += (4 if has_key else 0) + (4 if has_number else 0)
        return Tunnelled("gre", key, ip.source, ip.destination), body[at:]
    return None


def _read(inner: bytes, tags: tuple[int, ...], tunnels: tuple[Tunnelled, ...], kind: int, data: bytes) -> Frame:
    src, dst = inner[6:12].hex(":"), inner[:6].hex(":")

    def made(words: str, identity: bytes, ip: _Ip | None = None, sport: int = 0, dport: int = 0) -> Frame:
        ends = (ip.source, ip.destination, ip.protocol) if ip is not None else ("", "", 0)
        named = hashlib.blake2b(identity, digest_size=12).digest()
        ttl = ip.ttl if ip is not None else 0
        return Frame(src, dst, tags, tunnels, inner, *ends, sport, dport, ttl, words, named)

    if kind == _ARP and len(data) >= 28:
        asks = int.from_bytes(data[6:8], "big") == 1
        teller, wanted = ipaddress.IPv4Address(data[14:18]), ipaddress.IPv4Address(data[24:28])
        words = f"ARP who has {wanted}, tell {teller}" if asks else f"ARP {teller} is at {data[8:14].hex(':')}"
        return made(words, b"arp" + data[6:28])
    ip = _ip(kind, data)
    if ip is None:
        return made(f"ethertype {kind:#06x}", b"other" + kind.to_bytes(2, "big") + data)
    body = ip.body
    whose = bytes([ip.protocol]) + ip.name + len(body).to_bytes(4, "big")
    if ip.is_fragment:
        return made("fragment", whose + body[:64], ip)
    if ip.protocol == TCP and len(body) >= 20:
        sport, dport, sequence, acknowledged = struct.unpack(">HHII", body[:12])
        flags, start = body[13], (body[12] >> 4) * 4
        words = f"tcp {sport} > {dport} {'+'.join(w for b, w in _FLAGS if flags & b) or 'no flags'} seq {sequence}"
        said = whose + body[4:12] + bytes([flags]) + body[start:]
        return made(words, said, ip, sport, dport)._replace(sequence=sequence, acknowledged=acknowledged)
    if ip.protocol == UDP and len(body) >= 8:
        sport, dport = struct.unpack(">HH", body[:4])
        return made(f"udp {sport} > {dport}", whose + body[8:], ip, sport, dport)
    if ip.protocol in (ICMP, ICMP6) and len(body) >= 8:
        names = _ICMP_WORDS if ip.protocol == ICMP else _ICMP6_WORDS
        is_echo = body[0] in ((0, 8) if ip.protocol == ICMP else (128, 129))
        words = f"icmp {names.get(body[0], f'type {body[0]}')}"
        if is_echo:
            words += f" id {int.from_bytes(body[4:6], 'big')} seq {int.from_bytes(body[6:8], 'big')}"
            return made(words, whose + body[:2] + body[6:], ip, body[0], body[1])
        # What is told of another packet is translated with it.
        said = body if ip.protocol == ICMP6 else body[:2]
        return made(words, whose + said[:2] + said[4:], ip, body[0], body[1])
    if ip.protocol == SCTP and len(body) >= 12:
        sport, dport = struct.unpack(">HH", body[:4])
        return made(f"sctp {sport} > {dport}", whose + body[4:8] + body[12:], ip, sport, dport)
    return made(f"protocol {ip.protocol}", whose + body, ip)


# --- made -------------------------------------------------------------------------------------------------------------


def written(packet: Packet, payload: bytes, *, number: int, sequence: int = 0) -> bytes:
    """The IP packet that `packet` describes, with what it carries.

    `number` is the identification, and of an echo its sequence; `sequence` is TCP's. ICMP's identifier is its low half.
    """
    body = _body(packet, payload, number, sequence)
    ends = ipaddress.ip_address(packet.source).packed, ipaddress.ip_address(packet.destination).packed
    at = {ICMP: 2, ICMP6: 2, UDP: 6, TCP: 16}.get(packet.protocol)
    if at is not None:
        before = b"" if packet.protocol == ICMP else b"".join(ends) + struct.pack(">II", len(body), packet.protocol)
        checked = _checksum(before + body) or 0xFFFF
        body = body[:at] + checked.to_bytes(2, "big") + body[at + 2 :]
    elif packet.protocol == SCTP:
        body = body[:8] + _crc32c(body).to_bytes(4, "little") + body[12:]
    if packet.kind == "ipv6":
        head = struct.pack(">IHBB", 6 << 28 | number & 0xFFFFF, len(body), packet.protocol, packet.ttl)
        return head + b"".join(ends) + body
    length = 20 + len(body)
    head = struct.pack(">BBHHHBBH", 0x45, 0, length, number & 0xFFFF, 0x4000, packet.ttl, packet.protocol, 0)
    head += b"".join(ends)
    return head[:10] + _checksum(head).to_bytes(2, "big") + head[12:] + body


def framed(packet: Packet, ip: bytes) -> bytes:
    """The frame around an IP packet, with its MACs and its tag."""
    macs = bytes.fromhex(packet.dst_mac.replace(":", "")) + bytes.fromhex(packet.src_mac.replace(":", ""))
    tag = struct.pack(">HH", 0x8100, packet.vlan) if packet.vlan else b""
    return macs + tag + (_IP6 if packet.kind == "ipv6" else _IP4).to_bytes(2, "big") + ip


def _body(packet: Packet, payload: bytes, number: int, sequence: int) -> bytes:
    if packet.protocol in (ICMP, ICMP6):
        return struct.pack(">BBHHH", packet.sport, packet.dport, 0, sequence & 0xFFFF, number & 0xFFFF) + payload
    if packet.protocol == UDP:
        return struct.pack(">HHHH", packet.sport, packet.dport, 8 + len(payload), 0) + payload
    if packet.protocol == TCP:
        return struct.pack(">HHIIBBHHH", packet.sport, packet.dport, sequence, 0, 5 << 4, 2, 64240, 0, 0)
    if packet.protocol == SCTP:
        chunk = struct.pack(">BBHIIHHI", 1, 0, 20, sequence or 1, 65535, 1, 1, sequence or 1)
        return struct.pack(">HHII", packet.sport, packet.dport, 0, 0) + chunk
    raise ValueError(f"no packet of protocol {packet.protocol} is made here")


def _checksum(data: bytes) -> int:
    if len(data) % 2:
        data += b"\0"
    total: int = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def _crc32c(data: bytes) -> int:
    """Of SCTP (RFC 9260, appendix A)."""
    value = 0xFFFFFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
    return value ^ 0xFFFFFFFF

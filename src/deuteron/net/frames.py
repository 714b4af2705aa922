"""What the headers of a frame say, in words: as in Neutron's log, whose library calls each by its fields.

    ethernet(dst='…',ethertype=2048,src='…'), ipv4(…,dst='10.0.0.4',…), tcp(…,dst_port=22,…)

Names, fields and their order are that library's; of what they carry nothing is said. Every byte may be a guest's:
nothing comes out but numbers and addresses, and a header that is cut off ends the description.

Source: os-ken, os_ken/lib/packet/*.py; RFC 791, 792, 826, 4443, 8200, 9260, 9293; IEEE 802.1Q.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from ipaddress import IPv4Address, IPv6Address
from typing import Final

_ETHERNET = struct.Struct("!6s6sH")
_VLAN = struct.Struct("!HH")
_ARP = struct.Struct("!HHBBH6s4s6s4s")
_IPV4 = struct.Struct("!BBHHHBBH4s4s")
_IPV6 = struct.Struct("!IHBB16s16s")
_TCP = struct.Struct("!HHIIBBHHH")
_UDP = struct.Struct("!HHHH")
_ICMP = struct.Struct("!BBH")
_SCTP = struct.Struct("!HHII")

_TAGS: Final = (0x8100, 0x88A8)
_MOST_TAGS = 2

Fields = Mapping[str, int | str]


def describe(frame: bytes) -> str:
    """The headers of a frame that may be cut off anywhere."""
    words: list[str] = []
    try:
        _ethernet(frame, words)
    except struct.error:
        words.append(f"cut off: {len(frame)} bytes" if not words else "cut off")
    return ", ".join(words)


def _ethernet(frame: bytes, words: list[str]) -> None:
    destination, source, kind = _ETHERNET.unpack_from(frame)
    _say(words, "ethernet", {"dst": _mac(destination), "ethertype": kind, "src": _mac(source)})
    at = _ETHERNET.size
    for _ in range(_MOST_TAGS):
        if kind in _TAGS:
            tag, kind = _VLAN.unpack_from(frame, at)
            _say(words, "vlan", {"cfi": tag >> 12 & 1, "ethertype": kind, "pcp": tag >> 13, "vid": tag & 0xFFF})
            at += _VLAN.size
    inside = _NETWORK.get(kind)
    if inside is not None:
        inside(frame[at:], words)


def _arp(raw: bytes, words: list[str]) -> None:
    hardware, protocol, hlen, plen, opcode, sender, sender_ip, target, target_ip = _ARP.unpack_from(raw)
    fields = {
        "dst_ip": str(IPv4Address(target_ip)),
        "dst_mac": _mac(target),
        "hlen": hlen,
        "hwtype": hardware,
        "opcode": opcode,
        "plen": plen,
        "proto": protocol,
        "src_ip": str(IPv4Address(sender_ip)),
        "src_mac": _mac(sender),
    }
    _say(words, "arp", fields)


def _ipv4(raw: bytes, words: list[str]) -> None:
    first, tos, length, identification, fragment, ttl, protocol, csum, source, destination = _IPV4.unpack_from(raw)
    offset = fragment & 0x1FFF
    fields = {
        "csum": csum,
        "dst": str(IPv4Address(destination)),
        "flags": fragment >> 13,
        "header_length": first & 0xF,
        "identification": identification,
        "offset": offset,
        "proto": protocol,
        "src": str(IPv4Address(source)),
        "tos": tos,
        "total_length": length,
        "ttl": ttl,
        "version": first >> 4,
    }
    _say(words, "ipv4", fields)
    if offset == 0:  # what comes later has no header of its own
        _transport(protocol, raw[4 * max(5, first & 0xF) :], words)


def _ipv6(raw: bytes, words: list[str]) -> None:
    first, length, protocol, limit, source, destination = _IPV6.unpack_from(raw)
    fields = {
        "dst": str(IPv6Address(destination)),
        "flow_label": first & 0xFFFFF,
        "hop_limit": limit,
        "nxt": protocol,
        "payload_length": length,
        "src": str(IPv6Address(source)),
        "traffic_class": first >> 20 & 0xFF,
        "version": first >> 28,
    }
    _say(words, "ipv6", fields)
    _transport(protocol, raw[_IPV6.size :], words)


def _transport(protocol: int, raw: bytes, words: list[str]) -> None:
    inside = _TRANSPORT.get(protocol)
    if inside is not None:
        name, fields = inside
        _say(words, name, fields(raw))


def _tcp(raw: bytes) -> Fields:
    source, destination, seq, ack, offset, bits, window, csum, urgent = _TCP.unpack_from(raw)
    return {
        "ack": ack,
        "bits": bits,
        "csum": csum,
        "dst_port": destination,
        "offset": offset >> 4,
        "seq": seq,
        "src_port": source,
        "urgent": urgent,
        "window_size": window,
    }


def _udp(raw: bytes) -> Fields:
    source, destination, length, csum = _UDP.unpack_from(raw)
    return {"csum": csum, "dst_port": destination, "src_port": source, "total_length": length}


def _icmp(raw: bytes) -> Fields:
    kind, code, csum = _ICMP.unpack_from(raw)
    return {"code": code, "csum": csum, "type": kind}


def _icmpv6(raw: bytes) -> Fields:
    kind, code, csum = _ICMP.unpack_from(raw)
    return {"code": code, "csum": csum, "type_": kind}


def _sctp(raw: bytes) -> Fields:
    source, destination, tag, csum = _SCTP.unpack_from(raw)
    return {"csum": csum, "dst_port": destination, "src_port": source, "vtag": tag}


_NETWORK: Final[Mapping[int, Callable[[bytes, list[str]], None]]] = {0x0806: _arp, 0x0800: _ipv4, 0x86DD: _ipv6}
_TRANSPORT: Final[Mapping[int, tuple[str, Callable[[bytes], Fields]]]] = {
    1: ("icmp", _icmp),
    6: ("tcp", _tcp),
    17: ("udp", _udp),
    58: ("icmpv6", _icmpv6),
    132: ("sctp", _sctp),
}


def _say(words: list[str], name: str, fields: Fields) -> None:
    words.append(f"{name}({','.join(f'{key}={value!r}' for key, value in fields.items())})")


def _mac(raw: bytes) -> str:
    return raw.hex(":")

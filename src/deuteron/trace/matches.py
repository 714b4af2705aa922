"""Matches of OpenFlow entries, as our plans write them, compiled to predicates.

Source: ovs-fields(7), ovs-ofctl(8). What is not in `_WORDS` or `_FIELDS` raises `Unknown`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Final

from deuteron.trace.packet import ICMP, ICMP6, SCTP, TCP, UDP, Packet, within
from deuteron.trace.tracking import Flow
from deuteron.trace.unknown import Unknown


@dataclass
class Work:
    """A packet on its way through the tables of one bridge, with what the switch notes of it."""

    packet: Packet
    in_port: int
    registers: dict[int, int] = field(default_factory=dict)
    ct_state: frozenset[str] = frozenset()
    ct_zone: int = 0
    ct_mark: int = 0
    ct_flow: Flow | None = None
    """Of a tracked packet: its connection's first direction."""
    conj_id: int = 0

    def copy(self) -> Work:
        return replace(self, registers=dict(self.registers))


Test = Callable[[Work], bool]


def _is(kind: str, *protocols: int) -> Test:
    return lambda work: work.packet.kind == kind and (not protocols or work.packet.protocol in protocols)


_WORDS: Final[dict[str, Test]] = {
    "arp": _is("arp"),
    "rarp": _is("rarp"),
    "ip": _is("ip"),
    "ipv6": _is("ipv6"),
    "icmp": _is("ip", ICMP),
    "icmp6": _is("ipv6", ICMP6),
    "tcp": _is("ip", TCP),
    "tcp6": _is("ipv6", TCP),
    "udp": _is("ip", UDP),
    "udp6": _is("ipv6", UDP),
    "sctp": _is("ip", SCTP),
    "sctp6": _is("ipv6", SCTP),
}

_FIELDS: Final[dict[str, Callable[[Work], int]]] = {
    "in_port": lambda work: work.in_port,
    "dl_vlan": lambda work: work.packet.vlan,
    "vlan_tci": lambda work: 0x1000 | work.packet.vlan if work.packet.vlan else 0,
    "tun_id": lambda work: work.packet.tun_id,
    "arp_op": lambda work: work.packet.protocol,
    "nw_proto": lambda work: work.packet.protocol,
    "icmp_type": lambda work: work.packet.sport,
    "icmp_code": lambda work: work.packet.dport,
    "tp_src": lambda work: work.packet.sport,
    "tp_dst": lambda work: work.packet.dport,
    "ct_mark": lambda work: work.ct_mark,
    "ct_zone": lambda work: work.ct_zone,
    "conj_id": lambda work: work.conj_id,
    "ct_nw_proto": lambda work: -1 if work.ct_flow is None else work.ct_flow.protocol,
    "ct_tp_src": lambda work: -1 if work.ct_flow is None else work.ct_flow.sport,
    "ct_tp_dst": lambda work: -1 if work.ct_flow is None else work.ct_flow.dport,
}

_ADDRESSES: Final[dict[str, tuple[str, Callable[[Packet], str]]]] = {
    "nw_src": ("ip", lambda packet: packet.source),
    "nw_dst": ("ip", lambda packet: packet.destination),
    "ipv6_src": ("ipv6", lambda packet: packet.source),
    "ipv6_dst": ("ipv6", lambda packet: packet.destination),
    "arp_spa": ("arp", lambda packet: packet.source),
    "arp_tpa": ("arp", lambda packet: packet.destination),
    "nd_target": ("ipv6", lambda packet: packet.nd_target),
}

_MACS: Final[dict[str, Callable[[Packet], str]]] = {
    "dl_src": lambda packet: packet.src_mac,
    "dl_dst": lambda packet: packet.dst_mac,
    "arp_sha": lambda packet: packet.mac if packet.kind == "arp" else "",
}

_STATES: Final = frozenset({"new", "est", "rel", "rpl", "inv", "trk"})


@lru_cache(maxsize=1 << 16)
def compiled(match: str) -> tuple[Test, ...]:
    """The predicates of a match; all have to hold.

    Raises: Unknown.
    """
    return tuple(_test(part, match) for part in match.split(",") if part)


def _test(part: str, match: str) -> Test:
    name, equals, value = part.partition("=")
    if not equals:
        if name not in _WORDS:
            raise Unknown(f'the match "{name}"', match)
        return _WORDS[name]
    if name == "ct_state":
        return _state(value, match)
    if name == "nw_frag":
        if value != "yes":
            raise Unknown(f'the match "{part}"', match)
        return lambda work: False  # what is followed here is no fragment
    if name in _ADDRESSES:
        kind, address = _ADDRESSES[name]
        return lambda work: work.packet.kind == kind and _is_within(address(work.packet), value)
    if name in _MACS:
        return _mac(_MACS[name], value)
    if name.startswith("reg") and name[3:].isdigit():
        register = int(name[3:])
        return _masked(lambda work: work.registers.get(register, 0), value)
    if name not in _FIELDS:
        raise Unknown(f'the match "{name}"', match)
    return _masked(_FIELDS[name], value)


def _is_within(address: str, prefix: str) -> bool:
    return bool(address) and within(address, prefix)


def _masked(get: Callable[[Work], int], value: str) -> Test:
    text, slash, mask_text = value.partition("/")
    wanted = int(text, 0)
    if not slash:
        return lambda work: get(work) == wanted
    mask = int(mask_text, 0)
    return lambda work: get(work) & mask == wanted & mask


def _mac(get: Callable[[Packet], str], value: str) -> Test:
    text, slash, mask_text = value.partition("/")
    if not slash:
        return lambda work: get(work.packet) == text
    mask, wanted = _octets(mask_text), _octets(text)
    return lambda work: _octets(get(work.packet)) & mask == wanted & mask


def _octets(mac: str) -> int:
    return int(mac.replace(":", "") or "0", 16)


def _state(value: str, match: str) -> Test:
    wanted: dict[str, bool] = {}
    sign = ""
    for piece in value.replace("+", " +").replace("-", " -").split():
        sign, name = piece[0], piece[1:]
        if sign not in "+-" or name not in _STATES:
            raise Unknown(f'the connection state "{piece}"', match)
        wanted[name] = sign == "+"
    return lambda work: all((name in work.ct_state) is there for name, there in wanted.items())

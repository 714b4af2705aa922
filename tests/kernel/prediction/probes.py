"""The packets that are sent: each has a number in what no router and no address translation touches.

ICMP   echo, the number in its data
TCP    SYN, the number in its sequence number; SYN and ACK, or RST and ACK, acknowledge it
UDP    a question of the DNS, the number in its name; whoever has it answers it, or a kernel quotes it
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from deuteron.net.traced import Match
from deuteron.trace.packet import ICMP, ICMP6, TCP, UDP
from tests.hostile import frames

_WORD: Final = b"deuteron"
_SEQUENCE: Final = 0x5EED0000
_SYN, _RST, _ACK = 0x02, 0x04, 0x10
_ECHOES: Final = {ICMP: (8, 0), ICMP6: (128, 129)}
_UNREACHABLE: Final = {ICMP: 3, ICMP6: 1}
_FIRST_PORT: Final = 2000
MATCHES: Final = (
    Match(ICMP, 8, _WORD),
    Match(ICMP6, 8, _WORD),
    Match(TCP, 4, (_SEQUENCE >> 16).to_bytes(2, "big")),
    Match(TCP, 8, (_SEQUENCE >> 16).to_bytes(2, "big")),
    Match(UDP, 21, _WORD),
)
"""What all of them have, in either direction, for who traces them."""
HIGHEST: Final = 60000
"""Of numbers: a packet is never like one of the clouds before, of which connections may be tracked."""


class Probe(NamedTuple):
    """What is asked of whom."""

    number: int
    source: str
    destination: str
    protocol: int
    port: int


class Packet(NamedTuple):
    """A packet of IP, of either family."""

    source: str
    destination: str
    protocol: int
    payload: bytes


class Sign(NamedTuple):
    """What a packet is, if it is ours."""

    number: int
    is_answer: bool


def request(probe: Probe) -> bytes:
    ends = probe.source, probe.destination
    ports = _FIRST_PORT + probe.number, probe.port
    if probe.protocol == TCP:
        return frames.tcp(*ends, ports, (_SEQUENCE | probe.number, 0), _SYN)
    if probe.protocol == UDP:
        return frames.udp(*ends, ports, _question(probe.number))
    return frames.echo(*ends, _WORD + struct.pack(">I", probe.number), number=probe.number)


def answer(packet: Packet) -> bytes:
    """What an honest guest answers to one of ours."""
    ends = packet.destination, packet.source
    payload = packet.payload
    if packet.protocol in _ECHOES:
        number = int.from_bytes(payload[4:6], "big")
        return frames.echo(*ends, payload[8:], is_answer=True, number=number)
    near, far = struct.unpack(">HH", payload[:4])
    if packet.protocol == TCP:
        sequence = int.from_bytes(payload[4:8], "big")
        return frames.tcp(*ends, (far, near), (1, sequence + 1), _SYN | _ACK)
    data = payload[8:]
    return frames.udp(*ends, (far, near), data[:2] + struct.pack(">H", 0x8180) + data[4:])


def sign(protocol: int, payload: bytes) -> Sign | None:
    """Whose packet this is. Of what a kernel quotes because nobody listens there, it is the answer."""
    if protocol in _ECHOES and len(payload) >= 8:
        if payload[0] in _ECHOES[protocol] and payload[8:16] == _WORD:
            return Sign(int.from_bytes(payload[16:20], "big"), payload[0] == _ECHOES[protocol][1])
        if payload[:2] == bytes((_UNREACHABLE[protocol], 3 if protocol == ICMP else 4)):
            quoted = _content(payload[8:])
            found = None if quoted is None else sign(*quoted)
            return None if found is None else Sign(found.number, is_answer=True)
    if protocol == TCP and len(payload) >= 20:
        sequence, acknowledged, flags = struct.unpack(">IIxB", payload[4:14])
        if flags == _SYN and sequence & 0xFFFF0000 == _SEQUENCE:
            return Sign(sequence & 0xFFFF, is_answer=False)
        if flags in (_SYN | _ACK, _RST | _ACK) and (acknowledged - 1) & 0xFFFF0000 == _SEQUENCE:
            return Sign(acknowledged - 1 & 0xFFFF, is_answer=True)
    if protocol == UDP and payload[21:29] == _WORD:
        return Sign(int(payload[29:34]), bool(payload[10] & 0x80))
    return None


def parse(kind: int, data: bytes) -> Packet | None:
    """The IP packet that a frame carries."""
    if kind == frames.IPV4 and len(data) >= 20:
        start, total = (data[0] & 15) * 4, int.from_bytes(data[2:4], "big")
        return Packet(frames.text(data[12:16]), frames.text(data[16:20]), data[9], data[start:total])
    if kind == frames.IPV6 and len(data) >= 40:
        return Packet(
            frames.text(data[8:24]), frames.text(data[24:40]), data[6], data[40 : 40 + int.from_bytes(data[4:6], "big")]
        )
    return None


def _content(data: bytes) -> tuple[int, bytes] | None:
    if len(data) < 20:
        return None
    return (data[9], data[(data[0] & 15) * 4 :]) if data[0] >> 4 == 4 else (data[6], data[40:])


def _question(number: int) -> bytes:
    """Of a name that nobody has: RFC 1035 section 4.1."""
    name = _WORD + f"{number:05}".encode()
    return struct.pack(">HHHHHH", number, 0x0100, 1, 0, 0, 0) + bytes([len(name)]) + name + b"\0\0\1\0\1"

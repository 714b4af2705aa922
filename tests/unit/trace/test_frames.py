"""Frames are read down to the packet inside, and its identity outlives what switches and routers change."""

from __future__ import annotations

import struct

import pytest

from deuteron.trace.frames import Frame, framed, read, written
from deuteron.trace.packet import ICMP, ICMP6, SCTP, TCP, UDP, Packet

MARK = b"a mark of 16 byte"
NEAR, FAR = "fa:16:3e:00:00:01", "fa:16:3e:00:00:02"


def packet(protocol: int = ICMP, **more: object) -> Packet:
    six = protocol == ICMP6
    ends = ("fd00::1", "fd00::2") if six else ("10.0.0.1", "10.0.0.2")
    ports = (40000, 22) if protocol in (TCP, UDP, SCTP) else (128 if six else 8, 0)
    return Packet("ipv6" if six else "ip", NEAR, FAR, *ends, protocol, *ports).but(**more)


def frame(what: Packet, number: int = 7) -> bytes:
    return framed(what, written(what, MARK, number=number, sequence=0x01020304))


def vxlan(inner: bytes, vni: int) -> bytes:
    outer = Packet("ip", NEAR, FAR, "172.31.0.1", "172.31.0.2", UDP, 55555, 4789)
    return framed(outer, written(outer, struct.pack(">II", 1 << 27, vni << 8) + inner, number=1))


@pytest.mark.parametrize(
    ("protocol", "words"),
    [
        (ICMP, "icmp echo request id 772 seq 7"),
        (ICMP6, "icmp echo request id 772 seq 7"),
        (TCP, "tcp 40000 > 22 SYN seq 16909060"),
        (UDP, "udp 40000 > 22"),
        (SCTP, "sctp 40000 > 22"),
    ],
)
def test_what_is_made_is_read_again(protocol: int, words: str) -> None:
    made = packet(protocol)
    seen = read(frame(made))
    assert (seen.src_mac, seen.dst_mac) == (NEAR, FAR)
    assert (seen.source, seen.destination, seen.protocol, seen.ttl) == (made.source, made.destination, protocol, 64)
    assert (seen.sport, seen.dport) == (made.sport, made.dport)
    assert seen.words == words and seen.tags == () and seen.tunnels == ()


def test_checksums_are_those_that_a_kernel_takes() -> None:
    """The sum over a header with its checksum is nothing; SCTP's is a CRC of RFC 9260."""
    ip = written(packet(), MARK, number=7)
    assert _sum(ip[:20]) == 0xFFFF and _sum(ip[20:]) == 0xFFFF
    for protocol in (TCP, UDP):
        ip = written(packet(protocol), MARK, number=7, sequence=9)
        assert _sum(ip[12:20] + struct.pack(">HH", protocol, len(ip) - 20) + ip[20:]) == 0xFFFF


def _sum(data: bytes) -> int:
    data += bytes(len(data) % 2)
    total: int = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def test_tags_and_tunnels_are_taken_off() -> None:
    plain = frame(packet())
    tagged = read(frame(packet(vlan=1000)))
    assert tagged.tags == (1000,) and tagged.inner == plain
    inside = read(vxlan(plain, 13))
    assert [each.words for each in inside.tunnels] == ["vxlan VNI 13 172.31.0.1 > 172.31.0.2"]
    assert inside.inner == plain and inside.source == "10.0.0.1"
    assert len({read(each).identity for each in (plain, frame(packet(vlan=1000)), vxlan(plain, 13))}) == 1


@pytest.mark.parametrize("protocol", [ICMP, TCP, UDP, SCTP])
def test_translation_and_routing_do_not_change_who_a_packet_is(protocol: int) -> None:
    one = packet(protocol)
    other = one.but(source="172.24.4.10", destination="192.0.2.1", ttl=62, src_mac=FAR, dst_mac=NEAR)
    if protocol in (TCP, UDP, SCTP):
        other = other.but(sport=1025, dport=2222)
    assert read(frame(one)).identity == read(frame(other)).identity


@pytest.mark.parametrize("protocol", [ICMP, TCP, UDP, SCTP])
def test_the_next_packet_is_another(protocol: int) -> None:
    assert read(frame(packet(protocol))).identity != read(frame(packet(protocol), number=8)).identity


def test_questions_for_a_neighbour_are_said() -> None:
    arp = struct.pack(">HHBBH", 1, 0x0800, 6, 4, 1) + bytes(6) + bytes([10, 0, 0, 1]) + bytes(6) + bytes([10, 0, 0, 9])
    seen = read(b"\xff" * 6 + bytes(6) + b"\x08\x06" + arp)
    assert seen.words == "ARP who has 10.0.0.9, tell 10.0.0.1"


def test_what_is_cut_off_anywhere_is_read_as_far_as_it_goes() -> None:
    """Whoever sends on a network decides what is in a frame."""
    wholes = (frame(packet(TCP)), frame(packet(ICMP6)), vxlan(frame(packet(vlan=3)), 5))
    cut = [whole[:length] for whole in wholes for length in range(len(whole))]
    assert len([each for each in map(read, cut) if isinstance(each, Frame)]) == len(cut) > 200

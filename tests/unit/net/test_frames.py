"""What frames say of themselves, in words."""

from __future__ import annotations

import random

import pytest
from tests.hostile import frames

from deuteron.net.frames import describe

MACS = ("fa:16:3e:00:00:05", "fa:16:3e:00:00:06")
ETHERNET = "ethernet(dst='fa:16:3e:00:00:06',ethertype={},src='fa:16:3e:00:00:05')"


def frame(kind: int, packet: bytes) -> bytes:
    return frames.ethernet(*MACS, kind, packet)


def test_headers_are_told_one_after_the_other() -> None:
    said = describe(frame(frames.IPV4, frames.tcp("10.0.0.5", "10.0.0.6", (5000, 22), (7, 9), 0x02, b"words")))
    ethernet, ip, tcp = said.split("), ")
    assert ethernet + ")" == ETHERNET.format(2048)
    assert ip.startswith("ipv4(csum=") and ",dst='10.0.0.6',flags=" in ip and ",proto=6,src='10.0.0.5'," in ip
    assert tcp.startswith("tcp(ack=9,bits=2,csum=") and ",dst_port=22,offset=5,seq=7,src_port=5000," in tcp
    assert "words" not in said


@pytest.mark.parametrize(
    ("kind", "packet", "words"),
    [
        (frames.IPV4, frames.udp("10.0.0.5", "10.0.0.6", (1, 2), b"x"), "udp(csum="),
        (frames.IPV4, frames.echo("10.0.0.5", "10.0.0.6", b"x"), "icmp(code=0,csum="),
        (frames.IPV6, frames.udp("fd00::5", "fd00::6", (1, 2), b"x"), "dst='fd00::6',flow_label=0"),
        (frames.IPV6, frames.echo("fd00::5", "fd00::6", b"x"), "icmpv6(code=0,csum="),
        (frames.ARP, frames.arp(1, (MACS[0], "10.0.0.5"), (MACS[1], "10.0.0.6")), "arp(dst_ip='10.0.0.6',dst_mac="),
    ],
)
def test_each_protocol_is_known(kind: int, packet: bytes, words: str) -> None:
    assert words in describe(frame(kind, packet))


def test_a_tag_is_told() -> None:
    inside = frames.udp("10.0.0.5", "10.0.0.6", (1, 2), b"x")
    tagged = frames.ethernet(*MACS, frames.IPV4, inside, vlan=100)
    assert "vlan(cfi=0,ethertype=2048,pcp=0,vid=100), ipv4(" in describe(tagged)


def test_no_frame_is_too_short_or_too_odd() -> None:
    whole = frame(frames.IPV6, frames.tcp("fd00::5", "fd00::6", (5000, 22), (7, 9), 0x02, b""))
    for length in range(len(whole)):
        said = describe(whole[:length])
        assert said.endswith(("cut off", ")")) or length < 14, said
    assert describe(b"") == "cut off: 0 bytes"
    chance = random.Random(7)
    for _ in range(2000):
        raw = frame(chance.choice((frames.IPV4, frames.IPV6, frames.ARP, 0x8100)), chance.randbytes(60))
        assert describe(raw).isascii() and "\n" not in describe(raw)

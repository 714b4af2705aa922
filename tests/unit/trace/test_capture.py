"""Filters take what tcpdump takes, captures are what tcpdump reads, and one packet is followed from place to place."""

from __future__ import annotations

import random
import subprocess
from pathlib import Path

import pytest

from deuteron.trace import bpf, pcapng
from deuteron.trace.follow import Follower, Place, Sighting, hops, is_shown, text
from deuteron.trace.frames import read
from deuteron.trace.packet import ICMP, TCP, UDP
from tests import needs
from tests.unit.trace.test_frames import frame, packet, vxlan

FILTERS = (
    "icmp", "tcp port 22", "host 10.0.0.1 and not udp", "vlan 1000", "vlan and icmp", "udp port 4789", "ip6",
    "tcp[tcpflags] & tcp-syn != 0", "less 70", "ether src fa:16:3e:00:00:01", "net 10.0.0.0/24 and portrange 20-30",
    "ip[8] % 2 = 0", "ip proto 132 or arp",
)  # fmt: skip
FRAMES = [
    frame(packet()), frame(packet(TCP)), frame(packet(UDP, dport=53)), frame(packet(58)), frame(packet(132)),
    frame(packet(vlan=1000)), vxlan(frame(packet(TCP)), 13), frame(packet(TCP, ttl=63, source="192.0.2.1")),
    b"\xff" * 12 + b"\x08\x06" + bytes(46),
]  # fmt: skip


@pytest.mark.parametrize("words", FILTERS)
def test_a_filter_takes_the_frames_that_tcpdump_takes(words: str, tmp_path: Path) -> None:
    needs.program("tcpdump")
    told = subprocess.run(["tcpdump", "-ddd", "-y", "EN10MB", words], capture_output=True, text=True, check=True).stdout
    here = [number for number, each in enumerate(FRAMES) if bpf.matches(bpf.program(told), each)]
    # Each at a second of its own, by which tcpdump's lines say which it was.
    blocks = [pcapng.packet(0, number * 10**9, each, is_out=False) for number, each in enumerate(FRAMES)]
    (tmp_path / "all.pcapng").write_bytes(pcapng.header("a test", [("h:eth0", "")]) + b"".join(blocks))
    read_by = ["tcpdump", "-n", "-tt", "-r", str(tmp_path / "all.pcapng"), words]
    there = subprocess.run(read_by, capture_output=True, text=True, check=True).stdout.splitlines()
    stamps = {int(line.split(".")[0]) for line in there if line[:1].isdigit() and line.split(".")[0].isdigit()}
    assert here == sorted(stamps)


def test_a_program_of_nonsense_is_refused_and_any_frame_is_judged() -> None:
    for nonsense in ("", "1\n", "2\n6 0 0 1", "1\n6 0 0", "1\nx 0 0 1"):
        with pytest.raises(bpf.NotAProgram):
            bpf.program(nonsense)
    takes_all = bpf.program("1\n6 0 0 262144\n")
    dice = random.Random(0)
    assert all(bpf.matches(takes_all, dice.randbytes(dice.randrange(100))) for _ in range(100))
    behind_the_end = bpf.program("2\n32 0 0 5000\n6 0 0 1\n")
    assert not bpf.matches(behind_the_end, b"short")


PLACES = [
    Place("net1", "", "tap1", "server one", is_own=True), Place("net1", "qrouter-r", "qr-1", "router r"),
    Place("net1", "qrouter-r", "qg-1", "router r"), Place("net1", "", "eth1", "tunnels"), Place("c1", "", "eth1"),
]  # fmt: skip


def sighting(at_ms: float, place: int, raw: bytes, *, is_out: bool = False, is_wanted: bool = True) -> Sighting:
    return Sighting(int(at_ms * 1e6), place, is_out, raw, read(raw), is_wanted)


def test_a_packet_is_followed_through_router_and_tunnel_and_each_line_says_what_is_other() -> None:
    follower = Follower(10**9)
    routed = packet(ttl=63, source="172.24.4.10")
    for at_ms, place, raw in (
        (1.5, 3, vxlan(frame(routed), 13)), (0.0, 0, frame(packet())), (1.0, 1, frame(packet())),
        (1.2, 2, frame(routed)), (2.0, 4, vxlan(frame(routed), 13)),
    ):  # fmt: skip
        follower.add(sighting(at_ms, place, raw, is_wanted=place == 0))
    assert follower.over(int(5e8)) == []
    (journey,) = follower.over(int(2e9))
    assert is_shown(journey, {0}) and not is_shown(journey, set())
    lines = hops(1, journey, PLACES)
    assert [line.device for line in lines] == ["tap1", "qr-1", "qg-1", "eth1", "eth1"]
    assert [line.after_ms for line in lines] == [0.0, 1.0, 1.2, 1.5, 2.0]
    assert lines[1].changed == () and lines[4].changed == ()
    assert lines[2].changed == ("source 10.0.0.1 becomes 172.24.4.10", "ttl 63")
    assert lines[3].changed == ("vxlan VNI 13 172.31.0.1 > 172.31.0.2",)
    told = list(text(lines))
    assert told[0].startswith("#1 10.0.0.1 > 10.0.0.2 icmp echo request")
    assert "net1  in   qr-1 in qrouter-r  [router r]" in told[2] and "(+0.200)" in told[3]


def test_the_same_packet_at_the_same_device_again_is_the_next_one() -> None:
    """Who repeats itself word for word, as DHCP does."""
    follower = Follower(10**9)
    for at_ms in (0, 10, 20):
        follower.add(sighting(at_ms, 0, frame(packet(UDP))))
        follower.add(sighting(at_ms + 1, 4, frame(packet(UDP)), is_out=True))
    journeys = follower.over(1 << 62)
    assert [len(each.sightings) for each in journeys] == [2, 2, 2]
    assert follower.over(1 << 62) == []


def test_of_too_many_packets_the_oldest_are_told() -> None:
    follower = Follower(10**12, most=10)
    for number in range(12):
        follower.add(sighting(number, 0, frame(packet(ICMP), number=number)))
    assert 0 < len(follower.over(0)) < 12

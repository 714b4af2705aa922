"""Ending tracked connections: these and no others, in the kernel and in the userspace datapath, also after a crash."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from deuteron.net.delta import Delta
from deuteron.net.kernel.conntrack import KernelConnections
from deuteron.net.kernel.tracking import DatapathConnections, TrackingDriver
from deuteron.net.kernel.unixctl import Sweeps, SwitchControl
from deuteron.net.rows import Allowance, TrackedPort, TrackedZone
from tests.hostile import frames
from tests.kernel.conftest import OpenVSwitch, wait_until

DATAPATH, KERNEL = 7, 4100
EVERYTHING = tuple(Allowance("egress", family) for family in (4, 6))  # type: ignore[arg-type]  # 4 and 6
NOT_UDP = tuple(
    Allowance("egress", family, protocol)  # type: ignore[arg-type]
    for family, protocols in ((4, (1, 6)), (6, (6, 58)))
    for protocol in protocols
)


def zone(number: int, allowed: tuple[Allowance, ...], *addresses: str) -> TrackedZone:
    port = TrackedPort("a", 16, addresses or ("10.9.0.1", "fd00::1"), allowed)
    return TrackedZone("datapath" if number == DATAPATH else "kernel", number, (port,))


def run(*words: str) -> str:
    return subprocess.run(" ".join(words).split(), check=True, capture_output=True, text=True).stdout


class Kernel:
    number = KERNEL

    def fill(self) -> None:
        for at, source, target in ((KERNEL, "10.9.0.1", "10.9.0.2"), (KERNEL + 1, "10.9.0.1", "10.9.0.2")):
            run(f"conntrack -I -s {source} -d {target} -p udp --sport 5 --dport 6 -t 100 -w {at}")
            run(f"conntrack -I -s {source} -d {target} -p tcp --sport 5 --dport 6 -t 100 --state ESTABLISHED -w {at}")
            run(f"conntrack -I -s {source} -d {target} -p icmp --icmp-type 8 --icmp-code 0 --icmp-id 9 -t 100 -w {at}")
        run(f"conntrack -I -s fd00::1 -d fd00::2 -p udp --sport 5 --dport 6 -t 100 -w {KERNEL}")
        run("conntrack -I -s 10.9.0.1 -d 10.9.0.2 -p udp --sport 5 --dport 6 -t 100")

    def held(self) -> list[tuple[int, int, str]]:
        reader = KernelConnections()
        found = sorted((item.zone, item.protocol, item.source) for item in reader.held())
        reader.close()
        assert "zone" not in run("conntrack -L -p udp -w 0 -o extended"), "the common zone is left alone"
        assert "10.9.0.1" in run("conntrack -L -p udp -w 0")
        return found


class Datapath:
    number = DATAPATH

    def __init__(self) -> None:
        run("ip link add p0 type veth peer name p0-far")
        for device in ("p0", "p0-far"):
            run("ip link set", device, "up")
        run("ovs-vsctl add-br br-t -- set bridge br-t datapath_type=netdev fail_mode=secure")
        run("ovs-vsctl add-port br-t p0 -- set interface p0 ofport_request=1")
        commits = ",".join(f"ct(commit,zone={number})" for number in (DATAPATH, DATAPATH + 1))
        for family in ("ip", "ipv6"):
            run(f"ovs-ofctl add-flow br-t in_port=1,{family},actions={commits}")

    def fill(self) -> None:
        packets = [
            frames.udp("10.9.0.1", "10.9.0.2", (5, 6), b""),
            frames.tcp("10.9.0.1", "10.9.0.2", (5, 6), (1, 0), 2),
            frames.echo("10.9.0.1", "10.9.0.2", b"", number=9),
            frames.udp("fd00::1", "fd00::2", (5, 6), b""),
            frames.echo("fd00::1", "fd00::2", b""),
            frames.ipv4("10.9.0.1", "10.9.0.2", 47, bytes(12)),
        ]
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as wire:
            wire.bind(("p0-far", 0))

            def sent_and_tracked() -> bool:
                # Sent again until all are there: the switch drops what matches a datapath flow from before the
                # OpenFlow rule until it has looked at that flow anew, and a connection tracked twice is one.
                for packet in packets:
                    kind = frames.IPV6 if packet[0] >> 4 == 6 else frames.IPV4
                    wire.send(frames.ethernet("02:00:00:00:00:01", "02:00:00:00:00:02", kind, packet))
                return len(self.held()) == 2 * len(packets)

            wait_until(sent_and_tracked, "all are tracked")

    def held(self) -> list[tuple[int, int, str]]:
        control = SwitchControl()
        found = sorted((item.zone, item.protocol, item.source) for item in DatapathConnections(control).held())
        control.close()
        return found


@pytest.fixture(params=["kernel", "datapath"])
def place(request: pytest.FixtureRequest, host: Path, switch: OpenVSwitch) -> Iterator[Kernel | Datapath]:
    made = Kernel() if request.param == "kernel" else Datapath()
    made.fill()
    yield made
    if isinstance(made, Datapath):
        run("ip link del p0")
    else:
        run("conntrack -F")


@pytest.fixture
def driver(switch: OpenVSwitch) -> Iterator[Callable[[], TrackingDriver]]:
    opened: list[SwitchControl | KernelConnections] = []

    def make() -> TrackingDriver:
        control, kernel = SwitchControl(), KernelConnections()
        opened.extend((control, kernel))
        return TrackingDriver(control, kernel)

    yield make
    for one in opened:
        one.close()


def put(driver: TrackingDriver, *rows: TrackedZone) -> None:
    wanted = {row.key: row for row in rows}
    seen = driver.observe(wanted)
    applied = driver.apply(Delta({key: row for key, row in wanted.items() if seen.get(key) != row}, {}))
    assert applied.failed == {}
    assert driver.observe(wanted).items() >= wanted.items()


def of(held: list[tuple[int, int, str]], number: int) -> list[tuple[int, str]]:
    return [(protocol, source) for zone, protocol, source in held if zone == number]


def test_what_is_no_longer_allowed_ends_and_nothing_else(
    place: Kernel | Datapath, driver: Callable[[], TrackingDriver]
) -> None:
    before = place.held()
    ours = driver()
    put(ours, zone(place.number, EVERYTHING))
    assert place.held() == before
    assert dict(ours.writes) == {}
    put(ours, zone(place.number, NOT_UDP))
    left = [item for item in of(before, place.number) if item[0] not in (17, 47)]
    assert of(place.held(), place.number) == left
    assert of(place.held(), place.number + 1) == of(before, place.number + 1)


def test_what_a_crash_left_open_is_ended_at_the_next_start(
    place: Kernel | Datapath, driver: Callable[[], TrackingDriver]
) -> None:
    wanted = zone(place.number, NOT_UDP)
    assert driver().observe({wanted.key: wanted})[wanted.key] != wanted, "it is seen before anything is written"
    put(driver(), wanted)
    assert {protocol for protocol, _ in of(place.held(), place.number)} <= {1, 6, 58}
    again = driver()
    put(again, wanted)
    assert dict(again.writes) == {}


def test_a_zone_that_nobody_has_is_emptied(place: Kernel | Datapath, driver: Callable[[], TrackingDriver]) -> None:
    ours = driver()
    put(ours, zone(place.number, EVERYTHING))
    seen = ours.observe({})
    assert ours.apply(Delta({}, seen)).failed == {}
    assert place.held() == []
    assert SwitchControl().ask("version"), "the switch is alive"


def test_an_heir_does_not_get_what_the_first_look_found(
    place: Kernel | Datapath, driver: Callable[[], TrackingDriver]
) -> None:
    """A port was deleted while no agent ran; the one that gets its address later does not get its connections."""
    ours = driver()
    other = TrackedPort("b", 17, ("10.9.0.2", "fd00::2"), tuple(Allowance("ingress", family) for family in (4, 6)))  # type: ignore[arg-type]
    put(ours, TrackedZone(zone(place.number, ()).place, place.number, (other,)))
    assert of(place.held(), place.number)
    put(ours, TrackedZone(zone(place.number, ()).place, place.number, (other, *zone(place.number, EVERYTHING).ports)))
    left = {protocol for protocol, _ in of(place.held(), place.number)}
    assert left <= {58}, "one of ICMPv6 cannot be ended alone in the userspace datapath"


def test_many_zones_that_narrow_at_once_wait_for_nobody_and_for_one_sweep(switch: OpenVSwitch) -> None:
    """A member that leaves a group narrows every zone whose rules name the group."""
    place = Datapath()
    control, kernel, sweeps = SwitchControl(), KernelConnections(), Sweeps(SwitchControl())
    try:
        place.fill()
        ours = TrackingDriver(control, kernel, sweeps)
        zones = [
            TrackedZone("datapath", number, (TrackedPort("a", 16, ("10.9.0.1", "fd00::1"), EVERYTHING),))
            for number in range(DATAPATH, DATAPATH + 50)
        ]
        put(ours, *zones)
        narrow = {row.key: msgspec.structs.replace(row, ports=zone(DATAPATH, NOT_UDP).ports) for row in zones}
        begun_s = time.monotonic()
        first = ours.apply(Delta(narrow, {}))
        assert time.monotonic() - begun_s < 0.2
        assert first.failed == {}
        assert first.awaited.keys() == narrow.keys() - first.done
        wait_until(lambda: ours.apply(Delta(narrow, {})).done == narrow.keys(), "all are judged", 3)
        assert {protocol for protocol, _ in of(place.held(), DATAPATH)} <= {1, 6, 58}
        assert ours.observe(narrow).items() >= narrow.items()
    finally:
        subprocess.run(["ip", "link", "del", "p0"], check=True)
        for one in (control, kernel, sweeps):
            one.close()

"""Packets that a switch shows us are written down: each in a line, so many a second, in a file that does not grow."""

from __future__ import annotations

import re
import socket
import stat
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from deuteron.net.delta import Delta
from deuteron.net.kernel import packetlog
from deuteron.net.kernel.packetlog import PacketLogDriver
from deuteron.net.rows import LoggedPort
from tests.hostile import frames
from tests.kernel.conftest import OpenVSwitch, wait_until

ROW = LoggedPort("br-test", 16, "port-a", "project-a", accepted=("log-1", "log-2"), dropped=("log-2",))
_TABLES = {22: 92, 80: 91, 23: 93}
"""By which table a packet to a port is shown."""


@pytest.fixture
def wire(switch: OpenVSwitch) -> Iterator[socket.socket]:
    """A wire into a bridge that shows what comes by the table for its port, as of our port 16, or else of none."""
    subprocess.run(["ip", "link", "add", "near", "type", "veth", "peer", "name", "far"], check=True)
    for name in ("near", "far"):
        subprocess.run(["ip", "link", "set", name, "up"], check=True)
    words = "add-br br-test -- set Bridge br-test datapath_type=netdev fail_mode=secure -- add-port br-test far"
    subprocess.run(["ovs-vsctl", *words.split()], check=True)
    flows = [
        f"table=0,tcp,tp_dst={port} actions=set_field:16->reg5,resubmit(,{table})" for port, table in _TABLES.items()
    ]
    flows += [f"table={table} actions=controller(max_len=128)" for table in (*_TABLES.values(), 50)]
    flows += [
        "table=0,udp actions=set_field:17->reg5,resubmit(,93)",
        "table=0,icmp actions=set_field:16->reg5,resubmit(,50)",
    ]
    subprocess.run(["ovs-ofctl", "add-flows", "br-test", "-"], input="\n".join(flows), text=True, check=True)
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as made:
        made.bind(("near", 0))
        yield made
    subprocess.run(["ip", "link", "del", "near"], check=True)


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[PacketLogDriver]:
    made = PacketLogDriver(str(tmp_path / "network.log"))
    yield made
    made.close()


def put(driver: PacketLogDriver, *rows: LoggedPort) -> None:
    assert driver.apply(Delta({row.key: row for row in rows}, {})).failed == {}


def packet(port: int, note: bytes = b"") -> bytes:
    inside = frames.tcp("10.0.0.5", "10.0.0.6", (5000, port), (1, 0), 0x02, note)
    return frames.ethernet("fa:16:3e:00:00:05", "fa:16:3e:00:00:06", frames.IPV4, inside)


def lines(folder: Path) -> list[str]:
    path = folder / "network.log"
    return path.read_text().splitlines() if path.exists() else []


def test_a_line_says_what_became_of_which_packet_at_which_port(
    wire: socket.socket, driver: PacketLogDriver, tmp_path: Path
) -> None:
    put(driver, ROW)
    datagram = frames.udp("10.0.0.5", "10.0.0.6", (5000, 23), b"of a port without a log")
    wire.send(frames.ethernet("fa:16:3e:00:00:05", "fa:16:3e:00:00:06", frames.IPV4, datagram))
    echo = frames.echo("10.0.0.5", "10.0.0.6", b"by a table that logs nothing")
    wire.send(frames.ethernet("fa:16:3e:00:00:05", "fa:16:3e:00:00:06", frames.IPV4, echo))
    for port in _TABLES:
        wire.send(packet(port, b"secret words"))
    wait_until(lambda: len(lines(tmp_path)) == len(_TABLES), "a line for each")
    found = {line.split("dst_port=")[1].split(",")[0]: line for line in lines(tmp_path)}
    for port, action, ids in (
        (22, "ACCEPT", "'log-1', 'log-2'"),
        (80, "ACCEPT", "'log-1', 'log-2'"),
        (23, "DROP", "'log-2'"),
    ):
        words = f"action={action} project_id=project-a log_resource_ids=[{ids}] vm_port=port-a pkt=ethernet("
        assert re.match(r"\d{4}-\d\d-\d\dT[\d:.]+Z " + re.escape(words), found[str(port)])
    assert "secret" not in "".join(lines(tmp_path)), "what packets carry is nobody's business"
    path = tmp_path / "network.log"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600

    driver.apply(Delta({}, {ROW.key: ROW}))
    wire.send(packet(22))
    put(driver, LoggedPort("br-test", 16, "port-b", "project-a", dropped=("log-2",)))
    wire.send(packet(22))  # of what is accepted, no log of this port wants to know
    wire.send(packet(23))
    wait_until(lambda: len(lines(tmp_path)) > len(_TABLES), "the next line")
    (last,) = lines(tmp_path)[len(_TABLES) :]
    assert "action=DROP" in last and "vm_port=port-b" in last


def test_a_flood_is_cut_to_so_many_lines_a_second_and_the_file_turns_over(wire: socket.socket, tmp_path: Path) -> None:
    driver = PacketLogDriver(str(tmp_path / "network.log"), limit_bytes=100_000)
    try:
        put(driver, ROW)
        end = time.monotonic() + 3
        while time.monotonic() < end:
            for _ in range(50):
                wire.send(packet(23))
        wire.send(packet(22))
        wait_until(lambda: (tmp_path / "network.log.1").exists(), "the file turns over")
    finally:
        driver.close()
    paths = list(tmp_path.glob("network.log*"))
    assert {path.name for path in paths} == {"network.log", "network.log.1"}
    assert all(path.stat().st_size <= 100_000 for path in paths)
    seconds: dict[str, int] = {}
    for path in paths:
        for line in path.read_text().splitlines():
            seconds[line[:19]] = seconds.get(line[:19], 0) + ("action=" in line)
    assert max(seconds.values()) <= 2 * packetlog.MOST_A_SECOND, "a second of the clock has two of ours at most"


def test_a_switch_that_ended_is_heard_again_when_it_is_back(
    wire: socket.socket, switch: OpenVSwitch, driver: PacketLogDriver, tmp_path: Path
) -> None:
    put(driver, ROW)
    assert driver.observe({ROW.key: ROW}) == {ROW.key: ROW}
    switch.kill("ovs-vswitchd")
    try:
        wait_until(lambda: driver.observe({ROW.key: ROW}) == {}, "it is seen that nobody shows anything")
        failed = driver.apply(Delta({ROW.key: ROW}, {})).failed
        assert "cannot be shown packets by bridge br-test" in failed[ROW.key]
    finally:
        switch.start_switch()
    wait_until(lambda: not driver.apply(Delta({ROW.key: ROW}, {})).failed, "it listens again")
    flows = "table=0,tcp actions=set_field:16->reg5,resubmit(,93)\ntable=93 actions=controller(max_len=128)"
    subprocess.run(["ovs-ofctl", "add-flows", "br-test", "-"], input=flows, text=True, check=True)

    def written() -> bool:
        wire.send(packet(23))
        return bool(lines(tmp_path))

    wait_until(written, "a line")


def test_without_a_logged_port_nobody_listens(switch: OpenVSwitch, driver: PacketLogDriver, tmp_path: Path) -> None:
    subprocess.run(
        ["ovs-vsctl", "add-br", "br-test", "--", "set", "Bridge", "br-test", "datapath_type=netdev"], check=True
    )

    def connections() -> int:
        said = subprocess.run(["ovs-appctl", "ofproto/list"], check=True, capture_output=True, text=True)
        assert "br-test" in said.stdout
        return sum("br-test.mgmt" in line for line in Path("/proc/net/unix").read_text().splitlines())

    before = connections()
    put(driver, ROW)
    assert connections() == before + 1
    driver.apply(Delta({}, {ROW.key: ROW}))
    wait_until(lambda: connections() == before, "it is gone")
    assert not (tmp_path / "network.log").exists()

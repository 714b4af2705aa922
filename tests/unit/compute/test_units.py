"""Units of iSCSI that processes of a host hold for guests: at a socket, again after a death, and never another's."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from deuteron.compute import cell
from deuteron.compute.tools import DiskFailure
from deuteron.compute.units import Units
from deuteron.model.connections import IscsiConnection
from tests import appliances, needs
from tests.appliances import Simulator

pytestmark = [needs.needs_iscsi(), needs.needs_program("qemu-nbd", "qemu-io")]

SERVER, VOLUME = "0563fa8a-0933-4b31-b028-b0183b3b77e2", "9bfe0deb-b9c7-4d97-8522-1354fc533c26"
PROJECT = "/api/storage/v1/pools/default/projects"


@pytest.fixture
def appliance(tmp_path: Path) -> Iterator[Simulator]:
    with appliances.running(tmp_path / "appliance") as simulator:
        simulator.ask("POST", PROJECT, {"name": "test"})
        simulator.ask("POST", f"{PROJECT}/test/luns", {"name": "one", "volsize": "1g", "sparse": True})
        simulator.ask("POST", "/api/san/v1/iscsi/targets", {"alias": "t"})
        yield simulator


@pytest.fixture
def folder() -> Iterator[Path]:
    """A short one: a socket's name has 107 bytes at most."""
    with tempfile.TemporaryDirectory(prefix="u", dir="/tmp") as name:
        yield Path(name)


@pytest.fixture
def units(folder: Path) -> Iterator[Units]:
    made = Units(folder)
    yield made
    made.close_unit(SERVER, VOLUME)
    made.close()


def unit_of(appliance: Simulator) -> IscsiConnection:
    target = appliance.ask("GET", "/api/san/v1/iscsi/targets")[1]["targets"][0]["iqn"]
    return IscsiConnection(f"127.0.0.1:{appliance.portal}", target, 0, "iqn.2014-08.org.example:h1")


def io(socket: str, command: str) -> bool:
    """Whether a guest's QEMU does this."""
    words = ["qemu-io", "-c", command, "--image-opts", f"driver=nbd,server.type=unix,server.path={socket}"]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
    return done.returncode == 0 and "failed" not in done.stdout


def wait_for(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def test_a_unit_is_held_until_it_is_let_go(units: Units, appliance: Simulator, folder: Path) -> None:
    at = unit_of(appliance)
    socket = units.open(SERVER, VOLUME, at).path
    pid = Path(f"{socket}.pid").read_text()
    assert units.open(SERVER, VOLUME, at).path == socket and Path(f"{socket}.pid").read_text() == pid
    assert io(socket, "write -q -P 97 1M 1M") and io(socket, "read -q -P 97 1M 1M")
    assert Path(f"{socket}.json").stat().st_mode & 0o777 == 0o600
    # The appliance leaves a LUN to whom it is used by.
    assert appliance.ask("DELETE", f"{PROJECT}/test/luns/one")[0] == 403
    units.close_unit(SERVER, VOLUME)
    assert not list((folder / SERVER).iterdir()) and not _runs(int(pid))
    units.forget(SERVER)
    assert not (folder / SERVER).exists()
    wait_for(lambda: appliance.ask("DELETE", f"{PROJECT}/test/luns/one")[0] == 204, "the LUN is used still")


def test_a_process_that_died_is_started_again_and_its_socket_is_the_guests(units: Units, appliance: Simulator) -> None:
    socket = units.open(SERVER, VOLUME, unit_of(appliance)).path
    if os.geteuid() == 0:
        os.chown(socket, 20001, 20001)
    owner = os.stat(socket).st_uid
    pid = int(Path(f"{socket}.pid").read_text())
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: _pid_of(socket) not in (None, pid) and io(socket, "read -q 0 512"), "nobody holds it")
    assert os.stat(socket).st_uid == owner


def _pid_of(socket: str) -> int | None:
    try:
        return int(Path(f"{socket}.pid").read_text())
    except (OSError, ValueError):
        return None


def test_an_appliance_that_starts_again_is_waited_for(units: Units, appliance: Simulator) -> None:
    socket = units.open(SERVER, VOLUME, unit_of(appliance)).path
    assert io(socket, "write -q -P 98 0 1M")
    appliance.kill()
    reader = subprocess.Popen(
        ["qemu-io", "-c", "read -q -P 98 0 1M", "--image-opts", f"driver=nbd,server.type=unix,server.path={socket}"],
        stdout=subprocess.PIPE,
        text=True,
    )
    appliance.start()
    out, _ = reader.communicate(timeout=60)
    assert reader.returncode == 0 and "failed" not in out


def test_a_unit_that_is_not_there_is_refused_and_not_waited_for(units: Units, appliance: Simulator) -> None:
    at = msgspec.structs.replace(unit_of(appliance), lun=77)
    with pytest.raises(DiskFailure, match="qemu-nbd"):
        units.open(SERVER, VOLUME, at)


NBD = (
    '{{"driver":"nbd","server":{{"type":"unix","path":"{path}"}},"reconnect-delay":120,'
    '"node-name":"libvirt-1-storage","auto-read-only":true}}'
)
RAW = '{"node-name":"libvirt-1-format","read-only":false,"driver":"raw","file":"libvirt-1-storage"}'


def test_a_cell_shows_the_sockets_of_its_guest() -> None:
    path = f"{cell.UNITS}/{SERVER}/{VOLUME}"
    found = cell.needs_of(["-blockdev", NBD.format(path=path), "-blockdev", RAW, "-uuid", SERVER])
    assert found.sockets == {path} and not found.written and not found.read


@pytest.mark.parametrize("place", [f"{cell.UNITS}/{VOLUME}/{VOLUME}", "/run/libvirt/libvirt-sock"])
def test_a_socket_of_somebody_else_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    monkeypatch.setattr(cell, "_mount", lambda *_: None)
    monkeypatch.setattr(cell, "_bind", lambda *_: None)
    wanted = cell.Needs()
    wanted.sockets = {place}
    with pytest.raises(ValueError, match="no socket of this guest"):
        cell.make_root(str(tmp_path), "/usr/bin/true", wanted, 20001, "", f"{cell.UNITS}/{SERVER}")


def _runs(pid: int) -> bool:
    """One that has ended has no command line, until its parent has heard of it."""
    try:
        return bool(Path(f"/proc/{pid}/cmdline").read_bytes())
    except FileNotFoundError:
        return False

"""A throwaway host for kernel tests: own mount and network namespace, own /run, own Open vSwitch.

The test process itself moves in (its main thread), and back when a module is done. As an
ordinary user, run the tests under `unshare --map-auto --map-root-user -Umn`.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests import needs
from tests.kernel import intents
from tests.kernel.runner import Runner

_CLONE_NEWNS, _CLONE_NEWNET = 0x00020000, 0x40000000
_MS_REC, _MS_PRIVATE = 16384, 1 << 18
_libc = ctypes.CDLL(None, use_errno=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.kernel)


def wait_until(condition: Callable[[], object], what: str, timeout_s: float = 30.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"after {timeout_s} s still not: {what}"
        time.sleep(0.01)


class OpenVSwitch:
    """ovsdb-server and ovs-vswitchd of one host, on the default paths of that host's /run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.run_dir = Path("/run/openvswitch")
        self.run_dir.mkdir(exist_ok=True)
        subprocess.run(
            ["ovsdb-tool", "create", folder / "conf.db", "/usr/share/openvswitch/vswitch.ovsschema"], check=True
        )
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.start_database()
        subprocess.run(["ovs-vsctl", "--no-wait", "init"], check=True)
        self.start_switch()

    def start_database(self) -> None:
        self._start("ovsdb-server", [str(self.folder / "conf.db"), f"--remote=punix:{self.run_dir}/db.sock"])
        wait_until((self.run_dir / "db.sock").exists, "ovsdb-server listens")

    def start_switch(self) -> None:
        self._start("ovs-vswitchd", [f"unix:{self.run_dir}/db.sock"])
        wait_until((self.run_dir / "ovs-vswitchd.pid").exists, "ovs-vswitchd runs")

    def _start(self, name: str, arguments: list[str]) -> None:
        command = [name, *arguments, f"--pidfile={self.run_dir}/{name}.pid", f"--log-file={self.folder}/{name}.log"]
        self.processes[name] = subprocess.Popen([*command, "-vconsole:off"], stdin=subprocess.DEVNULL)

    def kill(self, name: str) -> None:
        process = self.processes.pop(name)
        process.send_signal(signal.SIGKILL)
        process.wait()
        (self.run_dir / f"{name}.pid").unlink(missing_ok=True)

    def stop(self) -> None:
        for name in list(self.processes):
            self.kill(name)


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A fresh host without Open vSwitch; the value is a folder for its state."""
    if os.geteuid() != 0:
        needs.lacking("needs root, or: unshare --map-auto --map-root-user -Umn " + " ".join(sys.argv))
    before = [os.open(f"/proc/thread-self/ns/{kind}", os.O_RDONLY) for kind in ("net", "mnt")]
    if _libc.unshare(_CLONE_NEWNS | _CLONE_NEWNET) != 0:
        needs.lacking(f"cannot make namespaces: {os.strerror(ctypes.get_errno())}")
    folder = os.getcwd()
    _libc.mount(b"none", b"/", None, _MS_REC | _MS_PRIVATE, None)
    _libc.mount(b"none", b"/run", b"tmpfs", 0, None)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    try:
        yield tmp_path_factory.mktemp("host")
    finally:
        for fd, kind in zip(before, (_CLONE_NEWNET, _CLONE_NEWNS), strict=True):
            _libc.setns(fd, kind)
            os.close(fd)
        os.chdir(folder)


@pytest.fixture(scope="module")
def switch_of_host(host: Path) -> Iterator[OpenVSwitch]:
    needs.program("ovs-vswitchd")
    switch = OpenVSwitch(host)
    try:
        yield switch
    finally:
        switch.stop()


@pytest.fixture
def switch(switch_of_host: OpenVSwitch) -> Iterator[OpenVSwitch]:
    """The host's Open vSwitch, without bridges before and after."""
    yield switch_of_host
    bridges = subprocess.run(["ovs-vsctl", "list-br"], check=True, capture_output=True, text=True).stdout.split()
    for bridge in bridges:
        subprocess.run(["ovs-vsctl", "del-br", bridge], check=True)


@pytest.fixture
def wires(host: Path) -> Iterator[None]:
    """The host's physical interfaces eth2 and eth3, each with its other end beside it."""
    for name in ("eth2", "eth3"):
        subprocess.run(["ip", "link", "add", name, "type", "veth", "peer", "name", f"{name}-far"], check=True)
        subprocess.run(["ip", "link", "set", f"{name}-far", "up"], check=True)
    yield
    for name in ("eth2", "eth3"):
        subprocess.run(["ip", "link", "del", name], check=True)


@pytest.fixture
def runner(switch: OpenVSwitch, wires: None, tmp_path: Path) -> Iterator[Runner]:
    made = Runner(intents.settings(str(tmp_path)))
    yield made
    made.settle(None)
    made.host.close()

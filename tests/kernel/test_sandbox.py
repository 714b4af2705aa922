"""A sandbox without the API: hosts are machines to those on them, and nothing to those outside.

Runs as root and as an ordinary user alike; both must hold.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import msgspec
import pytest

from deuteron.cli.checks import what_prevents_a_sandbox
from deuteron.sandbox import control
from deuteron.sandbox.cloud import State, new_cloud, open_state, read_cloud, with_tokens, write_settings
from deuteron.sandbox.control import Ask, Reply
from deuteron.sandbox.topology_file import parse_topology
from tests import needs

pytestmark = pytest.mark.kernel

DEADLINE_S = 20.0
TOPOLOGY = """
[groups]
network = ["c1"]
compute = ["c1", "c2"]

[hosts.c2.links]
network_interface = {mtu = 1400, rate_kbps = 8_000}
"""
T = TypeVar("T")


def wait_for(what: str, look: Callable[[], T | None]) -> T:
    deadline = time.monotonic() + DEADLINE_S
    while True:
        found = look()
        if found:
            return found
        assert time.monotonic() < deadline, f"after {DEADLINE_S:.0f} s still not: {what}"
        time.sleep(0.02)


class Sandbox:
    def __init__(self, state: State) -> None:
        self.state = state

    def start(self) -> None:
        with open(self.state.log("supervisor"), "ab") as log:
            subprocess.Popen(
                [sys.executable, "-m", "deuteron.sandbox.supervisor", "--state-dir", str(self.state.folder)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        wait_for("the sandbox is ready", lambda: (now := self.status()) and now.sandbox == "ready")
        self.wait_for_switches()

    def wait_for_switches(self) -> None:
        wait_for("both switches run", lambda: self.states("ovs-vswitchd") == {"c1": "running", "c2": "running"})

    def status(self) -> Reply | None:
        return control.ask(self.state, Ask(do="status"))

    def apply(self, topology: str, stopped: tuple[str, ...] = ()) -> Reply:
        """Have the hosts as this says; what became of it."""
        cloud = read_cloud(self.state)
        assert cloud is not None
        write_settings(self.state, msgspec.structs.replace(cloud, stopped=stopped), parse_topology(topology), "qemu")
        self.state.topology.write_text(topology)
        asked = control.ask(self.state, Ask(do="apply"))
        assert asked is not None
        return wait_for("it is done", lambda: ((now := self.status()) and now.applied >= asked.serial and now) or None)

    def states(self, process: str) -> dict[str, str]:
        now = self.status()
        children = now.children if now is not None else ()
        return {child.host: child.state for child in children if child.name.endswith(process)}

    def pid(self, name: str) -> int:
        """The process id of a child as seen from here."""
        now = self.status()
        assert now is not None
        return now.outer_pids[name]

    def on(self, host: str, command: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "deuteron.cli", "exec", host, "--", "sh", "-c", command],
            env={**os.environ, "DEUTERON_STATE_DIR": str(self.state.folder)},
            capture_output=True,
            text=True,
            timeout=30,
        )
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    def processes(self) -> list[int]:
        """Every process on this machine that works for this cloud."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                if (folder / "stat").read_text().rpartition(")")[2].split()[0] == "Z":
                    continue
                if os.fsencode(self.state.folder) in (folder / "cmdline").read_bytes():
                    found.append(int(folder.name))
            except OSError:
                continue
        return found


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    missing = what_prevents_a_sandbox()
    if missing:
        needs.lacking("; ".join(check.summary for check in missing))
    # Not pytest's folder: its path is too long for sockets.
    with tempfile.TemporaryDirectory(prefix="sandbox-") as folder:
        state = open_state(Path(folder) / "s")
        topology = parse_topology(TOPOLOGY)
        write_settings(state, with_tokens(new_cloud("test", "ovs", "openvswitch"), topology), topology, "qemu")
        state.topology.write_text(TOPOLOGY)
        made = Sandbox(state)
        try:
            made.start()
            yield made
        finally:
            control.stop(state)
            print(state.log("supervisor").read_text())
    assert made.processes() == []


def test_a_host_has_its_name_its_links_and_its_addresses(sandbox: Sandbox) -> None:
    assert sandbox.on("c2", "hostname") == "c2\n"
    links = sandbox.on("c2", "ls /sys/class/net").split()
    assert {"eth0", "eth1", "eth2", "eth3", "lo"} <= set(links)
    assert not {"mgmt", "trunk"} & set(links)
    assert "172.30.0.11/16" in sandbox.on("c2", "ip -4 -o address show eth0")
    # The address of the tunnel interface is its bridge's, and the agent's to give.
    assert sandbox.on("c2", "ip -4 -o address show eth1") == ""
    assert "172.24.4.1/24" in sandbox.on("outside", "ip -4 -o address show eth3")


def test_a_link_has_its_size_and_its_rate(sandbox: Sandbox) -> None:
    assert " mtu 1400 " in sandbox.on("c2", "ip link show eth0") and " mtu 1500 " in sandbox.on(
        "c1", "ip link show eth0"
    )
    for host, rates in (("c1", 0), ("c2", 1)):
        assert sandbox.on(host, "tc qdisc show dev eth0").count("tbf") == rates
    listen = (
        "s=socket.create_server(('172.30.0.11', 7070)); c,_=s.accept(); [0 for _ in iter(lambda: c.recv(65536), b'')]"
    )
    send = "c=socket.create_connection(('172.30.0.11', 7070), 5); c.sendall(bytes(2000000)); c.shutdown(1); c.recv(1)"
    receiver = subprocess.Popen(
        [sys.executable, "-m", "deuteron.cli", "exec", "c2", "--", sys.executable, "-c", f"import socket; {listen}"],
        env={**os.environ, "DEUTERON_STATE_DIR": str(sandbox.state.folder)},
    )
    wait_for("somebody listens", lambda: "172.30.0.11:7070" in sandbox.on("c2", "ss -ltn"))
    began = time.monotonic()
    sandbox.on("c1", f'{sys.executable} -c "import socket; {send}"')
    assert receiver.wait(timeout=10) == 0
    assert time.monotonic() - began > 1.5, "two megabytes take two seconds at a megabyte a second"


def test_a_host_that_is_stopped_is_gone_whole_and_comes_back_with_links_that_delay_where_the_kernel_can(
    sandbox: Sandbox,
) -> None:
    before = sandbox.pid("c1-ovs-vswitchd")
    assert sandbox.apply(TOPOLOGY, ("c2",)).hosts == ("c1", "outside")
    assert sandbox.states("ovs-vswitchd") == {"c1": "running"}
    slow = TOPOLOGY.replace("rate_kbps = 8_000", "delay_ms = 40")
    done = sandbox.apply(slow)
    if done.refused is not None:
        assert "sch_netem" in done.refused and "c2" not in done.hosts
    else:
        (round_trip,) = re.findall(r" min/avg/max/\S+ = ([0-9.]+)/", sandbox.on("c1", "ping -c 2 -W 2 c2"))
        assert 75 < float(round_trip) < 300
        sandbox.apply(slow, ("c2",))
    assert sorted(sandbox.apply(TOPOLOGY).hosts) == ["c1", "c2", "outside"]
    sandbox.wait_for_switches()
    sandbox.on("c1", "ping -c 1 -W 2 c2")
    assert sandbox.pid("c1-ovs-vswitchd") == before, "the others run on"


def test_hosts_reach_each_other_by_name(sandbox: Sandbox) -> None:
    sandbox.on("c1", "ping -c 1 -W 2 c2")


def test_the_trunk_carries_tagged_frames_between_hosts(sandbox: Sandbox) -> None:
    for host, address in (("c1", "10.99.0.1/24"), ("c2", "10.99.0.2/24")):
        # The agent puts eth2 into its bridge; a port without its mark stays there beside.
        wait_for("eth2 is in its bridge", lambda on=host: sandbox.on(on, "ovs-vsctl iface-to-br eth2 || true"))  # type: ignore[misc]  # bound on purpose
        sandbox.on(
            host,
            "ovs-vsctl add-port br-eth2 v7 tag=7 -- set Interface v7 type=internal"
            f" && ip address add {address} dev v7 && ip link set v7 up",
        )
    sandbox.on("c1", "ping -c 1 -W 2 10.99.0.2")
    # A large segment with a checksum that somebody else was to finish would not arrive.
    listen = (
        "s=socket.create_server(('10.99.0.2', 7777)); c,_=s.accept(); "
        "print(sum(len(part) for part in iter(lambda: c.recv(65536), b'')))"
    )
    send = "c=socket.create_connection(('10.99.0.2', 7777), 5); c.sendall(bytes(1000000))"
    receiver = subprocess.Popen(
        [sys.executable, "-m", "deuteron.cli", "exec", "c2", "--", sys.executable, "-c", f"import socket; {listen}"],
        env={**os.environ, "DEUTERON_STATE_DIR": str(sandbox.state.folder)},
        stdout=subprocess.PIPE,
        text=True,
    )
    wait_for("somebody listens", lambda: "10.99.0.2:7777" in sandbox.on("c2", "ss -ltn"))
    sandbox.on("c1", f'{sys.executable} -c "import socket; {send}"')
    assert receiver.communicate(timeout=10)[0] == "1000000\n"
    for host in ("c1", "c2"):
        sandbox.on(host, "ovs-vsctl del-port br-eth2 v7")


def test_switches_and_namespaces_of_one_host_are_not_seen_on_another(sandbox: Sandbox) -> None:
    sandbox.on(
        "c1", "ovs-vsctl add-br only-here -- set Bridge only-here datapath_type=netdev && ip netns add only-here"
    )
    assert "only-here" in sandbox.on("c1", "ovs-vsctl list-br; ip netns list")
    assert "only-here" not in sandbox.on("c2", "ovs-vsctl list-br; ip netns list")
    assert "only-here" not in subprocess.run(["ip", "netns", "list"], capture_output=True, text=True).stdout
    sandbox.on("c1", "ovs-vsctl del-br only-here && ip netns del only-here")


def test_libvirt_answers_on_a_compute_host(sandbox: Sandbox) -> None:
    assert "QEMU" in sandbox.on("c2", "virsh -c qemu:///system version")


def test_a_host_reaches_nothing_of_this_machine(sandbox: Sandbox) -> None:
    assert sandbox.on("c1", "ip route show default") == ""


def test_the_exit_status_is_the_commands(sandbox: Sandbox) -> None:
    for command, status in (("exit 7", 7), ("kill -TERM $$", 143)):
        done = subprocess.run(
            [sys.executable, "-m", "deuteron.cli", "exec", "c1", "--", "sh", "-c", command],
            env={**os.environ, "DEUTERON_STATE_DIR": str(sandbox.state.folder)},
        )
        assert done.returncode == status


def test_a_killed_switch_comes_back_with_its_bridges(sandbox: Sandbox) -> None:
    sandbox.on("c1", "ovs-vsctl --may-exist add-br kept -- set Bridge kept datapath_type=netdev")
    for process in ("ovsdb-server", "ovs-vswitchd"):
        before = sandbox.pid(f"c1-{process}")
        os.kill(before, signal.SIGKILL)
        wait_for(f"another {process}", lambda was=before, name=process: _another(sandbox, f"c1-{name}", was))  # type: ignore[misc]  # bound on purpose
    wait_for("the bridge's device", lambda: "kept" in sandbox.on("c1", "ls /sys/class/net"))
    sandbox.on("c1", "ovs-vsctl del-br kept")


def _another(sandbox: Sandbox, name: str, was: int) -> bool:
    now = sandbox.status()
    assert now is not None
    running = any(child.name == name and child.state == "running" for child in now.children)
    return running and now.outer_pids.get(name) not in (was, None)


def test_a_killed_sandbox_is_made_again(sandbox: Sandbox) -> None:
    before = sandbox.pid("sandbox")
    os.kill(before, signal.SIGKILL)
    wait_for(
        "another sandbox",
        lambda: (now := sandbox.status()) and now.sandbox == "ready" and now.outer_pids.get("sandbox") != before,
    )
    sandbox.wait_for_switches()
    assert sandbox.on("c1", "hostname") == "c1\n"


def test_a_killed_supervisor_takes_everything_with_it_and_the_next_finds_its_place(sandbox: Sandbox) -> None:
    now = sandbox.status()
    assert now is not None
    os.kill(now.pid, signal.SIGKILL)
    wait_for("no process is left", lambda: not sandbox.processes())
    assert sandbox.status() is None
    sandbox.start()
    assert sandbox.on("c2", "hostname") == "c2\n"


def test_a_second_supervisor_of_the_same_cloud_gives_way(sandbox: Sandbox) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "deuteron.sandbox.supervisor", "--state-dir", str(sandbox.state.folder)],
        capture_output=True,
        text=True,
        timeout=10,
    )
    assert done.returncode == 1
    assert "another supervisor" in done.stderr
    assert sandbox.on("c1", "hostname") == "c1\n"

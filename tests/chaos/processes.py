"""The processes of a running cloud, from outside: who there is to kill, and a kill that hits nobody else."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from deuteron.sandbox import control
from deuteron.sandbox.cloud import State
from deuteron.sandbox.errors import SupervisorError
from tests.clouds import Cloud

COMES_BACK_S = 60.0

KINDS = {
    "agent": 18, "dnsmasq": 22, "gateways": 2, "api": 18, "ovs-vswitchd": 12, "ovsdb-server": 10, "libvirtd": 6,
    "qemu": 8, "sandbox": 3, "supervisor": 2,
}  # fmt: skip
"""What dies, and how often of a hundred times. What takes all guests along dies rarely: they run in emulation."""

OF_MACHINES = {
    "agent": 24, "api": 18, "qemu": 22, "libvirtd": 14, "qemu-img": 10, "ovs-vswitchd": 4, "sandbox": 5,
    "supervisor": 3,
}  # fmt: skip
"""The same where servers and volumes are what changes."""

_SCANNED = {"dnsmasq": "dnsmasq", "qemu": "qemu-system", "qemu-img": "qemu-img"}


@dataclass(frozen=True)
class Victim:
    """A living process, held by a pidfd so that its number cannot come to mean another one."""

    kind: str
    pid: int
    handle: int

    def kill(self) -> None:
        try:
            signal.pidfd_send_signal(self.handle, signal.SIGKILL)
        finally:
            os.close(self.handle)


def find(state: State, kind: str) -> list[Victim]:
    """The living processes of one kind; none while the supervisor is away."""
    if kind in _SCANNED:
        pids = _scan(state, _SCANNED[kind])
    else:
        try:
            reply = control.ask(state, control.Ask(do="status"), timeout_s=2)
        except (SupervisorError, OSError):
            return []
        if reply is None:
            return []
        if kind == "supervisor":
            pids = [reply.pid]
        else:
            pids = [pid for name, pid in reply.outer_pids.items() if name == kind or name.endswith(f"-{kind}")]
    victims = []
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            victims.append(Victim(kind, pid, os.pidfd_open(pid)))
    return victims


def _scan(state: State, program: str) -> list[int]:
    """Processes of a program whose command line names the cloud's folder."""
    found = []
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        with contextlib.suppress(OSError):
            arguments = Path(f"/proc/{entry}/cmdline").read_bytes().decode(errors="replace").split("\0")
            if os.path.basename(arguments[0]).startswith(program) and any(str(state.folder) in a for a in arguments):
                found.append(int(entry))
    return found


def kill(cloud: Cloud, shares: Mapping[str, int], kind: str, dice: random.Random) -> str:
    """Kill one process of this kind; of the next kind that lives when none does, for the dead cannot be killed."""
    kinds = list(shares)
    at = kinds.index(kind)
    deadline = time.monotonic() + COMES_BACK_S
    while True:
        for candidate in (*kinds[at:], *kinds[:at]):
            if candidate != kind and candidate in ("sandbox", "supervisor"):
                continue
            victims = find(State(cloud.state), candidate)
            if victims:
                chosen = dice.choice(victims)
                for victim in victims:
                    if victim is not chosen:
                        os.close(victim.handle)
                chosen.kill()
                if candidate == "supervisor":
                    cloud.run("up")
                return candidate
        assert time.monotonic() < deadline, f"nothing lives in the cloud for {COMES_BACK_S:g} s"
        threading.Event().wait(0.02)

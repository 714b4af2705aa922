"""The sandbox's first process: makes the networks and hosts, keeps their processes alive, reaps orphans.

It is process 1 of the sandbox's pid namespace. When it ends, for whatever reason, the kernel kills
everything in the sandbox; when its parent ends, it ends. So there is never half a sandbox, and nothing is
left of a whole one.

It talks to the supervisor outside over a socket pair, one JSON object per packet:

    init to supervisor   {"host": NAME} with the host's three namespace files   for each host that is made
                         {"gone": NAME}                                          that host has ended
                         {"ready": true}                                         all hosts are there
                         {"serial": N, "failed": MESSAGE}                        hosts are as wanted, or cannot be
                         {"failed": MESSAGE, "hint": HINT}                       and then ends
                         {"log": NAME} with the end of a pipe                    what process NAME says comes out of it
                         {"children": [ChildStatus, ...]}                        whenever one changed
    supervisor to init   {"stop": true}, {"restart": NAME}, {"serial": N, "wanted": Wanted}
                         {"hold": true}                                          agents end, and stay so
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import msgspec

from . import namespaces as ns
from .cables import make_networks
from .children import ChildStatus, Family
from .cloud import Cloud, State
from .errors import SandboxError
from .fleet import Fleet, Wanted
from .hosts import HostNamespaces

SANDBOX_FLAGS = ns.CLONE_NEWNS | ns.CLONE_NEWNET | ns.CLONE_NEWPID | ns.CLONE_NEWUTS | ns.CLONE_NEWIPC
STAGE_S = 4.0
"""How long the agents, then everything else, may take to end after SIGTERM."""


class Message(msgspec.Struct, omit_defaults=True):
    """Any packet between init and supervisor; see the module's docstring."""

    host: str | None = None
    gone: str | None = None
    log: str | None = None
    ready: bool = False
    failed: str | None = None
    hint: str | None = None
    children: list[ChildStatus] | None = None
    stop: bool = False
    restart: str | None = None
    hold: bool = False
    serial: int | None = None
    wanted: Wanted | None = None


def run_init(
    cloud: Cloud, wanted: Wanted, state: State, kvm: bool, program: tuple[str, Path], link: socket.socket
) -> None:
    """Be the sandbox's init. Never returns."""
    status = 1
    try:
        signal.set_wakeup_fd(-1)
        # Everything else that is open belongs to the supervisor: its lock, its control socket.
        os.closerange(3, link.fileno())
        os.closerange(link.fileno() + 1, 4096)
        # The parent answers when it has reaped the process between us, so that it is the one whose end we follow.
        if not link.recv(1):
            return
        ns.die_with_parent(signal.SIGKILL)
        try:
            ns.make_mounts_private()
            ns.mount("proc", "/proc", "proc", ns.MS_NOSUID | ns.MS_NODEV | ns.MS_NOEXEC)
            ns.set_hostname(cloud.name[:63])
            make_networks()
            family = Family(lambda name: _open_log(link, name))

            def arrived(name: str, namespaces: HostNamespaces) -> None:
                socket.send_fds(link, [msgspec.json.encode(Message(host=name))], list(namespaces))

            def gone(name: str) -> None:
                _send(link, Message(gone=name))

            fleet = Fleet(cloud, state, kvm, program, family, arrived, gone, reap)
            fleet.become(wanted)
        except (OSError, SandboxError) as error:
            traceback.print_exc()
            _send(link, Message(failed=f"cannot make the sandbox: {error}", hint=getattr(error, "hint", None)))
            return
        if cloud.host_ids is not None:
            # It has in memory what the supervisor had: passwords that no host should find.
            ns.be_readable(False)
        _send(link, Message(ready=True))
        _keep(family, fleet, link)
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def reap(family: Family) -> None:
    """Note every process that has ended, ours and orphans."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        family.reaped(pid, status)


def wake_on_signals() -> socket.socket:
    """A socket that becomes readable when a child ended or we are asked to; for `poll`."""
    inner, outer = socket.socketpair()
    inner.setblocking(False)
    outer.setblocking(False)
    signal.set_wakeup_fd(inner.fileno(), warn_on_full_buffer=False)
    _WAKERS.append(inner)  # set_wakeup_fd keeps a number only
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    return outer


_WAKERS: list[socket.socket] = []


def _open_log(link: socket.socket, name: str) -> int:
    """A pipe for what a process says; the supervisor keeps its other end."""
    reading, writing = os.pipe2(os.O_CLOEXEC)
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        socket.send_fds(link, [msgspec.json.encode(Message(log=name))], [reading])
    os.close(reading)
    return writing


def _keep(family: Family, fleet: Fleet, link: socket.socket) -> None:
    """Keep the family alive until we are asked to stop or the supervisor is gone."""
    wake = wake_on_signals()
    while True:
        reap(family)
        wait_s = family.tick()
        if family.changed:
            family.changed = False
            _send(link, Message(children=family.statuses()))
        readable, _, _ = select.select([link, wake], [], [], wait_s)
        if wake in readable:
            wake.recv(4096)
        if link in readable:
            packet = link.recv(1 << 20)
            message = msgspec.json.decode(packet, type=Message) if packet else Message(stop=True)
            if message.restart is not None:
                family.restart(message.restart)
            if message.hold:
                family.hold("-agent")
            if message.wanted is not None:
                _send(link, _carried_out(fleet, message.wanted, message.serial or 0))
            if message.stop:
                _stop(family)
                return


def _carried_out(fleet: Fleet, wanted: Wanted, serial: int) -> Message:
    try:
        fleet.become(wanted)
    except (OSError, SandboxError) as error:
        traceback.print_exc()
        return Message(serial=serial, failed=str(error), hint=getattr(error, "hint", None))
    return Message(serial=serial)


def _stop(family: Family) -> None:
    """End agents first, since they would repair what the others' ends break; then everything in the sandbox."""
    family.begin_stop()
    family.signal(signal.SIGTERM, "-agent")
    _wait(family, lambda: family.alive("-agent"))
    with contextlib.suppress(ProcessLookupError):
        os.kill(-1, signal.SIGTERM)
    _wait(family, _has_children)


def _wait(family: Family, busy: Callable[[], bool]) -> None:
    deadline = time.monotonic() + STAGE_S
    while time.monotonic() < deadline:
        reap(family)
        if not busy():
            return
        # Short enough not to be noticed; SIGCHLD may belong to any of hundreds of processes here.
        time.sleep(0.01)


def _has_children() -> bool:
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def _send(link: socket.socket, message: Message) -> None:
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        link.send(msgspec.json.encode(message))

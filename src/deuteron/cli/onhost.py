"""Work on a host of the sandbox, done by a child that goes there: whoever enters a namespace stays in it.

The child has what its parent had at the fork, sends back one answer, and ends. Packet sockets that it opens there are
handed over and go on when it is gone.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import time
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from deuteron.cli.enter import join
from deuteron.cli.options import Refused
from deuteron.net.kernel.driver import KernelError
from deuteron.net.kernel.namespaces import Namespaces
from deuteron.net.kernel.ruletrace import open_trace, rules_here
from deuteron.net.kernel.sniffer import open_sniffer
from deuteron.net.rows import HOST
from deuteron.net.traced import Match, RuleKey
from deuteron.sandbox import control
from deuteron.sandbox import namespaces as ns
from deuteron.sandbox.cloud import State

_TIMEOUT_S = 30.0
_FILES_AT_ONCE = 200  # SCM_MAX_FD is 253


class NotThere(Exception):
    """The host could not be asked; in words."""


def on_host(state: State, host: str, work: Callable[[], Any], timeout_s: float = _TIMEOUT_S) -> Any:
    """What `work` returns on a host, which JSON can say.

    Raises: NotThere; Refused if the cloud is not running; SandboxError if the supervisor has no such host.
    """
    answer, files = _asked(state, host, lambda _: work(), timeout_s)
    for fd in files:
        os.close(fd)
    return answer


def sniffers(
    state: State, host: str, devices: Sequence[tuple[str, str]]
) -> tuple[dict[tuple[str, str], socket.socket], dict[tuple[str, str], str]]:
    """A packet socket on each device that is there, by its namespace and name; and why there is none on others.

    Raises: as `on_host`.
    """

    def work(link: socket.socket) -> list[tuple[bool, str]]:
        namespaces = Namespaces()
        found: list[tuple[bool, str]] = []
        opened: list[socket.socket] = []
        for namespace, device in devices:
            try:
                with namespaces.entered(namespace):
                    opened.append(open_sniffer(device))
                found.append((True, ""))
            except (KernelError, OSError) as error:
                found.append((False, str(error.strerror if isinstance(error, OSError) else error)))
        for first in range(0, len(opened), _FILES_AT_ONCE):
            socket.send_fds(link, [b"+"], [each.fileno() for each in opened[first : first + _FILES_AT_ONCE]])
        return found

    answer, files = _asked(state, host, work, _TIMEOUT_S)
    waiting = iter(files)
    there: dict[tuple[str, str], socket.socket] = {}
    missing: dict[tuple[str, str], str] = {}
    for place, (is_open, reason) in zip(devices, answer, strict=True):
        if is_open:
            there[place] = socket.socket(fileno=next(waiting))
        else:
            missing[place] = reason
    return there, missing


def rule_traces(
    state: State, host: str, names: Sequence[str], matches: Sequence[Match]
) -> tuple[dict[str, socket.socket], dict[str, dict[RuleKey, str]]]:
    """By namespace, a socket that is told of the rules that certain packets meet there, and the rules.

    Raises: as `on_host`.
    """

    def work(link: socket.socket) -> list[list[tuple[RuleKey, str]]]:
        namespaces = Namespaces()
        opened, found = [], []
        for name in names:
            with namespaces.entered(name):
                found.append(list(rules_here().items()))
                opened.append(open_trace(matches, has_bridges=name == HOST))
        for first in range(0, len(opened), _FILES_AT_ONCE):
            socket.send_fds(link, [b"+"], [each.fileno() for each in opened[first : first + _FILES_AT_ONCE]])
        return found

    answer, files = _asked(state, host, work, _TIMEOUT_S)
    rules = msgspec.convert(answer, list[list[tuple[RuleKey, str]]])
    there = {name: socket.socket(fileno=file) for name, file in zip(names, files, strict=True)}
    return there, {name: dict(each) for name, each in zip(names, rules, strict=True)}


def _asked(state: State, host: str, work: Callable[[socket.socket], Any], timeout_s: float) -> tuple[Any, list[int]]:
    files = control.ask_files(state, host)
    if files is None:
        raise Refused("the cloud is not running", "deuteron up")
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            ours.close()
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent's matter
            _go(dict(files), work, its)
            status = 0
        finally:
            os._exit(status)
    its.close()
    for _, fd in files:
        os.close(fd)
    try:
        data, handed = _received(ours, timeout_s)
    finally:
        ours.close()
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    told = msgspec.json.decode(data) if data else {"error": "it gave no answer"}
    if "error" in told:
        for fd in handed:
            os.close(fd)
        raise NotThere(str(told["error"]))
    return told["answer"], handed


def _go(files: dict[str, int], work: Callable[[socket.socket], Any], link: socket.socket) -> None:
    """In a child of the child, which has the host's process ids as well.

    Both have what their parent read, secrets of the cloud as well: root of the host may not look into them.
    """
    ns.be_readable(False)
    try:
        join(files)
    except OSError as error:
        link.sendall(msgspec.json.encode({"error": f"cannot go there: {error.strerror}"}))
        return
    worker = os.fork()
    if worker == 0:
        try:
            ns.die_with_parent(signal.SIGKILL)
            link.sendall(_done(work, link))
        finally:
            os._exit(0)
    link.close()
    os.waitpid(worker, 0)


def _done(work: Callable[[socket.socket], Any], link: socket.socket) -> bytes:
    try:
        return msgspec.json.encode({"answer": work(link)})
    except Exception as error:  # said by who asked
        return msgspec.json.encode({"error": f"{type(error).__name__}: {error}"})


def _received(link: socket.socket, timeout_s: float) -> tuple[bytes, list[int]]:
    data, handed = b"", []
    deadline = time.monotonic() + timeout_s
    waiting = select.poll()
    waiting.register(link, select.POLLIN)
    while waiting.poll(max(0.0, deadline - time.monotonic()) * 1000):
        part, files, _, _ = socket.recv_fds(link, 1 << 18, 253)
        handed += files
        if not part:
            return data.lstrip(b"+"), handed
        data += part
    for fd in handed:
        os.close(fd)
    raise NotThere(f"no answer within {timeout_s:.0f} s")

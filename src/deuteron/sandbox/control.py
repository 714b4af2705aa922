"""Speaking with a running supervisor: one JSON line each way over `STATE/run/supervisor.sock`.

The socket lies in a folder that only the owner of the cloud may enter. `enter` answers with open files of
the host's namespaces, which is all that `exec` and `shell` need; nothing runs for them in between.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import time
from collections.abc import Iterator
from typing import Literal

import msgspec

from .children import ChildStatus
from .cloud import State
from .errors import SupervisorError

Phase = Literal["starting", "ready", "failed", "stopping", "none"]
NAMESPACE_KINDS = ("user", "pid", "ipc", "mnt", "net", "uts")


class Ask(msgspec.Struct, omit_defaults=True):
    do: Literal["status", "enter", "restart", "hold", "stop", "apply"]
    """`hold`: the API and the agents end and stay so until the cloud starts anew, and guests go on.

    `apply`: make the hosts as the state folder says now; `status` tells when they are, by the serial number.
    """
    name: str = ""


class Reply(msgspec.Struct, omit_defaults=True):
    """The state of the cloud's processes. `sandbox` is "none" for a cloud without a data plane."""

    pid: int = 0
    started_at: float = 0.0
    sandbox: Phase = "starting"
    children: tuple[ChildStatus, ...] = ()
    outer_pids: dict[str, int] = {}
    """Process ids as seen outside of the sandbox, by name of the process."""
    kinds: tuple[str, ...] = ()
    """For `enter`: which namespace each of the files that come with the reply is."""
    hosts: tuple[str, ...] = ()
    """Those that are there."""
    serial: int = 0
    """Of what was asked last to be applied."""
    applied: int = 0
    """Of what is carried out, or was refused: then with `refused`."""
    refused: str | None = None
    error: str | None = None
    hint: str | None = None


def ask(state: State, question: Ask, timeout_s: float = 10.0) -> Reply | None:
    """The supervisor's answer; None if no supervisor runs.

    Raises: SupervisorError if it does not answer in time, or refuses.
    """
    with _connected(state, timeout_s) as link:
        if link is None:
            return None
        reply, files = _talk(link, question)
        for fd in files:
            os.close(fd)
        return reply


def ask_files(state: State, host: str, timeout_s: float = 10.0) -> tuple[tuple[str, int], ...] | None:
    """Kind and open file of each namespace of `host`; None if no supervisor runs.

    Raises: SupervisorError if there is no such host, or the sandbox is not ready.
    """
    with _connected(state, timeout_s) as link:
        if link is None:
            return None
        reply, files = _talk(link, Ask(do="enter", name=host))
        return tuple(zip(reply.kinds, files, strict=True))


def stop(state: State, timeout_s: float = 30.0) -> bool:
    """End the supervisor and everything it keeps, and wait until they are gone; False if none runs.

    Raises: SupervisorError if it is still there after `timeout_s`.
    """
    with _connected(state, timeout_s) as link:
        if link is None:
            return False
        _talk(link, Ask(do="stop"))
        # The socket stays open until the supervisor's own end.
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            try:
                if not link.recv(4096):
                    return True
            except ConnectionResetError:
                return True
            except TimeoutError:
                break
    raise SupervisorError(f"the supervisor has not ended after {timeout_s:.0f} s", f"see {state.log('supervisor')}")


@contextlib.contextmanager
def _connected(state: State, timeout_s: float) -> Iterator[socket.socket | None]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
        link.settimeout(timeout_s)
        try:
            link.connect(str(state.control_socket))
        except (FileNotFoundError, ConnectionRefusedError):
            yield None
            return
        except PermissionError as error:
            raise SupervisorError(
                f"cannot reach the supervisor of {state.folder}: permission denied", "is it another user's cloud?"
            ) from error
        _, uid, _ = struct.unpack("3i", link.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        if uid not in (0, os.geteuid()):
            # It would be asked for namespaces to enter.
            raise SupervisorError(f"user {uid} listens on {state.control_socket}", "is it another user's cloud?")
        yield link


def _talk(link: socket.socket, question: Ask) -> tuple[Reply, list[int]]:
    try:
        link.sendall(msgspec.json.encode(question) + b"\n")
        data = b""
        files: list[int] = []
        while not data.endswith(b"\n"):
            part, more, _, _ = socket.recv_fds(link, 262144, 16)
            if not part:
                raise SupervisorError("the supervisor ended while it was asked", "deuteron up")
            data += part
            files += more
    except TimeoutError as error:
        raise SupervisorError("the supervisor does not answer", "deuteron logs supervisor") from error
    reply = msgspec.json.decode(data, type=Reply)
    if reply.error is not None and question.do != "status":
        raise SupervisorError(reply.error, reply.hint)
    return reply, files

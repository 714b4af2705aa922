"""A running sandbox as the supervisor has it, and how one is started: namespaces, identities, and process 1 in them."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from collections.abc import Callable

from . import namespaces as ns
from .children import ChildStatus
from .errors import NamespaceError
from .init import SANDBOX_FLAGS


class Sandbox:
    """A running sandbox, from outside."""

    def __init__(self, pid: int, link: socket.socket) -> None:
        self.pid: int | None = pid
        self.link = link
        self.hosts: dict[str, tuple[int, ...]] = {}
        self.children: tuple[ChildStatus, ...] = ()

    def forget(self, host: str) -> None:
        for fd in self.hosts.pop(host, ()):
            os.close(fd)

    def close(self) -> None:
        if self.pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
        self.link.close()
        for host in list(self.hosts):
            self.forget(host)


def start_sandbox(
    init: Callable[[socket.socket], None], maps: ns.IdMaps | None, prepare: Callable[[], None]
) -> Sandbox:
    """Make the namespaces and run `init` as process 1 in them; the caller must be a child subreaper.

    A process in between runs `prepare`, makes the namespaces (a pid namespace begins with the maker's first child) and
    ends. With `maps` there is a user namespace with these identities.

    Raises: NamespaceError if the kernel or newuidmap refuses.
    """
    is_root = os.getuid() == 0
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    go_read, go_write = os.pipe()
    said_read, said_write = os.pipe()
    between = os.fork()
    if between == 0:
        try:
            ours.close()
            os.close(go_write)
            os.close(said_read)
            prepare()
            if maps is not None:
                ns.unshare(ns.CLONE_NEWUSER)
                os.write(said_write, b"user\n")
                if not os.read(go_read, 1):
                    os._exit(1)
                if is_root:
                    ns.become_root_inside()
                    # Until the hosts are made, whose first processes init looks at; see run_init.
                    ns.be_readable(True)
            ns.unshare(SANDBOX_FLAGS)
            pid = os.fork()
            if pid == 0:
                os.close(said_write)
                init(theirs)
            os.write(said_write, f"init {pid}\n".encode())
            os._exit(0)
        except OSError as error:
            os.write(said_write, f"error {error}\n".encode())
        finally:
            os._exit(1)
    theirs.close()
    os.close(go_read)
    os.close(said_write)
    with os.fdopen(said_read) as said, os.fdopen(go_write, "w") as go:
        line = said.readline()
        if maps is not None and line == "user\n":
            try:
                (ns.write_id_maps_as_root if is_root else ns.write_id_maps)(between, maps)
            except (NamespaceError, OSError):
                os.kill(between, signal.SIGKILL)
                os.waitpid(between, 0)
                raise
            go.write("1")
            go.flush()
            line = said.readline()
    os.waitpid(between, 0)
    if not line.startswith("init "):
        reason = line.removeprefix("error ").strip() or "no reason given"
        raise NamespaceError(
            f"the kernel refuses the namespaces of the sandbox: {reason}",
            "deuteron doctor says what is missing; deuteron up --dataplane none does without",
        )
    sandbox = Sandbox(int(line.split()[1]), ours)
    ours.send(b"1")
    return sandbox

"""What a program could do in the place of a process: a child enters its namespaces, takes its rights, and tries."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Sequence
from pathlib import Path

from deuteron.compute import cell
from deuteron.sandbox import namespaces as ns

KINDS = (("user", ns.CLONE_NEWUSER), ("net", ns.CLONE_NEWNET), ("ipc", ns.CLONE_NEWIPC), ("mnt", ns.CLONE_NEWNS))
_NEW = os.O_CREAT | os.O_EXCL | os.O_WRONLY


def inner_id(pid: int, outer: int) -> int:
    """How an identity of this machine is called in the user namespace of a process."""
    for line in Path(f"/proc/{pid}/uid_map").read_text().splitlines():
        inside, outside, count = (int(word) for word in line.split())
        if outside <= outer < outside + count:
            return inside + outer - outside
    raise AssertionError(f"{outer} has no name in the user namespace of {pid}")


def tried_as(
    pid: int, opened: list[str], connected: list[str], addresses: list[tuple[str, int]], made: Sequence[str] = ()
) -> dict[str, str]:
    """What becomes of opening and making files, connecting to sockets and addresses, and signalling from the place of
    `pid`.

    The answer to each is "ok" or the name of the error. Files are opened for writing where that works, else reading.
    """
    identity = inner_id(pid, int(_status(pid)["Uid"].split()[0]))
    files = [(kind, flag, os.open(f"/proc/{pid}/ns/{kind}", os.O_RDONLY)) for kind, flag in KINDS]
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            for kind, flag, fd in files:
                if os.fstat(fd).st_ino != os.stat(f"/proc/self/ns/{kind}").st_ino:
                    ns.setns(fd, flag)
            cell.give_up_rights(identity)
            answers = {f"open {path}": _said(lambda path=path: os.close(_open(path))) for path in opened}
            answers |= {f"make {path}": _said(lambda path=path: os.close(os.open(path, _NEW))) for path in made}
            answers |= {
                f"connect {path}": _said(lambda path=path: _connect(socket.AF_UNIX, path)) for path in connected
            }
            answers |= {
                f"connect {where}": _said(lambda where=where: _connect(socket.AF_INET, where)) for where in addresses
            }
            answers["signal 1"] = _said(lambda: os.kill(1, 0))
            answers["list /"] = " ".join(sorted(os.listdir("/")))
            os.write(writing, json.dumps(answers).encode())
        except BaseException as error:
            os.write(writing, json.dumps({"the probe failed": repr(error)}).encode())
        finally:
            os._exit(0)
    os.close(writing)
    for _, _, fd in files:
        os.close(fd)
    with os.fdopen(reading) as pipe:
        said: dict[str, str] = json.loads(pipe.read())
    os.waitpid(child, 0)
    assert "the probe failed" not in said, said
    return said


def _status(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def _open(path: str) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_NONBLOCK)
    except OSError:
        return os.open(path, os.O_RDONLY | os.O_NONBLOCK)


def _connect(family: int, where: object) -> None:
    with socket.socket(family, socket.SOCK_STREAM) as link:
        link.settimeout(2)
        link.connect(where)  # type: ignore[arg-type]  # a path or an address, as the family wants it


def _said(attempt: object) -> str:
    try:
        attempt()  # type: ignore[operator]  # a function without arguments
    except OSError as error:
        return type(error).__name__ if type(error) is not OSError else str(error.strerror)
    return "ok"

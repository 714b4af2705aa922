"""Which links of hosts carry nothing: a cable that was closed, an interface that is down.

A look into the hosts' network namespaces, by the files that `deuteron exec` uses. It changes nothing and sends nothing.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import struct
from collections.abc import Collection, Mapping

from deuteron.sandbox import control
from deuteron.sandbox import namespaces as ns
from deuteron.sandbox.cloud import State

_SIOCGIFFLAGS = 0x8913
_UP_AND_RUNNING = 0x41
"""IFF_UP and IFF_RUNNING, include/uapi/linux/if.h."""
_NAME_BYTES = 16


def closed_links(state: State, interfaces: Mapping[str, Collection[str]]) -> frozenset[tuple[str, str]]:
    """Host and interface of those of `interfaces`, by host, that are down or have no carrier.

    A host that cannot be looked at has none. Raises: SandboxError if the supervisor does not answer.
    """
    found: set[tuple[str, str]] = set()
    for host, names in interfaces.items():
        files = control.ask_files(state, host)
        if files is None:
            continue
        try:
            found |= {(host, name) for name in _closed_in(dict(files), sorted(names))}
        finally:
            for _, fd in files:
                os.close(fd)
    return frozenset(found)


def _closed_in(files: Mapping[str, int], names: Collection[str]) -> list[str]:
    """Asked by a child, since whoever enters a namespace stays there."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            if os.fstat(files["user"]).st_ino != os.stat("/proc/self/ns/user").st_ino:
                ns.setns(files["user"], ns.CLONE_NEWUSER)
            ns.setns(files["net"], ns.CLONE_NEWNET)
            os.write(writing, json.dumps([name for name in names if not _carries(name)]).encode())
            status = 0
        finally:
            os._exit(status)
    os.close(writing)
    with os.fdopen(reading, "rb") as answer:
        text = answer.read()
    os.waitpid(child, 0)
    closed: list[str] = json.loads(text) if text else []
    return closed


def _carries(name: str) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        request = struct.pack(f"{_NAME_BYTES}sh14x", name.encode(), 0)
        try:
            answer = fcntl.ioctl(asking, _SIOCGIFFLAGS, request)
        except OSError:
            return False
    flags: int = struct.unpack_from("h", answer, _NAME_BYTES)[0]
    return flags & _UP_AND_RUNNING == _UP_AND_RUNNING

"""What clouds of one machine must not share: the port they listen on, and the identities they run as."""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
from pathlib import Path

from .errors import StateError

_OF_NO_BROWSER = frozenset({5060, 5061, 6000, 6566, *range(6665, 6670), 6679, 6697, 10080})
"""Ports of other protocols, which browsers do not ask (Fetch Standard, "bad port"): nobody would see the dashboard."""


def first_port() -> int:
    """The first of the thousand ports that a new cloud may take: `$DEUTERON_FIRST_PORT`, else 5000."""
    given = os.environ.get("DEUTERON_FIRST_PORT", "")
    return int(given) if given.isdecimal() and 1024 <= int(given) <= 64000 else 5000


class PortClaim:
    """A TCP port of 127.0.0.1 that no other `up` of this machine takes while this object is open.

    Between choosing a port and the API's listening on it lie seconds in which another cloud would choose the same, and
    a killed API leaves it for a moment. The supervisor inherits the claim and keeps it as long as it lives.
    The claim is a socket with an abstract name: the kernel gives a name to one at a time, across users, in the same
    network namespace that the port belongs to, and forgets it with the process.
    """

    def __init__(self, port: int, name: socket.socket) -> None:
        self.port = port
        self._name = name

    def fileno(self) -> int:
        """For a process that inherits the claim and keeps it."""
        return self._name.fileno()

    def __enter__(self) -> PortClaim:
        return self

    def __exit__(self, *_: object) -> None:
        self._name.close()


def claim_port(first: int | None = None, last: int | None = None) -> PortClaim:
    """The first port from `first` on that nobody listens on and nobody claimed.

    Raises: StateError if there is none up to `last`.
    """
    first = first_port() if first is None else first
    last = first + 999 if last is None else last
    for port in range(first, last + 1):
        if port in _OF_NO_BROWSER and first != last:
            continue
        name = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            name.bind(f"\0deuteron-port-{port}")
        except OSError:
            name.close()
            continue
        if port_is_free(port):
            return PortClaim(port, name)
        name.close()
    raise StateError(f"no TCP port from {first} to {last} is free on 127.0.0.1")


def free_port(first: int | None = None, last: int | None = None, host: str = "127.0.0.1") -> int:
    """The first TCP port of `host`, a name or an address, from `first` on that nobody listens on.

    Raises: StateError if there is none up to `last`.
    """
    first = first_port() if first is None else first
    last = first + 999 if last is None else last
    for port in range(first, last + 1):
        if port_is_free(port, host):
            return port
    raise StateError(f"no TCP port from {first} to {last} is free on {host}")


def port_is_free(port: int, host: str = "127.0.0.1") -> bool:
    """Whether one could listen there; of a name, at each of its addresses."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError:
        return False
    for family, kind, protocol, _, address in found:
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(address)
            except OSError:
                return False
    return True


def free_uid() -> int:
    """An identity that no account and no process has, for the API.

    Source: systemd.io/UIDS-GIDS: 61184 to 65519 is for services that need an identity while they run.

    Raises: StateError if none of these exists in this user namespace.
    """
    import pwd

    taken = {entry.pw_uid for entry in pwd.getpwall()}
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            taken.add(process.stat().st_uid)
    mapped = [tuple(int(n) for n in line.split()) for line in Path("/proc/self/uid_map").read_text().splitlines()]
    candidates = [uid for uid in range(61184, 65520) if uid not in taken]
    candidates = [uid for uid in candidates if any(first <= uid < first + count for first, _, count in mapped)]
    if not candidates:
        raise StateError(
            "no identity from 61184 to 65519 is free for the API",
            "run as an ordinary user, or in a container with 65536 ids",
        )
    return secrets.choice(candidates)

"""What the kernel tells of changes in all of a host's namespaces, over two netlink sockets.

A socket of the host hears the multicast of every namespace that has a number there (NETLINK_LISTEN_ALL_NSID), and
`follow` gives one to each. So a host with hundreds of namespaces needs no socket in each of them.

    rtnetlink    devices, addresses, routes, forwarding        nfnetlink    rules (iptables over nf_tables)

Looking is the drivers' business: what is told here may be old already. When the kernel had more to say than the
socket could hold, `take` says so.

Source: netlink(7), rtnetlink(7), include/uapi/linux/{net_namespace,netconf}.h, netfilter/nfnetlink.h.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from deuteron.net.kernel import rtnetlink as nl
from deuteron.net.kernel.driver import KernelError
from deuteron.net.kernel.namespaces import Namespaces
from deuteron.net.rows import HOST

_SOL_NETLINK, _ADD_MEMBERSHIP, _LISTEN_ALL_NSID = 270, 1, 8
_ROUTE_GROUPS = (1, 5, 7, 9, 11, 24, 25)  # LINK, IPV4_IFADDR, IPV4_ROUTE, IPV6_IFADDR, IPV6_ROUTE, two of NETCONF
_NFTABLES_GROUPS = (7,)
_NEWNSID, _GETNSID = 88, 90
_NSID, _FD = 1, 3
_HEADER = struct.Struct("=IHHII")
_BUFFER_BYTES = 4 << 20
_NETCONF, _NETCONF_HEAD_BYTES, _NETCONF_INDEX, _ALL_DEVICES = (80, 81), 4, 1, struct.pack("=i", -1)


class Told(NamedTuple):
    """Something changed in a namespace: "link", "address", "route", "setting" or "rules"."""

    namespace: str
    kind: str
    is_gone: bool = False
    """Whether a device, an address or a route went; otherwise it came or changed."""
    link: nl.LinkState | None = None
    """The device, for "link": how it is now, or was."""
    address: nl.AddressState | None = None
    route: nl.RouteState | None = None
    """For "route"; only static routes are told of."""


class Overflow(KernelError):
    """Some of what the kernel told was lost."""


class Multicast:
    """Belongs to one thread; its sockets are in the namespace of the thread that made it."""

    def __init__(self, namespaces: Namespaces) -> None:
        self._namespaces = namespaces
        self._names: dict[int, str] = {}
        self._followed: dict[str, int] = {}
        """Inode of each namespace that has a number."""
        self._route = _listener(socket.NETLINK_ROUTE, _ROUTE_GROUPS)
        self._rules = _listener(nl.NETFILTER, _NFTABLES_GROUPS)
        self._asking = nl.Netlink(socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, nl.ROUTE))

    def filenos(self) -> list[int]:
        return [self._route.fileno(), self._rules.fileno()]

    def close(self) -> None:
        for opened in (self._route, self._rules, self._asking):
            opened.close()

    def follow(self, names: Iterable[str]) -> None:
        """Hear of these namespaces, too, where they exist. Raises: KernelError."""
        for name in names:
            inode = self._namespaces.inode(name)
            if name == HOST or inode is None or self._followed.get(name) == inode:
                continue
            fd = self._namespaces.open(name)
            try:
                body = struct.pack("=B3x", 0) + nl.attribute(_FD, struct.pack("=I", fd))
                try:
                    self._asking.change(_NEWNSID, 0, body + nl.attribute(_NSID, struct.pack("=i", -1)))
                except nl.NetlinkError as error:
                    if error.number != errno.EEXIST:
                        raise
                answers = self._asking.ask(_GETNSID, body)
            finally:
                os.close(fd)
            number = struct.unpack("=i", nl.attributes(answers[0][4:])[_NSID])[0]
            self._names[number] = name
            self._followed[name] = inode

    def forget(self, names: Iterable[str]) -> None:
        """These are not the namespaces they were."""
        for name in names:
            self._followed.pop(name, None)

    def take(self) -> list[Told]:
        """What was told since the last call. Raises: Overflow."""
        found = []
        for kind, number, payload in _messages(self._route):
            name = HOST if number is None else self._names.get(number)
            told = None if name is None else _told(name, kind, payload)
            if told is not None:
                found.append(told)
        for _, number, _ in _messages(self._rules):
            name = HOST if number is None else self._names.get(number)
            if name is not None:
                found.append(Told(name, "rules"))
        return found


def _told(namespace: str, kind: int, payload: bytes) -> Told | None:
    if kind in (nl.NEWLINK, nl.DELLINK):
        if payload[0] != socket.AF_UNSPEC:
            return None  # of a port of a bridge
        return Told(namespace, "link", kind == nl.DELLINK, link=nl.link_state(payload))
    if kind in (nl.NEWADDR, nl.DELADDR):
        return Told(namespace, "address", kind == nl.DELADDR, address=nl.address_state(payload))
    if kind in (nl.NEWROUTE, nl.DELROUTE):
        route = nl.static_route(payload)
        return None if route is None else Told(namespace, "route", kind == nl.DELROUTE, route=route)
    if kind not in _NETCONF:
        return None
    # Each device has settings of its own, and says so when it comes; those for all of them are a router's.
    index = nl.attributes(payload[_NETCONF_HEAD_BYTES:]).get(_NETCONF_INDEX)
    return Told(namespace, "setting") if index == _ALL_DEVICES else None


def _listener(protocol: int, groups: Iterable[int]) -> socket.socket:
    opened = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, protocol)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
    opened.bind((0, 0))
    for group in groups:
        opened.setsockopt(_SOL_NETLINK, _ADD_MEMBERSHIP, group)
    opened.setsockopt(_SOL_NETLINK, _LISTEN_ALL_NSID, 1)
    return opened


def _messages(opened: socket.socket) -> Iterator[tuple[int, int | None, bytes]]:
    """(kind, number of the namespace or None for the socket's own, payload). Raises: Overflow."""
    while True:
        try:
            data, ancillary, _, _ = opened.recvmsg(1 << 17, socket.CMSG_SPACE(4))
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno == errno.ENOBUFS:
                raise Overflow("the kernel had more to tell than could be held") from error
            raise
        number = next(
            (struct.unpack("=i", value)[0] for level, kind, value in ancillary
             if (level, kind) == (_SOL_NETLINK, _LISTEN_ALL_NSID)), None
        )  # fmt: skip
        at = 0
        while at + _HEADER.size <= len(data):
            length, kind, _, _, _ = _HEADER.unpack_from(data, at)
            yield kind, number, data[at + _HEADER.size : at + length]
            at += max(_HEADER.size, (length + 3) & ~3)

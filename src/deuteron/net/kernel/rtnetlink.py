"""rtnetlink(7), the little of it that a host needs: links, addresses and routes, one socket for each namespace.

A socket belongs for ever to the namespace in which it was made, so a thread enters the namespace
once to open it and then speaks to it from outside. This module knows messages and attributes only;
what they should say is in links.py, addresses.py and routes.py.

Written by hand because importing pyroute2 takes 0.2 to 0.3 s and some 15 MB, which is a good part of
the agent's start and of its memory, and the messages are a page of text.

Source: rtnetlink(7), include/uapi/linux/{netlink,rtnetlink,if_link,if_addr}.h.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TypeVar

from deuteron.net.kernel.driver import KernelError
from deuteron.net.kernel.namespaces import Namespaces

_K = TypeVar("_K", bound=str)

ROUTE, NETFILTER = socket.NETLINK_ROUTE, 12
"""Protocols of netlink(7). What connections.py says to netfilter has the same form."""

NEWLINK, DELLINK, GETLINK, SETLINK = 16, 17, 18, 19
NEWADDR, DELADDR, GETADDR = 20, 21, 22
NEWROUTE, DELROUTE, GETROUTE = 24, 25, 26
NEWNEIGH, DELNEIGH, GETNEIGH = 28, 29, 30
NEWRULE, DELRULE, GETRULE = 32, 33, 34

REQUEST, ACK, DUMP = 0x1, 0x4, 0x300
REPLACE, EXCL, CREATE, APPEND = 0x100, 0x200, 0x400, 0x800

IFF_UP = 0x1
IFLA_ADDRESS, IFLA_IFNAME, IFLA_MTU, IFLA_LINK, IFLA_MASTER = 1, 3, 4, 5, 10
IFLA_LINKINFO, IFLA_GROUP, IFLA_NET_NS_FD, IFLA_EXT_MASK = 18, 27, 28, 29
IFLA_CARRIER, IFLA_LINK_NETNSID = 33, 37
IFLA_INFO_KIND, IFLA_INFO_DATA = 1, 2
IFLA_TUN_PERSIST = 6
IFLA_BR_AGEING_TIME = 4
IFLA_VXLAN_ID, IFLA_VXLAN_LOCAL, IFLA_VXLAN_PORT, IFLA_VXLAN_LOCAL6 = 1, 4, 15, 17
_SKIP_STATISTICS = 1 << 3

IFA_ADDRESS, IFA_LOCAL, IFA_BROADCAST, IFA_FLAGS = 1, 2, 4, 8
IFA_F_NODAD, IFA_F_PERMANENT = 0x02, 0x80
RTA_DST, RTA_OIF, RTA_GATEWAY, RTA_TABLE = 1, 4, 5, 15
RT_TABLE_MAIN = 254
RTPROT_STATIC = 4
RTN_UNICAST = 1
RT_SCOPE_UNIVERSE, RT_SCOPE_LINK = 0, 253

_HEADER = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")
_LINK = struct.Struct("=BxHiII")
_ADDRESS = struct.Struct("=BBBBI")
_ROUTE = struct.Struct("=BBBBBBBBI")
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_SOL_NETLINK, _NETLINK_CAP_ACK, _NETLINK_EXT_ACK = 270, 10, 11
_TYPE_MASK = 0x3FFF  # without NLA_F_NESTED and NLA_F_NET_BYTEORDER
_ANSWER_TIMEOUT_S = 10.0

DUMP_INTERRUPTED = errno.EINTR


class NetlinkError(KernelError):
    """The kernel refused a message; `number` is its errno."""

    def __init__(self, number: int, detail: str = "") -> None:
        text = os.strerror(number)
        super().__init__(f"{text}: {detail}" if detail else text)
        self.number = number

    @property
    def is_absence(self) -> bool:
        """Whether what was to be changed or removed is not there."""
        return self.number == errno.ENOENT


@dataclass(frozen=True)
class LinkState:
    index: int
    name: str
    mac: str
    mtu_bytes: int
    is_up: bool
    kind: str
    group: int
    master: int
    parent: int
    has_carrier: bool
    is_persistent: bool
    """Whether a tap outlives the process that made it; False for other devices."""
    learns: bool = False
    """Whether a bridge notes who is where; False for other devices."""
    tunnel: tuple[int, str] | None = None
    """VNI and own address of a VXLAN device."""
    is_parent_elsewhere: bool = False
    """Whether `parent` is the number of a device of another namespace: the far end of a pair."""


@dataclass(frozen=True)
class AddressState:
    link: int
    interface: str
    is_permanent: bool


@dataclass(frozen=True)
class RouteState:
    destination: str
    via: str | None
    link: int | None
    table: int = 254


def attribute(kind: int, payload: bytes) -> bytes:
    length = _ATTRIBUTE.size + len(payload)
    return _ATTRIBUTE.pack(length, kind) + payload + b"\0" * (-length % 4)


def text(kind: int, value: str) -> bytes:
    return attribute(kind, value.encode() + b"\0")


def number(kind: int, value: int) -> bytes:
    return attribute(kind, struct.pack("=I", value))


def attributes(data: memoryview | bytes) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    view = memoryview(data)
    at = 0
    while at + 4 <= len(view):
        length, kind = _ATTRIBUTE.unpack_from(view, at)
        if length < 4:
            break
        found[kind & _TYPE_MASK] = bytes(view[at + 4 : at + length])
        at += (length + 3) & ~3
    return found


def mac_bytes(mac: str) -> bytes:
    return bytes.fromhex(mac.replace(":", ""))


class Netlink:
    """One netlink socket. Requests wait for their answer; the kernel answers at once."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._socket.setsockopt(_SOL_NETLINK, _NETLINK_CAP_ACK, 1)
        self._socket.setsockopt(_SOL_NETLINK, _NETLINK_EXT_ACK, 1)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self._socket.settimeout(_ANSWER_TIMEOUT_S)
        self._sequence = 0

    def close(self) -> None:
        self._socket.close()

    def change(self, kind: int, flags: int, body: bytes) -> None:
        """Send one message that changes something and wait for its acknowledgment.

        Raises: NetlinkError with the kernel's own explanation, where it gives one.
        """
        for _ in self._exchange(kind, REQUEST | ACK | flags, body):
            pass

    def ask(self, kind: int, body: bytes) -> list[bytes]:
        """The payloads of the answer to a question. Raises: NetlinkError."""
        return [payload for _, payload in self._exchange(kind, REQUEST | ACK, body)]

    def links(self) -> list[LinkState]:
        body = _LINK.pack(socket.AF_UNSPEC, 0, 0, 0, 0) + number(IFLA_EXT_MASK, _SKIP_STATISTICS)
        return [link_state(payload) for kind, payload in self.dump(GETLINK, body) if kind == NEWLINK]

    def link(self, name: str) -> LinkState:
        """Raises: NetlinkError if there is none."""
        body = _LINK.pack(socket.AF_UNSPEC, 0, 0, 0, 0) + text(IFLA_IFNAME, name)
        body += number(IFLA_EXT_MASK, _SKIP_STATISTICS)
        found = [payload for kind, payload in self._exchange(GETLINK, REQUEST | ACK, body) if kind == NEWLINK]
        return link_state(found[0])

    def addresses(self) -> list[AddressState]:
        body = _ADDRESS.pack(socket.AF_UNSPEC, 0, 0, 0, 0)
        return [address_state(payload) for kind, payload in self.dump(GETADDR, body) if kind == NEWADDR]

    def static_routes(self) -> list[RouteState]:
        """Unicast routes with `proto static`, of all tables."""
        body = _ROUTE.pack(socket.AF_UNSPEC, 0, 0, 0, 0, 0, 0, 0, 0)
        states = (static_route(payload) for kind, payload in self.dump(GETROUTE, body) if kind == NEWROUTE)
        return [state for state in states if state is not None]

    def dump(self, kind: int, body: bytes) -> list[tuple[int, bytes]]:
        """All answers to a dump; begun anew when the table changed under it (NLM_F_DUMP_INTR)."""
        for _ in range(10):
            try:
                return list(self._exchange(kind, REQUEST | DUMP, body))
            except NetlinkError as error:
                if error.number != DUMP_INTERRUPTED:
                    raise
        raise KernelError("the kernel's table changed during ten dumps in a row")

    def _exchange(self, kind: int, flags: int, body: bytes) -> Iterator[tuple[int, bytes]]:
        self._sequence += 1
        sequence = self._sequence
        self._socket.send(_HEADER.pack(_HEADER.size + len(body), kind, flags, sequence, 0) + body)
        was_interrupted = False
        while True:
            try:
                data = self._socket.recv(1 << 18)
            except TimeoutError as error:
                raise KernelError("no answer from the kernel over netlink") from error
            at = 0
            while at + _HEADER.size <= len(data):
                length, answer, answer_flags, answer_sequence, _ = _HEADER.unpack_from(data, at)
                payload = data[at + _HEADER.size : at + length]
                at += (length + 3) & ~3
                if answer_sequence != sequence:
                    continue  # the rest of an answer that timed out
                was_interrupted = was_interrupted or bool(answer_flags & 0x10)
                if answer == _NLMSG_ERROR:
                    code = -struct.unpack_from("=i", payload)[0]
                    if code:
                        raise NetlinkError(code, _explanation(payload, answer_flags))
                    return
                if answer == _NLMSG_DONE:
                    if was_interrupted:
                        raise NetlinkError(DUMP_INTERRUPTED)
                    return
                yield answer, payload


def link_message(index: int, flags: int = 0, changed_flags: int = 0) -> bytes:
    return _LINK.pack(socket.AF_UNSPEC, 0, index, flags, changed_flags)


def address_message(family: int, prefix_length: int, scope: int, index: int) -> bytes:
    return _ADDRESS.pack(family, prefix_length, 0, scope, index)


def route_message(family: int, prefix_length: int, scope: int, table: int = RT_TABLE_MAIN) -> bytes:
    """The head of a route's message; a number of a table that does not fit in there is an attribute."""
    short = table if table <= 255 else 0
    head = _ROUTE.pack(family, prefix_length, 0, 0, short, RTPROT_STATIC, scope, RTN_UNICAST, 0)
    return head if short else head + number(RTA_TABLE, table)


def known_kinds(kinds: Iterable[_K]) -> tuple[_K, ...]:
    """Those of these kinds of devices that the kernel makes, or has a module for; in the caller's namespace.

    None is made: the kernel is asked for one that lacks its number, or the device that it stands on.
    Source: Linux, net/core/rtnetlink.c, `__rtnl_newlink`: EOPNOTSUPP of a kind that it does not know.
    """
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, ROUTE) as opened:
        netlink = Netlink(opened)
        return tuple(kind for kind in kinds if _knows_kind(netlink, kind))


def _knows_kind(netlink: Netlink, kind: str) -> bool:
    body = link_message(0) + attribute(IFLA_LINKINFO, text(IFLA_INFO_KIND, kind))
    try:
        netlink.change(NEWLINK, CREATE | EXCL, body)
    except NetlinkError as error:
        return error.number != errno.EOPNOTSUPP
    raise KernelError(f'the kernel made a device of kind "{kind}" of nothing')


class NetlinkSockets:
    """An open socket of one protocol for each namespace in use; made anew when one was replaced under its name.

    An open socket keeps its namespace alive, so `forget` comes with the namespace's removal.
    """

    def __init__(self, namespaces: Namespaces, protocol: int = ROUTE) -> None:
        self._namespaces = namespaces
        self._protocol = protocol
        self._open: dict[str, tuple[int, Netlink]] = {}

    def to(self, namespace: str) -> Netlink:
        """Raises: KernelError if there is no such namespace."""
        inode = self._namespaces.inode(namespace)
        known = self._open.get(namespace)
        if known is not None:
            if known[0] == inode:
                return known[1]
            self.forget(namespace)
        if inode is None:
            raise KernelError(f'no network namespace "{namespace}"')
        with self._namespaces.entered(namespace):
            opened = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, self._protocol)
        self._open[namespace] = (inode, Netlink(opened))
        return self._open[namespace][1]

    def forget(self, namespace: str) -> None:
        known = self._open.pop(namespace, None)
        if known is not None:
            known[1].close()

    def close(self) -> None:
        for namespace in list(self._open):
            self.forget(namespace)


def address_state(payload: bytes) -> AddressState:
    _, prefix_length, flags, _, index = _ADDRESS.unpack_from(payload)
    a = attributes(payload[_ADDRESS.size :])
    address = a.get(IFA_LOCAL) or a[IFA_ADDRESS]
    if IFA_FLAGS in a:
        flags = _number(a, IFA_FLAGS)
    return AddressState(index, f"{ip_address(address)}/{prefix_length}", bool(flags & IFA_F_PERMANENT))


def static_route(payload: bytes) -> RouteState | None:
    """None for a route that is not unicast and `proto static`."""
    family, prefix_length, _, _, table, protocol, _, route_type, _ = _ROUTE.unpack_from(payload)
    if protocol != RTPROT_STATIC or route_type != RTN_UNICAST:
        return None
    a = attributes(payload[_ROUTE.size :])
    nowhere = bytes(4 if family == socket.AF_INET else 16)
    gateway = a.get(RTA_GATEWAY)
    return RouteState(
        destination=f"{ip_address(a.get(RTA_DST, nowhere))}/{prefix_length}",
        via=str(ip_address(gateway)) if gateway else None,
        link=_number(a, RTA_OIF) or None,
        table=_number(a, RTA_TABLE, table),
    )


def link_state(payload: bytes) -> LinkState:
    _, _, index, flags, _ = _LINK.unpack_from(payload)
    a = attributes(payload[_LINK.size :])
    info = attributes(a[IFLA_LINKINFO]) if IFLA_LINKINFO in a else {}
    kind = _string(info.get(IFLA_INFO_KIND, b""))
    data = attributes(info.get(IFLA_INFO_DATA, b"")) if kind in ("tun", "bridge", "vxlan") else {}
    return LinkState(
        index=index,
        name=_string(a[IFLA_IFNAME]),
        mac=a.get(IFLA_ADDRESS, b"").hex(":"),
        mtu_bytes=_number(a, IFLA_MTU),
        is_up=bool(flags & IFF_UP),
        kind=kind,
        group=_number(a, IFLA_GROUP),
        master=_number(a, IFLA_MASTER),
        parent=_number(a, IFLA_LINK),
        has_carrier=a.get(IFLA_CARRIER) != b"\0",
        is_persistent=kind == "tun" and data.get(IFLA_TUN_PERSIST) == b"\1",
        learns=kind == "bridge" and _number(data, IFLA_BR_AGEING_TIME) > 0,
        tunnel=_tunnel(data) if kind == "vxlan" else None,
        is_parent_elsewhere=IFLA_LINK_NETNSID in a,
    )


def _tunnel(data: dict[int, bytes]) -> tuple[int, str]:
    local = data.get(IFLA_VXLAN_LOCAL) or data.get(IFLA_VXLAN_LOCAL6)
    return _number(data, IFLA_VXLAN_ID), str(ip_address(local)) if local else ""


def _string(value: bytes) -> str:
    return value.rstrip(b"\0").decode(errors="replace")


def _number(a: dict[int, bytes], kind: int, default: int = 0) -> int:
    value = a.get(kind)
    return struct.unpack("=I", value)[0] if value is not None and len(value) == 4 else default


def _explanation(payload: bytes, flags: int) -> str:
    """The kernel's message in an extended acknowledgment (NLMSGERR_ATTR_MSG), or ""."""
    if not flags & 0x200:  # NLM_F_ACK_TLVS
        return ""
    skip = 4 + _HEADER.size
    if not flags & 0x100:  # NLM_F_CAPPED: without it, the whole request is echoed
        skip = 4 + struct.unpack_from("=I", payload, 4)[0]
    found = attributes(payload[skip:])
    return _string(found.get(1, b""))

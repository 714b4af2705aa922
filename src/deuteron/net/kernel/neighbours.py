"""Neighbours of devices in our namespaces: those known without asking, and those for which a device answers.

    permanent   `ip neighbour replace … nud permanent`: the MAC of an address, which is not asked for
    proxy       an IPv6 address for which a device answers solicitations, although it is another's (`proxy_ndp`)

Mark: being permanent, or being a proxy, in a namespace of ours, which we own outright.

Crash: a neighbour is one netlink message; it is there or it is not. The kernel forgets them when their device goes
down; they are then differences and are put back.

Source: include/uapi/linux/neighbour.h; RFC 4861 section 7.2.6 for what neighbours are told.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TypeVar

from deuteron.net.delta import Delta
from deuteron.net.kernel import rtnetlink as nl
from deuteron.net.kernel.driver import Applied, KernelError, Scope
from deuteron.net.kernel.namespaces import Namespaces
from deuteron.net.rows import HOST, PermanentNeighbour, ProxyNeighbour

NeighbourKey = tuple[str, str, str]
R = TypeVar("R", bound=PermanentNeighbour | ProxyNeighbour)

_HEAD = struct.Struct("=BBHiHBB")
"""struct ndmsg: family, padding twice, link, state, flags, type."""
_PERMANENT, _PROXY = 0x80, 0x08
"""A state, and a flag."""
_DESTINATION, _MAC = 1, 2
_FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}
_OVERRIDE = 0x20000000


class PermanentDriver:
    mark = "permanent, and in a namespace of ours"

    def __init__(self, namespaces: Namespaces, sockets: nl.NetlinkSockets) -> None:
        self.writes: Counter[str] = Counter()
        self._namespaces = namespaces
        self._sockets = sockets

    def observe(
        self, wanted: Mapping[NeighbourKey, PermanentNeighbour], scope: Scope = None
    ) -> dict[NeighbourKey, PermanentNeighbour]:
        rows: dict[NeighbourKey, PermanentNeighbour] = {}
        for namespace in _namespaces_of(self._namespaces, wanted, scope):
            for family in _FAMILIES.values():
                for state, link, address, mac in _neighbours(self._sockets.to(namespace), family, 0):
                    if state & _PERMANENT:
                        row = PermanentNeighbour(namespace, link, address, mac)
                        rows[row.key] = row
        return rows

    def apply(self, delta: Delta[NeighbourKey, PermanentNeighbour]) -> Applied[NeighbourKey]:
        return _apply(self._sockets, delta, self._put, self._remove)

    def _put(self, row: PermanentNeighbour, link: nl.LinkState) -> None:
        mac = nl.attribute(_MAC, nl.mac_bytes(row.mac))
        body = _message(link, ip_address(row.address), 0) + mac
        self._sockets.to(row.namespace).change(nl.NEWNEIGH, nl.CREATE | nl.REPLACE, body)
        self.writes["neighbour added"] += 1

    def _remove(self, row: PermanentNeighbour, link: nl.LinkState) -> None:
        _forget(self._sockets.to(row.namespace), _message(link, ip_address(row.address), 0))
        self.writes["neighbour deleted"] += 1


class NeighbourDriver:
    mark = "a proxy, and in a namespace of ours"

    def __init__(self, namespaces: Namespaces, sockets: nl.NetlinkSockets) -> None:
        self.writes: Counter[str] = Counter()
        self._namespaces = namespaces
        self._sockets = sockets

    def observe(
        self, wanted: Mapping[NeighbourKey, ProxyNeighbour], scope: Scope = None
    ) -> dict[NeighbourKey, ProxyNeighbour]:
        rows: dict[NeighbourKey, ProxyNeighbour] = {}
        for namespace in _namespaces_of(self._namespaces, wanted, scope):
            for _, link, address, _ in _neighbours(self._sockets.to(namespace), socket.AF_INET6, _PROXY):
                row = ProxyNeighbour(namespace, link, address)
                rows[row.key] = row
        return rows

    def apply(self, delta: Delta[NeighbourKey, ProxyNeighbour]) -> Applied[NeighbourKey]:
        return _apply(self._sockets, delta, self._put, self._remove)

    def _put(self, row: ProxyNeighbour, link: nl.LinkState) -> None:
        address = IPv6Address(row.address)
        body = _message(link, address, _PROXY)
        self._sockets.to(row.namespace).change(nl.NEWNEIGH, nl.CREATE | nl.REPLACE, body)
        self.writes["proxy neighbour added"] += 1
        self._announce(row.namespace, link, address)

    def _remove(self, row: ProxyNeighbour, link: nl.LinkState) -> None:
        _forget(self._sockets.to(row.namespace), _message(link, IPv6Address(row.address), _PROXY))
        self.writes["proxy neighbour deleted"] += 1

    def _announce(self, namespace: str, link: nl.LinkState, address: IPv6Address) -> None:
        """Tell neighbours where the address is now: one unsolicited advertisement, as `ndsend` does.

        A device that is still down cannot send, and then nobody has learned anything else either.
        """
        advertisement = (
            struct.pack("!BBHI", 136, 0, 0, _OVERRIDE) + address.packed + b"\x02\x01" + nl.mac_bytes(link.mac)
        )
        try:
            with self._namespaces.entered(namespace):
                wire = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
            with wire:
                wire.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
                wire.sendto(advertisement, ("ff02::1", 0, 0, link.index))
        except OSError:
            return


def _namespaces_of(namespaces: Namespaces, wanted: Collection[NeighbourKey], scope: Scope) -> list[str]:
    """Those of the scope that are there; the host's own has neighbours of others."""
    names = scope if scope is not None else {*namespaces.named(), *(key[0] for key in wanted)}
    return sorted(name for name in names if name != HOST and namespaces.inode(name) is not None)


def _neighbours(netlink: nl.Netlink, family: int, flags: int) -> Iterator[tuple[int, str, str, str]]:
    """State, device, address and MAC of each that the kernel tells of."""
    found = netlink.dump(nl.GETNEIGH, _HEAD.pack(family, 0, 0, 0, 0, flags, 0))
    links = {state.index: state.name for state in netlink.links()} if found else {}
    for _, payload in found:
        _, _, _, index, state, _, _ = _HEAD.unpack_from(payload)
        said = nl.attributes(payload[_HEAD.size :])
        if _DESTINATION in said:
            yield state, links.get(index, ""), str(ip_address(said[_DESTINATION])), said.get(_MAC, b"").hex(":")


def _apply(
    sockets: nl.NetlinkSockets,
    delta: Delta[NeighbourKey, R],
    put: Callable[[R, nl.LinkState], None],
    remove: Callable[[R, nl.LinkState], None],
) -> Applied[NeighbourKey]:
    applied: Applied[NeighbourKey] = Applied()
    links: dict[str, dict[str, nl.LinkState]] = {}
    for change, rows in ((remove, delta.remove), (put, delta.put)):
        for key, row in rows.items():
            try:
                if row.namespace not in links:
                    links[row.namespace] = {state.name: state for state in sockets.to(row.namespace).links()}
                link = links[row.namespace].get(row.link)
                if link is not None:
                    change(row, link)
                elif change is put:
                    raise KernelError(f'no device "{row.link}" in namespace "{row.namespace}" to have {row.address} at')
            except KernelError as error:
                applied.failed[key] = str(error)
            else:
                applied.done.add(key)
    return applied


def _message(link: nl.LinkState, address: IPv4Address | IPv6Address, flags: int) -> bytes:
    head = _HEAD.pack(_FAMILIES[address.version], 0, 0, link.index, _PERMANENT, flags, 0)
    return head + nl.attribute(_DESTINATION, address.packed)


def _forget(netlink: nl.Netlink, message: bytes) -> None:
    """One that went by itself, or with its device, is gone too."""
    try:
        netlink.change(nl.DELNEIGH, 0, message)
    except nl.NetlinkError as error:
        if error.number not in (errno.ENOENT, errno.ENODEV):
            raise

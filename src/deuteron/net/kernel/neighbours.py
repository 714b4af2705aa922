"""IPv6 addresses for which a device answers neighbour solicitations although they are another's (`proxy_ndp`).

Mark: being in a namespace of ours, which we own outright.

Crash: a neighbour is one netlink message; it is there or it is not.

Source: include/uapi/linux/neighbour.h; RFC 4861 section 7.2.6 for what neighbours are told.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections import Counter
from collections.abc import Mapping
from ipaddress import IPv6Address, ip_address

from deuteron.net.delta import Delta
from deuteron.net.kernel import rtnetlink as nl
from deuteron.net.kernel.driver import Applied, KernelError, Scope
from deuteron.net.kernel.namespaces import Namespaces
from deuteron.net.rows import HOST, ProxyNeighbour

NeighbourKey = tuple[str, str, str]
_HEAD = struct.Struct("=BBHiHBB")
"""struct ndmsg: family, padding twice, link, state, flags, type."""
_PROXY, _PERMANENT, _DESTINATION = 0x08, 0x80, 1
_OVERRIDE = 0x20000000


class NeighbourDriver:
    mark = "in a namespace of ours"

    def __init__(self, namespaces: Namespaces, sockets: nl.NetlinkSockets) -> None:
        self.writes: Counter[str] = Counter()
        self._namespaces = namespaces
        self._sockets = sockets

    def observe(
        self, wanted: Mapping[NeighbourKey, ProxyNeighbour], scope: Scope = None
    ) -> dict[NeighbourKey, ProxyNeighbour]:
        rows: dict[NeighbourKey, ProxyNeighbour] = {}
        names = scope if scope is not None else {*self._namespaces.named(), *(key[0] for key in wanted)}
        for namespace in sorted(names):
            if self._namespaces.inode(namespace) is None or namespace == HOST:
                continue
            netlink = self._sockets.to(namespace)
            found = netlink.dump(nl.GETNEIGH, _HEAD.pack(socket.AF_INET6, 0, 0, 0, 0, _PROXY, 0))
            links = {state.index: state.name for state in netlink.links()} if found else {}
            for _, payload in found:
                index = _HEAD.unpack_from(payload)[3]
                address = nl.attributes(payload[_HEAD.size :])[_DESTINATION]
                row = ProxyNeighbour(namespace, links.get(index, ""), str(ip_address(address)))
                rows[row.key] = row
        return rows

    def apply(self, delta: Delta[NeighbourKey, ProxyNeighbour]) -> Applied[NeighbourKey]:
        applied: Applied[NeighbourKey] = Applied()
        for key, is_wanted in [*((key, False) for key in delta.remove), *((key, True) for key in delta.put)]:
            namespace, name, address = key
            try:
                self._change(namespace, name, IPv6Address(address), is_wanted)
            except KernelError as error:
                applied.failed[key] = str(error)
            else:
                applied.done.add(key)
        return applied

    def _change(self, namespace: str, name: str, address: IPv6Address, is_wanted: bool) -> None:
        netlink = self._sockets.to(namespace)
        link = next((state for state in netlink.links() if state.name == name), None)
        if link is None:
            if is_wanted:
                raise KernelError(f'no device "{name}" in namespace "{namespace}" to answer for {address}')
            return
        body = _HEAD.pack(socket.AF_INET6, 0, 0, link.index, _PERMANENT, _PROXY, 0)
        body += nl.attribute(_DESTINATION, address.packed)
        if is_wanted:
            netlink.change(nl.NEWNEIGH, nl.CREATE | nl.REPLACE, body)
            self.writes["proxy neighbour added"] += 1
            self._announce(namespace, link, address)
            return
        try:
            netlink.change(nl.DELNEIGH, 0, body)
        except nl.NetlinkError as error:
            if error.number not in (errno.ENOENT, errno.ENODEV):
                raise
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

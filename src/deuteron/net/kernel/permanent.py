"""Neighbours that are known without asking, in our namespaces: `ip neighbour replace … nud permanent`.

Mark: being permanent, and in a namespace of ours, which we own outright.

Crash: a neighbour is one netlink message; it is there or it is not. The kernel forgets them when their device goes
down; they are then differences and are put back.

Source: include/uapi/linux/neighbour.h.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections import Counter
from collections.abc import Mapping
from ipaddress import ip_address

from deuteron.net.delta import Delta
from deuteron.net.kernel import rtnetlink as nl
from deuteron.net.kernel.driver import Applied, KernelError, Scope
from deuteron.net.kernel.namespaces import Namespaces
from deuteron.net.rows import HOST, PermanentNeighbour

NeighbourKey = tuple[str, str, str]
_HEAD = struct.Struct("=BBHiHBB")
"""struct ndmsg: family, padding twice, link, state, flags, type."""
_PERMANENT = 0x80
_DESTINATION, _MAC = 1, 2
_FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}


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
        names = scope if scope is not None else {*self._namespaces.named(), *(key[0] for key in wanted)}
        for namespace in sorted(names):
            if namespace == HOST or self._namespaces.inode(namespace) is None:
                continue
            netlink = self._sockets.to(namespace)
            links = {state.index: state.name for state in netlink.links()}
            for family in _FAMILIES.values():
                for _, payload in netlink.dump(nl.GETNEIGH, _HEAD.pack(family, 0, 0, 0, 0, 0, 0)):
                    _, _, _, index, state, _, _ = _HEAD.unpack_from(payload)
                    a = nl.attributes(payload[_HEAD.size :])
                    if state & _PERMANENT and _DESTINATION in a:
                        address = str(ip_address(a[_DESTINATION]))
                        row = PermanentNeighbour(namespace, links.get(index, ""), address, a.get(_MAC, b"").hex(":"))
                        rows[row.key] = row
        return rows

    def apply(self, delta: Delta[NeighbourKey, PermanentNeighbour]) -> Applied[NeighbourKey]:
        applied: Applied[NeighbourKey] = Applied()
        links: dict[str, dict[str, int]] = {}
        for is_wanted, rows in ((False, delta.remove), (True, delta.put)):
            for key, row in rows.items():
                try:
                    if row.namespace not in links:
                        found = self._sockets.to(row.namespace).links()
                        links[row.namespace] = {state.name: state.index for state in found}
                    self._change(row, links[row.namespace].get(row.link), is_wanted)
                except KernelError as error:
                    applied.failed[key] = str(error)
                else:
                    applied.done.add(key)
        return applied

    def _change(self, row: PermanentNeighbour, index: int | None, is_wanted: bool) -> None:
        if index is None:
            if is_wanted:
                raise KernelError(f'no device "{row.link}" in namespace "{row.namespace}" to reach {row.address} by')
            return
        netlink = self._sockets.to(row.namespace)
        address = ip_address(row.address)
        body = _HEAD.pack(_FAMILIES[address.version], 0, 0, index, _PERMANENT, 0, 0)
        body += nl.attribute(_DESTINATION, address.packed)
        if is_wanted:
            netlink.change(nl.NEWNEIGH, nl.CREATE | nl.REPLACE, body + nl.attribute(_MAC, nl.mac_bytes(row.mac)))
            self.writes["neighbour added"] += 1
            return
        try:
            netlink.change(nl.DELNEIGH, 0, body)
        except nl.NetlinkError as error:
            if error.number not in (errno.ENOENT, errno.ENODEV):
                raise
        self.writes["neighbour deleted"] += 1

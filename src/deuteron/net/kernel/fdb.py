"""Where a host's VXLAN devices send: which MAC is behind which tunnel endpoint (`bridge fdb show`).

Mark: permanent entries of VXLAN devices in our link group. What a device has learned by itself ages, and is left alone.

Crash: an entry is one netlink message; it is there or it is not. A device that is made anew has none, which the next
observation finds.

Source: include/uapi/linux/neighbour.h; Linux, drivers/net/vxlan/vxlan_core.c, `vxlan_fdb_add`: of a MAC there is one
entry, which is replaced, and of `NOBODY_KNOWN` as many as there are endpoints.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections import Counter
from collections.abc import Mapping
from ipaddress import ip_address

from deuteron.net.bridge_rows import NOBODY_KNOWN, FdbEntry
from deuteron.net.delta import Delta
from deuteron.net.kernel import rtnetlink as nl
from deuteron.net.kernel.driver import Applied, KernelError, Scope
from deuteron.net.kernel.links import GROUP
from deuteron.net.rows import HOST

FdbKey = tuple[str, str, str]
_HEAD = struct.Struct("=BBHiHBB")
"""struct ndmsg: family, padding twice, link, state, flags, type."""
_PERMANENT, _NO_ARP, _SELF = 0x80, 0x40, 0x02
_DESTINATION, _MAC = 1, 2


class FdbDriver:
    mark = f"permanent entries of VXLAN devices in link group {GROUP}"

    def __init__(self, sockets: nl.NetlinkSockets) -> None:
        self.writes: Counter[str] = Counter()
        self._sockets = sockets

    def observe(self, wanted: Mapping[FdbKey, FdbEntry], scope: Scope = None) -> dict[FdbKey, FdbEntry]:
        netlink = self._sockets.to(HOST)
        ours = {state.index: state.name for state in netlink.links() if state.kind == "vxlan" and state.group == GROUP}
        rows: dict[FdbKey, FdbEntry] = {}
        if not ours:
            return rows
        for _, payload in netlink.dump(nl.GETNEIGH, _HEAD.pack(socket.AF_BRIDGE, 0, 0, 0, 0, 0, 0)):
            _, _, _, index, state, _, _ = _HEAD.unpack_from(payload)
            if index not in ours or not state & _PERMANENT:
                continue
            said = nl.attributes(payload[_HEAD.size :])
            if _MAC in said and _DESTINATION in said:
                row = FdbEntry(ours[index], said[_MAC].hex(":"), str(ip_address(said[_DESTINATION])))
                rows[row.key] = row
        return rows

    def apply(self, delta: Delta[FdbKey, FdbEntry]) -> Applied[FdbKey]:
        applied: Applied[FdbKey] = Applied()
        netlink = self._sockets.to(HOST)
        indexes = {state.name: state.index for state in netlink.links()}
        for key, row in delta.remove.items():
            try:
                self._remove(netlink, row, indexes.get(row.device))
            except KernelError as error:
                applied.failed[key] = str(error)
            else:
                applied.done.add(key)
        for key, row in delta.put.items():
            try:
                self._put(netlink, row, indexes.get(row.device))
            except KernelError as error:
                applied.failed[key] = str(error)
            else:
                applied.done.add(key)
        return applied

    def _put(self, netlink: nl.Netlink, row: FdbEntry, index: int | None) -> None:
        if index is None:
            raise KernelError(f'no device "{row.device}" to send by')
        flags = nl.APPEND if row.mac == NOBODY_KNOWN else nl.REPLACE
        netlink.change(nl.NEWNEIGH, nl.CREATE | flags, _message(row, index))
        self.writes["forwarding entry added"] += 1

    def _remove(self, netlink: nl.Netlink, row: FdbEntry, index: int | None) -> None:
        if index is None:
            return  # it went with its device
        try:
            netlink.change(nl.DELNEIGH, 0, _message(row, index))
        except nl.NetlinkError as error:
            if error.number not in (errno.ENOENT, errno.ENODEV):
                raise
        self.writes["forwarding entry deleted"] += 1


def _message(row: FdbEntry, index: int) -> bytes:
    head = _HEAD.pack(socket.AF_BRIDGE, 0, 0, index, _PERMANENT | _NO_ARP, _SELF, 0)
    address = nl.attribute(_DESTINATION, ip_address(row.tunnel_ip).packed)
    return head + nl.attribute(_MAC, nl.mac_bytes(row.mac)) + address

"""Rules that say in which table of routes packets look, in our namespaces: `ip rule`.

Mark: being in a namespace of ours and not the kernel's own (`proto kernel`); we own these namespaces outright.

Crash: a rule is one netlink message; it is there or it is not.

Source: ip-rule(8); include/uapi/linux/fib_rules.h.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections import Counter
from collections.abc import Mapping
from ipaddress import ip_address, ip_network

from deuteron.net.delta import Delta
from deuteron.net.kernel import rtnetlink as nl
from deuteron.net.kernel.driver import Applied, KernelError, Scope
from deuteron.net.kernel.namespaces import Namespaces
from deuteron.net.rows import HOST, RoutingRule

RuleKey = tuple[str, int, str]

_HEAD = struct.Struct("=BBBBBBBBI")
"""struct fib_rule_hdr: family, lengths of destination and source, tos, table, two that are not used, action, flags."""
_SOURCE, _CAME_BY, _PRIORITY, _TABLE, _PROTOCOL = 2, 3, 6, 15, 21
_TO_TABLE = 1
_KERNEL = 2
_FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}


class RuleDriver:
    mark = "in a namespace of ours, and not the kernel's"

    def __init__(self, namespaces: Namespaces, sockets: nl.NetlinkSockets) -> None:
        self.writes: Counter[str] = Counter()
        self._namespaces = namespaces
        self._sockets = sockets

    def observe(self, wanted: Mapping[RuleKey, RoutingRule], scope: Scope = None) -> dict[RuleKey, RoutingRule]:
        rows: dict[RuleKey, RoutingRule] = {}
        names = scope if scope is not None else {*self._namespaces.named(), *(key[0] for key in wanted)}
        for namespace in sorted(names):
            if namespace == HOST or self._namespaces.inode(namespace) is None:
                continue
            netlink = self._sockets.to(namespace)
            for family in _FAMILIES.values():
                for _, payload in netlink.dump(nl.GETRULE, _HEAD.pack(family, 0, 0, 0, 0, 0, 0, 0, 0)):
                    row = _row(namespace, payload)
                    if row is not None:
                        rows[row.key] = row
        return rows

    def apply(self, delta: Delta[RuleKey, RoutingRule]) -> Applied[RuleKey]:
        applied: Applied[RuleKey] = Applied()
        for key, row in delta.remove.items():
            self._each(applied, key, row, nl.DELRULE, 0)
        for key, row in delta.put.items():
            before = delta.before.get(key)
            if before is not None:
                self._each(Applied(), key, before, nl.DELRULE, 0)
            self._each(applied, key, row, nl.NEWRULE, nl.CREATE | nl.EXCL)
        return applied

    def _each(self, applied: Applied[RuleKey], key: RuleKey, row: RoutingRule, kind: int, flags: int) -> None:
        is_new = kind == nl.NEWRULE
        try:
            self._sockets.to(row.namespace).change(kind, flags, _message(row, is_new))
        except nl.NetlinkError as error:
            if error.number != (errno.EEXIST if is_new else errno.ENOENT):
                applied.failed[key] = f"cannot look up what is from {row.source} in table {row.table}: {error}"
                return
        except KernelError as error:
            applied.failed[key] = str(error)
            return
        self.writes["rule added" if is_new else "rule deleted"] += 1
        applied.done.add(key)


def _message(row: RoutingRule, is_new: bool) -> bytes:
    source = ip_network(row.source)
    body = _HEAD.pack(_FAMILIES[source.version], 0, source.prefixlen, 0, 0, 0, 0, _TO_TABLE, 0)
    if source.prefixlen:
        body += nl.attribute(_SOURCE, source.network_address.packed)
    if row.came_by is not None:
        body += nl.text(_CAME_BY, row.came_by)
    body += nl.number(_PRIORITY, row.priority) + nl.number(_TABLE, row.table)
    return body + (nl.attribute(_PROTOCOL, bytes([nl.RTPROT_STATIC])) if is_new else b"")


def _row(namespace: str, payload: bytes) -> RoutingRule | None:
    """None for a rule of the kernel's own."""
    family, _, length, _, table, _, _, _, _ = _HEAD.unpack_from(payload)
    if family not in _FAMILIES.values():
        return None
    a = nl.attributes(payload[_HEAD.size :])
    if a.get(_PROTOCOL, b"\0")[0] == _KERNEL:
        return None
    source = a.get(_SOURCE, bytes(4 if family == socket.AF_INET else 16))
    priority = struct.unpack("=I", a[_PRIORITY])[0] if _PRIORITY in a else 0
    table = struct.unpack("=I", a[_TABLE])[0] if _TABLE in a else table
    came_by = a[_CAME_BY].rstrip(b"\0").decode() if _CAME_BY in a else None
    return RoutingRule(namespace, priority, f"{ip_address(source)}/{length}", table, came_by)

"""Static routes in our namespaces.

Mark: `proto static` in a namespace of ours, whatever the table. In the host's own namespace only wanted
routes are looked at, and none is deleted that is not known to be ours.

Crash: a route is one netlink message. The kernel drops routes when a device goes down or an address
is deleted; they are then differences and are put back.
"""

from __future__ import annotations

import errno
import socket
from collections import Counter
from collections.abc import Mapping
from ipaddress import IPv4Address, ip_address, ip_network

from deuteron.net.delta import Delta
from deuteron.net.kernel import rtnetlink as nl
from deuteron.net.kernel.announcements import announce
from deuteron.net.kernel.driver import Applied, KernelError, Scope
from deuteron.net.kernel.namespaces import Namespaces
from deuteron.net.rows import HOST, Route

RouteKey = tuple[str, str]


class RouteDriver:
    mark = "proto static in a namespace of ours"

    def __init__(self, namespaces: Namespaces, sockets: nl.NetlinkSockets) -> None:
        self.writes: Counter[str] = Counter()
        self._namespaces = namespaces
        self._sockets = sockets

    def observe(self, wanted: Mapping[RouteKey, Route], scope: Scope = None) -> dict[RouteKey, Route]:
        rows: dict[RouteKey, Route] = {}
        names = scope if scope is not None else {*self._namespaces.named(), *(key[0] for key in wanted)}
        for namespace in sorted(names):
            if self._namespaces.inode(namespace) is None:
                continue
            netlink = self._sockets.to(namespace)
            routes = netlink.static_routes()
            links = {state.index: state.name for state in netlink.links()} if routes else {}
            for state in routes:
                seen = Route(namespace, state.destination, state.via, links.get(state.link or 0), table=state.table)
                key = seen.key
                row = wanted.get(key)
                if row is not None:
                    if row.via == seen.via and (row.link is None or row.link == seen.link):
                        rows[key] = row
                    else:
                        rows.setdefault(key, seen)
                elif namespace != HOST:
                    rows[key] = seen
        # As with addresses: what somebody else puts there is right whether it is there or not.
        rows.update((key, row) for key, row in wanted.items() if row.by is not None and key[0] in names)
        return rows

    def apply(self, delta: Delta[RouteKey, Route]) -> Applied[RouteKey]:
        applied: Applied[RouteKey] = Applied()
        for key, row in delta.remove.items():
            self._each(applied, key, row, False)
        # What is on-link makes next hops reachable, so it comes first.
        for key, row in sorted(delta.put.items(), key=lambda item: (item[1].via is not None, item[0])):
            before = delta.before.get(key)
            is_six = ":" in row.destination
            if before is not None and is_six:
                # IPv6 keeps routes with different next hops side by side; NLM_F_REPLACE is not enough.
                self._each(Applied(), key, before, False)
            self._each(applied, key, row, True)
            if before is not None and not is_six and key in applied.done:
                self._each(Applied(), key, before, False)
        return applied

    def _each(self, applied: Applied[RouteKey], key: RouteKey, row: Route, is_wanted: bool) -> None:
        try:
            netlink = self._sockets.to(row.namespace)
            index = None
            if row.link is not None:
                index = next((state.index for state in netlink.links() if state.name == row.link), None)
                if index is None and is_wanted:
                    raise KernelError(f'no device "{row.link}" in namespace "{row.namespace}"')
            if is_wanted:
                _add(netlink, row, index)
                self.writes["route added"] += 1
                if row.told_by is not None:
                    address = ip_network(row.destination).network_address
                    assert isinstance(address, IPv4Address)
                    announce(self._namespaces, row.namespace, row.told_by, address)
            else:
                _delete(netlink, row, index)
                self.writes["route deleted"] += 1
        except KernelError as error:
            applied.failed[key] = f"cannot route {row.destination} via {row.via or 'link'}: {error}"
        else:
            applied.done.add(key)


def _message(row: Route, index: int | None) -> bytes:
    network = ip_network(row.destination)
    family = socket.AF_INET if network.version == 4 else socket.AF_INET6
    is_on_link = row.via is None and network.version == 4
    scope = nl.RT_SCOPE_LINK if is_on_link else nl.RT_SCOPE_UNIVERSE
    body = nl.route_message(family, network.prefixlen, scope, row.table)
    if network.prefixlen:
        body += nl.attribute(nl.RTA_DST, network.network_address.packed)
    if row.via is not None:
        body += nl.attribute(nl.RTA_GATEWAY, ip_address(row.via).packed)
    if index is not None:
        body += nl.number(nl.RTA_OIF, index)
    return body


def _add(netlink: nl.Netlink, row: Route, index: int | None) -> None:
    """Of IPv4, before others to the same prefix: replaced, the one that an address made would not come back."""
    if ":" in row.destination:
        netlink.change(nl.NEWROUTE, nl.CREATE | nl.REPLACE, _message(row, index))
        return
    try:
        netlink.change(nl.NEWROUTE, nl.CREATE, _message(row, index))
    except nl.NetlinkError as error:
        if error.number != errno.EEXIST:
            raise


def _delete(netlink: nl.Netlink, row: Route, index: int | None) -> None:
    try:
        netlink.change(nl.DELROUTE, 0, _message(row, index))
    except nl.NetlinkError as error:
        if error.number not in (errno.ESRCH, errno.ENODEV, errno.ENETUNREACH):
            raise

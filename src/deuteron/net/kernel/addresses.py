"""Addresses of devices in our namespaces.

Mark: being in a namespace of ours, which we own outright. What keepalived puts there and takes away (`by`) is let come
and go while it is wanted, and deleted when it is not. Left alone: the loopback device, addresses
with a lifetime (SLAAC), and IPv6 link-local addresses nobody wants (the kernel makes those). In the
host's own namespace nothing is ours.

Crash: an address is one netlink message; it is there or it is not.
"""

from __future__ import annotations

import errno
import socket
from collections import Counter
from collections.abc import Mapping
from ipaddress import IPv4Interface, ip_interface

from deuteron.net.delta import Delta
from deuteron.net.kernel import rtnetlink as nl
from deuteron.net.kernel.announcements import announce
from deuteron.net.kernel.driver import Applied, KernelError, Scope
from deuteron.net.kernel.namespaces import Namespaces
from deuteron.net.rows import HOST, Address

AddressKey = tuple[str, str, str]


class AddressDriver:
    mark = "in a namespace of ours"

    def __init__(self, namespaces: Namespaces, sockets: nl.NetlinkSockets) -> None:
        self.writes: Counter[str] = Counter()
        self._namespaces = namespaces
        self._sockets = sockets

    def observe(self, wanted: Mapping[AddressKey, Address], scope: Scope = None) -> dict[AddressKey, Address]:
        rows: dict[AddressKey, Address] = {}
        names = scope if scope is not None else {*self._namespaces.named(), *(key[0] for key in wanted)}
        for namespace in sorted(names):
            if self._namespaces.inode(namespace) is None:
                continue
            netlink = self._sockets.to(namespace)
            links = {state.index: state.name for state in netlink.links()}
            for state in netlink.addresses():
                key = (namespace, links.get(state.link, ""), state.interface)
                if key in wanted:
                    rows[key] = wanted[key]
                elif namespace != HOST and key[1] not in ("", "lo") and state.is_permanent and not is_kernels(state):
                    rows[key] = Address(*key)
        # What somebody else puts there is right whether it is there or not.
        rows.update((key, row) for key, row in wanted.items() if row.by is not None and key[0] in names)
        return rows

    def apply(self, delta: Delta[AddressKey, Address]) -> Applied[AddressKey]:
        applied: Applied[AddressKey] = Applied()
        indexes: dict[str, dict[str, int]] = {}
        for key, is_wanted in [*((key, False) for key in delta.remove), *((key, True) for key in delta.put)]:
            namespace, link, interface = key
            try:
                netlink = self._sockets.to(namespace)
                if namespace not in indexes:
                    indexes[namespace] = {state.name: state.index for state in netlink.links()}
                index = indexes[namespace].get(link)
                if index is None:
                    if is_wanted:
                        raise KernelError(f'no device "{link}" in namespace "{namespace}" for address {interface}')
                elif is_wanted:
                    netlink.change(nl.NEWADDR, nl.CREATE | nl.REPLACE, _message(index, interface))
                    self.writes["address added"] += 1
                    self._announce(key)
                else:
                    _delete(netlink, index, interface)
                    self.writes["address deleted"] += 1
            except KernelError as error:
                applied.failed[key] = str(error)
            else:
                applied.done.add(key)
        return applied

    def _announce(self, key: AddressKey) -> None:
        namespace, link, interface = key
        address = ip_interface(interface)
        if isinstance(address, IPv4Interface) and link.startswith(("qr-", "qg-", "sg-", "fg-")):
            announce(self._namespaces, namespace, link, address.ip)


def is_kernels(state: nl.AddressState) -> bool:
    """An IPv6 link-local address, as the kernel gives one to every device. Those of a plan are /128."""
    return state.interface.endswith("/64") and ip_interface(state.interface).is_link_local


def _message(index: int, interface: str) -> bytes:
    address = ip_interface(interface)
    packed = address.ip.packed
    body = nl.attribute(nl.IFA_LOCAL, packed) + nl.attribute(nl.IFA_ADDRESS, packed)
    if isinstance(address, IPv4Interface):
        family = socket.AF_INET
        if address.network.prefixlen < 31:
            body += nl.attribute(nl.IFA_BROADCAST, address.network.broadcast_address.packed)
    else:
        # Addresses are allotted by the API: there is nothing to detect, and DAD would delay every start by 1 s.
        family = socket.AF_INET6
        body += nl.number(nl.IFA_FLAGS, nl.IFA_F_NODAD)
    scope = nl.RT_SCOPE_LINK if address.is_link_local else nl.RT_SCOPE_UNIVERSE
    return nl.address_message(family, address.network.prefixlen, scope, index) + body


def _delete(netlink: nl.Netlink, index: int, interface: str) -> None:
    try:
        netlink.change(nl.DELADDR, 0, _message(index, interface))
    except nl.NetlinkError as error:
        if error.number not in (errno.EADDRNOTAVAIL, errno.ENODEV):
            raise

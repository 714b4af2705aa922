"""Connection tracking in routers' namespaces: what is tracked there is translated as the router translates now.

The kernel asks the NAT table for the first packet of a connection only, and keeps the answer while packets come. So
whatever a rule, an interface or a gateway allowed would go on after it is gone: a floating IP that moved would serve
its old guest for those who use it. A row says how a router translates; `apply` ends the connections that are
translated otherwise, and no other. Their next packet is new, and meets the rules as they are.

Mark: being IPv4, translated or untranslated contrary to a wanted row, in that row's namespace.

Observation looks at every connection of a namespace, so it is made once for each row that an agent meets and not again
while the row and the namespace stay the same: the rules then allow no connection that the row does not.

Crash: connections end one by one; a new agent looks at all of them again.

Source: include/uapi/linux/netfilter/nfnetlink_conntrack.h; `conntrack -D` of conntrack-tools does the same by hand.
"""

from __future__ import annotations

import socket
import struct
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from ipaddress import IPv4Address, ip_network
from typing import NamedTuple

from deuteron.net.delta import Delta
from deuteron.net.kernel import rtnetlink as nl
from deuteron.net.kernel.driver import Applied, KernelError, Scope
from deuteron.net.kernel.namespaces import Namespaces
from deuteron.net.rows import Connections, Forwarding

ConnectionsKey = tuple[str, str]

_SUBSYSTEM = 1 << 8  # NFNL_SUBSYS_CTNETLINK
_GET, _DELETE = _SUBSYSTEM | 1, _SUBSYSTEM | 2
_TUPLE_ORIG, _TUPLE_REPLY, _MARK, _ID, _MASTER, _ZONE = 1, 2, 8, 12, 14, 18
_NO_SCOPE = 0x400  # what is in no address scope is marked with, in the upper half of the mark
_NESTED = 0x8000
_HEAD = struct.pack("=BBH", socket.AF_INET, 0, 0)  # struct nfgenmsg: family, version, resource


class Tuples(NamedTuple):
    """The addresses of a connection as packed IPv4: what its sender wrote, and where the answer comes from and goes.

    Its ports are said where they matter: of those to an address that forwards by port.
    """

    source: bytes
    destination: bytes
    answers_from: bytes
    answers_to: bytes
    protocol: int = 0
    port: int = 0
    """Of the destination."""
    answering: int = 0
    """The port that the answer comes from."""
    scope: int | None = None
    """The number of the address scope inside that it was begun in or led to, where the router wrote it down."""
    is_expected: bool = False
    """A helper read of it in another: it goes either way between the two, and its ports are theirs to say."""


class Judge:
    """Tells which connections are not as `row` translates. Pure."""

    def __init__(self, row: Connections) -> None:
        self._destination_of = {_packed(floating): _packed(fixed) for floating, fixed in row.floating}
        self._source_of = {(_packed(fixed), _packed(floating)) for floating, fixed in row.floating}
        self._has_floating = {fixed for fixed, _ in self._source_of}
        self._forwarded: dict[bytes, list[Forwarding]] = {}
        for each in row.forwarded:
            self._forwarded.setdefault(_packed(each.own), []).append(each)
        self._own = {_packed(address) for address in row.own}
        self._gateway = None if row.gateway is None else _packed(row.gateway)
        self._is_snat = row.snat
        self._redirected = {_packed(address) for address in row.redirected}
        self._inside = _masks(row.inside)
        self._reachable = _masks((*row.inside, *row.outside))
        # The longest first: it is the way a packet goes.
        by_length = sorted(row.scopes, key=lambda each: -ip_network(each[0]).prefixlen)
        self._scopes = [
            (mask, number)
            for mask, (_, number) in zip(_masks(prefix for prefix, _ in by_length), by_length, strict=True)
        ]
        self._outside_scope = row.outside_scope

    def has_outlived(self, tuples: Tuples) -> bool:
        """Whether a new connection with this sender and destination would be translated otherwise, or not come here.

        One that a helper expected is translated as the one it was announced in, which may go the other way.
        """
        if not tuples.is_expected:
            return self._has_outlived(tuples)
        source, destination, answers_from, answers_to = tuples[:4]
        back = Tuples(answers_from, answers_to, source, destination, scope=tuples.scope, is_expected=True)
        return self._has_outlived(tuples) and self._has_outlived(back)

    def _has_outlived(self, tuples: Tuples) -> bool:
        source, destination, answers_from, answers_to = tuples[:4]
        here = self._scope_of(source)
        if tuples.scope is not None:
            ends = {here, self._scope_of(answers_from)} - {None}
            if ends and tuples.scope not in ends:
                # Its packets would go on with the mark of a scope that its network has left.
                return True
        is_translated = self._is_snat and not (self._outside_scope and here == self._outside_scope)
        if destination in self._destination_of:
            if answers_from != self._destination_of[destination]:
                return True
        elif destination in self._forwarded:
            if tuples.is_expected:
                if not any(answers_from == _packed(each.fixed) for each in self._forwarded[destination]):
                    return True
            elif (answers_from, tuples.answering) != self._forwarded_to(tuples):
                return True
        elif answers_from != destination and not (destination in self._redirected and answers_from in self._own):
            return True
        if answers_to != source:
            if not self._is_reachable(source):
                # The interface it came through is gone: its answers would leave by the default route.
                return True
            if (source, answers_to) in self._source_of:
                return False
            # A guest that got a floating IP keeps the connections it had through the gateway's address, which stays.
            # One that reaches a neighbour by its floating IP is translated whether the router does SNAT or not.
            return answers_to != self._gateway or not (is_translated or answers_from != destination)
        leaves_untranslated = (
            self._gateway is not None
            and answers_from == destination
            and source not in self._own
            and destination not in self._own
            and (is_translated or source in self._has_floating)
        )
        return leaves_untranslated and _lies_in(source, self._inside) and not _lies_in(destination, self._inside)

    def forwards(self, destination: bytes) -> bool:
        """Whether what becomes of connections there is said by their ports."""
        return destination in self._forwarded

    def _forwarded_to(self, tuples: Tuples) -> tuple[bytes, int]:
        """Who answers a new connection, with its port: the router itself where nothing is forwarded."""
        for each in self._forwarded[tuples.destination]:
            if each.protocol == tuples.protocol and each.first <= tuples.port <= each.last:
                return _packed(each.fixed), each.inside + (tuples.port - each.first if each.is_shifted else 0)
        return tuples.destination, tuples.port

    def _scope_of(self, address: bytes) -> int | None:
        """The number of its scope; None of what is not inside."""
        return next((number for mask, number in self._scopes if _lies_in(address, [mask])), None)

    def _is_reachable(self, address: bytes) -> bool:
        return address in self._own or _lies_in(address, self._reachable)


class ConnectionDriver:
    mark = "translated contrary to a wanted row, in its namespace"

    def __init__(self, namespaces: Namespaces, sockets: nl.NetlinkSockets) -> None:
        self.writes: Counter[str] = Counter()
        self._namespaces = namespaces
        self._sockets = sockets
        self._right: dict[ConnectionsKey, tuple[int, Connections]] = {}
        """Rows that all connections of their namespace (by inode) were found or made to follow."""

    def observe(
        self, wanted: Mapping[ConnectionsKey, Connections], scope: Scope = None
    ) -> dict[ConnectionsKey, Connections]:
        rows: dict[ConnectionsKey, Connections] = {}
        for key, row in wanted.items():
            inode = self._namespaces.inode(row.namespace)
            if inode is None or (scope is not None and row.namespace not in scope):
                continue
            if self._right.get(key) != (inode, row):
                if next(self._outlived(row), None) is not None:
                    continue
                self._right[key] = (inode, row)
            rows[key] = row
        for key in [key for key in self._right if key not in wanted]:
            del self._right[key]
        return rows

    def apply(self, delta: Delta[ConnectionsKey, Connections]) -> Applied[ConnectionsKey]:
        applied: Applied[ConnectionsKey] = Applied(done=set(delta.remove))
        for key in delta.remove:
            self._right.pop(key, None)
        for key, row in delta.put.items():
            inode = self._namespaces.inode(row.namespace)
            try:
                for body in list(self._outlived(row)):
                    if _end(self._sockets.to(row.namespace), body):
                        self.writes["connection ended"] += 1
            except (KernelError, OSError) as error:
                applied.failed[key] = f"cannot end connections that nothing allows any longer: {error}"
            else:
                if inode is not None:
                    self._right[key] = (inode, row)
                applied.done.add(key)
        return applied

    def _outlived(self, row: Connections) -> Iterator[bytes]:
        """What to say to end each connection that `row` does not allow."""
        judge = Judge(row)
        judged: dict[Tuples, bool] = {}
        for _, payload in self._sockets.to(row.namespace).dump(_GET, _HEAD):
            found = nl.attributes(payload[len(_HEAD) :])
            tuples = _tuples(found)
            if tuples is None:
                continue
            if judge.forwards(tuples.destination):
                tuples = _with_ports(tuples, found)
            if tuples not in judged:
                judged[tuples] = judge.has_outlived(tuples)
            if judged[tuples]:
                kept = ((_TUPLE_ORIG, _NESTED), (_ID, 0), (_ZONE, 0))
                yield _HEAD + b"".join(nl.attribute(kind | flag, found[kind]) for kind, flag in kept if kind in found)


def _end(netlink: nl.Netlink, body: bytes) -> bool:
    """Whether it was still there. With its id in `body`, a later connection between the same two is left alone."""
    try:
        netlink.change(_DELETE, 0, body)
    except nl.NetlinkError as error:
        if not error.is_absence:
            raise
        return False
    return True


def _tuples(found: Mapping[int, bytes]) -> Tuples | None:
    """None for a connection that is not IPv4."""
    ends: list[bytes] = []
    for kind in (_TUPLE_ORIG, _TUPLE_REPLY):
        addresses = nl.attributes(nl.attributes(found.get(kind, b"")).get(1, b""))  # CTA_TUPLE_IP
        ends += [addresses.get(1, b""), addresses.get(2, b"")]  # CTA_IP_V4_SRC, CTA_IP_V4_DST
    if not all(len(end) == 4 for end in ends):
        return None
    number = int.from_bytes(found.get(_MARK, b""), "big") >> 16
    source, destination, answers_from, answers_to = ends
    scope = number - _NO_SCOPE if number else None
    return Tuples(source, destination, answers_from, answers_to, scope=scope, is_expected=_MASTER in found)


def _with_ports(tuples: Tuples, found: Mapping[int, bytes]) -> Tuples:
    """A protocol without ports has the port 0 everywhere."""
    sent, answered = (
        nl.attributes(nl.attributes(found.get(kind, b"")).get(2, b""))  # CTA_TUPLE_PROTO
        for kind in (_TUPLE_ORIG, _TUPLE_REPLY)
    )
    numbers = (sent.get(1), sent.get(3), answered.get(2))  # CTA_PROTO_NUM, CTA_PROTO_DST_PORT, CTA_PROTO_SRC_PORT
    protocol, port, answering = (int.from_bytes(number or b"", "big") for number in numbers)
    return tuples._replace(protocol=protocol, port=port, answering=answering)


def _packed(address: str) -> bytes:
    return IPv4Address(address).packed


def _masks(prefixes: Iterable[str]) -> list[tuple[int, int]]:
    networks = [ip_network(prefix) for prefix in prefixes]
    return [(int(network.network_address), int(network.netmask)) for network in networks]


def _lies_in(address: bytes, networks: list[tuple[int, int]]) -> bool:
    number = int.from_bytes(address, "big")
    return any(number & mask == network for network, mask in networks)

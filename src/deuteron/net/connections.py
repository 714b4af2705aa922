"""Which tracked connections the rules of today allow: pure, for cleaning up after rules that are gone.

Connection tracking lets an established connection pass without asking the rules again. So when a permission is taken
back, what it had allowed is looked up among the tracked connections and ended. A connection is judged by its first
direction: whoever began it needs an egress rule for the other, and whoever it was begun with an ingress rule.

An address belongs to the ports that have exactly it, otherwise to those with a prefix that holds it (address pairs);
one of them has to allow the connection. A connection with no port of the zone is nobody's, and not allowed.

What somebody sends to all or to a group of stations comes by every port's bridge in the kernel, and is tracked there
whether the port lets it in or not. It lets nothing in: answers come from another address than it went to.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

from deuteron.net.rows import Allowance, TrackedGroup, TrackedPort, TrackedZone

_ICMP = (1, 58)

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Connection(NamedTuple):
    """A tracked connection in its first direction. For ICMP, `low` is the type and `high` the code."""

    zone: int
    protocol: int
    source: str
    target: str
    low: int
    """The source port."""
    high: int
    """The destination port."""
    handle: object = None
    """What its driver needs to end it."""


def forbidden(
    zone: TrackedZone, connections: Iterable[Connection], stale: frozenset[str] = frozenset()
) -> list[Connection]:
    """Those of the zone's connections that its ports would not allow to begin today.

    `stale` are addresses whose connections are of an earlier holder, and not allowed for that alone.
    """
    judge = _Judge(zone)
    return [
        connection
        for connection in connections
        if connection.source in stale or connection.target in stale or not judge.allows(connection)
    ]


def stale_addresses(before: TrackedZone | None, after: TrackedZone) -> frozenset[str]:
    """Addresses that a port had and has no longer, unless another port had them, too, and still has."""
    left, right = _holdings(before), _holdings(after)
    kept = {address for address, _ in left & right}
    return frozenset(address for address, _ in left - right) - kept


def addresses(zone: TrackedZone | None) -> frozenset[str]:
    """The single addresses of the zone's ports, without prefixes."""
    return frozenset(address for address, _ in _holdings(zone))


def _holdings(zone: TrackedZone | None) -> set[tuple[str, str]]:
    ports = zone.ports if zone is not None else ()
    return {(address, port.id) for port in ports for address in port.addresses if "/" not in address}


def may_forbid(before: TrackedZone | None, after: TrackedZone) -> bool:
    """Whether `after` may forbid a connection that `before` allowed. New ports and wider rules do not."""
    if before is None or before == after:
        return False
    named = {(group.id, group.family): group for group in after.groups}
    for group in before.groups:
        kept = named.get((group.id, group.family))
        # A group that no rule names any longer is gone with the rule, which is found below.
        if kept is not None and not _has_all(group.addresses, kept.addresses):
            return True
    if before.ports == after.ports:
        return False
    wanted = {port.id: port for port in after.ports}
    for port in before.ports:
        now = wanted.get(port.id)
        if now == port:
            continue
        if now is None or not set(port.addresses) <= set(now.addresses):
            return True
        if port.allowed != now.allowed and not _is_wider(port.allowed, now.allowed):
            return True
    return False


@lru_cache(maxsize=64)
def _has_all(before: tuple[str, ...], after: tuple[str, ...]) -> bool:
    """Whether a group lost nobody; asked once for each zone that names it."""
    return before is after or set(before) <= set(after)


def _is_wider(before: tuple[Allowance, ...], after: tuple[Allowance, ...]) -> bool:
    left = set(before) - set(after)
    return all(
        any(
            one.remotes is not None
            and other.remotes is not None
            and one.conditions == other.conditions
            and set(one.remotes) <= set(other.remotes)
            for other in after
        )
        for one in left
    )


class _Judge:
    def __init__(self, zone: TrackedZone) -> None:
        self._is_of_bridges = zone.place == "kernel"
        self._members = {(group.id, group.family): _Members(group) for group in zone.groups}
        self._exact: dict[str, list[TrackedPort]] = {}
        self._prefixes: list[tuple[Network, TrackedPort]] = []
        for port in zone.ports:
            for text in port.addresses:
                network = _network(text)
                if network.prefixlen == network.max_prefixlen:
                    self._exact.setdefault(str(network.network_address), []).append(port)
                else:
                    self._prefixes.append((network, port))

    def allows(self, connection: Connection) -> bool:
        if self._is_of_bridges and _is_to_many(connection.target):
            return True
        beginners, others = self._owners(connection.source), self._owners(connection.target)
        if not beginners and not others:
            return False
        return self._one_allows(beginners, "egress", connection, connection.target) and self._one_allows(
            others, "ingress", connection, connection.source
        )

    def _owners(self, address: str) -> list[TrackedPort]:
        if address in self._exact:
            return self._exact[address]
        parsed = _address(address)
        return [port for network, port in self._prefixes if network.version == parsed.version and parsed in network]

    def _one_allows(self, ports: list[TrackedPort], direction: str, connection: Connection, remote: str) -> bool:
        return not ports or any(
            _matches(allowance, connection, remote) and self._is_member(allowance, remote)
            for port in ports
            for allowance in port.allowed
            if allowance.direction == direction
        )

    def _is_member(self, allowance: Allowance, remote: str) -> bool:
        if allowance.group is None:
            return True
        members = self._members.get((allowance.group, allowance.family))
        return members is not None and members.holds(remote)


class _Members:
    def __init__(self, group: TrackedGroup) -> None:
        self._exact = frozenset(group.addresses)
        self._prefixes = [_network(text) for text in group.addresses if "/" in text]

    def holds(self, address: str) -> bool:
        return address in self._exact or any(_address(address) in network for network in self._prefixes)


def _matches(allowance: Allowance, connection: Connection, remote: str) -> bool:
    address = _address(remote)
    if allowance.family != address.version or allowance.protocol not in (None, connection.protocol):
        return False
    if allowance.low is not None:
        if connection.protocol in _ICMP:
            if connection.low != allowance.low or allowance.high not in (None, connection.high):
                return False
        elif not allowance.low <= connection.high <= (allowance.low if allowance.high is None else allowance.high):
            return False
    if allowance.remotes is None or remote in allowance.remotes:
        return True
    return any(address in _network(text) for text in allowance.remotes if "/" in text)


def _is_to_many(address: str) -> bool:
    return address == "255.255.255.255" or _address(address).is_multicast


@lru_cache(maxsize=4096)
def _network(text: str) -> Network:
    return ipaddress.ip_network(text, strict=False)


@lru_cache(maxsize=4096)
def _address(text: str) -> Address:
    return ipaddress.ip_address(text)

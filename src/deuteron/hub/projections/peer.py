"""Tunnel endpoints of the other hosts, living or not: a host that is away comes back with the same address."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Set

from deuteron.hub.projections.contract import Made, Reading, Shared, Touched
from deuteron.rules.hosts import registry


def _members(reading: Reading, scopes: Collection[str]) -> Iterable[tuple[str, str]]:
    return [("", host) for host in reading.endpoints] if "" in scopes else []


def _build(reading: Reading, ids: Collection[str]) -> Iterator[Made]:
    for peer in registry.peers(reading.tx, reading.settings, ids):
        yield Made(peer, not_on=(peer.id,))


def _dirty(touched: Touched) -> Set[str]:
    return touched.of("host")


PROJECTION = Shared("peer", _dirty, _build, _members, is_everywhere=True)

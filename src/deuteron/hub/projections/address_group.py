"""Address groups, where rules name them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Set

from sqlalchemy import select

from deuteron.hub.projections.contract import Made, Reading, Shared, Touched, rows
from deuteron.model.intent import IntentAddressGroup
from deuteron.model.network import ADDRESS_GROUP
from deuteron.store.network_tables import table_of

_groups = table_of(ADDRESS_GROUP)


def _members(reading: Reading, scopes: Collection[str]) -> Iterable[tuple[str, str]]:
    return [(id, id) for id in scopes]


def _build(reading: Reading, ids: Collection[str]) -> Iterator[Made]:
    statement = select(_groups.c["id"], _groups.c["addresses"])
    for id, addresses in rows(reading.tx, lambda chunk: statement.where(_groups.c["id"].in_(chunk)), ids):
        yield Made(IntentAddressGroup(id, tuple(addresses or ())), scope=id)


def _dirty(touched: Touched) -> Set[str]:
    return touched.of("address_group")


PROJECTION = Shared("address_group", _dirty, _build, _members)

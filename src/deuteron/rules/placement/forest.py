"""All providers as they are at one moment, for the search of candidates among them."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import select

from deuteron.rules.placement import hosts, names, providers
from deuteron.rules.placement.candidates import Source, Wanted
from deuteron.store.database import Tx
from deuteron.store.placement_tables import provider_aggregates, provider_traits


def sources(tx: Tx) -> dict[str, Source]:
    """By id, the oldest first. In four queries, however many there are."""
    traits: dict[str, set[str]] = {}
    for id, trait in tx.all(select(provider_traits.c.provider_id, provider_traits.c.trait)):
        traits.setdefault(id, set()).add(trait)
    aggregates: dict[str, set[str]] = {}
    for id, aggregate in tx.all(select(provider_aggregates.c.provider_id, provider_aggregates.c.aggregate_id)):
        aggregates.setdefault(id, set()).add(aggregate)
    stock, none = hosts.stock(tx), frozenset[str]()
    return {
        each.id: Source(
            each.id,
            each.parent_id,
            each.root_id,
            frozenset(traits.get(each.id, none)),
            frozenset(aggregates.get(each.id, none)),
            stock.get(each.id, {}),
        )
        for each in providers.everyone(tx)
    }


def refuse_unknown(tx: Tx, wanted: Wanted) -> None:
    """Raises: NotFound for a resource class, BadRequest for a trait that is none."""
    names.refuse_unknown_traits(tx, wanted.root_required | wanted.root_forbidden)
    classes = {resource for group in wanted.groups for resource in group.resources}
    names.refuse_unknown_classes(tx, tuple(classes))
    traits: list[Collection[str]] = [each for group in wanted.groups for each in (*group.required, group.forbidden)]
    names.refuse_unknown_traits(tx, frozenset[str]().union(*traits))

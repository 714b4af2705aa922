"""Which providers are as somebody wants them, each by itself.

Source: placement/objects/resource_provider.py `_get_all_by_filters_from_db`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sqlalchemy import ColumnElement, select

from deuteron.rules.placement import inventories, names, providers
from deuteron.rules.placement.providers import Provider
from deuteron.store import placement_tables as tables
from deuteron.store import query
from deuteron.store.database import Tx

_P = tables.providers.c


@dataclass(frozen=True)
class Filters:
    name: str | None = None
    id: str | None = None
    in_tree: str | None = None
    """A provider of the tree."""
    resources: Mapping[str, int] = field(default_factory=dict)
    required: tuple[frozenset[str], ...] = ()
    """Of each set one trait at least."""
    forbidden: frozenset[str] = frozenset()
    member_of: tuple[frozenset[str], ...] = ()
    """Of each set one aggregate at least."""
    not_member_of: frozenset[str] = frozenset()


def matching(tx: Tx, wanted: Filters) -> list[Provider]:
    """The oldest first. Raises: BadRequest for a trait, NotFound for a class that is none."""
    conditions: list[ColumnElement[bool]] = []
    if wanted.name:
        conditions.append(_P.name == wanted.name)
    if wanted.id:
        conditions.append(_P.id == wanted.id)
    if wanted.in_tree:
        known = providers.look(tx, wanted.in_tree)
        if known is None:
            return []
        conditions.append(_P.root_id == known.root_id)
    names.refuse_unknown_traits(tx, frozenset().union(*wanted.required, wanted.forbidden))
    names.refuse_unknown_classes(tx, tuple(wanted.resources))
    for traits in wanted.required:
        conditions.append(_P.id.in_(_with_traits(traits)))
    if wanted.forbidden:
        conditions.append(_P.id.not_in(_with_traits(wanted.forbidden)))
    for aggregates in wanted.member_of:
        conditions.append(_P.id.in_(_in_aggregates(aggregates)))
    if wanted.not_member_of:
        conditions.append(_P.id.not_in(_in_aggregates(wanted.not_member_of)))
    for resource, amount in wanted.resources.items():
        able = sorted(_with_room(tx, resource, amount))
        conditions.append(query.any_of(_P.id, able))
    rows = tx.all(select(tables.providers).where(*conditions).order_by(_P.created_at, _P.id))
    return [Provider(*row) for row in rows]


def _with_traits(traits: frozenset[str]) -> ColumnElement[str]:
    of = tables.provider_traits.c
    return select(of.provider_id).where(query.any_of(of.trait, sorted(traits))).scalar_subquery()


def _in_aggregates(aggregates: frozenset[str]) -> ColumnElement[str]:
    of = tables.provider_aggregates.c
    return select(of.provider_id).where(query.any_of(of.aggregate_id, sorted(aggregates))).scalar_subquery()


def _with_room(tx: Tx, resource: str, amount: int) -> set[str]:
    found = set()
    for row in tx.all(select(tables.inventories).where(tables.inventories.c.resource_class == resource)):
        kept = inventories.kept(row)
        if kept.inventory.is_step(amount) and kept.used + amount <= kept.inventory.capacity:
            found.add(row.provider_id)
    return found

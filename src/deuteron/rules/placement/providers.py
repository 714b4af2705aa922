"""Resource providers: trees of them, each with a generation that says whether somebody else changed it meanwhile.

Whoever changes the inventories, traits, aggregates or allocations of a provider raises its generation (`bump`).

Source: placement/objects/resource_provider.py.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from sqlalchemy import bindparam, delete, select, update

from deuteron.model.errors import BadRequest, Conflict, NotFound
from deuteron.rules.placement import faults
from deuteron.rules.placement.times import text_of
from deuteron.store import query
from deuteron.store.database import Tx
from deuteron.store.placement_tables import (
    allocations,
    inventories,
    provider_aggregates,
    provider_traits,
    providers,
)
from deuteron.store.prepared import Prepared

_BUMP: Final = Prepared(
    update(providers)
    .where(providers.c.id == bindparam("id_"))
    .values(generation=providers.c.generation + 1, updated_at=bindparam("now"))
)
_OF: Final = Prepared(select(providers).where(providers.c.id == bindparam("id_")))


@dataclass(frozen=True)
class Provider:
    id: str
    name: str
    generation: int
    parent_id: str | None
    root_id: str
    created_at: str
    updated_at: str | None


def look(tx: Tx, provider_id: str) -> Provider | None:
    found = tx.run(_OF, {"id_": provider_id}).first()
    return None if found is None else Provider(*found)


def find(tx: Tx, provider_id: str) -> Provider:
    """Raises: NotFound."""
    found = look(tx, provider_id)
    if found is None:
        raise NotFound(f"No resource provider with uuid {provider_id} found")
    return found


def everyone(tx: Tx) -> list[Provider]:
    """All providers, the oldest first."""
    rows = tx.all(select(providers).order_by(providers.c.created_at, providers.c.id))
    return [Provider(*row) for row in rows]


def tree(tx: Tx, root_id: str) -> list[Provider]:
    """All providers of a tree."""
    return [Provider(*row) for row in tx.all(select(providers).where(providers.c.root_id == root_id))]


def bump(tx: Tx, provider_id: str) -> None:
    """Somebody changed the provider."""
    tx.run(_BUMP, {"id_": provider_id, "now": text_of(tx.now)})


def create(tx: Tx, provider_id: str, name: str, parent_id: str | None) -> Provider:
    """Raises: Conflict, BadRequest."""
    if not name:
        raise _refused("create", name, provider_id, "create", "name is required")
    root_id = provider_id
    if parent_id is not None:
        if parent_id == provider_id:
            why = (
                "parent provider UUID cannot be same as UUID. Please set parent provider UUID to None if there is "
                "no parent."
            )
            raise _refused("create", name, provider_id, "create", why)
        parent = look(tx, parent_id)
        if parent is None:
            raise _refused("create", name, provider_id, "create", "parent provider UUID does not exist.")
        root_id = parent.root_id
    same = [f"uuid: {provider_id}"] if look(tx, provider_id) is not None else []
    same += [f"name: {name}"] if _is_taken(tx, name) else []
    if same:
        raise Conflict(f"Conflicting resource provider {', '.join(same)} already exists.", type=faults.DUPLICATE_NAME)
    made = Provider(provider_id, name, 0, parent_id, root_id, text_of(tx.now), text_of(tx.now))
    tx.insert(providers, made.__dict__)
    return made


def change(tx: Tx, provider: Provider, name: str, parent_id: str | None, *, may_move: bool) -> Provider:
    """The provider with another name or parent; its children go with it. Raises: Conflict, BadRequest."""
    if name != provider.name and _is_taken(tx, name):
        raise Conflict(f"Conflicting resource provider {name} already exists.", type=faults.DUPLICATE_NAME)
    root_id = provider.root_id
    if parent_id != provider.parent_id:
        root_id = provider.id
        below = _subtree(tx, provider)
        if parent_id is not None:
            parent = look(tx, parent_id)
            if parent is None:
                raise _unsaved(provider, "create", "parent provider UUID does not exist.")
            if provider.parent_id is not None and not may_move:
                raise _unsaved(provider, "update", "re-parenting a provider is not currently allowed.")
            if parent_id in below:
                raise _unsaved(provider, "update", "creating loop in the provider tree is not allowed.")
            root_id = parent.root_id
        elif not may_move:
            raise _unsaved(provider, "update", "un-parenting a provider is not currently allowed.")
        tx.execute(update(providers).where(query.any_of(providers.c.id, sorted(below))).values(root_id=root_id))
    values = {"name": name, "parent_id": parent_id, "updated_at": text_of(tx.now)}
    tx.execute(update(providers).where(providers.c.id == provider.id).values(values))
    return Provider(
        provider.id, name, provider.generation, parent_id, root_id, provider.created_at, provider.updated_at
    )


def remove(tx: Tx, provider_id: str) -> None:
    """Raises: NotFound, Conflict."""
    if look(tx, provider_id) is None:
        raise NotFound(f"No resource provider with uuid {provider_id} found for delete")
    if tx.first(select(providers.c.id).where(providers.c.parent_id == provider_id).limit(1)) is not None:
        raise Conflict(
            f"Unable to delete parent resource provider {provider_id}: It has child resource providers.",
            type=faults.PARENT,
        )
    taken = select(allocations.c.used).where(allocations.c.provider_id == provider_id).limit(1)
    if tx.first(taken) is not None:
        raise Conflict(
            f"Unable to delete resource provider {provider_id}: Resource provider has allocations.",
            type=faults.PROVIDER_IN_USE,
        )
    for table in (inventories, provider_aggregates, provider_traits):
        tx.execute(delete(table).where(table.c.provider_id == provider_id))
    tx.execute(delete(providers).where(providers.c.id == provider_id))


# --- traits and aggregates --------------------------------------------------------------------------------------------


def traits_of(tx: Tx, provider_id: str) -> list[str]:
    """By name."""
    of = provider_traits.c
    return tx.scalars(select(of.trait).where(of.provider_id == provider_id).order_by(of.trait))


def all_traits(tx: Tx) -> dict[str, frozenset[str]]:
    """By provider."""
    found: dict[str, set[str]] = {}
    for provider_id, trait in tx.all(select(provider_traits.c.provider_id, provider_traits.c.trait)):
        found.setdefault(provider_id, set()).add(trait)
    return {provider_id: frozenset(traits) for provider_id, traits in found.items()}


def set_traits(tx: Tx, provider_id: str, wanted: Collection[str]) -> bool:
    """Whether that changed anything."""
    had = {*traits_of(tx, provider_id)}
    if had == {*wanted}:
        return False
    tx.execute(delete(provider_traits).where(provider_traits.c.provider_id == provider_id))
    if wanted:
        tx.insert(provider_traits, [{"provider_id": provider_id, "trait": name} for name in sorted({*wanted})])
    bump(tx, provider_id)
    return True


def aggregates_of(tx: Tx, provider_id: str) -> list[str]:
    of = provider_aggregates.c
    return tx.scalars(select(of.aggregate_id).where(of.provider_id == provider_id).order_by(of.aggregate_id))


def set_aggregates(tx: Tx, provider_id: str, wanted: Collection[str]) -> None:
    """The generation stays, as before microversion 1.19."""
    tx.execute(delete(provider_aggregates).where(provider_aggregates.c.provider_id == provider_id))
    if wanted:
        rows = [{"provider_id": provider_id, "aggregate_id": id} for id in sorted({*wanted})]
        tx.insert(provider_aggregates, rows)


def _is_taken(tx: Tx, name: str) -> bool:
    return tx.first(select(providers.c.id).where(providers.c.name == name)) is not None


def _subtree(tx: Tx, provider: Provider) -> set[str]:
    """The provider and all below it."""
    children: dict[str | None, list[str]] = {}
    for each in tree(tx, provider.root_id):
        children.setdefault(each.parent_id, []).append(each.id)
    found, waiting = {provider.id}, [provider.id]
    while waiting:
        below = children.get(waiting.pop(), [])
        found.update(below)
        waiting += below
    return found


def _refused(what: str, name: str, provider_id: str, action: str, why: str) -> BadRequest:
    return BadRequest(
        f'Unable to {what} resource provider "{name}", {provider_id}: Object action {action} failed because: {why}'
    )


def _unsaved(provider: Provider, action: str, why: str) -> BadRequest:
    return BadRequest(f"Unable to save resource provider {provider.id}: Object action {action} failed because: {why}")

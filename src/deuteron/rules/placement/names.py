"""Names of traits and of resource classes: the standard ones of OpenStack, and those that clients made."""

from __future__ import annotations

import functools
from collections.abc import Collection
from typing import Final

from sqlalchemy import delete, select, update

from deuteron.model.errors import BadRequest, Conflict, NotFound
from deuteron.rules.placement.times import text_of
from deuteron.store import query
from deuteron.store.database import Tx
from deuteron.store.placement_tables import allocations, inventories, provider_traits, resource_classes, traits

SHARES: Final = "MISC_SHARES_VIA_AGGREGATE"
"""The trait of a provider of which all take that are in an aggregate with it."""
DISABLED: Final = "COMPUTE_STATUS_DISABLED"


@functools.cache
def standard_traits() -> frozenset[str]:
    # When somebody asks: it is hundreds of names in seventy modules.
    import os_traits  # type: ignore[import-untyped]  # it has none

    return frozenset(os_traits.get_traits())


@functools.cache
def standard_classes() -> tuple[str, ...]:
    import os_resource_classes  # type: ignore[import-untyped]  # it has none

    return tuple(os_resource_classes.STANDARDS)


# --- traits -----------------------------------------------------------------------------------------------------------


def all_traits(tx: Tx) -> list[str]:
    """The standard ones first, each part by name."""
    return [*sorted(standard_traits()), *tx.scalars(select(traits.c.name).order_by(traits.c.name))]


def unknown_traits(tx: Tx, wanted: Collection[str]) -> list[str]:
    """Those of the names that no trait has, by name."""
    custom = sorted({*wanted} - standard_traits())
    there = set(tx.scalars(select(traits.c.name).where(query.any_of(traits.c.name, custom)))) if custom else set()
    return [name for name in custom if name not in there]


def refuse_unknown_traits(tx: Tx, wanted: Collection[str]) -> None:
    """Raises: BadRequest."""
    if missing := unknown_traits(tx, wanted):
        raise BadRequest(f"No such trait(s): {', '.join(missing)}.")


def trait_made(tx: Tx, name: str) -> str | None:
    """When the trait was made; None for a standard one. Raises: NotFound."""
    if name in standard_traits():
        return None
    made: str | None = tx.scalar(select(traits.c.created_at).where(traits.c.name == name))
    if made is None:
        raise NotFound(f"No such trait(s): {name}.")
    return made


def make_trait(tx: Tx, name: str) -> bool:
    """Whether it had to be made."""
    if tx.first(select(traits.c.name).where(traits.c.name == name)) is not None:
        return False
    tx.insert(traits, {"name": name, "created_at": text_of(tx.now)})
    return True


def remove_trait(tx: Tx, name: str) -> None:
    """Raises: NotFound, BadRequest, Conflict."""
    if trait_made(tx, name) is None:
        raise BadRequest(f"Cannot delete standard trait {name}.")
    if tx.first(select(provider_traits.c.trait).where(provider_traits.c.trait == name).limit(1)) is not None:
        raise Conflict(f"The trait {name} is in use by a resource provider.")
    tx.execute(delete(traits).where(traits.c.name == name))


# --- resource classes -------------------------------------------------------------------------------------------------


def all_classes(tx: Tx) -> list[str]:
    """The standard ones in OpenStack's order, then those that clients made, the oldest first."""
    found = select(resource_classes.c.name).order_by(resource_classes.c.created_at, resource_classes.c.name)
    return [*standard_classes(), *tx.scalars(found)]


def class_changed(tx: Tx, name: str) -> str | None:
    """When the class was made or last changed; None for a standard one. Raises: NotFound."""
    if name in standard_classes():
        return None
    row = tx.first(select(resource_classes).where(resource_classes.c.name == name))
    if row is None:
        raise no_class(name)
    return str(row.updated_at or row.created_at)


def no_class(name: str) -> NotFound:
    return NotFound(f"No such resource class {name}.")


def refuse_unknown_classes(tx: Tx, wanted: Collection[str]) -> None:
    """Raises: NotFound."""
    custom = [name for name in wanted if name not in standard_classes()]
    if not custom:
        return
    there = set(tx.scalars(select(resource_classes.c.name).where(query.any_of(resource_classes.c.name, custom))))
    for name in custom:
        if name not in there:
            raise no_class(name)


def has_class(tx: Tx, name: str) -> bool:
    found = select(resource_classes.c.name).where(resource_classes.c.name == name)
    return name in standard_classes() or tx.first(found) is not None


def make_class(tx: Tx, name: str) -> None:
    """The name is none yet."""
    tx.insert(resource_classes, {"name": name, "created_at": text_of(tx.now), "updated_at": None})


def rename_class(tx: Tx, name: str, new: str) -> None:
    """Raises: NotFound, BadRequest, Conflict."""
    if class_changed(tx, name) is None:
        raise BadRequest(f"Cannot update standard resource class {name}")
    if new != name and has_class(tx, new):
        raise Conflict(f"Resource class already exists: {new}")
    tx.execute(
        update(resource_classes).where(resource_classes.c.name == name).values(name=new, updated_at=text_of(tx.now))
    )
    tx.execute(update(inventories).where(inventories.c.resource_class == name).values(resource_class=new))
    tx.execute(update(allocations).where(allocations.c.resource_class == name).values(resource_class=new))


def remove_class(tx: Tx, name: str) -> None:
    """Raises: NotFound, BadRequest, Conflict."""
    if class_changed(tx, name) is None:
        raise BadRequest(f"Error in delete resource class: Cannot delete standard resource class {name}.")
    if tx.first(select(inventories.c.used).where(inventories.c.resource_class == name).limit(1)) is not None:
        raise Conflict(
            f"Error in delete resource class: Cannot delete resource class {name}. Class is in use in inventory."
        )
    tx.execute(delete(resource_classes).where(resource_classes.c.name == name))

"""Inventories: how much of a resource class a provider has, and how much of it may be taken at once.

Source: placement/objects/inventory.py, placement/handlers/inventory.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from sqlalchemy import bindparam, delete, select, update

from deuteron.model.errors import BadRequest, Conflict, NotFound
from deuteron.rules.placement import faults, names, providers
from deuteron.rules.placement.times import text_of
from deuteron.store import query
from deuteron.store.database import Tx
from deuteron.store.placement_tables import inventories
from deuteron.store.prepared import Prepared

MOST: Final = 2**31 - 1
"""Of an amount."""
_COLUMNS: Final = ("total", "reserved", "min_unit", "max_unit", "step_size", "allocation_ratio")
_OF: Final = Prepared(select(inventories).where(inventories.c.provider_id == bindparam("id_")))


@dataclass(frozen=True)
class Inventory:
    total: int
    reserved: int = 0
    min_unit: int = 1
    max_unit: int = MOST
    step_size: int = 1
    allocation_ratio: float = 1.0

    @property
    def capacity(self) -> float:
        """How much may be taken of it in all."""
        return (self.total - self.reserved) * self.allocation_ratio

    def is_step(self, amount: int) -> bool:
        """Whether one consumer may take so much, were it free."""
        return self.min_unit <= amount <= self.max_unit and amount % self.step_size == 0


@dataclass(frozen=True)
class Kept:
    """An inventory as it is kept."""

    inventory: Inventory
    used: int
    changed_at: str


def of(tx: Tx, provider_id: str) -> dict[str, Kept]:
    """By resource class."""
    return {row[1]: kept(row) for row in tx.run(_OF, {"id_": provider_id})}


def kept(row: Any) -> Kept:
    """Of a row of the table."""
    _, _, total, reserved, least, most, step, ratio, used, created_at, updated_at = row
    return Kept(Inventory(total, reserved, least, most, step, float(ratio)), used, updated_at or created_at)


def refuse_small(provider_id: str, wanted: Mapping[str, Inventory], *, may_be_none: bool, said: str) -> None:
    """Raises: BadRequest for one of which nothing could be taken, unless that `may_be_none`; `said` begins it."""
    for resource, inventory in wanted.items():
        if inventory.capacity < 0 or (inventory.capacity == 0 and not may_be_none):
            raise BadRequest(
                f"{said}: Invalid inventory for '{resource}' on resource provider '{provider_id}'. The reserved value "
                f"is greater than {'' if may_be_none else 'or equal to '}total."
            )


def add(tx: Tx, provider_id: str, resource: str, inventory: Inventory) -> None:
    """Raises: NotFound for a class that is none; Conflict when it is there."""
    names.refuse_unknown_classes(tx, (resource,))
    if resource in of(tx, provider_id):
        raise Conflict(
            f"Update conflict: there is an inventory of {resource} for {provider_id}", type=faults.CONCURRENT
        )
    _insert(tx, provider_id, resource, inventory)
    providers.bump(tx, provider_id)


def change(tx: Tx, provider_id: str, resource: str, inventory: Inventory) -> None:
    """Raises: NotFound for a class that is none; BadRequest when the provider has no such inventory."""
    names.refuse_unknown_classes(tx, (resource,))
    if not _update(tx, provider_id, resource, inventory):
        raise BadRequest(
            f"No inventory record with resource class for resource provider {provider_id}: No inventory of class "
            f"{resource} found."
        )
    providers.bump(tx, provider_id)


def replace(tx: Tx, provider_id: str, wanted: Mapping[str, Inventory]) -> None:
    """Raises: NotFound for a class that is none; InUse for one that would go and has allocations."""
    names.refuse_unknown_classes(tx, tuple(wanted))
    had = of(tx, provider_id)
    _delete(tx, provider_id, {name: each for name, each in had.items() if name not in wanted})
    for resource, inventory in wanted.items():
        if resource in had:
            _update(tx, provider_id, resource, inventory)
        else:
            _insert(tx, provider_id, resource, inventory)
    providers.bump(tx, provider_id)


def remove(tx: Tx, provider_id: str, resource: str) -> None:
    """Raises: NotFound, InUse."""
    names.refuse_unknown_classes(tx, (resource,))
    found = of(tx, provider_id).get(resource)
    if found is None:
        raise NotFound(f"No inventory of class {resource} found for delete")
    _delete(tx, provider_id, {resource: found})
    providers.bump(tx, provider_id)


def _insert(tx: Tx, provider_id: str, resource: str, inventory: Inventory) -> None:
    key = {"provider_id": provider_id, "resource_class": resource, "used": 0, "created_at": text_of(tx.now)}
    tx.insert(inventories, {**key, **asdict(inventory)})


def _update(tx: Tx, provider_id: str, resource: str, inventory: Inventory) -> bool:
    mine = (inventories.c.provider_id == provider_id) & (inventories.c.resource_class == resource)
    values = {name: value for name, value in asdict(inventory).items() if name in _COLUMNS}
    done = tx.execute(update(inventories).where(mine).values(**values, updated_at=text_of(tx.now)))
    return bool(done.rowcount)


def _delete(tx: Tx, provider_id: str, found: Mapping[str, Kept]) -> None:
    """Raises: InUse."""
    order = {name: place for place, name in enumerate(names.standard_classes())}
    taken = sorted((name for name, each in found.items() if each.used), key=lambda name: order.get(name, len(order)))
    if taken:
        raise faults.InUse(provider_id, ", ".join(taken))
    if found:
        some = query.any_of(inventories.c.resource_class, sorted(found))
        tx.execute(delete(inventories).where(inventories.c.provider_id == provider_id, some))

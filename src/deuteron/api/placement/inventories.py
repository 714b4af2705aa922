"""Inventories of a provider, and what is taken of them.

Source: placement/handlers/inventory.py, usage.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from deuteron.api.call import Call, Reply
from deuteron.api.placement import access, shapes
from deuteron.api.placement.answers import dated, location, require_accept, require_json
from deuteron.api.placement.providers import of_path
from deuteron.model.errors import BadRequest, Conflict, NotFound
from deuteron.rules.placement import faults, inventories
from deuteron.rules.placement.inventories import Inventory
from deuteron.rules.placement.providers import Provider
from deuteron.store.database import Tx

_RULE = "resource_providers:inventories:"
_MISSING = "No resource provider with uuid {} found "


def list_all(call: Call, tx: Tx) -> Reply:
    require_accept(call)
    access.require(call, f"{_RULE}list")
    provider = of_path(call, tx, _MISSING)
    found = inventories.of(tx, provider.id)
    changed = max((each.changed_at for each in found.values()), default=None)
    return dated(call, _all(provider.generation, {name: each.inventory for name, each in found.items()}), changed)


def show(call: Call, tx: Tx) -> Reply:
    require_accept(call)
    access.require(call, f"{_RULE}show")
    provider = of_path(call, tx, _MISSING)
    name = call.params["resource_class"]
    found = inventories.of(tx, provider.id).get(name)
    if found is None:
        raise NotFound(f"No inventory of class {name} for {provider.id}")
    return dated(call, _one(provider.generation, found.inventory), found.changed_at)


def create(call: Call, tx: Tx) -> Reply:
    require_json(call)
    access.require(call, f"{_RULE}create")
    provider = of_path(call, tx)
    body = shapes.read(call, shapes.NEW_INVENTORY)
    name, made = body["resource_class"], inventory_of(body)
    said = f"Unable to create inventory for resource provider {provider.id}"
    inventories.refuse_small(provider.id, {name: made}, may_be_none=call.version >= 26, said=said)
    try:
        inventories.add(tx, provider.id, name, made)
    except NotFound as error:
        raise BadRequest(f"{said}: {error.message}") from None
    where = location(call, f"/resource_providers/{provider.id}/inventories/{name}")
    return dated(call, _one(provider.generation + 1, made), tx.now, 201, location=where)


def replace(call: Call, tx: Tx) -> Reply:
    require_json(call)
    access.require(call, f"{_RULE}update")
    provider = of_path(call, tx)
    body = shapes.read(call, shapes.INVENTORIES)
    refuse_other(provider, body["resource_provider_generation"])
    wanted = {name: inventory_of(each) for name, each in body["inventories"].items()}
    said = f"Unable to update inventory for resource provider {provider.id}"
    inventories.refuse_small(provider.id, wanted, may_be_none=call.version >= 26, said=said)
    try:
        inventories.replace(tx, provider.id, wanted)
    except NotFound as error:
        unknown = f"Unknown resource class in inventory for resource provider {provider.id}"
        raise BadRequest(f"{unknown}: {error.message}") from None
    except faults.InUse as error:
        raise Conflict(f"update conflict: {error.message}", type=faults.IN_USE) from None
    return dated(call, _all(provider.generation + 1, wanted), tx.now if wanted else None)


def update(call: Call, tx: Tx) -> Reply:
    require_json(call)
    access.require(call, f"{_RULE}update")
    provider = of_path(call, tx)
    body = shapes.read(call, shapes.INVENTORY)
    refuse_other(provider, body["resource_provider_generation"])
    name, changed = call.params["resource_class"], inventory_of(body)
    said = f"Unable to update inventory for resource provider {provider.id}"
    inventories.refuse_small(provider.id, {name: changed}, may_be_none=call.version >= 26, said=said)
    inventories.change(tx, provider.id, name, changed)
    return dated(call, _one(provider.generation + 1, changed), tx.now)


def remove(call: Call, tx: Tx) -> Reply:
    access.require(call, f"{_RULE}delete")
    provider = of_path(call, tx)
    name = call.params["resource_class"]
    try:
        inventories.remove(tx, provider.id, name)
    except faults.InUse as error:
        message = f"Unable to delete inventory of class {name}: {error.message}"
        raise Conflict(message, type=faults.CONCURRENT) from None
    except NotFound as error:
        raise NotFound(f"No inventory of class {name} found for delete: {error.message}") from None
    return Reply(204)


def remove_all(call: Call, tx: Tx) -> Reply:
    access.require(call, f"{_RULE}delete")
    inventories.replace(tx, of_path(call, tx).id, {})
    return Reply(204)


def usages(call: Call, tx: Tx) -> Reply:
    require_accept(call)
    access.require(call, "resource_providers:usages")
    provider = of_path(call, tx, _MISSING.strip())
    used = {name: each.used for name, each in inventories.of(tx, provider.id).items()}
    return dated(call, {"resource_provider_generation": provider.generation, "usages": used}, tx.now)


def inventory_of(body: Mapping[str, Any]) -> Inventory:
    """Of a body that has its shape."""
    given = {name: body[name] for name in asdict(Inventory(1)) if name in body}
    ratio = float(given.pop("allocation_ratio", 1.0))
    return Inventory(**{name: int(value) for name, value in given.items()}, allocation_ratio=ratio)


def refuse_other(provider: Provider, generation: int) -> None:
    """Raises: Conflict."""
    if provider.generation != generation:
        raise Conflict("resource provider generation conflict", type=faults.CONCURRENT)


def _one(generation: int, inventory: Inventory) -> dict[str, Any]:
    return {**asdict(inventory), **({"resource_provider_generation": generation} if generation else {})}


def _all(generation: int, found: Mapping[str, Inventory]) -> dict[str, Any]:
    shown = {name: asdict(each) for name, each in found.items()}
    return {"resource_provider_generation": generation, "inventories": shown}

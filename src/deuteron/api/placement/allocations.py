"""Allocations of consumers, what they add up to, and both changed together with inventories.

Source: placement/handlers/allocation.py, usage.py, reshaper.py.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from deuteron.api.call import Call, Reply
from deuteron.api.placement import access, shapes
from deuteron.api.placement.answers import dated, require_accept, require_json
from deuteron.api.placement.inventories import inventory_of
from deuteron.api.placement.providers import of_path
from deuteron.model.errors import BadRequest, Conflict, NotFound
from deuteron.rules.placement import allocations, faults, inventories, providers, usages
from deuteron.rules.placement.allocations import NOBODY, Wanted
from deuteron.store.database import Tx


def of_consumer(call: Call, tx: Tx) -> Reply:
    require_accept(call)
    access.require(call, "allocations:list")
    consumer_id = call.params["id"]
    taken, changed = allocations.of_consumer(tx, consumer_id)
    shown = {
        provider_id: {"resources": resources, "generation": providers.find(tx, provider_id).generation}
        for provider_id, resources in taken.items()
    }
    body: dict[str, Any] = {"allocations": shown}
    found = allocations.consumer(tx, consumer_id) if taken else None
    if found is not None and call.version >= 12:
        body |= {"project_id": found.project_id, "user_id": found.user_id}
        if call.version >= 28:
            body["consumer_generation"] = found.generation
        if call.version >= 38:
            body["consumer_type"] = found.type or allocations.UNKNOWN
    return dated(call, body, changed or tx.now)


def of_provider(call: Call, tx: Tx) -> Reply:
    require_accept(call)
    access.require(call, "resource_providers:allocations:list")
    provider = of_path(call, tx, "Resource provider '{}' not found")
    taken, changed = allocations.on_provider(tx, provider.id)
    shown: dict[str, dict[str, Any]] = {id: {"resources": resources} for id, resources in taken.items()}
    if call.version >= 28:
        for id, generation in allocations.generations(tx, provider.id).items():
            shown[id]["consumer_generation"] = generation
    body = {"allocations": shown, "resource_provider_generation": provider.generation}
    return dated(call, body, changed or tx.now)


def put(call: Call, tx: Tx) -> Reply:
    require_json(call)
    access.require(call, "allocations:update")
    if not shapes.is_like_uuid(call.params["id"]):
        raise BadRequest(f"Malformed consumer_uuid: {call.params['id'][:80]}")
    consumer_id = str(uuid.UUID(call.params["id"]))
    body = shapes.read(call, shapes.allocations(call.version))
    among = f"Unable to allocate inventory for consumer {consumer_id}: "
    allocations.replace(tx, {consumer_id: _wanted(call, body)}, among=among)
    return Reply(204)


def post(call: Call, tx: Tx) -> Reply:
    require_json(call)
    access.require(call, "allocations:manage")
    body = shapes.read(call, shapes.all_allocations(call.version))
    _replace_all(call, tx, body, "Unable to allocate inventory ")
    return Reply(204)


def remove(call: Call, tx: Tx) -> Reply:
    access.require(call, "allocations:delete")
    allocations.remove(tx, call.params["id"])
    return Reply(204)


def _replace_all(call: Call, tx: Tx, body: Mapping[str, Any], among: str) -> None:
    for consumer_id in body:
        if not shapes.is_like_uuid(consumer_id):
            raise BadRequest(f"Malformed consumer_uuid: {consumer_id[:80]}")
    wanted = {str(uuid.UUID(id)): _wanted(call, each) for id, each in body.items()}
    allocations.replace(tx, wanted, among=among)


def _wanted(call: Call, body: Mapping[str, Any]) -> Wanted:
    said = body["allocations"]
    taken: dict[str, dict[str, int]] = {}
    if call.version < 12 and isinstance(said, list):
        for each in said:
            taken[each["resource_provider"]["uuid"]] = each["resources"]
    else:
        taken = {provider_id: each["resources"] for provider_id, each in said.items()}
    return Wanted(
        {provider: {name: int(amount) for name, amount in of.items()} for provider, of in taken.items()},
        body.get("project_id", NOBODY),
        body.get("user_id", NOBODY),
        body.get("consumer_type"),
        body.get("consumer_generation"),
        is_checked=call.version >= 28,
    )


# --- sums -------------------------------------------------------------------------------------------------------------


def total_usages(call: Call, tx: Tx) -> Reply:
    require_accept(call)
    access.require(call, "usages", call.get("project_id"))
    query = shapes.read_query(call, shapes.usages_query(call.version))
    project_id, user_id = query["project_id"], query.get("user_id")
    used: Mapping[str, Any]
    if call.version >= 38:
        used = usages.by_type(tx, project_id, user_id, query.get("consumer_type"))
    else:
        used = usages.of_project(tx, project_id, user_id)
    return dated(call, {"usages": used}, tx.now)


# --- both at once -----------------------------------------------------------------------------------------------------


def reshape(call: Call, tx: Tx) -> Reply:
    """Inventories and allocations change together: what has moved from one provider to another stays taken."""
    require_json(call)
    access.require(call, "reshaper:reshape")
    body = shapes.read(call, shapes.reshaper(call.version))
    wanted = {}
    for provider_id, said in body["inventories"].items():
        provider = providers.look(tx, provider_id)
        if provider is None:
            raise BadRequest(
                f"Resource provider {provider_id} in inventories not found: No resource provider with uuid "
                f"{provider_id} found",
                type=faults.NO_PROVIDER,
            )
        given = said["resource_provider_generation"]
        if given != provider.generation:
            raise Conflict(
                f"resource provider generation conflict for provider {provider_id}: actual: {provider.generation}, "
                f"given: {given}",
                type=faults.CONCURRENT,
            )
        wanted[provider_id] = {name: inventory_of(each) for name, each in said["inventories"].items()}
    try:
        for provider_id, inventory in wanted.items():
            if inventory:
                # What shall go may be taken until the allocations are others.
                had = {name: kept.inventory for name, kept in inventories.of(tx, provider_id).items()}
                inventories.replace(tx, provider_id, {**had, **inventory})
        _replace_all(call, tx, body["allocations"], "malformed reshaper data: ")
        for provider_id, inventory in wanted.items():
            inventories.replace(tx, provider_id, inventory)
    except NotFound as error:
        raise BadRequest(f"malformed reshaper data: {error.message}") from None
    except faults.InUse as error:
        raise Conflict(f"update conflict: {error.message}", type=faults.IN_USE) from None
    return Reply(204)

"""Resource providers, their traits and aggregates.

Source: placement/handlers/resource_provider.py, aggregate.py, trait.py.
"""

from __future__ import annotations

import uuid
from typing import Any, Final

from deuteron.api.call import Call, Reply
from deuteron.api.placement import access, queries, shapes
from deuteron.api.placement.answers import PREFIX, dated, location, newest, require_accept, require_json
from deuteron.model.errors import BadRequest, Conflict, NotFound
from deuteron.rules.placement import faults, names, providers, search
from deuteron.rules.placement.providers import Provider
from deuteron.store.database import Tx

_AGGREGATE_LENGTH: Final = 36


def list_all(call: Call, tx: Tx) -> Reply:
    require_accept(call)
    access.require(call, "resource_providers:list")
    query = shapes.read_query(call, shapes.providers_query(call.version))
    member_of = queries.aggregates(call, "member_of")
    required = queries.traits(call, "required")
    wanted = search.Filters(
        name=query.get("name"),
        id=_plain_id(query.get("uuid")),
        in_tree=_plain_id(query.get("in_tree")),
        resources=queries.resources(query["resources"]) if "resources" in query else {},
        required=required[0],
        forbidden=required[1],
        member_of=tuple(frozenset(map(kept_aggregate, each)) for each in member_of[0]),
        not_member_of=frozenset(map(kept_aggregate, member_of[1])),
    )
    try:
        found = search.matching(tx, wanted)
    except NotFound as error:
        raise BadRequest(f"Invalid resource class in resources parameter: {error.message}") from None
    except BadRequest as error:
        raise BadRequest(f'Invalid trait(s) in "required" parameter: {error.message}') from None
    changed = newest(tx, (each.updated_at or each.created_at for each in found))
    return dated(call, {"resource_providers": [shown(call, each) for each in found]}, changed)


def create(call: Call, tx: Tx) -> Reply:
    require_json(call)
    access.require(call, "resource_providers:create")
    body = shapes.read(call, shapes.new_provider(call.version))
    provider_id = kept_id(body["uuid"]) if body.get("uuid") else str(uuid.uuid4())
    made = providers.create(tx, provider_id, body["name"], _plain_id(body.get("parent_provider_uuid")))
    where = {"location": location(call, f"/resource_providers/{made.id}")}
    if call.version < 20:
        return Reply(201, None, where)
    return dated(call, shown(call, made), made.created_at, location=where["location"])


def show(call: Call, tx: Tx) -> Reply:
    require_accept(call)
    access.require(call, "resource_providers:show")
    found = of_path(call, tx)
    return dated(call, shown(call, found), found.updated_at or found.created_at)


def update(call: Call, tx: Tx) -> Reply:
    require_json(call)
    access.require(call, "resource_providers:update")
    found = of_path(call, tx)
    body = shapes.read(call, shapes.provider(call.version))
    parent = _plain_id(body["parent_provider_uuid"]) if "parent_provider_uuid" in body else found.parent_id
    changed = providers.change(tx, found, body["name"], parent, may_move=call.version >= 37)
    return dated(call, shown(call, changed), changed.updated_at)


def remove(call: Call, tx: Tx) -> Reply:
    access.require(call, "resource_providers:delete")
    providers.remove(tx, call.params["id"])
    return Reply(204)


def shown(call: Call, provider: Provider) -> dict[str, Any]:
    url = f"{PREFIX}/resource_providers/{provider.id}"
    links = [{"rel": "self", "href": url}]
    for since, name in ((0, "inventories"), (0, "usages"), (1, "aggregates"), (6, "traits"), (11, "allocations")):
        if call.version >= since:
            links.append({"rel": name, "href": f"{url}/{name}"})
    body: dict[str, Any] = {
        "uuid": provider.id, "name": provider.name, "generation": provider.generation, "links": links,
    }  # fmt: skip
    if call.version >= 14:
        body |= {"parent_provider_uuid": provider.parent_id, "root_provider_uuid": provider.root_id}
    return body


def of_path(call: Call, tx: Tx, instead: str | None = None) -> Provider:
    """The provider that the path names. Raises: NotFound, with `instead` before its own reason."""
    try:
        return providers.find(tx, call.params["id"])
    except NotFound as error:
        if instead is None:
            raise
        raise NotFound(f"{instead.format(call.params['id'])}: {error.message}") from None


def refuse_older(provider: Provider, generation: int) -> None:
    """Raises: Conflict."""
    if provider.generation != generation:
        raise Conflict(
            "Resource provider's generation already changed. Please update the generation and try again.",
            type=faults.CONCURRENT,
        )


# --- aggregates -------------------------------------------------------------------------------------------------------


def list_aggregates(call: Call, tx: Tx) -> Reply:
    require_accept(call)
    access.require(call, "resource_providers:aggregates:list")
    found = of_path(call, tx)
    return _aggregates(call, tx, found.generation, providers.aggregates_of(tx, found.id))


def set_aggregates(call: Call, tx: Tx) -> Reply:
    require_json(call)
    access.require(call, "resource_providers:aggregates:update")
    found = of_path(call, tx)
    body = shapes.read(call, shapes.aggregates(call.version))
    generation, wanted = found.generation, body
    if call.version >= 19:
        refuse_older(found, body["resource_provider_generation"])
        wanted, generation = body["aggregates"], generation + 1
    providers.set_aggregates(tx, found.id, [kept_aggregate(each) for each in wanted])
    if call.version >= 19:
        providers.bump(tx, found.id)
    return _aggregates(call, tx, generation, wanted)


def _aggregates(call: Call, tx: Tx, generation: int, ids: list[str]) -> Reply:
    body: dict[str, Any] = {"aggregates": ids}
    if call.version >= 19:
        body["resource_provider_generation"] = generation
    return dated(call, body, tx.now)


# --- traits -----------------------------------------------------------------------------------------------------------


def list_traits(call: Call, tx: Tx) -> Reply:
    require_accept(call)
    access.require(call, "resource_providers:traits:list")
    found = of_path(call, tx, "No resource provider with uuid {} found")
    return _traits(call, tx, found.generation, providers.traits_of(tx, found.id))


def set_traits(call: Call, tx: Tx) -> Reply:
    require_json(call)
    access.require(call, "resource_providers:traits:update")
    body = shapes.read(call, shapes.TRAITS)
    found = of_path(call, tx)
    refuse_older(found, body["resource_provider_generation"])
    if missing := names.unknown_traits(tx, body["traits"]):
        raise BadRequest(f"No such trait {', '.join(missing)}")
    is_new = providers.set_traits(tx, found.id, body["traits"])
    return _traits(call, tx, found.generation + is_new, sorted({*body["traits"]}))


def clear_traits(call: Call, tx: Tx) -> Reply:
    access.require(call, "resource_providers:traits:delete")
    providers.set_traits(tx, of_path(call, tx).id, ())
    return Reply(204)


def _traits(call: Call, tx: Tx, generation: int, found: list[str]) -> Reply:
    changed = newest(tx, (names.trait_made(tx, name) for name in found))
    return dated(call, {"traits": found, "resource_provider_generation": generation}, changed)


def kept_id(text: str) -> str:
    """A UUID in any spelling, as ids are kept."""
    return str(uuid.UUID(text))


def kept_aggregate(text: str) -> str:
    """The UUID of an aggregate: kept, shown and found as it is spelled, unless Placement's column is too short.

    Source: placement/handlers/aggregate.py; placement/db/sqlalchemy/models.py PlacementAggregate.
    """
    return text if len(text) <= _AGGREGATE_LENGTH else kept_id(text)


def _plain_id(text: str | None) -> str | None:
    return None if text is None else kept_id(text)

"""What the catalog is made of: regions, services, endpoints. And credentials, kept for other systems."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Row, delete, select, update

from deuteron.api.call import Call, Reply
from deuteron.api.identity.bodies import (
    filtered,
    find,
    new_id,
    page,
    read_create,
    read_update,
    refuse_more,
    refuse_unknown_queries,
    shown,
)
from deuteron.api.identity.policies import about_credential, require
from deuteron.model.errors import BadRequest, Conflict, Forbidden
from deuteron.model.identity import CREDENTIAL, ENDPOINT, REGION, SERVICE
from deuteron.store.database import Tx
from deuteron.store.identity_tables import credentials, endpoints, regions, services, users


def list_regions(call: Call, tx: Tx) -> Reply:
    require(call, "list_regions")
    refuse_unknown_queries(call, ("parent_region_id",))
    rows, truncated = filtered(call, tx, REGION, regions)
    return page(call, "regions", [shown(call, REGION, row) for row in rows], truncated)


def show_region(call: Call, tx: Tx) -> Reply:
    require(call, "get_region")
    return Reply(200, {"region": shown(call, REGION, find(tx, regions, "region", call.params["id"]))})


def create_region(call: Call, tx: Tx) -> Reply:
    """POST, or PUT with the id in the path."""
    require(call, "create_region")
    body = dict(call.wrapped("region"))
    named = call.params.get("id")
    if named is not None and body.setdefault("id", named) != named:
        raise BadRequest("The id in the body differs from the one in the address.", type="ValidationError")
    given = body.pop("id", None)
    values = read_create(REGION, body)
    id = given or new_id()
    if not isinstance(id, str) or len(id) > 255:
        raise BadRequest(
            "Invalid input for field 'id': a text of 1 to 255 characters is expected", type="ValidationError"
        )
    if tx.first(select(regions.c.id).where(regions.c.id == id)) is not None:
        raise Conflict(f"Conflict occurred attempting to store region - Duplicate ID, {id}.")
    if values["parent_region_id"] is not None:
        find(tx, regions, "region", values["parent_region_id"])
    tx.insert(regions, {**values, "id": id})
    tx.changed("region", id)
    return Reply(201, {"region": shown(call, REGION, find(tx, regions, "region", id))})


def update_region(call: Call, tx: Tx) -> Reply:
    require(call, "update_region")
    row = find(tx, regions, "region", call.params["id"])
    values = read_update(REGION, call.wrapped("region"), row)
    if values.get("parent_region_id") is not None:
        find(tx, regions, "region", values["parent_region_id"])
    if values:
        tx.execute(update(regions).where(regions.c.id == row.id).values(values))
        tx.changed("region", row.id)
    return Reply(200, {"region": shown(call, REGION, find(tx, regions, "region", row.id))})


def delete_region(call: Call, tx: Tx) -> Reply:
    require(call, "delete_region")
    row = find(tx, regions, "region", call.params["id"])
    tree = [row.id]
    for id in tree:
        tree += [below for below in tx.scalars(select(regions.c.id).where(regions.c.parent_region_id == id))
                 if below not in tree]  # fmt: skip
    if tx.first(select(endpoints.c.id).where(endpoints.c.region_id.in_(tree))) is not None:
        raise Forbidden(f"Unable to delete region {row.id} because it or its child regions have associated endpoints.")
    tx.execute(delete(regions).where(regions.c.id.in_(tree)))
    tx.changed("region", row.id, deleted=True)
    return Reply(204)


def list_services(call: Call, tx: Tx) -> Reply:
    require(call, "list_services")
    rows, truncated = filtered(call, tx, SERVICE, services)
    return page(call, "services", [shown(call, SERVICE, row) for row in rows], truncated)


def show_service(call: Call, tx: Tx) -> Reply:
    require(call, "get_service")
    return Reply(200, {"service": shown(call, SERVICE, find(tx, services, "service", call.params["id"]))})


def create_service(call: Call, tx: Tx) -> Reply:
    require(call, "create_service")
    values = read_create(SERVICE, call.wrapped("service"))
    id = new_id()
    tx.insert(services, {**values, "id": id})
    tx.changed("service", id)
    return Reply(201, {"service": shown(call, SERVICE, find(tx, services, "service", id))})


def update_service(call: Call, tx: Tx) -> Reply:
    require(call, "update_service")
    row = find(tx, services, "service", call.params["id"])
    values = read_update(SERVICE, call.wrapped("service"), row)
    if values:
        tx.execute(update(services).where(services.c.id == row.id).values(values))
        tx.changed("service", row.id)
    return Reply(200, {"service": shown(call, SERVICE, find(tx, services, "service", row.id))})


def delete_service(call: Call, tx: Tx) -> Reply:
    require(call, "delete_service")
    row = find(tx, services, "service", call.params["id"])
    tx.execute(delete(endpoints).where(endpoints.c.service_id == row.id))
    tx.execute(delete(services).where(services.c.id == row.id))
    tx.changed("service", row.id, deleted=True)
    return Reply(204)


def list_endpoints(call: Call, tx: Tx) -> Reply:
    require(call, "list_endpoints")
    rows, truncated = filtered(call, tx, ENDPOINT, endpoints)
    return page(call, "endpoints", [_endpoint(call, row) for row in rows], truncated)


def show_endpoint(call: Call, tx: Tx) -> Reply:
    require(call, "get_endpoint")
    return Reply(200, {"endpoint": _endpoint(call, find(tx, endpoints, "endpoint", call.params["id"]))})


def create_endpoint(call: Call, tx: Tx) -> Reply:
    require(call, "create_endpoint")
    values = read_create(ENDPOINT, _with_region(tx, call.wrapped("endpoint")))
    _check_references(tx, values)
    id = new_id()
    tx.insert(endpoints, {**values, "id": id})
    tx.changed("endpoint", id)
    return Reply(201, {"endpoint": _endpoint(call, find(tx, endpoints, "endpoint", id))})


def update_endpoint(call: Call, tx: Tx) -> Reply:
    require(call, "update_endpoint")
    row = find(tx, endpoints, "endpoint", call.params["id"])
    values = read_update(ENDPOINT, _with_region(tx, call.wrapped("endpoint")), row)
    _check_references(tx, values)
    if values:
        tx.execute(update(endpoints).where(endpoints.c.id == row.id).values(values))
        tx.changed("endpoint", row.id)
    return Reply(200, {"endpoint": _endpoint(call, find(tx, endpoints, "endpoint", row.id))})


def delete_endpoint(call: Call, tx: Tx) -> Reply:
    require(call, "delete_endpoint")
    row = find(tx, endpoints, "endpoint", call.params["id"])
    tx.execute(delete(endpoints).where(endpoints.c.id == row.id))
    tx.changed("endpoint", row.id, deleted=True)
    return Reply(204)


def list_credentials(call: Call, tx: Tx) -> Reply:
    """All for an administrator; everybody else sees their own, and an application credential none."""
    require(call, "list_credentials", about_credential(call.caller.user_id))
    if _is_delegated(call, tx):
        return page(call, "credentials", [])
    sees_all = call.policy.check(call.caller, "identity:get_credential", about_credential(None))
    where = [] if sees_all else [credentials.c.user_id == call.caller.user_id]
    rows, truncated = filtered(call, tx, CREDENTIAL, credentials, *where)
    return page(call, "credentials", [shown(call, CREDENTIAL, row) for row in rows], truncated)


def show_credential(call: Call, tx: Tx) -> Reply:
    row = _credential(call, tx, "get_credential")
    return Reply(200, {"credential": shown(call, CREDENTIAL, row)})


def create_credential(call: Call, tx: Tx) -> Reply:
    body = dict(call.wrapped("credential"))
    body.setdefault("user_id", call.caller.user_id)
    values = read_create(CREDENTIAL, body)
    require(call, "create_credential", about_credential(values["user_id"]))
    _refuse_delegated(call, tx)
    find(tx, users, "user", values["user_id"])
    _refuse_more(call, tx, values["user_id"])
    id = new_id()
    tx.insert(credentials, {**values, "id": id})
    return Reply(201, {"credential": shown(call, CREDENTIAL, find(tx, credentials, "credential", id))})


def update_credential(call: Call, tx: Tx) -> Reply:
    row = _credential(call, tx, "update_credential")
    values = read_update(CREDENTIAL, call.wrapped("credential"), row)
    if "user_id" in values:
        require(call, "update_credential", about_credential(values["user_id"]))
        find(tx, users, "user", values["user_id"])
        if values["user_id"] != row.user_id:
            _refuse_more(call, tx, values["user_id"])
    if values:
        tx.execute(update(credentials).where(credentials.c.id == row.id).values(values))
    return Reply(200, {"credential": shown(call, CREDENTIAL, find(tx, credentials, "credential", row.id))})


def delete_credential(call: Call, tx: Tx) -> Reply:
    row = _credential(call, tx, "delete_credential")
    tx.execute(delete(credentials).where(credentials.c.id == row.id))
    return Reply(204)


def _refuse_more(call: Call, tx: Tx, user_id: str) -> None:
    limit = call.settings.operator.identity.credential_user_limit
    refuse_more(tx, credentials, user_id, limit, "credentials")


def _credential(call: Call, tx: Tx, action: str) -> Row[Any]:
    """The credential of the path, for a caller that may do `action`.

    Raises: Forbidden to everybody else, also when there is none: a refusal tells nobody which ids exist; NotFound.
    """
    owner = tx.scalar(select(credentials.c.user_id).where(credentials.c.id == call.params["id"]))
    require(call, action, about_credential(owner))
    _refuse_delegated(call, tx)
    return find(tx, credentials, "credential", call.params["id"])


def _is_delegated(call: Call, tx: Tx) -> bool:
    return call.parts.tokens.prove(tx, call.caller.token).payload.is_delegated


def _refuse_delegated(call: Call, tx: Tx) -> None:
    """Raises: Forbidden for a token of an application credential: it would make, or learn, more than it was given."""
    if _is_delegated(call, tx):
        raise Forbidden(
            "You are not authorized to perform the requested action: "
            "Delegated tokens cannot access credentials directly.",
            type="Forbidden",
        )


def _endpoint(call: Call, row: Row[tuple[object, ...]]) -> dict[str, object]:
    body = shown(call, ENDPOINT, row)
    return {**body, "region": body["region_id"]}


def _with_region(tx: Tx, given: dict[str, Any]) -> dict[str, Any]:
    """The body with `region`, the old name of `region_id`, taken for it; by the old name a region is made."""
    body = dict(given)
    old = body.pop("region", None)
    if old is not None and "region_id" not in body:
        body["region_id"] = old
        if isinstance(old, str) and tx.first(select(regions.c.id).where(regions.c.id == old)) is None:
            tx.insert(regions, {"id": old, "description": "", "parent_region_id": None, "extra": {}})
    return body


def _check_references(tx: Tx, values: dict[str, object]) -> None:
    for name, table, kind in (("service_id", services, "service"), ("region_id", regions, "region")):
        id = values.get(name)
        if id is not None and tx.first(select(table.c.id).where(table.c.id == id)) is None:
            raise BadRequest(f"Could not find {kind}: {id}.", type="ValidationError")

"""The requests about what the catalog is made of: regions, services, endpoints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from deuteron.api.call import Call, Reply
from deuteron.api.identity.bodies import page, read_create, read_update, shown
from deuteron.api.identity.policies import require
from deuteron.api.identity.queries import asked, refuse_unknown
from deuteron.model.errors import BadRequest
from deuteron.model.identity import ENDPOINT, REGION, SERVICE
from deuteron.rules.identity import endpoints
from deuteron.store.database import Tx


def list_regions(call: Call, tx: Tx) -> Reply:
    require(call, "list_regions")
    refuse_unknown(call, ("parent_region_id",))
    rows, truncated = endpoints.listed_of(tx, REGION, asked(call))
    return page(call, "regions", [shown(call, REGION, row) for row in rows], truncated)


def show_region(call: Call, tx: Tx) -> Reply:
    require(call, "get_region")
    return Reply(200, {"region": shown(call, REGION, endpoints.find_region(tx, call.params["id"]))})


def create_region(call: Call, tx: Tx) -> Reply:
    """POST, or PUT with the id in the path."""
    require(call, "create_region")
    body = dict(call.wrapped("region"))
    named = call.params.get("id")
    if named is not None and body.setdefault("id", named) != named:
        raise BadRequest("The id in the body differs from the one in the address.", type="ValidationError")
    given_id = body.pop("id", None)
    row = endpoints.create_region(tx, read_create(REGION, body), given_id)
    return Reply(201, {"region": shown(call, REGION, row)})


def update_region(call: Call, tx: Tx) -> Reply:
    require(call, "update_region")
    row = endpoints.find_region(tx, call.params["id"])
    row = endpoints.change_region(tx, row, read_update(REGION, call.wrapped("region"), row))
    return Reply(200, {"region": shown(call, REGION, row)})


def delete_region(call: Call, tx: Tx) -> Reply:
    require(call, "delete_region")
    endpoints.remove_region(tx, endpoints.find_region(tx, call.params["id"]))
    return Reply(204)


def list_services(call: Call, tx: Tx) -> Reply:
    require(call, "list_services")
    rows, truncated = endpoints.listed_of(tx, SERVICE, asked(call))
    return page(call, "services", [shown(call, SERVICE, row) for row in rows], truncated)


def show_service(call: Call, tx: Tx) -> Reply:
    require(call, "get_service")
    return Reply(200, {"service": shown(call, SERVICE, endpoints.find_service(tx, call.params["id"]))})


def create_service(call: Call, tx: Tx) -> Reply:
    require(call, "create_service")
    row = endpoints.create_service(tx, read_create(SERVICE, call.wrapped("service")))
    return Reply(201, {"service": shown(call, SERVICE, row)})


def update_service(call: Call, tx: Tx) -> Reply:
    require(call, "update_service")
    row = endpoints.find_service(tx, call.params["id"])
    row = endpoints.change_service(tx, row, read_update(SERVICE, call.wrapped("service"), row))
    return Reply(200, {"service": shown(call, SERVICE, row)})


def delete_service(call: Call, tx: Tx) -> Reply:
    require(call, "delete_service")
    endpoints.remove_service(tx, endpoints.find_service(tx, call.params["id"]))
    return Reply(204)


def list_endpoints(call: Call, tx: Tx) -> Reply:
    require(call, "list_endpoints")
    rows, truncated = endpoints.listed_of(tx, ENDPOINT, asked(call))
    return page(call, "endpoints", [endpoint_shown(call, row) for row in rows], truncated)


def show_endpoint(call: Call, tx: Tx) -> Reply:
    require(call, "get_endpoint")
    return Reply(200, {"endpoint": endpoint_shown(call, endpoints.find_endpoint(tx, call.params["id"]))})


def create_endpoint(call: Call, tx: Tx) -> Reply:
    require(call, "create_endpoint")
    values = read_create(ENDPOINT, _with_region(tx, call.wrapped("endpoint")))
    return Reply(201, {"endpoint": endpoint_shown(call, endpoints.create_endpoint(tx, values))})


def update_endpoint(call: Call, tx: Tx) -> Reply:
    require(call, "update_endpoint")
    row = endpoints.find_endpoint(tx, call.params["id"])
    values = read_update(ENDPOINT, _with_region(tx, call.wrapped("endpoint")), row)
    return Reply(200, {"endpoint": endpoint_shown(call, endpoints.change_endpoint(tx, row, values))})


def delete_endpoint(call: Call, tx: Tx) -> Reply:
    require(call, "delete_endpoint")
    endpoints.remove_endpoint(tx, endpoints.find_endpoint(tx, call.params["id"]))
    return Reply(204)


def endpoint_shown(call: Call, row: Mapping[str, object]) -> dict[str, Any]:
    body = shown(call, ENDPOINT, row)
    return {**body, "region": body["region_id"]}


def _with_region(tx: Tx, given: dict[str, Any]) -> dict[str, Any]:
    """The body with `region`, the old name of `region_id`, taken for it; by the old name a region is made."""
    body = dict(given)
    old = body.pop("region", None)
    if old is not None and "region_id" not in body:
        body["region_id"] = old
        if isinstance(old, str):
            endpoints.make_region(tx, old)
    return body

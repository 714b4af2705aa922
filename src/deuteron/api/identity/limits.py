"""The requests about unified limits. Several are made at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from deuteron.api.call import Call, Reply
from deuteron.api.identity.bodies import page, read_create, read_update, shown
from deuteron.api.identity.policies import require
from deuteron.api.identity.queries import asked
from deuteron.model.errors import BadRequest
from deuteron.model.identity_limits import LIMIT, MAX_LIMITS, REGISTERED_LIMIT
from deuteron.model.identity_rows import LimitRow
from deuteron.model.resource import Resource
from deuteron.rules.identity import limits, targets
from deuteron.store.database import Tx


def list_registered(call: Call, tx: Tx) -> Reply:
    require(call, "list_registered_limits")
    rows, truncated = limits.listed_registered(tx, asked(call))
    return page(call, "registered_limits", [shown(call, REGISTERED_LIMIT, row) for row in rows], truncated)


def create_registered(call: Call, tx: Tx) -> Reply:
    require(call, "create_registered_limits")
    made = limits.create_registered(tx, _read_all(call, REGISTERED_LIMIT))
    return Reply(201, {"registered_limits": [shown(call, REGISTERED_LIMIT, row) for row in made]})


def show_registered(call: Call, tx: Tx) -> Reply:
    require(call, "get_registered_limit")
    row = limits.find_registered(tx, call.params["id"])
    return Reply(200, {"registered_limit": shown(call, REGISTERED_LIMIT, row)})


def update_registered(call: Call, tx: Tx) -> Reply:
    require(call, "update_registered_limit")
    row = limits.find_registered(tx, call.params["id"])
    row = limits.change_registered(tx, row, _read_change(call, REGISTERED_LIMIT, row))
    return Reply(200, {"registered_limit": shown(call, REGISTERED_LIMIT, row)})


def delete_registered(call: Call, tx: Tx) -> Reply:
    require(call, "delete_registered_limit")
    limits.remove_registered(tx, limits.find_registered(tx, call.params["id"]))
    return Reply(204)


def list_limits(call: Call, tx: Tx) -> Reply:
    """All for administrators and services; of a domain with a token of it; else of one's own project."""
    require(call, "list_limits")
    caller = call.caller
    sees_all = caller.system_scope is not None or (
        caller.domain_id is None and bool({"admin", "service"} & caller.roles)
    )
    rows, truncated = limits.listed_limits(
        tx,
        asked(call),
        of_domain=None if sees_all else caller.domain_id,
        of_project=None if sees_all else caller.project_id or "",
    )
    return page(call, "limits", [shown(call, LIMIT, row) for row in rows], truncated)


def create_limits(call: Call, tx: Tx) -> Reply:
    require(call, "create_limits")
    made = limits.create_limits(tx, _model(call), _read_all(call, LIMIT))
    return Reply(201, {"limits": [shown(call, LIMIT, row) for row in made]})


def show_limit(call: Call, tx: Tx) -> Reply:
    require(call, "get_limit", _about(tx, limits.any_limit(tx, call.params["id"])))
    return Reply(200, {"limit": shown(call, LIMIT, limits.find_limit(tx, call.params["id"]))})


def update_limit(call: Call, tx: Tx) -> Reply:
    row = _changed(call, tx, "update_limit")
    row = limits.change_limit(tx, _model(call), row, _read_change(call, LIMIT, row))
    return Reply(200, {"limit": shown(call, LIMIT, row)})


def delete_limit(call: Call, tx: Tx) -> Reply:
    limits.remove_limit(tx, _changed(call, tx, "delete_limit"))
    return Reply(204)


def show_model(call: Call, tx: Tx) -> Reply:
    """GET /v3/limits/model."""
    require(call, "get_limit_model")
    name = _model(call)
    return Reply(200, {"model": {"name": name, "description": limits.MODELS[name]}})


def _changed(call: Call, tx: Tx, action: str) -> LimitRow:
    """The limit of the path. Raises: NotFound, to everybody, as in Keystone, which looks for it first; Forbidden."""
    row = limits.find_limit(tx, call.params["id"])
    require(call, action)
    return row


def _model(call: Call) -> str:
    return call.settings.operator.identity.unified_limit_enforcement_model


def _about(tx: Tx, row: LimitRow | None) -> dict[str, Any]:
    """The target of a rule about a limit: whose it is."""
    if row is None:
        return {}
    if row["project_id"] is None:
        return {"target.limit.domain.id": row["domain_id"], "target.limit.project_id": None}
    found = targets.domain_of(tx, "project", row["project_id"])
    domain = {} if found is None else {"target.limit.project.domain_id": found.domain_id}
    return {"target.limit.project_id": row["project_id"], **domain}


def _read_all(call: Call, resource: Resource[Any]) -> list[dict[str, Any]]:
    """The rows of a body of several. Raises: BadRequest."""
    body = call.json()
    given = body.get(resource.collection) if isinstance(body, dict) else None
    if not isinstance(given, list) or not 0 < len(given) <= MAX_LIMITS:
        raise BadRequest(
            f"Invalid input for field '{resource.collection}': a list of 1 to {MAX_LIMITS} is expected",
            type="ValidationError",
        )
    result = []
    for item in given:
        if not isinstance(item, dict):
            raise BadRequest(
                f"Invalid input for field '{resource.collection}': each is an object", type="ValidationError"
            )
        result.append(_known(read_create(resource, item)))
    return result


def _read_change(call: Call, resource: Resource[Any], row: Mapping[str, object]) -> dict[str, Any]:
    body = call.wrapped(resource.name)
    allowed = {each.name for each in resource.attributes if each.update}
    unknown = sorted(body.keys() - allowed)
    if unknown:
        raise BadRequest(
            f"Additional properties are not allowed ('{unknown[0]}' was unexpected)", type="ValidationError"
        )
    return read_update(resource, body, {**row, "extra": {}})


def _known(values: dict[str, Any]) -> dict[str, Any]:
    """Without what nobody knows. Raises: BadRequest when there is some."""
    for name in values.pop("extra"):
        raise BadRequest(f"Additional properties are not allowed ('{name}' was unexpected)", type="ValidationError")
    return values

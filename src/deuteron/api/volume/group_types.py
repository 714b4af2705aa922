"""The requests about group types and their specs."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import ColumnElement

from deuteron.api.call import Call, Reply
from deuteron.api.volume import access, bodies, lists
from deuteron.model.errors import BadRequest
from deuteron.model.volume import GROUP_TYPE
from deuteron.model.volume.groups import GROUP_SPECS
from deuteron.model.volume.rows import GroupTypeRow
from deuteron.rules.volume import group_types
from deuteron.rules.volume.faults import invalid
from deuteron.store.database import Tx
from deuteron.store.volume_tables import group_types as table

_RULE: Final = "group:group_types:"
_SPECS: Final = "group:group_types_specs:"
_FALSE: Final = ("false", "f", "0", "no", "n", "off")


def list_all(call: Call, tx: Tx) -> Reply:
    conditions: list[ColumnElement[bool]] = []
    seen = group_types.visible(call.caller)
    if seen is not None:
        conditions.append(seen)
    elif (call.get("is_public") or "true").lower() != "none":
        is_public = (call.get("is_public") or "true").lower() not in _FALSE
        conditions.append(table.c.is_public if is_public else ~table.c.is_public)
    rows, more = lists.page(call, tx, GROUP_TYPE, "group_types", conditions, known=(), links_name="group_type")
    return Reply(200, {"group_types": [_shown(call, row) for row in rows], **more})


def show(call: Call, tx: Tx) -> Reply:
    return Reply(200, {"group_type": _shown(call, _find(call, tx))})


def create(call: Call, tx: Tx) -> Reply:
    access.require(call, f"{_RULE}create")
    values = bodies.created(GROUP_TYPE, bodies.wrapped(call, "group_type"))
    values["name"] = values["name"].strip()
    return Reply(202, {"group_type": _shown(call, group_types.create(tx, values))})


def update(call: Call, tx: Tx) -> Reply:
    access.require(call, f"{_RULE}update")
    row = _find(call, tx)
    values = bodies.updated(GROUP_TYPE, bodies.wrapped(call, "group_type"))
    return Reply(200, {"group_type": _shown(call, group_types.update(tx, row, values))})


def remove(call: Call, tx: Tx) -> Reply:
    access.require(call, f"{_RULE}delete")
    group_types.remove(tx, _find(call, tx))
    return Reply(202)


def list_specs(call: Call, tx: Tx) -> Reply:
    access.require(call, f"{_SPECS}get_all")
    return Reply(200, {"group_specs": dict(_find(call, tx)["group_specs"])})


def create_specs(call: Call, tx: Tx) -> Reply:
    access.require(call, f"{_SPECS}create")
    row = _find(call, tx)
    given = bodies.value("group_specs", GROUP_SPECS, bodies.wrapped(call, "group_specs"))
    group_types.set_specs(tx, row, given)
    return Reply(202, {"group_specs": given})


def show_spec(call: Call, tx: Tx) -> Reply:
    access.require(call, f"{_SPECS}get")
    key = call.params["key"]
    return Reply(200, {key: group_types.require_spec(_find(call, tx), key)})


def update_spec(call: Call, tx: Tx) -> Reply:
    access.require(call, f"{_SPECS}update")
    row = _find(call, tx)
    given: dict[str, Any] = bodies.value("body", GROUP_SPECS, bodies.document(call))
    if len(given) != 1:
        raise invalid("body", given, "one spec is expected")
    if call.params["key"] not in given:
        raise BadRequest("Request body and URI mismatch", type="HTTPBadRequest")
    group_types.set_specs(tx, row, given)
    return Reply(200, given)


def remove_spec(call: Call, tx: Tx) -> Reply:
    access.require(call, f"{_SPECS}delete")
    group_types.remove_spec(tx, _find(call, tx), call.params["key"])
    return Reply(202)


def _find(call: Call, tx: Tx) -> GroupTypeRow:
    return group_types.find(tx, call.caller, call.params["id"])


def _shown(call: Call, row: Any) -> dict[str, Any]:
    names = ["id", "name", "description", "is_public"]
    if access.allowed(call, "group:access_group_types_specs"):
        names.append("group_specs")
    return {name: row[name] for name in names}

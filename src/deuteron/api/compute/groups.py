"""Server groups as requests ask for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from deuteron.api.call import Call, Reply
from deuteron.api.compute import access, paging, shapes
from deuteron.api.compute.bodies import Body, wrapped
from deuteron.model.codecs import quoted, whole_number
from deuteron.model.errors import BadRequest
from deuteron.rules.compute import groups
from deuteron.rules.compute.faults import invalid
from deuteron.rules.compute.groups import POLICIES, NewGroup
from deuteron.rules.compute.lifecycle import ServerRow
from deuteron.store import listing
from deuteron.store.compute_tables import server_groups
from deuteron.store.database import Tx
from deuteron.store.listing import Listing
from deuteron.store.query import Order

_WORDS: Final = replace(paging.WORDS, zero_is_silence=True)


def list_all(call: Call, tx: Tx) -> Reply:
    access.require(call, "os-server-groups:index")
    everyone = call.caller.is_admin and call.get("all_projects") is not None
    conditions = [] if everyone else [server_groups.c["project_id"] == call.caller.project_id]
    asked = replace(listing.read(call.query, _WORDS), marker=None, offset=whole_number(call.get("offset") or "0") or 0)
    found = listing.whole_rows(tx, Listing(server_groups, conditions, [Order("id")]), asked, _WORDS)
    return Reply(200, {"server_groups": _views(call, tx, found.rows)})


def show(call: Call, tx: Tx) -> Reply:
    return Reply(200, {"server_group": _views(call, tx, [_find(call, tx, "os-server-groups:show")])[0]})


def create(call: Call, tx: Tx) -> Reply:
    body = shapes.check(wrapped(call, "server_group"), shapes.GROUP, call.version)
    access.require(call, "os-server-groups:create")
    policy, rules = _policy(call, body)
    made = groups.create(tx, call.caller, NewGroup(body.name(), policy, rules))
    return Reply(200, {"server_group": _views(call, tx, [made])[0]})


def remove(call: Call, tx: Tx) -> Reply:
    groups.remove(tx, _find(call, tx, "os-server-groups:delete"))
    return Reply(204)


def _policy(call: Call, body: Body) -> tuple[str, dict[str, Any]]:
    """The policy that a body asks for, and its rules. Raises: BadRequest."""
    if call.version < 64:
        given = body.raw["policies"]
        known = POLICIES[: 4 if call.version >= 15 else 2]
        if not isinstance(given, list) or len(given) != 1 or given[0] not in known:
            raise invalid("policies", given, f"{quoted(given)} is not one of {[list(POLICIES)]}")
        return given[0], {}
    policy = body.choice("policy", POLICIES, "")
    if not body.raw.get("rules"):
        return policy, {}
    inner = Body("rules", body.raw["rules"]).only(("max_server_per_host",))
    if policy != "anti-affinity":
        raise BadRequest("Only anti-affinity policy supports rules.", type="HTTPBadRequest")
    return policy, {"max_server_per_host": inner.integer("max_server_per_host", least=1, default=1)}


def _find(call: Call, tx: Tx, rule: str) -> ServerRow:
    row = groups.find(tx, call.caller, call.params["id"])
    access.require(call, rule, project_id=row.project_id)
    return row


def _views(call: Call, tx: Tx, rows: Sequence[ServerRow]) -> list[dict[str, Any]]:
    members = groups.members(tx, [row.id for row in rows])
    return [_view(call, row, members[row.id]) for row in rows]


def _view(call: Call, row: ServerRow, members: Sequence[str]) -> dict[str, Any]:
    shown: dict[str, Any] = {"id": row.id, "name": row.name, "members": members}
    if call.version >= 64:
        shown |= {"policy": row.policy, "rules": row.rules or {}}
    else:
        shown |= {"policies": [row.policy], "metadata": {}}
    if call.version >= 13:
        shown |= {"project_id": row.project_id, "user_id": row.user_id}
    return shown

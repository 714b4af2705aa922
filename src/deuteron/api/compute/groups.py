"""Server groups: servers placed together or apart."""

from __future__ import annotations

import uuid
from typing import Any

from sqlalchemy import delete, func, insert, select

from deuteron.api.call import Call, Reply
from deuteron.api.compute import access, paging, shapes
from deuteron.api.compute.bodies import Body, wrapped
from deuteron.model.codecs import quoted, whole_number
from deuteron.model.errors import BadRequest, Forbidden, NotFound
from deuteron.rules.compute import quotas
from deuteron.rules.compute.faults import invalid
from deuteron.rules.compute.lifecycle import ServerRow
from deuteron.store.compute_tables import server_groups, servers
from deuteron.store.database import Tx

_POLICIES = ("anti-affinity", "affinity", "soft-anti-affinity", "soft-affinity")


def list_all(call: Call, tx: Tx) -> Reply:
    access.require(call, "os-server-groups:index")
    statement = select(server_groups).order_by(server_groups.c["id"])
    if not (call.caller.is_admin and call.get("all_projects") is not None):
        statement = statement.where(server_groups.c["project_id"] == call.caller.project_id)
    offset, limit = whole_number(call.get("offset") or "0") or 0, paging.limit_of(call) or paging.MAX_LIMIT
    found = tx.all(statement.offset(offset).limit(limit))
    return Reply(200, {"server_groups": [_view(call, tx, row) for row in found]})


def show(call: Call, tx: Tx) -> Reply:
    return Reply(200, {"server_group": _view(call, tx, _find(call, tx, "os-server-groups:show"))})


def create(call: Call, tx: Tx) -> Reply:
    body = shapes.check(wrapped(call, "server_group"), shapes.GROUP, call.version)
    access.require(call, "os-server-groups:create")
    rules: dict[str, Any] = {}
    if call.version >= 64:
        policy = body.choice("policy", _POLICIES, "")
        if body.raw.get("rules"):
            inner = Body("rules", body.raw["rules"]).only(("max_server_per_host",))
            if policy != "anti-affinity":
                raise BadRequest("Only anti-affinity policy supports rules.", type="HTTPBadRequest")
            rules = {"max_server_per_host": inner.integer("max_server_per_host", least=1, default=1)}
    else:
        given = body.raw["policies"]
        if (
            not isinstance(given, list)
            or len(given) != 1
            or given[0] not in _POLICIES[: 4 if call.version >= 15 else 2]
        ):
            raise invalid("policies", given, f"{quoted(given)} is not one of {[list(_POLICIES)]}")
        policy = given[0]
    project_id = call.caller.project_id or ""
    used = tx.scalar(select(func.count()).select_from(server_groups).where(server_groups.c["project_id"] == project_id))
    hard = quotas.limit(tx, project_id, "server_groups")
    if 0 <= hard <= used:
        raise Forbidden("Quota exceeded, too many server groups.", type="ServerGroupLimitExceeded")
    row: dict[str, Any] = {
        "id": str(uuid.uuid4()),
        "name": body.name(),
        "policy": policy,
        "rules": rules,
        "project_id": project_id,
        "user_id": call.caller.user_id,
    }
    tx.execute(insert(server_groups), row)
    tx.changed("server_group", row["id"])
    found = tx.first(select(server_groups).where(server_groups.c["id"] == row["id"]))
    assert found is not None  # it was just inserted
    return Reply(200, {"server_group": _view(call, tx, found)})


def remove(call: Call, tx: Tx) -> Reply:
    row = _find(call, tx, "os-server-groups:delete")
    tx.execute(delete(server_groups).where(server_groups.c["id"] == row.id))
    tx.changed("server_group", row.id, deleted=True)
    return Reply(204)


def _find(call: Call, tx: Tx, rule: str) -> ServerRow:
    wanted = call.params["id"]
    row = tx.first(select(server_groups).where(server_groups.c["id"] == wanted))
    if row is None or (row.project_id != call.caller.project_id and not call.caller.is_admin):
        raise NotFound(f"Instance group {wanted} could not be found.", type="InstanceGroupNotFound")
    if not access.allowed(call, rule, project_id=row.project_id):
        raise access.disallowed(f"os_compute_api:{rule}")
    return row


def _view(call: Call, tx: Tx, row: ServerRow) -> dict[str, Any]:
    members = tx.scalars(select(servers.c["id"]).where(servers.c["group_id"] == row.id).order_by(servers.c["number"]))
    shown: dict[str, Any] = {"id": row.id, "name": row.name, "members": members}
    if call.version >= 64:
        shown |= {"policy": row.policy, "rules": row.rules or {}}
    else:
        shown |= {"policies": [row.policy], "metadata": {}}
    if call.version >= 13:
        shown |= {"project_id": row.project_id, "user_id": row.user_id}
    return shown

"""Roles, what they imply, and who has them where (assignments)."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Row, delete, select, update

from deuteron.api.call import Call, Reply
from deuteron.api.identity.bodies import (
    filtered,
    find,
    names_of,
    new_id,
    page,
    read_create,
    read_update,
    refuse_duplicate,
    root,
    shown,
)
from deuteron.api.identity.effective import SYSTEM, expand
from deuteron.api.identity.policies import require
from deuteron.api.identity.projects import find_domain
from deuteron.model.errors import BadRequest, NotFound
from deuteron.model.identity import ROLE
from deuteron.store.database import Tx
from deuteron.store.identity_tables import (
    assignments,
    groups,
    implied_roles,
    memberships,
    projects,
    roles,
    tokens_may_change,
    users,
)


def list_roles(call: Call, tx: Tx) -> Reply:
    """Without `domain_id` only roles of no domain, as Keystone."""
    require(call, "list_roles")
    where = [] if call.get("domain_id") is not None else [roles.c.domain_id.is_(None)]
    rows, truncated = filtered(call, tx, ROLE, roles, *where)
    return page(call, "roles", [shown(call, ROLE, row) for row in rows], truncated)


def show_role(call: Call, tx: Tx) -> Reply:
    require(call, "get_role")
    return Reply(200, {"role": shown(call, ROLE, find(tx, roles, "role", call.params["id"]))})


def create_role(call: Call, tx: Tx) -> Reply:
    require(call, "create_role")
    values = read_create(ROLE, call.wrapped("role"))
    if values["domain_id"] is not None:
        find_domain(tx, values["domain_id"])
    refuse_duplicate(tx, "role", values["name"], _same_place(values["domain_id"]), table=roles)
    id = new_id()
    tx.insert(roles, {**values, "id": id})
    tx.changed("role", id)
    return Reply(201, {"role": shown(call, ROLE, find(tx, roles, "role", id))})


def update_role(call: Call, tx: Tx) -> Reply:
    require(call, "update_role")
    row = find(tx, roles, "role", call.params["id"])
    values = read_update(ROLE, call.wrapped("role"), row)
    if "name" in values:
        refuse_duplicate(tx, "role", values["name"], _same_place(row.domain_id), table=roles, own_id=row.id)
    if values:
        tx.execute(update(roles).where(roles.c.id == row.id).values(values))
        tokens_may_change(tx)
        tx.changed("role", row.id)
    return Reply(200, {"role": shown(call, ROLE, find(tx, roles, "role", row.id))})


def delete_role(call: Call, tx: Tx) -> Reply:
    require(call, "delete_role")
    row = find(tx, roles, "role", call.params["id"])
    tx.execute(delete(assignments).where(assignments.c.role_id == row.id))
    tx.execute(
        delete(implied_roles).where(
            (implied_roles.c.prior_role_id == row.id) | (implied_roles.c.implied_role_id == row.id)
        )
    )
    tx.execute(delete(roles).where(roles.c.id == row.id))
    tokens_may_change(tx)
    tx.changed("role", row.id, deleted=True)
    return Reply(204)


def list_implied(call: Call, tx: Tx) -> Reply:
    require(call, "list_implied_roles")
    prior = find(tx, roles, "role", call.params["id"])
    return Reply(200, {"role_inference": _inference(call, tx, prior), "links": {"self": root(call) + call.path}})


def list_inferences(call: Call, tx: Tx) -> Reply:
    require(call, "list_role_inference_rules")
    priors = tx.all(select(roles).where(roles.c.id.in_(select(implied_roles.c.prior_role_id))).order_by(roles.c.name))
    return Reply(
        200,
        {"role_inferences": [_inference(call, tx, row) for row in priors], "links": {"self": root(call) + call.path}},
    )


def put_implied(call: Call, tx: Tx) -> Reply:
    require(call, "create_implied_role")
    prior, implied = _two_roles(call, tx)
    if prior.id in expand(tx, [implied.id]):
        raise BadRequest(f"role {implied.id} already implies role {prior.id}", type="InvalidImpliedRole")
    if not _implies(tx, prior.id, implied.id):
        tx.insert(implied_roles, {"prior_role_id": prior.id, "implied_role_id": implied.id})
        tokens_may_change(tx)
        tx.changed("role", prior.id)
    return Reply(201, {"role_inference": {"prior_role": _brief(call, prior), "implies": _brief(call, implied)}})


def show_implied(call: Call, tx: Tx) -> Reply:
    require(call, "get_implied_role")
    prior, implied = _two_roles(call, tx)
    if not _implies(tx, prior.id, implied.id):
        raise NotFound(f"{prior.id} does not imply {implied.id}.")
    return Reply(200, {"role_inference": {"prior_role": _brief(call, prior), "implies": _brief(call, implied)}})


def delete_implied(call: Call, tx: Tx) -> Reply:
    require(call, "delete_implied_role")
    prior, implied = _two_roles(call, tx)
    if not _implies(tx, prior.id, implied.id):
        raise NotFound(f"{prior.id} does not imply {implied.id}.")
    tx.execute(
        delete(implied_roles).where(
            implied_roles.c.prior_role_id == prior.id, implied_roles.c.implied_role_id == implied.id
        )
    )
    tokens_may_change(tx)
    tx.changed("role", prior.id)
    return Reply(204)


def grant(
    tx: Tx, actor_kind: str, actor_id: str, target_kind: str, target_id: str, role_id: str, *, inherited: bool = False
) -> None:
    """Give the role. Idempotent. The ids must exist."""
    values = {
        "actor_kind": actor_kind,
        "actor_id": actor_id,
        "target_kind": target_kind,
        "target_id": target_id,
        "role_id": role_id,
        "inherited": inherited,
    }
    if tx.first(select(assignments.c.role_id).where(*(assignments.c[name] == value for name, value in values.items()))):
        return
    tx.insert(assignments, values)
    tokens_may_change(tx)
    tx.changed("assignment", f"{actor_id} {target_id} {role_id}")


def list_grants(call: Call, tx: Tx) -> Reply:
    """GET …/{target}/{actor}/roles."""
    require(call, "list_grants")
    place = _place(call, tx)
    ids = tx.scalars(select(assignments.c.role_id).where(*_matches(place)))
    rows = tx.all(select(roles).where(roles.c.id.in_(ids)).order_by(roles.c.name))
    return page(call, "roles", [shown(call, ROLE, row) for row in rows])


def put_grant(call: Call, tx: Tx) -> Reply:
    require(call, "create_grant")
    actor_kind, actor_id, target_kind, target_id, inherited = _place(call, tx)
    role = find(tx, roles, "role", call.params["role_id"])
    grant(tx, actor_kind, actor_id, target_kind, target_id, role.id, inherited=inherited)
    return Reply(204)


def check_grant(call: Call, tx: Tx) -> Reply:
    require(call, "check_grant")
    _find_grant(call, tx)
    return Reply(204)


def delete_grant(call: Call, tx: Tx) -> Reply:
    require(call, "revoke_grant")
    conditions = _find_grant(call, tx)
    tx.execute(delete(assignments).where(*conditions))
    tokens_may_change(tx)
    tx.changed("assignment", f"{call.params.get('actor_id')} {call.params['role_id']}", deleted=True)
    return Reply(204)


def list_assignments(call: Call, tx: Tx) -> Reply:
    """GET /v3/role_assignments: filters user.id, group.id, role.id, scope.*; `effective`, `include_names`."""
    names = dict(call.query)
    require(call, "list_role_assignments", {"target.user.id": names.get("user.id")})
    is_effective = _flag(names, "effective")
    user_id, group_id = names.get("user.id"), names.get("group.id")
    if user_id and group_id:
        raise BadRequest("Specify a user or group, not both", type="ValidationError")
    if is_effective and group_id:
        raise BadRequest("Combining effective and group filter will always result in an empty list.")
    rows = [tuple(row) for row in tx.all(select(assignments))]
    if is_effective:
        rows = _effective(tx, rows)
    for name, wanted in (
        ("user.id", {0: "user", 1: user_id}),
        ("group.id", {0: "group", 1: group_id}),
        ("scope.project.id", {2: "project", 3: names.get("scope.project.id")}),
        ("scope.domain.id", {2: "domain", 3: names.get("scope.domain.id")}),
        ("scope.system", {2: "system"}),
        ("scope.OS-INHERIT:inherited_to", {5: True}),
        ("role.id", {4: names.get("role.id")}),
    ):
        if names.get(name):
            rows = [row for row in rows if all(row[at] == value for at, value in wanted.items())]
    with_names = _flag(names, "include_names")
    shown_rows = _with_names(tx, rows) if with_names else {}
    items = [_assignment(call, row, shown_rows) for row in sorted(set(rows))]
    return page(call, "role_assignments", items)


def _same_place(domain_id: str | None) -> ColumnElement[bool]:
    return roles.c.domain_id.is_(None) if domain_id is None else roles.c.domain_id == domain_id


def _assignment(call: Call, row: tuple[Any, ...], named: dict[str, dict[str, Any]]) -> dict[str, Any]:
    actor_kind, actor_id, target_kind, target_id, role_id, inherited = row
    scope: dict[str, Any]
    if target_kind == "system":
        scope = {"system": {"all": True}}
        place = "system"
    else:
        scope = {target_kind: {"id": target_id, **named.get(target_id, {})}}
        place = f"{target_kind}s/{target_id}"
    if inherited:
        scope["OS-INHERIT:inherited_to"] = "projects"
    link = f"{root(call)}/v3/{place}/{actor_kind}s/{actor_id}/roles/{role_id}"
    return {
        "role": {"id": role_id, **named.get(role_id, {})},
        actor_kind: {"id": actor_id, **named.get(actor_id, {})},
        "scope": scope,
        "links": {"assignment": link},
    }


def _with_names(tx: Tx, rows: list[tuple[Any, ...]]) -> dict[str, dict[str, Any]]:
    """For each id in the rows: its name, and its domain's id and name where it has one."""
    result: dict[str, dict[str, Any]] = {}
    domains = {row.id: row.name for row in tx.all(select(projects.c.id, projects.c.name).where(projects.c.is_domain))}
    for table, at, kinds in ((users, 1, ("user",)), (groups, 1, ("group",)), (projects, 3, ("project", "domain"))):
        ids = {row[at] for row in rows if row[0 if at == 1 else 2] in kinds}
        for found in tx.all(select(table.c.id, table.c.name, table.c.domain_id).where(table.c.id.in_(ids))):
            result[found.id] = {"name": found.name}
            if found.domain_id is not None:
                result[found.id]["domain"] = {"id": found.domain_id, "name": domains.get(found.domain_id)}
    for role_id, name in names_of(tx, roles, (row[4] for row in rows)).items():
        result[role_id] = {"name": name}
    return result


def _effective(tx: Tx, rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """The rows with groups replaced by their users, inheritance by its projects, and implied roles added."""
    result: set[tuple[Any, ...]] = set()
    members: dict[str, list[str]] = {}
    for row in tx.all(select(memberships)):
        members.setdefault(row.group_id, []).append(row.user_id)
    children: dict[str, list[str]] = {}
    for row in tx.all(select(projects.c.id, projects.c.parent_id).where(projects.c.is_domain.is_(False))):
        children.setdefault(row.parent_id, []).append(row.id)
    for actor_kind, actor_id, target_kind, target_id, role_id, inherited in rows:
        actors = [actor_id] if actor_kind == "user" else members.get(actor_id, [])
        targets = [(target_kind, target_id)]
        if inherited:
            targets, queue = [], [target_id]
            while queue:
                below = children.get(queue.pop(), [])
                queue.extend(below)
                targets.extend(("project", id) for id in below)
        for role in expand(tx, [role_id]):
            result.update(("user", actor, kind, id, role, False) for actor in actors for kind, id in targets)
    return list(result)


def _flag(names: dict[str, str], name: str) -> bool:
    return name in names and names[name].lower() not in ("0", "false", "no")


def _place(call: Call, tx: Tx) -> tuple[str, str, str, str, bool]:
    """Who and where, from the path `/v3[/OS-INHERIT]/projects/{target_id}/users/{actor_id}/roles…`.

    Raises: NotFound.
    """
    segments = call.path.strip("/").split("/")[1:]
    inherited = segments[0] == "OS-INHERIT"
    if inherited:
        segments = segments[1:]
    target_kind = segments[0].removesuffix("s") if segments[0] != "system" else "system"
    if target_kind == "system":
        target_id = SYSTEM
        actor_kind = segments[1].removesuffix("s")
    else:
        actor_kind = segments[2].removesuffix("s")
        target_id = call.params["target_id"]
        if target_kind == "domain":
            find_domain(tx, target_id)
        else:
            find(tx, projects, "project", target_id)
    actor_id = call.params["actor_id"]
    find(tx, users if actor_kind == "user" else groups, actor_kind, actor_id)
    return actor_kind, actor_id, target_kind, target_id, inherited


def _matches(place: tuple[str, str, str, str, bool]) -> list[Any]:
    actor_kind, actor_id, target_kind, target_id, inherited = place
    return [
        assignments.c.actor_kind == actor_kind,
        assignments.c.actor_id == actor_id,
        assignments.c.target_kind == target_kind,
        assignments.c.target_id == target_id,
        assignments.c.inherited.is_(inherited),
    ]


def _find_grant(call: Call, tx: Tx) -> list[Any]:
    place = _place(call, tx)
    role = find(tx, roles, "role", call.params["role_id"])
    conditions = [*_matches(place), assignments.c.role_id == role.id]
    if tx.first(select(assignments.c.role_id).where(*conditions)) is None:
        raise NotFound(
            f"Could not find role assignment with role: {role.id}, user or group: {place[1]}, "
            f"project, domain, or system: {place[3]}.",
            type="RoleAssignmentNotFound",
        )
    return conditions


def _two_roles(call: Call, tx: Tx) -> tuple[Row[Any], Row[Any]]:
    return find(tx, roles, "role", call.params["id"]), find(tx, roles, "role", call.params["implied_id"])


def _implies(tx: Tx, prior_id: str, implied_id: str) -> bool:
    condition = (implied_roles.c.prior_role_id == prior_id) & (implied_roles.c.implied_role_id == implied_id)
    return tx.first(select(implied_roles.c.prior_role_id).where(condition)) is not None


def _inference(call: Call, tx: Tx, prior: Row[Any]) -> dict[str, Any]:
    implied = select(implied_roles.c.implied_role_id).where(implied_roles.c.prior_role_id == prior.id)
    rows = tx.all(select(roles).where(roles.c.id.in_(implied)).order_by(roles.c.name))
    return {"prior_role": _brief(call, prior), "implies": [_brief(call, row) for row in rows]}


def _brief(call: Call, row: Row[Any]) -> dict[str, Any]:
    return {"id": row.id, "name": row.name, "links": {"self": f"{root(call)}/v3/roles/{row.id}"}}

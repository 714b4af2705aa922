"""Roles, what they imply, and granting them. Who has which where, `assignments` lists.

A role of a domain is there to imply global ones: it is granted on its own domain and the domain's projects only,
nothing global implies it, and no token carries it (`effective`).
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Row, delete, select, update

from deuteron.api.call import Call, Reply
from deuteron.api.identity.bodies import (
    filtered,
    find,
    new_id,
    page,
    read_create,
    read_update,
    refuse_duplicate,
    root,
    shown,
)
from deuteron.api.identity.policies import about_group, about_project, about_role, about_user, require
from deuteron.api.identity.projects import find_domain
from deuteron.model.errors import BadRequest, Forbidden, NotFound
from deuteron.model.identity import ROLE
from deuteron.rules.identity.effective import SYSTEM, expand
from deuteron.store.database import Tx
from deuteron.store.identity_tables import (
    assignments,
    groups,
    implied_roles,
    projects,
    roles,
    tokens_may_change,
    users,
)


def list_roles(call: Call, tx: Tx) -> Reply:
    """Without `domain_id` only roles of no domain, as Keystone."""
    require(call, "list_domain_roles" if call.get("domain_id") else "list_roles")
    where = [] if call.get("domain_id") else [roles.c.domain_id.is_(None)]
    rows, truncated = filtered(call, tx, ROLE, roles, *where)
    return page(call, "roles", [shown(call, ROLE, row) for row in rows], truncated)


def show_role(call: Call, tx: Tx) -> Reply:
    _require_for_role(call, tx, "get")
    return Reply(200, {"role": shown(call, ROLE, find(tx, roles, "role", call.params["id"]))})


def create_role(call: Call, tx: Tx) -> Reply:
    body = call.wrapped("role")
    require(call, "create_domain_role" if body.get("domain_id") else "create_role")
    values = read_create(ROLE, body)
    if values["domain_id"] is not None:
        find_domain(tx, values["domain_id"])
    refuse_duplicate(tx, "role", values["name"], _same_place(values["domain_id"]), table=roles)
    id = new_id()
    tx.insert(roles, {**values, "id": id})
    tx.changed("role", id)
    return Reply(201, {"role": shown(call, ROLE, find(tx, roles, "role", id))})


def update_role(call: Call, tx: Tx) -> Reply:
    _require_for_role(call, tx, "update")
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
    _require_for_role(call, tx, "delete")
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
    if implied.name == "admin" and implied.domain_id is None:
        # Keystone's `prohibited_implied_role`: nobody becomes an administrator by a role of another name.
        raise Forbidden(f"{implied.id} cannot be an implied roles.", type="Forbidden")
    if prior.domain_id is None and implied.domain_id is not None:
        raise Forbidden("Global role cannot imply a domain-specific role", type="Forbidden")
    if prior.id in expand(tx, [implied.id]):
        raise BadRequest(f"role {implied.id} already implies role {prior.id}", type="InvalidImpliedRole")
    if not _implies(tx, prior.id, implied.id):
        tx.insert(implied_roles, {"prior_role_id": prior.id, "implied_role_id": implied.id})
        tokens_may_change(tx)
        tx.changed("role", prior.id)
    return Reply(201, _rule(call, prior, implied))


def show_implied(call: Call, tx: Tx) -> Reply:
    require(call, "check_implied_role" if call.method == "HEAD" else "get_implied_role")
    prior, implied = _two_roles(call, tx)
    if not _implies(tx, prior.id, implied.id):
        raise NotFound(f"{prior.id} does not imply {implied.id}.")
    if call.method == "HEAD":
        return Reply(204)  # Keystone's contract, though GET has a body
    return Reply(200, _rule(call, prior, implied))


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
    _require_for_grant(call, tx, "list")
    place = _place(call, tx)
    ids = tx.scalars(select(assignments.c.role_id).where(*_matches(place)))
    rows = tx.all(select(roles).where(roles.c.id.in_(ids)).order_by(roles.c.name))
    return page(call, "roles", [shown(call, ROLE, row) for row in rows])


def put_grant(call: Call, tx: Tx) -> Reply:
    _require_for_grant(call, tx, "create")
    actor_kind, actor_id, target_kind, target_id, inherited = _place(call, tx)
    role = find(tx, roles, "role", call.params["role_id"])
    _refuse_foreign_role(tx, role, target_kind, target_id)
    grant(tx, actor_kind, actor_id, target_kind, target_id, role.id, inherited=inherited)
    return Reply(204)


def check_grant(call: Call, tx: Tx) -> Reply:
    _require_for_grant(call, tx, "check")
    _find_grant(call, tx)
    return Reply(204)


def delete_grant(call: Call, tx: Tx) -> Reply:
    _require_for_grant(call, tx, "revoke")
    conditions = _find_grant(call, tx)
    tx.execute(delete(assignments).where(*conditions))
    tokens_may_change(tx)
    tx.changed("assignment", f"{call.params.get('actor_id')} {call.params['role_id']}", deleted=True)
    return Reply(204)


def _require_for_role(call: Call, tx: Tx, verb: str) -> None:
    """Roles of domains have rules of their own. What is not there is refused like a global one."""
    about = about_role(tx, call.params["id"])
    require(call, f"{verb}_domain_role" if about.get("target.role.domain_id") else f"{verb}_role", about)


def _require_for_grant(call: Call, tx: Tx, verb: str) -> None:
    """The rule of a path of grants, about whatever of it is there. Raises: Forbidden."""
    actor_kind, target_kind, _ = _kinds(call)
    actor_id = call.params["actor_id"]
    if target_kind == "system":
        require(call, f"{verb}_system_grant{'s' if verb == 'list' else ''}_for_{actor_kind}")
        return
    target: dict[str, Any] = about_user(tx, actor_id) if actor_kind == "user" else about_group(tx, actor_id)
    target_id = call.params["target_id"]
    if target_kind == "project":
        target.update(about_project(tx, target_id))
    else:
        target["target.domain.id"] = target_id
    if "role_id" in call.params:
        target.update(about_role(tx, call.params["role_id"]))
    require(call, f"{verb}_grants" if verb == "list" else f"{verb}_grant", target)


def _refuse_foreign_role(tx: Tx, role: Row[Any], target_kind: str, target_id: str) -> None:
    """A role of a domain is granted on that domain and its projects only.

    Raises: Forbidden; BadRequest on the system. Keystone lets a role of one domain be granted on another; there it
    would count on the other's projects, by inheritance.
    """
    if role.domain_id is None:
        return
    if target_kind == "system":
        raise BadRequest(
            f"Role {role.id} is a domain-specific role. Unable to use a domain-specific role in a system assignment.",
            type="ValidationError",
        )
    place = tx.first(select(projects.c.id, projects.c.domain_id).where(projects.c.id == target_id))
    if place is None or role.domain_id != (place.domain_id or place.id):
        raise Forbidden(
            f"{target_kind.title()} {target_id} must be in the same domain as the role {role.id} being assigned.",
            type="Forbidden",
        )


def _kinds(call: Call) -> tuple[str, str, bool]:
    """Kinds of actor and target, and whether it is inherited, of `/v3[/OS-INHERIT]/projects/{}/users/{}/roles…`."""
    segments = call.path.strip("/").split("/")[1:]
    inherited = segments[0] == "OS-INHERIT"
    if inherited:
        segments = segments[1:]
    if segments[0] == "system":
        return segments[1].removesuffix("s"), "system", False
    return segments[2].removesuffix("s"), segments[0].removesuffix("s"), inherited


def _same_place(domain_id: str | None) -> ColumnElement[bool]:
    return roles.c.domain_id.is_(None) if domain_id is None else roles.c.domain_id == domain_id


def _place(call: Call, tx: Tx) -> tuple[str, str, str, str, bool]:
    """Who and where, from the path `/v3[/OS-INHERIT]/projects/{target_id}/users/{actor_id}/roles…`.

    Raises: NotFound.
    """
    actor_kind, target_kind, inherited = _kinds(call)
    if target_kind == "system":
        target_id = SYSTEM
    else:
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


def _rule(call: Call, prior: Row[Any], implied: Row[Any]) -> dict[str, Any]:
    return {
        "role_inference": {"prior_role": _brief(call, prior), "implies": _brief(call, implied)},
        "links": {"self": f"{root(call)}/v3/roles/{prior.id}/implies/{implied.id}"},
    }


def _brief(call: Call, row: Row[Any]) -> dict[str, Any]:
    return {"id": row.id, "name": row.name, "links": {"self": f"{root(call)}/v3/roles/{row.id}"}}

"""Who has which role where: `GET /v3/role_assignments`, as stored or as it counts.

With `effective`, a group is replaced by its users, an inherited assignment by the projects below its place, a role is
joined by those it implies, and roles of domains are left out: what tokens carry. Each entry's link leads to the grant
that it comes from.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import select

from deuteron.api.call import Call, Reply
from deuteron.api.identity.bodies import find, is_true, page, root
from deuteron.api.identity.policies import about_project, own_domain, require
from deuteron.model.errors import BadRequest
from deuteron.rules.identity.effective import expand, global_only
from deuteron.store.database import Tx
from deuteron.store.identity_tables import assignments, groups, memberships, projects, roles, users

_ONE_OF = (
    ("scope.domain.id", "scope.project.id", "Specify a domain or project, not both"),
    ("scope.domain.id", "scope.system", "Specify system or domain, not both"),
    ("scope.project.id", "scope.system", "Specify system or project, not both"),
    ("user.id", "group.id", "Specify a user or group, not both"),
)


@dataclass(frozen=True, order=True)
class Assignment:
    """One entry; the last four say which grant it comes from, where that is another."""

    actor_kind: str
    actor_id: str
    target_kind: str
    target_id: str
    role_id: str
    inherited: bool
    group_id: str = ""
    place_kind: str = ""
    place_id: str = ""
    prior_role_id: str = ""


def list_assignments(call: Call, tx: Tx) -> Reply:
    """Raises: Forbidden; BadRequest for filters that exclude each other; NotFound for the tree's root."""
    asked = dict(call.query)
    project_id = asked.get("scope.project.id")
    with_subtree = is_true(call, "include_subtree")
    if with_subtree:
        target = about_project(tx, project_id) if project_id else {}
        domain_id = target.get("target.project.domain_id")
        require(call, "list_role_assignments_for_tree", {} if domain_id is None else {"target.domain_id": domain_id})
    else:
        require(call, "list_role_assignments", own_domain(call, "target.domain_id"))
    for one, other, sentence in _ONE_OF:
        if asked.get(one) and asked.get(other):
            raise BadRequest(sentence, type="ValidationError")
    is_effective = is_true(call, "effective")
    inherited = asked.get("scope.OS-INHERIT:inherited_to")
    if is_effective and asked.get("group.id"):
        raise BadRequest("Combining effective and group filter will always result in an empty list.")
    if is_effective and inherited and asked.get("scope.domain.id"):
        raise BadRequest("Combining effective, domain and inherited filters will always result in an empty list.")
    places: frozenset[str] | None = None
    if with_subtree:
        if not project_id:
            raise BadRequest("scope.project.id must be specified if include_subtree is also specified")
        find(tx, projects, "project", project_id)
        places = frozenset([project_id, *_below(_children(tx), project_id)])
    elif project_id:
        places = frozenset([project_id])
    rows: Iterable[Assignment] = (Assignment(*row) for row in tx.all(select(assignments)))
    if is_effective:
        rows = _effective(tx, rows)
    found = sorted({row for row in rows if _matches(row, asked, places)})
    if call.caller.domain_id is not None:
        found = _of_domain(tx, found, call.caller.domain_id)
    named = _with_names(tx, found) if is_true(call, "include_names") else {}
    return page(call, "role_assignments", [_shown(call, row, named) for row in found])


def _matches(row: Assignment, asked: dict[str, str], places: frozenset[str] | None) -> bool:
    if asked.get("user.id") and (row.actor_kind, row.actor_id) != ("user", asked["user.id"]):
        return False
    if asked.get("group.id") and (row.actor_kind, row.actor_id) != ("group", asked["group.id"]):
        return False
    if asked.get("role.id") and row.role_id != asked["role.id"]:
        return False
    if places is not None and (row.target_kind != "project" or row.target_id not in places):
        return False
    if asked.get("scope.domain.id") and (row.target_kind, row.target_id) != ("domain", asked["scope.domain.id"]):
        return False
    if asked.get("scope.system") and row.target_kind != "system":
        return False
    wanted = asked.get("scope.OS-INHERIT:inherited_to")
    return not wanted or (row.inherited or bool(row.place_id)) == (wanted == "projects")


def _effective(tx: Tx, rows: Iterable[Assignment]) -> Iterator[Assignment]:
    members: dict[str, list[str]] = {}
    for row in tx.all(select(memberships)):
        members.setdefault(row.group_id, []).append(row.user_id)
    children = _children(tx)
    known: dict[str, dict[str, str]] = {}
    for each in rows:
        role_id = each.role_id
        if role_id not in known:
            known[role_id] = global_only(tx, expand(tx, [role_id]))
        actors = [each]
        if each.actor_kind == "group":
            group_id = each.actor_id
            actors = [
                replace(each, actor_kind="user", actor_id=user_id, group_id=group_id)
                for user_id in members.get(group_id, ())
            ]
        for one in actors:
            if not one.inherited:
                spread = [one]
            else:
                here = replace(one, inherited=False, place_kind=one.target_kind, place_id=one.target_id)
                below = _below(children, one.target_id)
                spread = [replace(here, target_kind="project", target_id=id) for id in below]
            for place in spread:
                for role in known[role_id]:
                    yield replace(place, role_id=role, prior_role_id="" if role == role_id else role_id)


def _children(tx: Tx) -> dict[str, list[str]]:
    result: dict[str, list[str]] = {}
    for row in tx.all(select(projects.c.id, projects.c.parent_id).where(projects.c.is_domain.is_(False))):
        result.setdefault(row.parent_id, []).append(row.id)
    return result


def _below(children: dict[str, list[str]], top: str) -> list[str]:
    result: list[str] = []
    queue = [top]
    while queue:
        below = children.get(queue.pop(), [])
        queue.extend(below)
        result.extend(below)
    return result


def _of_domain(tx: Tx, rows: list[Assignment], domain_id: str) -> list[Assignment]:
    """Those on the domain and its projects: with a token of a domain nothing else is listed."""
    own = {domain_id, *tx.scalars(select(projects.c.id).where(projects.c.domain_id == domain_id))}
    return [row for row in rows if row.target_kind != "system" and row.target_id in own]


def _shown(call: Call, row: Assignment, named: dict[str, dict[str, Any]]) -> dict[str, Any]:
    is_inherited = row.inherited or bool(row.place_id)
    scope: dict[str, Any]
    place_kind, place_id = row.place_kind or row.target_kind, row.place_id or row.target_id
    if row.target_kind == "system":
        scope = {"system": {"all": True}}
        link = "/system"
    else:
        scope = {row.target_kind: {"id": row.target_id, **named.get(row.target_id, {})}}
        link = f"/{place_kind}s/{place_id}"
    if is_inherited:
        scope["OS-INHERIT:inherited_to"] = "projects"
        link = f"/OS-INHERIT{link}"
    actor = f"groups/{row.group_id}" if row.group_id else f"{row.actor_kind}s/{row.actor_id}"
    link += f"/{actor}/roles/{row.prior_role_id or row.role_id}"
    if is_inherited:
        link += "/inherited_to_projects"
    base = f"{root(call)}/v3"
    links = {"assignment": base + link}
    if row.group_id:
        links["membership"] = f"{base}/groups/{row.group_id}/users/{row.actor_id}"
    if row.prior_role_id:
        links["prior_role"] = f"{base}/prior_role/{row.role_id}/implies/{row.prior_role_id}"
    return {
        "role": {"id": row.role_id, **named.get(row.role_id, {})},
        row.actor_kind: {"id": row.actor_id, **named.get(row.actor_id, {})},
        "scope": scope,
        "links": links,
    }


def _with_names(tx: Tx, rows: list[Assignment]) -> dict[str, dict[str, Any]]:
    """For each id in the rows: its name, and its domain's id and name where it has one."""
    result: dict[str, dict[str, Any]] = {}
    domains = {row.id: row.name for row in tx.all(select(projects.c.id, projects.c.name).where(projects.c.is_domain))}
    for table, ids in (
        (users, {row.actor_id for row in rows if row.actor_kind == "user"}),
        (groups, {row.actor_id for row in rows if row.actor_kind == "group"}),
        (projects, {row.target_id for row in rows if row.target_kind != "system"}),
        (roles, {row.role_id for row in rows}),
    ):
        for found in tx.all(select(table.c.id, table.c.name, table.c.domain_id).where(table.c.id.in_(ids))):
            result[found.id] = {"name": found.name}
            if found.domain_id is not None:
                result[found.id]["domain"] = {"id": found.domain_id, "name": domains.get(found.domain_id)}
    return result

"""Who has which role where, as stored or as it counts.

As it counts, a group is replaced by its users, an inherited assignment by the projects below its place, a role is
joined by those it implies, and roles of domains are left out: what tokens carry. Each entry says which grant it comes
from.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import ColumnElement, and_, or_, select

from deuteron.rules.identity.effective import ancestors, expand, global_only, groups_of
from deuteron.store import query
from deuteron.store.database import Tx
from deuteron.store.identity_tables import assignments, groups, memberships, projects, roles, users


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


@dataclass(frozen=True)
class Wanted:
    """What a list asks for: all that is set has to hold."""

    user_id: str | None = None
    group_id: str | None = None
    role_id: str | None = None
    projects: frozenset[str] | None = None
    """On one of these projects."""
    domain_id: str | None = None
    on_system: bool = False
    inherited: bool | None = None
    of_domain: str | None = None
    """On this domain, or on one of its projects."""
    is_effective: bool = False


def assigned(tx: Tx, wanted: Wanted) -> list[Assignment]:
    """What is wanted, in the order of its fields."""
    rows: Iterable[Assignment] = [
        Assignment(*row) for row in tx.all(select(assignments).where(*_conditions(tx, wanted)))
    ]
    if wanted.is_effective:
        rows = _effective(tx, rows, wanted)
    found = sorted({row for row in rows if _matches(row, wanted)})
    if wanted.of_domain is not None:
        own = {wanted.of_domain, *tx.scalars(select(projects.c.id).where(projects.c.domain_id == wanted.of_domain))}
        found = [row for row in found if row.target_kind != "system" and row.target_id in own]
    return found


def project_and_below(tx: Tx, project_id: str) -> frozenset[str]:
    return frozenset([project_id, *_below(_children(tx), project_id)])


def with_names(tx: Tx, rows: list[Assignment]) -> dict[str, dict[str, Any]]:
    """For each id in the rows: its name, and its domain's id and name where it has one."""
    result: dict[str, dict[str, Any]] = {}
    domains = {row.id: row.name for row in tx.all(select(projects.c.id, projects.c.name).where(projects.c.is_domain))}
    for table, ids in (
        (users, {row.actor_id for row in rows if row.actor_kind == "user"}),
        (groups, {row.actor_id for row in rows if row.actor_kind == "group"}),
        (projects, {row.target_id for row in rows if row.target_kind != "system"}),
        (roles, {row.role_id for row in rows}),
    ):
        for found in tx.all(
            select(table.c.id, table.c.name, table.c.domain_id).where(query.any_of(table.c.id, [*ids]))
        ):
            result[found.id] = {"name": found.name}
            if found.domain_id is not None:
                result[found.id]["domain"] = {"id": found.domain_id, "name": domains.get(found.domain_id)}
    return result


def _conditions(tx: Tx, wanted: Wanted) -> list[ColumnElement[bool]]:
    """Rows among which all that is wanted is: just those where they are shown as stored."""
    table = assignments.c
    found: list[ColumnElement[bool]] = []
    actors = [("user", wanted.user_id), ("group", wanted.group_id)]
    for kind, id in actors:
        if not id:
            continue
        who = and_(table.actor_kind == kind, table.actor_id == id)
        if kind == "user" and wanted.is_effective:
            who = or_(who, and_(table.actor_kind == "group", query.any_of(table.actor_id, groups_of(tx, id))))
        found.append(who)
    if wanted.is_effective:
        if wanted.projects is not None and len(wanted.projects) == 1:
            (project_id,) = wanted.projects
            found.append(or_(table.target_id == project_id, query.any_of(table.target_id, ancestors(tx, project_id))))
        return found
    if wanted.role_id:
        found.append(table.role_id == wanted.role_id)
    if wanted.projects is not None:
        found += [table.target_kind == "project", query.any_of(table.target_id, [*wanted.projects])]
    if wanted.domain_id:
        found += [table.target_kind == "domain", table.target_id == wanted.domain_id]
    if wanted.on_system:
        found.append(table.target_kind == "system")
    if wanted.inherited is not None:
        found.append(table.inherited.is_(wanted.inherited))
    return found


def _matches(row: Assignment, wanted: Wanted) -> bool:
    if wanted.user_id and (row.actor_kind, row.actor_id) != ("user", wanted.user_id):
        return False
    if wanted.group_id and (row.actor_kind, row.actor_id) != ("group", wanted.group_id):
        return False
    if wanted.role_id and row.role_id != wanted.role_id:
        return False
    if wanted.projects is not None and (row.target_kind != "project" or row.target_id not in wanted.projects):
        return False
    if wanted.domain_id and (row.target_kind, row.target_id) != ("domain", wanted.domain_id):
        return False
    if wanted.on_system and row.target_kind != "system":
        return False
    return wanted.inherited is None or (row.inherited or bool(row.place_id)) == wanted.inherited


def _effective(tx: Tx, rows: Iterable[Assignment], wanted: Wanted) -> Iterator[Assignment]:
    members: dict[str, list[str]] = {}
    of_one = [memberships.c.user_id == wanted.user_id] if wanted.user_id else []
    for row in tx.all(select(memberships).where(*of_one)):
        members.setdefault(row.group_id, []).append(row.user_id)
    rows = list(rows)
    children = _children(tx) if any(row.inherited for row in rows) else {}
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

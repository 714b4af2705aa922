"""Which roles somebody really has: direct, through groups, inherited from above, and implied.

`roles_on` is what tokens carry. Inherited assignments (OS-INHERIT) are stored on a domain or project with
`inherited` set; they count on every project below it, not on it. Implied roles are followed to the end:
admin implies manager, manager implies member, member implies reader, unless the operator changed it. Roles of a
domain give what they imply and are left out themselves: policy goes by names, and every domain may have an `admin`.
"""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import ColumnElement, and_, or_, select

from deuteron.store.database import Tx
from deuteron.store.identity_tables import assignments, implied_roles, memberships, projects, roles

SYSTEM = "all"
"""Id of the one target of kind `system`."""


def groups_of(tx: Tx, user_id: str) -> list[str]:
    return tx.scalars(select(memberships.c.group_id).where(memberships.c.user_id == user_id))


def ancestors(tx: Tx, project_id: str) -> list[str]:
    """The projects above, nearest first, ending with the domain."""
    result: list[str] = []
    row = tx.first(select(projects.c.parent_id, projects.c.domain_id).where(projects.c.id == project_id))
    while row is not None and row.parent_id is not None and row.parent_id not in result:
        result.append(row.parent_id)
        row = tx.first(select(projects.c.parent_id, projects.c.domain_id).where(projects.c.id == row.parent_id))
    return result


def roles_on(tx: Tx, user_id: str, target_kind: str, target_id: str, *, of_domains: bool = False) -> dict[str, str]:
    """Id to name of every global role the user has on the target, implied ones included; empty if none.

    Roles of domains are among them only when asked for.
    """
    actors = _actors(tx, user_id)
    here = and_(
        assignments.c.target_kind == target_kind,
        assignments.c.target_id == target_id,
        assignments.c.inherited.is_(False),
    )
    places = [here]
    if target_kind == "project":
        above = ancestors(tx, target_id)
        if above:
            places.append(and_(assignments.c.target_id.in_(above), assignments.c.inherited.is_(True)))
    found = tx.scalars(select(assignments.c.role_id).where(or_(*actors), or_(*places)))
    all = expand(tx, found)
    return all if of_domains else global_only(tx, all)


def global_only(tx: Tx, found: dict[str, str]) -> dict[str, str]:
    """Without the roles of domains."""
    if not found:
        return {}
    of_domains = set(tx.scalars(select(roles.c.id).where(roles.c.domain_id.is_not(None))))
    return {id: name for id, name in found.items() if id not in of_domains}


def expand(tx: Tx, role_ids: Iterable[str]) -> dict[str, str]:
    """The roles with all that they imply, id to name."""
    wanted = set(role_ids)
    if not wanted:
        return {}
    implied: dict[str, list[str]] = {}
    for row in tx.all(select(implied_roles)):
        implied.setdefault(row.prior_role_id, []).append(row.implied_role_id)
    queue = list(wanted)
    while queue:
        for role_id in implied.get(queue.pop(), ()):
            if role_id not in wanted:
                wanted.add(role_id)
                queue.append(role_id)
    rows = tx.all(select(roles.c.id, roles.c.name).where(roles.c.id.in_(wanted)).order_by(roles.c.name))
    return {row.id: row.name for row in rows}


def targets_of(tx: Tx, user_id: str, target_kind: str) -> list[str]:
    """Ids of the projects or domains on which the user has any role that a token would carry."""
    mine = or_(*_actors(tx, user_id))
    held = tx.scalars(select(assignments.c.role_id).where(mine).distinct())
    counts = assignments.c.role_id.in_([id for id in held if global_only(tx, expand(tx, [id]))])
    direct = tx.scalars(
        select(assignments.c.target_id)
        .where(mine, counts, assignments.c.target_kind == target_kind, assignments.c.inherited.is_(False))
        .distinct()
    )
    result = set(direct)
    if target_kind == "project":
        above = tx.scalars(
            select(assignments.c.target_id).where(mine, counts, assignments.c.inherited.is_(True)).distinct()
        )
        while above:
            below = tx.scalars(
                select(projects.c.id).where(projects.c.parent_id.in_(above), projects.c.is_domain.is_(False))
            )
            above = [id for id in below if id not in result]
            result.update(below)
    return sorted(result)


def _actors(tx: Tx, user_id: str) -> list[ColumnElement[bool]]:
    found = [and_(assignments.c.actor_kind == "user", assignments.c.actor_id == user_id)]
    groups = groups_of(tx, user_id)
    if groups:
        found.append(and_(assignments.c.actor_kind == "group", assignments.c.actor_id.in_(groups)))
    return found

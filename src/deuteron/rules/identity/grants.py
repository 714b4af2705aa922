"""Granting roles: who may have which where."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, delete, select

from deuteron.model.errors import BadRequest, Forbidden, NotFound
from deuteron.model.identity_rows import RoleRow
from deuteron.rules.identity.effective import SYSTEM
from deuteron.rules.identity.rows import find
from deuteron.store import query
from deuteron.store.database import Tx
from deuteron.store.identity_tables import assignments, groups, projects, roles, tokens_may_change, users


@dataclass(frozen=True)
class Place:
    """Who, and where: `actor_kind` user or group; `target_kind` project, domain or system (whose id is `all`)."""

    actor_kind: str
    actor_id: str
    target_kind: str
    target_id: str = SYSTEM
    inherited: bool = False
    """Whether it counts below the target, and not on it."""

    def conditions(self) -> list[ColumnElement[bool]]:
        return [
            assignments.c.actor_kind == self.actor_kind,
            assignments.c.actor_id == self.actor_id,
            assignments.c.target_kind == self.target_kind,
            assignments.c.target_id == self.target_id,
            assignments.c.inherited.is_(self.inherited),
        ]


def refuse_no_place(tx: Tx, place: Place) -> None:
    """Raises: NotFound for a target or an actor that is not there."""
    if place.target_kind == "domain":
        find(tx, projects, "domain", place.target_id, projects.c.is_domain.is_(True))
    elif place.target_kind == "project":
        find(tx, projects, "project", place.target_id)
    if place.actor_kind == "user":
        find(tx, users, "user", place.actor_id)
    else:
        find(tx, groups, place.actor_kind, place.actor_id)


def roles_at(tx: Tx, place: Place) -> list[RoleRow]:
    """The roles that are granted there, by name."""
    ids = tx.scalars(select(assignments.c.role_id).where(*place.conditions()))
    return query.rows(tx, roles, query.any_of(roles.c.id, ids), order_by=(roles.c.name,))


def grant(tx: Tx, place: Place, role: RoleRow) -> None:
    """Give the role; nothing changes where it is given already. Raises: Forbidden, BadRequest for a domain's role."""
    _refuse_foreign_role(tx, role, place)
    add_grant(tx, place, role["id"])


def add_grant(tx: Tx, place: Place, role_id: str) -> None:
    """Give the role. The ids must exist."""
    if _is_granted(tx, place, role_id):
        return
    values: dict[str, Any] = {
        "actor_kind": place.actor_kind,
        "actor_id": place.actor_id,
        "target_kind": place.target_kind,
        "target_id": place.target_id,
        "role_id": role_id,
        "inherited": place.inherited,
    }
    tx.insert(assignments, values)
    tokens_may_change(tx)
    tx.changed("assignment", f"{place.actor_id} {place.target_id} {role_id}")


def refuse_not_granted(tx: Tx, place: Place, role: RoleRow) -> None:
    """Raises: NotFound."""
    if not _is_granted(tx, place, role["id"]):
        raise NotFound(
            f"Could not find role assignment with role: {role['id']}, user or group: {place.actor_id}, "
            f"project, domain, or system: {place.target_id}.",
            type="RoleAssignmentNotFound",
        )


def revoke(tx: Tx, place: Place, role: RoleRow) -> None:
    """Raises: NotFound."""
    refuse_not_granted(tx, place, role)
    tx.execute(delete(assignments).where(*place.conditions(), assignments.c.role_id == role["id"]))
    tokens_may_change(tx)
    tx.changed("assignment", f"{place.actor_id} {role['id']}", deleted=True)


def _is_granted(tx: Tx, place: Place, role_id: str) -> bool:
    found = select(assignments.c.role_id).where(*place.conditions(), assignments.c.role_id == role_id)
    return tx.first(found) is not None


def _refuse_foreign_role(tx: Tx, role: RoleRow, place: Place) -> None:
    """A role of a domain is granted on that domain and its projects only.

    Raises: Forbidden; BadRequest on the system. Keystone lets a role of one domain be granted on another; there it
    would count on the other's projects, by inheritance.
    """
    if role["domain_id"] is None:
        return
    if place.target_kind == "system":
        raise BadRequest(
            f"Role {role['id']} is a domain-specific role. Unable to use a domain-specific role in a system "
            "assignment.",
            type="ValidationError",
        )
    found = tx.first(select(projects.c.id, projects.c.domain_id).where(projects.c.id == place.target_id))
    if found is None or role["domain_id"] != (found.domain_id or found.id):
        raise Forbidden(
            f"{place.target_kind.title()} {place.target_id} must be in the same domain as the role {role['id']} "
            "being assigned.",
            type="Forbidden",
        )

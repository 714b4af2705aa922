"""Groups of users, and who is in them."""

from __future__ import annotations

from sqlalchemy import delete, select

from deuteron.model.errors import NotFound
from deuteron.model.identity import GROUP
from deuteron.model.identity_rows import GroupRow
from deuteron.rules.identity.listing import listed
from deuteron.rules.identity.rows import change, find, new_id, refuse_in_domain
from deuteron.store import query
from deuteron.store.database import Tx
from deuteron.store.identity_tables import assignments, groups, memberships, projects, tokens_may_change, users
from deuteron.store.listing import Asked
from deuteron.store.query import Values


def listed_groups(
    tx: Tx, asked: Asked, domain_id: str | None, *, user_id: str | None = None
) -> tuple[list[Values], bool]:
    """The groups that are asked for, of one domain, with one user; and whether there are more."""
    where = [] if domain_id is None else [groups.c.domain_id == domain_id]
    if user_id is not None:
        where.append(groups.c.id.in_(select(memberships.c.group_id).where(memberships.c.user_id == user_id)))
    return listed(tx, GROUP, groups, asked, where)


def find_group(tx: Tx, id: str) -> GroupRow:
    """Raises: NotFound."""
    return find(tx, groups, "group", id)


def create_group(tx: Tx, values: Values) -> GroupRow:
    """Raises: NotFound for the domain; Conflict for the name."""
    find(tx, projects, "domain", values["domain_id"], projects.c.is_domain.is_(True))
    refuse_in_domain(tx, "group", groups, values["name"], values["domain_id"])
    row = {**values, "id": new_id()}
    query.add(tx, groups, row)
    tx.changed("group", row["id"])
    return find_group(tx, row["id"])


def change_group(tx: Tx, row: GroupRow, values: Values) -> GroupRow:
    """Raises: Conflict."""
    if "name" in values:
        refuse_in_domain(tx, "group", groups, values["name"], row["domain_id"], own_id=row["id"])
    if values:
        tx.changed("group", row["id"])
    return change(tx, groups, row, values)


def remove_group(tx: Tx, group_id: str) -> None:
    """Delete a group with its memberships and assignments."""
    tx.execute(delete(memberships).where(memberships.c.group_id == group_id))
    tx.execute(delete(assignments).where(assignments.c.actor_kind == "group", assignments.c.actor_id == group_id))
    query.remove(tx, groups, group_id)
    tokens_may_change(tx)
    tx.changed("group", group_id, deleted=True)


def _find_both(tx: Tx, group_id: str, user_id: str) -> None:
    """Raises: NotFound for a group or a user that is not there."""
    find_group(tx, group_id)
    find(tx, users, "user", user_id)


def refuse_no_member(tx: Tx, group_id: str, user_id: str) -> None:
    """Raises: NotFound for a group, a user or a membership that is not there."""
    _find_both(tx, group_id, user_id)
    if not _is_member(tx, group_id, user_id):
        raise NotFound(f"User '{user_id}' not found in group '{group_id}'.")


def add_member(tx: Tx, group_id: str, user_id: str) -> None:
    """Raises: NotFound."""
    _find_both(tx, group_id, user_id)
    if not _is_member(tx, group_id, user_id):
        tx.insert(memberships, {"group_id": group_id, "user_id": user_id})
        tokens_may_change(tx)
        tx.changed("group", group_id)


def remove_member(tx: Tx, group_id: str, user_id: str) -> None:
    """Raises: NotFound."""
    refuse_no_member(tx, group_id, user_id)
    tx.execute(delete(memberships).where(memberships.c.group_id == group_id, memberships.c.user_id == user_id))
    tokens_may_change(tx)
    tx.changed("group", group_id)


def _is_member(tx: Tx, group_id: str, user_id: str) -> bool:
    found = select(memberships.c.user_id).where(memberships.c.group_id == group_id, memberships.c.user_id == user_id)
    return tx.first(found) is not None

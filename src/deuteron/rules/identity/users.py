"""Users. A password arrives here as its hash: to hash takes 40 ms by design, and the writer has one thread."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import ColumnElement, delete, false, select

from deuteron.model.errors import BadRequest, Unauthorized
from deuteron.model.identity import USER
from deuteron.model.identity_rows import UserRow
from deuteron.rules.identity.listing import listed
from deuteron.rules.identity.passwords import hash_password, verify_password
from deuteron.rules.identity.rows import change, find, new_id, refuse_in_domain
from deuteron.rules.identity.tokens import REFUSED, live_project
from deuteron.store import query
from deuteron.store.database import Tx
from deuteron.store.identity_tables import (
    access_rules,
    application_credentials,
    assignments,
    credentials,
    memberships,
    projects,
    tokens_may_change,
    trusts,
    users,
)
from deuteron.store.listing import Asked
from deuteron.store.query import Values


@dataclass(frozen=True)
class Stored:
    """Whose password is compared, and with what."""

    hash: str | None
    is_live: bool
    """Whether the user and its domain are there and enabled."""


def listed_users(
    tx: Tx, asked: Asked, domain_id: str | None, *, group_id: str | None = None, nobody: bool = False
) -> tuple[list[Values], bool]:
    """The users that are asked for, of one domain, in one group; and whether there are more. `nobody` is none."""
    where: list[ColumnElement[bool]] = [false()] if nobody else []
    if domain_id is not None:
        where.append(users.c.domain_id == domain_id)
    if group_id is not None:
        where.append(users.c.id.in_(select(memberships.c.user_id).where(memberships.c.group_id == group_id)))
    return listed(tx, USER, users, asked, where)


def find_user(tx: Tx, id: str) -> UserRow:
    """Raises: NotFound."""
    return find(tx, users, "user", id)


def create_user(tx: Tx, values: Values) -> UserRow:
    """A new user, `password_hash` among its columns. Raises: NotFound for the domain; Conflict for the name."""
    find(tx, projects, "domain", values["domain_id"], projects.c.is_domain.is_(True))
    refuse_in_domain(tx, "user", users, values["name"], values["domain_id"])
    row = {**values, "id": new_id(), "tokens_valid_after_us": 0}
    query.add(tx, users, row)
    tx.changed("user", row["id"])
    return find_user(tx, row["id"])


def change_user(tx: Tx, row: UserRow, values: Values) -> UserRow:
    """With another password, or disabled, all its tokens end. Raises: Conflict."""
    if "name" in values:
        refuse_in_domain(tx, "user", users, values["name"], row["domain_id"], own_id=row["id"])
    if "password_hash" in values or values.get("enabled") is False:
        values = {**values, "tokens_valid_after_us": _end_of_tokens(tx, row)}
    if values:
        tokens_may_change(tx)
        tx.changed("user", row["id"])
    return change(tx, users, row, values)


def stored_password(tx: Tx, user_id: str) -> Stored:
    """Of a user that may not be there: whoever asks must not learn it sooner."""
    row = query.row_by_id(tx, users, user_id)
    if row is None:
        return Stored(None, is_live=False)
    return Stored(row["password_hash"], is_live=row["enabled"] and live_project(tx, row["domain_id"]) is not None)


def rehash(stored: Stored, original: str, password: str) -> tuple[str, str]:
    """The hash that `original` fits, and one of the new password. It takes long: not for a transaction.

    Raises: Unauthorized when the original is wrong; BadRequest for the same password again.
    """
    if not verify_password(original, stored.hash) or not stored.is_live or stored.hash is None:
        raise Unauthorized(REFUSED)
    if original == password:
        raise BadRequest(
            "The new password cannot be identical to a previous password.", type="PasswordRequirementsValidationError"
        )
    return stored.hash, hash_password(password)


def replace_password(tx: Tx, user_id: str, old: str, new: str) -> None:
    """Every token the user holds ends. Raises: Unauthorized when `old` is not its hash any more, or it is disabled."""
    row = query.first(tx, users, users.c.id == user_id, users.c.password_hash == old, users.c.enabled)
    if row is None or live_project(tx, row["domain_id"]) is None:
        raise Unauthorized(REFUSED)
    change_user(tx, row, {"password_hash": new})


def remove_user(tx: Tx, user_id: str) -> None:
    """Delete a user with all that hangs on it."""
    tx.execute(delete(application_credentials).where(application_credentials.c.user_id == user_id))
    for column in (trusts.c.trustor_user_id, trusts.c.trustee_user_id):
        tx.execute(delete(trusts).where(column == user_id))
    tx.execute(delete(access_rules).where(access_rules.c.user_id == user_id))
    tx.execute(delete(credentials).where(credentials.c.user_id == user_id))
    tx.execute(delete(memberships).where(memberships.c.user_id == user_id))
    tx.execute(delete(assignments).where(assignments.c.actor_kind == "user", assignments.c.actor_id == user_id))
    query.remove(tx, users, user_id)
    tokens_may_change(tx)
    tx.changed("user", user_id, deleted=True)


def user_named(tx: Tx, name: str, domain_id: str) -> UserRow | None:
    return query.first(tx, users, users.c.name == name, users.c.domain_id == domain_id)


def generation(tx: Tx, user_id: str) -> int:
    """The user's `tokens_valid_after_us`: what a token that is issued now has to name."""
    return tx.scalar(select(users.c.tokens_valid_after_us).where(users.c.id == user_id)) or 0


def _end_of_tokens(tx: Tx, row: UserRow) -> int:
    """A `tokens_valid_after_us` that the user never had, also where the clock stood still or went back."""
    previous: int = row["tokens_valid_after_us"]
    return max(int(tx.now.timestamp() * 1_000_000), previous + 1)

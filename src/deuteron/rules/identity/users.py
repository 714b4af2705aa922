"""Users. A password arrives here as its hash: to hash takes 40 ms by design, and the writer has one thread."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import ColumnElement, delete, false, select

from deuteron.model.errors import Unauthorized
from deuteron.model.identity import USER
from deuteron.model.identity_rows import UserRow
from deuteron.model.settings import SecurityCompliance
from deuteron.rules.identity.accounts import (
    enabled_anew,
    is_inactive,
    is_locked,
    passwords_of,
    refuse_own_change,
    with_password,
)
from deuteron.rules.identity.listing import listed
from deuteron.rules.identity.rows import change, find, new_id, refuse_in_domain
from deuteron.rules.identity.tokens import REFUSED, live_project
from deuteron.store import query
from deuteron.store.database import Tx
from deuteron.store.filters import OPERATORS
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


def listed_users(
    tx: Tx,
    asked: Asked,
    domain_id: str | None,
    *,
    group_id: str | None = None,
    nobody: bool = False,
    expiring: tuple[str, str] | None = None,
) -> tuple[list[Values], bool]:
    """The users that are asked for, of one domain, in one group; and whether there are more. `nobody` is none.

    `expiring` compares when their passwords end: an operator, as `lt`, and a time.
    """
    where: list[ColumnElement[bool]] = [false()] if nobody else []
    if expiring is not None:
        compare, moment = expiring
        # Who has none is none of them, as in SQL; times are kept with so many digits.
        ends = users.c.password_expires_at
        where += [ends.is_not(None), OPERATORS[compare](ends, [f"{moment.removesuffix('Z')}.000000"])]
    if domain_id is not None:
        where.append(users.c.domain_id == domain_id)
    if group_id is not None:
        where.append(users.c.id.in_(select(memberships.c.user_id).where(memberships.c.group_id == group_id)))
    return listed(tx, USER, users, asked, where)


def find_user(tx: Tx, id: str) -> UserRow:
    """Raises: NotFound."""
    return find(tx, users, "user", id)


def any_user(tx: Tx, id: str) -> UserRow | None:
    """The user, which may not be there: whoever asks must not learn it sooner."""
    return query.row_by_id(tx, users, id)


def inactive_among(tx: Tx, ids: Sequence[str], asked: SecurityCompliance) -> set[str]:
    """Those of the users that were away for so long that they are disabled."""
    if asked.disable_user_account_days_inactive is None:
        return set()
    rows = query.rows(tx, users, query.any_of(users.c.id, ids))
    return {row["id"] for row in rows if is_inactive(row, asked, tx.now.date())}


def create_user(tx: Tx, values: Values) -> UserRow:
    """A new user, `password_hash` among its columns. Raises: NotFound for the domain; Conflict for the name."""
    find(tx, projects, "domain", values["domain_id"], projects.c.is_domain.is_(True))
    refuse_in_domain(tx, "user", users, values["name"], values["domain_id"])
    id = new_id()
    query.add(tx, users, {**values, **enabled_anew(tx.now), "id": id, "tokens_valid_after_us": 0})
    tx.changed("user", id)
    return find_user(tx, id)


def change_user(tx: Tx, row: UserRow, values: Values) -> UserRow:
    """With another password, or disabled, all its tokens end. Enabled, it is as new. Raises: Conflict."""
    if values.get("enabled") is True:
        values = {**values, **enabled_anew(tx.now)}
    if "name" in values:
        refuse_in_domain(tx, "user", users, values["name"], row["domain_id"], own_id=row["id"])
    if "password_hash" in values or values.get("enabled") is False:
        values = {**values, "tokens_valid_after_us": _end_of_tokens(tx, row)}
    if values:
        tokens_may_change(tx)
        tx.changed("user", row["id"])
    return change(tx, users, row, values)


def replace_password(
    tx: Tx, asked: SecurityCompliance, user_id: str, original: str, hashed: str, before: Sequence[str]
) -> None:
    """The user chose another password; every token it holds ends. `original` is the hash that was compared.

    Raises: Unauthorized when that is not its hash any more, or it may not log in; BadRequest when it may not change it.
    """
    row = query.row_by_id(tx, users, user_id)
    if row is None or row["password_hash"] != original or passwords_of(row) != list(before):
        raise Unauthorized(REFUSED)
    refuse_unable(tx, row, asked)
    refuse_own_change(row, asked, tx.now.timestamp())
    change_user(tx, row, with_password(row, hashed, asked, tx.now, row["options"], is_own=True))


def refuse_unable(tx: Tx, row: UserRow, asked: SecurityCompliance) -> None:
    """Raises: Unauthorized for a user that may not log in, whatever its password: disabled, inactive or locked out."""
    is_live = row["enabled"] and live_project(tx, row["domain_id"]) is not None
    if not is_live or is_inactive(row, asked, tx.now.date()) or is_locked(row, asked, tx.now.timestamp()):
        raise Unauthorized(REFUSED)


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


def user_shown(tx: Tx, user_id: str) -> dict[str, object]:
    """Id, name and domain of a user that is there."""
    row = find_user(tx, user_id)
    domain = find(tx, projects, "domain", row["domain_id"])
    return {"id": row["id"], "name": row["name"], "domain": {"id": domain["id"], "name": domain["name"]}}


def password_end(tx: Tx, user_id: str) -> str | None:
    """When the user's password has to be changed."""
    end: str | None = tx.scalar(select(users.c.password_expires_at).where(users.c.id == user_id))
    return end


def generation(tx: Tx, user_id: str) -> int:
    """The user's `tokens_valid_after_us`: what a token that is issued now has to name."""
    return tx.scalar(select(users.c.tokens_valid_after_us).where(users.c.id == user_id)) or 0


def _end_of_tokens(tx: Tx, row: UserRow) -> int:
    """A `tokens_valid_after_us` that the user never had, also where the clock stood still or went back."""
    previous: int = row["tokens_valid_after_us"]
    return max(int(tx.now.timestamp() * 1_000_000), previous + 1)

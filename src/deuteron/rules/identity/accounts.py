"""Accounts: who is locked out, inactive, or has to change its password; and which passwords a user may take.

An operator asks for each of it (`[security_compliance]`); an option of a user exempts it.
Source: keystone 30.0, identity/backends/sql.py, sql_model.py and resource_options.py.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta

from sqlalchemy import update

from deuteron.model.errors import BadRequest, Unauthorized
from deuteron.model.identity_rows import UserRow
from deuteron.model.settings import SecurityCompliance
from deuteron.rules.identity.passwords import verify_password
from deuteron.rules.identity.times import is_past
from deuteron.store import query
from deuteron.store.database import Tx
from deuteron.store.identity_tables import users

_DAY_S = 24 * 3600


def has_option(row: UserRow, name: str) -> bool:
    return (row["options"] or {}).get(name) is True


def is_locked(row: UserRow, asked: SecurityCompliance, now_s: float) -> bool:
    """Whether so many wrong passwords were given that none is looked at for a while."""
    most = asked.lockout_failure_attempts
    if most is None or has_option(row, "ignore_lockout_failure_attempts") or (row["failed_logins"] or 0) < most:
        return False
    return (row["failed_at_s"] or 0) + asked.lockout_duration > now_s


def is_inactive(row: UserRow, asked: SecurityCompliance, today: date) -> bool:
    """Whether it has not logged in for so long that it is disabled."""
    most = asked.disable_user_account_days_inactive
    if most is None or row["active_day"] is None or has_option(row, "ignore_user_inactivity"):
        return False
    return (today - date.fromisoformat(row["active_day"])).days >= most


def is_expired(row: UserRow, now_s: float) -> bool:
    """Whether its password has to be changed before it lets anybody in."""
    return is_past(row["password_expires_at"], now_s) and not has_option(row, "ignore_password_expiry")


def refuse_expired(row: UserRow, now_s: float) -> None:
    """Raises: Unauthorized. Only who gave the right password may be told."""
    if is_expired(row, now_s):
        raise Unauthorized(f"The password is expired and needs to be changed for user: {row['id']}.")


def refuse_weak(password: str, asked: SecurityCompliance) -> None:
    """Raises: BadRequest for a password that the operator's expression does not match."""
    if asked.password_regex is not None and re.match(asked.password_regex, password) is None:
        raise BadRequest(
            f"The password does not match the requirements: {asked.password_regex_description}.",
            type="PasswordRequirementsValidationError",
        )


def refuse_own_change(row: UserRow, asked: SecurityCompliance, now_s: float) -> None:
    """Raises: BadRequest when the user may not change its password itself, or not yet."""
    if has_option(row, "lock_password"):
        raise BadRequest(
            "You cannot change your password at this time due to password policy disallowing password changes. Please "
            "contact your administrator to reset your password.",
            type="PasswordSelfServiceDisabled",
        )
    if not row["password_is_own"] or row["password_set_s"] is None:
        return
    left_s = row["password_set_s"] + asked.minimum_password_age * _DAY_S - now_s
    if left_s > 0:
        raise BadRequest(
            "You cannot change your password at this time due to the minimum password age. Once you change your "
            f"password, it must be used for {asked.minimum_password_age} day(s) before it can be changed. Please try "
            f"again in {int(left_s // _DAY_S)} day(s) or contact your administrator to reset your password.",
            type="PasswordAgeValidationError",
        )


def refuse_used(password: str, before: Sequence[str], asked: SecurityCompliance) -> None:
    """Raises: BadRequest for one of the last passwords. It takes long: not for a transaction."""
    unique = asked.unique_last_password_count
    if unique and any(verify_password(password, each) for each in before[-unique:]):
        raise BadRequest(
            "The new password cannot be identical to a previous password. The total number which includes the new "
            f"password must be unique is {unique}.",
            type="PasswordHistoryValidationError",
        )


def passwords_of(row: UserRow) -> list[str]:
    """Hashes of the user's passwords, as far as they are known, the present one at the end."""
    return [*(row["password_history"] or ()), *([] if row["password_hash"] is None else [row["password_hash"]])]


def with_password(
    row: UserRow | None,
    hashed: str | None,
    asked: SecurityCompliance,
    now: datetime,
    options: Mapping[str, object] | None,
    *,
    is_own: bool,
) -> dict[str, object]:
    """The columns of a user that gets another password; of a new one `row` is None. `options` are those it has then."""
    said = options or {}
    expires: datetime | None = None
    if asked.password_expires_days is not None and said.get("ignore_password_expiry") is not True:
        expires = (now + timedelta(days=asked.password_expires_days)).replace(microsecond=0)
    first_use = asked.change_password_upon_first_use and not is_own
    if first_use and said.get("ignore_change_password_upon_first_use") is not True:
        expires = now
    kept = [] if row is None else passwords_of(row)[-asked.unique_last_password_count :]
    return {
        "password_hash": hashed,
        "password_expires_at": None if expires is None else expires.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f"),
        "password_set_s": int(now.timestamp()),
        "password_is_own": is_own,
        "password_history": kept if asked.unique_last_password_count else None,
    }


def enabled_anew(now: datetime) -> dict[str, object]:
    """The columns of a user that an administrator made or enabled: what was wrong with it is forgotten."""
    return {"failed_logins": 0, "failed_at_s": None, "active_day": now.date().isoformat()}


def fail(tx: Tx, user_id: str, asked: SecurityCompliance) -> None:
    """A wrong password was given. Nobody's is one of nobody."""
    row = query.row_by_id(tx, users, user_id)
    now_s = tx.now.timestamp()
    if row is None or asked.lockout_failure_attempts is None or is_locked(row, asked, now_s):
        return
    before = row["failed_logins"] or 0
    # After a lock, counting begins anew.
    count = 1 if before >= asked.lockout_failure_attempts else before + 1
    tx.execute(update(users).where(users.c.id == user_id).values(failed_logins=count, failed_at_s=int(now_s)))


def is_to_be_told(row: UserRow | None, asked: SecurityCompliance, today: date) -> bool:
    """Whether `succeed` has something to write."""
    if row is None:
        return False
    is_new_day = asked.disable_user_account_days_inactive is not None and row["active_day"] != today.isoformat()
    return bool(row["failed_logins"]) or is_new_day


def succeed(tx: Tx, row: UserRow, asked: SecurityCompliance) -> None:
    """It logged in with the right password."""
    if is_to_be_told(row, asked, tx.now.date()):
        tx.execute(update(users).where(users.c.id == row["id"]).values(enabled_anew(tx.now)))

"""Users and groups.

Whatever needs a password hashed is prepared outside the transaction (`prepare_*`), because hashing takes
40 ms by design and the writer has one thread; the transaction stores the finished hash.
"""

from __future__ import annotations

import asyncio
import re
from typing import Any

from sqlalchemy import ColumnElement, Table, delete, false, select, update

from deuteron.api.call import Call, Reply
from deuteron.api.identity.bodies import (
    filtered,
    find,
    new_id,
    page,
    read_create,
    read_update,
    refuse_duplicate,
    shown,
)
from deuteron.api.identity.policies import about_group, about_user, own_domain, require
from deuteron.api.identity.projects import caller_domain, find_domain, remove_group, remove_user
from deuteron.model.codecs import quoted
from deuteron.model.errors import BadRequest, NotFound, Unauthorized
from deuteron.model.identity import GROUP, USER
from deuteron.rules.identity.passwords import Workers, hash_password, verify_password
from deuteron.rules.identity.tokens import REFUSED, live_project
from deuteron.store.database import Tx
from deuteron.store.identity_tables import groups, memberships, tokens_may_change, users


def list_users(call: Call, tx: Tx) -> Reply:
    require(call, "list_users", own_domain(call, "target.domain_id"))
    rows, truncated = filtered(call, tx, USER, users, *_of_own_domain(call, users), *_special(call))
    return page(call, "users", [_shown(call, row) for row in rows], truncated)


def show_user(call: Call, tx: Tx) -> Reply:
    require(call, "get_user", about_user(tx, call.params["id"]))
    return Reply(200, {"user": _shown(call, find(tx, users, "user", call.params["id"]))})


async def create_user(call: Call, workers: Workers) -> Reply:
    await call.read_body()
    body = call.wrapped("user")
    require(call, "create_user", _domain_in(body, "target.user.domain_id"))
    values = read_create(USER, body)
    password = values.pop("password", None)
    values["password_hash"] = None if password is None else await workers.run(lambda: hash_password(password))
    values["domain_id"] = values["domain_id"] or caller_domain(call)

    def store(tx: Tx) -> Reply:
        id = new_id()
        insert_user(tx, id, values)
        return Reply(201, {"user": _shown(call, find(tx, users, "user", id))})

    return await asyncio.wrap_future(call.store.submit(store))


def insert_user(tx: Tx, id: str, values: dict[str, Any]) -> None:
    """Raises: NotFound for the domain; Conflict if it has a user of this name."""
    find_domain(tx, values["domain_id"])
    refuse_duplicate(
        tx,
        "user",
        values["name"],
        users.c.domain_id == values["domain_id"],
        table=users,
        place=f" at domain ID {values['domain_id']}",
    )
    tx.insert(users, {**values, "id": id, "tokens_valid_after_us": 0})
    tx.changed("user", id)


async def update_user(call: Call, workers: Workers) -> Reply:
    await call.read_body()
    with call.store.read() as reading:
        require(call, "update_user", about_user(reading, call.params["id"]))
    body = call.wrapped("user")
    password = body.get("password")
    if password is not None and not isinstance(password, str):
        raise BadRequest(f"Invalid input for field 'password': {quoted(password)} is not of type 'string'")
    hashed = None if password is None else await workers.run(lambda: hash_password(password))

    def store(tx: Tx) -> Reply:
        row = find(tx, users, "user", call.params["id"])
        values = read_update(USER, body, row)
        values.pop("password", None)
        if "name" in values:
            refuse_duplicate(
                tx,
                "user",
                values["name"],
                users.c.domain_id == row.domain_id,
                table=users,
                own_id=row.id,
                place=f" at domain ID {row.domain_id}",
            )
        if hashed is not None:
            values["password_hash"] = hashed
        if hashed is not None or values.get("enabled") is False:
            values["tokens_valid_after_us"] = end_of_tokens(tx, row)
        if values:
            tx.execute(update(users).where(users.c.id == row.id).values(values))
            tokens_may_change(tx)
            tx.changed("user", row.id)
        return Reply(200, {"user": _shown(call, find(tx, users, "user", row.id))})

    return await asyncio.wrap_future(call.store.submit(store))


async def change_password(call: Call, workers: Workers) -> Reply:
    """POST /v3/users/{id}/password, by the user itself: the original password is the proof, no token is needed.

    Every token the user holds ends. Raises: Unauthorized; BadRequest.
    """
    await call.read_body()
    body = call.wrapped("user")
    original, password = body.get("original_password"), body.get("password")
    if not isinstance(original, str) or not isinstance(password, str) or not password:
        missing = "original_password" if not isinstance(original, str) else "password"
        raise BadRequest(f"'{missing}' is a required property", type="ValidationError")
    user_id = call.params["id"]

    def compare() -> tuple[str, str]:
        with call.store.read() as tx:
            row = tx.first(select(users).where(users.c.id == user_id))
            is_live = row is not None and row.enabled and live_project(tx, row.domain_id) is not None
            stored = None if row is None else row.password_hash
        if not verify_password(original, stored) or not is_live or stored is None:
            raise Unauthorized(REFUSED)
        if original == password:
            raise BadRequest(
                "The new password cannot be identical to a previous password.",
                type="PasswordRequirementsValidationError",
            )
        return stored, hash_password(password)

    old, new = await workers.run(compare)

    def store(tx: Tx) -> Reply:
        # Somebody may have changed it since it was compared, or disabled the user.
        row = tx.first(select(users).where(users.c.id == user_id, users.c.password_hash == old, users.c.enabled))
        if row is None or live_project(tx, row.domain_id) is None:
            raise Unauthorized(REFUSED)
        ended = end_of_tokens(tx, row)
        values = {"password_hash": new, "tokens_valid_after_us": ended}
        tx.execute(update(users).where(users.c.id == user_id).values(values))
        tokens_may_change(tx)
        tx.changed("user", user_id)
        return Reply(204)

    return await asyncio.wrap_future(call.store.submit(store))


def delete_user(call: Call, tx: Tx) -> Reply:
    require(call, "delete_user", about_user(tx, call.params["id"]))
    remove_user(tx, find(tx, users, "user", call.params["id"]).id)
    return Reply(204)


def list_groups(call: Call, tx: Tx) -> Reply:
    require(call, "list_groups", own_domain(call, "target.group.domain_id"))
    rows, truncated = filtered(call, tx, GROUP, groups, *_of_own_domain(call, groups))
    return page(call, "groups", [shown(call, GROUP, row) for row in rows], truncated)


def list_groups_of_user(call: Call, tx: Tx) -> Reply:
    require(call, "list_groups_for_user", about_user(tx, call.params["id"]))
    user = find(tx, users, "user", call.params["id"])
    mine = select(memberships.c.group_id).where(memberships.c.user_id == user.id)
    rows, truncated = filtered(call, tx, GROUP, groups, groups.c.id.in_(mine), *_of_own_domain(call, groups))
    return page(call, "groups", [shown(call, GROUP, row) for row in rows], truncated)


def show_group(call: Call, tx: Tx) -> Reply:
    require(call, "get_group", about_group(tx, call.params["id"]))
    return Reply(200, {"group": shown(call, GROUP, find(tx, groups, "group", call.params["id"]))})


def create_group(call: Call, tx: Tx) -> Reply:
    body = call.wrapped("group")
    require(call, "create_group", _domain_in(body, "target.group.domain_id"))
    values = read_create(GROUP, body)
    values["domain_id"] = values["domain_id"] or caller_domain(call)
    find_domain(tx, values["domain_id"])
    _refuse_group_name(tx, values["name"], values["domain_id"])
    id = new_id()
    tx.insert(groups, {**values, "id": id})
    tx.changed("group", id)
    return Reply(201, {"group": shown(call, GROUP, find(tx, groups, "group", id))})


def update_group(call: Call, tx: Tx) -> Reply:
    require(call, "update_group", about_group(tx, call.params["id"]))
    row = find(tx, groups, "group", call.params["id"])
    values = read_update(GROUP, call.wrapped("group"), row)
    if "name" in values:
        _refuse_group_name(tx, values["name"], row.domain_id, own_id=row.id)
    if values:
        tx.execute(update(groups).where(groups.c.id == row.id).values(values))
        tx.changed("group", row.id)
    return Reply(200, {"group": shown(call, GROUP, find(tx, groups, "group", row.id))})


def delete_group(call: Call, tx: Tx) -> Reply:
    require(call, "delete_group", about_group(tx, call.params["id"]))
    remove_group(tx, find(tx, groups, "group", call.params["id"]).id)
    return Reply(204)


def list_members(call: Call, tx: Tx) -> Reply:
    require(call, "list_users_in_group", about_group(tx, call.params["id"]))
    group = find(tx, groups, "group", call.params["id"])
    members = select(memberships.c.user_id).where(memberships.c.group_id == group.id)
    rows, truncated = filtered(call, tx, USER, users, users.c.id.in_(members), *_of_own_domain(call, users))
    return page(call, "users", [_shown(call, row) for row in rows], truncated)


def add_member(call: Call, tx: Tx) -> Reply:
    require(call, "add_user_to_group", _about_membership(call, tx))
    group_id, user_id = _membership(call, tx)
    if not _is_member(tx, group_id, user_id):
        tx.insert(memberships, {"group_id": group_id, "user_id": user_id})
        tokens_may_change(tx)
        tx.changed("group", group_id)
    return Reply(204)


def check_member(call: Call, tx: Tx) -> Reply:
    require(call, "check_user_in_group", _about_membership(call, tx))
    group_id, user_id = _membership(call, tx)
    if not _is_member(tx, group_id, user_id):
        raise NotFound(f"User '{user_id}' not found in group '{group_id}'.")
    return Reply(204)


def remove_member(call: Call, tx: Tx) -> Reply:
    require(call, "remove_user_from_group", _about_membership(call, tx))
    group_id, user_id = _membership(call, tx)
    if not _is_member(tx, group_id, user_id):
        raise NotFound(f"User '{user_id}' not found in group '{group_id}'.")
    tx.execute(delete(memberships).where(memberships.c.group_id == group_id, memberships.c.user_id == user_id))
    tokens_may_change(tx)
    tx.changed("group", group_id)
    return Reply(204)


def _shown(call: Call, row: Any) -> dict[str, Any]:
    body = shown(call, USER, row)
    for name in ("description", "email", "default_project_id"):
        if body.get(name) is None:
            body.pop(name, None)
    return body


def _special(call: Call) -> list[ColumnElement[bool]]:
    """Filters that no user here meets: none comes from another cloud, and no password expires. Raises: BadRequest."""
    text = call.get("password_expires_at")
    if text is not None and re.fullmatch(r"(lt|lte|gt|gte|eq|neq):\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", text) is None:
        raise BadRequest(
            f"Invalid input for field 'password_expires_at': {text!r} is not an operator (lt, lte, gt, gte, eq, neq) "
            "and a time, as in lt:2026-01-31T12:00:00Z",
            type="ValidationError",
        )
    names = ("idp_id", "protocol_id", "unique_id", "password_expires_at")
    return [false()] if any(call.get(name) is not None for name in names) else []


def _of_own_domain(call: Call, table: Table) -> list[ColumnElement[bool]]:
    """With a token of a domain nothing of other domains is listed."""
    return [] if call.caller.domain_id is None else [table.c.domain_id == call.caller.domain_id]


def _domain_in(body: dict[str, Any], name: str) -> dict[str, Any]:
    """The target of a body that says its domain; as in Keystone, who must be of the domain has to say it."""
    return {name: body["domain_id"]} if isinstance(body.get("domain_id"), str) else {}


def _about_membership(call: Call, tx: Tx) -> dict[str, Any]:
    return {**about_group(tx, call.params["id"]), **about_user(tx, call.params["user_id"])}


def _membership(call: Call, tx: Tx) -> tuple[str, str]:
    group = find(tx, groups, "group", call.params["id"])
    user = find(tx, users, "user", call.params["user_id"])
    return group.id, user.id


def _is_member(tx: Tx, group_id: str, user_id: str) -> bool:
    found = select(memberships.c.user_id).where(memberships.c.group_id == group_id, memberships.c.user_id == user_id)
    return tx.first(found) is not None


def _refuse_group_name(tx: Tx, name: str, domain_id: str, own_id: str | None = None) -> None:
    refuse_duplicate(
        tx,
        "group",
        name,
        groups.c.domain_id == domain_id,
        table=groups,
        own_id=own_id,
        place=f" at domain ID {domain_id}",
    )


def end_of_tokens(tx: Tx, row: Any) -> int:
    """A `tokens_valid_after_us` that the user never had, also where the clock stood still or went back."""
    previous: int = row.tokens_valid_after_us
    return max(int(tx.now.timestamp() * 1_000_000), previous + 1)

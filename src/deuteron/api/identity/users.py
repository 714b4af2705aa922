"""The requests about users. Passwords are hashed in threads, between a request's transactions."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from typing import Any

from deuteron.api.call import Call, Reply
from deuteron.api.identity.bodies import page, read_create, read_update, shown
from deuteron.api.identity.policies import about_user, domain_in, own_domain, require
from deuteron.api.identity.projects import caller_domain
from deuteron.api.identity.queries import asked
from deuteron.model.codecs import quoted
from deuteron.model.errors import BadRequest, Unauthorized
from deuteron.model.identity import USER
from deuteron.model.settings import SecurityCompliance
from deuteron.rules.identity import accounts, users
from deuteron.rules.identity.passwords import Workers, hash_password, verify_password
from deuteron.rules.identity.tokens import REFUSED
from deuteron.store.database import Tx


def list_users(call: Call, tx: Tx) -> Reply:
    require(call, "list_users", own_domain(call, "target.domain_id"))
    nobody = any(call.get(name) is not None for name in ("idp_id", "protocol_id", "unique_id"))
    expiring = asked_expiry(call)
    rows, truncated = users.listed_users(tx, asked(call), call.caller.domain_id, nobody=nobody, expiring=expiring)
    return page(call, "users", shown_users(call, tx, rows), truncated)


def show_user(call: Call, tx: Tx) -> Reply:
    require(call, "get_user", about_user(tx, call.params["id"]))
    row = users.find_user(tx, call.params["id"])
    return Reply(200, {"user": shown_users(call, tx, [row])[0]})


async def create_user(call: Call, workers: Workers) -> Reply:
    await call.read_body()
    body = call.wrapped("user")
    require(call, "create_user", domain_in(body, "target.user.domain_id"))
    values = read_create(USER, body)
    password = values.pop("password", None)
    asked_for = call.settings.operator.security_compliance
    hashed = None if password is None else await workers.run(lambda: _hashed(password, asked_for))
    values["domain_id"] = values["domain_id"] or caller_domain(call)

    def store(tx: Tx) -> Reply:
        columns = accounts.with_password(None, hashed, asked_for, tx.now, values["options"], is_own=False)
        given = values if hashed is None else {**values, **columns}
        return Reply(201, {"user": shown_user(call, users.create_user(tx, given))})

    return await asyncio.wrap_future(call.store.submit(store))


async def update_user(call: Call, workers: Workers) -> Reply:
    await call.read_body()
    with call.store.read() as reading:
        require(call, "update_user", about_user(reading, call.params["id"]))
    body = call.wrapped("user")
    password = body.get("password")
    if password is not None and not isinstance(password, str):
        raise BadRequest(f"Invalid input for field 'password': {quoted(password)} is not of type 'string'")
    asked_for = call.settings.operator.security_compliance
    hashed = None if password is None else await workers.run(lambda: _hashed(password, asked_for))

    def store(tx: Tx) -> Reply:
        row = users.find_user(tx, call.params["id"])
        values = read_update(USER, body, row)
        values.pop("password", None)
        if hashed is not None:
            options = values.get("options", row["options"])
            values |= accounts.with_password(row, hashed, asked_for, tx.now, options, is_own=False)
        return Reply(200, {"user": shown_user(call, users.change_user(tx, row, values))})

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
    asked_for = call.settings.operator.security_compliance

    def compare() -> tuple[str, str, list[str]]:
        with call.store.read() as tx:
            row, now_s = users.any_user(tx, user_id), tx.now.timestamp()
            stored = None if row is None else row["password_hash"]
        if not verify_password(original, stored) or row is None or stored is None:
            call.store.write(lambda tx: accounts.fail(tx, user_id, asked_for))
            raise Unauthorized(REFUSED)
        with call.store.read() as tx:
            users.refuse_unable(tx, row, asked_for)
        accounts.refuse_weak(password, asked_for)
        before = accounts.passwords_of(row)
        accounts.refuse_own_change(row, asked_for, now_s)
        accounts.refuse_used(password, before, asked_for)
        return stored, hash_password(password), before

    old, new, before = await workers.run(compare)

    def store(tx: Tx) -> Reply:
        # Somebody may have changed it since it was compared, or disabled the user.
        users.replace_password(tx, asked_for, user_id, old, new, before)
        return Reply(204)

    return await asyncio.wrap_future(call.store.submit(store))


def _hashed(password: str, asked_for: SecurityCompliance) -> str:
    """Raises: BadRequest for a weak one."""
    accounts.refuse_weak(password, asked_for)
    return hash_password(password)


def delete_user(call: Call, tx: Tx) -> Reply:
    require(call, "delete_user", about_user(tx, call.params["id"]))
    users.remove_user(tx, users.find_user(tx, call.params["id"])["id"])
    return Reply(204)


def shown_user(call: Call, row: Mapping[str, object]) -> dict[str, Any]:
    body = shown(call, USER, row)
    for name in ("description", "email", "default_project_id"):
        if body.get(name) is None:
            body.pop(name, None)
    return body


def shown_users(call: Call, tx: Tx, rows: Sequence[Mapping[str, object]]) -> list[dict[str, Any]]:
    """The same of several, where those that were away for too long are disabled."""
    away = users.inactive_among(tx, [str(row["id"]) for row in rows], call.settings.operator.security_compliance)
    bodies = [shown_user(call, row) for row in rows]
    return [{**body, "enabled": body["enabled"] and body["id"] not in away} for body in bodies]


def asked_expiry(call: Call) -> tuple[str, str] | None:
    """How a list compares when passwords end: an operator and a time. Raises: BadRequest."""
    text = call.get("password_expires_at")
    if text is None:
        return None
    found = re.fullmatch(r"(lt|lte|gt|gte|eq|neq):(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ)", text)
    if found is None:
        raise BadRequest(
            f"Invalid input for field 'password_expires_at': {text!r} is not an operator (lt, lte, gt, gte, eq, neq) "
            "and a time, as in lt:2026-01-31T12:00:00Z",
            type="ValidationError",
        )
    return found[1], found[2]

"""The requests about users. Passwords are hashed in threads, between a request's transactions."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from typing import Any

from deuteron.api.call import Call, Reply
from deuteron.api.identity.bodies import page, read_create, read_update, shown
from deuteron.api.identity.policies import about_user, domain_in, own_domain, require
from deuteron.api.identity.projects import caller_domain
from deuteron.api.identity.queries import asked
from deuteron.model.codecs import quoted
from deuteron.model.errors import BadRequest
from deuteron.model.identity import USER
from deuteron.rules.identity import users
from deuteron.rules.identity.passwords import Workers, hash_password
from deuteron.store.database import Tx


def list_users(call: Call, tx: Tx) -> Reply:
    require(call, "list_users", own_domain(call, "target.domain_id"))
    nobody = _asks_for_nobody(call)
    rows, truncated = users.listed_users(tx, asked(call), call.caller.domain_id, nobody=nobody)
    return page(call, "users", [shown_user(call, row) for row in rows], truncated)


def show_user(call: Call, tx: Tx) -> Reply:
    require(call, "get_user", about_user(tx, call.params["id"]))
    return Reply(200, {"user": shown_user(call, users.find_user(tx, call.params["id"]))})


async def create_user(call: Call, workers: Workers) -> Reply:
    await call.read_body()
    body = call.wrapped("user")
    require(call, "create_user", domain_in(body, "target.user.domain_id"))
    values = read_create(USER, body)
    password = values.pop("password", None)
    values["password_hash"] = None if password is None else await workers.run(lambda: hash_password(password))
    values["domain_id"] = values["domain_id"] or caller_domain(call)

    def store(tx: Tx) -> Reply:
        return Reply(201, {"user": shown_user(call, users.create_user(tx, values))})

    return await asyncio.wrap_future(call.store.submit(store))


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
        row = users.find_user(tx, call.params["id"])
        values = read_update(USER, body, row)
        values.pop("password", None)
        if hashed is not None:
            values["password_hash"] = hashed
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

    def compare() -> tuple[str, str]:
        with call.store.read() as tx:
            stored = users.stored_password(tx, user_id)
        return users.rehash(stored, original, password)

    old, new = await workers.run(compare)

    def store(tx: Tx) -> Reply:
        # Somebody may have changed it since it was compared, or disabled the user.
        users.replace_password(tx, user_id, old, new)
        return Reply(204)

    return await asyncio.wrap_future(call.store.submit(store))


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


def _asks_for_nobody(call: Call) -> bool:
    """Whether a filter is there that no user here meets: none comes from another cloud, and no password expires.

    Raises: BadRequest.
    """
    text = call.get("password_expires_at")
    if text is not None and re.fullmatch(r"(lt|lte|gt|gte|eq|neq):\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", text) is None:
        raise BadRequest(
            f"Invalid input for field 'password_expires_at': {text!r} is not an operator (lt, lte, gt, gte, eq, neq) "
            "and a time, as in lt:2026-01-31T12:00:00Z",
            type="ValidationError",
        )
    names = ("idp_id", "protocol_id", "unique_id", "password_expires_at")
    return any(call.get(name) is not None for name in names)

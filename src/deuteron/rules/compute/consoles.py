"""Leave to look at a server's console: a token of one use and short life, kept as its digest.

A token is asked for by who may have the console. Whoever shows it is let in, once, while the server is still on the
host and in the project that it was then: the page that shows it runs in a browser, which has no other right.

Source: nova/objects/console_auth_token.py; nova/conf/consoleauth.py `token_ttl`.
"""

from __future__ import annotations

import hashlib
import time
import uuid
from typing import Final, NamedTuple

from sqlalchemy import delete, select, update

from deuteron.model.compute import POWER_RUNNING
from deuteron.model.errors import ApiError, BadRequest, Conflict
from deuteron.rules.compute.faults import wrong_state
from deuteron.rules.compute.lifecycle import ServerRow
from deuteron.store.compute_tables import console_tokens, servers
from deuteron.store.database import Tx

LIFE_S: Final = 600
_MOST: Final = 20
"""Tokens of one server that may still be used; of more, the oldest ends."""
_TOKEN_CHARACTERS: Final = 36


class Grant(NamedTuple):
    """What somebody may look at."""

    server_id: str
    host: str
    kind: str
    """ "vnc", "spice" or "serial"."""


def require_ready(row: ServerRow, action: str) -> str:
    """The host to ask for a console. Raises: Conflict.

    Source: nova/compute/api.py `check_instance_host`, `reject_instance_state`.
    """
    if row.host is None:
        raise not_ready(row.id)
    if row.task_state in ("deleting", "migrating"):
        raise wrong_state(action, row.id, "task_state", row.task_state)
    host: str = row.host
    return host


def not_ready(server_id: str) -> Conflict:
    return Conflict(f"Instance {server_id} is not ready", type="InstanceNotReady")


def unavailable(console_type: str) -> ApiError:
    return BadRequest(f"Unavailable console type {console_type}.", type="ConsoleTypeUnavailable")


def make(tx: Tx, grant: Grant, project_id: str) -> str:
    """A new token. What is over goes."""
    now = int(time.time())
    table = console_tokens
    tx.execute(delete(table).where(table.c.expires_at <= now))
    mine = select(table.c.digest).where(table.c.server_id == grant.server_id)
    newest = tx.scalars(mine.order_by(table.c.expires_at.desc(), table.c.digest))
    for digest in newest[_MOST - 1 :]:
        tx.execute(delete(table).where(table.c.digest == digest))
    token = str(uuid.uuid4())
    values = {"digest": _digest(token), "server_id": grant.server_id, "project_id": project_id, "host": grant.host}
    tx.insert(table, {**values, "kind": grant.kind, "expires_at": now + LIFE_S, "is_used": 0})
    return token


def find(tx: Tx, token: str) -> Grant | None:
    """What the token gives leave for; None when it is over, was used, or its server is not where it was."""
    return _find(tx, _digest(token), used=False) if len(token) == _TOKEN_CHARACTERS else None


def use(tx: Tx, token: str, kind: str) -> Grant | None:
    """As `find`, of consoles of this kind; from now on it is used."""
    grant = find(tx, token)
    if grant is None or grant.kind != kind:
        return None
    tx.execute(update(console_tokens).where(console_tokens.c.digest == _digest(token)).values(is_used=1))
    return grant


def holds(tx: Tx, token: str) -> bool:
    """Whether a token that was used would still give leave. Its time may be over: who looks goes on looking."""
    return _find(tx, _digest(token), used=True) is not None


def _find(tx: Tx, digest: str, *, used: bool) -> Grant | None:
    table = console_tokens
    row = tx.first(select(table).where(table.c.digest == digest, table.c.is_used == int(used)))
    if row is None or (not used and row.expires_at <= time.time()):
        return None
    server = tx.first(
        select(servers.c["host"], servers.c["project_id"], servers.c["power_state"], servers.c["task_state"]).where(
            servers.c["id"] == row.server_id
        )
    )
    is_same = server is not None and (server.host, server.project_id) == (row.host, row.project_id)
    if server is None or not is_same or server.power_state != POWER_RUNNING or server.task_state == "deleting":
        return None
    return Grant(row.server_id, row.host, row.kind)


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()

"""What is kept of each resize, migration and evacuation: from where to where, and how far it is, in Nova's words.

    resize, migration   migrating -> finished -> confirmed;  reverting -> reverted
    live migration      preparing -> running -> completed, cancelled
    evacuation          accepted -> done -> completed, once the host that is back has removed what it had
    any                 -> error

A server has at most one that is not over: the newest. It is written by those who move servers, in their transaction,
and is forgotten with the server.

Source: nova/compute/manager.py, nova/conductor/tasks/migrate.py: where `migration.status` is set.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final
from uuid import uuid4

import msgspec
from sqlalchemy import delete, func, select, update

from deuteron.model.caller import Caller
from deuteron.model.intent import LiveFigures
from deuteron.rules.compute import history
from deuteron.rules.compute.history import ActionRow
from deuteron.store import query
from deuteron.store.compute_tables import migrations
from deuteron.store.database import Tx

MigrationRow = ActionRow

RESIZE: Final = "resize"
COLD: Final = "migration"
LIVE: Final = "live-migration"
EVACUATION: Final = "evacuation"

IN_PROGRESS: Final = ("queued", "preparing", "running", "post-migrating")
"""Of a live migration."""
_UNDER_WAY: Final = ("accepted", "migrating", "post-migrating", "reverting", *IN_PROGRESS)
_OPEN: Final = (*_UNDER_WAY, "finished", "done")
_SETTLED: Final = {
    "migrating": "finished",
    "post-migrating": "finished",
    "reverting": "reverted",
    "accepted": "done",
    "preparing": "completed",
    "running": "completed",
}
"""What one is once its server is as it should be."""


def begin(
    tx: Tx, caller: Caller, server_id: str, type: str, source: str | None, dest: str | None, status: str = "migrating"
) -> str:
    """Record that it was asked for. Its id."""
    made = str(uuid4())
    tx.insert(
        migrations,
        {
            "id": made,
            "number": (tx.scalar(select(func.max(migrations.c["number"]))) or 0) + 1,
            "server_id": server_id,
            "type": type,
            "status": status,
            "source": source,
            "dest": dest,
            "project_id": caller.project_id or "",
            "user_id": caller.user_id,
            "created_at": history.moment(tx.now),
            "updated_at": None,
        },
    )
    return made


def newest(tx: Tx, server_id: str) -> MigrationRow | None:
    """The last one of a server, over or not."""
    of_server = select(migrations).where(migrations.c["server_id"] == server_id)
    return tx.first(of_server.order_by(migrations.c["number"].desc()).limit(1))


def evacuated_from(tx: Tx, server_ids: Iterable[str]) -> dict[str, frozenset[str]]:
    """By server, the hosts that it was evacuated from: what they had of it, they have no more."""
    found: dict[str, set[str]] = {}
    ids = list(server_ids)
    if ids:
        asked = select(migrations.c["server_id"], migrations.c["source"]).where(
            query.any_of(migrations.c["server_id"], ids), migrations.c["type"] == EVACUATION
        )
        for row in tx.all(asked):
            if row.source is not None:
                found.setdefault(row.server_id, set()).add(row.source)
    return {server_id: frozenset(hosts) for server_id, hosts in found.items()}


def find(tx: Tx, server_id: str, number: int) -> MigrationRow | None:
    return tx.first(select(migrations).where(migrations.c["server_id"] == server_id, migrations.c["number"] == number))


def set_status(tx: Tx, server_id: str, status: str) -> None:
    """How far the newest is; nothing when that is over."""
    row = newest(tx, server_id)
    if row is not None and row.status in _OPEN:
        _write(tx, row, status)


def set_figures(tx: Tx, migration_id: str, figures: LiveFigures, status: str) -> None:
    """How far a live one is; `status`, where it had not begun."""
    row = tx.first(select(migrations).where(migrations.c["id"] == migration_id))
    said = msgspec.to_builtins(figures)
    if row is None or row.status not in _OPEN or (row.figures == said and row.status == status):
        return
    values = {"status": status, "figures": said, "updated_at": history.moment(tx.now)}
    tx.execute(update(migrations).where(migrations.c["id"] == migration_id).values(values))


def settled(tx: Tx, server_id: str) -> None:
    """The server is as it should be."""
    row = newest(tx, server_id)
    if row is not None and row.status in _SETTLED:
        _write(tx, row, _SETTLED[row.status])


def failed(tx: Tx, server_id: str) -> None:
    """The server is in error; what was not under way any more is left as it was."""
    row = newest(tx, server_id)
    if row is not None and row.status in _UNDER_WAY:
        _write(tx, row, "error")


def end(tx: Tx, server_id: str) -> None:
    """The server is gone. As in Nova its resize is confirmed by that."""
    row = newest(tx, server_id)
    if row is not None and row.status in _OPEN:
        over = {"finished": "confirmed", "done": "completed"}
        _write(tx, row, over.get(row.status, "error"))


def forget(tx: Tx, server_id: str) -> None:
    tx.execute(delete(migrations).where(migrations.c["server_id"] == server_id))


def _write(tx: Tx, row: MigrationRow, status: str) -> None:
    values = {"status": status, "updated_at": history.moment(tx.now)}
    tx.execute(update(migrations).where(migrations.c["id"] == row.id).values(values))

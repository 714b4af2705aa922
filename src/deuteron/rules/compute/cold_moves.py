"""Cold migration, and a resize that does not fit where the server is: the server goes to another host, off.

    asked      -> row: `move`, `other_host` is the new host; task resize_migrating
    old host   -> ends the guest, lets its volumes go, packs its disks, gives them to the API (`begin`, `given`)
    `given`    -> the ports are plugged in on the new host, which is the row's host now; task resize_finish
    new host   -> takes the disks from the API, grows them, starts the guest; it is `resized`
    confirm    -> the old host removes what it has
    revert     -> the old host, whose disks nobody touched, is the row's host again and starts the guest; the new one
                  removes what it has. Volumes are let go there before: until then the row is the new host's

The row says all the way what should be of both hosts (`hub.projections.server`), so a crash of either or of the API is
one more beginning. A host that dies on the way leaves a server that can be evacuated.

Source: nova/compute/manager.py `resize_instance`, `finish_resize`, `confirm_resize`, `finish_revert_resize`.
"""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

import msgspec
from sqlalchemy import select

from deuteron.model.compute import Flavor, Move, Resize
from deuteron.model.intent import ServerReport
from deuteron.model.settings import Settings
from deuteron.rules.compute import history, lifecycle, loads, migrations, moves
from deuteron.rules.compute.lifecycle import ServerRow
from deuteron.store.compute_tables import servers
from deuteron.store.database import Tx


def folder(settings: Settings) -> Path:
    """Where the API keeps disks on their way, each move's in a file of its id."""
    return Path(settings.state_dir) / "moves"


def bootstrap(tx: Tx, settings: Settings) -> None:
    """Make the folder, and remove what a crash left in it. Run at every start, before requests are served."""
    place = folder(settings)
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    moving = [move_of(row) for row in tx.all(select(servers).where(servers.c["other_host"].is_not(None)))]
    wanted = {move.id for move in moving if move is not None and not move.is_taken}
    for entry in place.iterdir():
        if entry.name not in wanted:
            entry.unlink()


def asked(row: ServerRow, dest: str) -> dict[str, object]:
    """What the row says of a move that begins, or of a resize where the server is."""
    if dest == row.host:
        return {"move": None, "other_host": None}
    move = Move(str(uuid4()), row.host or "", dest)
    return {"move": msgspec.to_builtins(move), "other_host": dest}


def move_of(row: ServerRow) -> Move | None:
    return None if row.move is None else msgspec.convert(row.move, Move)


def giving(tx: Tx, host: str, move_id: str) -> ServerRow | None:
    """The server that the host is to give away by this move."""
    for row in tx.all(select(servers).where(servers.c["host"] == host, servers.c["other_host"].is_not(None))):
        move = move_of(row)
        if move is not None and move.id == move_id and not move.is_given and row.task_state != "deleting":
            return row
    return None


def is_taking(tx: Tx, host: str, move_id: str) -> bool:
    """Whether the host makes the disks of a server of those of this move."""
    return any(move.id == move_id and move.dest == host for move in _awaited(tx))


def _is_awaited(tx: Tx, move_id: str) -> bool:
    return any(move.id == move_id for move in _awaited(tx))


def _awaited(tx: Tx) -> list[Move]:
    """Moves whose disks the API has and the new host has not."""
    moving = (move_of(row) for row in tx.all(select(servers).where(servers.c["other_host"].is_not(None))))
    return [move for move in moving if move is not None and move.is_given and not move.is_taken]


def given(tx: Tx, settings: Settings, host: str, move_id: str) -> None:
    """The API has the disks: the server is the new host's. Raises: NotBound; all that was written has to be undone."""
    row = giving(tx, host, move_id)
    if row is None:
        # Sent twice at once, or for nothing. What the new host still fetches stays.
        if not _is_awaited(tx, move_id):
            tx.changed("move", move_id, deleted=True)
        return
    move = msgspec.convert(row.move, Move)
    moves.bind(tx, settings, row, move.dest)
    migrations.set_status(tx, row.id, "post-migrating")
    lifecycle.set_server(
        tx,
        row.id,
        host=move.dest,
        other_host=move.source,
        move=msgspec.to_builtins(msgspec.structs.replace(move, is_given=True)),
        task_state="resize_finish",
    )


def give_up(tx: Tx, row: ServerRow, why: str) -> None:
    """The disks cannot be had, or the ports not be plugged in: the server goes on where it is, as it was."""
    before = msgspec.convert(row.resize, Resize).flavor
    now = msgspec.convert(row.flavor, Flavor)
    loads.count_in_project(tx, row.project_id, now, -1)
    loads.count_in_project(tx, row.project_id, before, 1)
    lifecycle.end_move(tx, row)
    # The shape counts on: what was ended is started anew.
    lifecycle.set_server(
        tx,
        row.id,
        flavor=msgspec.to_builtins(before),
        resize=None,
        move=None,
        other_host=None,
        shape_generation=row.shape_generation + 1,
        task_state="resize_reverting",
    )
    migrations.set_status(tx, row.id, "error")
    history.finish(tx, row.id, why)


def taken(tx: Tx, row: ServerRow) -> None:
    """The new host runs the server: the API need not keep its disks."""
    move = move_of(row)
    if move is not None and not move.is_taken:
        lifecycle.end_move(tx, row)
        lifecycle.set_server(tx, row.id, move=msgspec.to_builtins(msgspec.structs.replace(move, is_taken=True)))


def has_let_go(row: ServerRow, report: ServerReport) -> bool:
    """Whether the guest of a server that is to go back has ended, and its host has none of its volumes any more."""
    is_off = report.state in ("shutdown", "absent") and report.shape_generation >= row.shape_generation
    return is_off and not (report.volumes or report.held)


def back(tx: Tx, settings: Settings, row: ServerRow) -> dict[str, object]:
    """Plug the ports in where the server came from; what its row says then. Raises: NotBound, as above."""
    move = move_of(row)
    if move is None:
        return {}
    moves.bind(tx, settings, row, move.source)
    lifecycle.end_move(tx, row)
    return {"host": move.source, "move": None, "other_host": None}

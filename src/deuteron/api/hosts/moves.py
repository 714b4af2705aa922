"""Disks of servers that move to another host, on their way: taken from the one, kept in a file, given to the other."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import BinaryIO, Final

from deuteron.api.call import Call, Reply
from deuteron.api.image import sink
from deuteron.hub.hub import host_of
from deuteron.model.codecs import is_uuid
from deuteron.model.errors import NotFound
from deuteron.model.settings import Settings
from deuteron.rules.compute import cold_moves
from deuteron.rules.compute.moving_volumes import NotBound
from deuteron.store import database
from deuteron.store.database import Tx

PATH: Final = "/moves/{id}"
_PIECE: Final = 1024 * 1024


async def take(call: Call) -> Reply:
    """PUT: the disks, as the host that has the server packs them; 204 also when the server stays where it is by now.

    Raises: NotFound when no server of the host is to be given away by this move; what an upload of an image raises.
    """
    host, move_id = _host(call), call.params["id"]

    def find() -> bool:
        with call.store.read() as tx:
            return is_uuid(move_id) and cold_moves.giving(tx, host, move_id) is not None

    if not await asyncio.to_thread(find):
        raise NotFound(f"no server of host {host} is to be given away by move {move_id}")
    place = cold_moves.folder(call.settings)
    temporary = place / f".upload-{move_id}-{secrets.token_hex(4)}"
    try:
        await sink.receive(call, temporary)
        await asyncio.to_thread(sink.rename, temporary, place / move_id)
    except OSError as error:
        raise sink.storage_error(error) from error
    finally:
        await asyncio.to_thread(temporary.unlink, missing_ok=True)
    # Shielded: once it is queued it happens, even if this task is cancelled.
    await asyncio.shield(_hand_over(call, host, move_id))
    return Reply(204)


async def _hand_over(call: Call, host: str, move_id: str) -> None:
    try:
        await asyncio.wrap_future(call.store.submit(lambda tx: cold_moves.given(tx, call.settings, host, move_id)))
    except NotBound as error:
        why = str(error)

        def give_up(tx: Tx) -> None:
            row = cold_moves.giving(tx, host, move_id)
            if row is not None:
                cold_moves.give_up(tx, row, why)

        await asyncio.wrap_future(call.store.submit(give_up))


async def give(call: Call) -> Reply:
    """GET: the disks, for the host that the server comes to. Raises: NotFound for every other."""
    host, move_id = _host(call), call.params["id"]

    def find() -> tuple[BinaryIO, int]:
        with call.store.read() as tx:
            if not is_uuid(move_id) or not cold_moves.is_taking(tx, host, move_id):
                raise NotFound(f"no server comes to host {host} by move {move_id}")
        path = cold_moves.folder(call.settings) / move_id
        try:
            return path.open("rb"), path.stat().st_size
        except FileNotFoundError:
            raise NotFound(f"the disks of move {move_id} are not there") from None

    file, size = await asyncio.to_thread(find)
    return Reply(200, None, {"content-length": str(size)}, "application/octet-stream", pieces(file))


class Parcels:
    """Removes the disks of moves that are over. `heard` is called with each commit."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="parcels")

    def heard(self, revision: int, touched: Sequence[database.Change]) -> None:
        for change in touched:
            if change.kind == "move" and change.deleted:
                self._pool.submit((cold_moves.folder(self._settings) / change.id).unlink, missing_ok=True)


def _host(call: Call) -> str:
    return host_of(call.settings, call.headers.get("authorization", "")) or ""


async def pieces(file: BinaryIO) -> AsyncIterator[bytes]:
    """What the file holds; it is closed at the end."""
    try:
        while piece := await asyncio.to_thread(file.read, _PIECE):
            yield piece
    finally:
        file.close()

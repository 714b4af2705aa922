"""Volumes that go to another host, on their way: taken from the one, kept in a file, given to the other."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import BinaryIO, Final

from deuteron.api.call import Call, Reply
from deuteron.api.hosts.moves import pieces
from deuteron.api.image import sink
from deuteron.hub.hub import host_of
from deuteron.model.codecs import is_uuid
from deuteron.model.errors import NotFound
from deuteron.model.settings import Settings
from deuteron.rules.volume import moves
from deuteron.store import database

PATH: Final = "/volume-moves/{id}"


async def take(call: Call) -> Reply:
    """PUT: the data, in a qcow2 file; 204 also when the volume stays where it is by now.

    Raises: NotFound when the host gives no volume away by this move; what an upload of an image raises.
    """
    host, move_id = _host(call), call.params["id"]

    def find() -> bool:
        with call.store.read() as tx:
            return is_uuid(move_id) and moves.giving(tx, host, move_id) is not None

    if not await asyncio.to_thread(find):
        raise NotFound(f"host {host} gives no volume away by move {move_id}")
    place = moves.folder(call.settings)
    temporary = place / f".upload-{move_id}-{secrets.token_hex(4)}"
    try:
        await sink.receive(call, temporary)
        await asyncio.to_thread(sink.rename, temporary, place / move_id)
    except OSError as error:
        raise sink.storage_error(error) from error
    finally:
        await asyncio.to_thread(temporary.unlink, missing_ok=True)
    # Shielded: once it is queued it happens, even if this task is cancelled.
    await asyncio.shield(asyncio.wrap_future(call.store.submit(lambda tx: moves.given(tx, host, move_id))))
    return Reply(204)


async def give(call: Call) -> Reply:
    """GET: the data, for the host that the volume comes to. Raises: NotFound for every other."""
    host, move_id = _host(call), call.params["id"]

    def find() -> tuple[BinaryIO, int]:
        with call.store.read() as tx:
            if not is_uuid(move_id) or not moves.is_taking(tx, host, move_id):
                raise NotFound(f"no volume comes to host {host} by move {move_id}")
        path = moves.folder(call.settings) / move_id
        try:
            return path.open("rb"), path.stat().st_size
        except FileNotFoundError:
            raise NotFound(f"the volume of move {move_id} is not there") from None

    file, size = await asyncio.to_thread(find)
    return Reply(200, None, {"content-length": str(size)}, "application/octet-stream", pieces(file))


class VolumeParcels:
    """Removes the data of moves that are over. `heard` is called with each commit."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="volume-parcels")

    def heard(self, revision: int, touched: Sequence[database.Change]) -> None:
        for change in touched:
            if change.kind == "volume_move" and change.deleted:
                self._pool.submit((moves.folder(self._settings) / change.id).unlink, missing_ok=True)


def _host(call: Call) -> str:
    return host_of(call.settings, call.headers.get("authorization", "")) or ""

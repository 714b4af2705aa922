"""What goes from host to host through the API: taken from the one, kept in a file of its move, given to the other.

Disks of servers (`moves`) and volumes (`volume_moves`) go this way; each says itself who may give, and who may take.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO, Final

from deuteron.api.call import Call, Reply
from deuteron.api.image import sink
from deuteron.hub.hub import host_of
from deuteron.model.codecs import is_uuid
from deuteron.model.errors import NotFound
from deuteron.store import database
from deuteron.store.database import Tx

_PIECE: Final = 1024 * 1024

May = Callable[[Tx, str, str], bool]
"""Whether a host gives something away, or takes it, by a move: host, move."""


def host(call: Call) -> str:
    """The host that asks."""
    return host_of(call.settings, call.headers.get("authorization", "")) or ""


async def keep(call: Call, place: Path, may_give: May, refusal: str) -> None:
    """Of a PUT: the body becomes the file of the move.

    Raises: NotFound, which says `refusal`, for a host that gives nothing away by it; what an upload of an image raises.
    """
    if not await asyncio.to_thread(_may, call, may_give):
        raise NotFound(refusal)
    move_id = call.params["id"]
    temporary = place / f".upload-{move_id}-{secrets.token_hex(4)}"
    try:
        await sink.receive(call, temporary)
        await asyncio.to_thread(sink.rename, temporary, place / move_id)
    except OSError as error:
        raise sink.storage_error(error) from error
    finally:
        await asyncio.to_thread(temporary.unlink, missing_ok=True)


async def hand_out(call: Call, place: Path, may_take: May, refusal: str) -> Reply:
    """Of a GET: what was kept. Raises: NotFound for a host to which nothing comes by the move, and for no file."""
    if not await asyncio.to_thread(_may, call, may_take):
        raise NotFound(refusal)
    move_id = call.params["id"]

    def find() -> tuple[BinaryIO, int]:
        path = place / move_id
        try:
            return path.open("rb"), path.stat().st_size
        except FileNotFoundError:
            raise NotFound(f"what goes by move {move_id} is not there") from None

    file, size = await asyncio.to_thread(find)
    return Reply(200, None, {"content-length": str(size)}, "application/octet-stream", _pieces(file))


class Parcels:
    """Removes from a folder what moves of a kind left there that are over. `heard` is called with each commit."""

    def __init__(self, place: Path, kind: str) -> None:
        self._place = place
        self._kind = kind
        self._pool = ThreadPoolExecutor(1, thread_name_prefix=f"{kind}-parcels")

    def heard(self, revision: int, touched: Sequence[database.Change]) -> None:
        for change in touched:
            if change.kind == self._kind and change.deleted:
                self._pool.submit((self._place / change.id).unlink, missing_ok=True)


def _may(call: Call, may: May) -> bool:
    move_id = call.params["id"]
    with call.store.read() as tx:
        return is_uuid(move_id) and may(tx, host(call), move_id)


async def _pieces(file: BinaryIO) -> AsyncIterator[bytes]:
    """What the file holds; it is closed at the end."""
    try:
        while piece := await asyncio.to_thread(file.read, _PIECE):
            yield piece
    finally:
        file.close()

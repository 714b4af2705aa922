"""The data of images as they come and go over HTTP: uploads and downloads in pieces, and the end of both.

An upload goes to a temporary name, is hashed as it comes, made durable, inspected, and only then gets its name
and its row the status `active`. Any failure (the client went away, the disk is full, the content is refused) removes
the temporary file and puts the image back to `queued`.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import BinaryIO, TypeVar

from deuteron.api.call import Call, Reply
from deuteron.api.image import sink, stores
from deuteron.api.image.policies import require, target
from deuteron.model.codecs import whole_number
from deuteron.model.errors import BeyondEnd, Forbidden, NotFound, Unsupported
from deuteron.model.image_rows import ImageRow
from deuteron.rules.image import data
from deuteron.rules.image.data import Declared, Received
from deuteron.rules.image.images import find_visible, remove
from deuteron.rules.image.inspect import Inspection
from deuteron.rules.image.stores import WITH_DATA, open_first, readable
from deuteron.store.database import Tx

T = TypeVar("T")


async def upload(call: Call) -> Reply:
    """PUT /v2/images/{id}/file, to the store that a header names, or to the default one.

    Raises: Unsupported, NotFound, Forbidden, Conflict, BadRequest; TooLarge when the disk is full; Gone when the
    image is deleted meanwhile.
    """
    refuse_other_type(call)
    image_id, folder = call.params["id"], stores.folder_of_upload(call)
    await take(call, await write(call, lambda tx: _begin(call, tx, image_id, folder)))
    return Reply(204)


async def take(call: Call, declared: Declared, also: Callable[[Tx], None] = lambda tx: None) -> None:
    """Make the body of the request the data of an image whose upload has begun; `also` is done with it.

    Raises: BadRequest; TooLarge when the disk is full; Gone when the image is deleted meanwhile.
    """
    temporary = data.new_upload(call.settings, declared.id, declared.folder)
    is_done = False
    store = call.store
    try:
        received = await sink.receive(call, temporary)
        result = await asyncio.to_thread(sink.settle, temporary, declared, call.settings.operator.image)
        final = data.path_of(call.settings, declared.id, declared.folder)
        await asyncio.to_thread(sink.rename, temporary, final)
        # Shielded: once it is queued it happens, even if this task is cancelled.
        await asyncio.shield(
            asyncio.wrap_future(store.submit(lambda tx: _finish(tx, declared, received, result, also)))
        )
        is_done = True
    except OSError as error:
        raise sink.storage_error(error) from error
    finally:
        if not is_done:
            # Also when this task is cancelled. Queued behind `finish`, if that was reached.
            temporary.unlink(missing_ok=True)
            given_back = store.submit(lambda tx: data.give_back(tx, call.settings, declared))
            await asyncio.shield(asyncio.wrap_future(given_back))


def _finish(
    tx: Tx, declared: Declared, received: Received, result: Inspection | None, also: Callable[[Tx], None]
) -> None:
    data.finish(tx, declared, received, result)
    also(tx)


async def download(call: Call) -> Reply:
    """GET /v2/images/{id}/file: 204 while there are no data; one range of bytes if asked for.

    `prefer` names stores to read from before others.
    """

    def prepare() -> tuple[ImageRow, BinaryIO] | None:
        with call.store.read() as tx:
            row = find_visible(tx, call.caller, call.params["id"])
            require(call, "download_image", target(call.caller, row))
            if row["status"] == "deactivated" and not call.caller.is_admin:
                raise Forbidden("The requested image has been deactivated. Image data download is forbidden.")
            names = [name.strip() for name in dict(call.query).get("prefer", "").split(",")]
            preferred = [name for name in names if name]
            if preferred:
                require(call, "download_from_store", target(call.caller, row))
            chosen = stores.chosen(call, preferred)
            if row["status"] not in WITH_DATA:
                return None
        file = open_first(readable(call.settings, row, chosen), row["size"] or 0)
        if file is not None:
            return row, file
        if row["size"] == 0:
            return None
        raise NotFound(f"Image data of {row['id']} could not be found")

    found = await asyncio.to_thread(prepare)
    if found is None:
        return Reply(204)
    row, file = found
    size = row["size"] or 0
    headers = {"Content-Length": str(size), "Accept-Ranges": "bytes"}
    first, last, status = 0, size - 1, 200
    asked = _range(call.headers.get("range"), size)
    if asked is not None:
        first, last, status = *asked, 206
        if first > last:
            file.close()
            call.extra_headers["content-range"] = f"bytes */{size}"
            raise BeyondEnd(f"The image has {size} bytes.")
        headers |= {"Content-Range": f"bytes {first}-{last}/{size}", "Content-Length": str(last - first + 1)}
    elif row["checksum"]:
        headers["Content-MD5"] = row["checksum"]
    return Reply(status, None, headers, "application/octet-stream", _pieces(file, first, last - first + 1))


async def delete(call: Call) -> Reply:
    """DELETE /v2/images/{id}: the row first; the file once nothing refers to it any more."""
    paths = await write(call, lambda tx: _remove(call, tx, call.params["id"]))

    def unlink() -> None:
        for path in paths:
            path.unlink(missing_ok=True)

    await asyncio.to_thread(unlink)
    return Reply(204)


def refuse_other_type(call: Call) -> None:
    """Raises: Unsupported unless the body is bytes."""
    media_type = call.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/octet-stream":
        raise Unsupported(f"The media type {media_type!r} is not supported; accepted: application/octet-stream")


def _remove(call: Call, tx: Tx, image_id: str) -> tuple[Path, ...]:
    row = find_visible(tx, call.caller, image_id)
    require(call, "delete_image", target(call.caller, row))
    remove(tx, row)
    return *data.copies_of(call.settings, row["id"]), data.staged_path(call.settings, row["id"])


def _begin(call: Call, tx: Tx, image_id: str, folder: str | None) -> Declared:
    row = find_visible(tx, call.caller, image_id)
    require(call, "upload_image", target(call.caller, row))
    return data.begin(tx, call.settings.operator.image, row, folder)


def _range(text: str | None, size: int) -> tuple[int, int] | None:
    """First and last byte of a `Range`; None to send all (absent, several ranges, not understood)."""
    if text is None or not text.startswith("bytes=") or "," in text:
        return None
    start, dash, end = text[6:].strip().partition("-")
    first, last = whole_number(start), whole_number(end)
    if not dash or (start and first is None) or (end and last is None):
        return None
    if first is not None:
        return first, size - 1 if last is None else min(last, size - 1)
    return None if last is None else (max(0, size - last), size - 1)


async def _pieces(file: BinaryIO, first: int, length: int) -> AsyncIterator[bytes]:
    try:
        await asyncio.to_thread(file.seek, first)
        while length > 0:
            piece = await asyncio.to_thread(file.read, min(sink.CHUNK_BYTES, length))
            if not piece:
                raise OSError(errno.EIO, f"{file.name} is shorter than its image says")
            length -= len(piece)
            yield piece
    finally:
        file.close()


async def write(call: Call, function: Callable[[Tx], T]) -> T:
    """What the function returns, once its commit is durable."""
    return await asyncio.wrap_future(call.store.submit(function))

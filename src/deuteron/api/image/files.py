"""The data of images as they come and go over HTTP: uploads and downloads in pieces, and the end of both.

An upload goes to a temporary name, is hashed as it comes, made durable, inspected, and only then gets its name
and its row the status `active`. Any failure (the client went away, the disk is full, the content is refused) removes
the temporary file and puts the image back to `queued`.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import BinaryIO, TypeVar

from deuteron.api.call import Call, Reply
from deuteron.api.image.policies import require, target
from deuteron.model.codecs import whole_number
from deuteron.model.errors import (
    ApiError,
    BadRequest,
    BeyondEnd,
    Forbidden,
    NotFound,
    TooLarge,
    Unavailable,
    Unsupported,
)
from deuteron.model.image_rows import ImageRow
from deuteron.model.settings import ImageOptions
from deuteron.rules.image import data
from deuteron.rules.image.data import Declared, Received
from deuteron.rules.image.images import find_visible, remove
from deuteron.rules.image.inspect import Inspection, Refused, inspect_image, is_accepted_as
from deuteron.store.database import Tx

T = TypeVar("T")

CHUNK_BYTES = 1024 * 1024
MAX_IMAGE_BYTES = 1024**4
RESERVE_BYTES = 128 * 1024**2
"""Room that uploads leave on the disk: the database lies there too, and must be able to commit."""


async def upload(call: Call) -> Reply:
    """PUT /v2/images/{id}/file.

    Raises: Unsupported, NotFound, Forbidden, Conflict, BadRequest; TooLarge when the disk is full; Gone when the
    image is deleted meanwhile.
    """
    media_type = call.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/octet-stream":
        raise Unsupported(f"The media type {media_type!r} is not supported; accepted: application/octet-stream")
    image_id = call.params["id"]
    await take(call, await _write(call, lambda tx: _begin(call, tx, image_id)))
    return Reply(204)


async def take(call: Call, declared: Declared, also: Callable[[Tx], None] = lambda tx: None) -> None:
    """Make the body of the request the data of an image whose upload has begun; `also` is done with it.

    Raises: BadRequest; TooLarge when the disk is full; Gone when the image is deleted meanwhile.
    """
    temporary = data.new_upload(call.settings, declared.id)
    is_done = False
    store = call.store
    try:
        received = await _receive(call, temporary)
        result = await asyncio.to_thread(_settle, temporary, declared, call.settings.operator.image)
        await asyncio.to_thread(_rename, temporary, data.path_of(call.settings, declared.id))
        # Shielded: once it is queued it happens, even if this task is cancelled.
        await asyncio.shield(
            asyncio.wrap_future(store.submit(lambda tx: _finish(tx, declared, received, result, also)))
        )
        is_done = True
    except OSError as error:
        raise _storage_error(error) from error
    finally:
        if not is_done:
            # Also when this task is cancelled. Queued behind `finish`, if that was reached.
            temporary.unlink(missing_ok=True)
            given_back = store.submit(lambda tx: data.give_back(tx, call.settings, declared.id))
            await asyncio.shield(asyncio.wrap_future(given_back))


def _finish(
    tx: Tx, declared: Declared, received: Received, result: Inspection | None, also: Callable[[Tx], None]
) -> None:
    data.finish(tx, declared, received, result)
    also(tx)


async def download(call: Call) -> Reply:
    """GET /v2/images/{id}/file: 204 while there are no data; one range of bytes if asked for."""

    def prepare() -> tuple[ImageRow, BinaryIO] | None:
        with call.store.read() as tx:
            row = find_visible(tx, call.caller, call.params["id"])
            require(call, "download_image", target(call.caller, row))
            if row["status"] == "deactivated" and not call.caller.is_admin:
                raise Forbidden("The requested image has been deactivated. Image data download is forbidden.")
            if row["status"] not in data.WITH_DATA:
                return None
        try:
            return row, data.path_of(call.settings, row["id"]).open("rb")
        except FileNotFoundError:
            raise NotFound(f"Image data of {row['id']} could not be found") from None

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
    path = await _write(call, lambda tx: _remove(call, tx, call.params["id"]))
    await asyncio.to_thread(lambda: path.unlink(missing_ok=True))
    return Reply(204)


def _remove(call: Call, tx: Tx, image_id: str) -> Path:
    row = find_visible(tx, call.caller, image_id)
    require(call, "delete_image", target(call.caller, row))
    remove(tx, row)
    return data.path_of(call.settings, row["id"])


class _Sink:
    """Writes and hashes; its methods block, and run in a thread. The lock keeps `close` from a write under way."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        self._is_open = True
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        self._size = 0
        # MD5 is what the API calls `checksum`; nothing relies on it for safety.
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._sha256 = hashlib.sha256()
        self._sha512 = hashlib.sha512()

    def write(self, data: bytes) -> None:
        """Raises: TooLarge, OSError."""
        with self._lock:
            if self._is_open:
                self._write(data)

    def _write(self, data: bytes) -> None:
        self._size += len(data)
        if self._size > MAX_IMAGE_BYTES:
            raise TooLarge(f"The incoming image is too large: at most {MAX_IMAGE_BYTES} bytes are accepted")
        space = os.fstatvfs(self._descriptor)
        if space.f_bavail * space.f_frsize < RESERVE_BYTES + len(data):
            raise OSError(errno.ENOSPC, "no space is left for images")
        view = memoryview(data)
        while view:
            view = view[os.write(self._descriptor, view) :]
        self._md5.update(data)
        self._sha256.update(data)
        self._sha512.update(data)

    def finish(self) -> Received:
        with self._lock:
            if self._is_open:
                os.fsync(self._descriptor)
        return Received(self._size, self._md5.hexdigest(), self._sha256.hexdigest(), self._sha512.hexdigest())

    def close(self) -> None:
        with self._lock:
            self._is_open = False
            os.close(self._descriptor)


async def _receive(call: Call, path: Path) -> Received:
    sink = await asyncio.to_thread(_Sink, path)
    try:
        buffer = bytearray()
        if call.receive is not None:
            async for piece in call.receive:
                buffer += piece
                if len(buffer) >= CHUNK_BYTES:
                    await asyncio.to_thread(sink.write, bytes(buffer))
                    buffer.clear()
        await asyncio.to_thread(sink.write, bytes(buffer))
        received = await asyncio.to_thread(sink.finish)
    finally:
        sink.close()
    promised = call.headers.get("x-openstack-image-size")
    if promised is not None and promised != str(received.size):
        raise BadRequest(f"The image has {received.size} bytes, x-openstack-image-size promises {promised}")
    return received


def _begin(call: Call, tx: Tx, image_id: str) -> Declared:
    row = find_visible(tx, call.caller, image_id)
    require(call, "upload_image", target(call.caller, row))
    return data.begin(tx, call.settings.operator.image, row)


def _settle(path: Path, declared: Declared, options: ImageOptions) -> Inspection | None:
    """Inspect the file; None for a container that is not looked into, or a format that need not be the declared one.

    Raises: Unsupported.
    """
    if declared.container_format not in data.PLAIN_CONTAINERS:
        return None
    try:
        with path.open("rb") as file:
            if options.require_image_format_match:
                return inspect_image(file, declared.disk_format)
            found = inspect_image(file, None)
            return found if is_accepted_as(found.format, declared.disk_format) else None
    except Refused as error:
        raise Unsupported(f"Image {declared.id} is refused: {error}") from None


def _rename(temporary: Path, final: Path) -> None:
    os.rename(temporary, final)
    folder = os.open(final.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _storage_error(error: OSError) -> ApiError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return TooLarge(f"Image storage media is full: {error.strerror}")
    return Unavailable(f"Image storage cannot be written: {error.strerror}")


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
            piece = await asyncio.to_thread(file.read, min(CHUNK_BYTES, length))
            if not piece:
                raise OSError(errno.EIO, f"{file.name} is shorter than its image says")
            length -= len(piece)
            yield piece
    finally:
        file.close()


async def _write(call: Call, function: Callable[[Tx], T]) -> T:
    return await asyncio.wrap_future(call.store.submit(function))

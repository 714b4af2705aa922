"""The data of images: files in the API's folder, one for each image, named by its id.

    images/<id>                 the data of an active or deactivated image; never written again
    images/.upload-<id>-<n>     an upload under way

An upload goes to a temporary name, is hashed as it comes, made durable, inspected, and only then gets its name
and its row the status `active`. Any failure (the client went away, the disk is full, the content is refused) removes
the temporary file and puts the image back to `queued`. What a crash leaves, `bootstrap` removes at the next start:
temporary files, files without an image, and the status `saving`. This supposes one API process for the folder.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import secrets
import threading
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from sqlalchemy import select, update

from deuteron.api.call import Call, Reply
from deuteron.api.image import limits
from deuteron.api.image.images import find, moment, remove_image, target, visible_image
from deuteron.api.image.inspect import Inspection, Refused, inspect_image, is_accepted_as
from deuteron.api.image.policies import require
from deuteron.model.codecs import whole_number
from deuteron.model.errors import (
    ApiError,
    BadRequest,
    BeyondEnd,
    Conflict,
    Forbidden,
    Gone,
    NotFound,
    TooLarge,
    Unavailable,
    Unsupported,
)
from deuteron.model.image import ImageId
from deuteron.model.settings import ImageOptions, Settings
from deuteron.store.database import Tx
from deuteron.store.image_tables import images

CHUNK_BYTES = 1024 * 1024
MAX_IMAGE_BYTES = 1024**4
RESERVE_BYTES = 128 * 1024**2
"""Room that uploads leave on the disk: the database lies there too, and must be able to commit."""

_UPLOAD = ".upload-"
_WITH_DATA = ("active", "deactivated")
_PLAIN_CONTAINERS = ("bare", "aki", "ari", "ami")
"""Containers that hold the disk as it is; what others hold is not looked into, and cannot be booted."""


def images_dir(settings: Settings) -> Path:
    return Path(settings.state_dir) / "images"


def bootstrap(tx: Tx, settings: Settings) -> None:
    """Make the folder, and remove what a crash left in it. Run at every start, before requests are served."""
    folder = images_dir(settings)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for id in tx.scalars(select(images.c.id).where(images.c.status == "saving")):
        tx.execute(update(images).where(images.c.id == id).values(status="queued"))
        tx.changed("image", id)
    wanted = set(tx.scalars(select(images.c.id).where(images.c.status.in_(_WITH_DATA))))
    for entry in folder.iterdir():
        if entry.is_file() and entry.name not in wanted:
            entry.unlink()


def open_image(settings: Settings, tx: Tx, image_id: str) -> tuple[Path, int, str]:
    """Path, size in bytes and SHA-256 of an image's data, for the agents.

    Raises: NotFound without such an image or its data; Conflict for data that were not inspected.
    """
    row = find(tx, image_id)
    if row.status not in _WITH_DATA:
        raise NotFound(f"image {image_id} has no data: its status is {row.status}")
    if not row.is_inspected:
        raise Conflict(
            f"image {image_id} cannot be booted: its container format is {row.container_format}, "
            f"and its content was not found to be {row.disk_format}"
        )
    return images_dir(settings) / row.id, row.size, row.sha256


async def upload(call: Call) -> Reply:
    """PUT /v2/images/{id}/file.

    Raises: Unsupported, NotFound, Forbidden, Conflict, BadRequest; TooLarge when the disk is full; Gone when the
    image is deleted meanwhile.
    """
    media_type = call.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/octet-stream":
        raise Unsupported(f"The media type {media_type!r} is not supported; accepted: application/octet-stream")
    image_id = call.params["id"]
    declared = await _write(call, lambda tx: _begin(call, tx, image_id))
    folder = images_dir(call.settings)
    temporary = folder / f"{_UPLOAD}{declared.id}-{secrets.token_hex(4)}"
    final = folder / declared.id
    is_done = False
    store = call.store
    try:
        received = await _receive(call, temporary)
        result = await asyncio.to_thread(_settle, temporary, declared, call.settings.operator.image)
        await asyncio.to_thread(_rename, temporary, final)
        # Shielded: once it is queued it happens, even if this task is cancelled.
        await asyncio.shield(asyncio.wrap_future(store.submit(lambda tx: _finish(tx, declared, received, result))))
        is_done = True
    except OSError as error:
        raise _storage_error(error) from error
    finally:
        if not is_done:
            # Also when this task is cancelled. Queued behind `_finish`, if that was reached.
            temporary.unlink(missing_ok=True)
            await asyncio.shield(asyncio.wrap_future(store.submit(lambda tx: _give_back(tx, declared.id, final))))
    return Reply(204)


async def download(call: Call) -> Reply:
    """GET /v2/images/{id}/file: 204 while there are no data; one range of bytes if asked for."""

    def prepare() -> tuple[Any, BinaryIO] | None:
        with call.store.read() as tx:
            row = visible_image(tx, call.caller, call.params["id"])
            require(call, "download_image", target(call.caller, row))
            if row.status == "deactivated" and not call.caller.is_admin:
                raise Forbidden("The requested image has been deactivated. Image data download is forbidden.")
            if row.status not in _WITH_DATA:
                return None
        try:
            return row, (images_dir(call.settings) / row.id).open("rb")
        except FileNotFoundError:
            raise NotFound(f"Image data of {row.id} could not be found") from None

    found = await asyncio.to_thread(prepare)
    if found is None:
        return Reply(204)
    row, file = found
    headers = {"Content-Length": str(row.size), "Accept-Ranges": "bytes"}
    first, last, status = 0, row.size - 1, 200
    asked = _range(call.headers.get("range"), row.size)
    if asked is not None:
        first, last, status = *asked, 206
        if first > last:
            file.close()
            call.extra_headers["content-range"] = f"bytes */{row.size}"
            raise BeyondEnd(f"The image has {row.size} bytes.")
        headers |= {"Content-Range": f"bytes {first}-{last}/{row.size}", "Content-Length": str(last - first + 1)}
    elif row.checksum:
        headers["Content-MD5"] = row.checksum
    return Reply(status, None, headers, "application/octet-stream", _pieces(file, first, last - first + 1))


async def delete(call: Call) -> Reply:
    """DELETE /v2/images/{id}: the row first; the file once nothing refers to it any more."""
    image_id = await _write(call, lambda tx: remove_image(call, tx, call.params["id"]))
    path = images_dir(call.settings) / image_id
    await asyncio.to_thread(lambda: path.unlink(missing_ok=True))
    return Reply(204)


@dataclass(frozen=True)
class Declared:
    """What an image was declared to be when its upload began."""

    id: str
    disk_format: str
    container_format: str


@dataclass(frozen=True)
class Received:
    """Size and digests of what was received."""

    size: int
    md5: str
    sha256: str
    sha512: str


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
    row = visible_image(tx, call.caller, image_id)
    require(call, "upload_image", target(call.caller, row))
    if row.status != "queued":
        raise Conflict(f"Image status transition from {row.status} to saving is not allowed")
    missing = [name for name in ("disk_format", "container_format") if row._mapping[name] is None]
    if missing:
        raise BadRequest(f"Properties {', '.join(missing)} must be set prior to saving data.")
    limits.check_upload(tx, call.settings.operator.image, row.owner)
    ImageId().decode(row.id)
    tx.execute(update(images).where(images.c.id == row.id).values(status="saving", updated_at=moment(tx)))
    tx.changed("image", row.id)
    return Declared(row.id, row.disk_format, row.container_format)


def _settle(path: Path, declared: Declared, options: ImageOptions) -> Inspection | None:
    """Inspect the file; None for a container that is not looked into, or a format that need not be the declared one.

    Raises: Unsupported.
    """
    if declared.container_format not in _PLAIN_CONTAINERS:
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


def _finish(tx: Tx, declared: Declared, received: Received, result: Inspection | None) -> None:
    done = tx.execute(
        update(images)
        .where(images.c.id == declared.id, images.c.status == "saving")
        .values(
            status="active",
            size=received.size,
            virtual_size=None if result is None else result.virtual_size,
            checksum=received.md5,
            os_hash_algo="sha512",
            os_hash_value=received.sha512,
            sha256=received.sha256,
            is_inspected=result is not None,
            updated_at=moment(tx),
        )
    )
    if done.rowcount != 1:
        raise Gone(
            f"Image {declared.id} could not be found after upload. The image may have been deleted during the upload."
        )
    tx.changed("image", declared.id)


def _give_back(tx: Tx, image_id: str, path: Path) -> None:
    """Make the image queued again and remove its file, unless the upload was finished after all."""
    if tx.first(select(images.c.id).where(images.c.id == image_id, images.c.status.in_(_WITH_DATA))) is not None:
        return
    path.unlink(missing_ok=True)
    done = tx.execute(
        update(images)
        .where(images.c.id == image_id, images.c.status == "saving")
        .values(status="queued", updated_at=moment(tx))
    )
    if done.rowcount:
        tx.changed("image", image_id)


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


async def _write(call: Call, function: Any) -> Any:
    return await asyncio.wrap_future(call.store.submit(function))

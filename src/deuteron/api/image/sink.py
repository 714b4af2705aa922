"""Data on their way into a file: written and hashed as they come, made durable, inspected, and put in place.

The methods of `Sink` block, and run in threads. The room that it leaves is checked before each piece.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

from deuteron.api.call import Call
from deuteron.model.errors import ApiError, BadRequest, TooLarge, Unavailable, Unsupported
from deuteron.model.settings import ImageOptions
from deuteron.rules.image import data
from deuteron.rules.image.data import Declared, Received
from deuteron.rules.image.inspect import Inspection, Refused, inspect_image, is_accepted_as

CHUNK_BYTES: Final = 1024 * 1024
MAX_IMAGE_BYTES: Final = 1024**4
RESERVE_BYTES = 128 * 1024**2
"""Room that uploads leave on the disk: the database lies there too, and must be able to commit."""


class Digests:
    """What the API tells of data, and what agents check a copy with."""

    def __init__(self) -> None:
        self.size = 0
        # MD5 is what the API calls `checksum`; nothing relies on it for safety.
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._sha256 = hashlib.sha256()
        self._sha512 = hashlib.sha512()

    def update(self, data: bytes) -> None:
        self.size += len(data)
        self._md5.update(data)
        self._sha256.update(data)
        self._sha512.update(data)

    def received(self) -> Received:
        return Received(self.size, self._md5.hexdigest(), self._sha256.hexdigest(), self._sha512.hexdigest())


class Sink:
    """A new file that data are written to, at most `most_bytes`. The lock keeps `close` from a write under way."""

    def __init__(self, path: Path, most_bytes: int = MAX_IMAGE_BYTES) -> None:
        self._lock = threading.Lock()
        self._is_open = True
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        self._most_bytes = min(most_bytes, MAX_IMAGE_BYTES)
        self._digests = Digests()

    def write(self, data: bytes) -> None:
        """Raises: TooLarge, OSError."""
        with self._lock:
            if self._is_open:
                self._write(data)

    def _write(self, data: bytes) -> None:
        if self._digests.size + len(data) > self._most_bytes:
            raise TooLarge(f"The incoming image is too large: at most {self._most_bytes} bytes are accepted")
        space = os.fstatvfs(self._descriptor)
        if space.f_bavail * space.f_frsize < RESERVE_BYTES + len(data):
            raise OSError(errno.ENOSPC, "no space is left for images")
        view = memoryview(data)
        while view:
            view = view[os.write(self._descriptor, view) :]
        self._digests.update(data)

    def finish(self) -> Received:
        with self._lock:
            if self._is_open:
                os.fsync(self._descriptor)
        return self._digests.received()

    def close(self) -> None:
        with self._lock:
            self._is_open = False
            os.close(self._descriptor)


async def receive(call: Call, path: Path) -> Received:
    """The body of the request in a new file. Raises: BadRequest, TooLarge, TooSlow, OSError."""
    sink = await asyncio.to_thread(Sink, path)
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


def settle(path: Path, declared: Declared, options: ImageOptions) -> Inspection | None:
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


def copy(source: Path, into: Path, sha256: str, go_on: Callable[[], None]) -> bool:
    """Write a new file of what another has, durably. False if that is not what it should be.

    `go_on` is asked between two pieces. Raises: OSError, TooLarge; what `go_on` does.
    """
    written = Sink(into)
    try:
        with source.open("rb") as file:
            while piece := file.read(CHUNK_BYTES):
                go_on()
                written.write(piece)
        return written.finish().sha256 == sha256
    finally:
        written.close()


def rename(temporary: Path, final: Path) -> None:
    """Give a file its name, durably."""
    os.rename(temporary, final)
    _make_durable(final.parent)


def link(source: Path, final: Path) -> None:
    """Give a file another name, durably; one that is there already is replaced."""
    final.unlink(missing_ok=True)
    os.link(source, final)
    _make_durable(final.parent)


def _make_durable(path: Path) -> None:
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def storage_error(error: OSError) -> ApiError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return TooLarge(f"Image storage media is full: {error.strerror}")
    return Unavailable(f"Image storage cannot be written: {error.strerror}")

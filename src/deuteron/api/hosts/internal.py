"""What agents fetch over HTTP, on the Unix socket only: image data, and the answers of the metadata service.

Every request carries the host's token, as the WebSocket does.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import BinaryIO, Final

from deuteron.api.call import Call, Mode, Reply, Route
from deuteron.api.hosts import metadata
from deuteron.api.hosts.hub import authorized
from deuteron.api.image.files import open_image
from deuteron.model.errors import ApiError, NotFound, Unauthorized

_PIECE: Final = 1024 * 1024


class SERVICE:  # the name `main` looks for
    """/internal, for agents."""

    name = "internal"
    prefix = "/internal"

    def routes(self) -> tuple[Route, ...]:
        return (
            Route("GET", "/images/{id}/file", _image, Mode.ASYNC, auth=False),
            Route("GET", "/metadata/{rest...}", metadata.answer, auth=False),
        )

    def prepare(self, call: Call) -> None:
        """Only hosts of the cloud are answered. Raises: Unauthorized."""
        given = call.headers.get("authorization", "").encode("latin-1", "replace")
        if not any(authorized(given, entry.token) for entry in call.cloud.settings.hosts.values()):
            raise Unauthorized("the request carries no token of a host of this cloud")

    def error(self, call: Call | None, error: ApiError) -> Reply:
        return Reply(error.status, f"{error.status} {error.message}\n".encode(), {}, "text/plain; charset=UTF-8")


async def _image(call: Call) -> Reply:
    """The data of an active image, as they lie in the file."""

    def find() -> tuple[BinaryIO, int, str]:
        with call.cloud.database.read() as tx:
            path, size, sha256 = open_image(call.cloud, tx, call.params["id"])
        return _opened(path, call.params["id"]), size, sha256

    file, size, sha256 = await asyncio.to_thread(find)
    headers = {"content-length": str(size), "x-image-sha256": sha256}
    return Reply(200, None, headers, "application/octet-stream", _pieces(file))


def _opened(path: Path, image_id: str) -> BinaryIO:
    try:
        return path.open("rb")
    except FileNotFoundError:
        raise NotFound(f"the data of image {image_id} are not there") from None


async def _pieces(file: BinaryIO) -> AsyncIterator[bytes]:
    try:
        while piece := await asyncio.to_thread(file.read, _PIECE):
            yield piece
    finally:
        file.close()

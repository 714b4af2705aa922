"""Users who stay on a connection: from which page, how many at a time, and how one is sent away.

What each may send over a WebSocket is `websockets`'. Pages of other origins are let in nowhere: a browser says the
origin, and it has to be the host that it speaks to.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator
from urllib.parse import urlsplit

from deuteron.hub.hub import Scope, Send


class Places:
    """Room for `most` at a time, and for `most_of_one` of the same address, server or whatever they are told by."""

    def __init__(self, most: int, most_of_one: int) -> None:
        self._most = most
        self._most_of_one = most_of_one
        self._held: Counter[str] = Counter()

    def has_room(self, one: str | None = None) -> bool:
        """Whether another may come, of this one if it is known already."""
        return self._held.total() < self._most and (one is None or self._held[one] < self._most_of_one)

    @contextlib.contextmanager
    def held(self, one: str) -> Iterator[None]:
        """Take a place, whether or not there is room."""
        self._held[one] += 1
        try:
            yield
        finally:
            self._held[one] -= 1
            self._held += Counter()  # forgets those that are 0


def is_same_origin(scope: Scope) -> bool:
    """Whether no page of another host asks: who says no origin is no browser."""
    headers = dict(scope["headers"])
    origin = headers.get(b"origin")
    if origin is None:
        return True
    asked = urlsplit("//" + headers.get(b"host", b"").decode("latin-1"))
    try:
        said = urlsplit(origin.decode("latin-1"))
        ports = {"http": 80, "https": 443}
        default = ports.get(said.scheme)
        return (
            default is not None
            and said.hostname is not None
            and (said.hostname, said.port or default) == (asked.hostname, asked.port or default)
        )
    except ValueError:
        return False


async def close(send: Send, code: int) -> None:
    with contextlib.suppress(Exception):  # it may be closed already; servers differ in what they raise
        await send({"type": "websocket.close", "code": code})

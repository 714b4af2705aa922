"""What two hosts send each other of a guest that moves while it runs: the API joins their streams, and keeps nothing.

    WebSocket /internal/moves/<id>/<name>, of each of the two hosts with its own token

The first of two that comes is held until the other is there. What one sends the other gets, in order; when either ends
the other is closed, after all that was sent before. Nothing is read from one that the other does not take, so little
is kept of a stream at any time.

Invariant: only the two hosts of a move that is under way are let in, each at one end.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from typing import Final

import structlog

from deuteron.hub.hub import Receive, Scope, Send, host_of
from deuteron.model.codecs import is_uuid
from deuteron.model.settings import Settings
from deuteron.rules.compute import live_moves
from deuteron.store.database import Database

log = structlog.get_logger("deuteron.hosts")

_WAIT_S: Final = 660.0
"""How long one waits for the other host, which may have to fetch a kernel first."""
_MOST_ENDS: Final = 64
"""Of one host that wait for another."""
_NO, _BUSY, _OVER = 4404, 4409, 1000


@dataclass
class _End:
    host: str
    receive: Receive
    send: Send
    joined: asyncio.Future[_End | None]
    """The other end, once it is there; None when nobody waits any more."""
    done: asyncio.Event = field(default_factory=asyncio.Event)


class Streams:
    """`websocket` is the ASGI handler."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._settings = settings
        self._database = database
        self._waiting: dict[tuple[str, str], _End] = {}

    async def websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one end until the stream is over."""
        await receive()
        parts = scope["path"].strip("/").split("/")
        given = dict(scope["headers"]).get(b"authorization", b"")
        host = host_of(self._settings, given.decode("latin-1"))
        move_id, name = (parts[2], parts[3]) if len(parts) == 4 else ("", "")
        is_let_in = host is not None and is_uuid(move_id) and await asyncio.to_thread(self._is_between, host, move_id)
        if host is None or not is_let_in:
            log.warning("stream refused", host=host, path=scope["path"])
            await send({"type": "websocket.close", "code": _NO})
            return
        other = self._waiting.get((move_id, name))
        if other is not None and other.host != host:
            del self._waiting[move_id, name]
            await send({"type": "websocket.accept"})
            if not other.joined.done():
                end = _End(host, receive, send, asyncio.get_running_loop().create_future())
                other.joined.set_result(end)
                await _join(other, end)
                return
        elif other is not None or sum(end.host == host for end in self._waiting.values()) >= _MOST_ENDS:
            await send({"type": "websocket.close", "code": _BUSY})
            return
        else:
            await send({"type": "websocket.accept"})
            await self._wait(host, move_id, name, receive, send)

    async def _wait(self, host: str, move_id: str, name: str, receive: Receive, send: Send) -> None:
        end = _End(host, receive, send, asyncio.get_running_loop().create_future())
        self._waiting[move_id, name] = end
        try:
            async with asyncio.timeout(_WAIT_S):
                await asyncio.shield(end.joined)
            await end.done.wait()
        except TimeoutError:
            with contextlib.suppress(Exception):  # it may be closed already; servers differ in what they raise
                await send({"type": "websocket.close", "code": _OVER})
        finally:
            if self._waiting.get((move_id, name)) is end:
                del self._waiting[move_id, name]

    def _is_between(self, host: str, move_id: str) -> bool:
        with self._database.read() as tx:
            return live_moves.is_between(tx, host, move_id)


async def _join(one: _End, other: _End) -> None:
    """Let each have what the other sends, until either is over."""
    both = [asyncio.create_task(_pass_on(one, other)), asyncio.create_task(_pass_on(other, one))]
    try:
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in both:
            task.cancel()
        await asyncio.gather(*both, return_exceptions=True)
        for end in (one, other):
            with contextlib.suppress(Exception):  # it may be closed already; servers differ in what they raise
                await end.send({"type": "websocket.close", "code": _OVER})
        one.done.set()


async def _pass_on(one: _End, other: _End) -> None:
    while True:
        message = await one.receive()
        if message["type"] == "websocket.disconnect":
            return
        data, text = message.get("bytes"), message.get("text")
        said = {"bytes": data} if data is not None else {"text": text}
        try:
            await other.send({"type": "websocket.send", **said})
        except Exception:  # the server's own error types for a closed connection
            return

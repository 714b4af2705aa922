"""What a connection may do before it has said a whole request, and after it was answered: bounds of ours.

The HTTP library keeps what was said until a request is whole, and waits for as long as a client likes. A header
without end would fill the memory; a byte a minute, or silence, would hold a connection until none is left for others.

    head           whole within `HEAD_TIMEOUT_S`, in at most `MAX_HEAD_BYTES`; so much of trailers, too
    idle           at most `MAX_IDLE` connections without a request in work: of more, the oldest ends
    after refusal  what the client still sends is thrown away, for at most `LINGER_S` and `LINGER_BYTES`
    answers        a client that takes nothing of its answer for `WRITE_TIMEOUT_S` is disconnected

Bodies are bounded where they are read (`app`).

A `BoundedHttp` stands between the transport and uvicorn's protocol, and knows of that one nothing but that it is an
`asyncio.Protocol`. A parser of its own tells it where in a request the client is; when a request is answered it hears
from the application, which finds its connection in the state that ASGI passes with each request (`Watched`).

    transport -> BoundedHttp -> uvicorn's protocol -> Watched -> App

Invariant: a connection is in its `Idle` exactly while it has no request in work.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

import httptools
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD_BYTES: Final = 64 * 1024
"""Of the request line and all headers. Tokens are about 200 bytes, the longest query of a client some thousand."""
HEAD_TIMEOUT_S: Final = 10.0
"""From the connection, or the first byte of the next request on it, to the end of the headers."""
MAX_IDLE: Final = 512
LINGER_S: Final = 2.0
LINGER_BYTES: Final = 16 * 1024 * 1024
WRITE_TIMEOUT_S: Final = 60.0
_STATE: Final = "deuteron.connection"

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]


class Idle:
    """The connections without a request, in the order in which they became so."""

    def __init__(self, most: int = MAX_IDLE) -> None:
        self._most = most
        self._waiting: OrderedDict[BoundedHttp, None] = OrderedDict()

    def add(self, connection: BoundedHttp) -> None:
        """Take it in; when there are too many, the one that has waited longest is closed."""
        self._waiting[connection] = None
        self._waiting.move_to_end(connection)
        if len(self._waiting) > self._most:
            oldest, _ = self._waiting.popitem(last=False)
            oldest.abort()

    def remove(self, connection: BoundedHttp) -> None:
        self._waiting.pop(connection, None)


class Watched:
    """The application, telling each connection when a request of it is answered."""

    def __init__(self, app: Callable[[Any, Any, Any], Awaitable[None]]) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        connection: BoundedHttp | None = scope["state"].get(_STATE) if scope["type"] == "http" else None
        try:
            await self._app(scope, receive, send)
        finally:
            if connection is not None:
                connection.answered()


class Reading:
    """How long who is answered takes nothing: told when its transport may take no more, and when it does again."""

    def __init__(self, loop: asyncio.AbstractEventLoop, transport: asyncio.Transport) -> None:
        self._loop = loop
        self._transport = transport
        self._timer: asyncio.TimerHandle | None = None

    def pause(self) -> None:
        """Disconnect unless it goes on within `WRITE_TIMEOUT_S`."""
        self._timer = self._loop.call_later(WRITE_TIMEOUT_S, self._transport.abort)

    def go_on(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class BoundedHttp(asyncio.Protocol):
    """One connection; `idle` is shared by all of a server. uvicorn calls it with what it gives any protocol."""

    def __init__(
        self,
        config: uvicorn.Config,
        server_state: Any,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        idle: Idle,
    ) -> None:
        self._http: asyncio.Protocol = HttpToolsProtocol(config, server_state, {**app_state, _STATE: self}, _loop)
        self._loop = _loop or asyncio.get_event_loop()
        self._idle = idle
        self._parser = httptools.HttpRequestParser(self)
        self._parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn's, so that both go on
        self._transport: asyncio.Transport
        self._requests = 0
        """How many have come whole in their heads and are not answered."""
        self._head_bytes: int | None = 0
        """What came of the head so far; None while a body is on its way."""
        self._is_whole = True
        """Whether the last request came to its end."""
        self._tail_bytes = 0
        """What came of the request since the last piece of its body: frames of pieces, and trailers."""
        self._thrown_away = 0
        self._timer: asyncio.TimerHandle | None = None
        self._reading: Reading

    def abort(self) -> None:
        self._transport.abort()

    def answered(self) -> None:
        """The application is done with the oldest request."""
        self._requests -= 1
        if self._requests or self._transport.is_closing():
            return
        self._idle.add(self)
        if not self._is_whole:
            self._stop_timer()
            self._timer = self._loop.call_later(LINGER_S, self._transport.abort)

    # --- what asyncio calls ---------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # a stream's is one
        self._transport = transport
        self._reading = Reading(self._loop, transport)
        self._http.connection_made(transport)
        self._idle.add(self)
        self._start_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._idle.remove(self)
        self._stop_timer()
        self._reading.go_on()
        self._http.connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._transport.is_closing():
            return
        if self._look(data):
            self._http.data_received(data)

    def eof_received(self) -> bool | None:
        return self._http.eof_received()

    def pause_writing(self) -> None:
        self._http.pause_writing()
        self._reading.pause()

    def resume_writing(self) -> None:
        self._reading.go_on()
        self._http.resume_writing()

    # --- what the parser calls ------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        self._head_bytes = 0
        self._stop_timer()
        self._start_timer()

    def on_headers_complete(self) -> None:
        self._head_bytes = None
        self._is_whole = False
        self._tail_bytes = self._thrown_away = 0
        self._requests += 1
        self._stop_timer()
        self._idle.remove(self)

    def on_body(self, body: bytes) -> None:
        self._tail_bytes = 0

    def on_message_complete(self) -> None:
        self._is_whole = True

    # --- bounds ---------------------------------------------------------------------------------------------------

    def _look(self, data: bytes) -> bool:
        """Whether the data may go on to uvicorn, which answers what is no HTTP."""
        self._tail_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            return True
        except httptools.HttpParserError:
            return True
        if self._head_bytes is not None:
            # Counted by pieces as they come: the last may hold the beginning of a body, which is then not refused.
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self._hang_up(b"431 Request Header Fields Too Large", b"The request line and headers are too long.")
                return False
        elif not self._is_whole:
            if self._tail_bytes > MAX_HEAD_BYTES:
                self._transport.abort()
                return False
            if not self._requests:
                self._thrown_away += len(data)
                if self._thrown_away > LINGER_BYTES:
                    self._transport.abort()
                    return False
        return True

    def _start_timer(self) -> None:
        self._timer = self._loop.call_later(HEAD_TIMEOUT_S, self._too_slow)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _too_slow(self) -> None:
        self._timer = None
        self._hang_up(b"408 Request Timeout", b"The request did not arrive in time.")

    def _hang_up(self, status: bytes, message: bytes) -> None:
        if self._transport.is_closing():
            return
        about = b"content-type: text/plain; charset=utf-8\r\ncontent-length: %d\r\nconnection: close" % len(message)
        self._transport.write(b"HTTP/1.1 " + status + b"\r\n" + about + b"\r\n\r\n" + message)
        self._transport.close()


__all__ = [
    "HEAD_TIMEOUT_S",
    "LINGER_BYTES",
    "LINGER_S",
    "MAX_HEAD_BYTES",
    "MAX_IDLE",
    "WRITE_TIMEOUT_S",
    "BoundedHttp",
    "Idle",
    "Reading",
    "Watched",
]

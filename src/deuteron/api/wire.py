"""What a connection may do before it has said a whole request, and after it was answered: bounds of ours.

The HTTP library keeps what was said until a request is whole, and waits for as long as a client likes. A header
without end would fill the memory; a byte a minute, or silence, would hold a connection until none is left for others.

    head           whole within `HEAD_TIMEOUT_S`, in at most `MAX_HEAD_BYTES`; trailers are not kept
    idle           at most `MAX_IDLE` connections without a request in work: of more, the oldest ends
    after refusal  what the client still sends is thrown away, for at most `LINGER_S` and `LINGER_BYTES`
    answers        a client that takes nothing of its answer for `WRITE_TIMEOUT_S` is disconnected

Bodies are bounded where they are read (`app`).

Invariant: a connection is in its `Idle` exactly while it has no request in work.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD_BYTES: Final = 64 * 1024
"""Of the request line and all headers. Tokens are about 200 bytes, the longest query of a client some thousand."""
HEAD_TIMEOUT_S: Final = 10.0
"""From the connection, or the first byte of the next request on it, to the end of the headers."""
MAX_IDLE: Final = 512
LINGER_S: Final = 2.0
LINGER_BYTES: Final = 16 * 1024 * 1024
WRITE_TIMEOUT_S: Final = 60.0


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
            oldest.transport.abort()

    def remove(self, connection: BoundedHttp) -> None:
        self._waiting.pop(connection, None)


class BoundedHttp(HttpToolsProtocol):
    """One connection. Inherits because uvicorn offers no other seam; `idle` is shared by all of a server."""

    def __init__(self, *arguments: Any, idle: Idle, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._idle = idle
        self._head_bytes: int | None = 0
        """What came of the head so far; None while a body is on its way."""
        self._timer: asyncio.TimerHandle | None = None
        self._taking: asyncio.TimerHandle | None = None
        self._thrown_away = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        self._idle.add(self)
        self._start_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._idle.remove(self)
        self._stop_timer()
        if self._taking is not None:
            self._taking.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        super().data_received(data)
        if self._head_bytes is not None:
            # Counted by pieces as they come: the last may hold the beginning of a body, which is then not refused.
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self._hang_up(b"431 Request Header Fields Too Large", b"The request line and headers are too long.")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._head_bytes = 0
        self._stop_timer()
        self._start_timer()

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._head_bytes is not None:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._head_bytes = None
        self._thrown_away = 0
        self._stop_timer()
        self._idle.remove(self)
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        if self.cycle is not None and self.cycle.response_complete:
            self._thrown_away += len(body)
            if self._thrown_away > LINGER_BYTES:
                self.transport.abort()
            return
        super().on_body(body)

    def on_response_complete(self) -> None:
        answered = self.cycle
        is_last = not self.pipeline
        super().on_response_complete()
        if not is_last or self.transport.is_closing():
            return
        self._idle.add(self)
        if answered.more_body:
            self._stop_timer()
            self._timer = self.loop.call_later(LINGER_S, self.transport.abort)

    def handle_websocket_upgrade(self) -> None:
        self._idle.remove(self)
        self._stop_timer()
        super().handle_websocket_upgrade()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._taking = self.loop.call_later(WRITE_TIMEOUT_S, self.transport.abort)

    def resume_writing(self) -> None:
        if self._taking is not None:
            self._taking.cancel()
            self._taking = None
        super().resume_writing()

    def _start_timer(self) -> None:
        self._timer = self.loop.call_later(HEAD_TIMEOUT_S, self._too_slow)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _too_slow(self) -> None:
        self._timer = None
        self._hang_up(b"408 Request Timeout", b"The request did not arrive in time.")

    def _hang_up(self, status: bytes, message: bytes) -> None:
        if self.transport.is_closing():
            return
        about = b"content-type: text/plain; charset=utf-8\r\ncontent-length: %d\r\nconnection: close" % len(message)
        self.transport.write(b"HTTP/1.1 " + status + b"\r\n" + about + b"\r\n\r\n" + message)
        self.transport.close()

"""What a connection may do before it has said a whole request: bounds that the HTTP library does not set.

A client that sends a header without end would fill the memory, and one that sends a byte a minute would hold its
connection forever. Both are answered and hung up on. Bodies are bounded where they are read (`app`).
"""

from __future__ import annotations

import asyncio
from typing import Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD_BYTES: Final = 64 * 1024
"""Of the request line and all headers. Tokens are about 200 bytes, the longest query of a client some thousand."""
HEAD_TIMEOUT_S: Final = 30.0
"""From the connection, or the first byte of the next request on it, to the end of the headers."""


class BoundedHttp(HttpToolsProtocol):
    """One connection."""

    _head_bytes: int | None = 0
    """What came of the head so far; None while a body is on its way."""
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        self._start_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
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
        if self._timer is None:
            self._start_timer()

    def on_headers_complete(self) -> None:
        self._head_bytes = None
        self._stop_timer()
        super().on_headers_complete()

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

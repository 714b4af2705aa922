"""What users may do with a WebSocket: bounds of ours, as `wire` has for requests.

A frame of a few bytes costs as much as one of thousands. What arrived is given to uvicorn's protocol in pieces, between
which others have their turn, and none while the application has not taken what came before.

    message    at most `MAX_MESSAGE_BYTES`
    pieces     `PIECE_BYTES`, some hundred of the smallest frames: some milliseconds of the loop
    answers    who takes nothing of what is sent is disconnected, as soon as one who asked by HTTP

Hosts, which come over the Unix socket, are bounded by nothing but the size that `main` gives.
"""

from __future__ import annotations

import asyncio
import copy
from typing import Any, Final

import uvicorn
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from deuteron.api.wire import Reading

MAX_MESSAGE_BYTES: Final = 256 * 1024
PIECE_BYTES: Final = 4096
_AGAIN_S: Final = 0.01


class BoundedWebSocket(asyncio.Protocol):
    """One connection. uvicorn calls it with what it gives any protocol, and makes the connection itself."""

    def __init__(
        self,
        config: uvicorn.Config,
        server_state: Any,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self._config = config
        self._state = (server_state, app_state, _loop)
        self._loop = _loop or asyncio.get_event_loop()
        self._inner: WebSocketsSansIOProtocol
        self._transport: asyncio.Transport
        self._is_user = True
        self._waiting = bytearray()
        self._next: asyncio.Handle | None = None
        self._reading: Reading

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # a stream's is one
        self._transport = transport
        self._reading = Reading(self._loop, transport)
        # A Unix socket has a path for a name, and TCP a tuple.
        self._is_user = isinstance(transport.get_extra_info("sockname"), tuple)
        config = self._config
        if self._is_user:
            config = copy.copy(config)
            config.ws_max_size = MAX_MESSAGE_BYTES
        self._inner = WebSocketsSansIOProtocol(config, *self._state)
        self._inner.connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._next is not None:
            self._next.cancel()
        self._reading.go_on()
        self._inner.connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if not self._is_user:
            self._inner.data_received(data)
            return
        self._waiting += data
        if self._next is None:
            self._give()

    def eof_received(self) -> bool | None:
        self._inner.eof_received()
        return None

    def pause_writing(self) -> None:
        self._inner.pause_writing()
        if self._is_user:
            self._reading.pause()

    def resume_writing(self) -> None:
        self._reading.go_on()
        self._inner.resume_writing()

    def _give(self) -> None:
        self._next = None
        if self._transport.is_closing():
            return
        if self._inner.read_paused:
            self._next = self._loop.call_later(_AGAIN_S, self._give)
            return
        piece = bytes(self._waiting[:PIECE_BYTES])
        del self._waiting[:PIECE_BYTES]
        self._inner.data_received(piece)
        if self._waiting:
            # Nothing more is read meanwhile; who takes what came reads on.
            if not self._transport.is_closing() and not self._inner.read_paused:
                self._transport.pause_reading()
                self._inner.read_paused = False
            self._next = self._loop.call_soon(self._give)
        elif not self._inner.read_paused and not self._transport.is_closing():
            self._transport.resume_reading()

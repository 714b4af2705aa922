"""Connections of strangers: how long one may take to ask, how much it may say, and how many may wait.

An HTTP server keeps for each connection what was said until the request is whole. A client that sends a header
every ten seconds, a header without end, or a body after it was refused costs it nothing and would cost us memory,
descriptors and at last every other client. So, beside what the application limits (a body's size and time):

    head           whole within `HEAD_TIMEOUT_S`, in at most `MAX_HEAD_BYTES`; trailers are not kept
    idle           at most `MAX_IDLE` connections without a request in work; of more, the oldest ends
    after refusal  what the client still sends is thrown away, for at most `LINGER_S` and `LINGER_BYTES`
    answers        a client that takes nothing of its answer for `WRITE_TIMEOUT_S` is disconnected

Invariant: a connection is in `Idle` exactly while it has no request in work.
"""

from __future__ import annotations

import asyncio
import resource
from collections import OrderedDict
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_TIMEOUT_S: Final = 10.0
MAX_HEAD_BYTES: Final = 64 * 1024
MAX_IDLE: Final = 512
LINGER_S: Final = 5.0
LINGER_BYTES: Final = 16 * 1024 * 1024
WRITE_TIMEOUT_S: Final = 60.0
_DESCRIPTORS: Final = 16384


class Idle:
    """The connections without a request, in the order in which they became so."""

    def __init__(self, most: int = MAX_IDLE) -> None:
        self._most = most
        self._waiting: OrderedDict[PatientHttp, None] = OrderedDict()

    def add(self, connection: PatientHttp) -> None:
        """Take it in; when there are too many, the one that has waited longest is closed."""
        self._waiting[connection] = None
        self._waiting.move_to_end(connection)
        if len(self._waiting) > self._most:
            oldest, _ = self._waiting.popitem(last=False)
            oldest.transport.abort()

    def remove(self, connection: PatientHttp) -> None:
        self._waiting.pop(connection, None)


class PatientHttp(HttpToolsProtocol):
    """uvicorn's HTTP/1.1 with the limits above. Inherits because uvicorn offers no other seam."""

    def __init__(self, *arguments: Any, idle: Idle, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._idle = idle
        self._deadline: asyncio.TimerHandle | None = None
        self._writing: asyncio.TimerHandle | None = None
        self._head_bytes = 0
        self._in_head = False
        self._thrown_away = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        super().connection_made(transport)
        self._idle.add(self)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._idle.remove(self)
        self._cancel()
        if self._writing is not None:
            self._writing.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self.transport.abort()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._expect_head()

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._cancel()
        self._idle.remove(self)
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        if self.cycle.response_complete:
            self._thrown_away += len(body)
            if self._thrown_away > LINGER_BYTES:
                self.transport.abort()
            return
        super().on_body(body)

    def on_response_complete(self) -> None:
        answered = self.cycle
        super().on_response_complete()
        if self.transport.is_closing() or self.cycle is not answered or self.pipeline:
            return
        self._idle.add(self)
        if answered.more_body:
            self._cancel()
            self._deadline = self.loop.call_later(LINGER_S, self.transport.abort)

    def handle_websocket_upgrade(self) -> None:
        self._idle.remove(self)
        self._cancel()
        super().handle_websocket_upgrade()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._writing = self.loop.call_later(WRITE_TIMEOUT_S, self.transport.abort)

    def resume_writing(self) -> None:
        if self._writing is not None:
            self._writing.cancel()
            self._writing = None
        super().resume_writing()

    def _expect_head(self) -> None:
        self._in_head, self._head_bytes, self._thrown_away = True, 0, 0
        self._cancel()
        self._deadline = self.loop.call_later(HEAD_TIMEOUT_S, self.transport.abort)

    def _cancel(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


def allow_many_descriptors() -> None:
    """Raise the soft limit of open files to what connections need, as far as the hard limit lets."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _DESCRIPTORS if hard == resource.RLIM_INFINITY else min(_DESCRIPTORS, hard)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


__all__ = ["Idle", "PatientHttp", "allow_many_descriptors"]

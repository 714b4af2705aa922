"""An API for an agent under test: the WebSocket over a Unix socket, with what the agent said kept in order."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any

import msgspec
from websockets.asyncio.server import ServerConnection, unix_serve

from deuteron.model.intent import (
    Answer,
    Ask,
    Change,
    Hello,
    HostIntent,
    IntentObject,
    PortReport,
    Report,
    RouterReport,
    Snapshot,
    ToApi,
    tables_of,
)


def snapshot(intent: HostIntent) -> Snapshot:
    objects: list[IntentObject] = [item for table in tables_of(intent).values() for item in table.values()]
    return Snapshot(intent.revision, tuple(objects))


class FakeApi:
    """Use as a context manager. Each new connection gets a snapshot of `intent`."""

    def __init__(self, path: str, intent: HostIntent) -> None:
        self.path = path
        self.intent = intent
        self.hellos: list[Any] = []
        self.reports: list[Report] = []
        self.answers: list[Answer] = []
        self.headers: list[str] = []
        self.ports: dict[str, PortReport] = {}
        self.routers: dict[str, RouterReport] = {}
        self._connection: ServerConnection | None = None
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)

    def __enter__(self) -> FakeApi:
        self._thread.start()
        assert self._ready.wait(5)
        return self

    def __exit__(self, *exception: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(5)

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        async with unix_serve(self._converse, self.path, compression=None, max_size=None):
            self._ready.set()
            await self._stop.wait()

    async def _converse(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        self.headers.append(connection.request.headers["Authorization"])
        decoder = msgspec.json.Decoder(ToApi)
        async for text in connection:
            message = decoder.decode(text)
            if isinstance(message, Report):
                self.ports.update({item.id: item for item in message.ports})
                self.routers.update({item.id: item for item in message.routers})
                self.reports.append(message)
            elif isinstance(message, Answer):
                self.answers.append(message)
            elif isinstance(message, Hello):
                self.hellos.append(message)
                self._connection = connection
                await connection.send(msgspec.json.encode(snapshot(self.intent)).decode())

    def send(self, message: Change | Ask) -> None:
        assert self._connection is not None
        text = msgspec.json.encode(message).decode()
        asyncio.run_coroutine_threadsafe(self._connection.send(text), self._loop).result(30)

    def drop(self) -> None:
        """Break the connection as a crash of the API does."""
        assert self._connection is not None
        self._loop.call_soon_threadsafe(self._connection.transport.abort)

    def wait(self, condition: Callable[[], object], what: str, timeout_s: float = 30.0) -> None:
        deadline = time.monotonic() + timeout_s
        while not condition():
            last = self.reports[-1] if self.reports else None
            assert time.monotonic() < deadline, f"after {timeout_s} s still not: {what}; the last report is {last}"
            time.sleep(0.002)

    def realised(self) -> int:
        return max((report.realised_revision for report in self.reports), default=-1)

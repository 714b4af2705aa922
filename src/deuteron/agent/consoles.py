"""Consoles of this host's guests, brought to whoever looks at them: through the API, over a stream for each.

    guest's socket <-> this process <-> WebSocket /internal/consoles/<number> <-> the API

The API asks for it with a number that it made for this once. Nothing is read from one end that the other does not take,
so that little is kept of a console at any time. When either ends, the other is closed.

Invariant: one at a time looks at a serial console, the last who came: QEMU would let him wait.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from typing import Final

from websockets.asyncio.client import ClientConnection, unix_connect
from websockets.exceptions import WebSocketException

from deuteron.compute import ComputeDriver, NoSuchConsole, NotRunning
from deuteron.model.intent import Ask, ConsoleState, HostSettings

PREFIX: Final = "console_"
_PIECE: Final = 64 * 1024
_MOST: Final = 256
"""Consoles of one host that somebody looks at."""
_OPEN_TIMEOUT_S: Final = 10.0
_QUIET: Final = logging.getLogger("deuteron.consoles")
"""Of the library, which calls it an error when the other end is gone."""
_QUIET.disabled = True


class Consoles:
    """Of one host; everything belongs to the event loop."""

    def __init__(self, settings: HostSettings, compute: ComputeDriver | None) -> None:
        self._settings = settings
        self._compute = compute
        self._tasks: set[asyncio.Task[None]] = set()
        self._serial: dict[str, asyncio.Task[None]] = {}

    async def answer(self, question: Ask) -> ConsoleState:
        """What the API hears: "there" once the console is on its way to the stream.

        Raises: OSError, WebSocketException if the stream cannot be had; RuntimeError when there are too many.
        """
        kind, server_id, number = question.what.removeprefix(PREFIX), question.id, question.argument
        if self._compute is None:
            return "none"
        try:
            if number < 0:
                await asyncio.to_thread(self._compute.check_console, server_id, kind)
                return "there"
            if len(self._tasks) >= _MOST:
                raise RuntimeError(f"{_MOST} consoles of host {self._settings.host} are looked at, which is the most")
            if kind == "serial":
                await self._end_serial(server_id)
            end = await asyncio.to_thread(self._compute.open_console, server_id, kind)
        except NotRunning:
            return "off"
        except NoSuchConsole:
            return "none"
        try:
            stream = await self._open(number)
        except BaseException:
            end.close()
            raise
        task = asyncio.create_task(_join(end, stream))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        if kind == "serial":
            self._serial[server_id] = task
            task.add_done_callback(lambda ended: self._forget(server_id, ended))
        return "there"

    def close(self) -> None:
        """End all."""
        for task in self._tasks:
            task.cancel()

    async def _end_serial(self, server_id: str) -> None:
        task = self._serial.pop(server_id, None)
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    def _forget(self, server_id: str, task: asyncio.Task[None]) -> None:
        if self._serial.get(server_id) is task:
            del self._serial[server_id]

    async def _open(self, number: int) -> ClientConnection:
        return await unix_connect(
            self._settings.api_socket,
            f"ws://localhost/internal/consoles/{number}",
            additional_headers={"Authorization": f"Bearer {self._settings.token}"},
            max_size=None,
            max_queue=4,
            compression=None,
            open_timeout=_OPEN_TIMEOUT_S,
            close_timeout=1.0,
            proxy=None,
            logger=_QUIET,
        )


async def _join(end: socket.socket, stream: ClientConnection) -> None:
    """Let a console and a stream be one, until either ends."""
    end.setblocking(False)
    both = [asyncio.create_task(_to_stream(end, stream)), asyncio.create_task(_to_guest(stream, end))]
    try:
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in both:
            task.cancel()
        await asyncio.gather(*both, return_exceptions=True)
        end.close()
        with contextlib.suppress(OSError, WebSocketException):
            await stream.close()


async def _to_stream(end: socket.socket, stream: ClientConnection) -> None:
    loop = asyncio.get_running_loop()
    while data := await loop.sock_recv(end, _PIECE):
        await stream.send(data)


async def _to_guest(stream: ClientConnection, end: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    async for data in stream:
        await loop.sock_sendall(end, data.encode() if isinstance(data, str) else data)
        await asyncio.sleep(0)  # neither need wait, and others want their turn

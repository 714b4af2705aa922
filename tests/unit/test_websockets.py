"""What one user sends over a WebSocket is bounded, and holds up nobody."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import socket
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
import uvicorn
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from deuteron.api.websockets import MAX_MESSAGE_BYTES, BoundedWebSocket
from deuteron.api.wire import BoundedHttp, Idle

_FRAMES = 20_000


async def count(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Says how many messages came when it hears "how many"."""
    await receive()
    await send({"type": "websocket.accept"})
    found = 0
    while (message := await receive())["type"] != "websocket.disconnect":
        if message.get("text") == "how many":
            await send({"type": "websocket.send", "text": str(found)})
        found += 1


@contextlib.asynccontextmanager
async def served() -> AsyncIterator[str]:
    users = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        count, http=functools.partial(BoundedHttp, idle=Idle()), log_config=None, lifespan="off",  # type: ignore[arg-type]  # called like the class
        ws=BoundedWebSocket, ws_per_message_deflate=False,
    )  # fmt: skip
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve(sockets=[users]))
    try:
        yield f"ws://127.0.0.1:{users.getsockname()[1]}/"
    finally:
        server.should_exit = True
        await asyncio.wait_for(task, 10)


def test_all_of_very_many_small_messages_arrive_in_small_steps() -> None:
    async def test() -> None:
        async with served() as url, connect(url, proxy=None) as client:
            frames = b"\x82\x81\0\0\0\0x" * _FRAMES
            longest, began = 0.0, time.thread_time()

            async def watch() -> None:
                nonlocal longest, began
                while True:
                    await asyncio.sleep(0)
                    now = time.thread_time()
                    longest, began = max(longest, now - began), now

            watching = asyncio.create_task(watch())
            client.transport.write(frames)
            await client.send("how many")
            assert await asyncio.wait_for(client.recv(), 60) == str(_FRAMES)
            watching.cancel()
            assert longest < 0.3, "each step costs some ms, whatever else the machine does"

    asyncio.run(test())


def test_a_message_that_is_too_large_ends_the_connection() -> None:
    async def test() -> None:
        async with served() as url, connect(url, proxy=None) as client:
            await client.send(b"x" * MAX_MESSAGE_BYTES)
            await client.send("how many")
            assert await asyncio.wait_for(client.recv(), 10) == "1"
            with pytest.raises(ConnectionClosed):
                await client.send(b"x" * (MAX_MESSAGE_BYTES + 1))
                await asyncio.wait_for(client.recv(), 10)

    asyncio.run(test())

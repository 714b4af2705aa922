"""Streams between the two hosts of a server that moves while it runs: who is let in, and what comes out."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any
from uuid import uuid4

from tests.unit.api_compute.harness import World, run, world
from tests.unit.api_compute.test_live_moves import under_way
from tests.waiting import PATIENCE_S


class End:
    """One end, as a host opens it."""

    def __init__(self, w: World, host: str, path: str, *, token: str | None = None, unix: bool = True) -> None:
        self.sent: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._said: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        scope = {
            "type": "websocket",
            "path": f"/internal/moves/{path}",
            "headers": [(b"authorization", f"Bearer {token or f'token-{host}'}".encode())],
            "server": ("api.sock", None) if unix else ("127.0.0.1", 5000),
        }
        self._said.put_nowait({"type": "websocket.connect"})
        self.task = asyncio.create_task(w.app(scope, self._said.get, self.sent.put))

    async def first(self) -> str:
        return str((await self.next())["type"])

    async def next(self) -> dict[str, Any]:
        return await asyncio.wait_for(self.sent.get(), PATIENCE_S)

    def say(self, **message: Any) -> None:
        self._said.put_nowait({"type": "websocket.receive", **message})

    def leave(self) -> None:
        self._said.put_nowait({"type": "websocket.disconnect", "code": 1006})


def test_what_one_host_sends_the_other_gets_until_either_ends(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            first, _, _ = await under_way(w)
            move = first.servers()[0].leave
            for ending in (0, 1):
                ends = [End(w, "h1", f"{move}/memory"), End(w, "h2", f"{move}/memory")]
                assert [await end.first() for end in ends] == ["websocket.accept"] * 2
                ends[0].say(text="{}")
                ends[0].say(bytes=b"memory" * 1000)
                ends[1].say(bytes=b"back")
                assert (await ends[1].next())["text"] == "{}"
                assert (await ends[1].next())["bytes"] == b"memory" * 1000
                assert (await ends[0].next())["bytes"] == b"back"
                ends[ending].say(bytes=b"the last")
                ends[ending].leave()
                other = ends[1 - ending]
                assert (await other.next())["bytes"] == b"the last", "all that was sent before comes"
                assert await other.first() == "websocket.close"
                await asyncio.wait_for(asyncio.gather(*(end.task for end in ends)), PATIENCE_S)

    run(test())


def test_only_the_two_hosts_of_a_move_under_way_are_let_in_each_once(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            first, second, server = await under_way(w)
            move = first.servers()[0].leave
            waiting = End(w, "h1", f"{move}/memory")
            assert await waiting.first() == "websocket.accept"
            for refused in (
                End(w, "h1", f"{move}/memory"),  # both ends of one stream
                End(w, "h3", f"{move}/memory"),
                End(w, "h2", f"{move}/memory", token="token-"),
                End(w, "h2", f"{uuid4()}/memory"),
                End(w, "h2", "../memory"),
                End(w, "h2", f"{move}"),
                End(w, "h2", f"{move}/memory", unix=False),
            ):
                assert await refused.first() == "websocket.close"
                await asyncio.wait_for(refused.task, PATIENCE_S)
            path = f"/compute/v2.1/servers/{server}/migrations/1"
            assert (await w.admin.request("DELETE", path, version="2.65")).status == 202
            await second.until(lambda: not second.servers())
            late = End(w, "h2", f"{move}/memory")
            assert await late.first() == "websocket.close", "the move is over"
            waiting.task.cancel()

    run(test())

"""WebSockets of consoles: the API joins who looks with the guest's host, and keeps nothing.

    browser -- /console/<kind>?token=... --> API <-- /internal/consoles/<number> -- the host's agent

Who looks shows a token (`rules/compute/consoles`). Then the host is asked for the console, under a number that was made
for this once, and brings it to a WebSocket of its own. What one sends the other gets, in order; nothing is read from
one that the other does not take. Either end closes the other: of a guest that is stopped, moved or deleted the QEMU
ends, and with it its consoles.

A SPICE client opens a connection for each channel, with one token: while one that the token opened lasts, others of the
same address are let in.

Bounds: `MOST` consoles in all, of one server `MOST_OF_SERVER`; `IDLE_S` without a byte; so many messages a second of
one who looks, since each costs a turn of the loop; sizes and slow readers are `websockets`', origins `visitors`'.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qs

import structlog

from deuteron.api.visitors import Places, close, is_same_origin
from deuteron.hub.hub import Hub, Receive, Scope, Send, host_of
from deuteron.model.errors import Unavailable
from deuteron.model.settings import Settings
from deuteron.rules.compute import consoles
from deuteron.rules.compute.consoles import Grant
from deuteron.store.database import Database, Tx

log = structlog.get_logger("deuteron.consoles")

MOST: Final = 256
MOST_OF_SERVER: Final = 24
IDLE_S: Final = 1800.0
MESSAGES_A_SECOND: Final = 500
_BRING_S: Final = 20.0
_SLICE_S: Final = 0.1
_NO, _OVER = 4404, 1000


@dataclass
class _End:
    """The agent's end, once it is there."""

    receive: Receive
    send: Send
    done: asyncio.Event


@dataclass(frozen=True)
class _Awaited:
    host: str
    came: asyncio.Future[_End]


@dataclass
class _Session:
    """Who looks with one token, while any of its connections lasts."""

    address: str
    grant: Grant
    connections: int = 0


class Consoles:
    """`websocket` is the ASGI handler of users, `agent_websocket` that of hosts."""

    def __init__(self, settings: Settings, database: Database, hub: Hub, idle_s: float = IDLE_S) -> None:
        self._settings = settings
        self._database = database
        self._hub = hub
        self._idle_s = idle_s
        self._awaited: dict[int, _Awaited] = {}
        self._sessions: dict[str, _Session] = {}
        self._open = Places(MOST, MOST_OF_SERVER)

    async def websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one who looks, until either end is over."""
        await receive()
        kind = scope["path"].strip("/").removeprefix("console/")
        tokens = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])
        grant = None
        if is_same_origin(scope) and self._open.has_room():
            grant = await self._admit(tokens[0], kind, (scope.get("client") or ("", 0))[0])
        if grant is None:
            log.info("console refused", kind=kind[:16])
            await close(send, _NO)
            return
        try:
            if not self._open.has_room(grant.server_id):
                await close(send, _NO)
                return
            with self._open.held(grant.server_id):
                await self._serve(grant, scope, receive, send)
        finally:
            session = self._sessions.get(tokens[0])
            if session is not None:
                session.connections -= 1
                if session.connections <= 0:
                    del self._sessions[tokens[0]]

    async def agent_websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a host's end of a console that was asked for."""
        await receive()
        given = dict(scope["headers"]).get(b"authorization", b"")
        host = host_of(self._settings, given.decode("latin-1"))
        word = scope["path"].rpartition("/")[2]
        number = int(word) if word.isascii() and word.isdigit() and len(word) < 20 else -1
        awaited = self._awaited.get(number)
        if host is None or awaited is None or awaited.host != host or awaited.came.done():
            log.warning("console of a host refused", host=host)
            await close(send, _NO)
            return
        await send({"type": "websocket.accept"})
        end = _End(receive, send, asyncio.Event())
        if awaited.came.done():  # nobody waits any more
            await close(send, _OVER)
            return
        awaited.came.set_result(end)
        await end.done.wait()

    async def _admit(self, token: str, kind: str, address: str) -> Grant | None:
        session = self._sessions.get(token)
        if session is not None:
            is_in = session.address == address and session.grant.kind == kind == "spice"
            if not is_in or not await asyncio.to_thread(self._holds, token):
                return None
            session = self._sessions.get(token)
            if session is None:
                return None
            session.connections += 1
            return session.grant

        def use(tx: Tx) -> Grant | None:
            return consoles.use(tx, token, kind)

        # Shielded: what is used is used, and counted, also when this task is cancelled.
        grant = await asyncio.wrap_future(self._database.submit(use)) if len(token) <= 64 else None
        if grant is not None:
            self._sessions[token] = _Session(address, grant, 1)
        return grant

    def _holds(self, token: str) -> bool:
        with self._database.read() as tx:
            return consoles.holds(tx, token)

    async def _serve(self, grant: Grant, scope: Scope, receive: Receive, send: Send) -> None:
        number = secrets.randbits(62)
        came: asyncio.Future[_End] = asyncio.get_running_loop().create_future()
        self._awaited[number] = _Awaited(grant.host, came)
        try:
            state = await self._hub.ask(grant.host, f"console_{grant.kind}", grant.server_id, number, _BRING_S)
        except Unavailable as error:
            state = error.message
        finally:
            del self._awaited[number]
        if not came.done():
            came.cancel()
            log.info("console cannot be had", server=grant.server_id, kind=grant.kind, reason=state)
            await close(send, _NO)
            return
        end = came.result()
        try:
            chosen = {"subprotocol": "binary"} if "binary" in scope.get("subprotocols", ()) else {}
            with contextlib.suppress(Exception):  # who looked may be gone already; servers differ in what they raise
                await send({"type": "websocket.accept", **chosen})
            log.info("console opened", server=grant.server_id, kind=grant.kind)
            await self._join(receive, send, end)
            log.info("console closed", server=grant.server_id, kind=grant.kind)
        finally:
            end.done.set()

    async def _join(self, receive: Receive, send: Send, end: _End) -> None:
        loop = asyncio.get_running_loop()
        heard_at = loop.time()

        def heard() -> None:
            nonlocal heard_at
            heard_at = loop.time()

        async def watch() -> None:
            while loop.time() - heard_at < self._idle_s:
                await asyncio.sleep(heard_at + self._idle_s - loop.time())

        both = [
            asyncio.create_task(pass_on(receive, end.send, heard, MESSAGES_A_SECOND)),
            asyncio.create_task(pass_on(end.receive, send, heard)),
            asyncio.create_task(watch()),
        ]
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in both:
                task.cancel()
            await asyncio.gather(*both, return_exceptions=True)
            for each in (end.send, send):
                await close(each, _OVER)


async def pass_on(receive: Receive, send: Send, heard: Callable[[], None], most_a_second: float = float("inf")) -> None:
    """Let one have what the other sends, until either is over; whoever sends more messages waits."""
    loop = asyncio.get_running_loop()
    began, count = loop.time(), 0
    while True:
        message = await receive()
        if message["type"] == "websocket.disconnect":
            return
        heard()
        data = message.get("bytes")
        if data is None:
            data = (message.get("text") or "").encode()
        try:
            await send({"type": "websocket.send", "bytes": data})
        except Exception:  # the server's own error types for a closed connection
            return
        count += 1
        if loop.time() - began > _SLICE_S:
            began, count = loop.time(), 0
        elif count >= most_a_second * _SLICE_S:
            await asyncio.sleep(began + _SLICE_S - loop.time())
        await asyncio.sleep(0)  # neither may have had to wait, and others want their turn

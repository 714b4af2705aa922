"""The WebSocket that tells an open page that something changed, so that it asks the APIs again.

    page -> {"token": "…"}                  its first message, within `TOKEN_S`; there is no other
    page <- {"changed": []}                 it is watched from now on
    page <- {"changed": ["port", "server"]} kinds of objects, never which

A page hears of what its project owns, and of every kind that there is when it is an administrator's. What others share
with a project it is not told of: the page looks now and then anyway.

    writer thread --commit--> heard --> turn (one at a time, in a thread: whose? is the token still good?) --> pages

Invariants:
- Before a page is told anything, its token was proven after the change.
- What a page has not yet been told is a set of kinds: it does not grow, however slowly the page reads.
- While nobody watches, a commit costs one look at a flag.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
import structlog

from deuteron.api.visitors import Places, close, is_same_origin
from deuteron.hub.hub import Receive, Scope, Send
from deuteron.hub.owners import Owners
from deuteron.model.caller import Caller
from deuteron.model.errors import Unauthorized, Unavailable
from deuteron.rules.identity.tokens import Tokens
from deuteron.store.database import Change, Database

log = structlog.get_logger("deuteron.dashboard")

MOST: Final = 256
MOST_OF_USER: Final = 32
MOST_UNPROVEN: Final = 64
MOST_UNPROVEN_OF_ADDRESS: Final = 16
TOKEN_S: Final = 5.0
AGAIN_S: Final = 30.0
"""A token is proven again after this long, if nothing changed."""
_PAUSE_S: Final = 0.2
"""Between two turns: what many commits touch is told once."""
_REFUSED, _GONE, _TOO_MANY = 4400, 4401, 4429


class _First(msgspec.Struct, frozen=True):
    token: str


@dataclass(eq=False)
class _Page:
    """One that was let in."""

    token: str
    caller: Caller
    due: set[str] = field(default_factory=set)
    is_over: bool = False
    wake: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def project(self) -> str | None:
        return self.caller.project_id


class Changes:
    """`websocket` is the ASGI handler. One per process."""

    def __init__(self, database: Database, tokens: Tokens, again_s: float = AGAIN_S, token_s: float = TOKEN_S) -> None:
        self._database = database
        self._tokens = tokens
        self._again_s = again_s
        self._token_s = token_s
        self._owners = Owners()
        self._left: set[str] = set()
        """Projects whose last page left: what they own was not followed since."""
        self._pages: set[_Page] = set()
        self._unproven = Places(MOST_UNPROVEN, MOST_UNPROVEN_OF_ADDRESS)
        self._touched: set[Change] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._turning: asyncio.Task[None] | None = None
        self._turns = asyncio.Lock()
        database.subscribe(self._heard_commit)

    async def websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one page until it leaves or its token ends."""
        await receive()
        address = (scope.get("client") or ("", 0))[0]
        is_full = not self._unproven.has_room(address)
        if scope["path"].rstrip("/") != "/dashboard/changes" or is_full or not is_same_origin(scope):
            await close(send, _TOO_MANY if is_full else _REFUSED)
            return
        with self._unproven.held(address):
            await send({"type": "websocket.accept"})
            page = await self._admit(receive)
        if isinstance(page, int):
            await close(send, page)
            return
        self._loop = asyncio.get_running_loop()
        self._pages.add(page)
        try:
            await self._serve(page, receive, send)
        finally:
            self._pages.discard(page)
            if page.project is not None and all(other.project != page.project for other in self._pages):
                self._left.add(page.project)

    async def _admit(self, receive: Receive) -> _Page | int:
        """Whoever shows a token of a project, or the code to close with."""
        try:
            async with asyncio.timeout(self._token_s):
                message = await receive()
        except TimeoutError:
            return _REFUSED
        try:
            raw = message.get("text") or message.get("bytes") or b""
            token = msgspec.json.decode(raw, type=_First).token
            caller = await asyncio.to_thread(self._prove, token)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return _REFUSED
        except (Unauthorized, Unavailable):
            return _GONE
        # One that is good for some requests alone may not ask for changes: no rule could name them.
        if caller.project_id is None or caller.access_rules is not None:
            return _GONE
        of_user = sum(page.caller.user_id == caller.user_id for page in self._pages)
        if len(self._pages) >= MOST or of_user >= MOST_OF_USER:
            return _TOO_MANY
        return _Page(token, caller)

    def _prove(self, token: str) -> Caller:
        """Raises: Unauthorized; Unavailable."""
        with self._database.read() as tx:
            return self._tokens.caller(tx, token)

    async def _serve(self, page: _Page, receive: Receive, send: Send) -> None:
        await self._know()
        tasks = [asyncio.create_task(self._tell(page, send)), asyncio.create_task(_heard(receive))]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        await close(send, _GONE if page.is_over else _REFUSED)

    async def _know(self) -> None:
        async with self._turns:
            projects = {page.project for page in self._pages if page.project is not None and not page.caller.is_admin}

            left, self._left = self._left, set()

            def look() -> None:
                self._owners.forget(left)
                with self._database.read() as tx:
                    self._owners.watch(tx, projects)

            await asyncio.to_thread(look)

    async def _tell(self, page: _Page, send: Send) -> None:
        """Say what is due, until the token ends or the page takes nothing any more."""
        with contextlib.suppress(Exception):  # servers differ in what they raise for a closed connection
            await send(_said(()))
            while not page.is_over:
                try:
                    async with asyncio.timeout(self._again_s):
                        await page.wake.wait()
                except TimeoutError:
                    self._turn_soon()
                    continue
                page.wake.clear()
                kinds, page.due = page.due, set()
                if kinds and not page.is_over:
                    await send(_said(sorted(kinds)))

    # --- from commits to pages ----------------------------------------------------------------------------------------

    def _heard_commit(self, _revision: int, touched: Sequence[Change]) -> None:
        """In the writer thread, after each commit."""
        loop = self._loop
        if self._pages and loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(self._add, touched)

    def _add(self, touched: Sequence[Change]) -> None:
        self._touched.update(touched)
        if touched:
            self._turn_soon()

    def _turn_soon(self) -> None:
        if self._turning is None or self._turning.done():
            self._turning = asyncio.get_running_loop().create_task(self._turn())

    async def _turn(self) -> None:
        while True:
            async with self._turns:
                touched, self._touched = self._touched, set()
                pages = tuple(self._pages)
                try:
                    told, over = await asyncio.to_thread(self._look, tuple(touched), pages)
                except Unavailable:  # the pages look now and then, whatever they hear
                    told, over = {}, frozenset()
            for page in pages:
                page.is_over = page.is_over or page in over
                page.due |= told.get(page, set())
                if page.is_over or page.due:
                    page.wake.set()
            await asyncio.sleep(_PAUSE_S)
            if not self._touched:
                return

    def _look(
        self, touched: Sequence[Change], pages: Sequence[_Page]
    ) -> tuple[dict[_Page, set[str]], frozenset[_Page]]:
        """In a thread: the kinds that each page is told of, and the pages whose token is no longer good."""
        with self._database.read() as tx:
            over = frozenset(page for page in pages if not self._is_good(tx, page))
            by_project = self._owners.told(tx, touched)
        every = {change.kind for change in touched}
        told = {page: every if page.caller.is_admin else by_project.get(page.project or "", set()) for page in pages}
        return {page: set(kinds) for page, kinds in told.items()}, over

    def _is_good(self, tx: Any, page: _Page) -> bool:
        try:
            caller = self._tokens.caller(tx, page.token)
        except Unauthorized:
            return False
        return caller.roles == page.caller.roles


async def _heard(receive: Receive) -> None:
    """Whatever it is: that the page left, or said more than it may."""
    await receive()


def _said(kinds: Sequence[str]) -> dict[str, Any]:
    return {"type": "websocket.send", "text": msgspec.json.encode({"changed": kinds}).decode()}

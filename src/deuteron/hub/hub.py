"""The line to the agents: one WebSocket for each host, over the Unix socket only.

    writer thread --commit--> wake --> turn (one thread: reads the log, makes messages, `views`) --> sender per host
    agent --Report--> one write transaction --> statuses;  Heartbeat --> one write for all hosts, once a second

A connection begins with the agent's `Hello` and is answered with a `Snapshot`; after that it gets a `Change`
for what commits touched. While a message is on its way to a slow agent, further commits wait in the change
log and reach it squashed into one message: nothing queues up, and no host waits for another. What is long is sent in
parts, between what others are sent. Whoever else follows the log (`log.Consumer`) does it in a thread of its own.

Invariants:
- One connection for each host: a new one closes the older, whose agent is taken for dead.
- Views are touched only in the turn's thread; links and their tables only in the event loop.
- Statuses are written only for objects that belong to the reporting host.
- A status that the agent reported holds until it reports another. When a revision changed an object and the
  agent realised that revision without a new status, the known one is written again (`confirm`).
"""

from __future__ import annotations

import asyncio
import functools
import hmac
import itertools
from collections.abc import Awaitable, Callable, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import msgspec
import structlog

from deuteron.hub import reports
from deuteron.hub.healing import Healing
from deuteron.hub.log import Consumer, catch_up
from deuteron.hub.messages import Message
from deuteron.hub.views import Views
from deuteron.model.errors import ApiError, Unavailable
from deuteron.model.intent import (
    REPORTED,
    Answer,
    Ask,
    Heartbeat,
    Hello,
    Kept,
    Key,
    Report,
    Status,
    ToApi,
)
from deuteron.model.scalars import NetworkId
from deuteron.model.settings import Settings
from deuteron.rules.hosts import registry
from deuteron.rules.network import dhcp, duties, local_floating
from deuteron.store import database as store
from deuteron.store.database import Database, Tx

log = structlog.get_logger("deuteron.hosts")

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

_ENCODER: Final = msgspec.json.Encoder()
_DECODER: Final = msgspec.json.Decoder(ToApi)

HEARTBEAT_FLUSH_S: Final = 1.0
REAP_S: Final = 5.0
FIRST_PAUSE_S: Final = 0.1
LONGEST_PAUSE_S: Final = 10.0
SEND_TIMEOUT_S: Final = 60.0
"""An agent that does not take a message within this time is disconnected."""

_CLOSE_UNAUTHORIZED, _CLOSE_REPLACED, _CLOSE_PROTOCOL, _CLOSE_SILENT = 4401, 4409, 4400, 4408


@dataclass
class Link:
    """One connection."""

    host: str
    send: Send
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    ready: bool = False
    closed: bool = False
    heard_at: float = 0.0
    reported: dict[Key, Status] = field(default_factory=dict)
    """The last status heard of each object on this connection."""
    unconfirmed: dict[Key, int] = field(default_factory=dict)
    """Objects sent, and the revision that must be realised before their known status holds again."""
    kept: dict[Key, Kept] = field(default_factory=dict)
    """What is to leave the host and is still there."""
    is_whole: bool = False
    """Whether it was sent its whole intent."""
    sent: int = 0
    """The revision of the last message sent."""
    realised: int = 0
    asked: dict[int, asyncio.Future[Answer]] = field(default_factory=dict)


class _Turn(NamedTuple):
    """What one turn made, and who waits for more."""

    messages: list[Message]
    revision: int
    waiting: frozenset[str]


class Hub:
    """`start` once in the event loop; `websocket` is the ASGI handler; `ask` puts a question to an agent."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._settings = settings
        self._database = database
        self._links: dict[str, Link] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wake = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="intents")
        self._views = Views(settings)
        self._joining: set[str] = set()
        self._leaving: set[str] = set()
        self._sending: set[str] = set()
        """Hosts to whose connection a message is on its way."""
        self._revision = 0
        """Up to which the change log was followed, and …"""
        self._waiting: frozenset[str] = frozenset()
        """… the hosts that were not yet sent all of it."""
        self._consumers: list[tuple[Consumer, asyncio.Event, ThreadPoolExecutor]] = []
        self._tasks: set[asyncio.Task[Any]] = set()
        self._heartbeats: dict[str, Heartbeat | None] = {}
        self._numbers = itertools.count(1)
        self._healing = Healing(settings)

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to follow commits. No host is connected at this moment, whatever the rows say."""
        self._loop = loop
        self._database.write(registry.reset)
        self._database.subscribe(self._heard_commit)
        for work in (self._pump(), self._flush_heartbeats(), self._reap()):
            self._spawn(work)

    async def stop(self) -> None:
        """End the hub's tasks and its thread, before the store is closed; connections are closed by the server."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for thread in (self._thread, *(thread for _, _, thread in self._consumers)):
            await asyncio.to_thread(thread.shutdown, wait=True, cancel_futures=True)

    def follow(self, consumer: Consumer) -> None:
        """Let a central consumer follow the change log from its revision on. Call it after `start`.

        One that raises is asked again, after a pause that doubles from 0.1 to 10 s; nobody else waits for it.
        """
        entry = (consumer, asyncio.Event(), ThreadPoolExecutor(1, thread_name_prefix="consumer"))
        self._consumers.append(entry)
        self._spawn(self._serve(*entry))

    def connected(self, host: str) -> bool:
        return host in self._links

    def realised(self, host: str, revision: int) -> bool:
        """Whether the host has carried out everything up to `revision` that concerns it."""
        link = self._links.get(host)
        if link is None:
            return False
        # Under a stream of changes something newer is always on its way, and no reason to wait.
        considered = link.sent if host in self._waiting or not link.is_whole else self._revision
        return link.realised >= revision or (considered >= revision and link.realised >= link.sent)

    def realised_revision(self, host: str) -> int:
        """The last revision that the host has carried out since it is connected; 0 before the first."""
        link = self._links.get(host)
        return 0 if link is None else link.realised

    async def ask(
        self, host: str, what: str, id: str = "", argument: int = -1, timeout_s: float = 10.0, text: str = ""
    ) -> str:
        """The agent's answer in text. Raises: Unavailable when it is not there, too slow, or cannot answer."""
        link = self._links.get(host)
        if link is None or not link.ready:
            raise Unavailable(f"host {host} is not connected, so nobody can answer for it", type="HostDown")
        number = next(self._numbers)
        answered: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        link.asked[number] = answered
        try:
            async with asyncio.timeout(timeout_s):
                await self._transmit(link, _ENCODER.encode(Ask(number, what, id, argument, text)).decode())
                answer = await answered
        except TimeoutError:
            raise Unavailable(
                f"host {host} did not answer the question for {what} of {id} within {timeout_s:g} s", type="HostTimeout"
            ) from None
        finally:
            link.asked.pop(number, None)
        if answer.error is not None:
            raise Unavailable(answer.error, type="HostAnswer")
        return answer.text

    # --- the connection -----------------------------------------------------------------------------------------------

    async def websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one agent until it leaves, falls silent, or another connection of the same host replaces it."""
        await receive()
        parts = scope["path"].strip("/").split("/")
        host = parts[-1]
        entry = self._settings.hosts.get(host)
        given = dict(scope["headers"]).get(b"authorization", b"")
        if parts[:-1] != ["internal", "hosts"] or not authorized(given, "" if entry is None else entry.token):
            log.warning("agent refused", host=host, path=scope["path"])
            await send({"type": "websocket.close", "code": _CLOSE_UNAUTHORIZED})
            return
        await send({"type": "websocket.accept"})
        link = Link(host, send, heard_at=self._now())
        previous = self._links.get(host)
        self._links[host] = link
        self._leaving.add(host)
        self._sending.discard(host)
        if previous is not None:
            log.warning("agent replaced by a newer connection", host=host)
            await self._close(previous, _CLOSE_REPLACED)
        try:
            await self._listen(link, receive)
        except _ProtocolError as error:
            log.warning("agent disconnected", host=host, reason=str(error))
            await self._close(link, _CLOSE_PROTOCOL)
        finally:
            link.closed = True
            for answered in link.asked.values():
                if not answered.done():
                    answered.set_result(Answer(0, error=f"host {host} disconnected before it answered"))
            if self._links.get(host) is link:
                del self._links[host]
                self._joining.discard(host)
                self._sending.discard(host)
                self._leaving.add(host)
                log.info("host disconnected", host=host)
                self._database.submit(lambda tx: registry.disconnected(tx, host))

    async def _listen(self, link: Link, receive: Receive) -> None:
        while True:
            message = await receive()
            if message["type"] == "websocket.disconnect" or link.closed:
                return
            raw = message.get("text") or message.get("bytes") or b""
            try:
                item = _DECODER.decode(raw)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                raise _ProtocolError(f"a message that is none of ours: {error}") from None
            link.heard_at = self._now()
            if isinstance(item, Hello):
                if item.host != link.host:
                    raise _ProtocolError(f"it says it is host {item.host!r}")
                await self._write(functools.partial(_greet, item))
                log.info("host connected", host=link.host, roles=",".join(item.roles), virt_type=item.virt_type)
                if self._links.get(link.host) is link:
                    link.ready = True
                    self._joining.add(link.host)
                    self._wake.set()
                    self._spawn(self._serve_segments(link.host))
            elif not link.ready:
                raise _ProtocolError("its first message is not Hello")
            elif isinstance(item, Report):
                await self._report(link, item)
            elif isinstance(item, Heartbeat):
                self._heartbeats[link.host] = item
            else:
                answered = link.asked.get(item.number)
                if answered is not None and not answered.done():
                    answered.set_result(item)

    async def _serve_segments(self, host: str) -> None:
        """Give segments their DHCP that nobody could serve before this host was connected to them, and floating IPs
        their way outside, which may be another with the wires that the host has now."""
        assert self._loop is not None  # it has a connection
        for network_id in await self._loop.run_in_executor(self._thread, self._unserved_on, host):
            await self._write(functools.partial(dhcp.serve_late, settings=self._settings, network_id=network_id))
        if await self._loop.run_in_executor(self._thread, self._is_led_to, host):
            await self._write(functools.partial(local_floating.settle_host, settings=self._settings, host=host))

    def _is_led_to(self, host: str) -> bool:
        with self._database.read() as tx:
            return local_floating.lead_to(tx, host)

    def _unserved_on(self, host: str) -> list[NetworkId]:
        with self._database.read() as tx:
            return dhcp.unserved_on(tx, self._settings, host)

    async def _report(self, link: Link, report: Report) -> None:
        link.realised = max(link.realised, report.realised_revision)
        listed = {(status.kind, status.id): status for status in report.statuses}
        link.reported |= listed
        for key in report.removed:
            link.reported.pop(key, None)
            link.kept.pop(key, None)
        for item in report.kept:
            link.kept[item.kind, item.id] = item
            log.info("not removed yet", host=link.host, kind=item.kind, id=item.id, reason=item.reason)
        due = [key for key, revision in link.unconfirmed.items() if revision <= report.realised_revision]
        for key in due:
            del link.unconfirmed[key]
        again = [link.reported[key] for key in due if key in link.reported and key not in listed]
        said = reports.joined(report, again)
        kept = tuple(link.kept.values())
        await self._write(lambda tx: reports.apply(tx, self._settings, link.host, said, kept))

    async def _confirm(self, link: Link, unchanged: Sequence[Key]) -> None:
        """Write known statuses again: a commit touched the rows, yet what the host has to do stayed the same."""
        known = [link.reported[key] for key in unchanged if key in link.reported and key not in link.unconfirmed]
        if known:
            said = reports.joined(None, known)
            await self._write(lambda tx: reports.apply(tx, self._settings, link.host, said))

    # --- from commits to messages -------------------------------------------------------------------------------------

    def _heard_commit(self, revision: int, touched: Sequence[store.Change]) -> None:
        """In the writer thread, after each commit."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._heard)

    def _heard(self) -> None:
        self._wake.set()
        for _, wake, _ in self._consumers:
            wake.set()

    async def _pump(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._wake.wait()
            self._wake.clear()
            joining, self._joining = self._joining, set()
            leaving, self._leaving = self._leaving, set()
            busy = frozenset(self._sending)
            try:
                turn = await loop.run_in_executor(self._thread, self._turn, leaving, joining, busy)
            except Exception:  # a defect of ours must not end the line to every host
                log.exception("intents could not be computed")
                await asyncio.sleep(1)
                self._views = Views(self._settings)
                self._joining = {host for host, link in self._links.items() if link.ready}
                self._wake.set()
                continue
            self._revision, self._waiting = turn.revision, turn.waiting
            for message in turn.messages:
                link = self._links.get(message.host)
                # One that came meanwhile hears of its own view alone.
                is_other = message.host in self._joining or message.host in self._leaving
                if link is not None and link.ready and not link.closed and not is_other:
                    self._hand_over(link, message)
            if turn.waiting - self._sending:
                self._wake.set()

    def _turn(self, leaving: Set[str], joining: Set[str], busy: Set[str]) -> _Turn:
        """In the turn's thread: one consistent read."""
        views = self._views
        for host in leaving:
            views.leave(host)
        for host in joining:
            views.join(host)
        with self._database.read() as tx:
            catch_up(self._database, tx, views)
            return _Turn(views.step(tx, busy), views.revision, views.waiting)

    def _hand_over(self, link: Link, message: Message) -> None:
        for key in message.sent:
            if key[0] in REPORTED:
                link.unconfirmed[key] = message.revision
        for key in message.gone:
            link.unconfirmed.pop(key, None)
        link.is_whole = message.is_whole
        if message.text is not None:
            self._sending.add(link.host)
            link.sent = message.revision
            self._spawn(self._deliver(link, message.text))
        if message.unchanged:
            self._spawn(self._confirm(link, message.unchanged))

    async def _serve(self, consumer: Consumer, wake: asyncio.Event, thread: ThreadPoolExecutor) -> None:
        loop = asyncio.get_running_loop()
        pause_s = FIRST_PAUSE_S
        while True:
            wake.clear()
            try:
                await loop.run_in_executor(thread, self._catch_up, consumer)
            except Exception:  # whatever it stumbles over, the others go on
                log.exception("a consumer of the change log failed", consumer=repr(consumer), again_in_s=pause_s)
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
                continue
            pause_s = FIRST_PAUSE_S
            await wake.wait()

    def _catch_up(self, consumer: Consumer) -> None:
        with self._database.read() as tx:
            catch_up(self._database, tx, consumer)

    async def _deliver(self, link: Link, text: str) -> None:
        try:
            async with asyncio.timeout(SEND_TIMEOUT_S):
                await self._transmit(link, text)
        except TimeoutError:
            log.warning("agent takes no messages", host=link.host, timeout_s=SEND_TIMEOUT_S)
            await self._close(link, _CLOSE_SILENT)
        except Exception as error:  # the server's own error types for a closed connection
            log.info("message not delivered", host=link.host, reason=repr(error))
        finally:
            if self._links.get(link.host) is link:
                self._sending.discard(link.host)
                if link.host in self._waiting:
                    self._wake.set()

    async def _transmit(self, link: Link, text: str) -> None:
        async with link.lock:
            await link.send({"type": "websocket.send", "text": text})

    # --- upkeep -------------------------------------------------------------------------------------------------------

    async def _flush_heartbeats(self) -> None:
        while True:
            await asyncio.sleep(HEARTBEAT_FLUSH_S)
            for host, link in self._links.items():
                # Reports are signs of life too.
                if link.ready and self._now() - link.heard_at < HEARTBEAT_FLUSH_S:
                    self._heartbeats.setdefault(host, None)
            beats, self._heartbeats = self._heartbeats, {}
            if beats:
                await self._write(functools.partial(_heard, beats))

    async def _reap(self) -> None:
        """Close silent connections, and do without hosts that are gone."""
        while True:
            woken = self._now() + REAP_S
            await asyncio.sleep(REAP_S)
            late = self._now() - woken
            for link in list(self._links.values()):
                if late > REAP_S:  # this process stood still: what came meanwhile waits to be read
                    link.heard_at += late
                if self._now() - link.heard_at > registry.ALIVE_S:
                    log.warning("host fell silent", host=link.host, silent_s=round(self._now() - link.heard_at, 1))
                    await self._close(link, _CLOSE_SILENT)
            with self._database.read() as tx:
                is_overdue = reports.is_overdue(tx)
            if is_overdue:
                await self._write(lambda tx: reports.finish_overdue(tx, self._settings))
            while moves := await asyncio.get_running_loop().run_in_executor(self._thread, self._due):
                await self._write(functools.partial(duties.hand_over, settings=self._settings, moves=moves))

    def _due(self) -> Sequence[duties.Move]:
        with self._database.read() as tx:
            return self._healing.due(tx, self._now())

    async def _close(self, link: Link, code: int) -> None:
        link.closed = True
        try:
            await link.send({"type": "websocket.close", "code": code})
        except Exception as error:  # closed already; servers differ in what they raise
            log.debug("close failed", host=link.host, reason=repr(error))

    async def _write(self, function: Callable[[Tx], Any]) -> None:
        try:
            await asyncio.wrap_future(self._database.submit(function))
        except ApiError as error:
            log.error("a report could not be recorded", reason=error.message)
        except Exception:  # a defect of ours in one report must not end the host's connection
            log.exception("a report could not be recorded")

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work) if self._loop is None else self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _now(self) -> float:
        return 0.0 if self._loop is None else self._loop.time()


def _greet(hello: Hello, tx: Tx) -> None:
    registry.greet(tx, hello)


def _heard(beats: dict[str, Heartbeat | None], tx: Tx) -> None:
    for host, beat in beats.items():
        registry.heard(tx, host, beat)


class _ProtocolError(Exception):
    """The agent said something that the wire contract does not know."""


def authorized(header: bytes, token: str) -> bool:
    """Whether an `Authorization` header carries the host's token; False for an empty token. In constant time."""
    return hmac.compare_digest(header, b"Bearer " + token.encode()) and token != ""


def host_of(settings: Settings, authorization: str) -> str | None:
    """The host whose token an `Authorization` header carries; None when it is nobody's."""
    given = authorization.encode("latin-1", "replace")
    return next((name for name, entry in settings.hosts.copy().items() if authorized(given, entry.token)), None)

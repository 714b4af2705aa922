"""The line to the agents: one WebSocket for each host, over the Unix socket only.

    writer thread --commit--> wake --> round (one thread: reads the log, brings each view up) --> sender per host
    agent --Report--> one write transaction --> statuses;  Heartbeat --> one write for all hosts, once a second

A connection begins with the agent's `Hello` and is answered with a `Snapshot`; after that it gets a `Change`
for what commits touched. While a message is on its way to a slow agent, further commits wait in the change
log and reach it squashed into one message: nothing queues up, and no host waits for another.

Invariants:
- One connection for each host: a new one closes the older, whose agent is taken for dead.
- A view is touched only in the round's thread; links and their tables only in the event loop.
- Statuses are written only for objects that belong to the reporting host.
- A status that the agent reported holds until it reports another. When a revision changed an object and the
  agent realised that revision without a new status, the known one is written again (`confirm`).
"""

from __future__ import annotations

import asyncio
import functools
import hmac
import itertools
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
import structlog

from deuteron.hub import intents, reports
from deuteron.hub.intents import Key, View
from deuteron.model.errors import ApiError, Unavailable
from deuteron.model.intent import (
    Answer,
    Ask,
    Change,
    Heartbeat,
    Hello,
    PortReport,
    Report,
    RouterReport,
    ServerReport,
    Snapshot,
    ToApi,
    key_of,
)
from deuteron.model.settings import Settings
from deuteron.rules.hosts import registry
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
SEND_TIMEOUT_S: Final = 60.0
"""An agent that does not take a message within this time is disconnected."""

_CLOSE_UNAUTHORIZED, _CLOSE_REPLACED, _CLOSE_PROTOCOL, _CLOSE_SILENT = 4401, 4409, 4400, 4408


@dataclass
class Link:
    """One connection. `view` is None until the snapshot is made."""

    host: str
    send: Send
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    view: View | None = None
    ready: bool = False
    sending: bool = False
    closed: bool = False
    heard_at: float = 0.0
    reported: dict[Key, PortReport | RouterReport | ServerReport] = field(default_factory=dict)
    """The last status heard of each object on this connection."""
    unconfirmed: dict[Key, int] = field(default_factory=dict)
    """Objects sent, and the revision that must be realised before their known status holds again."""
    leaving: dict[str, int] = field(default_factory=dict)
    """Servers taken from the host, and the revision that says so."""
    considered: int = 0
    """The revision up to which the host's intent is known to be sent."""
    sent: int = 0
    """The revision of the last message sent."""
    realised: int = 0
    snapshot: int = -1
    """Revision of the snapshot, until it is realised; -1 before and after."""
    asked: dict[int, asyncio.Future[Answer]] = field(default_factory=dict)


_Outcome = tuple[Link, Snapshot | Change | None, tuple[Key, ...], tuple[Key, ...], int]
"""Of one round for one link: what to send, keys that stayed the same or were never there, and the revision."""


class Hub:
    """`start` once in the event loop; `websocket` is the ASGI handler; `ask` puts a question to an agent."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._settings = settings
        self._database = database
        self._links: dict[str, Link] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wake = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="intents")
        self._tasks: set[asyncio.Task[Any]] = set()
        self._heartbeats: dict[str, Heartbeat | None] = {}
        self._numbers = itertools.count(1)

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
        await asyncio.to_thread(self._thread.shutdown, wait=True, cancel_futures=True)

    def connected(self, host: str) -> bool:
        return host in self._links

    def realised(self, host: str, revision: int) -> bool:
        """Whether the host has carried out everything up to `revision` that concerns it."""
        link = self._links.get(host)
        if link is None:
            return False
        # Under a stream of changes something newer is always on its way, and no reason to wait.
        return link.realised >= revision or (link.considered >= revision and link.realised >= link.sent)

    def realised_revision(self, host: str) -> int:
        """The last revision that the host has carried out since it is connected; 0 before the first."""
        link = self._links.get(host)
        return 0 if link is None else link.realised

    async def ask(self, host: str, what: str, id: str = "", argument: int = -1, timeout_s: float = 10.0) -> str:
        """The agent's answer in text. Raises: Unavailable when it is not there, too slow, or cannot answer."""
        link = self._links.get(host)
        if link is None or not link.ready:
            raise Unavailable(f"host {host} is not connected, so nobody can answer for it", type="HostDown")
        number = next(self._numbers)
        answered: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        link.asked[number] = answered
        try:
            async with asyncio.timeout(timeout_s):
                await self._transmit(link, Ask(number, what, id, argument))
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
                link.ready = True
                self._wake.set()
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

    async def _report(self, link: Link, report: Report) -> None:
        link.realised = max(link.realised, report.realised_revision)
        for port in report.ports:
            link.reported[("port", port.id)] = port
        for router in report.routers:
            link.reported[("router", router.id)] = router
        for server in report.servers:
            link.reported[("server", server.id)] = server
        for key in report.gone:
            link.reported.pop(key, None)
        due = [key for key, revision in link.unconfirmed.items() if revision <= report.realised_revision]
        for key in due:
            del link.unconfirmed[key]
        listed = {("port", item.id) for item in report.ports} | {("router", item.id) for item in report.routers}
        listed |= {("server", item.id) for item in report.servers}
        again = [link.reported[key] for key in due if key in link.reported and key not in listed]
        whole = 0 <= link.snapshot <= report.realised_revision
        if whole:
            link.snapshot = -1
            again = [item for key, item in link.reported.items() if key not in listed]
        gone = set(report.gone)
        troubled = " ".join(what for what, _ in report.problems)
        for id, revision in list(link.leaving.items()):
            # An agent that was told of a server and of its end in one breath has nothing to remove and to report.
            if ("server", id) in gone or (revision <= report.realised_revision and id not in troubled):
                del link.leaving[id]
                gone.add(("server", id))
        said = msgspec.structs.replace(_with(report, again), gone=tuple(sorted(gone)))
        await self._write(lambda tx: reports.apply(tx, self._settings, link.host, said, whole=whole))

    async def _confirm(self, link: Link, unchanged: Sequence[Key], absent: Sequence[Key]) -> None:
        """Write known statuses again: a commit touched the rows, yet what the host has to do stayed the same.

        `absent` servers were made and deleted before the host heard of them: they are gone already.
        """
        known = [link.reported[key] for key in unchanged if key in link.reported and key not in link.unconfirmed]
        gone = tuple(key for key in absent if key[0] == "server" and key[1] not in link.leaving)
        if known or gone:
            said = msgspec.structs.replace(_with(None, known), gone=gone)
            await self._write(lambda tx: reports.apply(tx, self._settings, link.host, said, whole=False))

    # --- from commits to messages -------------------------------------------------------------------------------------

    def _heard_commit(self, revision: int, touched: Sequence[store.Change]) -> None:
        """In the writer thread, after each commit."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._wake.set)

    async def _pump(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._wake.wait()
            self._wake.clear()
            links = [link for link in self._links.values() if link.ready and not link.sending and not link.closed]
            if not links:
                continue
            try:
                results = await loop.run_in_executor(self._thread, self._round, links)
            except Exception:  # a defect of ours must not end the line to every host
                log.exception("intents could not be computed")
                await asyncio.sleep(1)
                for link in links:
                    link.view = None
                self._wake.set()
                continue
            for link, message, unchanged, absent, revision in results:
                link.considered = revision
                if isinstance(message, Snapshot):
                    link.snapshot = message.revision
                if message is not None:
                    for item in message.objects:
                        key = key_of(item)
                        if key[0] in ("port", "router", "server"):
                            link.unconfirmed[key] = message.revision
                    if isinstance(message, Change):
                        for key in message.gone:
                            link.unconfirmed.pop(key, None)
                            if key[0] == "server":
                                link.leaving[key[1]] = message.revision
                    link.sending = True
                    link.sent = message.revision
                    self._spawn(self._deliver(link, message))
                if unchanged or absent:
                    self._spawn(self._confirm(link, unchanged, absent))

    def _round(self, links: Sequence[Link]) -> list[_Outcome]:
        """In the round's thread: one consistent read for all links."""
        results: list[_Outcome] = []
        with self._database.read() as tx:
            revision = intents.current_revision(tx)
            logs: dict[int, tuple[list[store.Change], set[str] | None]] = {}
            for link in links:
                if link.view is None or link.view.revision < self._database.pruned:
                    # New, or so far behind that the log no longer tells what it has missed.
                    message, link.view = intents.snapshot(tx, self._settings, link.host)
                    results.append((link, message, (), (), revision))
                    continue
                since = link.view.revision
                if since == revision:
                    continue
                if since not in logs:
                    touched = intents.changes_since(tx, since)
                    logs[since] = (touched, intents.concerned_hosts(tx, touched))
                touched, concerned = logs[since]
                if concerned is not None and link.host not in concerned and not link.view.mentions(touched):
                    link.view.revision = revision
                    results.append((link, None, (), (), revision))
                    continue
                found = intents.change(tx, self._settings, link.host, link.view, touched)
                results.append((link, found.message, found.unchanged, found.absent, revision))
        return results

    async def _deliver(self, link: Link, message: Snapshot | Change) -> None:
        try:
            async with asyncio.timeout(SEND_TIMEOUT_S):
                await self._transmit(link, message)
        except TimeoutError:
            log.warning("agent takes no messages", host=link.host, timeout_s=SEND_TIMEOUT_S)
            await self._close(link, _CLOSE_SILENT)
        except Exception as error:  # the server's own error types for a closed connection
            log.info("message not delivered", host=link.host, reason=repr(error))
        finally:
            link.sending = False
            self._wake.set()

    async def _transmit(self, link: Link, message: Snapshot | Change | Ask) -> None:
        text = _ENCODER.encode(message).decode()
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
        """Close silent connections, and let go of servers that are to be deleted on hosts that are gone."""
        while True:
            await asyncio.sleep(REAP_S)
            for link in list(self._links.values()):
                if self._now() - link.heard_at > registry.ALIVE_S:
                    log.warning("host fell silent", host=link.host, silent_s=round(self._now() - link.heard_at, 1))
                    await self._close(link, _CLOSE_SILENT)
            with self._database.read() as tx:
                waiting = reports.deletions_on_dead_hosts(tx)
            if waiting:
                await self._write(
                    lambda tx: reports.finish_deletions(tx, self._settings, reports.deletions_on_dead_hosts(tx))
                )

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
    return next((name for name, entry in settings.hosts.items() if authorized(given, entry.token)), None)


def _with(report: Report | None, more: Sequence[PortReport | RouterReport | ServerReport]) -> Report:
    """`report` with further statuses; without one, a report that says nothing else (revision -1)."""
    base = Report(-1) if report is None else report
    return msgspec.structs.replace(
        base,
        ports=(*base.ports, *(item for item in more if isinstance(item, PortReport))),
        routers=(*base.routers, *(item for item in more if isinstance(item, RouterReport))),
        servers=(*base.servers, *(item for item in more if isinstance(item, ServerReport))),
    )

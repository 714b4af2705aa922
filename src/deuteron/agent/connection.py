"""The line to the API: one WebSocket over its Unix socket, made again whenever it breaks.

    connect -> Hello -> Snapshot -> (Change | Ask)*          Report, Heartbeat, Answer the other way

Invariants:
- Each connection begins with a whole intent, so nothing a broken one lost matters. While one comes in parts, the
  host keeps the last whole one.
- The first report of a connection lists every status, later ones only what differs. A report never names a
  revision before a pass that knew it has ended.
- While the API is away the host keeps the last intent, and drift is mended as ever.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import msgspec
import structlog
from websockets.asyncio.client import ClientConnection, unix_connect
from websockets.exceptions import WebSocketException

from deuteron.agent.intents import fold, is_wanted, keys
from deuteron.model.intent import (
    REPORTED,
    Answer,
    Ask,
    BackupReport,
    Change,
    Heartbeat,
    Hello,
    HostIntent,
    HostSettings,
    Kept,
    Key,
    PortReport,
    Report,
    RouterReport,
    ServerReport,
    Snapshot,
    SnapshotReport,
    ToAgent,
    ToApi,
    VolumeReport,
)

log = structlog.get_logger("deuteron.agent")

HEARTBEAT_PERIOD_S = 5.0
FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 2.0
LONGEST_PAUSE_ABSENT_S = 0.3
"""While nobody listens at all: to ask costs next to nothing, and the API is about to start."""
_MOST_PROBLEMS = 100
_LASTING = frozenset({"volume", "volume_snapshot", "backup"})
"""Kinds that nobody is to lose: that an API does not speak of one any more, as after a backup was restored, is no word
for its end."""


@dataclass(frozen=True)
class Findings:
    """What is true of the host's objects now, after a pass that knew `revision`."""

    revision: int
    ports: dict[str, PortReport] = field(default_factory=dict)
    routers: dict[str, RouterReport] = field(default_factory=dict)
    servers: dict[str, ServerReport] = field(default_factory=dict)
    volumes: dict[str, VolumeReport] = field(default_factory=dict)
    snapshots: dict[str, SnapshotReport] = field(default_factory=dict)
    backups: dict[str, BackupReport] = field(default_factory=dict)
    removed: frozenset[Key] = frozenset()
    kept: dict[Key, Kept] = field(default_factory=dict)
    problems: tuple[tuple[str, str], ...] = ()


class Connection:
    """Keeps the line up. `report` and everything else belongs to the event loop.

    `on_intent` gets each new intent and the keys to answer for; `hello` says who we are; `beat` what a heartbeat
    says; `answer` answers a question.
    """

    def __init__(
        self,
        settings: HostSettings,
        hello: Callable[[], Hello],
        beat: Callable[[], Heartbeat],
        on_intent: Callable[[HostIntent, frozenset[Key]], None],
        answer: Callable[[Ask], Awaitable[str]],
    ) -> None:
        self._settings = settings
        self._hello = hello
        self._beat = beat
        self._on_intent = on_intent
        self._answer = answer
        self._intent: HostIntent | None = None
        """The last whole one."""
        self._heard: HostIntent | None = None
        """What this connection said so far; None before its first message."""
        self._heard_gone: set[Key] = set()
        self._socket: ClientConnection | None = None
        self._first_revision = 0
        self._latest: Findings | None = None
        self._said: Findings | None = None
        self._unsaid_removed: set[Key] = set()
        self._news = asyncio.Event()
        self._decoder = msgspec.json.Decoder(ToAgent)
        self._encoder = msgspec.json.Encoder()
        self._answers: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Never returns; cancel it to end."""
        pause_s = FIRST_PAUSE_S
        while True:
            began_s = asyncio.get_running_loop().time()
            longest_s = LONGEST_PAUSE_S
            try:
                await self._converse()
            except (OSError, TimeoutError, WebSocketException, msgspec.DecodeError, EOFError) as error:
                log.warning("no connection to the API", reason=str(error) or type(error).__name__)
                if isinstance(error, FileNotFoundError | ConnectionRefusedError):
                    longest_s = LONGEST_PAUSE_ABSENT_S
            if asyncio.get_running_loop().time() - began_s > LONGEST_PAUSE_S:
                pause_s = FIRST_PAUSE_S
            await asyncio.sleep(pause_s * random.uniform(0.75, 1.25))
            pause_s = min(2 * pause_s, longest_s)

    def report(self, findings: Findings) -> None:
        """Say what differs from the last report, as soon as the line is free."""
        self._latest = findings
        self._unsaid_removed |= findings.removed
        self._news.set()

    async def _converse(self) -> None:
        uri = f"ws://localhost/internal/hosts/{self._settings.host}"
        headers = {"Authorization": f"Bearer {self._settings.token}"}
        async with unix_connect(
            self._settings.api_socket,
            uri,
            additional_headers=headers,
            max_size=None,
            compression=None,
            open_timeout=5,
            close_timeout=0.5,
            proxy=None,
        ) as opened:
            self._said = None
            self._first_revision = -1
            self._heard, self._heard_gone = None, set()
            await self._send(opened, self._hello())
            log.info("connected to the API", host=self._settings.host)
            tasks = [
                asyncio.create_task(self._listen(opened)),
                asyncio.create_task(self._beat_on(opened)),
                asyncio.create_task(self._speak(opened)),
            ]
            try:
                done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
            finally:
                for task in (*tasks, *self._answers):
                    task.cancel()
                for task in tasks:
                    with contextlib.suppress(asyncio.CancelledError, OSError, WebSocketException):
                        await task

    async def _listen(self, opened: ClientConnection) -> None:
        async for text in opened:
            message = self._decoder.decode(text)
            if isinstance(message, Ask):
                task = asyncio.create_task(self._reply(opened, message))
                self._answers.add(task)
                task.add_done_callback(self._answers.discard)
            elif isinstance(message, Snapshot):
                self._heard = fold(HostIntent(), message)
                before = keys(self._intent) if self._intent is not None else set()
                self._heard_gone |= {key for key in before if key[0] not in _LASTING} | set(message.gone)
                self._first_revision = -1
            elif self._heard is not None:
                self._heard = fold(self._heard, message)
                self._heard_gone |= set(message.gone)
            if isinstance(message, Snapshot | Change) and self._heard is not None and not message.more:
                self._take(self._heard)
        raise EOFError("the API closed the connection")

    def _take(self, intent: HostIntent) -> None:
        gone = frozenset(key for key in self._heard_gone if key[0] in REPORTED and not is_wanted(intent, key))
        self._heard_gone = set()
        self._intent = intent
        if self._first_revision < 0:
            self._first_revision = intent.revision
        self._unsaid_removed = {key for key in self._unsaid_removed if not is_wanted(intent, key)}
        self._on_intent(intent, gone)

    async def _beat_on(self, opened: ClientConnection) -> None:
        while True:
            await asyncio.sleep(HEARTBEAT_PERIOD_S)
            await self._send(opened, self._beat())

    async def _speak(self, opened: ClientConnection) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            latest = self._latest
            # Findings of an intent heard on an earlier connection would claim revisions of another view.
            if latest is None or self._first_revision < 0 or latest.revision < self._first_revision:
                continue
            report = difference(latest, self._said, frozenset(self._unsaid_removed))
            if report is not None:
                await self._send(opened, report)
                self._unsaid_removed -= set(report.removed)
            self._said = latest

    async def _reply(self, opened: ClientConnection, question: Ask) -> None:
        try:
            answer = Answer(question.number, text=await self._answer(question))
        except Exception as error:  # whatever went wrong is the answer
            answer = Answer(question.number, error=str(error) or repr(error))
        with contextlib.suppress(OSError, WebSocketException):
            await self._send(opened, answer)

    async def _send(self, opened: ClientConnection, message: ToApi) -> None:
        await opened.send(self._encoder.encode(message).decode())


def difference(latest: Findings, said: Findings | None, removed: frozenset[Key]) -> Report | None:
    """The report that brings the API from `said` to `latest`; None when there is nothing to say."""
    report = Report(
        realised_revision=latest.revision,
        ports=tuple(item for id, item in latest.ports.items() if said is None or said.ports.get(id) != item),
        routers=tuple(item for id, item in latest.routers.items() if said is None or said.routers.get(id) != item),
        servers=tuple(item for id, item in latest.servers.items() if said is None or said.servers.get(id) != item),
        volumes=tuple(item for id, item in latest.volumes.items() if said is None or said.volumes.get(id) != item),
        snapshots=tuple(
            item for id, item in latest.snapshots.items() if said is None or said.snapshots.get(id) != item
        ),
        backups=tuple(item for id, item in latest.backups.items() if said is None or said.backups.get(id) != item),
        removed=tuple(sorted(removed)),
        kept=tuple(item for key, item in sorted(latest.kept.items()) if said is None or said.kept.get(key) != item),
        problems=latest.problems[:_MOST_PROBLEMS],
    )
    has_news = report.statuses or report.removed or report.kept
    if said is not None and not has_news and said.revision == latest.revision and said.problems == latest.problems:
        return None
    return report

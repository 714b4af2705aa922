"""Many hosts in a few processes: agents that speak the hosts' line to the API and have nothing behind it.

Each holds a WebSocket of its own over the API's Unix socket, says `Hello`, takes the snapshot and every change, and
reports at once: its own ports ACTIVE, its routers ACTIVE, its servers as they are wanted, and the revision. It beats
every 5 s and connects again when the line breaks, as the real agent does. What it does not do is to plan or to keep the
intent, so that a thousand of them need less of the machine than the API that is measured.

The bench asks two things, both answered in the machine's monotonic clock: when had each of these hosts reported a
message that names this object (`heard`), and when had every host reported its whole intent since the lines broke
(`in_step`).
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import multiprocessing
import random
import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Literal

import msgspec
from websockets.asyncio.client import ClientConnection, unix_connect
from websockets.exceptions import WebSocketException

from deuteron.model.intent import (
    Answer,
    Heartbeat,
    Hello,
    PortReport,
    Report,
    RouterReport,
    ServerReport,
)

PROCESSES = 2
_HEARTBEAT_PERIOD_S = 5.0
_REMEMBERED = 20_000
"""Messages of each process that a question may still be about."""


class TooLate(Exception):
    """The hosts did not do in time what was waited for."""


@dataclass(frozen=True)
class Member:
    """One host."""

    name: str
    token: str
    tunnel_ip: str
    roles: tuple[str, ...]


class Crowd:
    """The hosts' processes, seen from the bench."""

    def __init__(self, lines: Sequence[tuple[Connection, frozenset[str]]]) -> None:
        self._lines = lines

    def heard(self, object_id: str, hosts: Collection[str], since_s: float, timeout_s: float = 30.0) -> float:
        """When the last of `hosts` had reported a message that it got after `since_s` and that names the object.

        Raises: TooLate.
        """
        asked = [(line, here & set(hosts)) for line, here in self._lines]
        asked = [(line, here) for line, here in asked if here]
        for line, here in asked:
            line.send(("heard", object_id, frozenset(here), since_s))
        return max(_answer(line, timeout_s, f"{len(here)} hosts report {object_id}") for line, here in asked)

    def in_step(self, timeout_s: float) -> float:
        """When the last host had reported its whole intent since its line was made. Raises: TooLate."""
        for line, _ in self._lines:
            line.send(("in step",))
        return max(_answer(line, timeout_s, f"{len(here)} hosts are in step") for line, here in self._lines)


def _answer(line: Connection, timeout_s: float, what: str) -> float:
    if not line.poll(timeout_s):
        raise TooLate(f"waited {timeout_s:g} s until {what}")
    return float(line.recv())


@contextlib.contextmanager
def crowd(socket: str, members: Sequence[Member], processes: int = PROCESSES) -> Iterator[Crowd]:
    """Start the hosts; they are gone at the end."""
    context = multiprocessing.get_context("spawn")
    lines: list[tuple[Connection, frozenset[str]]] = []
    started = []
    for number in range(min(processes, len(members))):
        mine = members[number::processes]
        ours, theirs = context.Pipe()
        process = context.Process(target=_be, args=(theirs, socket, mine), daemon=True)
        process.start()
        theirs.close()
        started.append(process)
        lines.append((ours, frozenset(member.name for member in mine)))
    try:
        yield Crowd(lines)
    finally:
        for process in started:
            process.kill()
        for process in started:
            process.join()
        for line, _ in lines:
            line.close()


# --- in each of the processes ----------------------------------------------------------------------------------------


def _be(line: Connection, socket: str, members: Sequence[Member]) -> None:
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_Part(line, socket, members).run())


@dataclass
class _Wait:
    """A question that is not answered yet."""

    object_id: str
    since_s: float
    left: set[str]
    last_s: float = 0.0


class _Object(msgspec.Struct):
    """Of an intent object, what decides on its report: whichever clone's API says it, older or newer."""

    kind: str
    id: str
    ofport: int | None = None
    power: Literal["running", "shutdown", "paused", "suspended"] = "running"
    reboot_generation: int = 0
    build_generation: int = 0


class _Message(msgspec.Struct):
    type: str
    revision: int = 0
    number: int = 0
    objects: tuple[_Object, ...] = ()
    gone: tuple[tuple[str, str], ...] = ()
    more: bool = False


@dataclass
class _Life:
    """One host's connection, as long as it lasts."""

    member: Member
    socket: ClientConnection
    said: set[tuple[str, str]] = field(default_factory=set)
    """What was reported to be there."""
    parts: list[_Message] = field(default_factory=list)
    """What was heard since the intent was last whole."""


class _Part:
    """The hosts of one process."""

    def __init__(self, line: Connection, socket: str, members: Sequence[Member]) -> None:
        self._line = line
        self._socket = socket
        self._members = members
        self._lives: dict[str, _Life] = {}
        self._in_step: dict[str, float] = {}
        self._wants_step = False
        self._wait: _Wait | None = None
        self._past: collections.deque[tuple[float, float, str, str]] = collections.deque(maxlen=_REMEMBERED)
        """Changes: when they came, when they were reported, the host, the text."""
        self._decoder = msgspec.json.Decoder(_Message)
        self._encoder = msgspec.json.Encoder()

    async def run(self) -> None:
        asyncio.get_running_loop().add_reader(self._line.fileno(), self._asked)
        await asyncio.gather(self._beat(), *(self._live(member) for member in self._members))

    def _asked(self) -> None:
        try:
            question = self._line.recv()
        except EOFError:
            raise SystemExit(0) from None
        if question[0] == "in step":
            self._wants_step = True
            self._say_if_in_step()
            return
        _, object_id, hosts, since_s = question
        self._wait = _Wait(object_id, since_s, set(hosts))
        for came_s, done_s, host, text in self._past:
            self._note(came_s, done_s, host, text)

    def _note(self, came_s: float, done_s: float, host: str, text: str) -> None:
        wait = self._wait
        if wait is None or host not in wait.left or came_s < wait.since_s or wait.object_id not in text:
            return
        wait.left.discard(host)
        wait.last_s = max(wait.last_s, done_s)
        if not wait.left:
            self._wait = None
            self._line.send(wait.last_s)

    def _say_if_in_step(self) -> None:
        if self._wants_step and len(self._in_step) == len(self._members):
            self._wants_step = False
            self._line.send(max(self._in_step.values()))

    async def _live(self, member: Member) -> None:
        uri = f"ws://localhost/internal/hosts/{member.name}"
        headers = {"Authorization": f"Bearer {member.token}"}
        while True:
            with contextlib.suppress(OSError, TimeoutError, WebSocketException):
                async with unix_connect(
                    self._socket, uri, additional_headers=headers, max_size=None, compression=None, open_timeout=60,
                    close_timeout=0.5, ping_interval=None, proxy=None,
                ) as opened:  # fmt: skip
                    life = _Life(member, opened)
                    await opened.send(self._hello(member))
                    self._lives[member.name] = life
                    async for message in opened:
                        await self._take(life, message if isinstance(message, str) else message.decode())
            self._lives.pop(member.name, None)
            self._in_step.pop(member.name, None)
            # The real agent's pause while nobody listens at all.
            await asyncio.sleep(0.3 * random.uniform(0.75, 1.25))

    async def _take(self, life: _Life, text: str) -> None:
        came_s = time.monotonic()
        message = self._decoder.decode(text)
        host = life.member.name
        if message.type == "ask":
            await life.socket.send(self._text(Answer(message.number, error="there is nothing to see on this host")))
            return
        ports: list[PortReport] = []
        routers: list[RouterReport] = []
        servers: list[ServerReport] = []
        life.parts.append(message)
        if message.more:
            return
        parts, life.parts = life.parts, []
        for item in (item for part in parts for item in part.objects):
            key = (item.kind, item.id)
            is_news = key not in life.said
            if item.kind == "port" and item.ofport is not None and is_news:
                ports.append(PortReport(item.id, "ACTIVE"))
            elif item.kind == "router" and is_news:
                routers.append(RouterReport(item.id, "ACTIVE"))
            elif item.kind == "server":
                servers.append(ServerReport(item.id, item.power, item.reboot_generation, item.build_generation))
            else:
                continue
            life.said.add(key)
        gone = tuple(key for part in parts for key in part.gone)
        life.said.difference_update(gone)
        report = Report(message.revision, tuple(ports), tuple(routers), tuple(servers), removed=gone)
        await life.socket.send(self._text(report))
        done_s = time.monotonic()
        if parts[0].type == "snapshot":
            self._in_step[host] = done_s
            self._say_if_in_step()
        else:
            self._past.append((came_s, done_s, host, text))
            self._note(came_s, done_s, host, text)

    async def _beat(self) -> None:
        """All hosts beat within the period, one after the other."""
        text = self._text(Heartbeat())
        while True:
            for member in self._members:
                await asyncio.sleep(_HEARTBEAT_PERIOD_S / len(self._members))
                life = self._lives.get(member.name)
                if life is not None:
                    with contextlib.suppress(OSError, WebSocketException):
                        await life.socket.send(text)

    def _hello(self, member: Member) -> str:
        return self._text(
            Hello(
                host=member.name, roles=member.roles, vcpus=64, memory_mib=512 * 1024, disk_gib=4096,
                tunnel_ip=member.tunnel_ip, tunnel_types=("vxlan",), dataplane="none",
            )
        )  # fmt: skip

    def _text(self, message: Hello | Report | Heartbeat | Answer) -> str:
        return self._encoder.encode(message).decode()

"""What an agent says of servers that are to leave its host: a fact for each, and only what compute knows."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Mapping, Set
from contextlib import contextmanager
from pathlib import Path

import msgspec

from deuteron.agent.main import Agent
from deuteron.compute.contract import HostFacts, HostUse
from deuteron.model.intent import (
    Change,
    HostIntent,
    HostSettings,
    IntentCachedImage,
    IntentPort,
    IntentServer,
    Key,
    ServerReport,
)
from tests.kernel.fake_api import FakeApi

SETTINGS = HostSettings("h1", "", "", "token", dataplane="none")


class Guests:
    """A `ComputeDriver` whose servers are there at once, and leave at once but for those that do not stop."""

    def __init__(self, *left_over: str) -> None:
        self.on_change: Callable[[], None] = lambda: None
        self.there = set(left_over)
        self.stubborn = set(left_over)
        self._wanted: frozenset[str] = frozenset()
        self._looked_for: frozenset[str] = frozenset()

    def facts(self) -> HostFacts:
        return HostFacts(1, 1, 1, "QEMU", 0, "qemu")

    def use(self) -> HostUse:
        return HostUse(0, 0, 0)

    def sync(
        self,
        servers: Mapping[str, IntentServer],
        ports: Mapping[str, IntentPort],
        taps_ready: Set[str],
        leaving: Set[str] = frozenset(),
        volumes_ready: Set[str] = frozenset(),
    ) -> None:
        self._wanted = frozenset(servers)
        self._looked_for |= leaving | self._wanted
        self.there = self._wanted | (self.there & self.stubborn)

    def keep_images(self, images: Mapping[str, IntentCachedImage]) -> None:
        return None

    def kept(self) -> Mapping[str, str]:
        left = (self.there - self._wanted) & self._looked_for
        return dict.fromkeys(left, "the guest does not stop")

    def reports(self) -> tuple[ServerReport, ...]:
        return tuple(ServerReport(id, "running") for id in sorted(self.there & self._looked_for))

    def pending(self) -> tuple[tuple[str, str], ...]:
        return ()

    def console_log(self, server_id: str, lines: int = -1) -> str:
        return ""

    def close(self) -> None:
        pass

    def give_up(self) -> None:
        self.there -= self.stubborn
        self.stubborn = set()
        self.on_change()


@contextmanager
def running(settings: HostSettings, compute: Guests | None) -> Iterator[None]:
    """An agent in a thread of its own."""
    ready = threading.Event()
    ends: list[Callable[[], object]] = []

    async def work() -> None:
        loop = asyncio.get_running_loop()
        task = asyncio.create_task(Agent(settings, (), loop, compute).run())
        ends.append(lambda: loop.call_soon_threadsafe(task.cancel))
        ready.set()
        await asyncio.wait([task])

    thread = threading.Thread(target=lambda: asyncio.run(work()))
    thread.start()
    assert ready.wait(30)
    try:
        yield
    finally:
        ends[0]()
        thread.join(30)
        assert not thread.is_alive()


def _settings(folder: Path) -> HostSettings:
    return msgspec.structs.replace(SETTINGS, state_dir=str(folder), api_socket=str(folder / "api.sock"))


def _removed(api: FakeApi) -> set[Key]:
    return {key for report in api.reports for key in report.removed}


def _kept(api: FakeApi) -> dict[str, str]:
    return {item.id: item.reason for report in api.reports for item in report.kept}


def test_of_many_servers_that_leave_at_once_each_is_named(tmp_path: Path) -> None:
    ids = [f"s{number}" for number in range(300)]
    servers = {id: IntentServer(id, id, "p", "u", id, "f", 1, 64, 1) for id in ids}
    settings, guests = _settings(tmp_path), Guests()
    with FakeApi(settings.api_socket, HostIntent(revision=1, servers=servers)) as api, running(settings, guests):
        api.wait(lambda: len(guests.there) == 300 and api.realised() == 1, "they run")
        guests.stubborn = {"s7"}
        unknown = ("server", "made and deleted before anybody heard of it")
        api.send(Change(2, gone=(*(("server", id) for id in ids), unknown)))
        right = {("server", id) for id in ids} - {("server", "s7")} | {unknown}
        api.wait(lambda: _removed(api) == right, "all but one are removed")
        assert _kept(api)["s7"] == "the guest does not stop"
        guests.give_up()
        api.wait(lambda: ("server", "s7") in _removed(api), "the last is removed")


def test_what_an_earlier_agent_left_is_looked_for_before_it_is_called_removed(tmp_path: Path) -> None:
    settings, guests = _settings(tmp_path), Guests("old")
    with FakeApi(settings.api_socket, HostIntent(revision=1)) as api, running(settings, guests):
        api.wait(lambda: api.realised() == 1, "the first intent is realised")
        api.send(Change(2, gone=(("server", "old"),)))
        api.wait(lambda: "old" in _kept(api), "it is found")
        assert _removed(api) == set()
        guests.give_up()
        api.wait(lambda: _removed(api) == {("server", "old")}, "it is removed")


def test_a_host_that_runs_servers_and_cannot_look_for_them_calls_none_removed(tmp_path: Path) -> None:
    settings = _settings(tmp_path)
    with FakeApi(settings.api_socket, HostIntent(revision=1)) as api, running(settings, None):
        api.wait(lambda: api.realised() == 1, "the first intent is realised")
        api.send(Change(2, gone=(("server", "s1"),)))
        api.wait(lambda: "s1" in _kept(api), "it is kept")
        assert _removed(api) == set()

"""The thread that owns a host's tables, on a simulated host: changes do not wait for looks, and looks find drift."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from deuteron.agent import worker
from deuteron.agent.worker import ROUND_S, Pass, Worker, round_s
from deuteron.net.host import Host, simulated_host
from deuteron.net.kernel.fake import FakeDriver
from deuteron.net.plan import planner
from tests.clouds import wait_for
from tests.kernel.intents import routed_network, settings


class Watched:
    """A simulated host, a note of each look at one of its tables, and the worker on it."""

    def __init__(self) -> None:
        self.host: Host = simulated_host(("eth1", "eth2", "eth3"))
        self.looks: list[str] = []
        self.passes: queue.SimpleQueue[Pass] = queue.SimpleQueue()
        for table in self.host.reconciler.tables:
            table.driver.observe = self._noted(table.name, table.driver.observe)  # type: ignore[method-assign]
        self.worker = Worker(settings("/state"), lambda: self.host, planner().plan, self.passes.put)

    def _noted(self, name: str, observe: Callable[..., Any]) -> Callable[..., Any]:
        def noted(*arguments: Any) -> Any:
            self.looks.append(name)
            return observe(*arguments)

        return noted

    def driver(self, table: str) -> FakeDriver[Any, Any]:
        driver = next(each.driver for each in self.host.reconciler.tables if each.name == table)
        assert isinstance(driver, FakeDriver)
        return driver

    def passed(self, revision: int) -> Pass:
        while True:
            done = self.passes.get(timeout=10)
            if done.intent.revision >= revision:
                return done


@pytest.fixture
def watched() -> Iterator[Watched]:
    made = Watched()
    made.worker.start()
    yield made
    made.worker.stop()
    made.worker.join(10)


def test_changes_are_carried_out_without_a_look_at_the_host(watched: Watched) -> None:
    watched.worker.want(routed_network(ports=1, revision=1))
    watched.passed(1)
    longest = max(len(turn.tables) for turn in watched.host.reconciler.turns())
    for revision in range(2, 12):
        before = len(watched.looks)
        watched.worker.want(routed_network(ports=revision, revision=revision))
        assert watched.passed(revision).outcome.writes["port put"] == 1
        assert len(watched.looks) - before <= longest, "more than one turn came before a change"


def test_drift_that_nothing_tells_of_is_mended_when_its_turn_comes(watched: Watched) -> None:
    watched.worker.want(routed_network(ports=2, revision=1))
    watched.passed(1)
    for table in ("iptables", "setting", "flow", "address"):
        driver = watched.driver(table)
        key = next(iter(driver.rows))
        row = driver.rows[key]
        driver.drift(key, None)
        deadline = time.monotonic() + 6 * ROUND_S  # a machine with much to do has longer rounds
        while driver.rows.get(key) != row:
            done = watched.passes.get(timeout=max(0.0, deadline - time.monotonic()))
        assert [item.table for item in done.outcome.mended] == [table]


def test_after_devices_were_moved_a_look_tells_whether_the_switch_heard(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "ROUND_S", 1000.0)
    watched.worker.want(routed_network(ports=1, revision=1))
    watched.passed(1)
    before = watched.looks.count("placement")
    # The first round had begun before it was made long: at most one of its turns looks there.
    wait_for("two looks at placements", lambda: watched.looks.count("placement") - before, (2).__le__)


def test_a_round_is_longer_the_more_there_is_to_look_at_and_takes_a_smaller_share() -> None:
    costs = [0.01, 0.3, 1.0, 3.0, 9.0, 30.0]
    rounds = [round_s(cost) for cost in costs]
    shares = [cost / length for cost, length in zip(costs, rounds, strict=True)]
    assert rounds[:2] == [ROUND_S, ROUND_S]
    assert rounds == sorted(rounds)
    assert shares[1:] == sorted(shares[1:], reverse=True)
    assert max(shares) <= 0.101
    assert shares[-2] < 0.02

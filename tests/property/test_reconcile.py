"""Whole hosts in memory: plans in any order, restarts, drift and failures end in the same rows."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from deuteron.net.host import simulated_drivers, table_names, tables_of
from deuteron.net.plan import plan
from deuteron.net.reconcile import Outcome, Reconciler, Turn
from deuteron.net.rows import HostPlan
from tests.kernel.intents import routed_network
from tests.kernel.intents import settings as host_settings

SETTINGS = host_settings("/state")
PLANS = (
    HostPlan(),
    plan(routed_network(ports=0, router=False), SETTINGS),
    plan(routed_network(ports=2), SETTINGS),
    plan(routed_network(ports=3), SETTINGS),
)


class Fakes:
    """The fake tables of one host, and reconcilers that come and go."""

    def __init__(self) -> None:
        self.drivers = simulated_drivers(SETTINGS.bridge_ports.values())
        self.now_s = 0.0
        self.restart()

    def restart(self) -> None:
        self.reconciler = Reconciler(tables_of(dict(self.drivers)).values(), now_s=lambda: self.now_s)

    def run(self, wanted: HostPlan, full: bool = False, turns: Iterable[Turn] = ()) -> Outcome:
        self.now_s += 10
        return self.reconciler.run(wanted, full=full, turns=turns)

    def rows(self) -> dict[str, dict[Any, Any]]:
        return {name: dict(driver.rows) for name, driver in self.drivers.items()}

    def writes(self) -> int:
        return sum(sum(driver.writes.values()) for driver in self.drivers.values())


events = st.one_of(
    st.tuples(st.just("plan"), st.integers(0, len(PLANS) - 1)),
    st.tuples(st.just("restart"), st.none()),
    st.tuples(st.just("lose"), st.sampled_from(table_names())),
    st.tuples(st.just("down"), st.sampled_from(table_names())),
    st.tuples(st.just("up"), st.none()),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(events, max_size=12), st.integers(0, len(PLANS) - 1))
def test_every_history_ends_as_the_last_plan_says(history: list[tuple[str, Any]], last: int) -> None:
    fakes = Fakes()
    for event, value in history:
        if event == "plan":
            fakes.run(PLANS[value])
        elif event == "restart":
            fakes.restart()
        elif event == "lose":
            fakes.drivers[value].rows.clear()
        elif event == "down":
            fakes.drivers[value].is_down = True
        else:
            for driver in fakes.drivers.values():
                driver.is_down = False
    for driver in fakes.drivers.values():
        driver.is_down = False
    for _ in range(2):  # the second for what the first found in a table that had been down
        outcome = fakes.run(PLANS[last], full=True)
    assert outcome.is_complete
    fresh = Fakes()
    fresh.run(PLANS[last], full=True)
    assert fakes.rows() == fresh.rows()
    writes = fakes.writes()
    fakes.restart()
    assert fakes.run(PLANS[last], full=True).is_complete
    assert fakes.writes() == writes


def test_a_table_that_is_down_does_not_hold_up_the_others_and_is_named() -> None:
    fakes = Fakes()
    fakes.drivers["port"].is_down = True
    outcome = fakes.run(PLANS[2])
    assert not outcome.is_complete
    assert ("the table of ports", "the fake table of ports is down") in outcome.pending
    assert fakes.drivers["flow"].rows
    assert "port:00000064-00" in outcome.concerned
    fakes.drivers["port"].is_down = False
    assert fakes.run(PLANS[2]).is_complete


def test_a_port_is_not_made_before_it_is_secured() -> None:
    fakes = Fakes()
    fakes.run(PLANS[2])
    fakes.drivers["flow"].refuse = lambda key: "no" if "in_port=102" in key[3] else None
    outcome = fakes.run(PLANS[3])
    assert "tap00000066-00" not in fakes.drivers["port"].rows
    assert "tap00000065-00" in fakes.drivers["port"].rows
    assert ("port tap00000066-00 on br-int", "waits until it is secured: no") in outcome.pending
    fakes.drivers["flow"].refuse = lambda key: None
    for _ in range(2):
        outcome = fakes.run(PLANS[3])
    assert outcome.is_complete
    assert "tap00000066-00" in fakes.drivers["port"].rows


def test_rows_are_made_before_what_refers_to_them_and_removed_after() -> None:
    order: list[str] = []
    fakes = Fakes()
    for name, driver in fakes.drivers.items():

        def noted(delta: Any, name: str = name, apply: Any = driver.apply) -> Any:
            order.extend([f"{name} put"] * bool(delta.put) + [f"{name} removed"] * bool(delta.remove))
            return apply(delta)

        driver.apply = noted  # type: ignore[method-assign]  # listening in
    fakes.run(PLANS[3])
    created = [word for word in order if word.endswith(" put")]
    assert created.index("namespace put") < created.index("iptables put") < created.index("port put")
    assert created.index("flow put") < created.index("port put") < created.index("placement put")
    assert created.index("placement put") < created.index("address put") < created.index("route put")
    assert created.index("address put") < created.index("dnsmasq put")
    order.clear()
    fakes.run(PLANS[0])
    assert order.index("dnsmasq removed") < order.index("port removed") < order.index("flow removed")
    assert order.index("port removed") < order.index("device removed")
    assert order.index("flow removed") < order.index("bridge removed")
    assert order[-1] == "namespace removed"


def test_drift_is_told_apart_from_change() -> None:
    fakes = Fakes()
    fakes.run(PLANS[2], full=True)
    assert fakes.run(PLANS[3], full=True).mended == ()
    key = next(iter(fakes.drivers["flow"].rows))
    fakes.drivers["flow"].drift(key, None)
    assert len(fakes.reconciler.differences(PLANS[3])) == 1
    mended = fakes.run(PLANS[3], full=True).mended
    assert [item.table for item in mended] == ["flow"]
    assert mended[0].words.startswith("missing: flow on ")
    assert fakes.run(PLANS[3], full=True).mended == ()


def test_one_port_more_touches_only_what_is_its_own() -> None:
    fakes = Fakes()
    fakes.run(PLANS[2], full=True)
    outcome = fakes.run(PLANS[3])
    assert outcome.writes["port put"] == 1
    assert outcome.writes["device put"] == 1
    assert "iptables put" not in outcome.writes
    assert "bridge put" not in outcome.writes


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from(table_names()), min_size=1, max_size=4), st.randoms())
def test_turns_find_whatever_was_lost_or_came_in(tables: list[str], dice: Any) -> None:
    fakes = Fakes()
    for _ in range(2):
        fakes.run(PLANS[3], full=True)
    before = fakes.rows()
    for name in tables:
        rows = fakes.drivers[name].rows
        for key in dice.sample(sorted(rows, key=str), len(rows) // 2):
            del rows[key]
    assert fakes.run(PLANS[3]).writes == {}, "nobody looked"
    mended = [item.table for turn in fakes.reconciler.turns() for item in fakes.run(PLANS[3], turns=[turn]).mended]
    assert fakes.rows() == before
    lost = {name for name in tables if len(before[name]) > 1}
    # What stands on another row is written with it, and is no drift of its own.
    assert set(mended) <= lost
    assert bool(mended) == bool(lost)
    assert fakes.run(PLANS[3], full=True).writes == {}


def test_what_a_question_found_is_said_to_be_mended_by_the_next_pass() -> None:
    """Also when that pass, woken by an event, looks at another table only."""
    fakes = Fakes()
    fakes.run(PLANS[3], full=True)
    fakes.run(PLANS[3], full=True)
    key = next(iter(fakes.drivers["port"].rows))
    del fakes.drivers["port"].rows[key]

    found = fakes.reconciler.differences(PLANS[3])
    outcome = fakes.reconciler.run(PLANS[3], full=False, look=("bridge",))

    assert [item.table for item in outcome.mended] == [item.table for item in found] == ["port"]
    assert fakes.run(PLANS[3], full=True).mended == ()

"""Whatever happens on the way, a table ends as wanted: any order, doubles, restarts, drift and failures."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from deuteron.net.delta import LONGEST_PAUSE_S, DeltaTable
from deuteron.net.kernel.fake import FakeDriver

Rows = dict[int, str]

rows = st.dictionaries(st.integers(0, 6), st.sampled_from("abc"), max_size=7)


@dataclass
class World:
    """A kernel table, an agent's view of it, and a clock."""

    driver: FakeDriver[int, str] = field(default_factory=FakeDriver)
    table: DeltaTable[int, str] = field(default_factory=DeltaTable)
    now_s: float = 0.0

    def want(self, wanted: Rows) -> None:
        self.table.want(wanted)

    def observe(self) -> None:
        self.table.saw(self.driver.observe(self.table.wanted))

    def step(self) -> None:
        """What a reconciler does: observe what is doubtful, then write what is due."""
        if not self.table.is_known or self.table.is_stale:
            self.observe()
        delta = self.table.difference(self.now_s)
        applied = self.driver.apply(delta)
        for key in applied.done:
            if key in delta.put:
                self.table.wrote(key, delta.put[key])
            else:
                self.table.removed(key)
        for key, reason in applied.failed.items():
            self.table.failed(key, reason, self.now_s)

    def restart(self) -> None:
        wanted = self.table.wanted
        self.table = DeltaTable()
        self.table.want(wanted)


events = st.one_of(
    st.tuples(st.just("want"), rows),
    st.tuples(st.just("drift"), rows),
    st.tuples(st.just("refuse"), st.frozensets(st.integers(0, 6))),
    st.tuples(st.just("restart"), st.none()),
    st.tuples(st.just("observe"), st.none()),
    st.tuples(st.just("step"), st.none()),
    st.tuples(st.just("wait"), st.floats(0, 10)),
)


def _happen(world: World, event: str, value: object) -> None:
    if event == "want":
        assert isinstance(value, dict)
        world.want(value)
    elif event == "drift":
        assert isinstance(value, dict)
        world.driver.rows = dict(value)
    elif event == "refuse":
        assert isinstance(value, frozenset)
        world.driver.refuse = lambda key: "refused" if key in value else None
    elif event == "restart":
        world.restart()
    elif event == "observe":
        world.observe()
    elif event == "step":
        world.step()
    elif event == "wait":
        assert isinstance(value, float)
        world.now_s += value


@given(st.lists(events, max_size=30), rows)
def test_whatever_happened_the_table_ends_as_wanted(history: list[tuple[str, object]], wanted: Rows) -> None:
    world = World()
    for event, value in history:
        _happen(world, event, value)
    world.want(wanted)
    world.driver.refuse = lambda key: None
    world.now_s += LONGEST_PAUSE_S + 1
    world.observe()
    world.step()
    assert world.driver.rows == wanted
    writes = dict(world.driver.writes)
    world.observe()
    world.step()
    assert dict(world.driver.writes) == writes
    assert not world.table.difference()


@given(st.lists(events, max_size=30))
def test_nothing_is_written_before_the_table_was_seen(history: list[tuple[str, object]]) -> None:
    world = World()
    for event, value in history:
        if event in ("want", "drift", "wait"):
            _happen(world, event, value)
    assert not world.table.difference()


@given(rows, rows, st.frozensets(st.integers(0, 6), min_size=1))
def test_a_refused_row_stays_with_its_reason_and_holds_up_no_other(
    start: Rows, wanted: Rows, refused: frozenset[int]
) -> None:
    world = World()
    world.driver.rows = dict(start)
    world.driver.refuse = lambda key: "refused" if key in refused else None
    world.want(wanted)
    world.step()
    assert world.driver.rows.keys() <= start.keys() | wanted.keys()
    for key in start.keys() | wanted.keys():
        if key not in refused:
            assert world.driver.rows.get(key) == wanted.get(key)
        elif start.get(key) != wanted.get(key):
            assert world.table.failures[key].reason == "refused"
            assert world.driver.rows.get(key) == start.get(key)


@given(rows, rows)
def test_a_change_costs_in_proportion_to_the_change(first: Rows, second: Rows) -> None:
    world = World()
    world.want(first)
    world.step()
    world.want(second)
    delta = world.table.difference()
    different = {key for key in first.keys() | second.keys() if first.get(key) != second.get(key)}
    assert set(delta.put) | set(delta.remove) == different


def test_pauses_grow_and_end_with_a_new_wish() -> None:
    world = World(now_s=100.0)
    world.driver.refuse = lambda key: "refused"
    world.want({1: "a"})
    pauses = []
    for _ in range(10):
        world.step()
        due = world.table.due_at_s()
        assert due is not None
        pauses.append(round(due - world.now_s, 3))
        world.now_s = due
    assert pauses == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0, 5.0, 5.0]
    world.want({1: "b"})
    assert world.table.due_at_s() is None
    assert world.table.difference(world.now_s).put == {1: "b"}

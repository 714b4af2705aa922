"""The store: what was acknowledged is there, what failed is not, and revisions only grow."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import pytest
from sqlalchemy import func, select, update
from structlog.testing import capture_logs

from deuteron.store import lowest, migrate
from deuteron.store.database import Change, Database, Tx
from deuteron.store.engine import Fate, Session
from deuteron.store.hosts_tables import slots
from deuteron.store.migrate import NewerSchema
from deuteron.store.schema import changes
from deuteron.store.slots import attach_port, detach_port, number_of
from deuteron.store.sqlite import SqliteEngine
from tests.stores import open_database


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    made = open_database(tmp_path)
    yield made
    made.close()


def touch(name: str):  # type: ignore[no-untyped-def]  # a transaction function
    def run(tx: Tx) -> str:
        tx.changed("thing", name)
        return name

    return run


def test_a_write_takes_the_next_revision_and_is_announced_after_its_commit(database: Database) -> None:
    heard: list[tuple[int, tuple[Change, ...]]] = []
    database.subscribe(lambda revision, recorded: heard.append((revision, tuple(recorded))))
    assert database.write(touch("a")) == "a"
    assert database.write(touch("b")) == "b"
    database.close()
    assert heard == [(1, (Change("thing", "a"),)), (2, (Change("thing", "b"),))]


def test_a_subscriber_that_raises_stops_neither_the_writer_nor_other_subscribers(database: Database) -> None:
    heard: list[int] = []

    def fail(revision: int, recorded: Sequence[Change]) -> None:
        raise ValueError("cannot hear")

    database.subscribe(fail)
    database.subscribe(lambda revision, recorded: heard.append(revision))
    with capture_logs() as logged:
        written = [database.submit(touch(str(n))) for n in range(2)]
        assert [future.result(timeout=30) for future in written] == ["0", "1"]
        assert database.submit(touch("2")).result(timeout=30) == "2", "the writer goes on"
        database.close()
    assert heard == [1, 2, 3]
    assert [(each["event"], each["revision"]) for each in logged] == [("a subscriber failed", n) for n in (1, 2, 3)]
    assert all(each["log_level"] == "error" and str(each["exc_info"]) == "cannot hear" for each in logged)


def test_a_failing_write_takes_nothing_of_its_neighbours_with_it(database: Database) -> None:
    def fail(tx: Tx) -> None:
        tx.changed("thing", "lost")
        tx.insert(slots, {"host": "h", "kind": "port", "object_id": "x", "number": 1, "parent_id": None})
        raise ValueError("no")

    with ThreadPoolExecutor(8) as pool:
        good = [pool.submit(database.write, touch(str(n))) for n in range(50)]
        bad = [pool.submit(database.write, fail) for _ in range(50)]
    assert [future.result() for future in good] == [str(n) for n in range(50)]
    assert all(isinstance(future.exception(), ValueError) for future in bad)
    with database.read() as tx:
        assert tx.all(select(slots)) == []
        assert sorted(tx.scalars(select(changes.c.object_id))) == sorted(str(n) for n in range(50))
    assert database.revision == 50


class Unsteady(SqliteEngine):
    """Ends the first transactions at their commit, as a server does that cannot put them in an order."""

    ends = 1

    def commit(self, session: Session, revision: int) -> None:
        if self.ends:
            self.ends -= 1
            raise ConnectionAbortedError("the transaction is over")
        super().commit(session, revision)

    def fate(self, error: BaseException) -> Fate:
        return Fate.AGAIN if isinstance(error, ConnectionAbortedError) else Fate.OWN


def test_a_transaction_that_the_engine_ends_runs_again_and_is_done_once(tmp_path: Path) -> None:
    runs: list[str] = []

    def put(tx: Tx) -> str:
        runs.append("put")
        tx.insert(slots, {"host": "h", "kind": "port", "object_id": "x", "number": len(runs), "parent_id": None})
        tx.changed("thing", "x")
        return "put"

    database = Database(Unsteady(tmp_path / "cloud.db"))
    assert database.write(put) == "put"
    assert runs == ["put", "put"] and database.revision == 1
    with database.read() as tx:
        assert tx.scalars(select(slots.c.number)) == [2]
        assert tx.scalars(select(changes.c.object_id)) == ["x"]
    database.close()


def test_a_function_whose_transactions_always_end_fails_alone(tmp_path: Path) -> None:
    engine = Unsteady(tmp_path / "cloud.db")
    engine.ends = 0
    database = Database(engine)

    def bad(tx: Tx) -> None:
        raise ConnectionAbortedError("never in any order")

    held = threading.Event()
    first = database.submit(lambda tx: held.wait(30))
    written = [database.submit(touch("a")), database.submit(bad), database.submit(touch("b"))]
    held.set()
    assert first.result(timeout=30)
    assert [written[0].result(timeout=30), written[2].result(timeout=30)] == ["a", "b"]
    assert isinstance(written[1].exception(timeout=30), ConnectionAbortedError)
    database.close()


def test_a_view_is_of_one_moment(database: Database) -> None:
    with database.read() as tx:
        assert tx.scalars(select(changes.c.object_id)) == []
        database.write(touch("a"))
        assert tx.scalars(select(changes.c.object_id)) == []
    with database.read() as tx:
        assert tx.scalars(select(changes.c.object_id)) == ["a"]


def test_the_revision_goes_on_where_it_was_after_a_restart(tmp_path: Path) -> None:
    first = open_database(tmp_path)
    first.write(touch("a"))
    first.close()
    second = open_database(tmp_path)
    second.write(touch("b"))
    assert second.revision == 2


def test_the_log_of_changes_does_not_grow_for_ever(tmp_path: Path) -> None:
    database = open_database(tmp_path, kept_revisions=50)

    def rows() -> list[int]:
        with database.read() as tx:
            return tx.scalars(select(changes.c.revision).order_by(changes.c.revision))

    for number in range(300):
        database.write(touch(str(number)))
        assert database.pruned == max(0, number + 1 - 50)
    assert rows() == list(range(251, 301)), "what followers may still ask for stays"
    database.close()


def test_a_long_log_is_shortened_step_by_step_and_says_what_is_gone(tmp_path: Path) -> None:
    def many(tx: Tx) -> None:
        for number in range(20):
            tx.changed("thing", str(number))

    first = open_database(tmp_path)
    for _ in range(200):
        first.write(many)
    first.close()
    database = open_database(tmp_path, kept_revisions=10)
    left = []
    for _ in range(40):
        database.write(lambda tx: None)
        with database.read() as tx:
            oldest = tx.scalar(select(func.min(changes.c.revision)))
            left.append(tx.scalar(select(func.count()).select_from(changes)))
        assert oldest > database.pruned or left[-1] > 200, "what is not promised may be there, never the other way"
    steps = [before - after for before, after in pairwise([4000, *left])]
    assert max(steps) <= 256, "no step is long"
    assert left[-1] == 200 and database.pruned == 190
    database.close()


def test_pruning_that_is_not_committed_is_done_again(tmp_path: Path) -> None:
    database = open_database(tmp_path, kept_revisions=5)
    for number in range(10):
        database.write(touch(str(number)))
    database.close()
    again = open_database(tmp_path, kept_revisions=5)
    assert (again.revision, again.pruned) == (10, 6)
    again.write(touch("more"))
    assert again.revision == 11
    again.close()


def test_a_database_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    database = open_database(tmp_path)
    database.write(lambda tx: tx.execute(update(migrate._version).values(version_num="9999")))
    database.close()
    with pytest.raises(NewerSchema, match="9999"):
        open_database(tmp_path)


def test_a_network_is_on_a_host_as_long_as_one_of_its_ports_is(database: Database) -> None:
    present = select(slots.c.host).where(slots.c.kind == "vlan", slots.c.object_id == "n1")

    def run(tx: Tx) -> None:
        attach_port(tx, "h1", "p1", "n1")
        attach_port(tx, "h1", "p1", "n1")
        attach_port(tx, "h1", "p2", "n1")
        attach_port(tx, "h1", "p3", "n2")
        attach_port(tx, "h2", "p4", "n1")
        assert [number_of(tx, "h1", "port", f"p{n}") for n in (1, 2, 3)] == [16, 17, 18]
        assert (number_of(tx, "h1", "vlan", "n1"), number_of(tx, "h1", "vlan", "n2")) == (1, 2)
        assert sorted(tx.scalars(present)) == ["h1", "h2"]
        detach_port(tx, "p1")
        assert sorted(tx.scalars(present)) == ["h1", "h2"]
        detach_port(tx, "p2")
        assert tx.scalars(present) == ["h2"]
        attach_port(tx, "h1", "p5", "n3")
        assert number_of(tx, "h1", "vlan", "n3") == 1, "the lowest free number is taken"
        assert number_of(tx, "h1", "port", "p5") == 16
        attach_port(tx, "h1", "p6", "n3")
        assert number_of(tx, "h1", "port", "p6") == 17
        attach_port(tx, "h1", "p7", "n3")
        assert number_of(tx, "h1", "port", "p7") == 19

    database.write(run)


def test_the_lowest_free_number_is_given_whatever_was_taken_and_given_back(database: Database) -> None:
    dice = random.Random(7)
    held: set[int] = set()

    def taken(low: int) -> list[int]:
        return sorted(number for number in held if number >= low)[: lowest.AT_ONCE]

    def run(tx: Tx) -> None:
        for _ in range(2_000):
            if held and dice.random() < 0.45:
                number = dice.choice(sorted(held))
                held.remove(number)
                lowest.give_back(tx, "k", "o", number)
            elif dice.random() < 0.1:
                held.add(dice.randint(10, 400))  # past the module: an administrator names the number
            else:
                free = next((number for number in range(10, 400) if number not in held), None)
                assert lowest.take(tx, "k", "o", 10, 399, taken) == free
                held.update(() if free is None else (free,))

    database.write(run)


def test_a_number_is_taken_without_looking_at_those_below(database: Database) -> None:
    asked: list[int] = []

    def taken(low: int) -> list[int]:
        asked.append(low)
        return [number for number in range(low, low + lowest.AT_ONCE) if number < 60_000]

    def run(tx: Tx) -> None:
        assert lowest.take(tx, "k", "o", 16, 65_000, taken) == 60_000
        del asked[:]
        assert lowest.take(tx, "k", "o", 16, 65_000, lambda low: asked.append(low) or []) == 60_001
        assert asked == [60_001]

    database.write(run)

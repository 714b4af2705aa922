"""What only a server does: it is shared, goes away and comes back, refuses people. For `--store postgresql`."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import func, select, text

from deuteron.model.errors import Unavailable
from deuteron.store.database import Change, Database, Tx
from deuteron.store.engine import Session, UnusableDatabase
from deuteron.store.hosts_tables import slots
from deuteron.store.postgresql import PostgresqlEngine, PostgresqlSession, check, shown
from deuteron.store.schema import changes
from tests.postgresql import PASSWORD, Server, server
from tests.stores import address_of

DEADLINE_S = 20.0


@pytest.fixture
def address(tmp_path: Path) -> str:
    return address_of(tmp_path)


@pytest.fixture
def database(address: str) -> Iterator[Database]:
    made = Database(PostgresqlEngine(address))
    yield made
    made.close()


def touch(name: str) -> Callable[[Tx], str]:
    def run(tx: Tx) -> str:
        tx.changed("thing", name)
        return name

    return run


def until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, f"not so within {DEADLINE_S:g} s: {what}"
        time.sleep(0.01)


def test_processes_that_share_a_database_agree_on_every_revision(address: str) -> None:
    both = [Database(PostgresqlEngine(address)) for _ in range(2)]
    heard: list[list[tuple[int, tuple[Change, ...]]]] = [[], []]
    for database, ears in zip(both, heard, strict=True):
        database.subscribe(lambda revision, touched, ears=ears: ears.append((revision, tuple(touched))))  # type: ignore[misc]

    def take(name: str) -> Callable[[Tx], int]:
        def run(tx: Tx) -> int:
            # As rules do: what is free is looked for, and taken, in two statements.
            number: int = (tx.scalar(select(func.max(slots.c.number))) or 0) + 1
            tx.insert(slots, {"host": "h", "kind": "port", "object_id": name, "number": number, "parent_id": None})
            tx.changed("thing", name)
            return number

        return run

    with ThreadPoolExecutor(8) as pool:
        done = [pool.submit(both[n % 2].write, take(str(n))) for n in range(80)]
    assert sorted(future.result() for future in done) == list(range(1, 81)), "no two found the same number free"
    for database, ears in zip(both, heard, strict=True):
        until(lambda ears=ears: len(ears) == 80, "every revision is announced")  # type: ignore[misc]
        assert [revision for revision, _ in ears] == list(range(1, 81)), "in order, and once"
        assert database.revision == 80
    assert heard[0] == heard[1]
    for database in both:
        database.close()


def test_a_quiet_process_hears_what_another_commits(address: str, database: Database) -> None:
    heard: list[int] = []
    database.subscribe(lambda revision, touched: heard.append(revision))
    other = Database(PostgresqlEngine(address), kept_revisions=5)
    began = time.monotonic()
    for number in range(20):
        other.write(touch(str(number)))
    # Whoever is slower than five changes hears of them together: the log keeps no more here.
    until(lambda: 20 in heard, "the last is heard")
    assert time.monotonic() - began < 4, "by the notices, and not by looking after a time of silence"
    other.close()
    late = Database(PostgresqlEngine(address), kept_revisions=5)
    assert (late.revision, late.pruned) == (20, 16), "the log is pruned for all of them"
    late.close()


def test_a_write_whose_connection_is_ended_runs_again_and_is_done_once(database: Database, address: str) -> None:
    runs: list[int] = []

    def run(tx: Tx) -> str:
        tx.changed("thing", "once")
        pid = tx.scalar(text("SELECT pg_backend_pid()"))
        runs.append(pid)
        if len(runs) == 1:
            with psycopg.connect(address, autocommit=True) as other:
                other.execute("SELECT pg_terminate_backend(%s)", [pid])
        tx.scalar(text("SELECT 1"))
        return "done"

    assert database.submit(run).result(DEADLINE_S) == "done"
    assert len(runs) == 2 and runs[0] != runs[1]
    with database.read() as tx:
        assert tx.scalars(select(changes.c.object_id)) == ["once"]


@pytest.mark.parametrize("state", ["40001", "40P01"])
def test_a_transaction_that_the_server_ends_runs_again(database: Database, state: str) -> None:
    runs: list[str] = []

    def run(tx: Tx) -> int:
        tx.changed("thing", str(len(runs)))
        runs.append(state)
        if len(runs) < 3:
            tx.execute(text(f"DO $$ BEGIN RAISE SQLSTATE '{state}'; END $$"))
        return len(runs)

    assert database.write(run) == 3
    with database.read() as tx:
        assert tx.scalars(select(changes.c.object_id)) == ["2"]


class Deaf(PostgresqlEngine):
    """Loses its connection after the server carried out the commit, or before."""

    carried_out = True
    left = 1

    def connect(self) -> Session:
        session = super().connect()
        assert isinstance(session, PostgresqlSession)
        ask = session.ask

        def lossy(words: str) -> tuple[object, ...]:
            if words.endswith("COMMIT") and self.left:
                self.left -= 1
                if self.carried_out:
                    ask(words)
                session.driver.close()
            return ask(words)

        session.ask = lossy  # type: ignore[method-assign]
        return session


@pytest.mark.parametrize("carried_out", [True, False])
def test_a_commit_whose_answer_is_lost_counts_once(address: str, carried_out: bool) -> None:
    engine = Deaf(address)
    engine.carried_out = carried_out
    runs: list[int] = []

    def run(tx: Tx) -> None:
        runs.append(len(runs))
        tx.changed("thing", "once")

    database = Database(engine)
    database.submit(run).result(DEADLINE_S)
    assert len(runs) == (1 if carried_out else 2), "it runs again only when the server did not carry it out"
    with database.read() as tx:
        assert tx.scalars(select(changes.c.object_id)) == ["once"]
    assert database.write(touch("next")) == "next" and database.revision == 2
    database.close()


def test_a_server_that_takes_no_more_is_said_in_words(database: Database) -> None:
    def run(tx: Tx) -> None:
        tx.execute(text("DO $$ BEGIN RAISE EXCEPTION 'no space left on device' USING ERRCODE = '53100'; END $$"))

    with pytest.raises(Unavailable, match=r"cannot save anything now: no space left.*Nothing of this request was done"):
        database.write(run)
    assert database.write(touch("a")) == "a"


def test_while_the_server_is_away_everybody_is_refused_at_once_and_then_goes_on() -> None:
    own = Server()
    try:
        database = Database(PostgresqlEngine(own.new()))
        heard: list[int] = []
        database.subscribe(lambda revision, touched: heard.append(revision))
        database.write(touch("before"))
        with database.read() as tx:
            assert tx.scalars(select(changes.c.object_id)) == ["before"]
        own.halt()
        slowest = 0.0
        for _ in range(20):
            began = time.monotonic()
            with pytest.raises(Unavailable, match=r"cannot reach its database now\. Nothing of this request was done"):
                with database.read() as tx:
                    tx.scalar(select(1))
            with pytest.raises(Unavailable):
                database.submit(touch("lost")).result(DEADLINE_S)
            slowest = max(slowest, time.monotonic() - began)
        assert slowest < 2, "nobody waits for it"
        own.start()

        def answers() -> bool:
            try:
                return database.write(touch("after")) == "after"
            except Unavailable:
                return False

        until(answers, "writes go on")
        with database.read() as tx:
            assert tx.scalars(select(changes.c.object_id).order_by(changes.c.revision)) == ["before", "after"]
        assert heard == [1, 2]
        database.close()
    finally:
        own.stop()


def test_a_reader_whose_connection_was_ended_gets_another(database: Database, address: str) -> None:
    with database.read() as tx:
        pid = tx.scalar(text("SELECT pg_backend_pid()"))
    with psycopg.connect(address, autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
    with database.read() as tx:
        assert tx.scalar(text("SELECT pg_backend_pid()")) != pid


def test_a_view_is_of_one_moment_for_all_statements(database: Database) -> None:
    with database.read() as tx:
        assert tx.scalar(select(func.count()).select_from(changes)) == 0
        other = threading.Thread(target=database.write, args=(touch("a"),))
        other.start()
        other.join()
        assert tx.scalar(select(func.count()).select_from(changes)) == 0


@pytest.mark.parametrize(
    ("wrong", "says", "hint"),
    [
        (lambda a: a.replace("of%20the%20tests", "secret"), "password authentication failed", "PGPASSWORD"),
        (lambda a: a.replace(":of%20the%20tests", ""), "no password supplied", "PGPASSWORD"),
        (lambda a: a.replace("@/t", "@/nowhere"), "does not exist", "createdb"),
        (lambda a: a.partition("?")[0] + "?host=/nowhere", "No such file", "is the server running"),
        (lambda a: a + "&sslmode=odd", "invalid sslmode value", ""),
        (lambda a: "postgresql://[::1", "", "postgresql://USER@HOST"),
    ],
)  # fmt: skip
def test_a_database_that_cannot_be_used_is_refused_in_words(
    address: str, wrong: Callable[[str], str], says: str, hint: str
) -> None:
    with pytest.raises(UnusableDatabase, match=says) as refused:
        check(wrong(address))
    assert hint in refused.value.hint
    for secret in ("secret", PASSWORD, PASSWORD.replace(" ", "%20")):
        assert secret not in str(refused.value), "no password is shown"


def test_a_database_of_another_encoding_is_refused() -> None:
    with psycopg.connect(server().address("postgres"), autocommit=True) as connection:
        connection.execute("CREATE DATABASE latin TEMPLATE template0 ENCODING 'SQL_ASCII' LOCALE 'C'")
    with pytest.raises(UnusableDatabase, match="its encoding is SQL_ASCII"):
        check(server().address("latin"))


def test_an_address_is_shown_without_its_password() -> None:
    assert shown("postgresql://u:p%40w@h:5432/d?sslmode=require") == "postgresql://u@h:5432/d?sslmode=require"
    assert shown("postgresql:///d?host=/run&password=p") == "postgresql:///d?host=/run"


def test_numbers_of_revisions_do_not_grow_in_steps(database: Database) -> None:
    for number in range(5):
        database.write(touch(str(number)))
    with database.read() as tx:
        found = list(tx.scalars(select(changes.c.revision).order_by(changes.c.revision)))
    assert len(found) >= 5 and all(after - before == 1 for before, after in pairwise(found))

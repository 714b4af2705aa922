"""The store: one database, transaction functions, one growing revision.

Why: an operation of the API is one function `(tx, …) -> result` with no effect outside `tx`. This module
opens and commits; a function is run once, for nothing else writes to the database meanwhile. Every write transaction
that records changes takes the next revision; whoever follows the log hears of it after the commit is durable.

Invariants:
- A write that was acknowledged is on disk (SQLite WAL, synchronous=FULL).
- Writes run one at a time, in a thread of their own. Those that wait while one commit reaches the disk
  share the next commit, each in its own savepoint: one that fails takes nothing of the others with it.
- Reads run on their own connections in the caller's thread and see the last commit.
- A subscriber that raises is logged; it holds up neither the others nor the writer.
- The log of changes holds the last `KEPT_REVISIONS` revisions and no more than a step behind them: each batch of writes
  deletes some of what is older, more than it adds, in the same commit. Whoever follows the log and is behind
  `pruned` has missed something and begins anew.
"""

from __future__ import annotations

import contextlib
import queue
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import structlog
from sqlalchemy import (
    Connection,
    Engine,
    Executable,
    Row,
    Table,
    bindparam,
    create_engine,
    delete,
    event,
    func,
    insert,
    literal_column,
    select,
)
from sqlalchemy.engine import CursorResult
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from deuteron.model.errors import Unavailable
from deuteron.store import migrate
from deuteron.store.prepared import Parameters, Prepared, Result, control
from deuteron.store.schema import changes

T = TypeVar("T")

log = structlog.get_logger("deuteron.store")

_RECORD = Prepared(insert(changes))
_BATCH = 128
"""How many waiting writes share one commit at most."""
KEPT_REVISIONS = 10_000
"""Of the log of changes. Agents follow it within a second; one that takes a minute for a message is disconnected."""
_PRUNED_AT_ONCE = 256
"""Rows that one batch deletes from the log beyond as many as it added: well under a millisecond."""
_PRUNE = Prepared(
    delete(changes).where(
        literal_column("rowid").in_(
            select(literal_column("rowid"))
            .select_from(changes)
            .where(changes.c.revision <= bindparam("last"))
            .order_by(changes.c.revision, changes.c.ordinal)
            .limit(bindparam("most"))
        )
    )
)


@dataclass(frozen=True)
class Change:
    """One object that a transaction created, changed or deleted."""

    kind: str
    id: str
    deleted: bool = False


@dataclass
class Tx:
    """A transaction handle: statements, the time, and what changed. Valid only inside its function."""

    connection: Connection
    now: datetime
    writable: bool
    recorded: list[Change] = field(default_factory=list)
    kept: dict[str, Any] = field(default_factory=dict)
    """What a rule read and will need again in this transaction; whoever writes such rows takes it out."""

    def execute(self, statement: Executable, parameters: Any = None) -> CursorResult[Any]:
        return self.connection.execute(statement, parameters)

    def run(self, statement: Prepared, parameters: Parameters | Sequence[Parameters] | None = None) -> Result:
        """A prepared statement: for what every request does."""
        return statement.run(self.connection, parameters)

    def all(self, statement: Executable) -> Sequence[Row[*tuple[Any, ...]]]:
        return self.connection.execute(statement).all()

    def first(self, statement: Executable) -> Row[*tuple[Any, ...]] | None:
        return self.connection.execute(statement).first()

    def scalar(self, statement: Executable) -> Any:
        return self.connection.execute(statement).scalar()

    def scalars(self, statement: Executable) -> list[Any]:
        return list(self.connection.execute(statement).scalars())

    def insert(self, table: Table, values: dict[str, Any] | list[dict[str, Any]]) -> None:
        self.connection.execute(insert(table), values)

    def changed(self, kind: str, id: str, *, deleted: bool = False) -> None:
        """Record that the object changed, so that agents and watchers hear of it."""
        self.recorded.append(Change(kind, id, deleted))


@dataclass
class _Job:
    function: Callable[[Tx], Any]
    future: Future[Any]


class Database:
    """An SQLite file. `subscribe` callbacks run in the writer thread after each durable commit: keep them short."""

    def __init__(
        self,
        path: Path,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        kept_revisions: int = KEPT_REVISIONS,
    ) -> None:
        self.path = path
        self.engine = _engine(path)
        self._clock = clock
        self._queue: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._local = threading.local()
        self._readers: list[Connection] = []
        self._subscribers: list[Callable[[int, Sequence[Change]], None]] = []
        migrate.upgrade(self.engine)
        with self.engine.connect() as connection:
            self.revision: int = connection.scalar(select(func.max(changes.c.revision))) or 0
            self.pruned: int = connection.scalar(select(func.min(changes.c.revision))) or 0
            """The newest revision whose changes may be missing from the log."""
        self._kept_revisions = kept_revisions
        self._is_pruning = True
        """Whether the last step may have left something that is too old."""
        self._writer = threading.Thread(target=self._write_loop, name="store-writer", daemon=True)
        self._writer.start()

    def subscribe(self, callback: Callable[[int, Sequence[Change]], None]) -> None:
        self._subscribers.append(callback)

    @contextmanager
    def read(self) -> Iterator[Tx]:
        """A consistent read-only view. Nested use in one thread shares the outer view."""
        outer: Tx | None = getattr(self._local, "tx", None)
        if outer is not None:
            yield outer
            return
        connection: Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = self.engine.connect()
            self._local.connection = connection
            self._readers.append(connection)
        control(connection, "BEGIN")
        tx = Tx(connection, self._clock(), writable=False)
        self._local.tx = tx
        try:
            yield tx
        finally:
            self._local.tx = None
            control(connection, "ROLLBACK")

    def submit(self, function: Callable[[Tx], T]) -> Future[T]:
        """Queue a write; the future resolves once its commit is durable, or with the function's exception."""
        future: Future[T] = Future()
        self._queue.put(_Job(function, future))
        return future

    def write(self, function: Callable[[Tx], T]) -> T:
        return self.submit(function).result()

    def close(self) -> None:
        self._queue.put(None)
        self._writer.join()
        for connection in self._readers:
            connection.close()
        self.engine.dispose()

    def _write_loop(self) -> None:
        connection = self.engine.connect()
        while True:
            job = self._queue.get()
            if job is None:
                break
            jobs = [job]
            stop = False
            while len(jobs) < _BATCH:
                try:
                    more = self._queue.get_nowait()
                except queue.Empty:
                    break
                if more is None:
                    stop = True
                    break
                jobs.append(more)
            self._run_batch(connection, jobs)
            if stop:
                break
        connection.close()

    def _run_batch(self, connection: Connection, jobs: list[_Job]) -> None:
        # A write that runs can no longer be cancelled: a client that left must not stop the writer at `set_result`.
        jobs = [job for job in jobs if job.future.set_running_or_notify_cancel()]
        if not jobs:
            return
        outcomes: list[tuple[_Job, Any, BaseException | None]] = []
        heard: list[tuple[int, Sequence[Change]]] = []
        revision = self.revision
        try:
            control(connection, "BEGIN IMMEDIATE")
            for job in jobs:
                tx = Tx(connection, self._clock(), writable=True)
                control(connection, "SAVEPOINT job")
                try:
                    result = job.function(tx)
                    if tx.recorded:
                        revision += 1
                        recorded = tuple(dict.fromkeys(tx.recorded))
                        connection.execute(insert(changes), _log_rows(revision, recorded))
                        heard.append((revision, recorded))
                    control(connection, "RELEASE job")
                    outcomes.append((job, result, None))
                except BaseException as error:
                    control(connection, "ROLLBACK TO job")
                    control(connection, "RELEASE job")
                    outcomes.append((job, None, error))
            self._prune(connection, revision, sum(len(recorded) for _, recorded in heard))
            control(connection, "COMMIT")
        except BaseException as error:  # the disk is full, the file is gone: nobody's write was acknowledged
            with contextlib.suppress(Exception):  # no transaction was open: BEGIN itself failed
                control(connection, "ROLLBACK")
            for job in jobs:
                job.future.set_exception(_in_words(error))
            return
        self.revision = revision
        for job, result, failure in outcomes:
            if failure is not None:
                job.future.set_exception(_in_words(failure))
            else:
                job.future.set_result(result)
        for number, announced in heard:
            for callback in self._subscribers:
                try:
                    callback(number, announced)
                except Exception as error:  # what was committed stays, and others must hear of it
                    log.error("a subscriber failed", revision=number, subscriber=repr(callback), exc_info=error)

    def _prune(self, connection: Connection, revision: int, added: int) -> None:
        """Delete some of the log that is too old, in the batch's own transaction."""
        last = revision - self._kept_revisions
        if last <= 0 or (last <= self.pruned and not self._is_pruning):
            return
        # Before the commit: a reader that misses rows must find the number that says so.
        self.pruned = max(self.pruned, last)
        found = _PRUNE.run(connection, {"last": last, "most": added + _PRUNED_AT_ONCE})
        self._is_pruning = found.rowcount == added + _PRUNED_AT_ONCE


def _log_rows(revision: int, recorded: Sequence[Change]) -> list[dict[str, Any]]:
    return [
        {"revision": revision, "ordinal": n, "kind": change.kind, "object_id": change.id, "deleted": change.deleted}
        for n, change in enumerate(recorded)
    ]


def _engine(path: Path) -> Engine:
    # A reader's connection stays with its thread, the writer's with the writer: no pool.
    engine = create_engine(
        f"sqlite:///{path}", poolclass=NullPool, isolation_level="AUTOCOMMIT", connect_args={"check_same_thread": False}
    )

    @event.listens_for(engine, "connect")
    def _configure(connection: sqlite3.Connection, record: object) -> None:
        connection.isolation_level = None
        cursor = connection.cursor()
        for pragma in (
            "journal_mode=WAL",
            "synchronous=FULL",
            "foreign_keys=ON",
            "busy_timeout=10000",
            "cache_size=-16000",
            "temp_store=MEMORY",
        ):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    return engine


def _in_words(error: BaseException) -> BaseException:
    """A disk that takes no more, as a refusal that a user can understand; anything else as it is.

    Source: https://sqlite.org/rescode.html: the low byte of a code is its kind.
    """
    if isinstance(error, DBAPIError) and isinstance(error.orig, sqlite3.Error):
        kind = error.orig.sqlite_errorcode & 0xFF
        if kind in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY):
            return Unavailable(
                f"The cloud cannot save anything now: {error.orig}. Nothing of this request was done.",
                hint="make room on the disk of the cloud's state folder",
            )
    return error

"""The store: one database, transaction functions, one growing revision.

Why: an operation of the API is one function `(tx, …) -> result` with no effect outside `tx`. This module
opens and commits. Every write transaction that records changes takes the next revision; whoever follows the log hears
of it after the commit is durable. What kind of database it is, an `Engine` knows (`sqlite`, `postgresql`).

Invariants:
- A write that was acknowledged is on disk.
- Writes run one at a time, in a thread of their own. Those that wait while one commit reaches the disk
  share the next commit, each in its own savepoint: one that fails takes nothing of the others with it.
- A function may run more than once: where an engine ends a transaction through nobody's fault (`Fate.AGAIN`, `LOST`),
  all that it did is undone, and the functions run again in another. So it must not change what it was given.
- Reads run on their own connections in the caller's thread and see the last commit.
- A subscriber that raises is logged; it holds up neither the others nor the writer.
- Revisions are announced in their order, also those that other processes commit to the same database.
- The log of changes holds the last `KEPT_REVISIONS` revisions and no more than a step behind them: each batch of writes
  deletes some of what is older, more than it adds, in the same commit. Whoever follows the log and is behind
  `pruned` has missed something and begins anew.
"""

from __future__ import annotations

import contextlib
import itertools
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar

import sqlalchemy
import structlog
from sqlalchemy import Executable, Row, Table, bindparam, delete, func, insert, select, tuple_
from sqlalchemy.engine import CursorResult
from sqlalchemy.exc import DBAPIError

from deuteron.store.engine import Engine, Fate, Session
from deuteron.store.prepared import Parameters, Prepared, Result
from deuteron.store.schema import changes

T = TypeVar("T")

log = structlog.get_logger("deuteron.store")

_BATCH = 128
"""How many waiting writes share one commit at most."""
_ATTEMPTS = 5
"""How often a batch is tried, when the engine ends its transactions."""
KEPT_REVISIONS = 10_000
"""Of the log of changes. Agents follow it within a second; one that takes a minute for a message is disconnected."""
_PRUNED_AT_ONCE = 256
"""Rows that one batch deletes from the log beyond as many as it added: well under a millisecond."""
_KEY = (changes.c.revision, changes.c.ordinal)
_RECORD = Prepared(insert(changes))
_PRUNE = Prepared(
    delete(changes).where(
        tuple_(*_KEY).in_(
            select(*_KEY).where(changes.c.revision <= bindparam("last")).order_by(*_KEY).limit(bindparam("most"))
        )
    )
)
_SINCE = Prepared(select(changes).where(changes.c.revision > bindparam("revision")).order_by(*_KEY))
_ENDS = Prepared(select(func.min(changes.c.revision), func.max(changes.c.revision)))


@dataclass(frozen=True)
class Change:
    """One object that a transaction created, changed or deleted."""

    kind: str
    id: str
    deleted: bool = False


@dataclass
class Tx:
    """A transaction handle: statements, the time, and what changed. Valid only inside its function."""

    session: Session
    now: datetime
    writable: bool
    recorded: list[Change] = field(default_factory=list)
    kept: dict[str, Any] = field(default_factory=dict)
    """What a rule read and will need again in this transaction; whoever writes such rows takes it out."""

    due: list[Any] = field(default_factory=list)
    """What is to be done once the commit is durable, by whoever submitted the function. See `rules.network.steps`."""

    def execute(self, statement: Executable, parameters: Any = None) -> CursorResult[Any]:
        return self.session.connection.execute(statement, parameters)

    def run(self, statement: Prepared, parameters: Parameters | Sequence[Parameters] | None = None) -> Result:
        """A prepared statement: for what every request does."""
        return self.session.run(statement, parameters)

    def all(self, statement: Executable) -> Sequence[Row[*tuple[Any, ...]]]:
        return self.session.connection.execute(statement).all()

    def first(self, statement: Executable) -> Row[*tuple[Any, ...]] | None:
        return self.session.connection.execute(statement).first()

    def scalar(self, statement: Executable) -> Any:
        return self.session.connection.execute(statement).scalar()

    def scalars(self, statement: Executable) -> list[Any]:
        return list(self.session.connection.execute(statement).scalars())

    def insert(self, table: Table, values: dict[str, Any] | list[dict[str, Any]]) -> None:
        self.session.connection.execute(insert(table), values)

    def changed(self, kind: str, id: str, *, deleted: bool = False) -> None:
        """Record that the object changed, so that agents and watchers hear of it."""
        self.recorded.append(Change(kind, id, deleted))


@dataclass
class _Job:
    function: Callable[[Tx], Any]
    future: Future[Any]


_Heard = tuple[int, Sequence[Change]]


@dataclass
class _Done:
    """A batch that was committed."""

    revision: int
    """The newest there is."""
    heard: list[_Heard] = field(default_factory=list)
    """Revisions that were not announced here before, in their order."""
    outcomes: list[tuple[_Job, Any, BaseException | None]] = field(default_factory=list)


class Database:
    """The store over one engine.

    `subscribe` callbacks run after each durable commit, one at a time, in the thread that writes (or in the one that
    hears of other processes' commits): keep them short.
    """

    def __init__(
        self,
        engine: Engine,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        kept_revisions: int = KEPT_REVISIONS,
    ) -> None:
        """Raises: NewerSchema; Unavailable; the exceptions of SQLAlchemy."""
        self._engine = engine
        self._clock = clock
        self._queue: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._local = threading.local()
        self._readers: list[Session] = []
        self._subscribers: list[Callable[[int, Sequence[Change]], None]] = []
        self._is_closed = False
        self._announcing = threading.Lock()
        """Held by whoever sets `revision` and calls subscribers."""
        engine.upgrade()
        self._session: Session | None = engine.connect()
        """The writer's; None after it was lost."""
        first, last = self._session.run(_ENDS, None).all()[0]
        self.revision: int = last or 0
        self.pruned: int = first or 0
        """The newest revision whose changes may be missing from the log."""
        self._kept_revisions = kept_revisions
        self._is_pruning = True
        """Whether the last step may have left something that is too old."""
        self._writer = threading.Thread(target=self._write_loop, name="store-writer", daemon=True)
        self._writer.start()
        engine.follow(self._catch_up)

    @property
    def engine(self) -> sqlalchemy.Engine:
        """SQLAlchemy's, for who looks at statements."""
        return self._engine.engine

    @property
    def is_embedded(self) -> bool:
        """Whether reading takes microseconds, so that an event loop may do it."""
        return self._engine.is_embedded

    def subscribe(self, callback: Callable[[int, Sequence[Change]], None]) -> None:
        self._subscribers.append(callback)

    @contextmanager
    def read(self) -> Iterator[Tx]:
        """A consistent read-only view. Nested use in one thread shares the outer view.

        Raises: Unavailable when the database cannot be reached.
        """
        outer: Tx | None = getattr(self._local, "tx", None)
        if outer is not None:
            yield outer
            return
        session = self._reader()
        tx = Tx(session, self._clock(), writable=False)
        self._local.tx = tx
        try:
            yield tx
        except DBAPIError as error:
            words = self._engine.in_words(error)
            raise words from (None if words is error else error)
        finally:
            self._local.tx = None
            try:
                session.end_read()
            except DBAPIError as error:
                if self._engine.fate(error) is not Fate.LOST:
                    raise
                self._forget(session)

    def submit(self, function: Callable[[Tx], T]) -> Future[T]:
        """Queue a write; the future resolves once its commit is durable, or with the function's exception."""
        future: Future[T] = Future()
        self._queue.put(_Job(function, future))
        return future

    def write(self, function: Callable[[Tx], T]) -> T:
        return self.submit(function).result()

    def close(self) -> None:
        """Finish what is queued, and close. Again is nothing."""
        if self._is_closed:
            return
        self._is_closed = True
        self._queue.put(None)
        self._writer.join()
        for session in list(self._readers):
            session.close()
        self._engine.close()

    # --- reading ------------------------------------------------------------------------------------------------------

    def _reader(self) -> Session:
        """This thread's session, in a view that has just begun. One that was lost meanwhile is made anew, once."""
        session: Session | None = getattr(self._local, "session", None)
        if session is not None:
            try:
                session.begin_read()
                return session
            except DBAPIError as error:
                if self._engine.fate(error) is not Fate.LOST:
                    raise
                self._forget(session)
        session = self._engine.connect()
        self._readers.append(session)
        self._local.session = session
        session.begin_read()
        return session

    def _forget(self, session: Session) -> None:
        self._local.session = None
        self._readers.remove(session)
        _drop(session)

    # --- writing ------------------------------------------------------------------------------------------------------

    def _write_loop(self) -> None:
        is_open = True
        while is_open:
            job = self._queue.get()
            if job is None:
                break
            jobs = [job]
            while len(jobs) < _BATCH:
                try:
                    more = self._queue.get_nowait()
                except queue.Empty:
                    break
                if more is None:
                    is_open = False
                    break
                jobs.append(more)
            # A write that runs can no longer be cancelled: a client that left must not stop the writer at `set_result`.
            jobs = [job for job in jobs if job.future.set_running_or_notify_cancel()]
            if jobs:
                self._run_batch(jobs)
        if self._session is not None:
            self._session.close()

    def _run_batch(self, jobs: list[_Job]) -> None:
        for left in reversed(range(_ATTEMPTS)):
            try:
                done = self._try_batch(jobs)
                break
            except BaseException as error:  # the disk is full, the file is gone: nobody's write was acknowledged
                fate = self._engine.fate(error)
                self._end_batch(fate)
                if fate is not Fate.OWN and left:
                    log.info("writes run again", writes=len(jobs), reason=str(error).partition("\n")[0])
                    continue
                if fate is Fate.AGAIN and len(jobs) > 1:
                    # One of them may be why: the others must not fail with it.
                    for job in jobs:
                        self._run_batch([job])
                    return
                for job in jobs:
                    job.future.set_exception(self._engine.in_words(error))
                return
        with self._announcing:
            # Whoever follows other processes may have been quicker.
            heard = [(revision, touched) for revision, touched in done.heard if revision > self.revision]
            self.revision = max(self.revision, done.revision)
            for job, result, failure in done.outcomes:
                if failure is not None:
                    job.future.set_exception(self._engine.in_words(failure))
                else:
                    job.future.set_result(result)
            self._announce(heard)

    def _try_batch(self, jobs: list[_Job]) -> _Done:
        if self._session is None:
            self._session = self._engine.connect()
        session = self._session
        newest = self._engine.begin_write(session)
        done = _Done(self.revision if newest is None else newest)
        if done.revision > self.revision:
            done.heard = _grouped(session.run(_SINCE, {"revision": self.revision}))
        added = 0
        for job in jobs:
            tx = Tx(session, self._clock(), writable=True)
            session.control("SAVEPOINT job")
            try:
                result = job.function(tx)
                if tx.recorded:
                    recorded = tuple(dict.fromkeys(tx.recorded))
                    session.run(_RECORD, _log_rows(done.revision + 1, recorded))
                    done.revision += 1
                    done.heard.append((done.revision, recorded))
                    added += len(recorded)
                session.control("RELEASE job")
                done.outcomes.append((job, result, None))
            except BaseException as error:
                if self._engine.fate(error) is not Fate.OWN:
                    raise
                session.control("ROLLBACK TO job")
                session.control("RELEASE job")
                done.outcomes.append((job, None, error))
        self._prune(session, done.revision, added)
        self._engine.commit(session, done.revision)
        return done

    def _end_batch(self, fate: Fate) -> None:
        """After a batch that failed as a whole."""
        if self._session is None:
            return
        if fate is not Fate.LOST:
            with contextlib.suppress(Exception):  # no transaction was open: BEGIN itself failed
                self._session.control("ROLLBACK")
            return
        _drop(self._session)
        self._session = None

    def _prune(self, session: Session, revision: int, added: int) -> None:
        """Delete some of the log that is too old, in the batch's own transaction."""
        last = revision - self._kept_revisions
        if last <= 0 or (last <= self.pruned and not self._is_pruning):
            return
        # Before the commit: a reader that misses rows must find the number that says so.
        self.pruned = max(self.pruned, last)
        found = session.run(_PRUNE, {"last": last, "most": added + _PRUNED_AT_ONCE})
        self._is_pruning = found.rowcount == added + _PRUNED_AT_ONCE

    # --- announcing ---------------------------------------------------------------------------------------------------

    def _catch_up(self, session: Session) -> None:
        """Announce what other processes committed; called by the engine, in a thread of its own."""
        found = _grouped(session.run(_SINCE, {"revision": self.revision}))
        with self._announcing:
            heard = [(revision, touched) for revision, touched in found if revision > self.revision]
            if heard:
                self.pruned = max(self.pruned, heard[-1][0] - self._kept_revisions)
                self.revision = heard[-1][0]
                self._announce(heard)

    def _announce(self, heard: Sequence[_Heard]) -> None:
        for revision, touched in heard:
            for callback in self._subscribers:
                try:
                    callback(revision, touched)
                except Exception as error:  # what was committed stays, and others must hear of it
                    log.error("a subscriber failed", revision=revision, subscriber=repr(callback), exc_info=error)


def _drop(session: Session) -> None:
    with contextlib.suppress(Exception):  # it is lost already
        session.close()


def _log_rows(revision: int, recorded: Sequence[Change]) -> list[dict[str, Any]]:
    return [
        {"revision": revision, "ordinal": n, "kind": change.kind, "object_id": change.id, "deleted": change.deleted}
        for n, change in enumerate(recorded)
    ]


def _grouped(rows: Result) -> list[_Heard]:
    """Rows of the log, in its order, as what each revision touched."""
    return [
        (revision, tuple(Change(kind, id, deleted) for _, _, kind, id, deleted in group))
        for revision, group in itertools.groupby(rows, key=lambda row: row[0])
    ]

"""SQLite: the database in this process, a file in the cloud's folder. The default, with nothing to install.

Readers and the writer have connections of their own; in WAL mode they do not wait for each other.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, create_engine, event
from sqlalchemy.dialects import sqlite
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from deuteron.model.errors import Unavailable
from deuteron.store import migrate
from deuteron.store.engine import Fate, Session
from deuteron.store.prepared import Parameters, Prepared, Result

_DIALECT = sqlite.dialect()
_NAME = _DIALECT.name
_PRAGMAS = (
    "journal_mode=WAL",
    "synchronous=FULL",
    "foreign_keys=ON",
    "busy_timeout=10000",
    "cache_size=-16000",
    "temp_store=MEMORY",
)


class SqliteSession:
    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        driver = connection.connection.dbapi_connection
        assert isinstance(driver, sqlite3.Connection)
        self._driver: sqlite3.Connection = driver

    def run(self, statement: Prepared, parameters: Parameters | Sequence[Parameters] | None) -> Result:
        form = statement.forms.get(_NAME)
        if form is None:
            form = statement.form(_DIALECT)
        try:
            if isinstance(parameters, (list, tuple)):
                cursor = self._driver.executemany(form.text, [form.values(each) for each in parameters])
            else:
                cursor = self._driver.execute(form.text, form.values(parameters))  # type: ignore[arg-type]  # is one
            rows: list[tuple[Any, ...]] = cursor.fetchall()
        except sqlite3.Error as error:
            raise _as_sqlalchemys(form.text, error) from error
        return Result(form.decoded(rows), cursor.rowcount)

    def control(self, text: str) -> None:
        try:
            self._driver.execute(text)
        except sqlite3.Error as error:
            raise _as_sqlalchemys(text, error) from error

    def begin_read(self) -> None:
        self.control("BEGIN")

    def end_read(self) -> None:
        self.control("ROLLBACK")

    def close(self) -> None:
        self.connection.close()


class SqliteEngine:
    """The file at `path`, which is made when it is not there."""

    is_embedded = True

    def __init__(self, path: Path) -> None:
        self.path = path
        # A reader's connection stays with its thread, the writer's with the writer: no pool.
        self.engine = create_engine(
            f"sqlite:///{path}",
            poolclass=NullPool,
            isolation_level="AUTOCOMMIT",
            connect_args={"check_same_thread": False},
        )
        event.listen(self.engine, "connect", _configure)

    def upgrade(self) -> None:
        migrate.upgrade(self.engine, begin="BEGIN IMMEDIATE")

    def connect(self) -> Session:
        return SqliteSession(self.engine.connect())

    def begin_write(self, session: Session) -> int | None:
        session.control("BEGIN IMMEDIATE")
        return None

    def commit(self, session: Session, revision: int) -> None:
        session.control("COMMIT")

    def fate(self, error: BaseException) -> Fate:
        return Fate.OWN

    def in_words(self, error: BaseException) -> BaseException:
        """Source: https://sqlite.org/rescode.html: the low byte of a code is its kind."""
        if isinstance(error, DBAPIError) and isinstance(error.orig, sqlite3.Error):
            kind = error.orig.sqlite_errorcode & 0xFF
            if kind in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY):
                return Unavailable(
                    f"The cloud cannot save anything now: {error.orig}. Nothing of this request was done.",
                    hint="make room on the disk of the cloud's state folder",
                )
        return error

    def follow(self, catch_up: Callable[[Session], None]) -> None:
        """Nobody else writes."""

    def close(self) -> None:
        self.engine.dispose()


def _configure(connection: sqlite3.Connection, record: object) -> None:
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in _PRAGMAS:
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _as_sqlalchemys(text: str, error: sqlite3.Error) -> BaseException:
    return DBAPIError.instance(text, None, error, sqlite3.Error, dialect=_DIALECT)

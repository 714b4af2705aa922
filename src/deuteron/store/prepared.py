"""Prepared statements: those that every request runs, compiled once and handed to the driver.

Why: SQLAlchemy needs 60 to 100 us to run a statement that SQLite answers in 5, and creating a port runs fifteen. A
`Prepared` is written as any other statement and passed to `Tx.run`; it is compiled at its first use, and then only its
values travel. What it gives up: rows are plain tuples in the order of the columns, and lists of values in a condition
(`in_`) cannot be parameters.

Parameters: those of `bindparam`, or the columns of an insert by key; a column that is not given is NULL.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Insert, Select, UpdateBase
from sqlalchemy.dialects import sqlite
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql.schema import ScalarElementColumnDefault

Processor = Callable[[Any], Any]
Parameters = Mapping[str, Any]

_DIALECT = sqlite.dialect()
_NOTHING: Parameters = {}


class Result:
    """The rows of a statement, read to the end, with the words of SQLAlchemy's results."""

    __slots__ = ("_rows", "rowcount")

    def __init__(self, rows: Sequence[tuple[Any, ...]], rowcount: int) -> None:
        self._rows = rows
        self.rowcount = rowcount

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        return iter(self._rows)

    def all(self) -> Sequence[tuple[Any, ...]]:
        return self._rows

    def first(self) -> tuple[Any, ...] | None:
        return self._rows[0] if self._rows else None

    def scalar(self) -> Any:
        return self._rows[0][0] if self._rows else None

    def scalars(self) -> list[Any]:
        return [row[0] for row in self._rows]


class Prepared:
    """A statement to keep: make it at module level or once for each table."""

    def __init__(self, statement: Select[Any] | UpdateBase) -> None:
        self._statement = statement
        self._text = ""
        self._binds: tuple[tuple[str, Any, Processor | None], ...] = ()
        self._outs: tuple[tuple[int, Processor], ...] = ()

    def run(self, connection: Connection, parameters: Parameters | Sequence[Parameters] | None) -> Result:
        """Raises: the exceptions of SQLAlchemy."""
        if not self._text:
            self._compile()
        driver = _driver_of(connection)
        try:
            if isinstance(parameters, Sequence):
                cursor = driver.executemany(self._text, [self._values(each) for each in parameters])
            else:
                cursor = driver.execute(self._text, self._values(parameters or _NOTHING))
            rows: list[tuple[Any, ...]] = cursor.fetchall()
        except sqlite3.Error as error:
            raise _as_sqlalchemys(self._text, error) from error
        if self._outs and rows:
            rows = [self._decoded(row) for row in rows]
        return Result(rows, cursor.rowcount)

    def _compile(self) -> None:
        compiled: Any = self._statement.compile(dialect=_DIALECT)
        binds = []
        defaults: dict[str, Any] = {}
        if isinstance(self._statement, Insert):
            columns = self._statement.table.columns
            defaults = {c.key: c.default.arg for c in columns if isinstance(c.default, ScalarElementColumnDefault)}
        for name in compiled.positiontup or ():
            bind = compiled.binds[name]
            default = defaults.get(bind.key, bind.value)
            binds.append((bind.key, default, bind.type.dialect_impl(_DIALECT).bind_processor(_DIALECT)))
        self._binds = tuple(binds)
        shown = self._statement.selected_columns if isinstance(self._statement, Select) else ()
        processors = [column.type.dialect_impl(_DIALECT).result_processor(_DIALECT, None) for column in shown]
        self._outs = tuple((place, processor) for place, processor in enumerate(processors) if processor is not None)
        self._text = compiled.string

    def _values(self, given: Parameters) -> list[Any]:
        values = []
        for name, default, processor in self._binds:
            value = given.get(name, default)
            values.append(value if processor is None else processor(value))
        return values

    def _decoded(self, row: tuple[Any, ...]) -> tuple[Any, ...]:
        decoded = list(row)
        for place, processor in self._outs:
            decoded[place] = processor(decoded[place])
        return tuple(decoded)


def control(connection: Connection, text: str) -> None:
    """Run a statement that has no values and no rows: BEGIN, COMMIT. Raises: the exceptions of SQLAlchemy."""
    try:
        _driver_of(connection).execute(text)
    except sqlite3.Error as error:
        raise _as_sqlalchemys(text, error) from error


def _driver_of(connection: Connection) -> sqlite3.Connection:
    driver = connection.connection.dbapi_connection
    assert isinstance(driver, sqlite3.Connection)  # the store is SQLite
    return driver


def _as_sqlalchemys(text: str, error: sqlite3.Error) -> BaseException:
    return DBAPIError.instance(text, None, error, sqlite3.Error, dialect=_DIALECT)


__all__ = ["Prepared", "Result", "control"]

"""Prepared statements: those that every request runs, compiled once and handed to the driver.

Why: SQLAlchemy needs 60 to 100 us to run a statement that SQLite answers in 5, and creating a port runs fifteen. A
`Prepared` is written as any other statement and passed to `Tx.run`; it is compiled at its first use, for the engine
that runs it, and then only its values travel. What it gives up: rows are plain tuples in the order of the columns, and
lists of values in a condition (`in_`) cannot be parameters.

Parameters: those of `bindparam`, or the columns of an insert by key; a column that is not given is NULL.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import Dialect, Select, UpdateBase

Processor = Callable[[Any], Any]
Parameters = Mapping[str, Any]

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


class Form:
    """A statement in the words of one engine, whose driver takes values by place."""

    __slots__ = ("_binds", "_outs", "text")

    def __init__(self, statement: Select[Any] | UpdateBase, dialect: Dialect) -> None:
        compiled: Any = statement.compile(dialect=dialect)
        binds = []
        for name in compiled.positiontup or ():
            bind = compiled.binds[name]
            binds.append((bind.key, bind.value, bind.type.dialect_impl(dialect).bind_processor(dialect)))
        self._binds: tuple[tuple[str, Any, Processor | None], ...] = tuple(binds)
        shown = statement.selected_columns if isinstance(statement, Select) else ()
        processors = [column.type.dialect_impl(dialect).result_processor(dialect, None) for column in shown]
        self._outs = tuple((place, processor) for place, processor in enumerate(processors) if processor is not None)
        self.text: str = compiled.string

    def values(self, given: Parameters | None) -> list[Any]:
        """What the driver gets for one execution."""
        if given is None:
            given = _NOTHING
        values = []
        for name, default, processor in self._binds:
            value = given.get(name, default)
            values.append(value if processor is None else processor(value))
        return values

    def decoded(self, rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
        """What the driver answered, with the values of the columns' types."""
        return [self._decoded(row) for row in rows] if self._outs else rows

    def _decoded(self, row: tuple[Any, ...]) -> tuple[Any, ...]:
        decoded = list(row)
        for place, processor in self._outs:
            decoded[place] = processor(decoded[place])
        return tuple(decoded)


class Prepared:
    """A statement to keep: make it at module level or once for each table."""

    __slots__ = ("_statement", "forms")

    def __init__(self, statement: Select[Any] | UpdateBase) -> None:
        self._statement = statement
        self.forms: dict[str, Form] = {}
        """By the name of the dialect, once it was run there."""

    def form(self, dialect: Dialect) -> Form:
        """The statement as the engine of the dialect takes it."""
        found = self.forms.get(dialect.name)
        if found is None:
            found = self.forms[dialect.name] = Form(self._statement, dialect)
        return found


__all__ = ["Form", "Parameters", "Prepared", "Result"]

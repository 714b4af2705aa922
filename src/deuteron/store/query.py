"""Lists and single rows by declaration: filters, sorting, pages, and rows as plain dictionaries.

Why: every list of every service is one query, and a long list must not be decoded only to be encoded again.
`answers` therefore leaves JSON columns as the text they are (`msgspec.Raw`), while `rows` decodes them for
rules that look inside.

The order of a list is total (the id comes last), so a page continues exactly where the one before ended.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import msgspec
from sqlalchemy import (
    BinaryExpression,
    BindParameter,
    BooleanClauseList,
    Column,
    ColumnElement,
    Executable,
    FromClause,
    Row,
    Select,
    Table,
    Text,
    and_,
    bindparam,
    delete,
    false,
    func,
    insert,
    or_,
    select,
    type_coerce,
    union,
    update,
)
from sqlalchemy.sql import operators

from deuteron.model.resource import RowT
from deuteron.store import expressions
from deuteron.store.database import Tx
from deuteron.store.expressions import contains_any, has_all_words, has_any_word, has_item, has_word, one_of
from deuteron.store.prepared import Prepared
from deuteron.store.schema import Json, TableOf

Values = dict[str, Any]


@dataclass(frozen=True)
class Order:
    """One sort key."""

    name: str
    descending: bool = False
    has_nulls: bool = True
    """Whether rows may have no value: where none has, a page downwards begins at its place of an index."""


@dataclass(frozen=True)
class Page:
    """Which part of a list: up to `limit` rows after `marker` (before it, when `backwards`), without `offset` first."""

    limit: int | None = None
    marker: Mapping[str, Any] | None = None
    backwards: bool = False
    offset: int = 0
    """Only of `window`."""


def row_by_id(tx: Tx, table: TableOf[RowT], object_id: str, *conditions: ColumnElement[bool]) -> RowT | None:
    """The decoded row, when it is there and fulfils the conditions."""
    if conditions:
        return first(tx, table, table.c.id == object_id, *conditions)
    found = tx.run(statements(table).by_id, {"id_": object_id}).first()
    return None if found is None else _row(table, found)


def first(tx: Tx, table: TableOf[RowT], *conditions: ColumnElement[bool]) -> RowT | None:
    """One decoded row that fulfils the conditions."""
    found = tx.first(select(table).where(*conditions).limit(1))
    return None if found is None else _row(table, found)


def rows(tx: Tx, table: TableOf[RowT], *conditions: ColumnElement[bool], order_by: Sequence[Any] = ()) -> list[RowT]:
    """Decoded rows that fulfil the conditions."""
    statement = select(table).where(*conditions)
    if order_by:
        statement = statement.order_by(*order_by)
    return run(tx, table, statement)


def run(tx: Tx, table: TableOf[RowT], statement: Prepared | Executable, parameters: Any = None) -> list[RowT]:
    """The rows of a statement that selects the whole table."""
    keys = statements(table).keys
    found: Iterable[Any]
    if isinstance(statement, Prepared):
        found = tx.run(statement, parameters)
    else:
        found = tx.execute(statement, parameters)
    return cast("list[RowT]", [dict(zip(keys, row, strict=True)) for row in found])


def add(tx: Tx, table: Table, values: Mapping[str, Any]) -> None:
    """Insert one row."""
    tx.run(statements(table).insert, values)


def change(tx: Tx, table: Table, object_id: str, values: Mapping[str, Any]) -> None:
    """Set columns of one row."""
    kept = statements(table).updates
    names = tuple(values)
    statement = kept.get(names)
    if statement is None:
        setting = {name: bindparam(name, type_=table.c[name].type) for name in names}
        statement = Prepared(update(table).where(table.c.id == bindparam("id_")).values(setting))
        if len(kept) < _MOST_KEPT:
            kept[names] = statement
    tx.run(statement, {**values, "id_": object_id})


def with_values(row: RowT, values: Mapping[str, object]) -> RowT:
    """The row as it is, or would be, with these values."""
    return cast(RowT, {**row, **values})


def remove(tx: Tx, table: Table, object_id: str) -> None:
    """Delete one row."""
    tx.run(statements(table).delete, {"id_": object_id})


def count(tx: Tx, table: Table, *conditions: ColumnElement[bool]) -> int:
    """How many rows fulfil the conditions."""
    return int(tx.scalar(select(func.count()).select_from(table).where(*conditions)) or 0)


def most_rows(tx: Tx, table: Table) -> int:
    """As many rows as the table can have at most; found in constant time."""
    return tx.run(statements(table).most_rows).scalar() or 0


def answers(
    tx: Tx,
    table: Table,
    names: Sequence[str],
    conditions: Sequence[ColumnElement[bool]] = (),
    order: Sequence[Order] = (),
    page: Page = Page(),
) -> list[Values]:
    """The columns `names` of the rows that fulfil the conditions, nested values as raw JSON text."""
    nested = [name for name in names if isinstance(table.c[name].type, Json)]
    keys = tuple(names)
    equal = _equalities(table, conditions)
    fetched: Iterable[Any]
    if equal is not None and page.marker is None:
        # What clients ask most: all, all of a project or a network, the first of them.
        lists = statements(table).lists
        shape = Shape(keys, tuple(equal), tuple(order), page.limit is not None, page.backwards)
        prepared = lists.get(shape)
        if prepared is None:
            prepared = Prepared(shape.statement(table))
            if len(lists) < _MOST_KEPT:
                lists[shape] = prepared
        fetched = tx.run(prepared, {"limit": page.limit, **{f"is {name}": value for name, value in equal.items()}})
    else:
        statement = _list(table, keys, conditions, order, page.backwards)
        if page.marker is not None:
            statement = statement.where(_beyond(table, _total(order), page.marker, page.backwards))
        fetched = tx.all(statement if page.limit is None else statement.limit(page.limit))
    found = [dict(zip(keys, row, strict=True)) for row in fetched]
    if page.backwards:
        found.reverse()
    raw = msgspec.Raw
    for name in nested:
        for row in found:
            text = row[name]
            if text is not None:
                row[name] = raw(text)
    return found


def window(
    tx: Tx,
    source: FromClause,
    conditions: Sequence[ColumnElement[bool]] = (),
    order: Sequence[Order] = (),
    page: Page = Page(),
    names: Sequence[str] = (),
) -> list[Row[*tuple[Any, ...]]]:
    """The rows of a table or a subquery that fulfil the conditions, decoded: the part that the page asks for.

    Whole rows, or of each the columns `names`. The source has a column `id`; `page.marker` holds a value for each sort
    key.
    """
    chosen = select(*(source.c[name] for name in names)) if names else select(source)
    statement = _ordered(chosen.where(*conditions), source, order, page.backwards)
    if page.marker is not None:
        statement = statement.where(_beyond(source, _total(order), page.marker, page.backwards))
    if page.limit is not None:
        statement = statement.limit(page.limit)
    if page.offset:
        statement = statement.offset(page.offset)
    found = list(tx.all(statement))
    return found[::-1] if page.backwards else found


def _row(table: TableOf[RowT], found: Iterable[Any]) -> RowT:
    return cast(RowT, dict(zip(statements(table).keys, found, strict=True)))


def _list(
    table: Table,
    names: Sequence[str],
    conditions: Sequence[ColumnElement[bool]],
    order: Sequence[Order],
    backwards: bool,
) -> Select[Any]:
    chosen = [table.c[name] for name in names]
    columns = [type_coerce(column, Text) if isinstance(column.type, Json) else column for column in chosen]
    return _ordered(select(*columns).where(*conditions), table, order, backwards)


def _ordered(statement: Select[Any], source: FromClause, order: Sequence[Order], backwards: bool) -> Select[Any]:
    for item in _total(order):
        column = source.c[item.name]
        statement = statement.order_by(column.desc() if item.descending != backwards else column.asc())
    return statement


def _total(order: Sequence[Order]) -> list[Order]:
    return [*order] if any(item.name == "id" for item in order) else [*order, Order("id")]


def _equalities(table: Table, conditions: Sequence[ColumnElement[bool]]) -> Values | None:
    """Column and value, when the conditions do nothing but compare a column with one value each."""
    found: Values = {}
    for each in conditions:
        if not isinstance(each, BinaryExpression) or each.operator is not operators.eq:
            return None
        column, value = each.left, each.right
        if not isinstance(column, Column) or not isinstance(value, BindParameter) or column.table is not table:
            return None
        if column.key in found:
            return None
        found[column.key] = value.value
    return found


def by_parts(table: Table, condition: ColumnElement[bool]) -> ColumnElement[bool]:
    """A condition of a list as a union of ids, when it is one of several: each part is then found by its own index.

    Of a page in the order of ids, a database otherwise looks at every row until the page is full, which is at all of
    them for who sees few.
    """
    if not isinstance(condition, BooleanClauseList) or condition.operator is not operators.or_:
        return condition
    return table.c.id.in_(union(*(select(table.c.id).where(part) for part in condition.clauses)))


def any_of(column: ColumnElement[Any], values: Sequence[Any]) -> ColumnElement[bool]:
    """Whether the column is one of the values; None among them is NULL."""
    plain = [value for value in values if value is not None]
    parts: list[ColumnElement[bool]] = []
    if len(plain) == 1:
        parts.append(column == plain[0])
    elif plain:
        parts.append(one_of(column, plain))
    if len(plain) != len(values):
        parts.append(column.is_(None))
    return or_(*parts) if parts else false()


def _beyond(
    table: FromClause, order: Sequence[Order], marker: Mapping[str, Any], backwards: bool
) -> ColumnElement[bool]:
    """Rows after the marker in the order: the first keys equal, the next one greater, NULL being the least."""
    parts: list[ColumnElement[bool]] = []
    for position, item in enumerate(order):
        column, value = table.c[item.name], marker[item.name]
        descending = item.descending != backwards
        greater: ColumnElement[bool]
        if value is None:
            greater = false() if descending else column.is_not(None)
        elif descending:
            greater = or_(column < value, column.is_(None)) if item.has_nulls else column < value
        else:
            greater = column > value
        equal = [any_of(table.c[before.name], [marker[before.name]]) for before in order[:position]]
        parts.append(and_(*equal, greater))
    return and_(*_bound(table, order[0], marker, backwards), or_(*parts))


def _bound(table: FromClause, first: Order, marker: Mapping[str, Any], backwards: bool) -> list[ColumnElement[bool]]:
    """What `_beyond` says of the first key alone: with it a page begins at its place of an index."""
    column, value = table.c[first.name], marker[first.name]
    if value is None:
        return []
    if first.descending == backwards:
        return [column >= value]
    return [] if first.has_nulls else [column <= value]


@dataclass(frozen=True)
class Shape:
    """A list without its values: the key of its prepared statement, and all that the statement is made of."""

    names: tuple[str, ...]
    """The columns that are shown."""
    equal: tuple[str, ...]
    """The columns that are compared with one value each: the parameters `is <name>`."""
    order: tuple[Order, ...]
    limited: bool
    """Whether there is a parameter `limit`."""
    backwards: bool

    def statement(self, table: Table) -> Select[Any]:
        # Nothing but the fields: whatever else went in would be missing in the key.
        same = [table.c[name] == bindparam(f"is {name}") for name in self.equal]
        statement = _list(table, self.names, same, self.order, self.backwards)
        return statement.limit(bindparam("limit")) if self.limited else statement


@dataclass(frozen=True)
class Statements:
    """The statements of a table that requests use most, prepared once."""

    keys: tuple[str, ...]
    by_id: Prepared
    insert: Prepared
    delete: Prepared
    most_rows: Prepared
    updates: dict[tuple[str, ...], Prepared]
    """By the columns that are set."""
    lists: dict[Shape, Prepared]


_MOST_KEPT = 200
_STATEMENTS: dict[str, Statements] = {}


def statements(table: Table) -> Statements:
    """Prepared statements of a table whose key is `id`; made on first use, tables live as long as the program."""
    found = _STATEMENTS.get(table.name)
    if found is None:
        keyed = "id" in table.c
        key: ColumnElement[bool] = table.c.id == bindparam("id_") if keyed else false()
        found = Statements(
            keys=tuple(column.key for column in table.columns),
            by_id=Prepared(select(table).where(key)),
            insert=Prepared(insert(table)),
            delete=Prepared(delete(table).where(key)),
            most_rows=Prepared(select(expressions.most_rows(table))),
            updates={},
            lists={},
        )
        _STATEMENTS[table.name] = found
    return found


__all__ = [
    "Order",
    "Page",
    "Shape",
    "Values",
    "add",
    "answers",
    "any_of",
    "by_parts",
    "change",
    "contains_any",
    "count",
    "first",
    "has_all_words",
    "has_any_word",
    "has_item",
    "has_word",
    "most_rows",
    "remove",
    "row_by_id",
    "rows",
    "run",
    "statements",
    "window",
    "with_values",
]

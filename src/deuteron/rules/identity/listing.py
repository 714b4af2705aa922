"""Lists of the identity service: one way of filters, order and pages for all its kinds, each list one statement.

Filters: each attribute by its value, text also with `__contains`, `__startswith`, `__endswith`, each also
without regard to case (`__icontains`). Unknown names are passed over, as Keystone does. Ordered by `sort_key` and
`sort_dir`, else by name, id.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Table, false

from deuteron.model.codecs import Invalid, quoted, whole_number
from deuteron.model.errors import BadRequest
from deuteron.model.resource import Resource
from deuteron.store import query
from deuteron.store.database import Tx
from deuteron.store.expressions import contains, ends_with, folded, starts_with
from deuteron.store.query import Order, Page, Values
from deuteron.store.schema import TableOf

MAX_LIMIT = 1000
MAX_FILTERS = 100
"""Of one query. All have to hold, so a list of many ids would find nothing."""


@dataclass(frozen=True)
class Asked:
    """A query as it came."""

    pairs: tuple[tuple[str, str], ...] = ()
    sort_key: str | None = None
    sort_dir: str = "asc"
    marker: str | None = None
    limit: str | None = None


def listed(
    tx: Tx, resource: Resource, table: TableOf[Values], asked: Asked, where: Sequence[ColumnElement[bool]] = ()
) -> tuple[list[Values], bool]:
    """The rows that the query asks for, and whether `limit` cut them. Nested values are raw JSON, as `answers` has it.

    Raises: BadRequest for too many filters, an order that there is not, a marker that is not in the list, or a limit
    that is no number.
    """
    conditions = [*where, *_conditions(resource, table, asked)]
    order = _order(resource, table, asked)
    marker = None
    if asked.marker:
        marker = query.first(tx, table, table.c.id == asked.marker, *conditions)
        if marker is None:
            raise BadRequest(f"Marker {asked.marker} could not be found.", type="ValidationError")
    limit = None if asked.limit is None else _limit(asked.limit)
    if limit == 0:
        return [], False
    names = [attribute.name for attribute in resource.attributes if attribute.stored and attribute.read]
    if "extra" in table.c:
        names.append("extra")
    rows = query.answers(tx, table, names, conditions, order, Page(None if limit is None else limit + 1, marker))
    return rows[:limit], limit is not None and len(rows) > limit


def means_true(text: str) -> bool:
    """Keystone takes an empty value, and all that is not a plain false, for true. Source: oslo.utils strutils."""
    return text.strip().lower() not in ("false", "f", "0", "no", "n", "off")


def _conditions(resource: Resource, table: Table, asked: Asked) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    for key, text in dict.fromkeys(asked.pairs):
        name, _, operator = key.partition("__")
        attribute = resource.attribute(name)
        if attribute is None or not attribute.stored or not attribute.filter:
            continue
        column = table.c[name]
        if operator:
            if attribute.codec.column == "text":
                conditions.append(_inexact(column, operator, text))
        elif name == "enabled":
            conditions.append(column.is_(means_true(text)))
        else:
            try:
                conditions.append(column == attribute.codec.decode_filter(text))
            except Invalid:
                conditions.append(false())
        if len(conditions) > MAX_FILTERS:
            raise BadRequest(
                f"The query has too many filters, at most {MAX_FILTERS} are accepted.", type="ValidationError"
            )
    return conditions


def _inexact(column: ColumnElement[Any], operator: str, text: str) -> ColumnElement[bool]:
    word = operator.removeprefix("i")
    target, wanted = (column, text) if word == operator else (folded(column), text.lower())
    if word == "contains":
        return contains(target, wanted)
    if word == "startswith":
        return starts_with(target, wanted)
    if word == "endswith":
        return ends_with(target, wanted)
    return column.is_not(None) | column.is_(None)


def _order(resource: Resource, table: Table, asked: Asked) -> list[Order]:
    if asked.sort_dir not in ("asc", "desc"):
        raise BadRequest(
            f"Invalid input for field 'sort_dir': {quoted(asked.sort_dir)!r} is not one of ['asc', 'desc']",
            type="ValidationError",
        )
    names = [name for name in ("name", "id") if name in table.c]
    if asked.sort_key is not None:
        attribute = resource.attribute(asked.sort_key)
        if attribute is None or not attribute.stored or not attribute.sort:
            raise BadRequest(
                f"Invalid input for field 'sort_key': {resource.collection} are not sorted by "
                f"{quoted(asked.sort_key)!r}",
                type="ValidationError",
            )
        names.insert(0, asked.sort_key)
    first, *others = dict.fromkeys(names)
    return [Order(first, asked.sort_dir == "desc"), *(Order(name) for name in others)]


def _limit(text: str) -> int:
    number = whole_number(text)
    if number is None:
        raise BadRequest(
            f"Invalid input for field 'limit': {quoted(text)} is not a whole number", type="ValidationError"
        )
    return min(number, MAX_LIMIT)

"""Lists in SQL page by page: limit and marker, the link to the next page, and the links of an object."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, TypeVar
from urllib.parse import urlencode

from sqlalchemy import ColumnElement, FromClause, select

from deuteron.api.call import Call
from deuteron.model.codecs import whole_number
from deuteron.model.errors import BadRequest
from deuteron.rules.compute.faults import invalid
from deuteron.rules.compute.lifecycle import ServerRow
from deuteron.store import query
from deuteron.store.database import Tx
from deuteron.store.query import Order, Page

T = TypeVar("T")

MAX_LIMIT: Final = 1000
"""Source: nova.conf api.max_limit."""


@dataclass(frozen=True)
class Keep:
    """What only Python can tell of rows that fulfil the conditions: which stay, by the columns that it looks at."""

    names: tuple[str, ...]
    choose: Callable[[Sequence[ServerRow]], Sequence[ServerRow]]


@dataclass(frozen=True)
class Listing:
    """A list in SQL: rows of a table or a subquery, which ones, in which order, and the column that marks a place."""

    source: FromClause
    conditions: Sequence[ColumnElement[bool]]
    order: Sequence[Order]
    marker: str = "id"
    keep: Keep | None = None


def links(call: Call, path: str) -> list[dict[str, str]]:
    return [
        {"rel": "self", "href": f"{call.base_url}/compute/v2.1/{path}"},
        {"rel": "bookmark", "href": f"{call.base_url}/compute/{path}"},
    ]


def bookmark(call: Call, path: str) -> list[dict[str, str]]:
    return [{"rel": "bookmark", "href": f"{call.base_url}/compute/{path}"}]


def limit_of(call: Call) -> int | None:
    """The limit that the query gives, at most MAX_LIMIT; None without one. Raises: BadRequest."""
    text = call.get("limit")
    if text is None:
        return None
    number = whole_number(text)
    if number is None:
        raise invalid("limit", text, f"'{text}' does not match '^[0-9]*$'")
    return min(number, MAX_LIMIT)


def page(
    call: Call, tx: Tx, listing: Listing, name: str, path: str, *, is_paged: bool = True
) -> tuple[Sequence[ServerRow], dict[str, Any]]:
    """The rows that the query asks for, and `<name>_links` when there is more; all of them when not `is_paged`.

    Raises: BadRequest for a marker that is none of them.
    """
    if not is_paged:
        return _rows(tx, listing, None, None), {}
    size = size_of(call)
    after: Mapping[str, Any] | None = None
    marker = call.get("marker")
    if marker:
        same = listing.source.c[listing.marker] == marker
        found = tx.first(select(listing.source).where(*listing.conditions, same).limit(1))
        if found is None:
            raise no_marker(marker)
        after = dict(found._mapping)
    rows = _rows(tx, listing, after, size + 1) if size else []
    return cut(call, rows, name, path, lambda row: str(row._mapping[listing.marker]))


def size_of(call: Call) -> int:
    """How many rows a page has at most. Raises: BadRequest."""
    limit = limit_of(call)
    return MAX_LIMIT if limit is None else limit


def no_marker(marker: str) -> BadRequest:
    return BadRequest(f"marker [{marker}] not found", type="MarkerNotFound")


def cut(
    call: Call, rows: Sequence[T], name: str, path: str, marker_of: Callable[[T], str]
) -> tuple[Sequence[T], dict[str, Any]]:
    """A page of `rows`, of which there is one more than a page has if there is more, and its link to the next.

    As in Nova a page that is as long as its limit has a link, whether or not there is more.
    """
    size = size_of(call)
    more = len(rows) > size or (call.get("limit") is not None and len(rows) == size)
    if not more or size == 0:
        return rows[:size], {}
    kept = [pair for pair in call.query if pair[0] != "marker"]
    href = f"{call.base_url}/compute/v2.1/{path}?{urlencode([*kept, ('marker', marker_of(rows[size - 1]))])}"
    return rows[:size], {f"{name}_links": [{"rel": "next", "href": href}]}


_LEAST_READ: Final = 200
_MOST_READ: Final = 2000
"""Rows that are read at once where only some of them are kept: more, the longer none is."""


def _rows(tx: Tx, listing: Listing, after: Mapping[str, Any] | None, most: int | None) -> list[ServerRow]:
    """Up to `most` rows after a place."""
    source, order = listing.source, listing.order
    if listing.keep is None:
        return query.window(tx, source, listing.conditions, order, Page(most, after))
    # What decides is read of all, the rest of those that stay; and no more than a page needs.
    names = tuple(dict.fromkeys(("id", *listing.keep.names, *(item.name for item in order))))
    kept: list[str] = []
    step = None if most is None else max(most, _LEAST_READ)
    while True:
        found = query.window(tx, source, listing.conditions, order, Page(step, after), names)
        kept += [row.id for row in listing.keep.choose(found)]
        if step is None or len(found) < step or (most is not None and len(kept) >= most):
            return query.window(tx, source, [query.any_of(source.c["id"], kept[:most])], order)
        after, step = dict(found[-1]._mapping), max(step, min(2 * step, _MOST_READ))


def moments(call: Call, *, until: bool = True) -> tuple[datetime | None, datetime | None]:
    """What `changes-since` and (if `until`) `changes-before` say. Raises: BadRequest."""
    since = moment_of(call, "changes-since")
    before = moment_of(call, "changes-before") if until else None
    if since is not None and before is not None and before < since:
        raise BadRequest(
            "The value of changes-since must be less than or equal to changes-before.", type="HTTPBadRequest"
        )
    return since, before


def moment_of(call: Call, name: str) -> datetime | None:
    """The moment that a query parameter gives, UTC where it names no zone. Raises: BadRequest."""
    text = call.get(name)
    if text is None:
        return None
    try:
        # A plus that was not encoded arrives as a blank.
        moment = datetime.fromisoformat(text.replace(" ", "+"))
        return moment.astimezone(UTC) if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise invalid(name, text, f"'{text}' is not a 'date-time'") from None

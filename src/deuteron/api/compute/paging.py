"""Pages of a list: limit and marker, the link to the next page, and the links of an object."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final, Protocol, TypeVar
from urllib.parse import urlencode

from deuteron.api.call import Call
from deuteron.model.codecs import whole_number
from deuteron.model.errors import BadRequest
from deuteron.rules.compute.faults import invalid

MAX_LIMIT: Final = 1000
"""Source: nova.conf api.max_limit."""


class HasId(Protocol):
    @property
    def id(self) -> str: ...


T = TypeVar("T", bound=Any)


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


def page(call: Call, rows: Sequence[T], name: str, path: str) -> tuple[Sequence[T], dict[str, Any]]:
    """The part of ordered `rows` that the query asks for, and `<name>_links` when there is more.

    Raises: BadRequest for a marker that is none of them.
    """
    limit = limit_of(call)
    marker = call.get("marker")
    if marker:
        for place, row in enumerate(rows):
            if row.id == marker:
                rows = rows[place + 1 :]
                break
        else:
            raise BadRequest(f"marker [{marker}] not found", type="MarkerNotFound")
    size = MAX_LIMIT if limit is None else limit
    if size == 0:
        return [], {}
    if len(rows) <= size and (limit is None or len(rows) < size):
        return rows, {}
    if not rows:
        return rows, {}
    rows = rows[:size]
    query = [pair for pair in call.query if pair[0] not in ("marker",)]
    href = f"{call.base_url}/compute/v2.1/{path}?{urlencode([*query, ('marker', rows[-1].id)])}"
    return rows, {f"{name}_links": [{"rel": "next", "href": href}]}


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

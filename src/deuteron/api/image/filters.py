"""What a list of images asks for: filters, order, and where to go on.

Source: Glance api-ref, "List images": operators `in:`, `gt:`, `gte:`, `lt:`, `lte:`, `eq:`, `neq:`; `size_min`,
`size_max`; any property by its name; several `sort_key`/`sort_dir`, or `sort=name:asc,size:desc`.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Row

from deuteron.api.call import Call
from deuteron.model.codecs import Boolean, Invalid, is_uuid, whole_number
from deuteron.model.errors import BadRequest
from deuteron.model.image import IMAGE, MEMBER_STATUSES, STATUSES, VISIBILITIES

MAX_FILTERS = 100
"""Of one query: each image is looked at with each."""
_OPERATORS = ("in", "gt", "gte", "lt", "lte", "eq", "neq")
_SORTABLE = tuple(attribute.name for attribute in IMAGE.attributes if attribute.sort)
_TIMES = ("created_at", "updated_at")
_NUMBERS = ("min_disk", "min_ram", "size")


@dataclass(frozen=True)
class Condition:
    """One condition on one attribute or property."""

    name: str
    operator: str
    operand: Any

    def holds(self, image: Mapping[str, Any]) -> bool:
        value = image.get(self.name)
        if self.name == "tags":
            return self.operand in value if value is not None else False
        if self.operator == "in":
            return value is not None and str(value) in self.operand
        if self.operator == "eq":
            return bool(value == self.operand)
        if self.operator == "neq":
            return bool(value != self.operand)
        if value is None:
            return False
        if self.operator == "gt":
            return bool(value > self.operand)
        if self.operator == "gte":
            return bool(value >= self.operand)
        if self.operator == "lt":
            return bool(value < self.operand)
        return bool(value <= self.operand)


@dataclass(frozen=True)
class Wanted:
    """A query, read."""

    tests: tuple[Condition, ...]
    order: tuple[tuple[str, bool], ...]
    """Attribute and whether it descends."""
    limit: int | None
    marker: str | None
    visibility: str | None
    member_status: str
    asks_member_status: bool

    def matches(self, image: Mapping[str, Any]) -> bool:
        return all(test.holds(image) for test in self.tests)

    def sorted(self, rows: Sequence[Row[Any]]) -> list[Row[Any]]:
        result = list(rows)
        for name, is_descending in reversed(self.order):
            # Nulls sort as the least value, as in Glance's databases.
            result.sort(key=lambda row, key=name: _key(row._mapping[key]), reverse=is_descending)  # type: ignore[misc]  # mypy loses the lambda's default
        return result


def read_query(call: Call) -> Wanted:
    """The query of `GET /v2/images`. Raises: BadRequest."""
    tests: list[Condition] = []
    keys: list[str] = []
    directions: list[str] = []
    order: list[tuple[str, bool]] = []
    limit: int | None = None
    marker = visibility = None
    member_status = "accepted"
    asks_member_status = False
    hidden: bool | None = False
    for name, text in call.query:
        if name == "limit":
            limit = _limit(text)
        elif name == "marker":
            if not is_uuid(text):
                raise BadRequest("Invalid marker format")
            marker = text
        elif name == "sort_key":
            keys.append(_sortable(text))
        elif name == "sort_dir":
            if text not in ("asc", "desc"):
                raise BadRequest(f"Invalid sort direction: {text}")
            directions.append(text)
        elif name == "sort":
            order = [_sort_part(part) for part in text.split(",")]
        elif name == "visibility":
            if text not in (*VISIBILITIES, "all"):
                raise BadRequest(f"Invalid visibility value: {text}")
            visibility = text
        elif name == "member_status":
            if text not in (*MEMBER_STATUSES, "all"):
                raise BadRequest(f"Invalid status: {text}")
            member_status, asks_member_status = text, True
        elif name == "os_hidden":
            hidden = _boolean(name, text)
        elif name == "tag":
            tests.append(Condition("tags", "eq", text))
        elif name in ("size_min", "size_max"):
            tests.append(Condition("size", "gte" if name == "size_min" else "lte", _number(name, text)))
        else:
            tests.append(_test(name, text))
        if len(tests) > MAX_FILTERS:
            raise BadRequest(f"The query has too many filters, at most {MAX_FILTERS} are accepted.")
    tests.append(Condition("os_hidden", "eq", hidden))
    if order and (keys or directions):
        raise BadRequest("Old and new sorting syntax cannot be combined")
    if not order:
        if len(directions) > 1 and len(directions) != len(keys):
            raise BadRequest("Number of sort dirs does not match the number of sort keys")
        directions = directions * len(keys) if len(directions) == 1 and keys else directions
        default = directions[0] if directions and not keys else "desc"
        order = [(key, (directions[n] if n < len(directions) else default) == "desc") for n, key in enumerate(keys)]
        for name in ("created_at", "id"):
            if name not in keys:
                order.append((name, default == "desc"))
    once: dict[str, bool] = {}
    for name, is_descending in order:
        once.setdefault(name, is_descending)  # a key that stands there again decides nothing
    return Wanted(tuple(tests), tuple(once.items()), limit, marker, visibility, member_status, asks_member_status)


def _test(name: str, text: str) -> Condition:
    operator, _, operand = text.partition(":")
    if operator not in _OPERATORS or name not in (
        *_TIMES,
        *_NUMBERS,
        "name",
        "id",
        "status",
        "container_format",
        "disk_format",
    ):
        operator, operand = "eq", text
    if operator == "in":
        # Values may be quoted, so that they can hold commas.
        try:
            return Condition(name, "in", frozenset(next(csv.reader([operand], strict=True))))
        except (csv.Error, StopIteration):
            raise BadRequest(f"Invalid filter value {operand!r}. The quote is not closed.") from None
    if name in _TIMES:
        return Condition(name, operator, _time(name, operand))
    if name in _NUMBERS:
        return Condition(name, operator, _number(name, operand))
    if name == "protected":
        return Condition(name, "eq", _boolean(name, operand))
    if name == "status" and operand not in STATUSES:
        raise BadRequest(f"Invalid status value: {operand}")
    return Condition(name, operator, operand)


def _limit(text: str) -> int:
    number = whole_number(text)
    if number is None:
        raise BadRequest(
            "limit param must be an integer" if not text.startswith("-") else "limit param must be positive"
        )
    return number


def _number(name: str, text: str) -> int:
    number = whole_number(text)
    if number is None:
        raise BadRequest(f"Invalid filter value {text!r} for {name}: a whole number is expected")
    return number


def _boolean(name: str, text: str) -> bool:
    try:
        return bool(Boolean().decode_filter(text))
    except Invalid:
        raise BadRequest(f"Invalid value '{text}' for '{name}' filter. Valid values are true or false.") from None


def _time(name: str, text: str) -> str:
    try:
        moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        raise BadRequest(f"Invalid time format for {name}: {text!r}") from None
    utc = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    return utc.strftime("%Y-%m-%dT%H:%M:%SZ")


def _sort_part(part: str) -> tuple[str, bool]:
    name, _, direction = part.strip().partition(":")
    if direction not in ("", "asc", "desc"):
        raise BadRequest(f"Invalid sort direction: {direction}")
    return _sortable(name), direction != "asc"


def _sortable(name: str) -> str:
    if name not in _SORTABLE:
        raise BadRequest(f"Invalid sort key: {name}. It must be one of the following: {', '.join(_SORTABLE)}.")
    return name


def _key(value: Any) -> tuple[bool, Any]:
    return (value is not None, value if value is not None else 0)

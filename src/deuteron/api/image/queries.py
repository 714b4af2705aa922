"""What a list of images asks for: filters, order, and where to go on.

Source: Glance api-ref, "List images": operators `in:`, `gt:`, `gte:`, `lt:`, `lte:`, `eq:`, `neq:`; `size_min`,
`size_max`; any property by its name; several `sort_key`/`sort_dir`, or `sort=name:asc,size:desc`.
"""

from __future__ import annotations

import csv
from datetime import UTC, datetime

from deuteron.api.call import Call
from deuteron.model.codecs import Boolean, Invalid, is_uuid, whole_number
from deuteron.model.errors import BadRequest
from deuteron.model.image import IMAGE, MEMBER_STATUSES, STATUSES, VISIBILITIES
from deuteron.rules.image.listing import NUMBERS, TIMES, Condition, Wanted
from deuteron.store.query import Order

DEFAULT_LIMIT = 25
MAX_LIMIT = 1000
MAX_FILTERS = 100
"""Of one query: each image is looked at with each."""
_OPERATORS = ("in", "gt", "gte", "lt", "lte", "eq", "neq")
_SORTABLE = tuple(attribute.name for attribute in IMAGE.attributes if attribute.sort)


def read_query(call: Call) -> Wanted:
    """The query of `GET /v2/images`. Raises: BadRequest."""
    tests: list[Condition] = []
    keys: list[str] = []
    directions: list[str] = []
    order: list[Order] = []
    limit = DEFAULT_LIMIT
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
        order = [
            Order(key, (directions[n] if n < len(directions) else default) == "desc") for n, key in enumerate(keys)
        ]
        order += [Order(name, default == "desc") for name in ("created_at", "id")]
    once: dict[str, Order] = {}
    for each in order:
        once.setdefault(each.name, each)  # a key that stands there again decides nothing
    return Wanted(
        tests=tuple(tests),
        order=tuple(once.values()),
        limit=min(limit, MAX_LIMIT),
        marker=marker,
        visibility=visibility,
        member_status=member_status,
        asks_member_status=asks_member_status,
    )


def _test(name: str, text: str) -> Condition:
    operator, _, operand = text.partition(":")
    if operator not in _OPERATORS or name not in (
        *TIMES,
        *NUMBERS,
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
            return Condition(name, "in", next(csv.reader([operand], strict=True)))
        except (csv.Error, StopIteration):
            raise BadRequest(f"Invalid filter value {operand!r}. The quote is not closed.") from None
    if name in TIMES:
        return Condition(name, operator, _time(name, operand))
    if name in NUMBERS:
        return Condition(name, operator, _number(name, operand))
    if name == "virtual_size":
        number = whole_number(operand)
        return Condition(name, "eq", -1 if number is None else number)  # no image has less than nothing
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
    return utc.strftime("%Y-%m-%dT%H:%M:%S")


def _sort_part(part: str) -> Order:
    name, _, direction = part.strip().partition(":")
    if direction not in ("", "asc", "desc"):
        raise BadRequest(f"Invalid sort direction: {direction}")
    return Order(_sortable(name), direction != "asc")


def _sortable(name: str) -> str:
    if name not in _SORTABLE:
        raise BadRequest(f"Invalid sort key: {name}. It must be one of the following: {', '.join(_SORTABLE)}.")
    return name

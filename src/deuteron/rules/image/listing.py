"""Lists of images: what a query asks for, as conditions of one statement, and how Glance writes and refuses it.

Times are compared by whole seconds, as answers show them; rows hold microseconds.

Source: Glance api-ref, "List images": operators `in:`, `gt:`, `gte:`, `lt:`, `lte:`, `eq:`, `neq:`; `size_min`,
`size_max`; any property by its name; several `sort_key`/`sort_dir`.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, and_, func, literal, or_, select

from deuteron.model.caller import Caller
from deuteron.model.codecs import Boolean, Invalid, whole_number
from deuteron.model.errors import BadRequest
from deuteron.model.image import IMAGE, STATUSES
from deuteron.model.image_rows import ImageRow
from deuteron.model.resource import Attribute
from deuteron.rules.image.images import find_visible
from deuteron.store import filters, listing, query
from deuteron.store.database import Tx
from deuteron.store.expressions import folded
from deuteron.store.filters import Test
from deuteron.store.image_tables import images, members
from deuteron.store.listing import Asked, Listing, Part
from deuteron.store.query import Order, Values

DEFAULT_LIMIT: Final = 25
MAX_LIMIT: Final = 1000
MAX_FILTERS: Final = 100
"""Of one query: each image is looked at with each."""
_TIMES: Final = ("created_at", "updated_at")
_NUMBERS: Final = ("min_disk", "min_ram", "size")
_OPERATORS: Final = ("in", "gt", "gte", "lt", "lte", "eq", "neq")
_WITH_OPERATORS: Final = (*_TIMES, *_NUMBERS, "name", "id", "status", "container_format", "disk_format")
_NEWEST_FIRST: Final = (Order("created_at", descending=True), Order("id", descending=True))
_COLUMNS: Final = (*(attribute.name for attribute in IMAGE.attributes), "properties", "folders")
_SECONDS: Final = len("2026-01-31T12:00:00")


@dataclass(frozen=True)
class Wanted:
    """What a query asks for."""

    asked: Asked
    visibility: str | None
    member_status: str
    asks_member_status: bool
    hidden: bool


def images_page(tx: Tx, caller: Caller, wanted: Wanted) -> Part[Values]:
    """The images that the caller sees and the query asks for.

    Raises: NotFound for a marker that the caller does not see; BadRequest for one that is not in the list, and for what
    cannot be asked.
    """
    asked = wanted.asked
    conditions = [
        *_seen(caller, wanted),
        *filters.conditions(images, IMAGE.by_name, asked.filters, FILTERS, special=_SPECIAL, otherwise=_of_properties),
        images.c.os_hidden == wanted.hidden,
    ]
    column = listing.sorted_by(IMAGE)
    order = listing.order_of(asked, WORDS, IMAGE.collection, column, default=_NEWEST_FIRST, last=_NEWEST_FIRST)
    marked = listing.marked(tx, Listing(images, conditions, order))

    def find(marker: str) -> Mapping[str, Any] | None:
        row = marked(marker)
        if row is None:
            find_visible(tx, caller, marker)
        return row

    return listing.part(asked, WORDS, find, lambda page: query.answers(tx, images, _COLUMNS, conditions, order, page))


def images_of_project(tx: Tx, caller: Caller, words: Mapping[str, str]) -> list[ImageRow]:
    """What the Compute API lists: the project's own and public images, all for an administrator; newest first.

    `words` are texts of columns, in small or capital letters.
    """
    conditions = [images.c.status != "deleted"]
    conditions += [folded(images.c[name]) == folded(literal(word)) for name, word in words.items()]
    if not caller.is_admin:
        conditions.append(or_(images.c.visibility == "public", images.c.owner == caller.project_id))
    return query.rows(tx, images, *conditions, order_by=(images.c.created_at.desc(), images.c.id))


def _seen(caller: Caller, wanted: Wanted) -> list[ColumnElement[bool]]:
    """The rows among which the query chooses: all for an administrator, else own, public, community and shared ones."""
    conditions: list[ColumnElement[bool]] = []
    shared = select(members.c.image_id).where(members.c.member_id == caller.project_id)
    if wanted.member_status != "all":
        shared = shared.where(members.c.status == wanted.member_status)
    if wanted.visibility is None:
        # Community images are listed only when asked for.
        public = images.c.visibility == "public"
    else:
        public = images.c.visibility.in_(("public", "community"))
        if wanted.visibility != "all":
            conditions.append(images.c.visibility == wanted.visibility)
    own = images.c.owner == caller.project_id
    if not caller.is_admin:
        conditions.append(or_(own, public, and_(images.c.visibility == "shared", images.c.id.in_(shared))))
    elif wanted.visibility is None:
        conditions.append(or_(own, images.c.visibility != "community"))
    if wanted.visibility == "shared" and wanted.asks_member_status:
        conditions.append(images.c.id.in_(shared))
    return conditions


# --- filters and their words ------------------------------------------------------------------------------------------


def _read(name: str, text: str) -> Test:
    if name in ("size_min", "size_max"):
        _number(name, text)
        return Test("size", "gte" if name == "size_min" else "lte", (text,))
    operator, _, operand = text.partition(":")
    if operator not in _OPERATORS or name not in _WITH_OPERATORS:
        return filters.plain(name, text)
    return Test(name, operator, (operand,))


def _values(attribute: Attribute, test: Test) -> Sequence[Any]:
    name, (text,) = attribute.name, test.texts
    if test.operator == "in":
        # Values may be quoted, so that they can hold commas.
        try:
            texts = next(csv.reader([text], strict=True))
        except (csv.Error, StopIteration):
            raise BadRequest(f"Invalid filter value {text!r}. The quote is not closed.") from None
        return [each[:-1] for each in texts if each.endswith("Z")] if name in _TIMES else texts
    if name in _TIMES:
        return [_time(name, text)]
    if name in _NUMBERS:
        return [_number(name, text)]
    if name == "virtual_size":
        number = whole_number(text)
        return [-1 if number is None else number]  # no image has less than nothing
    if name == "protected":
        return [boolean(name, text)]
    if name == "status" and text not in STATUSES:
        raise BadRequest(f"Invalid status value: {text}")
    return [text]


def _column(attribute: Attribute, column: ColumnElement[Any]) -> ColumnElement[Any]:
    return func.substr(column, 1, _SECONDS) if attribute.name in _TIMES else column


def _of_properties(test: Test) -> ColumnElement[bool]:
    return query.has_item(images.c.properties, test.name, test.texts[0])


def _tagged(texts: Sequence[str]) -> ColumnElement[bool]:
    return filters.tagged(images.c.tags, "tags", texts)


def boolean(name: str, text: str) -> bool:
    """Raises: BadRequest."""
    try:
        return bool(Boolean().decode_filter(text))
    except Invalid:
        raise BadRequest(f"Invalid value '{text}' for '{name}' filter. Valid values are true or false.") from None


def _number(name: str, text: str) -> int:
    number = whole_number(text)
    if number is None:
        raise BadRequest(f"Invalid filter value {text!r} for {name}: a whole number is expected")
    return number


def _time(name: str, text: str) -> str:
    try:
        moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        raise BadRequest(f"Invalid time format for {name}: {text!r}") from None
    utc = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    return utc.strftime("%Y-%m-%dT%H:%M:%S")


_SPECIAL: Final = {"tag": _tagged, "tags": _tagged}
_SORTABLE: Final = ", ".join(attribute.name for attribute in IMAGE.attributes if attribute.sort)

WORDS: Final = listing.Words(
    bad_limit=lambda text: BadRequest(f"limit param must be {'positive' if text.startswith('-') else 'an integer'}"),
    no_marker=lambda marker: BadRequest(f"Invalid marker. Image {marker} is not in the list"),
    bad_keys=lambda _, keys: BadRequest(f"Invalid sort key: {keys[0]}. It must be one of the following: {_SORTABLE}."),
    bad_directions=lambda given: BadRequest(f"Invalid sort direction: {listing.odd(given)[0]}"),
    uneven=lambda: BadRequest("Number of sort dirs does not match the number of sort keys"),
    default_limit=DEFAULT_LIMIT,
    max_limit=MAX_LIMIT,
    direction="desc",
    spreads=True,
    turns_default=True,
    last_counts=True,
    controls=frozenset({"sort", "visibility", "member_status", "os_hidden"}),
)
FILTERS: Final = filters.Words(
    read=_read,
    values=_values,
    column=_column,
    too_many=lambda most: BadRequest(f"The query has too many filters, at most {most} are accepted."),
    most=MAX_FILTERS,
)

"""Lists of images: what a query asks for, as conditions of one statement.

Times are compared by whole seconds, as answers show them; rows hold microseconds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, Text, and_, cast, false, func, literal, or_, select

from deuteron.model.caller import Caller
from deuteron.model.errors import BadRequest
from deuteron.model.image import IMAGE
from deuteron.rules.image.images import find_visible
from deuteron.store import query
from deuteron.store.database import Tx
from deuteron.store.expressions import folded
from deuteron.store.image_tables import images, members
from deuteron.store.query import Order, Page, Values

TIMES: Final = ("created_at", "updated_at")
NUMBERS: Final = ("min_disk", "min_ram", "size")
_NEWEST_FIRST: Final = (Order("created_at", descending=True), Order("id", descending=True))
_COLUMNS: Final = (*(attribute.name for attribute in IMAGE.attributes), "properties")
_SECONDS: Final = len("2026-01-31T12:00:00")


@dataclass(frozen=True)
class Condition:
    """One condition on one attribute or property. `operand` is of the attribute's type; of `in`, texts."""

    name: str
    operator: str
    """eq, neq, in, gt, gte, lt, lte."""
    operand: Any


@dataclass(frozen=True)
class Wanted:
    """What a query asks for."""

    tests: tuple[Condition, ...]
    order: tuple[Order, ...]
    limit: int
    marker: str | None
    visibility: str | None
    member_status: str
    asks_member_status: bool


def images_page(tx: Tx, caller: Caller, wanted: Wanted) -> tuple[list[Values], bool]:
    """The images that the caller sees and the query asks for, and whether there are more than `limit`.

    Raises: NotFound for a marker that the caller does not see; BadRequest for one that is not in the list.
    """
    conditions = [*_seen(caller, wanted), *(_condition(test) for test in wanted.tests)]
    named = {order.name for order in wanted.order}
    order = [*wanted.order, *(last for last in _NEWEST_FIRST if last.name not in named)]
    marker = None
    if wanted.marker is not None:
        marker = query.first(tx, images, images.c.id == wanted.marker, *conditions)
        if marker is None:
            find_visible(tx, caller, wanted.marker)
            raise BadRequest(f"Invalid marker. Image {wanted.marker} is not in the list")
    if wanted.limit == 0:
        return [], False
    rows = query.answers(tx, images, _COLUMNS, conditions, order, Page(wanted.limit + 1, marker))
    return rows[: wanted.limit], len(rows) > wanted.limit


def images_of_project(tx: Tx, caller: Caller, words: Mapping[str, str]) -> list[Values]:
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


def _condition(test: Condition) -> ColumnElement[bool]:
    attribute = IMAGE.attribute(test.name)
    if attribute is None:
        return query.has_item(images.c.properties, test.name, test.operand)
    column: ColumnElement[Any] = images.c[test.name]
    if test.name == "tags":
        return query.has_any_word(column, [test.operand])
    operand = test.operand
    if test.name in TIMES:
        column = func.substr(column, 1, _SECONDS)
    if test.operator == "in":
        return _among(column if test.name in TIMES else cast(column, Text), test)
    return _COMPARE[test.operator](column, operand)


def _among(column: ColumnElement[Any], test: Condition) -> ColumnElement[bool]:
    texts: Sequence[str] = test.operand
    if test.name in TIMES:
        texts = [text[:-1] for text in texts if text.endswith("Z")]
    return query.any_of(column, texts) if texts else false()


_COMPARE: Final[dict[str, Callable[[ColumnElement[Any], Any], ColumnElement[bool]]]] = {
    "eq": lambda column, operand: column == operand,
    "neq": lambda column, operand: column.is_distinct_from(operand),
    "gt": lambda column, operand: column > operand,
    "gte": lambda column, operand: column >= operand,
    "lt": lambda column, operand: column < operand,
    "lte": lambda column, operand: column <= operand,
}

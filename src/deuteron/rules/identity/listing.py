"""Lists of the identity service: how Keystone writes what a list is asked for, and refuses it.

Filters: each attribute by its value, text also with `__contains`, `__startswith`, `__endswith`, each also
without regard to case (`__icontains`). Unknown names are passed over, as Keystone does. Ordered by `sort_key` and
`sort_dir`, else by name, id.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import ColumnElement, Table

from deuteron.model.codecs import quoted
from deuteron.model.errors import BadRequest
from deuteron.model.resource import Attribute, Resource
from deuteron.store import filters, listing, query
from deuteron.store.database import Tx
from deuteron.store.filters import Test
from deuteron.store.listing import Asked, Listing
from deuteron.store.query import Order, Values

MAX_LIMIT: Final = 1000
MAX_FILTERS: Final = 100
"""Of one query. All have to hold, so a list of many ids would find nothing."""


def means_true(text: str) -> bool:
    """Keystone takes an empty value, and all that is not a plain false, for true. Source: oslo.utils strutils."""
    return text.strip().lower() not in ("false", "f", "0", "no", "n", "off")


def _refused(message: str) -> BadRequest:
    return BadRequest(message, type="ValidationError")


def _bad(field: str, reason: str) -> BadRequest:
    return _refused(f"Invalid input for field '{field}': {reason}")


def _read(name: str, text: str) -> Test:
    name, _, operator = name.partition("__")
    return Test(name, operator or "eq", (text,))


def _values(attribute: Attribute, test: Test) -> Sequence[Any]:
    if test.operator == "eq" and attribute.name == "enabled":
        return [means_true(text) for text in test.texts]
    return filters.decoded(attribute, test) if test.operator == "eq" else test.texts


WORDS: Final = listing.Words(
    bad_limit=lambda text: _bad("limit", f"{quoted(text)} is not a whole number"),
    no_marker=lambda marker: _refused(f"Marker {marker} could not be found."),
    bad_keys=lambda collection, keys: _bad("sort_key", f"{collection} are not sorted by {quoted(keys[0])!r}"),
    bad_directions=lambda given: _bad("sort_dir", f"{quoted(given[0])!r} is not one of ['asc', 'desc']"),
    max_limit=MAX_LIMIT,
    turns_default=True,
    many_keys=False,
    marker_first=True,
)
FILTERS: Final = filters.Words(
    read=_read,
    values=_values,
    too_many=lambda most: _refused(f"The query has too many filters, at most {most} are accepted."),
    most=MAX_FILTERS,
)


def listed(
    tx: Tx, resource: Resource[Any], table: Table, asked: Asked, where: Sequence[ColumnElement[bool]] = ()
) -> tuple[list[Values], bool]:
    """The rows that the query asks for, and whether `limit` cut them. Nested values are raw JSON, as `answers` has it.

    Raises: BadRequest for too many filters, an order that there is not, a marker that is not in the list, or a limit
    that is no number.
    """
    conditions = [*where, *filters.conditions(table, resource.by_name, asked.filters, FILTERS)]
    last = [Order(name) for name in ("name", "id") if name in table.c]
    column = listing.sorted_by(resource)
    order = listing.order_of(asked, WORDS, resource.collection, column, default=last[:1], last=last)
    names = [attribute.name for attribute in resource.attributes if attribute.stored and attribute.read]
    if "extra" in table.c:
        names.append("extra")
    found = listing.part(
        asked,
        WORDS,
        listing.marked(tx, Listing(table, conditions, order)),
        lambda page: query.answers(tx, table, names, conditions, order, page),
    )
    return found.rows, found.more

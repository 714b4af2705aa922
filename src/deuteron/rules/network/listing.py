"""Lists of the network service: how Neutron writes what a list is asked for, and refuses it.

Each attribute is compared with any of its values; an empty text finds an empty one, and not none. Kinds have filters of
their own, and tags theirs. Unknown names are refused. A limit of 0 is none, and a full page has another behind it.
A marker that is not there begins anew, as in Neutron, which looks for it of a few kinds only.

Source: neutron/api/api_common.py `get_filters`, `get_sorts`, `get_limit_and_marker`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final

from sqlalchemy import ColumnElement, select

from deuteron.model.caller import Caller
from deuteron.model.codecs import Integer, Invalid
from deuteron.model.errors import NotFound
from deuteron.model.network.sharing import ObjectType
from deuteron.model.resource import Attribute
from deuteron.rules.network import faults, sight
from deuteron.rules.network.kinds import Kind
from deuteron.store import filters, listing, query
from deuteron.store.database import Tx
from deuteron.store.filters import TAGS, Test
from deuteron.store.listing import Asked, Part
from deuteron.store.query import Order, Values

MAX_TAG_WORDS: Final = 200

MayCompare = Callable[[Attribute], bool]
"""Whether the caller may learn of an attribute through filters and order."""


def _number(text: str) -> int | None:
    return int(text or "0") if re.fullmatch(r"(\+?[0-9]{1,9})?", text) else None


def _values(attribute: Attribute, test: Test) -> Sequence[Any]:
    found: list[Any] = []
    for text in test.texts:
        is_text = text == "" and attribute.codec.column == "text" and not isinstance(attribute.codec, ObjectType)
        # A number is compared as it is: one that no object may have finds none.
        is_number = isinstance(attribute.codec, Integer) and re.fullmatch(r"-?[0-9]{1,18}", text)
        if attribute.name == "revision_number" and not is_number:
            continue  # Neutron compares it as it is written
        found.append("" if is_text else int(text) if is_number else attribute.codec.decode_filter(text))
    return found


_MARKERS_ARE_FOUND: Final = frozenset({"network", "port", "router"})
"""Kinds of which a marker that is not there is refused. Source: neutron_lib/db/utils.py `get_marker_obj`."""


_NO_ORDER: Final = frozenset(
    {("subnetpool", "shared"), ("address_scope", "shared"), ("security_group_rule", "normalized_cidr")}
)
"""Of kinds, attributes by which their definitions say that one may sort, and their plugins find that they cannot."""


def by_another(
    attribute: Attribute, column: ColumnElement[object], of: ColumnElement[str], id: ColumnElement[str]
) -> Callable[[Caller, Sequence[str]], ColumnElement[bool]]:
    """A filter of a kind's by an attribute that stands in another table, whose column `of` holds the kind's `id`."""

    def condition(caller: Caller, texts: Sequence[str]) -> ColumnElement[bool]:
        try:
            values = _values(attribute, Test(attribute.name, "eq", tuple(texts)))
        except Invalid as error:
            raise faults.invalid_input(error.reason) from None
        return id.in_(select(of).where(column.in_(values)))

    return condition


_ALIASES: Final = {"tenant_id": "project_id"}

WORDS: Final = listing.Words(
    bad_limit=lambda text: faults.bad_request("limit", f"Limit must be an integer 0 or greater and not '{text}'"),
    no_marker=None,
    bad_keys=lambda _, keys: faults.http_bad_request(f"{keys} is invalid attribute for sort_keys"),
    bad_directions=lambda given: faults.http_bad_request(
        f"{listing.odd(given)} is invalid value for sort_dirs, valid value is 'asc' and 'desc'"
    ),
    uneven=lambda: faults.http_bad_request("The number of sort_keys and sort_dirs must be same"),
    number=_number,
    each_has_direction=True,
    empty_is_silence=True,
    last_counts=True,
    zero_is_silence=True,
    full_is_more=True,
    keys_first=True,
    controls=frozenset({"fields", "page_reverse"}),
)
FILTERS: Final = filters.Words(
    unknown=lambda names: faults.http_bad_request(f"{names} is invalid attribute for filtering"),
    bad_value=lambda error: faults.invalid_input(error.reason),
    values=_values,
    alternatives=True,
    aliases=_ALIASES,
)


def listed(
    tx: Tx,
    kind: Kind,
    caller: Caller,
    asked: Asked,
    names: Sequence[str],
    may_compare: MayCompare,
    within: Mapping[str, Any] | None = None,
) -> Part[Values]:
    """The columns `names` of the objects that the caller sees and the query asks for; of parts, those `within` a row.

    Raises: BadRequest for what cannot be asked; NotFound for a marker of some kinds that the caller does not see.
    """
    where = conditions(kind, caller, asked, may_compare)
    if kind.is_cut_by_plugin:
        listing.limit_of(asked, WORDS)  # Neutron looks at their pages first, at those of extensions' kinds last
    nesting = kind.resource.parent
    if within is not None and nesting is not None:
        where.append(kind.table.c[nesting.attribute] == within["id"])
    order = _order(kind, asked, may_compare)
    if listing.limit_of(asked, WORDS) is None:
        asked = replace(asked, marker=None)  # it is the beginning of a page
    find = partial(_place, tx, kind, caller, None if within is None else within["id"])
    return listing.part(asked, WORDS, find, lambda page: query.answers(tx, kind.table, names, where, order, page))


def refuse_what_cannot_be_asked(kind: Kind, caller: Caller, asked: Asked, may_compare: MayCompare) -> None:
    """Raises: BadRequest as `listed`."""
    conditions(kind, caller, asked, may_compare)
    if kind.is_cut_by_plugin:
        listing.limit_of(asked, WORDS)
    _order(kind, asked, may_compare)
    listing.limit_of(asked, WORDS)


def conditions(kind: Kind, caller: Caller, asked: Asked, may_compare: MayCompare) -> list[ColumnElement[bool]]:
    """Which objects the caller sees and the query asks for. Raises: BadRequest."""
    visible = kind.visible(caller)
    seen = [] if visible is None else [query.by_parts(kind.table, visible)]
    if not asked.filters:
        return seen
    attributes = kind.resource.by_name
    special = {
        name: partial(choose, caller)
        for name, choose in kind.filters.items()
        if name not in attributes or may_compare(attributes[name])
    }
    if (tags := kind.resource.attribute("tags")) is not None and tags.filter:
        special |= {name: partial(_tagged, kind, name) for name in TAGS}
    found = filters.conditions(kind.table, attributes, asked.filters, FILTERS, special=special, may_compare=may_compare)
    return [*seen, *found]


def _tagged(kind: Kind, name: str, texts: Sequence[str]) -> ColumnElement[bool]:
    words = [word for text in texts for word in text.split(",")]
    if len(words) > MAX_TAG_WORDS:
        raise faults.http_bad_request(
            f"Invalid input for {name}. Reason: {len(words)} tags, at most {MAX_TAG_WORDS} are accepted in one query"
        )
    return filters.tagged(kind.table.c["tags"], name, words)


def _order(kind: Kind, asked: Asked, may_compare: MayCompare) -> list[Order]:
    declared = listing.sorted_by(kind.resource)

    def column(key: str) -> str | None:
        if (kind.name, key) in _NO_ORDER:
            return "id"
        name = declared(_ALIASES.get(key, key))
        return name if name is not None and may_compare(kind.resource.by_name[name]) else None

    found = listing.order_of(asked, WORDS, kind.collection, column)
    for key in asked.keys:
        if (kind.name, key) in _NO_ORDER:
            raise faults.bad_request(kind.collection, f"'{key}' is an invalid attribute for sort key")
    return found


def _place(tx: Tx, kind: Kind, caller: Caller, parent_id: str | None, marker: str) -> Mapping[str, Any] | None:
    # A part of what another project has is not told from one that is not there.
    try:
        return sight.find_visible(tx, caller, kind, marker, parent_id)
    except NotFound:
        if kind.name in _MARKERS_ARE_FOUND:
            raise
        return None

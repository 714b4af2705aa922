"""What a list is asked for, and the part of it that answers: one engine for every service.

A query becomes `Asked`, `filters.conditions` and `order_of` make of it what the database is told, and `part` finds the
row that the marker names, asks for one page, and says whether there is more. How services name, bound and refuse all
that is their `Words`, as it is with the bodies of `model.resource`; nothing else of it differs between them.

The order of a list is total, so its pages put together are the whole list.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final, Generic, TypeVar

from sqlalchemy import ColumnElement, FromClause, Row, select

from deuteron.model.codecs import whole_number
from deuteron.model.resource import Resource
from deuteron.store import query
from deuteron.store.database import Tx
from deuteron.store.query import Order, Page, Values

T = TypeVar("T")

ALL: Final = Page()

CONTROLS: Final = frozenset({"limit", "marker", "sort_key", "sort_dir"})
"""What a query says of a list besides which rows it wants."""


@dataclass(frozen=True)
class Words:
    """How a service reads what a list is asked for, and how it refuses it."""

    bad_limit: Callable[[str], Exception]
    """A limit that is no whole number."""
    no_marker: Callable[[str], Exception] | None
    """A marker that is not in the list; None begins anew."""
    bad_keys: Callable[[str, Sequence[str]], Exception]
    """Of this collection: names by which it is not sorted."""
    bad_directions: Callable[[Sequence[str]], Exception] | None
    """Directions of which some are `odd`; None takes those for "asc"."""
    uneven: Callable[[], Exception] | None = None
    """Directions that are not as many as the keys; None takes `direction` for those that lack."""
    number: Callable[[str], int | None] = whole_number
    """The limit that a text writes."""
    default_limit: int | None = None
    max_limit: int | None = None
    zero_is_silence: bool = False
    """Whether a limit of 0 is as good as no limit; otherwise it asks for nothing."""
    full_is_more: bool = False
    """Whether a page as long as the limit that was given is taken for one with more behind it."""
    direction: str = "asc"
    """Of a key that is given none."""
    spreads: bool = False
    """Whether one direction is meant for all keys."""
    turns_default: bool = False
    """Whether a direction without a key turns the default order."""
    each_has_direction: bool = False
    """Whether keys without any direction are uneven, too."""
    empty_is_silence: bool = False
    """Whether an empty key or direction is none."""
    many_keys: bool = True
    """Whether there may be several keys; otherwise the first counts."""
    last_counts: bool = False
    """Which limit and which marker of several counts: the first, or the last."""
    controls: frozenset[str] = CONTROLS
    """Names that are no filters."""
    keys_first: bool = False
    """Whether keys are looked at before directions."""
    marker_first: bool = False
    """Whether the marker is looked for before the limit is read."""


@dataclass(frozen=True)
class Asked:
    """What a query asks of a list."""

    filters: tuple[tuple[str, str], ...] = ()
    """Names and values as they came."""
    keys: tuple[str, ...] = ()
    directions: tuple[str, ...] = ()
    limit: str | None = None
    """As it came: a query of which several things are wrong is refused for the first that its service looks at."""
    marker: str | None = None
    backwards: bool = False
    offset: int = 0
    """Rows to leave out first."""


@dataclass(frozen=True)
class Part(Generic[T]):
    """A page of a list, and whether the list goes on."""

    rows: list[T]
    more: bool


@dataclass(frozen=True)
class Keep:
    """What only Python can tell of rows that fulfil the conditions: which stay, by the columns that it looks at."""

    names: tuple[str, ...]
    choose: Callable[[Sequence[Row[*tuple[Any, ...]]]], Sequence[Row[*tuple[Any, ...]]]]


@dataclass(frozen=True)
class Listing:
    """A list in SQL: rows of a table or a subquery, which ones, in which order, and the column that marks a place."""

    source: FromClause
    conditions: Sequence[ColumnElement[bool]]
    order: Sequence[Order]
    marker: str = "id"
    keep: Keep | None = None


def read(pairs: Sequence[tuple[str, str]], words: Words, *, backwards: bool = False) -> Asked:
    """What the pairs of a query ask for."""
    given: dict[str, list[str]] = {name: [] for name in CONTROLS}
    filters: list[tuple[str, str]] = []
    for name, value in pairs:
        if name in CONTROLS:
            if value or not (words.empty_is_silence and name in ("sort_key", "sort_dir")):
                given[name].append(value)
        elif name not in words.controls:
            filters.append((name, value))
    several = None if words.many_keys else 1
    which = -1 if words.last_counts else 0
    return Asked(
        filters=tuple(filters),
        keys=tuple(given["sort_key"][:several]),
        directions=tuple(given["sort_dir"][:several]),
        limit=given["limit"][which] if given["limit"] else None,
        marker=given["marker"][which] or None if given["marker"] else None,
        backwards=backwards,
    )


def limit_of(asked: Asked, words: Words) -> int | None:
    """How many rows a page has at most; None is all of them. Raises: what `words` say of a limit."""
    if asked.limit is None:
        return words.default_limit
    limit = words.number(asked.limit)
    if limit is None:
        raise words.bad_limit(asked.limit)
    if limit == 0 and words.zero_is_silence:
        return words.default_limit
    return limit if words.max_limit is None else min(limit, words.max_limit)


def order_of(
    asked: Asked,
    words: Words,
    collection: str,
    column: Callable[[str], str | None],
    *,
    default: Sequence[Order] = (),
    last: Sequence[Order] = (),
    ignored: Container[str] = (),
) -> list[Order]:
    """The order that is asked for, without keys the default one, and then the `last`.

    `column` says by which column a key sorts, None for what is no key; `ignored` keys are taken and do nothing.

    Raises: what `words` say of keys and directions.
    """
    keys, directions = asked.keys, asked.directions
    if not keys and not directions:
        return _once([*default, *last])
    if words.spreads and len(directions) == 1:
        directions = directions * max(1, len(keys))
    turn = directions[0] if words.turns_default and not keys and len(directions) == 1 else None
    silent = not directions and not words.each_has_direction
    if words.uneven is not None and not silent and len(directions) != len(keys) and turn is None:
        raise words.uneven()
    refused = None if words.bad_directions is None or not odd(directions) else words.bad_directions(directions)
    if refused is not None and not words.keys_first:
        raise refused
    columns = [None if key in ignored else column(key) for key in keys]
    wrong = [key for key, name in zip(keys, columns, strict=True) if name is None and key not in ignored]
    if wrong:
        raise words.bad_keys(collection, wrong)
    if refused is not None:
        raise refused
    found = [
        Order(name, (directions[place] if place < len(directions) else words.direction) == "desc")
        for place, name in enumerate(columns)
        if name is not None
    ]
    if not found:
        found = [each if turn is None else replace(each, descending=turn == "desc") for each in default]
    return _once([*found, *last])


def _once(orders: Sequence[Order]) -> list[Order]:
    """A key that stands there again decides nothing."""
    found: dict[str, Order] = {}
    for each in orders:
        found.setdefault(each.name, each)
    return list(found.values())


def odd(directions: Sequence[str]) -> list[str]:
    """What of it is no direction."""
    return [direction for direction in directions if direction not in ("asc", "desc")]


def sorted_by(resource: Resource[Any]) -> Callable[[str], str | None]:
    """Of a key the column by which a list of the resource is sorted; None where it declares none."""

    def column(key: str) -> str | None:
        attribute = resource.attribute(key)
        return key if attribute is not None and attribute.sort and attribute.stored and attribute.read else None

    return column


def part(
    asked: Asked,
    words: Words,
    find: Callable[[str], Mapping[str, Any] | None],
    rows: Callable[[Page], list[T]],
) -> Part[T]:
    """The page that is asked for: of the row that the marker names by `find`, and of the `rows` behind it.

    Raises: what `words` say of a limit, and of a marker that is not found.
    """
    limit = None if words.marker_first else limit_of(asked, words)
    after = None
    if asked.marker is not None:
        after = find(asked.marker)
        if after is None and words.no_marker is not None:
            raise words.no_marker(asked.marker)
    if words.marker_first:
        limit = limit_of(asked, words)
    if limit is None:
        return Part(rows(Page(None, after, offset=asked.offset)), more=False)
    if limit == 0:
        return Part([], more=False)
    if words.full_is_more and asked.limit is not None:
        found = rows(Page(limit, after, asked.backwards, asked.offset))
        return Part(found, more=len(found) >= limit)
    found = rows(Page(limit + 1, after, asked.backwards, asked.offset))
    return Part(found[-limit:] if asked.backwards else found[:limit], more=len(found) > limit)


def of_items(
    items: Sequence[Values], asked: Asked, words: Words, order: Sequence[Order], marker: str = "id"
) -> Part[Values]:
    """The page of a list that no table holds, with no value after all others. Items that sort alike stay as they come.

    Raises: what `words` say of a limit and of a marker that is not in the list.
    """
    ordered = list(items)
    for each in reversed(order):
        ordered.sort(key=partial(_rank, each.name), reverse=each.descending)
    places = {item[marker]: place for place, item in enumerate(ordered)}

    def rows(page: Page) -> list[Values]:
        place = None if page.marker is None else places[page.marker[marker]]
        if page.backwards:
            before = ordered[:place]
            return before if page.limit is None else before[-page.limit :]
        after = ordered[0 if place is None else place + 1 :]
        return after[: page.limit]

    return part(asked, words, lambda text: ordered[places[text]] if text in places else None, rows)


def _rank(name: str, item: Values) -> tuple[bool, Any]:
    return item[name] is None, item[name]


def marked(tx: Tx, listing: Listing) -> Callable[[str], Mapping[str, Any] | None]:
    """Finds the row that a marker names, if it is in the list."""

    def find(marker: str) -> Mapping[str, Any] | None:
        source = listing.source
        same = source.c[listing.marker] == marker
        found = tx.first(select(source).where(*listing.conditions, same).limit(1))
        return None if found is None else dict(found._mapping)

    return find


def whole_rows(tx: Tx, listing: Listing, asked: Asked, words: Words) -> Part[Row[*tuple[Any, ...]]]:
    """The page of a list whose rows are wanted whole and decoded. Raises: what `words` say."""
    return part(asked, words, marked(tx, listing), lambda page: _rows(tx, listing, page))


_LEAST_READ: Final = 200
_MOST_READ: Final = 2000
"""Rows that are read at once where only some of them are kept: more, the longer none is."""


def _rows(tx: Tx, listing: Listing, page: Page) -> list[Row[*tuple[Any, ...]]]:
    source, order = listing.source, listing.order
    if listing.keep is None:
        return query.window(tx, source, listing.conditions, order, page)
    # What decides is read of all, the rest of those that stay; and no more than a page needs.
    names = tuple(dict.fromkeys(("id", *listing.keep.names, *(item.name for item in order))))
    kept: list[str] = []
    most, after = page.limit, page.marker
    step = None if most is None else max(most, _LEAST_READ)
    while True:
        found = query.window(tx, source, listing.conditions, order, Page(step, after), names)
        kept += [row.id for row in listing.keep.choose(found)]
        if step is None or len(found) < step or (most is not None and len(kept) >= most):
            return query.window(tx, source, [query.any_of(source.c["id"], kept[:most])], order)
        after, step = dict(found[-1]._mapping), max(step, min(2 * step, _MOST_READ))

"""The engine of every list: what a query asks for, in which order, which page; and what a service's words change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl

import pytest
from sqlalchemy import Column, Integer, MetaData, Table, Text
from sqlalchemy.dialects import sqlite

from deuteron.model import codecs
from deuteron.model.resource import Attribute, Resource
from deuteron.store import filters, listing
from deuteron.store.filters import Test as Asking
from deuteron.store.listing import Asked, Part, Words
from deuteron.store.query import Order, Page

WORDS = Words(
    bad_limit=lambda text: ValueError(f"limit {text}"),
    no_marker=lambda marker: ValueError(f"marker {marker}"),
    bad_keys=lambda collection, keys: ValueError(f"{collection} by {keys}"),
    bad_directions=lambda odd: ValueError(f"directions {odd}"),
)
DECK = Resource(
    "cards",
    "card",
    "deck",
    "",
    (
        Attribute("id", codecs.Text(), ""),
        Attribute("name", codecs.Text(), ""),
        Attribute("rank", codecs.Integer(), ""),
        Attribute("back", codecs.Text(), "", filter=False, sort=False),
    ),
)
TABLE = Table(
    "deck", MetaData(), Column("id", Text), Column("name", Text), Column("rank", Integer), Column("back", Text)
)
CARDS = [{"id": f"{n:02}"} for n in range(7)]


def asked(text: str, words: Words = WORDS, *, backwards: bool = False) -> Asked:
    return listing.read(parse_qsl(text, keep_blank_values=True), words, backwards=backwards)


def page(of: Asked, words: Words = WORDS) -> Part[dict[str, str]]:
    """A page of the cards, which are looked at as the database would."""

    def find(marker: str) -> Mapping[str, Any] | None:
        return next((card for card in CARDS if card["id"] == marker), None)

    def rows(wanted: Page) -> list[dict[str, str]]:
        after = None if wanted.marker is None else wanted.marker["id"]
        if wanted.backwards:
            before = [card for card in CARDS if after is None or card["id"] < after]
            return before if wanted.limit is None else before[-wanted.limit :]
        return [card for card in CARDS if after is None or card["id"] > after][: wanted.limit]

    return listing.part(of, words, find, rows)


def order(text: str, words: Words = WORDS, **more: Any) -> list[str]:
    found = listing.order_of(asked(text, words), words, "deck", listing.sorted_by(DECK), **more)
    return [f"{'-' if each.descending else ''}{each.name}" for each in found]


@pytest.mark.parametrize("size", range(1, 9))
@pytest.mark.parametrize("full_is_more", [False, True])
@pytest.mark.parametrize("backwards", [False, True])
def test_pages_put_together_are_the_whole_list_and_the_last_one_says_so(
    size: int, full_is_more: bool, backwards: bool
) -> None:
    words = replace(WORDS, full_is_more=full_is_more)
    seen: list[dict[str, str]] = []
    at = f"limit={size}"
    pages = 0
    while True:
        found = page(asked(at, words, backwards=backwards), words)
        pages += 1
        seen = found.rows + seen if backwards else seen + found.rows
        if not found.more:
            break
        at = f"limit={size}&marker={found.rows[0 if backwards else -1]['id']}"
    assert seen == CARDS
    assert pages == (len(CARDS) // size + 1 if full_is_more else -(-len(CARDS) // size))


@pytest.mark.parametrize(
    ("query", "words", "length"),
    [
        ("", WORDS, 7),
        ("", replace(WORDS, default_limit=3), 3),
        ("limit=5", replace(WORDS, default_limit=3), 5),
        ("limit=5", replace(WORDS, max_limit=4), 4),
        ("limit=0", WORDS, 0),
        ("limit=0", replace(WORDS, zero_is_silence=True), 7),
        ("limit=2&limit=3", WORDS, 2),
        ("limit=2&limit=3", replace(WORDS, last_counts=True), 3),
        ("limit=0", replace(WORDS, zero_is_silence=True, default_limit=3), 3),
        ("marker=", WORDS, 7),
        ("marker=04", WORDS, 2),
    ],
)
def test_a_page_is_as_long_as_the_words_read_the_limit(query: str, words: Words, length: int) -> None:
    assert len(page(asked(query, words), words).rows) == length


@pytest.mark.parametrize(
    ("query", "words", "said"),
    [
        ("limit=x", WORDS, "limit x"),
        ("limit=-1", WORDS, "limit -1"),
        ("marker=ace", WORDS, "marker ace"),
        ("limit=x&marker=ace", WORDS, "limit x"),
        ("limit=x&marker=ace", replace(WORDS, marker_first=True), "marker ace"),
        ("limit=0&marker=ace", WORDS, "marker ace"),
    ],
)
def test_a_page_that_there_is_not_is_refused_in_the_words_of_the_service(query: str, words: Words, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        page(asked(query, words), words)


BY_NAME = {"default": [Order("name")], "last": [Order("name"), Order("id")]}
TURNING = replace(WORDS, turns_default=True)


@pytest.mark.parametrize(
    ("query", "words", "found"),
    [
        ("", WORDS, ["name", "id"]),
        ("sort_dir=desc", WORDS, ["name", "id"]),
        ("sort_dir=desc", TURNING, ["-name", "id"]),
        ("sort_key=rank", WORDS, ["rank", "name", "id"]),
        ("sort_key=rank", replace(WORDS, direction="desc"), ["-rank", "name", "id"]),
        ("sort_key=id&sort_dir=desc&sort_key=id&sort_dir=asc", WORDS, ["-id", "name"]),
        ("sort_key=rank&sort_key=id&sort_dir=desc", WORDS, ["-rank", "id", "name"]),
        ("sort_key=rank&sort_key=id&sort_dir=desc", replace(WORDS, spreads=True), ["-rank", "-id", "name"]),
        ("sort_key=rank&sort_key=id", replace(WORDS, many_keys=False), ["rank", "name", "id"]),
        ("sort_key=rank&sort_dir=up", replace(WORDS, bad_directions=None), ["rank", "name", "id"]),
    ],
)
def test_an_order_is_made_of_keys_and_of_what_comes_last(query: str, words: Words, found: list[str]) -> None:
    assert order(query, words, **BY_NAME) == found


@pytest.mark.parametrize(
    ("query", "words", "said"),
    [
        ("sort_key=colour", WORDS, r"deck by \['colour'\]"),
        ("sort_key=back", WORDS, "deck by"),
        ("sort_key=name&sort_dir=up", WORDS, "directions"),
        ("sort_key=colour&sort_dir=up", WORDS, "directions"),
        ("sort_key=colour&sort_dir=up", replace(WORDS, keys_first=True), "deck by"),
        ("sort_key=name&sort_dir=asc&sort_dir=asc", replace(WORDS, uneven=lambda: ValueError("uneven")), "uneven"),
        ("sort_dir=asc", replace(WORDS, uneven=lambda: ValueError("uneven")), "uneven"),
        ("sort_dir=asc&sort_dir=asc", replace(TURNING, uneven=lambda: ValueError("uneven")), "uneven"),
    ],
)
def test_an_order_that_there_is_not_is_refused(query: str, words: Words, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        order(query, words)


def test_keys_that_are_ignored_do_nothing() -> None:
    assert order("sort_key=colour&sort_key=rank&sort_dir=asc&sort_dir=desc", ignored={"colour"}) == ["-rank"]


# --- filters ----------------------------------------------------------------------------------------------------------

FILTERS = filters.Words()


def said(pairs: str, words: filters.Words = FILTERS, **more: Any) -> list[str]:
    found = filters.conditions(TABLE, DECK.by_name, parse_qsl(pairs, keep_blank_values=True), words, **more)
    return [
        str(each.compile(dialect=sqlite.dialect(), compile_kwargs={"literal_binds": True})).replace("deck.", "")
        for each in found
    ]


def with_operator(name: str, text: str) -> Asking:
    name, _, operator = name.partition("__")
    return Asking(name, operator or "eq", (text,))


INEXACT = filters.Words(read=with_operator, values=lambda attribute, test: test.texts)


@pytest.mark.parametrize(
    ("query", "words", "found"),
    [
        ("name=a&rank=5", FILTERS, ["name = 'a'", "rank = 5"]),
        ("name=a&name=a", FILTERS, ["name = 'a'"]),
        ("name=a&name=b", FILTERS, ["name = 'a'", "name = 'b'"]),
        (
            "name=a&rank=5&name=b",
            replace(FILTERS, alternatives=True),
            ['name IN (SELECT value FROM json_each(\'["a","b"]\'))', "rank = 5"],
        ),
        ("back=a&colour=b", FILTERS, []),
        ("rank=high", FILTERS, ["0"]),
        ("title=a", replace(FILTERS, aliases={"title": "name"}), ["name = 'a'"]),
        ("name__contains=a", INEXACT, ["instr(name, 'a') > 0"]),
        ("name__icontains=A", INEXACT, ["instr(lower(name), 'a') > 0"]),
        ("name__gt=a", INEXACT, ["name > 'a'"]),
        ("rank__contains=a&name__like=a", INEXACT, []),
    ],
)
def test_conditions_are_what_the_declaration_and_the_table_of_operators_say(
    query: str, words: filters.Words, found: list[str]
) -> None:
    assert said(query, words) == found


def test_what_a_caller_may_not_learn_of_finds_nothing() -> None:
    assert said("name=a&rank=5", may_compare=lambda attribute: attribute.name == "name") == ["name = 'a'", "0"]


def test_special_filters_and_other_names_are_asked_once_with_what_is_theirs() -> None:
    special = {"suits": lambda texts: TABLE.c.name.in_(texts)}
    found = said("suits=a&x=1&suits=b", special=special, otherwise=lambda test: TABLE.c.back == test.name)
    assert found == ["name IN ('a', 'b')", "back = 'x'"]


@pytest.mark.parametrize(
    ("query", "words", "said_of_it"),
    [
        ("colour=a&back=b", replace(FILTERS, unknown=lambda names: ValueError(str(names))), r"\['colour', 'back'\]"),
        ("rank=high", replace(FILTERS, bad_value=lambda error: ValueError(error.reason)), "high"),
        ("name=a&name=b", replace(FILTERS, most=1, too_many=lambda most: ValueError(f"most {most}")), "most 1"),
    ],
)
def test_filters_are_refused_in_the_words_of_the_service(query: str, words: filters.Words, said_of_it: str) -> None:
    with pytest.raises(ValueError, match=said_of_it):
        said(query, words)

"""Which rows a query asks for: conditions made of its pairs and of what a resource declares.

An attribute that is stored, shown and filtered by is compared with what its codec makes of the text. How is an entry
of `OPERATORS`; how a query writes that, and what it may not say, are the service's `Words`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import ColumnElement, FromClause, Text, cast, false, not_

from deuteron.model.codecs import Invalid
from deuteron.model.resource import Attribute
from deuteron.store.expressions import (
    contains,
    ends_with,
    folded,
    has_all_words,
    has_any_word,
    starts_with,
)
from deuteron.store.query import any_of

Condition = ColumnElement[bool]
Compare = Callable[[ColumnElement[Any], Sequence[Any]], Condition]

OPERATORS: Final[Mapping[str, Compare]] = {
    "eq": any_of,
    "in": lambda column, values: any_of(cast(column, Text), values),
    "neq": lambda column, values: column.is_distinct_from(values[0]),
    "gt": lambda column, values: column > values[0],
    "gte": lambda column, values: column >= values[0],
    "lt": lambda column, values: column < values[0],
    "lte": lambda column, values: column <= values[0],
    "contains": lambda column, values: contains(column, values[0]),
    "startswith": lambda column, values: starts_with(column, values[0]),
    "endswith": lambda column, values: ends_with(column, values[0]),
    "icontains": lambda column, values: contains(folded(column), values[0].lower()),
    "istartswith": lambda column, values: starts_with(folded(column), values[0].lower()),
    "iendswith": lambda column, values: ends_with(folded(column), values[0].lower()),
}
"""How a column is compared with values; all but the first two look at one."""

_OF_TEXT: Final = frozenset(OPERATORS) - {"eq", "in", "neq", "gt", "gte", "lt", "lte"}
"""What nothing but text is compared by."""

TAGS: Final = ("tags", "tags-any", "not-tags", "not-tags-any")
"""Filters of what has tags. Source: api-wg guidelines, tags."""


@dataclass(frozen=True)
class Test:
    """One name of a query: what it is compared with, and how."""

    name: str
    operator: str
    texts: tuple[str, ...]


def plain(name: str, text: str) -> Test:
    return Test(name, "eq", (text,))


def decoded(attribute: Attribute, test: Test) -> Sequence[Any]:
    return [attribute.codec.decode_filter(text) for text in test.texts]


@dataclass(frozen=True)
class Words:
    """How a service writes filters, and how it refuses them."""

    unknown: Callable[[Sequence[str]], Exception] | None = None
    """Names of nothing to filter by; None passes them over."""
    bad_value: Callable[[Invalid], Exception] | None = None
    """A value that the attribute cannot have; None finds nothing with it."""
    too_many: Callable[[int], Exception] | None = None
    """More filters than `most`."""
    most: int = 0
    read: Callable[[str, str], Test] = plain
    """What a pair of a query asks."""
    values: Callable[[Attribute, Test], Sequence[Any]] = decoded
    """What to compare with, of a test's texts. Raises: Invalid."""
    column: Callable[[Attribute, ColumnElement[Any]], ColumnElement[Any]] = lambda attribute, column: column
    """What of a column is compared."""
    alternatives: bool = False
    """Whether several values of a name are alternatives; otherwise each has to hold."""
    aliases: Mapping[str, str] = field(default_factory=dict)


def is_filtered(attribute: Attribute | None) -> bool:
    """Whether a list is filtered by it."""
    return attribute is not None and attribute.filter and attribute.stored and attribute.read


def conditions(
    source: FromClause,
    attributes: Mapping[str, Attribute],
    pairs: Sequence[tuple[str, str]],
    words: Words,
    *,
    special: Mapping[str, Callable[[Sequence[str]], Condition]] | None = None,
    may_compare: Callable[[Attribute], bool] = lambda attribute: True,
    otherwise: Callable[[Test], Condition] | None = None,
) -> list[Condition]:
    """What the pairs of a query ask of a row.

    `special` names get all their texts; `may_compare` says of an attribute whether the caller may learn of it, or finds
    nothing; `otherwise` is asked of names that are no attribute's.

    Raises: what `words` say.
    """
    found: list[Condition] = []
    unknown: list[str] = []
    compared = 0
    for test in _tests(pairs, words, special or {}):
        attribute = attributes.get(words.aliases.get(test.name, test.name))
        if special and test.name in special:
            found.append(special[test.name](test.texts))
        elif attribute is None or not is_filtered(attribute):
            if attribute is None and otherwise is not None:
                found.append(otherwise(test))
            else:
                unknown.append(test.name)
                continue
        elif not may_compare(attribute):
            found.append(false())
        elif test.operator in OPERATORS and (test.operator not in _OF_TEXT or attribute.codec.column == "text"):
            found.append(_compared(source, attribute, test, words))
        compared += len(test.texts)
        if words.too_many is not None and compared > words.most:
            raise words.too_many(words.most)
    if unknown and words.unknown is not None:
        raise words.unknown(unknown)
    return found


def tagged(column: ColumnElement[Any], name: str, words: Sequence[str]) -> Condition:
    """What one of `TAGS` asks of a list of tags: all of the words, any of them, or not."""
    found = has_any_word(column, words) if name.endswith("-any") else has_all_words(column, words)
    return not_(found) if name.startswith("not-") else found


def _tests(
    pairs: Sequence[tuple[str, str]], words: Words, special: Mapping[str, Callable[[Sequence[str]], Condition]]
) -> list[Test]:
    """What is asked, in the order of the query, nothing twice."""
    found: dict[Any, Test] = {}
    together: dict[tuple[str, str], list[str]] = {}
    for name, text in pairs:
        test = Test(name, "eq", (text,)) if name in special else words.read(name, text)
        if words.alternatives or name in special:
            together.setdefault((test.name, test.operator), []).extend(test.texts)
            found.setdefault((test.name, test.operator), test)
        else:
            found.setdefault(test, test)
    for key, texts in together.items():
        found[key] = Test(*key, tuple(texts))
    return list(found.values())


def _compared(source: FromClause, attribute: Attribute, test: Test, words: Words) -> Condition:
    try:
        values = words.values(attribute, test)
    except Invalid as error:
        if words.bad_value is None:
            return false()
        raise words.bad_value(error) from None
    column = source.c[attribute.name]
    if attribute.codec.column == "json":
        return has_any_word(column, [str(value) for value in values])
    return OPERATORS[test.operator](words.column(attribute, column), values)

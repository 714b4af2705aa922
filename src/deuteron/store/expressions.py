"""Expressions whose words differ between engines, each said once in the words of both.

What they mean is the same everywhere: text is compared and sorted by its bytes in UTF-8, NULL is the least of all, and
letters A to Z alone have two cases, as SQLite has it by itself. What PostgreSQL needs for the same in plain comparisons
and in `ORDER BY`, `postgresql_dialect` adds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import msgspec
from sqlalchemy import (
    BigInteger,
    Boolean,
    ColumnElement,
    Table,
    Text,
    and_,
    bindparam,
    func,
    literal_column,
    type_coerce,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.sql.operators import OperatorType


class _Said(FunctionElement[Any]):
    """`{0}`, `{1}` are the arguments, `{type}` the type of the first. A JSON list of values is one parameter, so that a
    statement of a thousand values is written and read as fast as one of two."""

    sqlite: ClassVar[str]
    postgresql: ClassVar[str]

    def __init_subclass__(cls) -> None:
        # What an expression says depends on its class and its arguments alone; each class has to say so itself.
        cls.inherit_cache = True
        super().__init_subclass__()

    def self_group(self, against: OperatorType | None = None) -> Any:
        # In a condition it stands as it is: SQLAlchemy would ask SQLite whether it equals 1, and no index would serve.
        return self if isinstance(self.type, Boolean) else super().self_group(against)


@compiles(_Said)
def _in_sqlite(element: _Said, compiler: SQLCompiler, **options: Any) -> str:
    return _filled(element.sqlite, element, compiler, options)


@compiles(_Said, "postgresql")
def _in_postgresql(element: _Said, compiler: SQLCompiler, **options: Any) -> str:
    return _filled(element.postgresql, element, compiler, options)


def _filled(template: str, element: _Said, compiler: SQLCompiler, options: dict[str, Any]) -> str:
    arguments = list(element.clauses)
    said = [compiler.process(argument, **options) for argument in arguments]
    if "{type}" not in template:
        return template.format(*said)
    return template.format(*said, type=compiler.dialect.type_compiler_instance.process(arguments[0].type))


# --- text -------------------------------------------------------------------------------------------------------------


class _Position(_Said):
    """Where the second text begins in the first, from 1 on; 0 where it is not there."""

    type = BigInteger()
    sqlite = "instr({0}, {1})"
    postgresql = "strpos({0}, {1})"


class _Last(_Said):
    """The last so many characters."""

    type = Text()
    sqlite = "substr({0}, -{1})"
    postgresql = "right({0}, {1})"


class _Folded(_Said):
    type = Text()
    sqlite = "lower({0})"
    postgresql = 'lower({0} COLLATE "C")'


class _ContainsAny(_Said):
    type = Boolean()
    sqlite = "EXISTS (SELECT 1 FROM json_each({1}) WHERE instr(lower({0}), lower(value)) > 0)"
    postgresql = (
        "EXISTS (SELECT 1 FROM json_array_elements_text(CAST({1} AS json)) AS piece(value)"
        ' WHERE strpos(lower({0} COLLATE "C"), lower(piece.value COLLATE "C")) > 0)'
    )


def contains(text: ColumnElement[Any], piece: Any) -> ColumnElement[bool]:
    """Whether the piece stands in the text."""
    return _Position(text, piece) > 0


def folded(text: ColumnElement[Any]) -> ColumnElement[str]:
    """The text with small letters."""
    return _Folded(text)


def starts_with(text: ColumnElement[Any], piece: str) -> ColumnElement[bool]:
    return func.substr(text, 1, len(piece)) == piece


def ends_with(text: ColumnElement[Any], piece: str) -> ColumnElement[bool]:
    return _Last(text, len(piece)) == piece if piece else text.is_not(None)


def contains_any(text: ColumnElement[Any], pieces: Sequence[str]) -> ColumnElement[bool]:
    """Whether one of the pieces stands in the text, letters in either case. Compares each row with each piece."""
    return _ContainsAny(text, _listed(pieces))


# --- values among others ----------------------------------------------------------------------------------------------


class _OneOf(_Said):
    type = Boolean()
    sqlite = "{0} IN (SELECT value FROM json_each({1}))"
    postgresql = "{0} = ANY (ARRAY(SELECT CAST(value AS {type}) FROM json_array_elements_text(CAST({1} AS json))))"


def one_of(column: ColumnElement[Any], values: Sequence[Any]) -> ColumnElement[bool]:
    """Whether the column is one of the values, none of which is None."""
    return _OneOf(column, _listed(values))


# --- JSON in a column of text -----------------------------------------------------------------------------------------


class _Word(_Said):
    type = Boolean()
    sqlite = "EXISTS (SELECT 1 FROM json_each({0}) WHERE value = {1})"
    postgresql = "EXISTS (SELECT 1 FROM json_array_elements_text(CAST({0} AS json)) AS held(value) WHERE value = {1})"


class _AnyWord(_Said):
    type = Boolean()
    sqlite = "EXISTS (SELECT 1 FROM json_each({0}) WHERE value IN (SELECT value FROM json_each({1})))"
    postgresql = (
        "EXISTS (SELECT 1 FROM json_array_elements_text(CAST({0} AS json)) AS held(value)"
        " WHERE held.value IN (SELECT value FROM json_array_elements_text(CAST({1} AS json))))"
    )


class _Words(_Said):
    """How many elements of the first list are in the second."""

    type = BigInteger()
    sqlite = "(SELECT count(*) FROM json_each({0}) WHERE value IN (SELECT value FROM json_each({1})))"
    postgresql = (
        "(SELECT count(*) FROM json_array_elements_text(CAST({0} AS json)) AS held(value)"
        " WHERE held.value IN (SELECT value FROM json_array_elements_text(CAST({1} AS json))))"
    )


class _Item(_Said):
    type = Boolean()
    sqlite = "EXISTS (SELECT 1 FROM json_each({0}) WHERE key = {1} AND value = {2})"
    postgresql = "CAST({0} AS json) ->> {1} = {2}"


class _Field(_Said):
    type = Text()
    sqlite = "json_extract({0}, '$.' || {1})"
    postgresql = "(CAST({0} AS json) ->> {1})"


def has_word(column: ColumnElement[Any], word: str) -> ColumnElement[bool]:
    """Whether a JSON list of text holds `word`."""
    # Most rows hold nothing like it, which their text tells; the others are read, for `x"a` ends like "a".
    quoted = msgspec.json.encode(word).decode()
    text = type_coerce(column, Text)
    return and_(contains(text, quoted), _Word(text, word))


def has_any_word(column: ColumnElement[Any], words: Sequence[str]) -> ColumnElement[bool]:
    """Whether a JSON list of text holds one of the words."""
    if len(words) == 1:
        return has_word(column, words[0])
    return _AnyWord(type_coerce(column, Text), _listed(words))


def has_all_words(column: ColumnElement[Any], words: Sequence[str]) -> ColumnElement[bool]:
    """Whether a JSON list of different texts holds all the words."""
    wanted = list(dict.fromkeys(words))
    if len(wanted) == 1:
        return has_word(column, wanted[0])
    return _Words(type_coerce(column, Text), _listed(wanted)) == len(wanted)


def has_item(column: ColumnElement[Any], key: str, text: str) -> ColumnElement[bool]:
    """Whether a JSON object of text holds `text` under `key`."""
    # Most rows hold nothing like it, which their text tells; the others are read, for the text may be part of a name.
    said = msgspec.json.encode({key: text}).decode()[1:-1]
    held = type_coerce(column, Text)
    return and_(contains(held, said), _Item(held, key, text))


def text_field(column: ColumnElement[Any], name: str) -> ColumnElement[str]:
    """The text at `name` of a JSON object; NULL where there is none. `name` is the program's own, never a user's."""
    assert name.isidentifier(), name
    return _Field(type_coerce(column, Text), literal_column(f"'{name}'"))


# --- sizes ------------------------------------------------------------------------------------------------------------


class _MostRows(_Said):
    type = BigInteger()
    # SQLite numbers rows by insertion, and deletes leave gaps. PostgreSQL would have to count.
    sqlite = "(SELECT max(rowid) FROM {0})"
    postgresql = "9223372036854775807"


def most_rows(table: Table) -> ColumnElement[int]:
    """As many rows as the table can have at most, found in constant time; NULL or 0 of an empty one."""
    return _MostRows(literal_column(table.name))


def _listed(values: Sequence[Any]) -> ColumnElement[str]:
    # No column holds a text with NUL, and PostgreSQL does not read one.
    known = [value for value in values if not (isinstance(value, str) and "\0" in value)]
    return bindparam(None, msgspec.json.encode(known).decode(), Text, unique=True)

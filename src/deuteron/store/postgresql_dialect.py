"""What SQLAlchemy has to say to PostgreSQL so that it compares, sorts and counts as SQLite does by itself.

- Columns of text have the collation "C": text is compared and sorted by its bytes in UTF-8, whatever the database's is.
- NULL is the least value in `ORDER BY`. Indexes of columns that may be NULL are kept in that order, so that they serve.
- Integers have 64 bits, and so has a sum of them.

Rules and tables therefore say nothing of it, and every list has the same order on both engines.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import Integer
from sqlalchemy.dialects import registry
from sqlalchemy.dialects.postgresql.base import PGDDLCompiler
from sqlalchemy.dialects.postgresql.psycopg import PGCompiler_psycopg, PGDialect_psycopg
from sqlalchemy.schema import Column, CreateIndex
from sqlalchemy.sql import operators
from sqlalchemy.sql.elements import UnaryExpression

_TYPES = {"TEXT": 'TEXT COLLATE "C"', "INTEGER": "BIGINT"}
"""As tables are written, and as they are made."""


class _Compiler(PGCompiler_psycopg):
    def order_by_clause(self, select: Any, **options: Any) -> str:
        found = [self._ordered(clause, **options) for clause in select._order_by_clauses]
        return f" ORDER BY {', '.join(found)}" if found else ""

    def _ordered(self, clause: Any, **options: Any) -> str:
        said: str = self.process(clause, **options)
        element, is_descending = clause, False
        while True:
            if isinstance(element, UnaryExpression) and element.modifier in (operators.asc_op, operators.desc_op):
                is_descending = element.modifier is operators.desc_op
            elif element.__visit_name__ not in ("label_reference", "grouping"):
                break
            element = element.element
        if isinstance(element, Column) and not element.nullable:
            return said
        return f"{said} NULLS {'LAST' if is_descending else 'FIRST'}"

    def visit_sum_func(self, function: Any, **options: Any) -> str:
        said = f"sum{self.function_argspec(function, **options)}"
        return f"CAST({said} AS BIGINT)" if isinstance(function.type, Integer) else said

    def render_bind_cast(self, type_: Any, dbapi_type: Any, sqltext: str) -> str:
        # The driver says how wide an integer is, and 32 bits would be too few for some.
        said: str = super().render_bind_cast(type_, dbapi_type, sqltext)  # type: ignore[no-untyped-call]  # as it is
        return said.removesuffix("::INTEGER")


class _DdlCompiler(PGDDLCompiler):
    def get_column_specification(self, column: Column[Any], **options: Any) -> str:
        said: str = super().get_column_specification(column, **options)  # type: ignore[no-untyped-call]  # as it is
        name, kind, *rest = said.split(" ")
        return " ".join((name, _TYPES.get(kind, kind), *rest))

    def visit_create_index(self, create: CreateIndex, *arguments: Any, **options: Any) -> str:
        said: str = super().visit_create_index(create, *arguments, **options)  # type: ignore[no-untyped-call]  # as it is
        columns = list(create.element.columns)
        quote = self.preparer.quote
        return null_first(said, [quote(c.name) for c in columns], {c.name for c in columns if c.nullable})


class Dialect(PGDialect_psycopg):
    """PostgreSQL by psycopg 3, as above. Values go by place."""

    supports_statement_cache = True
    default_paramstyle = "format"
    statement_compiler = _Compiler
    ddl_compiler = _DdlCompiler

    def __init__(self, **options: Any) -> None:
        # Neither is used, and asking for them takes round trips at the first connection.
        given = {"paramstyle": "format", "use_native_hstore": False, **options}
        super().__init__(**given)  # type: ignore[no-untyped-call]  # as it is

    def validate_identifier(self, ident: str) -> None:
        """The server cuts names of constraints to 63 bytes; nothing refers to them."""


registry.register("postgresql.deuteron", __name__, "Dialect")


def translated(statement: str) -> str:
    """A statement of a migration that makes a table or a column, with types as in `Dialect`; others as they are."""
    if re.match(r"\s*(CREATE TABLE|ALTER TABLE)", statement):
        return re.sub(r"\b(TEXT|INTEGER)\b", lambda found: _TYPES[found.group()], statement)
    return statement


def null_first(statement: str, columns: Sequence[str], nullable: Collection[str]) -> str:
    """A `CREATE INDEX` of the columns, with those that may be NULL in the order that lists have."""
    head, _, _ = statement.rstrip().rpartition(" (")
    said = [f"{name} NULLS FIRST" if name.strip('"') in nullable else name for name in columns]
    return f"{head} ({', '.join(said)})"


__all__ = ["Dialect", "null_first", "translated"]

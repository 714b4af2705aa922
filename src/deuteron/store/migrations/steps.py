"""What migrations are made of: statements written once, in the words that SQLite and PostgreSQL share.

`TEXT`, `BIGINT`, `INTEGER` and `BOOLEAN` are the types; literals are `true` and `'text'`, values go as `:name`. Tables
and indexes get what PostgreSQL needs for the same order, as the declared ones do.
"""

from __future__ import annotations

import re
from typing import Any

from alembic import op
from sqlalchemy import Connection, inspect, text

_QUOTED = re.compile(r'"([^"]*)"')
_RESERVED = {"limit"}
_INDEX = re.compile(r"\s*CREATE (?:UNIQUE )?INDEX \w+ ON (\w+) \(([^)]*)\)\s*")


def run(*statements: str) -> None:
    """Execute statements that make, change or drop tables, columns, indexes and rows.

    Raises: ValueError for a quoted name that need not be: one that no column has is a text to SQLite, and nobody
    would be told.
    """
    connection = op.get_bind()
    for statement in statements:
        if set(_QUOTED.findall(statement)) - _RESERVED:
            raise ValueError(f"cannot run a statement with a quoted name, plain ones are accepted: {statement}")
        connection.exec_driver_sql(_translated(connection, statement))


def execute(statement: str, **values: Any) -> list[Any]:
    """The rows of one statement about rows, with values."""
    found = op.get_bind().execute(text(statement), values)
    return list(found) if found.returns_rows else []


def _translated(connection: Connection, statement: str) -> str:
    if connection.dialect.name != "postgresql":
        return statement
    # Only who has a server loads it.
    from deuteron.store.postgresql_dialect import null_first, translated

    index = _INDEX.fullmatch(statement)
    if index is None:
        return translated(statement)
    nullable = {column["name"] for column in inspect(connection).get_columns(index[1]) if column["nullable"]}
    return null_first(statement, index[2].split(", "), nullable)

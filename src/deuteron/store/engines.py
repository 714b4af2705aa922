"""Which engine keeps a cloud's rows: a file in its folder, or the server that its settings name."""

from __future__ import annotations

from pathlib import Path

from deuteron.store.engine import Engine
from deuteron.store.sqlite import SqliteEngine

FILE = "cloud.db"


def engine_of(folder: Path, address: str = "", password: str = "") -> Engine:
    """SQLite in `folder`, unless there is an `address` of PostgreSQL. Raises: UnusableDatabase."""
    if not address:
        return SqliteEngine(folder / FILE)
    # Only who uses it loads it: 20 MB, 0.1 s.
    from deuteron.store.postgresql import PostgresqlEngine

    return PostgresqlEngine(address, password)

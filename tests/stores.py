"""Databases for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from deuteron.store.database import Database
from deuteron.store.sqlite import SqliteEngine


def open_database(folder: Path, **options: Any) -> Database:
    """The database of a cloud whose state is in `folder`; another time, the same. `options` are those of `Database`."""
    return Database(SqliteEngine(folder / "cloud.db"), **options)

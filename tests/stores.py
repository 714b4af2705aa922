"""Databases for tests, on the engine that `--store` names: SQLite unless told."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

from deuteron.store import migrate
from deuteron.store.database import Database
from deuteron.store.engine import Engine
from deuteron.store.engines import engine_of

ENGINES = ("sqlite", "postgresql")
engine = "sqlite"
"""Set by `conftest.py` before any test."""
_addresses: dict[Path, str] = {}
_opened: list[tuple[Path, Database]] = []


def address_of(folder: Path) -> str:
    """What `Settings.database` is for a cloud whose state is in `folder`: another time, the same database."""
    if engine == "sqlite":
        return ""
    from tests.postgresql import server

    if folder not in _addresses:
        _addresses[folder] = server().new()
    return _addresses[folder]


def open_database(folder: Path, kind: type[Database] = Database, **options: Any) -> Database:
    """The database of a cloud whose state is in `folder`; another time, the same. `options` are those of `kind`."""
    made = kind(engine_of(folder, address_of(folder)), **options)
    _opened.append((folder, made))
    return made


def empty_engine(folder: Path) -> Engine:
    """An engine whose database has nothing, not even a schema; each time another."""
    folder = Path(tempfile.mkdtemp(dir=folder))
    if engine == "postgresql":
        from tests.postgresql import server

        _addresses[folder] = server().new(empty=True)
    return engine_of(folder, address_of(folder))


def up_options() -> tuple[str, ...]:
    """What makes `deuteron up` keep a new cloud on the engine that is tested."""
    if engine == "sqlite":
        return ()
    from tests.postgresql import PASSWORD, server

    os.environ["PGPASSWORD"] = PASSWORD
    return ("--database", server().open_address(server().new(empty=True)))


def rows_as_text(state: Path) -> bytes:
    """All that the database of the cloud in `state` holds, in one text."""
    if engine == "sqlite":
        return b"".join(path.read_bytes() for path in (state / "api").glob("cloud.db*"))
    from tests.postgresql import dump

    address: str = json.loads((state / "cloud.json").read_text())["database"]
    return dump(address)


def older_engine(folder: Path, *statements: str, schema: str = "0001") -> Engine:
    """An engine whose database has an older schema, and what the statements put there."""
    made = empty_engine(folder)
    session = made.connect()
    session.control("BEGIN")
    migrate.run_migrations(session.connection, schema)
    for statement in statements:
        session.control(statement)
    session.control("COMMIT")
    session.close()
    return made


def forget(folder: Path) -> None:
    """End and remove what a test had in the folder or below: a server keeps it otherwise."""
    for place, made in list(_opened):
        if place.is_relative_to(folder):
            made.close()
            _opened.remove((place, made))
    for place in [place for place in _addresses if place.is_relative_to(folder)]:
        from tests.postgresql import server

        server().drop(_addresses.pop(place))

"""Volumes of several back ends of a host; types that projects' volumes have by default."""

from __future__ import annotations

import json

from deuteron.store.migrations.steps import execute, run

revision = "0059"
down_revision = "0058"

_PLACED = ("volume_volumes", "volume_snapshots", "volume_groups")
_SERVICE, _KEY = "cinder-volume", "cinder-volume@file"
_OWNED = "scope = 'host' AND resource = 'volume gigabytes'"


def upgrade() -> None:
    for table in (*_PLACED, "volume_backups"):
        for column in _columns(table):
            # What was there was kept by the one back end that hosts had.
            run(
                f"ALTER TABLE {table} ADD COLUMN {column} TEXT",
                f"UPDATE {table} SET {column} = 'file' WHERE host IS NOT NULL",
            )
    run(f"UPDATE usage SET owner = owner || '@file' WHERE {_OWNED}")
    _rename(_SERVICE, _KEY)
    run(
        "ALTER TABLE volume_volumes ADD COLUMN move TEXT",
        "CREATE TABLE volume_default_types (project_id TEXT NOT NULL PRIMARY KEY, volume_type_id TEXT NOT NULL)",
    )


def downgrade() -> None:
    run("DROP TABLE volume_default_types", "ALTER TABLE volume_volumes DROP COLUMN move")
    _rename(_KEY, _SERVICE)
    run(f"DELETE FROM usage WHERE {_OWNED} AND substr(owner, length(owner) - 4) <> '@file'")
    run(f"UPDATE usage SET owner = substr(owner, 1, length(owner) - 5) WHERE {_OWNED}")
    for table in (*_PLACED, "volume_backups"):
        run(*(f"ALTER TABLE {table} DROP COLUMN {column}" for column in _columns(table)))


def _columns(table: str) -> tuple[str, ...]:
    return ("backend", "pool") if table in _PLACED else ("backend",)


def _rename(old: str, new: str) -> None:
    """Of a disabled service."""
    for name, said in execute("SELECT name, disabled_services FROM hosts"):
        services = json.loads(said) if isinstance(said, str) else said
        if old in services:
            services[new] = services.pop(old)
            values = {"name": name, "said": json.dumps(services)}
            execute("UPDATE hosts SET disabled_services = :said WHERE name = :name", **values)

"""Servers are rescued and resized: the shape that their host gives them is numbered, as rebuilds and reboots are."""

from __future__ import annotations

from deuteron.store.migrations.steps import run

revision = "0047"
down_revision = "0046"

_TABLES = ("compute_servers", "compute_deleted_servers")
_COLUMNS = {"shape_generation": "BIGINT", "rescue": "TEXT", "resize": "TEXT", "restore": "BIGINT"}


def upgrade() -> None:
    for table in _TABLES:
        run(*(f"ALTER TABLE {table} ADD COLUMN {column} {kind}" for column, kind in _COLUMNS.items()))
        run(f"UPDATE {table} SET shape_generation = 0")


def downgrade() -> None:
    run(*(f"ALTER TABLE {table} DROP COLUMN {column}" for table in _TABLES for column in _COLUMNS))

"""Servers know what images of them inherit, and which image their host is to make of them."""

from __future__ import annotations

from deuteron.store.migrations.steps import run

revision = "0046"
down_revision = "0045"

_TABLES = ("compute_servers", "compute_deleted_servers")
_COLUMNS = ("inherited", "snapshot")


def upgrade() -> None:
    run(*(f"ALTER TABLE {table} ADD COLUMN {column} TEXT" for table in _TABLES for column in _COLUMNS))


def downgrade() -> None:
    run(*(f"ALTER TABLE {table} DROP COLUMN {column}" for table in _TABLES for column in _COLUMNS))

"""Servers move to other hosts while their guests run."""

from __future__ import annotations

from deuteron.store.migrations.steps import run

revision = "0060"
down_revision = "0059"

_COLUMNS = (("compute_servers", "live"), ("compute_deleted_servers", "live"), ("compute_migrations", "figures"))


def upgrade() -> None:
    run(*(f"ALTER TABLE {table} ADD COLUMN {column} TEXT" for table, column in _COLUMNS))


def downgrade() -> None:
    run(*(f"ALTER TABLE {table} DROP COLUMN {column}" for table, column in _COLUMNS))

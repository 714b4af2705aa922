"""The hints that servers were asked for with."""

from __future__ import annotations

from deuteron.store.migrations.steps import run

revision = "0073"
down_revision = "0072"

_TABLES = ("compute_servers", "compute_deleted_servers")


def upgrade() -> None:
    run(*(f"ALTER TABLE {table} ADD COLUMN scheduler_hints TEXT" for table in _TABLES))


def downgrade() -> None:
    run(*(f"ALTER TABLE {table} DROP COLUMN scheduler_hints" for table in _TABLES))

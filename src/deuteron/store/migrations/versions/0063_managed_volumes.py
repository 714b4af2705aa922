"""Volumes and snapshots that were there before the service had them in hand."""

from __future__ import annotations

from deuteron.store.migrations.steps import run

revision = "0063"
down_revision = "0062"

_TABLES = ("volume_volumes", "volume_snapshots")


def upgrade() -> None:
    run(*(f"ALTER TABLE {table} ADD COLUMN manage TEXT" for table in _TABLES))


def downgrade() -> None:
    run(*(f"ALTER TABLE {table} DROP COLUMN manage" for table in _TABLES))

"""Servers are shelved: their disk is an image, and no host has them."""

from __future__ import annotations

from deuteron.store.migrations.steps import run

revision = "0048"
down_revision = "0047"

_TABLES = ("compute_servers", "compute_deleted_servers")


def upgrade() -> None:
    run(*(f"ALTER TABLE {table} ADD COLUMN shelved TEXT" for table in _TABLES))


def downgrade() -> None:
    run(*(f"ALTER TABLE {table} DROP COLUMN shelved" for table in _TABLES))

"""Guests may give a password that their owner asks for."""

from __future__ import annotations

from deuteron.store.migrations.steps import run

revision = "0053"
down_revision = "0052"

_TABLES = ("compute_servers", "compute_deleted_servers")


def upgrade() -> None:
    run(*(f"ALTER TABLE {table} ADD COLUMN password TEXT" for table in _TABLES))


def downgrade() -> None:
    run(*(f"ALTER TABLE {table} DROP COLUMN password" for table in _TABLES))

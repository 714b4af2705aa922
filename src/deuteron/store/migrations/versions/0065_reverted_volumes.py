"""Volumes that become again what they were in a snapshot."""

from __future__ import annotations

from deuteron.store.migrations.steps import run

revision = "0065"
down_revision = "0064"


def upgrade() -> None:
    run("ALTER TABLE volume_volumes ADD COLUMN revert TEXT")


def downgrade() -> None:
    run("ALTER TABLE volume_volumes DROP COLUMN revert")

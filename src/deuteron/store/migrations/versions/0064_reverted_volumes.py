"""Volumes that become again what they were in a snapshot."""

from __future__ import annotations

from deuteron.store.migrations.steps import run

revision = "0064"
down_revision = "0063"


def upgrade() -> None:
    run("ALTER TABLE volume_volumes ADD COLUMN revert TEXT")


def downgrade() -> None:
    run("ALTER TABLE volume_volumes DROP COLUMN revert")

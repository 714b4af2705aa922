"""Volumes are made anew of another image."""

from __future__ import annotations

from deuteron.store.migrations.steps import run

revision = "0062"
down_revision = "0061"


def upgrade() -> None:
    run("ALTER TABLE volume_volumes ADD COLUMN reimage TEXT")


def downgrade() -> None:
    run("ALTER TABLE volume_volumes DROP COLUMN reimage")

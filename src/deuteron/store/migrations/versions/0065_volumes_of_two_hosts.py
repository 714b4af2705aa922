"""Volumes that go to other hosts."""

from __future__ import annotations

from deuteron.store.migrations.steps import run

revision = "0065"
down_revision = "0064"


def upgrade() -> None:
    run(
        "ALTER TABLE volume_volumes ADD COLUMN other_host TEXT",
        "CREATE INDEX ix_volume_volumes_other_host ON volume_volumes (other_host)",
    )


def downgrade() -> None:
    run("DROP INDEX ix_volume_volumes_other_host", "ALTER TABLE volume_volumes DROP COLUMN other_host")

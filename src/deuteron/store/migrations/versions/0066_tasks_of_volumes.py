"""What is being done to volumes and snapshots is found without looking through all of them."""

from __future__ import annotations

from deuteron.store.migrations.steps import run

revision = "0066"
down_revision = "0065"

_TABLES = ("volume_volumes", "volume_snapshots")


def upgrade() -> None:
    run(*(f"CREATE INDEX ix_{table}_task ON {table} (task)" for table in _TABLES))


def downgrade() -> None:
    run(*(f"DROP INDEX ix_{table}_task" for table in _TABLES))

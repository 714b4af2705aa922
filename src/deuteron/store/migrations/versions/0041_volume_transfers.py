"""Volumes on their way from one project to another."""

from __future__ import annotations

from deuteron.store.migrations.steps import run

revision = "0041"
down_revision = "0040"


def upgrade() -> None:
    table = "volume_transfers"
    run(
        f"CREATE TABLE {table} (id TEXT NOT NULL PRIMARY KEY, created_at TEXT, name TEXT, volume_id TEXT,"
        " no_snapshots BOOLEAN, source_project_id TEXT, updated_at TEXT, key_hash TEXT)",
        f"CREATE INDEX ix_{table}_source_project_id_created_at_id ON {table} (source_project_id, created_at, id)",
        f"CREATE INDEX ix_{table}_created_at_id ON {table} (created_at, id)",
        f"CREATE INDEX ix_{table}_volume_id ON {table} (volume_id)",
        f"CREATE INDEX ix_{table}_name ON {table} (name)",
    )


def downgrade() -> None:
    run("DROP TABLE volume_transfers")

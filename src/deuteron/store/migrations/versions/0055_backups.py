"""Backups of volumes, and what volumes are to get of them."""

from __future__ import annotations

from deuteron.store.migrations.steps import run

revision = "0055"
down_revision = "0054"


def upgrade() -> None:
    table = "volume_backups"
    run(
        "ALTER TABLE volume_volumes ADD COLUMN restore TEXT",
        f"CREATE TABLE {table} (id TEXT NOT NULL PRIMARY KEY, status TEXT, size BIGINT, object_count BIGINT,"
        " availability_zone TEXT, container TEXT, created_at TEXT, updated_at TEXT, name TEXT, description TEXT,"
        " fail_reason TEXT, volume_id TEXT, snapshot_id TEXT, data_timestamp TEXT, metadata TEXT, user_id TEXT,"
        " project_id TEXT, host TEXT, parent_id TEXT, copy_of TEXT, volume_facts TEXT, task TEXT, previous_status TEXT,"
        " request_id TEXT)",
        f"CREATE INDEX ix_{table}_project_id_created_at_id ON {table} (project_id, created_at, id)",
        f"CREATE INDEX ix_{table}_created_at_id ON {table} (created_at, id)",
        *(f"CREATE INDEX ix_{table}_{name} ON {table} ({name})" for name in ("volume_id", "parent_id", "host", "name")),
    )


def downgrade() -> None:
    run("DROP TABLE volume_backups", "ALTER TABLE volume_volumes DROP COLUMN restore")

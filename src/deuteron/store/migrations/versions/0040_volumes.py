"""Volumes and snapshots."""

from __future__ import annotations

from deuteron.store.migrations.steps import run

revision = "0040"
down_revision = "0039"


def upgrade() -> None:
    volumes, snapshots = "volume_volumes", "volume_snapshots"
    run(
        f"CREATE TABLE {volumes} (id TEXT NOT NULL PRIMARY KEY, status TEXT, size BIGINT, availability_zone TEXT,"
        " created_at TEXT, updated_at TEXT, name TEXT, description TEXT, snapshot_id TEXT, source_volid TEXT,"
        " metadata TEXT, user_id TEXT, bootable BOOLEAN, multiattach BOOLEAN, migration_status TEXT,"
        " volume_type_id TEXT, project_id TEXT, host TEXT, image TEXT, image_metadata TEXT, is_readonly BOOLEAN,"
        " task TEXT, new_size BIGINT, upload TEXT, request_id TEXT)",
        f"CREATE TABLE {snapshots} (id TEXT NOT NULL PRIMARY KEY, created_at TEXT, updated_at TEXT, name TEXT,"
        " description TEXT, volume_id TEXT, status TEXT, size BIGINT, metadata TEXT, user_id TEXT, project_id TEXT,"
        " host TEXT, volume_type_id TEXT, bootable BOOLEAN, image_metadata TEXT, progress TEXT, task TEXT,"
        " request_id TEXT)",
        *(f"CREATE INDEX ix_{table}_project_id_created_at_id ON {table} (project_id, created_at, id)"
          for table in (volumes, snapshots)),
        *(f"CREATE INDEX ix_{table}_created_at_id ON {table} (created_at, id)" for table in (volumes, snapshots)),
        *(f"CREATE INDEX ix_{volumes}_{name} ON {volumes} ({name})"
          for name in ("host", "snapshot_id", "source_volid", "volume_type_id", "name")),
        *(f"CREATE INDEX ix_{snapshots}_{name} ON {snapshots} ({name})" for name in ("volume_id", "host", "name")),
    )  # fmt: skip


def downgrade() -> None:
    run("DROP TABLE volume_volumes", "DROP TABLE volume_snapshots")

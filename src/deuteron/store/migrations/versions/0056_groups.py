"""Groups of volumes, their types, and snapshots of groups."""

from __future__ import annotations

from deuteron.store.migrations.steps import run

revision = "0056"
down_revision = "0055"

_BY = ("project_id, created_at, id", "created_at, id", "name")


def upgrade() -> None:
    groups, saved = "volume_groups", "volume_group_snapshots"
    run(
        "ALTER TABLE volume_volumes ADD COLUMN group_id TEXT",
        "CREATE INDEX ix_volume_volumes_group_id ON volume_volumes (group_id)",
        "ALTER TABLE volume_snapshots ADD COLUMN group_snapshot_id TEXT",
        "CREATE INDEX ix_volume_snapshots_group_snapshot_id ON volume_snapshots (group_snapshot_id)",
        "CREATE TABLE volume_group_types (id TEXT NOT NULL PRIMARY KEY, name TEXT, description TEXT, is_public BOOLEAN,"
        " group_specs TEXT, created_at TEXT, updated_at TEXT, CONSTRAINT uq_volume_group_types_name UNIQUE (name))",
        f"CREATE TABLE {groups} (id TEXT NOT NULL PRIMARY KEY, status TEXT, availability_zone TEXT, created_at TEXT,"
        " name TEXT, description TEXT, group_type TEXT, volume_types TEXT, group_snapshot_id TEXT,"
        " source_group_id TEXT, project_id TEXT, updated_at TEXT, user_id TEXT, host TEXT)",
        f"CREATE TABLE {saved} (id TEXT NOT NULL PRIMARY KEY, group_id TEXT, group_type_id TEXT, status TEXT,"
        " created_at TEXT, name TEXT, description TEXT, project_id TEXT, updated_at TEXT, user_id TEXT)",
        *(
            f"CREATE INDEX ix_{table}_{columns.replace(', ', '_')} ON {table} ({columns})"
            for table, more in ((groups, ("group_type", "group_snapshot_id")), (saved, ("group_id",)))
            for columns in (*_BY, *more)
        ),
    )


def downgrade() -> None:
    run(
        "DROP TABLE volume_group_snapshots",
        "DROP TABLE volume_groups",
        "DROP TABLE volume_group_types",
        "DROP INDEX ix_volume_snapshots_group_snapshot_id",
        "ALTER TABLE volume_snapshots DROP COLUMN group_snapshot_id",
        "DROP INDEX ix_volume_volumes_group_id",
        "ALTER TABLE volume_volumes DROP COLUMN group_id",
    )

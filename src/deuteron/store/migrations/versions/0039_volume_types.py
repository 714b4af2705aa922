"""Volume types, QoS specs, messages and quotas of the Block Storage service."""

from __future__ import annotations

from deuteron.store.migrations.steps import run

revision = "0039"
down_revision = "0038"


def upgrade() -> None:
    run(
        "CREATE TABLE volume_types (id TEXT NOT NULL PRIMARY KEY, name TEXT, description TEXT, is_public BOOLEAN,"
        " extra_specs TEXT, qos_specs_id TEXT, projects TEXT, created_at TEXT, updated_at TEXT,"
        " CONSTRAINT uq_volume_types_name UNIQUE (name))",
        "CREATE INDEX ix_volume_types_qos_specs_id ON volume_types (qos_specs_id)",
        "CREATE TABLE volume_qos_specs (id TEXT NOT NULL PRIMARY KEY, name TEXT, consumer TEXT, specs TEXT,"
        " created_at TEXT, updated_at TEXT, CONSTRAINT uq_volume_qos_specs_name UNIQUE (name))",
        "CREATE TABLE volume_messages (id TEXT NOT NULL PRIMARY KEY, project_id TEXT, event_id TEXT,"
        " user_message TEXT, message_level TEXT, resource_type TEXT, resource_uuid TEXT, request_id TEXT,"
        " created_at TEXT, guaranteed_until TEXT)",
        "CREATE INDEX ix_volume_messages_project_id_created_at_id ON volume_messages (project_id, created_at, id)",
        "CREATE INDEX ix_volume_messages_resource_uuid ON volume_messages (resource_uuid)",
        "CREATE INDEX ix_volume_messages_created_at_id ON volume_messages (created_at, id)",
        "CREATE INDEX ix_volume_messages_guaranteed_until ON volume_messages (guaranteed_until)",
        *(
            f"CREATE TABLE {table} ({owner} TEXT NOT NULL, name TEXT NOT NULL, hard_limit INTEGER NOT NULL,"
            f" PRIMARY KEY ({owner}, name))"
            for table, owner in (("volume_quotas", "project_id"), ("volume_quota_classes", "class_name"))
        ),
    )


def downgrade() -> None:
    names = ("volume_types", "volume_qos_specs", "volume_messages", "volume_quotas", "volume_quota_classes")
    run(*(f"DROP TABLE {name}" for name in names))

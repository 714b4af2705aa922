"""Logs of security groups."""

from __future__ import annotations

from deuteron.store.migrations.steps import run

revision = "0037"
down_revision = "0036"


def upgrade() -> None:
    table = "network_logs"
    run(
        f"CREATE TABLE {table} (id TEXT NOT NULL PRIMARY KEY, project_id TEXT, name TEXT, resource_type TEXT,"
        " resource_id TEXT, event TEXT, target_id TEXT, enabled BOOLEAN, description TEXT, created_at TEXT,"
        " updated_at TEXT, revision_number BIGINT)",
        *(
            f"CREATE INDEX ix_{table}_{name} ON {table} ({name})"
            for name in ("project_id", "name", "resource_id", "target_id")
        ),
    )


def downgrade() -> None:
    run("DROP TABLE network_logs")

"""Which endpoints projects are shown."""

from __future__ import annotations

from deuteron.store.migrations.steps import run

revision = "0050"
down_revision = "0049"


def upgrade() -> None:
    run(
        "CREATE TABLE identity_endpoint_groups (id TEXT NOT NULL PRIMARY KEY, name TEXT, description TEXT,"
        " filters TEXT)",
        "CREATE TABLE identity_endpoint_projects (project_id TEXT NOT NULL, endpoint_id TEXT NOT NULL,"
        " PRIMARY KEY (project_id, endpoint_id))",
        "CREATE TABLE identity_endpoint_group_projects (project_id TEXT NOT NULL, endpoint_group_id TEXT NOT NULL,"
        " PRIMARY KEY (project_id, endpoint_group_id))",
    )


def downgrade() -> None:
    run(
        "DROP TABLE identity_endpoint_group_projects",
        "DROP TABLE identity_endpoint_projects",
        "DROP TABLE identity_endpoint_groups",
    )

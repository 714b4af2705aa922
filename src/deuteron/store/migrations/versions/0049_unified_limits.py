"""Unified limits."""

from __future__ import annotations

from deuteron.store.migrations.steps import run

revision = "0049"
down_revision = "0048"


def upgrade() -> None:
    run(
        "CREATE TABLE identity_registered_limits (id TEXT NOT NULL PRIMARY KEY, service_id TEXT, region_id TEXT,"
        " resource_name TEXT, default_limit BIGINT, description TEXT)",
        "CREATE TABLE identity_limits (id TEXT NOT NULL PRIMARY KEY, project_id TEXT, domain_id TEXT, service_id TEXT,"
        " region_id TEXT, resource_name TEXT, resource_limit BIGINT, description TEXT,"
        " registered_limit_id TEXT NOT NULL)",
        *(
            f"CREATE INDEX ix_identity_limits_{name} ON identity_limits ({name})"
            for name in ("project_id", "domain_id", "registered_limit_id")
        ),
    )


def downgrade() -> None:
    run("DROP TABLE identity_limits", "DROP TABLE identity_registered_limits")

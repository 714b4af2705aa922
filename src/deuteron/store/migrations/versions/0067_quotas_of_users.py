"""Quotas of one user within a project."""

from __future__ import annotations

from deuteron.store.migrations.steps import run

revision = "0067"
down_revision = "0066"


def upgrade() -> None:
    run(
        "CREATE TABLE compute_user_quotas (project_id TEXT NOT NULL, user_id TEXT NOT NULL, name TEXT NOT NULL, "
        "hard_limit INTEGER NOT NULL, PRIMARY KEY (project_id, user_id, name))"
    )


def downgrade() -> None:
    run("DROP TABLE compute_user_quotas")

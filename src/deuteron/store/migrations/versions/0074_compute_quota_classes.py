"""Default quotas of Compute that an administrator set."""

from __future__ import annotations

from deuteron.store.migrations.steps import run

revision = "0074"
down_revision = "0073"


def upgrade() -> None:
    run(
        "CREATE TABLE compute_quota_classes (class_name TEXT NOT NULL, name TEXT NOT NULL, "
        "hard_limit INTEGER NOT NULL, PRIMARY KEY (class_name, name))",
    )


def downgrade() -> None:
    run("DROP TABLE compute_quota_classes")

"""Trusts."""

from __future__ import annotations

from deuteron.store.migrations.steps import run

revision = "0043"
down_revision = "0042"


def upgrade() -> None:
    table = "identity_trusts"
    run(
        f"CREATE TABLE {table} (id TEXT NOT NULL PRIMARY KEY, trustor_user_id TEXT, trustee_user_id TEXT,"
        " impersonation BOOLEAN, project_id TEXT, remaining_uses BIGINT, expires_at TEXT, redelegation_count BIGINT,"
        " redelegated_trust_id TEXT, roles TEXT)",
        *(
            f"CREATE INDEX ix_{table}_{name} ON {table} ({name})"
            for name in ("trustor_user_id", "trustee_user_id", "project_id", "redelegated_trust_id")
        ),
    )


def downgrade() -> None:
    run("DROP TABLE identity_trusts")

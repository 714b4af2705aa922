"""Access rules of application credentials."""

from __future__ import annotations

from deuteron.store.migrations.steps import run

revision = "0042"
down_revision = "0041"


def upgrade() -> None:
    table = "identity_access_rules"
    run(
        f"CREATE TABLE {table} (id TEXT NOT NULL PRIMARY KEY, path TEXT, method TEXT, service TEXT,"
        " user_id TEXT NOT NULL)",
        f"CREATE INDEX ix_{table}_user_id ON {table} (user_id)",
        "ALTER TABLE identity_application_credentials ADD COLUMN access_rules TEXT",
    )


def downgrade() -> None:
    """An application credential that was limited goes: without its rules it could do everything."""
    run(
        "DELETE FROM identity_application_credentials WHERE access_rules IS NOT NULL",
        "ALTER TABLE identity_application_credentials DROP COLUMN access_rules",
        "DROP TABLE identity_access_rules",
    )

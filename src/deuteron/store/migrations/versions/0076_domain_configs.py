"""Options that administrators keep for domains."""

from __future__ import annotations

from deuteron.store.migrations.steps import run

revision = "0076"
down_revision = "0075"


def upgrade() -> None:
    run("CREATE TABLE identity_domain_configs (domain_id TEXT NOT NULL PRIMARY KEY, options TEXT NOT NULL)")


def downgrade() -> None:
    run("DROP TABLE identity_domain_configs")

"""Address groups, which rules of security groups name."""

from __future__ import annotations

from deuteron.store.migrations.steps import run

revision = "0018"
down_revision = "0017"

_GROUPS = "network_address_groups"
_INDEX = "ix_network_security_group_rules_remote_address_group_id"


def upgrade() -> None:
    run(
        f"CREATE TABLE {_GROUPS} (id TEXT NOT NULL PRIMARY KEY, name TEXT, project_id TEXT, addresses TEXT,"
        " shared BOOLEAN, description TEXT, created_at TEXT, updated_at TEXT, revision_number BIGINT)",
        *(f"CREATE INDEX ix_{_GROUPS}_{name} ON {_GROUPS} ({name})" for name in ("project_id", "name", "shared")),
        f"CREATE INDEX {_INDEX} ON network_security_group_rules (remote_address_group_id)",
    )


def downgrade() -> None:
    run(f"DROP INDEX {_INDEX}", f"DROP TABLE {_GROUPS}")

"""Metering labels with their rules."""

from __future__ import annotations

from deuteron.store.migrations.steps import run

revision = "0019"
down_revision = "0018"


def upgrade() -> None:
    labels, rules = "network_metering_labels", "network_metering_label_rules"
    run(
        f"CREATE TABLE {labels} (id TEXT NOT NULL PRIMARY KEY, name TEXT, description TEXT, shared BOOLEAN,"
        " project_id TEXT)",
        *(f"CREATE INDEX ix_{labels}_{name} ON {labels} ({name})" for name in ("project_id", "name", "shared")),
        f"CREATE TABLE {rules} (id TEXT NOT NULL PRIMARY KEY, metering_label_id TEXT, direction TEXT,"
        " remote_ip_prefix TEXT, source_ip_prefix TEXT, destination_ip_prefix TEXT, excluded BOOLEAN, project_id TEXT)",
        *(f"CREATE INDEX ix_{rules}_{name} ON {rules} ({name})" for name in ("project_id", "metering_label_id")),
    )


def downgrade() -> None:
    run("DROP TABLE network_metering_label_rules", "DROP TABLE network_metering_labels")

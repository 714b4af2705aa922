"""Aggregates of compute hosts, which make availability zones."""

from __future__ import annotations

from deuteron.store.migrations.steps import run

revision = "0061"
down_revision = "0060"


def upgrade() -> None:
    run(
        "CREATE TABLE compute_aggregates (id INTEGER NOT NULL PRIMARY KEY, uuid TEXT NOT NULL, name TEXT NOT NULL, "
        "metadata TEXT NOT NULL, created_at TEXT NOT NULL, updated_at TEXT)",
        "CREATE UNIQUE INDEX uq_compute_aggregates_name ON compute_aggregates (name)",
        "CREATE TABLE compute_aggregate_hosts (aggregate_id INTEGER NOT NULL, host TEXT NOT NULL, "
        "PRIMARY KEY (aggregate_id, host))",
        "CREATE INDEX ix_compute_aggregate_hosts_host ON compute_aggregate_hosts (host)",
    )


def downgrade() -> None:
    run("DROP TABLE compute_aggregate_hosts", "DROP TABLE compute_aggregates")

"""QoS policies with their rules; networks and ports name one."""

from __future__ import annotations

from deuteron.store.migrations.steps import run

revision = "0017"
down_revision = "0016"

_USERS = ("network_networks", "network_ports")


def upgrade() -> None:
    run(
        "CREATE TABLE network_qos_policies (id TEXT NOT NULL PRIMARY KEY, name TEXT, shared BOOLEAN, project_id TEXT,"
        " is_default BOOLEAN, description TEXT, tags TEXT, created_at TEXT, updated_at TEXT, revision_number BIGINT)",
        "CREATE INDEX ix_network_qos_policies_project_id ON network_qos_policies (project_id)",
        "CREATE INDEX ix_network_qos_policies_name ON network_qos_policies (name)",
        "CREATE INDEX ix_network_qos_policies_shared ON network_qos_policies (shared)",
        "CREATE TABLE network_qos_bandwidth_limit_rules (id TEXT NOT NULL PRIMARY KEY, qos_policy_id TEXT,"
        " max_kbps BIGINT, max_burst_kbps BIGINT, direction TEXT,"
        " CONSTRAINT uq_network_qos_bandwidth_limit_rules_qos_policy_id_direction UNIQUE (qos_policy_id, direction))",
        "CREATE TABLE network_qos_dscp_marking_rules (id TEXT NOT NULL PRIMARY KEY, qos_policy_id TEXT,"
        " dscp_mark BIGINT, CONSTRAINT uq_network_qos_dscp_marking_rules_qos_policy_id UNIQUE (qos_policy_id))",
    )
    for table in _USERS:
        run(
            f"ALTER TABLE {table} ADD COLUMN qos_policy_id TEXT",
            f"CREATE INDEX ix_{table}_qos_policy_id ON {table} (qos_policy_id)",
        )


def downgrade() -> None:
    for table in _USERS:
        run(f"DROP INDEX ix_{table}_qos_policy_id", f"ALTER TABLE {table} DROP COLUMN qos_policy_id")
    for name in ("dscp_marking_rules", "bandwidth_limit_rules", "policies"):
        run(f"DROP TABLE network_qos_{name}")

"""QoS rules that ask for something at least, and what ports are promised."""

from __future__ import annotations

from deuteron.store.migrations.steps import run

revision = "0036"
down_revision = "0035"

_TABLES = {"network_qos_minimum_bandwidth_rules": "min_kbps", "network_qos_minimum_packet_rate_rules": "min_kpps"}


def upgrade() -> None:
    for table, value in _TABLES.items():
        run(
            f"CREATE TABLE {table} (id TEXT NOT NULL PRIMARY KEY, qos_policy_id TEXT, {value} BIGINT, direction TEXT,"
            f" CONSTRAINT uq_{table}_qos_policy_id_direction UNIQUE (qos_policy_id, direction))",
        )
    run("ALTER TABLE network_ports ADD COLUMN promised TEXT")


def downgrade() -> None:
    run("DELETE FROM usage WHERE scope = 'host' AND substr(resource, 1, 4) = 'NET_'")
    run("ALTER TABLE network_ports DROP COLUMN promised", *(f"DROP TABLE {table}" for table in _TABLES))

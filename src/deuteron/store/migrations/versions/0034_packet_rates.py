"""QoS rules that limit packets."""

from __future__ import annotations

from deuteron.store.migrations.steps import run

revision = "0034"
down_revision = "0033"

_TABLE = "network_qos_packet_rate_limit_rules"


def upgrade() -> None:
    run(
        f"CREATE TABLE {_TABLE} (id TEXT NOT NULL PRIMARY KEY, qos_policy_id TEXT,"
        " max_kpps BIGINT, max_burst_kpps BIGINT, direction TEXT,"
        f" CONSTRAINT uq_{_TABLE}_qos_policy_id_direction UNIQUE (qos_policy_id, direction))",
    )


def downgrade() -> None:
    run(f"DROP TABLE {_TABLE}")

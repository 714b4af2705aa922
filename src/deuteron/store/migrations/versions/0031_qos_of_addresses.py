"""Floating IPs and gateways of routers name a QoS policy."""

from __future__ import annotations

from deuteron.store.migrations.steps import run

revision = "0031"
down_revision = "0030"

_TABLES = ("network_floatingips", "network_routers")


def upgrade() -> None:
    for table in _TABLES:
        run(
            f"ALTER TABLE {table} ADD COLUMN qos_policy_id TEXT",
            f"CREATE INDEX ix_{table}_qos_policy_id ON {table} (qos_policy_id)",
        )


def downgrade() -> None:
    run("DELETE FROM host_slots WHERE kind = 'address'", "DELETE FROM number_hints WHERE kind = 'slot address'")
    for table in _TABLES:
        run(f"DROP INDEX ix_{table}_qos_policy_id", f"ALTER TABLE {table} DROP COLUMN qos_policy_id")

"""Ports of floating IPs that lead inside."""

from __future__ import annotations

from deuteron.store.migrations.steps import run

revision = "0025"
down_revision = "0024"


def upgrade() -> None:
    table = "network_port_forwardings"
    run(
        f"CREATE TABLE {table} (id TEXT NOT NULL PRIMARY KEY, protocol TEXT, internal_port_id TEXT,"
        " internal_ip_address TEXT, description TEXT, floatingip_id TEXT, external_first BIGINT NOT NULL,"
        " external_last BIGINT NOT NULL, internal_first BIGINT NOT NULL, internal_last BIGINT NOT NULL)",
        *(f"CREATE INDEX ix_{table}_{name} ON {table} ({name})" for name in ("floatingip_id", "internal_port_id")),
    )


def downgrade() -> None:
    run("DROP TABLE network_port_forwardings")

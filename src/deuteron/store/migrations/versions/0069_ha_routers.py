"""Routers that run on several hosts: the hidden network of their project, their number there, and the hosts."""

from __future__ import annotations

from deuteron.store.migrations.steps import run

revision = "0069"
down_revision = "0068"


def upgrade() -> None:
    run(
        "CREATE TABLE network_ha_networks (project_id TEXT NOT NULL, network_id TEXT NOT NULL,"
        " PRIMARY KEY (project_id))",
        "CREATE TABLE network_ha_routers (router_id TEXT NOT NULL, network_id TEXT NOT NULL, vr_id BIGINT NOT NULL,"
        " PRIMARY KEY (router_id), UNIQUE (network_id, vr_id))",
        "CREATE TABLE network_ha_hosts (router_id TEXT NOT NULL, host TEXT NOT NULL, port_id TEXT NOT NULL,"
        " state TEXT NOT NULL, PRIMARY KEY (router_id, host))",
        "CREATE INDEX ix_network_ha_hosts_host ON network_ha_hosts (host)",
    )


def downgrade() -> None:
    run("DROP TABLE network_ha_hosts", "DROP TABLE network_ha_routers", "DROP TABLE network_ha_networks")

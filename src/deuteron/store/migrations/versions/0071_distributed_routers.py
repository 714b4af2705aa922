"""Distributed routers: the MACs of hosts. Routers that said to be distributed ran on one host; now they say so."""

from __future__ import annotations

from deuteron.store.migrations.steps import run

revision = "0071"
down_revision = "0070"


def upgrade() -> None:
    run(
        "CREATE TABLE network_dvr_host_macs (host TEXT NOT NULL, mac_address TEXT NOT NULL, PRIMARY KEY (host),"
        " UNIQUE (mac_address))",
        "UPDATE network_routers SET ha = false, distributed = false WHERE distributed",
    )


def downgrade() -> None:
    run("DROP TABLE network_dvr_host_macs")

"""Which hosts serve a network's DHCP is said by itself: also of networks without subnets, and of several hosts."""

from __future__ import annotations

from deuteron.store.migrations.steps import run

revision = "0020"
down_revision = "0019"


def upgrade() -> None:
    run(
        "CREATE TABLE network_dhcp_hosts (network_id TEXT NOT NULL, host TEXT NOT NULL,"
        " PRIMARY KEY (network_id, host))",
        "CREATE INDEX ix_network_dhcp_hosts_host ON network_dhcp_hosts (host)",
        "INSERT INTO network_dhcp_hosts (network_id, host) SELECT DISTINCT network_id, binding_host_id"
        " FROM network_ports WHERE device_owner = 'network:dhcp' AND binding_host_id <> ''",
    )


def downgrade() -> None:
    run("DROP TABLE network_dhcp_hosts")

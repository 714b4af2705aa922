"""The network and the router that were made for a project that asked for one."""

from __future__ import annotations

from deuteron.store.migrations.steps import run

revision = "0022"
down_revision = "0021"


def upgrade() -> None:
    table = "network_auto_allocated_topologies"
    run(
        f"CREATE TABLE {table} (project_id TEXT NOT NULL PRIMARY KEY, network_id TEXT NOT NULL,"
        " router_id TEXT NOT NULL)",
        f"CREATE INDEX ix_{table}_network_id ON {table} (network_id)",
        "CREATE INDEX ix_network_subnetpools_is_default ON network_subnetpools (is_default)",
    )


def downgrade() -> None:
    run("DROP INDEX ix_network_subnetpools_is_default", "DROP TABLE network_auto_allocated_topologies")

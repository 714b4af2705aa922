"""IPv6 addresses that routers answer for outside, and whether they do."""

from __future__ import annotations

from deuteron.store.migrations.steps import run

revision = "0028"
down_revision = "0027"


def upgrade() -> None:
    table = "network_ndp_proxies"
    run(
        f"CREATE TABLE {table} (id TEXT NOT NULL PRIMARY KEY, name TEXT, project_id TEXT, router_id TEXT, port_id TEXT,"
        " ip_address TEXT, description TEXT, created_at TEXT, updated_at TEXT, revision_number BIGINT)",
        *(
            f"CREATE INDEX ix_{table}_{name} ON {table} ({name})"
            for name in ("project_id", "name", "router_id", "port_id")
        ),
        "ALTER TABLE network_routers ADD COLUMN enable_ndp_proxy BOOLEAN",
        "UPDATE network_routers SET enable_ndp_proxy = false",
        "CREATE INDEX ix_network_routers_enable_ndp_proxy ON network_routers (enable_ndp_proxy)",
    )


def downgrade() -> None:
    run(
        "DROP INDEX ix_network_routers_enable_ndp_proxy",
        "ALTER TABLE network_routers DROP COLUMN enable_ndp_proxy",
        "DROP TABLE network_ndp_proxies",
    )

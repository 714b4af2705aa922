"""What routers look for further connections in."""

from __future__ import annotations

from deuteron.store.migrations.steps import run

revision = "0027"
down_revision = "0026"


def upgrade() -> None:
    table = "network_conntrack_helpers"
    run(
        f"CREATE TABLE {table} (id TEXT NOT NULL PRIMARY KEY, protocol TEXT, port BIGINT, helper TEXT, router_id TEXT)",
        f"CREATE INDEX ix_{table}_router_id ON {table} (router_id)",
    )


def downgrade() -> None:
    run("DROP TABLE network_conntrack_helpers")

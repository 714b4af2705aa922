"""Flavors of routers, with their profiles."""

from __future__ import annotations

from deuteron.store.migrations.steps import run

revision = "0023"
down_revision = "0022"


def upgrade() -> None:
    run(
        "CREATE TABLE network_flavors (id TEXT NOT NULL PRIMARY KEY, name TEXT, description TEXT, service_type TEXT,"
        " enabled BOOLEAN, service_profiles TEXT)",
        "CREATE TABLE network_service_profiles (id TEXT NOT NULL PRIMARY KEY, description TEXT, driver TEXT,"
        " metainfo TEXT, enabled BOOLEAN)",
        "CREATE INDEX ix_network_routers_flavor_id ON network_routers (flavor_id)",
    )


def downgrade() -> None:
    run("DROP INDEX ix_network_routers_flavor_id", "DROP TABLE network_service_profiles", "DROP TABLE network_flavors")

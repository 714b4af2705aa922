"""Address scopes have numbers, which routers mark packets with, and networks say in which they are."""

from __future__ import annotations

from deuteron.store.migrations.steps import run

revision = "0026"
down_revision = "0025"

_SCOPES = "network_address_scopes"
_COLUMNS = "id, name, project_id, shared, ip_version"
_POOLS = "network_subnets s JOIN network_subnetpools p ON s.subnetpool_id = p.id"


def upgrade() -> None:
    run(
        # By way of another table: a column that is never null cannot be added to one that has rows.
        f"CREATE TABLE kept_scopes AS SELECT {_COLUMNS}, (SELECT count(*) FROM {_SCOPES} other WHERE other.id <="
        f" {_SCOPES}.id) AS number FROM {_SCOPES}",
        f"DROP TABLE {_SCOPES}",
        f"CREATE TABLE {_SCOPES} (id TEXT NOT NULL PRIMARY KEY, name TEXT, project_id TEXT, shared BOOLEAN,"
        " ip_version BIGINT, number BIGINT NOT NULL)",
        f"INSERT INTO {_SCOPES} ({_COLUMNS}, number) SELECT {_COLUMNS}, number FROM kept_scopes",
        "DROP TABLE kept_scopes",
        *(f"CREATE INDEX ix_{_SCOPES}_{name} ON {_SCOPES} ({name})" for name in ("project_id", "shared", "number")),
        *(
            f"UPDATE network_networks SET ipv{version}_address_scope = (SELECT max(p.address_scope_id) FROM {_POOLS}"
            f" WHERE s.network_id = network_networks.id AND s.ip_version = {version})"
            for version in (4, 6)
        ),
    )


def downgrade() -> None:
    run(
        "DELETE FROM number_hints WHERE kind = 'address scope'",
        "UPDATE network_networks SET ipv4_address_scope = NULL, ipv6_address_scope = NULL",
        f"DROP INDEX ix_{_SCOPES}_number",
        f"ALTER TABLE {_SCOPES} DROP COLUMN number",
    )

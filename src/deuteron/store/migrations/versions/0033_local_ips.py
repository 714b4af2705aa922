"""Local IPs, and the ports to which they lead."""

from __future__ import annotations

from deuteron.store.migrations.steps import run

revision = "0033"
down_revision = "0032"


def upgrade() -> None:
    local_ips, associations = "network_local_ips", "network_local_ip_associations"
    run(
        f"CREATE TABLE {local_ips} (id TEXT NOT NULL PRIMARY KEY, name TEXT, description TEXT, project_id TEXT,"
        " local_port_id TEXT, network_id TEXT, local_ip_address TEXT, ip_mode TEXT, created_at TEXT, updated_at TEXT,"
        " revision_number BIGINT)",
        *(
            f"CREATE INDEX ix_{local_ips}_{name} ON {local_ips} ({name})"
            for name in ("project_id", "name", "local_port_id")
        ),
        f"CREATE TABLE {associations} (id TEXT NOT NULL PRIMARY KEY, local_ip_id TEXT, local_ip_address TEXT,"
        " fixed_port_id TEXT, fixed_ip TEXT)",
        *(
            f"CREATE INDEX ix_{associations}_{name} ON {associations} ({name})"
            for name in ("local_ip_id", "fixed_port_id")
        ),
    )


def downgrade() -> None:
    run("DROP TABLE network_local_ip_associations", "DROP TABLE network_local_ips")

"""Trunks, and which port is in which."""

from __future__ import annotations

from deuteron.store.migrations.steps import run

revision = "0030"
down_revision = "0029"


def upgrade() -> None:
    trunks, ports = "network_trunks", "network_trunk_ports"
    run(
        f"CREATE TABLE {trunks} (admin_state_up BOOLEAN, id TEXT NOT NULL PRIMARY KEY, project_id TEXT, name TEXT,"
        " port_id TEXT, status TEXT, sub_ports TEXT, description TEXT, tags TEXT, created_at TEXT, updated_at TEXT,"
        f" revision_number BIGINT, CONSTRAINT uq_{trunks}_port_id UNIQUE (port_id))",
        *(f"CREATE INDEX ix_{trunks}_{name} ON {trunks} ({name})" for name in ("project_id", "name")),
        f"CREATE TABLE {ports} (port_id TEXT NOT NULL PRIMARY KEY, trunk_id TEXT NOT NULL, parent_id TEXT NOT NULL,"
        " segmentation_id BIGINT NOT NULL, UNIQUE (trunk_id, segmentation_id))",
    )


def downgrade() -> None:
    run("DROP TABLE network_trunk_ports", "DROP TABLE network_trunks")

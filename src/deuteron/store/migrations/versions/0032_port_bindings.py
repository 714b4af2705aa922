"""Ports may have inactive bindings on further hosts."""

from __future__ import annotations

from deuteron.store.migrations.steps import run

revision = "0032"
down_revision = "0031"


def upgrade() -> None:
    run(
        "CREATE TABLE network_port_bindings (port_id TEXT NOT NULL, host TEXT NOT NULL, vnic_type TEXT NOT NULL,"
        " profile TEXT NOT NULL, vif_type TEXT NOT NULL, vif_details TEXT NOT NULL, PRIMARY KEY (port_id, host))"
    )


def downgrade() -> None:
    run("DROP TABLE network_port_bindings")

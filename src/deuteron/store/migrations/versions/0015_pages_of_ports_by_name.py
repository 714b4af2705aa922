"""A page of ports in the order of names: ports without a name are many, and then go by their id."""

from __future__ import annotations

from deuteron.store.migrations.steps import run

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    run("DROP INDEX ix_network_ports_name")
    run("CREATE INDEX ix_network_ports_name_id ON network_ports (name, id)")


def downgrade() -> None:
    run("DROP INDEX ix_network_ports_name_id")
    run("CREATE INDEX ix_network_ports_name ON network_ports (name)")

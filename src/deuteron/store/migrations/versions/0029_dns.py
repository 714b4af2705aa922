"""Names of ports, and domains of ports and networks."""

from __future__ import annotations

from deuteron.store.migrations.steps import run

revision = "0029"
down_revision = "0028"

_COLUMNS = {
    "network_ports": ("dns_name TEXT", "dns_domain TEXT"),
    "network_networks": ("dns_domain TEXT",),
    "network_subnets": ("dns_publish_fixed_ip BOOLEAN",),
}


def upgrade() -> None:
    for table, columns in _COLUMNS.items():
        run(*(f"ALTER TABLE {table} ADD COLUMN {column}" for column in columns))
    run(
        "UPDATE network_ports SET dns_name = '', dns_domain = ''",
        "UPDATE network_networks SET dns_domain = ''",
        "UPDATE network_subnets SET dns_publish_fixed_ip = false",
    )


def downgrade() -> None:
    for table, columns in _COLUMNS.items():
        run(*(f"ALTER TABLE {table} DROP COLUMN {column.split()[0]}" for column in columns))

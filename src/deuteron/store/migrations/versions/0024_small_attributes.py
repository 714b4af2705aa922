"""Attributes of ports and networks that are kept as they are said."""

from __future__ import annotations

from deuteron.store.migrations.steps import run

revision = "0024"
down_revision = "0023"

_COLUMNS = {"network_ports": ("device_profile TEXT", "numa_affinity_policy TEXT"), "network_networks": ("ha BOOLEAN",)}


def upgrade() -> None:
    for table, columns in _COLUMNS.items():
        run(*(f"ALTER TABLE {table} ADD COLUMN {column}" for column in columns))
    run("UPDATE network_networks SET ha = false")


def downgrade() -> None:
    for table, columns in _COLUMNS.items():
        run(*(f"ALTER TABLE {table} DROP COLUMN {column.split()[0]}" for column in columns))

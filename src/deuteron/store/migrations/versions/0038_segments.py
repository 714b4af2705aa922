"""Segments are objects; a network that has several keeps them in its row.

The table that held the numbers in use becomes the one of the objects: each network that is there has one.
"""

from __future__ import annotations

import uuid

from deuteron.store.migrations.steps import execute, run

revision = "0038"
down_revision = "0037"

_COLUMNS = (
    "id, network_id, network_type, physical_network, segmentation_id, created_at, updated_at, revision_number, "
    "segment_index, place, number"
)


def upgrade() -> None:
    table = "network_segments"
    run(
        f"DROP TABLE {table}",
        f"CREATE TABLE {table} (id TEXT NOT NULL PRIMARY KEY, network_id TEXT, name TEXT, network_type TEXT,"
        " physical_network TEXT, segmentation_id BIGINT, description TEXT, created_at TEXT, updated_at TEXT,"
        " revision_number BIGINT, segment_index BIGINT NOT NULL, place TEXT NOT NULL, number BIGINT NOT NULL,"
        f" CONSTRAINT uq_{table}_network_type_place_number UNIQUE (network_type, place, number))",
        f"CREATE INDEX ix_{table}_network_id_segment_index ON {table} (network_id, segment_index)",
        f"CREATE INDEX ix_{table}_name ON {table} (name)",
        f"CREATE INDEX ix_{table}_physical_network ON {table} (physical_network)",
        "ALTER TABLE network_networks ADD COLUMN lans TEXT",
        "ALTER TABLE network_networks ADD COLUMN l2_adjacency BOOLEAN",
        "UPDATE network_networks SET l2_adjacency = true",
        "ALTER TABLE network_subnets ADD COLUMN segment_id TEXT",
        "CREATE INDEX ix_network_subnets_segment_id ON network_subnets (segment_id)",
        "ALTER TABLE network_ports ADD COLUMN ip_allocation TEXT",
        "UPDATE network_ports SET ip_allocation = 'immediate'",
    )
    found = execute(
        "SELECT id, provider_network_type, provider_physical_network, provider_segmentation_id, created_at "
        "FROM network_networks WHERE provider_network_type IS NOT NULL"
    )
    for network, kind, physical, number, created in found:
        own = str(uuid.uuid4())
        execute(
            f"INSERT INTO {table} ({_COLUMNS}) VALUES (:own, :network, :kind, :physical, :tag, :created, :created,"
            " 0, 0, :place, :number)",
            own=own,
            network=network,
            kind=kind,
            physical=physical,
            tag=number,
            created=created,
            place=own if kind == "local" else physical or "",
            number=number or 0,
        )


def downgrade() -> None:
    """Each network keeps one of its segments; the numbers of the others stay taken until it goes."""
    held = "SELECT network_type, place, number, network_id FROM network_segments WHERE network_type <> 'local'"
    first = "SELECT {} FROM network_segments WHERE network_id = network_networks.id ORDER BY segment_index LIMIT 1"
    names = ("network_type", "physical_network", "segmentation_id")
    said = ", ".join(f"provider_{name} = ({first.format(name)})" for name in names)
    run(
        f"UPDATE network_networks SET {said} WHERE lans IS NOT NULL",
        "CREATE TABLE network_segments_before (network_type TEXT NOT NULL, physical_network TEXT NOT NULL,"
        " segmentation_id BIGINT NOT NULL, network_id TEXT NOT NULL,"
        " PRIMARY KEY (network_type, physical_network, segmentation_id))",
        f"INSERT INTO network_segments_before {held}",
        "DROP TABLE network_segments",
        "ALTER TABLE network_segments_before RENAME TO network_segments",
        "CREATE INDEX ix_network_segments_network_id ON network_segments (network_id)",
        "ALTER TABLE network_networks DROP COLUMN lans",
        "ALTER TABLE network_networks DROP COLUMN l2_adjacency",
        "DROP INDEX ix_network_subnets_segment_id",
        "ALTER TABLE network_subnets DROP COLUMN segment_id",
        "ALTER TABLE network_ports DROP COLUMN ip_allocation",
    )

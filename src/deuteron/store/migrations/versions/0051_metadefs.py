"""Metadata definitions."""

from __future__ import annotations

from deuteron.store.migrations.steps import run

revision = "0051"
down_revision = "0050"


def upgrade() -> None:
    spaces, parts, types = (f"image_metadef_{name}" for name in ("namespaces", "parts", "resource_types"))
    run(
        f"CREATE TABLE {spaces} (id TEXT NOT NULL PRIMARY KEY, namespace TEXT, display_name TEXT, description TEXT,"
        " visibility TEXT, protected BOOLEAN, owner TEXT, created_at TEXT, updated_at TEXT,"
        f" CONSTRAINT uq_{spaces}_namespace UNIQUE (namespace))",
        f"CREATE INDEX ix_{spaces}_owner ON {spaces} (owner)",
        f"CREATE TABLE {parts} (id TEXT NOT NULL PRIMARY KEY, namespace_id TEXT, kind TEXT, name TEXT, body TEXT,"
        " created_at TEXT, updated_at TEXT,"
        f" CONSTRAINT uq_{parts}_namespace_id_kind_name UNIQUE (namespace_id, kind, name))",
        f"CREATE INDEX ix_{parts}_kind_name ON {parts} (kind, name)",
        f"CREATE TABLE {types} (name TEXT NOT NULL PRIMARY KEY, created_at TEXT NOT NULL, updated_at TEXT NOT NULL)",
    )


def downgrade() -> None:
    run(*(f"DROP TABLE image_metadef_{name}" for name in ("namespaces", "parts", "resource_types")))

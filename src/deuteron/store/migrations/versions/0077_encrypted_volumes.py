"""Types whose volumes are encrypted, and the keys of these and of their backups."""

from __future__ import annotations

from deuteron.store.migrations.steps import run

revision = "0077"
down_revision = "0076"

_COLUMNS = (
    ("volume_types", "encryption", "TEXT"),
    ("volume_volumes", "encryption_key_id", "TEXT"),
    ("volume_volumes", "key_bits", "BIGINT"),
    ("volume_backups", "encryption_key_id", "TEXT"),
)


def upgrade() -> None:
    run(
        "CREATE TABLE volume_keys (id TEXT NOT NULL PRIMARY KEY, secret TEXT NOT NULL)",
        *(f"ALTER TABLE {table} ADD COLUMN {name} {kind}" for table, name, kind in _COLUMNS),
    )


def downgrade() -> None:
    run("DROP TABLE volume_keys", *(f"ALTER TABLE {table} DROP COLUMN {name}" for table, name, _ in _COLUMNS))

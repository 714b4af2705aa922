"""Servers move to other hosts."""

from __future__ import annotations

from deuteron.store.migrations.steps import run

revision = "0058"
down_revision = "0057"

_TABLES = ("compute_servers", "compute_deleted_servers")
_COLUMNS = ("move", "other_host")


def upgrade() -> None:
    run(*(f"ALTER TABLE {table} ADD COLUMN {column} TEXT" for table in _TABLES for column in _COLUMNS))
    run("CREATE INDEX ix_compute_servers_other_host ON compute_servers (other_host)")


def downgrade() -> None:
    run("DROP INDEX ix_compute_servers_other_host")
    run(*(f"ALTER TABLE {table} DROP COLUMN {column}" for table in _TABLES for column in _COLUMNS))

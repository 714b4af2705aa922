"""Resizes, migrations and evacuations of servers are recorded."""

from __future__ import annotations

from deuteron.store.migrations.steps import run

revision = "0054"
down_revision = "0053"

_T = "compute_migrations"


def upgrade() -> None:
    run(
        f"CREATE TABLE {_T} (id TEXT NOT NULL PRIMARY KEY, number BIGINT, server_id TEXT, type TEXT, status TEXT,"
        " source TEXT, dest TEXT, project_id TEXT, user_id TEXT, created_at TEXT, updated_at TEXT)",
        f"CREATE INDEX ix_{_T}_server_id_number ON {_T} (server_id, number)",
        f"CREATE INDEX ix_{_T}_number ON {_T} (number)",
        f"CREATE INDEX ix_{_T}_created_at_number_id ON {_T} (created_at, number, id)",
        f"CREATE INDEX ix_{_T}_project_id_number ON {_T} (project_id, number)",
    )


def downgrade() -> None:
    run(f"DROP TABLE {_T}")

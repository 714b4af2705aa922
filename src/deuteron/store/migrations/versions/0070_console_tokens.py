"""Tokens of consoles."""

from __future__ import annotations

from deuteron.store.migrations.steps import run

revision = "0070"
down_revision = "0069"


def upgrade() -> None:
    run(
        "CREATE TABLE compute_console_tokens (digest TEXT NOT NULL, server_id TEXT NOT NULL, project_id TEXT NOT NULL, "
        "host TEXT NOT NULL, kind TEXT NOT NULL, expires_at INTEGER NOT NULL, is_used INTEGER NOT NULL, "
        "PRIMARY KEY (digest))",
        "CREATE INDEX ix_compute_console_tokens_server ON compute_console_tokens (server_id)",
        "CREATE INDEX ix_compute_console_tokens_expires ON compute_console_tokens (expires_at)",
    )


def downgrade() -> None:
    run("DROP TABLE compute_console_tokens")

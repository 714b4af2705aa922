"""Tasks of images: what imports did."""

from __future__ import annotations

from deuteron.store.migrations.steps import run

revision = "0044"
down_revision = "0043"


def upgrade() -> None:
    table = "image_tasks"
    run(
        f"CREATE TABLE {table} (id TEXT NOT NULL PRIMARY KEY, type TEXT, status TEXT, owner TEXT, input TEXT,"
        " result TEXT, message TEXT, image_id TEXT, request_id TEXT, user_id TEXT, expires_at TEXT, created_at TEXT,"
        " updated_at TEXT)",
        *(f"CREATE INDEX ix_{table}_{name} ON {table} ({name})" for name in ("image_id", "created_at", "expires_at")),
    )


def downgrade() -> None:
    # What was under way is over: an older service knows neither state.
    run(
        "DROP TABLE image_tasks",
        "UPDATE image_images SET status = 'queued', size = NULL WHERE status IN ('uploading', 'importing')",
    )

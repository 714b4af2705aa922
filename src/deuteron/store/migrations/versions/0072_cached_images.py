"""Images that hosts are to have before a server needs them."""

from __future__ import annotations

from deuteron.store.migrations.steps import run

revision = "0072"
down_revision = "0071"


def upgrade() -> None:
    run(
        "CREATE TABLE compute_cached_images (image_id TEXT NOT NULL, host TEXT NOT NULL, until INTEGER NOT NULL, "
        "PRIMARY KEY (image_id, host))",
        "CREATE INDEX ix_compute_cached_images_host ON compute_cached_images (host)",
    )


def downgrade() -> None:
    run("DROP TABLE compute_cached_images")

"""In which stores the data of images are: until now in the one that there was."""

from __future__ import annotations

from deuteron.store.migrations.steps import run

revision = "0075"
down_revision = "0074"


def upgrade() -> None:
    run("ALTER TABLE image_images ADD COLUMN folders TEXT")


def downgrade() -> None:
    # Copies that are in other folders only are lost to an older service: it looks into one.
    run("ALTER TABLE image_images DROP COLUMN folders")

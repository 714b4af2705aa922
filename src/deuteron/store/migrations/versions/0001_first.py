"""The first schema: every table as the declarations of this version say it."""

from __future__ import annotations

from alembic import op

from deuteron.store.tables import metadata

revision = "0001"
down_revision = None


def upgrade() -> None:
    metadata.create_all(op.get_bind())

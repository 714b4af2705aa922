"""Agents that an administrator took down: their host gets no further networks or routers to serve."""

from __future__ import annotations

from deuteron.store.migrations.steps import run

revision = "0068"
down_revision = "0067"


def upgrade() -> None:
    run("ALTER TABLE hosts ADD COLUMN disabled_agents TEXT NOT NULL DEFAULT '[]'")


def downgrade() -> None:
    run("ALTER TABLE hosts DROP COLUMN disabled_agents")

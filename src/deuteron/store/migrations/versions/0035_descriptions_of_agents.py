"""Administrators may describe agents: the parts of a host that OpenStack lists."""

from __future__ import annotations

from deuteron.store.migrations.steps import run

revision = "0035"
down_revision = "0034"


def upgrade() -> None:
    run("ALTER TABLE hosts ADD COLUMN agent_descriptions TEXT DEFAULT '{}' NOT NULL")


def downgrade() -> None:
    run("ALTER TABLE hosts DROP COLUMN agent_descriptions")

"""What mechanisms are still to be told of committed transactions."""

from __future__ import annotations

from deuteron.store.migrations.steps import run

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    run(
        "CREATE TABLE network_steps (number BIGINT NOT NULL, mechanism TEXT NOT NULL, action TEXT NOT NULL,"
        " kind TEXT NOT NULL, object_id TEXT NOT NULL, attributes TEXT NOT NULL, PRIMARY KEY (number))"
    )


def downgrade() -> None:
    run("DROP TABLE network_steps")

"""A page of servers, of a project's and of all, in the order in which lists show them: newest first."""

from __future__ import annotations

from deuteron.store.migrations.steps import run

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    run("DROP INDEX ix_compute_servers_project_id_created")
    columns = "project_id, created, number, id"
    run(f"CREATE INDEX ix_compute_servers_project_id_created_number_id ON compute_servers ({columns})")
    run("CREATE INDEX ix_compute_servers_created_number_id ON compute_servers (created, number, id)")


def downgrade() -> None:
    run("DROP INDEX ix_compute_servers_created_number_id")
    run("DROP INDEX ix_compute_servers_project_id_created_number_id")
    run("CREATE INDEX ix_compute_servers_project_id_created ON compute_servers (project_id, created)")

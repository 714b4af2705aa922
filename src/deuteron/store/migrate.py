"""Schema migrations with Alembic, linear: each revision expands first and contracts later.

A state folder from a newer version is refused rather than damaged.
"""

from __future__ import annotations

from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine


class NewerSchema(Exception):
    """The database was written by a newer version of the program."""


def upgrade(engine: Engine) -> None:
    """Bring the database to the newest schema; an empty one is made. Raises: NewerSchema."""
    script = _scripts()
    head = script.get_current_head()
    with engine.connect() as connection:
        current = MigrationContext.configure(connection).get_current_revision()
        if current == head:
            return
        known = {revision.revision for revision in script.walk_revisions()}
        if current is not None and current not in known:
            raise NewerSchema(
                f"the database has schema {current}, this program knows up to {head}: use the newer program on it"
            )
        # `upgrade` builds the steps from where the database is; run inside one transaction.
        environment = EnvironmentContext(Config(), script, fn=lambda found, _: script._upgrade_revs("head", found))
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        try:
            environment.configure(connection=connection, transactional_ddl=False)
            environment.run_migrations()
        except BaseException:
            connection.exec_driver_sql("ROLLBACK")
            raise
        connection.exec_driver_sql("COMMIT")


def _scripts() -> ScriptDirectory:
    config = Config()
    config.set_main_option("script_location", "deuteron.store:migrations")
    return ScriptDirectory.from_config(config)

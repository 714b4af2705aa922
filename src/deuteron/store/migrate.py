"""Schema migrations with Alembic, linear: each revision expands first and contracts later.

A state folder from a newer version is refused rather than damaged. An empty database is made as the
declarations say and stamped with the newest revision, so Alembic (10 MB, 0.3 s) is loaded only when there is something
to migrate.
"""

from __future__ import annotations

import re
from pathlib import Path

from sqlalchemy import (
    Column,
    Connection,
    Engine,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    insert,
    inspect,
    select,
)

_version = Table(
    "alembic_version",
    MetaData(),
    Column("version_num", String(32), nullable=False),
    PrimaryKeyConstraint("version_num", name="alembic_version_pkc"),
)
"""As Alembic makes it."""
VERSIONS = Path(__file__).with_name("migrations") / "versions"


class NewerSchema(Exception):
    """The database was written by a newer version of the program."""


def upgrade(engine: Engine, begin: str) -> None:
    """Bring the database to the newest schema; an empty one is made. `begin` keeps others from doing so meanwhile.

    Raises: NewerSchema.
    """
    head = revisions()[-1]
    with engine.connect() as connection:
        if _current(connection) == head:
            return
        connection.exec_driver_sql(begin)
        try:
            if _current(connection) is None:
                _create(connection, head)
            else:
                run_migrations(connection)
        except BaseException:
            connection.exec_driver_sql("ROLLBACK")
            raise
        connection.exec_driver_sql("COMMIT")


def revisions() -> list[str]:
    """All schema revisions in order: the numbers that the files of `migrations/versions` begin with."""
    return sorted(path.name[:4] for path in VERSIONS.iterdir() if re.fullmatch(r"\d{4}_\w+\.py", path.name))


def _current(connection: Connection) -> str | None:
    """The revision of the schema; None of an empty database. Raises: NewerSchema."""
    if not inspect(connection).has_table(_version.name):
        return None
    current: str | None = connection.scalar(select(_version.c.version_num))
    known = revisions()
    if current is not None and current not in known:
        raise NewerSchema(
            f"the database has schema {current}, this program knows up to {known[-1]}: use the newer program on it"
        )
    return current


def _create(connection: Connection, head: str) -> None:
    from deuteron.store.tables import metadata

    metadata.create_all(connection)
    _version.create(connection)
    connection.execute(insert(_version).values(version_num=head))


def run_migrations(connection: Connection, target: str = "head") -> None:
    """Bring a database to another schema, inside the open transaction: the newest, or back to an older one."""
    from alembic.config import Config
    from alembic.runtime.environment import EnvironmentContext
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", "deuteron.store:migrations")
    script = ScriptDirectory.from_config(config)
    is_back = target != "head" and target < (_current(connection) or "")
    steps = script._downgrade_revs if is_back else script._upgrade_revs
    environment = EnvironmentContext(config, script, fn=lambda found, _: steps(target, found))
    environment.configure(connection=connection, transactional_ddl=False)
    environment.run_migrations()

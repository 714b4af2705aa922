"""Migrations lead from every schema there was to the declared one and back, on the engine that is tested."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect, text

from deuteron.store import migrate
from deuteron.store.engine import Engine
from tests.stores import empty_engine, older_engine

FIRST = "0001"


@contextmanager
def changing(engine: Engine) -> Iterator[Connection]:
    session = engine.connect()
    engine.begin_write(session) if inspect(session.connection).has_table("changes") else session.control("BEGIN")
    yield session.connection
    session.control("COMMIT")
    session.close()


def schema(engine: Engine) -> dict[str, Any]:
    """Columns, keys and indexes of every table; a column that a migration adds comes last, which nothing depends on."""
    session = engine.connect()
    found: dict[str, Any] = {}
    seen = inspect(session.connection)
    definitions = "SELECT tablename, indexdef FROM pg_indexes WHERE schemaname = 'public'"
    for table in seen.get_table_names():
        columns = {
            (
                column["name"],
                str(column["type"]),
                getattr(column["type"], "collation", None),
                column["nullable"],
                re.sub(r"::\w+|'", "", str(column["default"])),
            )
            for column in seen.get_columns(table)
        }
        unique = {tuple(each["column_names"]) for each in seen.get_unique_constraints(table)}
        indexes = {(each["name"], tuple(each["column_names"]), each["unique"]) for each in seen.get_indexes(table)}
        found[table] = (columns, seen.get_pk_constraint(table)["constrained_columns"], unique, indexes)
    if session.connection.dialect.name == "postgresql":
        # With the order of NULL, which is not among the above.
        shown = session.connection.execute(text(definitions)).all()
        found["indexes"] = {re.sub(r"INDEX \w+ ON", "INDEX ON", definition) for _, definition in shown}
    session.close()
    return found


def test_an_empty_database_gets_the_schema_that_migrations_lead_to(tmp_path: Path) -> None:
    config = Config()
    config.set_main_option("script_location", "deuteron.store:migrations")
    assert migrate.revisions()[-1] == ScriptDirectory.from_config(config).get_current_head()
    made, first, led = (empty_engine(tmp_path) for _ in range(3))
    made.upgrade()
    declared = schema(made)
    with changing(first) as connection:
        migrate.run_migrations(connection, FIRST)
    with changing(led) as connection:
        migrate.run_migrations(connection)
    assert schema(led) == declared
    for engine, start in ((led, "all the way"), (made, "made as declared")):
        with changing(engine) as connection:
            migrate.run_migrations(connection, FIRST)
        assert schema(engine) == schema(first), f"{start}, and back to the first"
        with changing(engine) as connection:
            migrate.run_migrations(connection)
        assert schema(engine) == declared, f"{start}, back and again"
    for engine in (made, first, led):
        engine.close()


def test_migrations_are_made_of_steps_that_every_engine_takes() -> None:
    wrong = [path.name for path in migrate.VERSIONS.glob("0*.py") if re.search(r"\balembic\b", path.read_text())]
    assert wrong == [], "their statements go by deuteron.store.migrations.steps"


def test_every_migration_but_the_first_goes_back(tmp_path: Path) -> None:
    engine = empty_engine(tmp_path)
    engine.upgrade()
    assert len(migrate.revisions()) > 1
    for revision in reversed(migrate.revisions()[:-1]):
        with changing(engine) as connection:
            migrate.run_migrations(connection, revision)
            assert connection.scalar(text("SELECT version_num FROM alembic_version")) == revision
    engine.close()


_OLD = (
    "INSERT INTO network_subnetpools (id, project_id, shared) VALUES ('p', 'a', true), ('q', 'a', false)",
    "INSERT INTO network_address_scopes (id, project_id, shared) VALUES ('s', 'a', true), ('r', 'a', false)",
    "UPDATE network_subnetpools SET address_scope_id = 's' WHERE id = 'q'",
    "INSERT INTO network_networks (id, router_external) VALUES ('n', false), ('m', false)",
    "INSERT INTO network_subnets (id, network_id, router_external, ip_version, subnetpool_id) VALUES"
    " ('n4', 'n', false, 4, 'q')",
    "INSERT INTO network_ports (id, network_id, device_owner, binding_host_id) VALUES"
    " ('d', 'n', 'network:dhcp', 'aio'), ('e', 'm', 'network:dhcp', ''), ('f', 'm', 'compute:nova', 'aio')",
    "INSERT INTO network_security_groups (id, shared, is_default) VALUES ('g', false, false), ('h', false, false)",
    "INSERT INTO network_rbac_policies VALUES ('1', 'a', 'network', 'n', 'b', 'access_as_external'),"
    " ('2', 'a', 'security_group', 'g', '*', 'access_as_shared'),"
    " ('3', 'a', 'security_group', 'h', 'b', 'access_as_shared')",
    "INSERT INTO network_security_group_rules (id, security_group_id, remote_ip_prefix, signature) VALUES"
    " ('1', 'g', '0.0.0.0/0', 'ingress|IPv4|6|1|2|0.0.0.0/0|'), ('2', 'h', '::/0', 'ingress|IPv6||||::/0|'),"
    " ('3', 'h', NULL, 'ingress|IPv6|||||'), ('4', 'g', '10.0.0.0/8', 'ingress|IPv4||||10.0.0.0/8|')",
)
"""Rows of the first schema that later ones have otherwise."""
_RULES = "SELECT signature FROM network_security_group_rules ORDER BY id"


def test_the_rows_of_an_older_database_are_what_the_newest_schema_means(tmp_path: Path) -> None:
    engine = older_engine(tmp_path, *_OLD, schema=FIRST)
    with changing(engine) as connection:
        old = connection.scalars(text(_RULES)).all()
    engine.upgrade()

    session = engine.connect()
    new = session.connection
    assert new.scalars(text(_RULES)).all() == [
        "ingress|IPv4|6|1|2||", "ingress|IPv6||||::/0|", "ingress|IPv6|||||", "ingress|IPv4||||10.0.0.0/8|",
    ]  # fmt: skip
    made = "SELECT object_type, object_id, project_id, target_tenant FROM network_rbac_policies"
    assert [tuple(row) for row in new.execute(text(f"{made} WHERE length(id) = 36 ORDER BY object_id"))] == [
        ("subnetpool", "p", "a", "*"),
        ("address_scope", "s", "a", "*"),
    ]
    external = "SELECT id FROM network_networks WHERE router_external UNION SELECT id FROM network_subnets"
    assert new.scalars(text(f"{external} WHERE router_external ORDER BY id")).all() == ["n", "n4"]
    assert new.scalars(text("SELECT id FROM network_security_groups WHERE shared")).all() == ["g"]
    served = new.execute(text("SELECT network_id, host FROM network_dhcp_hosts"))
    assert [tuple(row) for row in served] == [("n", "aio")]
    numbers = new.execute(text("SELECT id, number FROM network_address_scopes ORDER BY id"))
    assert [tuple(row) for row in numbers] == [("r", 1), ("s", 2)]
    scopes = new.execute(text("SELECT id, ipv4_address_scope, ipv6_address_scope FROM network_networks ORDER BY id"))
    assert [tuple(row) for row in scopes] == [("m", None, None), ("n", "s", None)]
    with changing(engine) as connection:
        migrate.run_migrations(connection, FIRST)
    assert new.scalars(text(_RULES)).all() == old
    session.close()
    engine.close()


_ONE_BACK_END = (
    "INSERT INTO volume_volumes (id, host) VALUES ('v', 'aio'), ('lost', NULL)",
    "INSERT INTO volume_snapshots (id, volume_id, host) VALUES ('s', 'v', 'aio')",
    "INSERT INTO volume_groups (id, host) VALUES ('g', 'aio')",
    "INSERT INTO volume_backups (id, host) VALUES ('b', 'aio')",
    "INSERT INTO usage (scope, resource, owner, amount) VALUES ('host', 'volume gigabytes', 'aio', 7),"
    " ('host', 'ports', 'aio', 3)",
    "INSERT INTO hosts (name, id, connected, realised_revision, hello, usage, problems, disabled_services) VALUES"
    """ ('aio', '1', false, 0, '{}', '{}', '[]', '{"cinder-volume": "tired", "nova-compute": ""}')""",
)


def test_what_the_one_back_end_of_hosts_kept_is_kept_by_the_first_of_several(tmp_path: Path) -> None:
    engine = older_engine(tmp_path, *_ONE_BACK_END, schema="0058")
    engine.upgrade()
    session = engine.connect()
    new = session.connection
    for table in ("volume_volumes", "volume_snapshots", "volume_groups"):
        found = new.execute(text(f"SELECT host, backend, pool FROM {table} ORDER BY id DESC")).all()
        assert tuple(found[0]) == ("aio", "file", "file"), table
    lost = new.execute(text("SELECT backend, pool FROM volume_volumes WHERE id = 'lost'")).one()
    assert tuple(lost) == (None, None)
    assert new.scalars(text("SELECT backend FROM volume_backups")).all() == ["file"]
    amounts = "SELECT owner, amount FROM usage WHERE scope = 'host' ORDER BY owner"
    assert [tuple(row) for row in new.execute(text(amounts))] == [("aio", 3), ("aio@file", 7)]
    services = "SELECT disabled_services FROM hosts"
    assert json.loads(new.scalar(text(services)) or "") == {"cinder-volume@file": "tired", "nova-compute": ""}
    with changing(engine) as connection:
        migrate.run_migrations(connection, "0058")
    assert [tuple(row) for row in new.execute(text(amounts))] == [("aio", 3), ("aio", 7)]
    assert json.loads(new.scalar(text(services)) or "") == {"cinder-volume": "tired", "nova-compute": ""}
    session.close()
    engine.close()


_ROUTERS_OF_ONE_HOST = (
    "INSERT INTO network_routers (id, distributed, ha) VALUES"
    " ('a', true, true), ('b', true, false), ('c', false, true)",
)


def test_routers_that_said_to_be_distributed_say_that_they_run_on_one_host(tmp_path: Path) -> None:
    engine = older_engine(tmp_path, *_ROUTERS_OF_ONE_HOST, schema="0070")
    engine.upgrade()
    session = engine.connect()
    found = session.connection.execute(text("SELECT id, distributed, ha FROM network_routers ORDER BY id"))
    assert [(row[0], bool(row[1]), bool(row[2])) for row in found] == [
        ("a", False, False), ("b", False, False), ("c", False, True)
    ]  # fmt: skip
    session.close()
    engine.close()

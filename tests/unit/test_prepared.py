"""Prepared statements answer as SQLAlchemy's own execution does, and fail as it does."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import bindparam, insert, select, update
from sqlalchemy.exc import IntegrityError

from deuteron.store import query
from deuteron.store.database import Database, Tx
from deuteron.store.image_tables import images
from deuteron.store.network_tables import networks, ports
from deuteron.store.prepared import Prepared
from tests.stores import open_database

ROW = {"id": "a", "name": "ä", "shared": True, "tags": ["x", {"y": None}], "mtu": 1500, "router:external": False}


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    made = open_database(tmp_path)
    yield made
    made.close()


def test_what_is_written_by_one_is_read_by_the_other(database: Database) -> None:
    every = select(networks).order_by(networks.c.id)

    def work(tx: Tx) -> None:
        tx.run(Prepared(insert(networks)), ROW)
        tx.insert(networks, {**ROW, "id": "b"})
        one, other = (tuple(row) for row in tx.all(every))
        assert one[1:] == other[1:]
        assert list(tx.run(Prepared(every))) == [one, other]

    database.write(work)


def test_an_update_sets_what_it_names_and_says_how_many_rows_it_touched(database: Database) -> None:
    statement = Prepared(
        update(networks).where(networks.c.shared).values(tags=bindparam("to", type_=networks.c.tags.type))
    )

    def work(tx: Tx) -> None:
        tx.run(Prepared(insert(networks)), [ROW, {**ROW, "id": "b"}, {**ROW, "id": "c", "shared": False}])
        assert tx.run(statement, {"to": ["z"]}).rowcount == 2
        assert [row["tags"] for row in query.rows(tx, networks, order_by=[networks.c.id])] == [
            ["z"],
            ["z"],
            ROW["tags"],
        ]

    database.write(work)


def test_a_constraint_is_broken_with_the_same_exception(database: Database) -> None:
    with pytest.raises(IntegrityError):
        database.write(lambda tx: [tx.run(Prepared(insert(networks)), ROW) for _ in range(2)])


def test_a_column_that_is_not_given_takes_its_default(database: Database) -> None:
    required = {column.key: "x" for column in images.columns if not column.nullable and column.default is None}

    def work(tx: Tx) -> None:
        tx.run(Prepared(insert(images)), required)
        assert tx.scalar(select(images.c.is_inspected)) is False

    database.write(work)


CONDITIONS: tuple[tuple[Any, ...], ...] = (
    (),
    (ports.c.name == "p1",),
    (ports.c.name == "p1", ports.c.network_id == "n0"),
    (ports.c.name == "p1", ports.c.name == "p2"),
    (ports.c.admin_state_up.is_(True),),
    (ports.c.name.in_(["p1", "p2"]),),
)


def test_a_list_is_the_same_whatever_lists_were_asked_for_before(database: Database) -> None:
    """Every shape of a list, and every one again: a statement that is kept stands for its own shape alone."""

    def fill(tx: Tx) -> None:
        for number in range(12):
            row = {"id": f"{number:02}", "name": f"p{number % 3}", "network_id": f"n{number % 2}"}
            query.add(tx, ports, {**row, "mac_address": str(number), "admin_state_up": number > 5})

    database.write(fill)
    shapes = itertools.product((["id", "name"], ["id"]), CONDITIONS, (False, True), (None, 0, 2), (False, True))
    with database.read() as tx:
        for names, conditions, descending, limit, backwards in list(shapes) * 2:
            order, page = [query.Order("name", descending)], query.Page(limit, backwards=backwards)
            keys = [ports.c.name.desc() if descending != backwards else ports.c.name]
            keys.append(ports.c.id.desc() if backwards else ports.c.id)
            columns = [ports.c[name] for name in names]
            rows = tx.all(select(*columns).where(*conditions).order_by(*keys).limit(limit))
            wanted = [dict(row._mapping) for row in (reversed(rows) if backwards else rows)]
            assert query.answers(tx, ports, names, conditions, order, page) == wanted, (conditions, order, page)

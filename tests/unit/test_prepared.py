"""Prepared statements answer as SQLAlchemy's own execution does, and fail as it does."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import bindparam, insert, select, update
from sqlalchemy.exc import IntegrityError

from deuteron.store import expressions, query
from deuteron.store.database import Database, Tx
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


def test_a_list_has_the_same_order_on_every_engine(database: Database) -> None:
    """By the bytes of the text, and NULL first: whatever the server's language is."""
    names = [None, "", " a", "A", "B", "Z", "_", "a", "a b", "ab", "z", "Ä", "ä", "日"]

    def fill(tx: Tx) -> None:
        for number, name in enumerate(reversed(names)):
            query.add(tx, ports, {"id": f"{number:02}", "name": name, "mac_address": str(number)})

    database.write(fill)
    with database.read() as tx:
        up = [row["name"] for row in query.answers(tx, ports, ["name"], (), [query.Order("name")])]
        down = [row["name"] for row in query.answers(tx, ports, ["name"], (), [query.Order("name", True)])]
        assert (up, down) == (names, names[::-1])
        paged: list[Any] = []
        marker = None
        while True:
            page = query.Page(3, marker=marker)
            rows = query.answers(tx, ports, ["id", "name"], (), [query.Order("name")], page)
            paged += [row["name"] for row in rows]
            if not rows:
                break
            marker = rows[-1]
        assert paged == names
        assert query.rows(tx, ports, ports.c.name < "a", order_by=[ports.c.name])[-1]["name"] == "_"


def test_expressions_mean_the_same_on_every_engine(database: Database) -> None:
    rows = [
        {"id": "1", "name": "Net Ä one", "tags": ["red", 'x"a'], "mtu": 1500},
        {"id": "2", "name": "nEt ä two", "tags": ["red", "blue"], "mtu": 9000},
        {"id": "3", "name": None, "tags": [], "mtu": None},
    ]

    def found(tx: Tx, condition: Any) -> list[str]:
        return [row["id"] for row in query.rows(tx, networks, condition, order_by=[networks.c.id])]

    name, tags, mtu = networks.c.name, networks.c.tags, networks.c.mtu
    database.write(lambda tx: tx.run(Prepared(insert(networks)), rows))
    with database.read() as tx:
        for condition, ids in (
            (expressions.contains(name, "Net"), ["1"]),
            (expressions.contains_any(name, ["NET", "nothing"]), ["1", "2"]),
            (expressions.contains_any(name, ["Ä"]), ["1"]),
            (expressions.starts_with(expressions.folded(name), "net ä"), ["2"]),
            (expressions.ends_with(name, "two"), ["2"]),
            (expressions.ends_with(name, "a longer text than the name is"), []),
            (expressions.has_word(tags, "red"), ["1", "2"]),
            (expressions.has_word(tags, "a"), []),
            (expressions.has_any_word(tags, ["blue", 'x"a']), ["1", "2"]),
            (expressions.has_all_words(tags, ["blue", "red"]), ["2"]),
            (query.any_of(mtu, [1500, 7]), ["1"]),
            (query.any_of(mtu, [1500, None]), ["1", "3"]),
            (query.any_of(networks.c.id, ["1", "3", "no\0where"]), ["1", "3"]),
            (name == "no\0where", []),
            (mtu < 2**40, ["1", "2"]),
        ):
            assert found(tx, condition) == ids, str(condition)

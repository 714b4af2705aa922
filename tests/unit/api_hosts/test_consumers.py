"""Whoever follows the change log: a central consumer beside the hosts, which keeps where it was."""

from __future__ import annotations

import asyncio
import functools
import json
import random
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import select

from deuteron.hub.log import Consumer
from deuteron.model.network import RESOURCES
from deuteron.store import database
from deuteron.store.compute_tables import cached_images, servers
from deuteron.store.database import Tx
from deuteron.store.hosts_tables import hosts
from deuteron.store.image_tables import images
from deuteron.store.network_tables import TABLES
from deuteron.store.volume_tables import backups, snapshots, volumes
from tests.unit.api_hosts.agent import FakeAgent
from tests.unit.api_hosts.test_hub import port_status, run, running, write
from tests.unit.api_hosts.test_views import _operate, seed
from tests.waiting import until

ALL = {resource.name: TABLES[resource.name] for resource in RESOURCES if resource.followed}
ALL |= {"server": servers, "host": hosts, "volume": volumes, "volume_snapshot": snapshots, "backup": backups}
ALL |= {"image": images, "cached_image": cached_images}
NAMES = {"host": "name", "cached_image": "image_id"}
KEYS = {kind: table.c[NAMES.get(kind, "id")] for kind, table in ALL.items()}


class Engine:
    """Holds a picture of all rows in a file of its own, as an engine beside the cloud would, with its revision."""

    def __init__(self, path: Path) -> None:
        self._path = path
        kept = json.loads(path.read_text()) if path.exists() else {"revision": -1, "rows": {}}
        self._revision: int = kept["revision"]
        self.rows: dict[str, str] = kept["rows"]
        self.begun = 0
        self.followed: list[tuple[int, int]] = []
        self.broken = False
        self.asked = threading.Event()
        """That there is something to follow."""
        self.gate = threading.Event()
        self.gate.set()

    @property
    def revision(self) -> int:
        return self._revision

    def begin(self, tx: Tx, revision: int) -> None:
        self.begun += 1
        rows = {f"{kind}/{id}": _row(tx, kind, id) for kind in ALL for id in tx.scalars(select(KEYS[kind]))}
        self._keep({key: row for key, row in rows.items() if row is not None}, revision)

    def follow(self, tx: Tx, revision: int, touched: Sequence[database.Change]) -> None:
        self.asked.set()
        assert self.gate.wait(10)
        if self.broken:
            raise RuntimeError("the engine is away")
        self.followed.append((self._revision, revision))
        rows = dict(self.rows)
        for change in touched:
            row = _row(tx, change.kind, change.id)
            if row is None:
                rows.pop(f"{change.kind}/{change.id}", None)
            else:
                rows[f"{change.kind}/{change.id}"] = row
        self._keep(rows, revision)

    def _keep(self, rows: dict[str, str], revision: int) -> None:
        self._path.write_text(json.dumps({"revision": revision, "rows": rows}))
        self.rows, self._revision = rows, revision


def _row(tx: Tx, kind: str, id: str) -> str | None:
    row = tx.first(select(ALL[kind]).where(KEYS[kind] == id))
    if row is None:
        return None
    # A host's signs of life are no changes of the cloud.
    unsaid = ("connected", "last_heard", "started_at", "realised_revision", "hello", "usage", "problems")
    return repr([value for name, value in row._mapping.items() if kind != "host" or name not in unsaid])


def _fresh(tx: Tx, path: Path) -> dict[str, str]:
    engine = Engine(path)
    engine.begin(tx, 0)
    return engine.rows


def test_a_central_consumer_follows_all_kinds_and_goes_on_where_it_was(tmp_path: Path) -> None:
    async def test() -> None:
        path = tmp_path / "engine.json"
        dice = random.Random(7)
        count = 0
        async with running(tmp_path) as cloud:
            write(cloud, seed)
            engine: Any = Engine(path)
            cloud.hub.follow(engine)
            await until("it takes in what is there", lambda: engine.revision == cloud.database.revision)
            assert (engine.begun, len(engine.followed)) == (1, 0)
            for _ in range(60):
                count += 1
                await asyncio.to_thread(cloud.database.write, functools.partial(_operate, dice, count))
            await until("it follows", lambda: engine.revision == cloud.database.revision)
            assert engine.begun == 1 and engine.followed
            with cloud.database.read() as tx:
                assert engine.rows == _fresh(tx, tmp_path / "fresh.json")
                assert {key.partition("/")[0] for key in engine.rows} >= {"network", "port", "security_group", "router"}
        async with running(tmp_path) as cloud:
            for _ in range(20):
                count += 1
                await asyncio.to_thread(cloud.database.write, functools.partial(_operate, dice, count))
            engine = Engine(path)
            before = engine.revision
            cloud.hub.follow(engine)
            await until("it catches up", lambda: engine.revision == cloud.database.revision)
            assert engine.begun == 0 and engine.followed[0][0] == before
            with cloud.database.read() as tx:
                assert engine.rows == _fresh(tx, tmp_path / "fresh.json")

    run(test())


def test_a_consumer_that_is_behind_what_the_log_tells_begins_anew(tmp_path: Path) -> None:
    async def test() -> None:
        path = tmp_path / "engine.json"
        async with running(tmp_path, kept_revisions=10) as cloud:
            write(cloud, seed)
            engine = Engine(path)
            cloud.hub.follow(engine)
            await until("it takes in what is there", lambda: engine.revision == cloud.database.revision)
            engine.gate.clear()
            await asyncio.to_thread(write, cloud, functools.partial(_network, 60))
            await until("it hears of the next commit", engine.asked.is_set)
            for number in range(60):
                await asyncio.to_thread(write, cloud, functools.partial(_network, number))
            engine.gate.set()
            await until("it catches up", lambda: engine.revision == cloud.database.revision)
            # What it waited with was already read; what was pruned meanwhile is read from the rows.
            assert engine.begun == 2
            with cloud.database.read() as tx:
                assert engine.rows == _fresh(tx, tmp_path / "fresh.json")

    run(test())


def _network(number: int, rows: Any) -> None:
    rows.network(f"n{number}", 1100 + number)


def test_a_consumer_that_fails_is_asked_again_and_holds_up_no_host(tmp_path: Path) -> None:
    async def test() -> None:
        async with running(tmp_path) as cloud:
            engine = Engine(tmp_path / "engine.json")
            cloud.hub.follow(engine)
            await until("it takes in what is there", lambda: engine.begun == 1)
            engine.broken = True
            write(cloud, seed)
            agent = await FakeAgent(cloud, "h1").connect()
            await until("the host does not wait for the engine", lambda: port_status(cloud, "vm1") == "ACTIVE")
            assert engine.revision < cloud.database.revision and agent.closed is None
            engine.broken = False
            await until("it is asked again", lambda: engine.revision == cloud.database.revision)
            assert "port/vm1" in engine.rows

    run(test())


def test_the_hosts_together_are_a_consumer_too(tmp_path: Path) -> None:
    async def test() -> None:
        async with running(tmp_path) as cloud:
            views: Consumer = cloud.hub._views
            write(cloud, seed)
            await FakeAgent(cloud, "h1").connect()
            await until("they follow", lambda: views.revision == cloud.database.revision)

    run(test())

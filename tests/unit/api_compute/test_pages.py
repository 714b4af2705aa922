"""Lists page by page: pages are together the whole, no page reads more than itself, and no read writes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, select

from deuteron.api.call import Call, Mode
from deuteron.api.compute import paging
from deuteron.api.compute.service import ComputeService
from deuteron.rules.compute import flavors as rules
from deuteron.rules.compute.lifecycle import ServerRow
from deuteron.store.compute_tables import flavors
from deuteron.store.database import Database, Tx
from deuteron.store.listing import Keep, Listing
from deuteron.store.query import Order
from deuteron.store.schema import metadata
from tests.stores import open_database
from tests.unit.api_compute.harness import Client, World, run, world
from tests.unit.api_hosts.agent import FakeAgent

C = "/compute/v2.1"
LISTS = (
    ("flavors/detail", "flavors", "id", "2.1"),
    ("flavors?sort_key=description&sort_dir=desc", "flavors", "id", "2.55"),
    ("flavors/detail?sort_key=vcpus", "flavors", "id", "2.1"),
    ("os-keypairs", "keypairs", "name", "2.35"),
    ("servers", "servers", "id", "2.1"),
    ("servers/detail?sort_key=display_description&sort_dir=asc", "servers", "id", "2.19"),
    ("servers?changes-since=2020-01-01T00:00:00Z&all_tenants=1", "servers", "id", "2.1"),
    ("os-hypervisors", "hypervisors", "id", "2.33"),
    ("os-hypervisors/detail", "hypervisors", "id", "2.53"),
    ("servers/{id}/os-instance-actions", "instanceActions", "request_id", "2.58"),
    ("os-simple-tenant-usage/{project}?start=2020-01-01T00:00:00", "tenant_usage", "instance_id", "2.40"),
)
"""Path, name in the answer, what marks a place, microversion."""


@dataclass
class Names:
    """What stands in paths, and who reports."""

    id: str
    project: str
    agents: list[FakeAgent]


async def filled(w: World) -> tuple[Client, Names]:
    """An administrator with some of everything that is listed: ties and nulls among what is sorted by."""
    client = w.admin
    agents = [await w.agent(host) for host in ("h1", "h2")]
    image = await client.image()
    for number, description in enumerate((None, "b", None, "a", "b")):
        fields: dict[str, Any] = {"imageRef": image, "networks": [], "name": f"vm{number}"}
        if description is not None:
            fields["description"] = description
        server = await client.boot("2.37" if description is None else "2.52", **fields)
        await client.until_status(server, "ACTIVE")
        await client.post(f"{C}/os-keypairs", {"keypair": {"name": f"key{number}"}})
        await client.action(server, "lock")
    flavor = {"name": "odd", "ram": 64, "vcpus": 2, "disk": 0, "description": "odd"}
    await client.post(f"{C}/flavors", {"flavor": flavor}, "2.55")
    await client.request("DELETE", f"{C}/servers/{server}")
    await client.until_gone(f"{C}/servers/{server}")
    first = (await client.get(f"{C}/servers?sort_key=created_at&sort_dir=asc"))["servers"][0]["id"]
    for name in ("unlock", "os-stop"):
        await client.action(first, name)
    await client.until_status(first, "SHUTOFF")
    return client, Names(first, client.project_id, agents)


def items(body: Any, name: str) -> list[Any]:
    found = body[name]
    return list(found["server_usages"]) if isinstance(found, dict) and found else list(found)


def test_the_pages_of_a_list_are_together_the_whole(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            client, names = await filled(w)
            for path, name, marker, version in LISTS:
                at = f"{C}/{path.format(id=names.id, project=names.project)}"
                at += "&" if "?" in at else "?"
                whole = [item.get("keypair", item)[marker] for item in items(await client.get(at, version), name)]
                assert len(whole) > 1 and len(set(whole)) == len(whole), path
                for limit in (1, 2, len(whole)):
                    seen: list[Any] = []
                    after = ""
                    while True:
                        body = await client.get(f"{at}limit={limit}{after}", version)
                        page = [item.get("keypair", item)[marker] for item in items(body, name)]
                        assert len(page) <= limit
                        seen += page
                        links = next((body[key] for key in body if key.endswith("links")), None)
                        # A page as long as its limit has a link, also the last one.
                        assert (links is not None) == (len(page) == limit), (path, limit)
                        if links is None:
                            break
                        after = f"&marker={page[-1]}"
                        assert links[0]["href"].endswith(after[1:]), path
                    assert seen == whole, (path, limit)
                assert items(await client.get(f"{at}limit=0", version), name) == [], path
                refused = await client.request("GET", f"{at}marker=nosuch", version=version)
                assert (refused.status, refused.message) == (400, "marker [nosuch] not found"), path

    run(test())


def test_a_page_is_read_as_a_page(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            client, names = await filled(w)
            said: list[str] = []
            event.listen(
                w.cloud.database.engine, "before_cursor_execute", lambda *about: said.append(" ".join(about[2].split()))
            )
            for path, *_, version in LISTS:
                at = f"{C}/{path.format(id=names.id, project=names.project)}"
                said.clear()
                await client.get(f"{at}{'&' if '?' in at else '?'}limit=1", version)
                table = next(word for word in ("flavors", "keypairs", "hypervisors", "actions", "servers", "usage")
                             if word in path.partition("?")[0].replace("servers/{id}", ""))  # fmt: skip
                stored = {"hypervisors": "FROM hosts", "usage": "compute_deleted_servers"}.get(
                    table, f"compute_{table}"
                )
                # Old microversions number hosts by their place among all names.
                lists = [
                    each
                    for each in said
                    if stored in each and "ORDER BY" in each and not each.startswith("SELECT hosts.name FROM")
                ]
                assert lists and all("LIMIT" in each for each in lists), (path, said)

    run(test())


def everything(database: Database) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table."""
    with database.read() as tx:
        return {table.name: sorted(map(tuple, tx.all(select(table))), key=repr) for table in metadata.sorted_tables}


def test_no_read_of_the_compute_api_writes(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            client, names = await filled(w)
            for agent in names.agents:
                await agent.leave()  # what hosts report is written too
            await asyncio.to_thread(w.cloud.database.write, lambda tx: None)  # behind their last words
            before = everything(w.cloud.database)
            asked = 0
            for route in ComputeService().routes():
                if route.mode is not Mode.READ or route.method != "GET" or not route.auth:
                    continue
                id = names.project if "quota" in route.path or "usage" in route.path else names.id
                path = route.path.replace("{id}", id).replace("{", "").replace("}", "")
                for version in ("2.1", "2.96"):
                    answer = await client.request("GET", f"/compute{path}", version=version)
                    assert answer.status < 500 or (answer.status == 501 and "/os-hosts/" in path), path
                    asked += 1
            assert asked > 100
            assert everything(w.cloud.database) == before
            await client.post(f"{C}/os-keypairs", {"keypair": {"name": "written"}})
            assert everything(w.cloud.database) != before, "a write would be seen"

    run(test())


@pytest.mark.parametrize("limit", [1, 30, 1000])
def test_rows_that_python_tells_apart_are_read_until_a_page_is_full(tmp_path: Path, limit: int) -> None:
    database = open_database(tmp_path)
    asked: list[int] = []

    def choose(rows: Sequence[ServerRow]) -> Sequence[ServerRow]:
        asked.append(len(rows))
        return [row for row in rows if row.vcpus % 7 == 0]

    keep = Keep(("vcpus",), choose)

    def fill(tx: Tx) -> None:
        for n in range(1000):
            rules.create(tx, rules.NewFlavor(f"{n:04}", f"f{n:04}", vcpus=n, ram=1, disk=0))

    def page(after: str) -> Sequence[ServerRow]:
        query = (("limit", str(limit)), *((("marker", after),) if after else ()))
        call = Call(None, "GET", "/", {}, query, {})  # type: ignore[arg-type]  # a list asks nothing of the parts
        with database.read() as tx:
            return paging.page(call, tx, Listing(flavors, (), [Order("id")], keep=keep), "flavors", "flavors")[0]

    database.write(fill)
    seen: list[str] = []
    while rows := page(seen[-1] if seen else ""):
        assert all(row.name == f"f{row.id}" for row in rows), "whole rows"
        seen += [row.id for row in rows]
    assert seen == [f"{n:04}" for n in range(0, 1000, 7)]
    assert max(asked) <= 1001 and asked[0] <= max(200, limit + 1)
    database.close()


def test_an_offset_that_is_a_number_of_many_digits_leaves_nothing(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            await w.demo.post(f"{C}/os-server-groups", {"server_group": {"name": "a", "policies": ["affinity"]}})
            far = await w.demo.get(f"{C}/os-server-groups?offset={'9' * 400}")
            assert far["server_groups"] == []

    run(test())

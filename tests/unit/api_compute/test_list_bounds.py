"""Lists of servers take no longer for what a query says: patterns, words of tags and orders are bounded."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, select, update

from deuteron.api.compute.patterns import MAX_STEPS, Search
from deuteron.model.errors import BadRequest
from deuteron.store.compute_tables import servers
from deuteron.store.database import Tx
from tests.unit.api_compute.harness import World, run, world

C = "/compute/v2.1"


def crowd(w: World, size: int) -> Any:
    """Make `size` servers of the one there is, with names and descriptions as long as they may be."""

    def store(tx: Tx) -> None:
        row = dict(tx.all(select(servers))[0]._mapping)
        for n in range(size):
            long = f"{'a' * 250}{n:05d}"
            if n == 0:
                tx.execute(update(servers).values(name=long, description=long))
                continue
            copy = {**row, "id": f"{n:08d}-0000-4000-8000-000000000000", "number": row["number"] + n, "name": long}
            tx.execute(insert(servers), {**copy, "description": long})

    return w.cloud.database.write(store)


def test_searches_of_one_query_are_bounded_together(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            await w.admin.boot(imageRef=await w.admin.image(), networks=[])
            crowd(w, 8)

            async def status(query: str) -> int:
                answer = await w.admin.request("GET", f"{C}/servers/detail?{query}")
                if answer.status == 400:
                    assert "takes too long over 8 texts" in answer.message
                return answer.status

            assert await status("name=a*a*") == 200
            assert await status("description=a*a*") == 200
            assert await status("name=a*a*&description=a*a*") == 400, "together they are too much"
            assert await status("name=a*&description=a*&display_name=a*") == 200
            crowd_query = "&".join(["name=aaa", "description=aaa", "hostname=vm"])
            assert await status(crowd_query) == 200, "plain words are free"

    run(test())


def test_a_search_among_addresses_is_bounded() -> None:
    wanted, address = re.compile("f*f*"), "f" * 39
    few = MAX_STEPS // 40**2
    Search().refuse_long("ip", wanted, [address] * few, anywhere=False)
    with pytest.raises(BadRequest, match="takes too long"):
        Search().refuse_long("ip", wanted, [address] * (few + 1), anywhere=False)


def test_words_of_tags_and_orders_are_bounded(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            await w.admin.boot("2.52", imageRef=await w.admin.image(), networks="none", tags=["t0", "t1"])

            async def names(query: str) -> list[str]:
                found = await w.admin.get(f"{C}/servers?{query}", "2.52")
                return [server["name"] for server in found["servers"]]

            words = ",".join(f"t{n}" for n in range(200))
            expected: dict[str, list[str]] = {"tags": [], "tags-any": ["vm"], "not-tags": ["vm"], "not-tags-any": []}
            for name, found in expected.items():
                assert await names(f"{name}={words}") == found
                answer = await w.admin.request("GET", f"{C}/servers?{name}={words},t200", version="2.52")
                assert answer.status == 400 and "201 tags, at most 200" in answer.message
            assert await names("tags=t0,t1,t0") == ["vm"], "a word that stands there twice counts once"
            assert await names("&".join(["sort_key=display_name", "sort_dir=asc"] * 400)) == ["vm"]

    run(test())


def test_files_to_inject_are_counted_before_they_are_read(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            body = {"name": "vm", "flavorRef": "42", "imageRef": await w.admin.image(), "personality": [5] * 101}
            answer = await w.admin.request("POST", f"{C}/servers", {"server": body})
            assert answer.status == 400 and "101 items, at most 100 are accepted" in answer.message

    run(test())

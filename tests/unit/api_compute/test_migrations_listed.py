"""What is told of resizes and evacuations: `os-migrations`, and those under way below their server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.unit.api_compute.harness import World, run, world
from tests.unit.api_compute.test_evacuations import evacuate, force_down, started

C = "/compute/v2.1"


async def listed(w: World, query: str = "", version: str = "2.80") -> list[Any]:
    return list((await w.admin.get(f"{C}/os-migrations{query}", version))["migrations"])


def test_resizes_and_evacuations_are_listed_with_how_far_they_are(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            agent = await w.agent("h1")
            server = await started(w)
            assert await listed(w) == []
            agent.obedient = False
            assert (await w.demo.action(server, "resize", {"flavorRef": "84"})).status == 202
            assert [each["status"] for each in await listed(w)] == ["migrating"]
            agent.obedient = True
            await agent.report()
            await w.demo.until_status(server, "VERIFY_RESIZE")
            (one,) = await listed(w)
            assert (one["id"], one["instance_uuid"], one["status"], one["migration_type"]) == (
                1, server, "finished", "resize",
            )  # fmt: skip
            assert (one["source_compute"], one["dest_compute"], one["dest_node"]) == ("h1", "h1", "h1")
            assert one["dest_host"] == "10.0.1.1"
            assert (one["project_id"], one["user_id"]) == (w.demo.project_id, w.demo.user_id)
            assert one["created_at"] < one["updated_at"] and "links" not in one

            assert (await w.demo.action(server, "revertResize")).status == 202
            await w.demo.until_status(server, "ACTIVE")
            assert [each["status"] for each in await listed(w)] == ["reverted"]
            assert (await w.demo.action(server, "resize", {"flavorRef": "84"})).status == 202
            await w.demo.until_status(server, "VERIFY_RESIZE")
            assert (await w.demo.action(server, "confirmResize")).status == 204
            second = await w.agent("h2")
            await force_down(w, "h1", True)
            assert (await evacuate(w, server, host="h2")).status == 200
            await second.until(lambda: bool(second.servers()))
            await w.demo.until_status(server, "ACTIVE")
            found = await listed(w)
            assert [(each["id"], each["migration_type"], each["status"]) for each in found] == [
                (3, "evacuation", "done"), (2, "resize", "confirmed"), (1, "resize", "reverted"),
            ]  # fmt: skip
            assert [each["id"] for each in await listed(w, version="2.58")] == [1, 2, 3]

            for query, ids in (
                ("?migration_type=evacuation", [3]),
                ("?status=reverted", [1]),
                ("?host=h2", [3]),
                ("?host=h1", [3, 2, 1]),
                ("?source_compute=h2", []),
                (f"?instance_uuid={server}", [3, 2, 1]),
                ("?hidden=1", []),
                (f"?project_id={w.demo.project_id}", [2, 1]),
                (f"?user_id={w.admin.user_id}", [3]),
                ("?changes-since=2999-01-01T00:00:00Z", []),
                ("?changes-before=2999-01-01T00:00:00Z", [3, 2, 1]),
            ):
                assert [each["id"] for each in await listed(w, query)] == ids, query
            first = await w.admin.get(f"{C}/os-migrations?limit=2", "2.59")
            assert [each["id"] for each in first["migrations"]] == [3, 2]
            (link,) = first["migrations_links"]
            marker = first["migrations"][1]["uuid"]
            assert link["rel"] == "next" and link["href"].endswith(f"limit=2&marker={marker}")
            assert [each["id"] for each in await listed(w, f"?limit=2&marker={marker}")] == [1]
            assert (await w.admin.request("GET", f"{C}/os-migrations?marker=no", version="2.59")).status == 400

            assert (await w.admin.request("DELETE", f"{C}/servers/{server}")).status == 204
            await w.admin.until_gone(f"{C}/servers/{server}")
            assert [each["status"] for each in await listed(w)] == ["completed", "confirmed", "reverted"]

    run(test())


def test_a_resize_that_fails_says_so_and_shows_what_the_microversion_knows(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            agent = await w.agent("h1")
            server = await started(w)
            agent.faults[server] = ("no room", "")
            assert (await w.demo.action(server, "resize", {"flavorRef": "84"})).status == 202
            await w.demo.until_status(server, "ERROR")
            names = {"id", "instance_uuid", "status", "source_compute", "source_node", "dest_compute", "dest_node",
                     "dest_host", "old_instance_type_id", "new_instance_type_id", "created_at",
                     "updated_at"}  # fmt: skip
            for version, more in (
                ("2.1", set()),
                ("2.23", {"migration_type"}),
                ("2.59", {"migration_type", "uuid"}),
                ("2.80", {"migration_type", "uuid", "project_id", "user_id"}),
            ):
                (one,) = await listed(w, version=version)
                assert (one["status"], one.keys()) == ("error", names | more), version
            assert (await w.demo.request("GET", f"{C}/os-migrations")).status == 403

    run(test())


@pytest.mark.parametrize("version", ["2.21", "2.22", "2.23", "2.24", "2.80"])
def test_no_server_migrates_live(tmp_path: Path, version: str) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            await w.agent("h1")
            server = await started(w)
            assert (await w.demo.action(server, "resize", {"flavorRef": "84"})).status == 202
            await w.demo.until_status(server, "VERIFY_RESIZE")
            assert (await w.demo.action(server, "confirmResize")).status == 204
            minor = int(version.partition(".")[2])
            path = f"{C}/servers/{server}/migrations"
            found = await w.admin.request("GET", path, version=version)
            assert (found.status, minor < 23 or found.json == {"migrations": []}) == (200 if minor >= 23 else 404, True)
            for number in ("1", "2", "x"):
                assert (await w.admin.request("GET", f"{path}/{number}", version=version)).status == 404
                aborted = await w.admin.request("DELETE", f"{path}/{number}", version=version)
                assert aborted.status == (409 if minor >= 24 else 404)
                body = {"force_complete": None}
                forced = await w.admin.request("POST", f"{path}/{number}/action", body, version=version)
                assert forced.status == (400 if minor >= 22 else 404)
            assert (await w.demo.request("GET", path, version="2.80")).status == 403

    run(test())

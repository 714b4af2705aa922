"""Compute services: forced down, they take no server and stay so whatever their hosts say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.unit.api_compute.harness import Answer, World, run, world
from tests.unit.api_compute.test_boot import started

C = "/compute/v2.1"


async def service(w: World, host: str = "h1", version: str = "2.53") -> Any:
    return (await w.admin.get(f"{C}/os-services?binary=nova-compute&host={host}", version))["services"][0]


async def force(w: World, down: Any, host: str = "h1", version: str = "2.53") -> Answer:
    if version == "2.53":
        path, body = (await service(w, host))["id"], {"forced_down": down}
    else:
        path, body = "force-down", {"host": host, "binary": "nova-compute", "forced_down": down}
    return await w.admin.request("PUT", f"{C}/os-services/{path}", body, version=version)


@pytest.mark.parametrize("version", ["2.11", "2.52", "2.53"])
def test_a_service_that_is_forced_down_shows_down_everywhere_and_takes_no_server(tmp_path: Path, version: str) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            server = await started(w)
            answer = await force(w, True, version=version)
            assert answer.status == 200 and answer.json["service"]["forced_down"] is True
            shown = await service(w)
            assert (shown["state"], shown["status"], shown["forced_down"]) == ("down", "enabled", True)
            assert (await w.admin.get(f"{C}/os-hypervisors"))["hypervisors"][0]["state"] == "down"
            zones = (await w.admin.get(f"{C}/os-availability-zone/detail"))["availabilityZoneInfo"]
            assert not zones[1]["hosts"]["h1"]["nova-compute"]["available"] and not zones[1]["zoneState"]["available"]
            assert (await w.admin.get(f"{C}/servers/detail?all_tenants=1", "2.16"))["servers"][0][
                "host_status"
            ] == "DOWN"
            image = (await w.demo.get("/image/v2/images"))["images"][0]["id"]
            refused = await w.demo.until(await w.demo.boot(imageRef=image), lambda found: found["status"] == "ERROR")
            assert "h1: forced down" in refused["fault"]["message"]
            forced = await w.admin.boot(imageRef=image, networks=[], availability_zone="nova:h1")
            assert (await w.admin.server(forced))["status"] == "ERROR", "to name the host does not help"
            # Its networks go on: the service alone is down.
            assert all(agent["alive"] for agent in (await w.admin.get("/network/v2.0/agents"))["agents"])
            # Nobody waits for a host that is said to be down.
            assert (await w.demo.request("DELETE", f"{C}/servers/{server}")).status == 204
            assert (await w.demo.request("GET", f"{C}/servers/{server}")).status == 404

            await force(w, False, version=version)
            assert (await service(w))["state"] == "up"
            await w.demo.until_status(await w.demo.boot(imageRef=image), "ACTIVE")

    run(test())


def test_a_host_that_comes_back_stays_forced_down_and_disabled(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            agent = await w.agent("h1")
            await force(w, "yes")
            body = {"status": "disabled", "disabled_reason": "repair"}
            id = (await service(w))["id"]
            await w.admin.request("PUT", f"{C}/os-services/{id}", body, version="2.53")
            await agent.report()
            await agent.leave()
            await w.agent("h1")
            shown = await service(w)
            assert (shown["state"], shown["forced_down"]) == ("down", True)
            assert (shown["status"], shown["disabled_reason"]) == ("disabled", "repair")

    run(test())


@pytest.mark.parametrize(
    ("version", "path", "body", "status", "words"),
    [
        ("2.10", "force-down", {"host": "h1", "binary": "nova-compute"}, 404, "Unknown action"),
        ("2.10", "disable", {"host": "h1", "binary": "nova-compute", "forced_down": True}, 400, "was unexpected"),
        ("2.11", "force-down", {"host": "h1", "binary": "nova-compute"}, 400, "Missing forced_down field"),
        ("2.11", "force-down", {"host": "h9", "binary": "nova-compute", "forced_down": True}, 404, "on host h9"),
        ("2.11", "force-down", {"host": "h2", "binary": "nova-compute", "forced_down": True}, 404, "on host h2"),
        ("2.11", "disable", {"host": "controller", "binary": "nova-scheduler"}, 400, "Only nova-compute"),
        ("2.11", "disable-log-reason", {"host": "h1", "binary": "nova-compute"}, 400, "Missing disabled reason"),
    ],
)
def test_what_a_service_refuses(
    tmp_path: Path, version: str, path: str, body: dict[str, Any], status: int, words: str
) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            await w.agent("h1")
            answer = await w.admin.request("PUT", f"{C}/os-services/{path}", body, version=version)
            assert answer.status == status and words in answer.message
            assert await service(w) | {"updated_at": None} == {
                "id": (await service(w))["id"], "binary": "nova-compute", "host": "h1", "zone": "nova",
                "status": "enabled", "state": "up", "updated_at": None, "disabled_reason": None, "forced_down": False,
            }  # fmt: skip

    run(test())


def test_the_oldest_path_of_hosts_says_what_is_taken_by_whom(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            await w.agent("h1")
            path = "/compute/v2.1/os-hosts"
            server = await w.demo.boot(imageRef=await w.demo.image(), networks=[{"uuid": await w.demo.network()}])
            await w.demo.until_status(server, "ACTIVE")
            found = (await w.admin.get(path, "2.42"))["hosts"]
            assert {"host_name": "h1", "service": "compute", "zone": "nova"} in found
            assert (await w.admin.get(f"{path}?zone=nosuch", "2.42"))["hosts"] == []
            rows = [each["resource"] for each in (await w.admin.get(f"{path}/h1", "2.42"))["host"]]
            told = [(row["project"], row["cpu"], row["memory_mb"], row["disk_gb"]) for row in rows]
            assert told == [
                ("(total)", 8, 16384, 100), ("(used_now)", 1, 640, 1), ("(used_max)", 1, 128, 1),
                (w.demo.project_id, 1, 128, 1),
            ]  # fmt: skip
            assert (await w.admin.request("GET", f"{path}/nosuch", version="2.42")).status == 404
            changed = await w.admin.request("PUT", f"{path}/h1", {"status": "disable"}, version="2.42")
            assert changed.status == 501
            assert (await w.demo.request("GET", path, version="2.42")).status == 403
            assert (await w.admin.request("GET", path, version="2.43")).status == 404

    run(test())

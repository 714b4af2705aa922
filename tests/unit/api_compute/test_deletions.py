"""A deleted server is gone when its host says so: not before, and whatever else happens to hosts meanwhile."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import select

from deuteron.model.intent import Report, ServerReport
from deuteron.store.hosts_tables import hosts
from tests.unit.api_compute.harness import World, run, world
from tests.unit.api_hosts.agent import FakeAgent
from tests.waiting import until

SERVERS, PORTS = "/compute/v2.1/servers", "/network/v2.0/ports"
COUNT = 300


async def _boot_many(w: World, count: int) -> list[str]:
    project = w.admin.project_id
    quotas = {"instances": -1, "cores": -1, "ram": -1}
    answer = await w.admin.request("PUT", f"/compute/v2.1/os-quota-sets/{project}", {"quota_set": quotas})
    assert answer.status == 200, answer.body
    answer = await w.admin.request("PUT", f"/network/v2.0/quotas/{project}", {"quota": {"port": -1}})
    assert answer.status == 200, answer.body
    network = await w.admin.network(cidr="10.10.0.0/16")
    image = await w.admin.image()
    for first in range(0, count, 48):  # as many as one request may ask for
        some = min(48, count - first)
        await w.admin.boot(imageRef=image, networks=[{"uuid": network}], min_count=some, max_count=some)
    return await _ids(w, count, "ACTIVE")


async def _ids(w: World, count: int, status: str | None = None) -> list[str]:
    """The servers, once there are so many of them (with this status)."""

    async def look() -> tuple[list[str], int]:
        found = (await w.admin.get(f"{SERVERS}/detail?limit=1000"))["servers"]
        return [item["id"] for item in found if status in (None, item["status"])], len(found)

    ids, _ = await until(f"{count} servers", look, lambda seen: len(seen[0]) == count == seen[1])
    return list(ids)


async def _port_of(w: World, server_id: str) -> dict[str, object]:
    (port,) = (await w.admin.get(f"{PORTS}?device_id={server_id}"))["ports"]
    return dict(port)


async def _until_problems(w: World, wanted: list[list[str]]) -> None:
    """Until a report that says so was recorded."""

    def look() -> Any:
        with w.cloud.database.read() as tx:
            return tx.scalar(select(hosts.c.problems).where(hosts.c.name == "h1"))

    await until("a report says so", look, lambda seen: [each for each in wanted if each in seen] == wanted)


def test_of_many_servers_deleted_at_once_the_one_that_stays_keeps_its_address(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            agent = FakeAgent(w.cloud, "h1")
            agent.hello = msgspec.structs.replace(agent.hello, vcpus=COUNT, memory_mib=1 << 20, disk_gib=1 << 16)
            await agent.connect()
            ids = await _boot_many(w, COUNT)
            stuck = ids[COUNT // 2]
            agent.stuck[stuck] = "the guest does not stop"
            port = await _port_of(w, stuck)
            for id in ids:
                assert (await w.admin.request("DELETE", f"{SERVERS}/{id}")).status == 204
            assert await _ids(w, 1) == [stuck], "none is lost, and none goes before its host says so"

            taken = {"port": {"network_id": port["network_id"], "fixed_ips": port["fixed_ips"]}}
            assert (await w.admin.request("POST", PORTS, taken)).status == 409
            await _until_problems(w, [[f"server {stuck}", "the guest does not stop"]])

            agent.stuck.clear()
            await agent.report()
            assert await _ids(w, 0) == []
            assert (await w.admin.request("POST", PORTS, taken)).status == 201

    run(test())


def test_that_no_domain_is_there_does_not_free_the_address(tmp_path: Path) -> None:
    """Nobody can see domains while libvirtd is away, and files may be left of one that is gone."""

    async def test() -> None:
        async with world(tmp_path) as w:
            agent = await w.agent("h1")
            (id,) = await _boot_many(w, 1)
            agent.stuck[id] = "is being removed"
            assert (await w.admin.request("DELETE", f"{SERVERS}/{id}")).status == 204
            await agent.until(lambda: ("server", id) not in agent.objects)
            await agent.say(Report(agent.revision, servers=(ServerReport(id, "absent"),), problems=(("so", "far"),)))
            await _until_problems(w, [["so", "far"]])
            assert (await w.admin.server(id))["OS-EXT-STS:task_state"] == "deleting"
            assert await _port_of(w, id)

    run(test())


def test_a_new_agent_is_asked_for_servers_whose_end_nobody_heard_of(tmp_path: Path) -> None:
    """It may have been killed in between, and what it left is found only by who looks for it."""

    async def test() -> None:
        async with world(tmp_path) as w:
            agent = await w.agent("h1")
            (id,) = await _boot_many(w, 1)
            agent.stuck[id] = "is being removed"
            assert (await w.admin.request("DELETE", f"{SERVERS}/{id}")).status == 204
            await agent.until(lambda: ("server", id) not in agent.objects)
            await agent.leave()

            again = FakeAgent(w.cloud, "h1")
            again.stuck[id] = "the guest does not stop"
            await again.connect()
            await _until_problems(w, [[f"server {id}", "the guest does not stop"]])
            assert (await w.admin.server(id))["OS-EXT-STS:task_state"] == "deleting"
            again.stuck.clear()
            await again.report()
            await w.admin.until_gone(f"{SERVERS}/{id}")

    run(test())

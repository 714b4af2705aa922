"""The NUMA nodes of guests: what is asked, what is there, and who sees where they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from deuteron.model.compute import Flavor
from deuteron.rules.compute.numa import Cell, Topology, topology
from tests.unit.api_compute.harness import World, run, world
from tests.unit.api_compute.test_hardware import flavor

C = "/compute/v2.1"


async def shown(w: World, server: str, *, admin: bool = False) -> Any:
    return await (w.admin if admin else w.demo).get(f"{C}/servers/{server}/topology", "2.78")


def test_a_guest_s_nodes_are_shown_and_to_administrators_where_they_are(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            agent = await w.agent()
            image = await w.demo.image()
            plain = await w.demo.boot("2.37", imageRef=image, networks="none")
            chosen = await flavor(w, 2, hw__numa_nodes="1", hw__mem_page_size="small")
            one = await w.demo.boot("2.37", imageRef=image, networks="none", flavorRef=chosen)
            await w.demo.until_status(one, "ACTIVE")
            assert {server.id: server.hardware.has_numa_node for server in agent.servers()} == {plain: False, one: True}
            assert await shown(w, plain) == {"nodes": [], "pagesize_kb": None}
            node = {"vcpu_set": [0, 1], "siblings": [], "memory_mb": 128}
            assert await shown(w, one) == {"nodes": [node], "pagesize_kb": 4}
            placed = {**node, "host_node": 0, "cpu_pinning": {}}
            assert await shown(w, one, admin=True) == {"nodes": [placed], "pagesize_kb": 4}
            asked = await w.demo.request("GET", f"{C}/servers/{one}/topology", version="2.77")
            assert (asked.status, asked.message) == (404, "The resource could not be found.")
            missing = await w.demo.request("GET", f"{C}/servers/{'0' * 8}/topology", version="2.78")
            assert missing.status == 404

    run(test())


def test_a_server_that_no_host_can_run_shows_what_it_asks(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            await w.agent()
            chosen = await flavor(
                w, 3, hw__numa_nodes="2", hw__mem_page_size="large", hw__numa_cpus___0="0,2", hw__numa_cpus___1="1",
                hw__numa_mem___0="96", hw__numa_mem___1="32",
            )  # fmt: skip
            server = await w.demo.boot("2.37", imageRef=await w.demo.image(), networks="none", flavorRef=chosen)
            assert (await w.demo.server(server))["status"] == "ERROR"
            found = await shown(w, server, admin=True)
            assert found["pagesize_kb"] == -2
            assert [(node["vcpu_set"], node["memory_mb"], node["host_node"]) for node in found["nodes"]] == [
                ([0, 2], 96, 0), ([1], 32, 1),
            ]  # fmt: skip

    run(test())


@pytest.mark.parametrize(
    ("specs", "image", "found"),
    [
        ({}, {}, None),
        ({"hw:cpu_policy": "shared"}, {}, None),
        ({"hw:cpu_policy": "dedicated"}, {}, Topology((Cell((0, 1, 2, 3), 512),), None)),
        ({}, {"hw_numa_nodes": "2"}, Topology((Cell((0, 1), 256), Cell((2, 3), 256)), None)),
        ({"hw:mem_page_size": "2MB"}, {}, Topology((Cell((0, 1, 2, 3), 512),), 2048)),
    ],
)
def test_what_makes_nodes(specs: dict[str, str], image: dict[str, str], found: Topology | None) -> None:
    wanted = Flavor("1", "f", 4, 512, 1, extra_specs=specs)
    assert topology(wanted, image, is_placed=False) == found


def test_more_processors_than_any_host_has_are_not_counted() -> None:
    wanted = Flavor("1", "f", 2**30, 512, 1, extra_specs={"hw:numa_nodes": "1"})
    assert topology(wanted, {}, is_placed=False) is None

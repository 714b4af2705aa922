"""Servers that go to another host, off: what is asked of both hosts, where the disks go, and the ways on and back."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from deuteron.model.intent import Report, ServerReport
from tests.unit.api_compute.harness import Answer, Client, World, run, world
from tests.unit.api_compute.test_evacuations import force_down, started
from tests.unit.api_hosts.agent import FakeAgent
from tests.waiting import until

DISKS = b"disks" * 1000


async def parcel(w: World, host: str, method: str, move: str | None, body: bytes | None = None) -> Answer:
    headers = {"authorization": f"Bearer token-{host}"}
    return await Client(w.app).request(method, f"/internal/moves/{move}", body, headers=headers, unix=True)


async def taken(w: World) -> list[tuple[int, int]]:
    """Processors and memory taken of each host."""
    found = (await w.admin.get("/compute/v2.1/os-hypervisors/detail"))["hypervisors"]
    return [(host["vcpus_used"], host["memory_mb_used"] - 512) for host in found]


async def place(w: World, server: str) -> tuple[str, str]:
    """The host of the server, and that of its port."""
    port = (await w.admin.get(f"/network/v2.0/ports?device_id={server}"))["ports"][0]
    return (await w.admin.server(server))["OS-EXT-SRV-ATTR:host"], port["binding:host_id"]


async def status(w: World) -> str:
    return str((await w.admin.get("/compute/v2.1/os-migrations", "2.80"))["migrations"][0]["status"])


async def asked(w: World, first: FakeAgent, server: str, name: str, argument: Any, version: str = "2.80") -> str:
    """The move that the first host is asked for, with its guest off."""
    assert (await w.admin.action(server, name, argument, version)).status == 202
    await first.until(lambda: bool(first.servers()) and first.servers()[0].give is not None)
    item = first.servers()[0]
    assert (item.power, item.shape_generation) == ("shutdown", 0) and len(item.ports) == 1
    assert (await w.demo.server(server))["OS-EXT-STS:task_state"] == "resize_migrating"
    return str(item.give)


@pytest.mark.parametrize("way", ["confirmResize", "revertResize"])
def test_a_server_migrates_and_stays_or_goes_back(tmp_path: Path, way: str) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            first = await w.agent("h1")
            server = await started(w)
            second = await w.agent("h2")
            move = await asked(w, first, server, "migrate", None)
            assert await taken(w) == [(1, 128), (1, 128)], "both have room for it"
            for host, method, body, code in (
                ("h2", "PUT", DISKS, 404), ("h2", "GET", None, 404), ("h1", "GET", None, 404),
            ):  # fmt: skip
                assert (await parcel(w, host, method, move, body)).status == code
            second.obedient = False
            # The host asks again before it had its answer.
            twice = await asyncio.gather(*(parcel(w, "h1", "PUT", move, DISKS) for _ in range(2)))
            assert {answer.status for answer in twice} <= {204, 404}
            await second.until(lambda: bool(second.servers()))
            item = second.servers()[0]
            assert (item.take, item.power, item.shape_generation) == (move, "running", 1) and len(item.ports) == 1
            assert (await parcel(w, "h2", "GET", move)).body == DISKS
            assert (await parcel(w, "h1", "GET", move)).status == 404
            assert (await parcel(w, "h1", "PUT", move, DISKS)).status == 404, "once is enough"
            await first.until(lambda: first.servers()[0].give is None)
            assert (first.servers()[0].power, first.servers()[0].ports) == ("shutdown", ())
            assert await place(w, server) == ("h2", "h2") and await status(w) == "post-migrating"
            second.obedient = True
            await second.report()
            await w.demo.until_status(server, "VERIFY_RESIZE")
            assert await status(w) == "finished"
            await second.until(lambda: second.servers()[0].take is None)
            assert (await parcel(w, "h2", "GET", move)).status == 404
            await until("the disks that went are gone", lambda: list((tmp_path / "moves").iterdir()) == [])

            done = await w.demo.action(server, way)
            assert done.status == (204 if way == "confirmResize" else 202)
            shown = await w.demo.until_status(server, "ACTIVE")
            stays = way == "confirmResize"
            left, here = (first, second) if stays else (second, first)
            await left.until(lambda: not left.servers())
            await here.until(lambda: here.servers()[0].power == "running")
            assert (here.servers()[0].shape_generation, here.servers()[0].restore) == (1 if stays else 2, None)
            assert await place(w, server) == (("h2", "h2") if stays else ("h1", "h1"))
            assert await taken(w) == ([(0, 0), (1, 128)] if stays else [(1, 128), (0, 0)])
            assert await status(w) == ("confirmed" if stays else "reverted")
            assert shown["status"] == "ACTIVE"
            actions = (await w.demo.get(f"/compute/v2.1/servers/{server}/os-instance-actions"))["instanceActions"]
            assert [(each["action"], each["message"]) for each in actions[:2]] == [(way, None), ("migrate", None)]

    run(test())


def test_a_resize_goes_where_there_is_room(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            first = await w.agent("h1", vcpus=1)
            server = await started(w)
            body = {"name": "wide", "vcpus": 20, "ram": 256, "disk": 3}
            wide = (await w.admin.post("/compute/v2.1/flavors", {"flavor": body}))["flavor"]["id"]
            second = await w.agent("h2", vcpus=8)
            move = await asked(w, first, server, "resize", {"flavorRef": wide})
            assert await taken(w) == [(1, 128), (20, 256)]
            assert (await parcel(w, "h1", "PUT", move, DISKS)).status == 204
            await w.demo.until_status(server, "VERIFY_RESIZE")
            assert (second.servers()[0].vcpus, second.servers()[0].root_disk_gib) == (20, 3)
            assert (first.servers()[0].vcpus, first.servers()[0].root_disk_gib) == (1, 1)
            assert (await w.demo.request("DELETE", f"/compute/v2.1/servers/{server}")).status == 204
            await w.demo.until_gone(f"/compute/v2.1/servers/{server}")
            await first.until(lambda: not first.servers())
            assert await taken(w) == [(0, 0), (0, 0)]

    run(test())


def test_disks_that_cannot_be_given_leave_the_server_as_it_was(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            first = await w.agent("h1")
            server = await started(w)
            await w.agent("h2")
            await asked(w, first, server, "migrate", {"host": "h2"})
            item = first.servers()[0]
            await first.say(_report(first, ServerReport(item.id, "shutdown", 0, 0, 0, move_fault="no room")))
            await w.demo.until_status(server, "ACTIVE")
            await first.until(lambda: (first.servers()[0].power, first.servers()[0].give) == ("running", None))
            assert await taken(w) == [(1, 128), (0, 0)] and await place(w, server) == ("h1", "h1")
            assert await status(w) == "error"
            actions = (await w.demo.get(f"/compute/v2.1/servers/{server}/os-instance-actions"))["instanceActions"]
            assert (actions[0]["action"], actions[0]["message"]) == ("migrate", "Error")

    run(test())


def test_a_server_whose_host_dies_on_the_way_is_evacuated(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            first = await w.agent("h1")
            server = await started(w)
            second = await w.agent("h2")
            move = await asked(w, first, server, "migrate", None)
            await force_down(w, "h1", True)
            assert (await w.admin.action(server, "evacuate", {}, "2.68")).status == 200
            await second.until(lambda: bool(second.servers()))
            assert second.servers()[0].take is None
            await w.demo.until_status(server, "ACTIVE")
            await first.until(lambda: not first.servers())
            assert await taken(w) == [(0, 0), (1, 128)]
            assert (await parcel(w, "h1", "PUT", move, DISKS)).status == 404

    run(test())


def test_who_may_migrate_and_where_to(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            await w.agent("h1")
            server = await started(w)
            assert (await w.demo.action(server, "migrate")).status == 403
            for argument, code in (({"host": "nosuch"}, 400), ({"host": "h1"}, 400), ({"more": 1}, 400)):
                assert (await w.admin.action(server, "migrate", argument, "2.56")).status == code, argument
            # As in Nova nobody waits for the host to be chosen.
            assert (await w.admin.action(server, "migrate", None)).status == 202
            actions = (await w.demo.get(f"/compute/v2.1/servers/{server}/os-instance-actions"))["instanceActions"]
            assert (actions[0]["action"], actions[0]["message"]) == ("migrate", "Error")
            assert (await w.demo.server(server))["status"] == "ACTIVE" and await status(w) == "error"

    run(test())


def _report(agent: FakeAgent, server: ServerReport) -> Any:
    return Report(agent.revision, (), (), (server,))

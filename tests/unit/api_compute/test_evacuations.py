"""Evacuation: servers of a host that is down, on another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.unit.api_compute.harness import World, run, world


async def started(w: World) -> str:
    network = await w.demo.network()
    server = await w.demo.boot(imageRef=await w.demo.image(), networks=[{"uuid": network}])
    await w.demo.until_status(server, "ACTIVE")
    return server


async def force_down(w: World, host: str, down: bool) -> None:
    body = {"host": host, "binary": "nova-compute", "forced_down": down}
    assert (await w.admin.request("PUT", "/compute/v2.1/os-services/force-down", body, version="2.11")).status == 200


async def evacuate(w: World, server: str, version: str = "2.68", **argument: Any) -> Any:
    return await w.admin.action(server, "evacuate", argument, version)


def test_a_server_of_a_host_that_is_down_is_built_on_another(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            first = await w.agent("h1")
            server = await started(w)
            refused = await evacuate(w, server)
            assert (refused.status, refused.message) == (400, "Compute service of h1 is still in use.")
            assert (await w.demo.action(server, "evacuate", {}, "2.68")).status == 403
            second = await w.agent("h2")
            await force_down(w, "h1", True)
            assert (await evacuate(w, server, host="nosuch")).status == 404
            assert (await evacuate(w, server, host="h1")).status == 400
            assert (await evacuate(w, server, "2.13", host="h2")).status == 400, "onSharedStorage has to be said"

            asked = await evacuate(w, server, "2.13", host="h2", onSharedStorage=False, adminPass="secret")
            assert (asked.status, asked.json) == (200, {"adminPass": "secret"})
            await second.until(lambda: bool(second.servers()))
            await w.demo.until_status(server, "ACTIVE")
            assert second.servers()[0].build_generation == 1
            assert (await w.admin.server(server))["OS-EXT-SRV-ATTR:host"] == "h2"
            port = (await w.admin.get(f"/network/v2.0/ports?device_id={server}"))["ports"][0]
            assert port["binding:host_id"] == "h2"
            # The old host is alive after all, and is not to run it a second time.
            await first.until(lambda: not first.servers())
            found = (await w.admin.get("/compute/v2.1/os-hypervisors/detail"))["hypervisors"]
            assert [host["vcpus_used"] for host in found] == [0, 1]

    run(test())


def test_from_2_95_on_it_stays_off_and_without_room_anywhere_it_is_in_error(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            await w.agent("h1")
            server = await started(w)
            # In the middle of a resize, which is over then: the disk of before is lost with its host.
            assert (await w.demo.action(server, "resize", {"flavorRef": "84"})).status == 202
            await w.demo.until_status(server, "VERIFY_RESIZE")
            assert (await w.admin.action(server, "os-resetState", {"state": "active"})).status == 202
            await force_down(w, "h1", True)
            assert (await evacuate(w, server)).status == 200
            shown = await w.demo.until_status(server, "ERROR")
            assert shown["fault"]["message"].startswith("No valid host was found.")
            second = await w.agent("h2")
            assert (await evacuate(w, server, "2.95")).status == 200
            await second.until(lambda: bool(second.servers()))
            await w.demo.until_status(server, "SHUTOFF")
            item = second.servers()[0]
            assert (item.power, item.keep, item.memory_mib) == ("shutdown", None, 256)
            found = (await w.admin.get("/compute/v2.1/os-hypervisors/detail"))["hypervisors"]
            assert [(host["vcpus_used"], host["memory_mb_used"] - 512) for host in found] == [(0, 0), (1, 256)]

    run(test())

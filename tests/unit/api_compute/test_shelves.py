"""Shelving: a server's way into an image, and back from it onto a host."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from deuteron.model.intent import Report, ServerReport
from tests import rows
from tests.unit.api_compute.harness import Client, World, run, world
from tests.unit.api_image.test_inspect import qcow2
from tests.unit.api_volume.harness import Volumes
from tests.unit.api_volume.test_volumes import status, volume
from tests.waiting import until


async def started(w: World) -> str:
    network = await w.demo.network()
    server = await w.demo.boot(imageRef=await w.demo.image(), networks=[{"uuid": network}])
    await w.demo.until_status(server, "ACTIVE")
    return server


async def shelve(w: World, server: str) -> str:
    """The image that its disk is then."""
    assert (await w.demo.action(server, "shelve")).status == 202
    image = (await w.demo.get("/image/v2/images?name=vm-shelved"))["images"][0]["id"]
    shown = await w.demo.server(server)
    assert (shown["status"], shown["OS-EXT-STS:task_state"]) == ("ACTIVE", "shelving")
    headers = {"authorization": "Bearer token-h1"}
    given = await Client(w.app).request("PUT", f"/internal/images/{image}/file", qcow2(), headers=headers, unix=True)
    assert given.status == 204
    await w.demo.until_status(server, "SHELVED_OFFLOADED")
    return str(image)


async def port_of(w: World, server: str) -> Any:
    return (await w.admin.get(f"/network/v2.0/ports?device_id={server}"))["ports"][0]


async def taken(w: World) -> dict[str, int]:
    found = (await w.admin.get("/compute/v2.1/os-hypervisors/detail"))["hypervisors"]
    return {host["hypervisor_hostname"]: host["vcpus_used"] for host in found}


def test_a_shelved_server_is_on_no_host_and_comes_back_from_its_image_on_another(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            first = await w.agent("h1")
            server = await started(w)
            address = (await port_of(w, server))["fixed_ips"]
            assert (await w.demo.action(server, "unshelve")).status == 409
            image = await shelve(w, server)
            await first.until(lambda: not first.servers())
            port = await port_of(w, server)
            assert (port["binding:host_id"], port["fixed_ips"]) == ("", address)
            assert await taken(w) == {"h1": 0}
            shown = await w.admin.server(server)
            assert (shown["OS-EXT-SRV-ATTR:host"], shown["image"]["id"] == image) == (None, False)
            assert (await w.admin.action(server, "shelveOffload")).status == 409
            assert (await w.demo.action(server, "os-start")).status == 409

            second = await w.agent("h2")
            asked = await w.demo.action(server, "unshelve", {"host": "h2"}, "2.91")
            assert asked.status == 403
            assert (await w.demo.action(server, "unshelve", {"availability_zone": "x"}, "2.77")).status == 400
            assert (await w.admin.action(server, "unshelve", {"host": "h2"}, "2.91")).status == 202
            await w.demo.until_status(server, "ACTIVE")
            item = second.servers()[0]
            assert item.image is not None and (item.image.id, item.build_generation) == (image, 1)
            port = await port_of(w, server)
            assert (port["binding:host_id"], port["fixed_ips"]) == ("h2", address)
            assert await taken(w) == {"h1": 0, "h2": 1}
            assert (await w.demo.request("GET", f"/image/v2/images/{image}")).status == 404
            await until("the file of the image is gone", lambda: not (tmp_path / "images" / image).exists())
            found = (await w.demo.get(f"/compute/v2.1/servers/{server}/os-instance-actions"))["instanceActions"]
            assert [each["action"] for each in found] == ["unshelve", "shelve", "create"]

    run(test())


def test_a_server_that_cannot_be_shelved_goes_on(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            agent = await w.agent("h1")
            server = await started(w)
            assert (await w.demo.action(server, "shelve")).status == 202
            await agent.until(lambda: agent.servers()[0].snapshot is not None)
            image = agent.servers()[0].snapshot
            failed = ServerReport(server, "shutdown", snapshot=image, snapshot_fault="no space is left")
            await agent.say(Report(agent.revision, servers=(failed,)))
            await w.demo.until_status(server, "ACTIVE")
            assert (await w.demo.get("/image/v2/images?name=vm-shelved"))["images"] == []

    run(test())


def test_a_shelved_server_is_deleted_with_its_image_and_counted_until_then(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            await w.agent("h1")
            server = await started(w)
            image = await shelve(w, server)
            limits = (await w.demo.get("/compute/v2.1/limits"))["limits"]["absolute"]
            assert limits["totalInstancesUsed"] == 1
            assert (await w.demo.request("DELETE", f"/compute/v2.1/servers/{server}")).status == 204
            await w.demo.until_gone(f"/compute/v2.1/servers/{server}")
            assert (await w.demo.request("GET", f"/image/v2/images/{image}")).status == 404

    run(test())


def test_what_its_host_was_to_do_of_its_volumes_is_done_when_a_server_is_shelved(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            agent, demo = await w.agent("h1"), Volumes(w.demo)
            server = await started(w)
            path = f"/compute/v2.1/servers/{server}/os-volume_attachments"
            going, coming = await volume(demo), await volume(demo)
            await w.demo.post(path, {"volumeAttachment": {"volumeId": going["id"]}}, status=200)
            await demo.until(f"/volumes/{going['id']}", status("in-use"))
            # The host says nothing more of the server before the API has its image.
            agent.obedient = False
            assert (await w.demo.request("DELETE", f"{path}/{going['id']}")).status == 202
            await w.demo.post(path, {"volumeAttachment": {"volumeId": coming["id"]}}, status=200)
            await shelve(w, server)
            assert (await demo.get(f"/volumes/{going['id']}"))["volume"]["status"] == "available"
            kept = (await demo.get(f"/volumes/{coming['id']}"))["volume"]
            assert (kept["status"], [each["server_id"] for each in kept["attachments"]]) == ("in-use", [server])
            rows.check(w.cloud.database)

    run(test())

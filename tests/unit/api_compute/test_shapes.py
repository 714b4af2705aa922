"""Rescue and resize: what is asked of the host, what users see on the way, and what is counted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from deuteron.model.intent import IntentServer
from tests.unit.api_compute.harness import World, run, world
from tests.unit.api_hosts.agent import FakeAgent


async def started(w: World, **fields: Any) -> str:
    network = await w.demo.network()
    server = await w.demo.boot(imageRef=await w.demo.image(), networks=[{"uuid": network}], **fields)
    await w.demo.until_status(server, "ACTIVE")
    return server


async def flavor(w: World, **sizes: Any) -> str:
    body = {"name": f"f{sizes}"[:60], "vcpus": 1, "ram": 128, "disk": 1, **sizes}
    return str((await w.admin.post("/compute/v2.1/flavors", {"flavor": body}))["flavor"]["id"])


async def wanted(agent: FakeAgent, shape: int) -> IntentServer:
    await agent.until(lambda: agent.servers()[0].shape_generation == shape)
    return agent.servers()[0]


async def actions(w: World, server: str) -> list[tuple[str, str | None]]:
    found = (await w.demo.get(f"/compute/v2.1/servers/{server}/os-instance-actions"))["instanceActions"]
    return [(each["action"], each["message"]) for each in found]


async def used(w: World) -> tuple[int, int]:
    """Processors and memory of the quota."""
    found = (await w.demo.get("/compute/v2.1/limits"))["limits"]["absolute"]
    return found["totalCoresUsed"], found["totalRAMUsed"]


async def taken(w: World) -> tuple[int, int, int]:
    """Memory, disk and processors taken of the host."""
    host = (await w.admin.get("/compute/v2.1/os-hypervisors/detail"))["hypervisors"][0]
    return host["memory_mb_used"] - 512, host["local_gb_used"], host["vcpus_used"]


def test_a_server_is_rescued_with_an_image_and_goes_back(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            agent = await w.agent()
            server = await started(w)
            other = await w.demo.image(name="other")
            agent.obedient = False
            asked = await w.demo.action(server, "rescue", {"adminPass": "secret", "rescue_image_ref": other})
            assert (asked.status, asked.json) == (200, {"adminPass": "secret"})
            item = await wanted(agent, 1)
            assert item.rescue is not None and item.rescue.image.id == other and item.rescue.device is None
            shown = await w.demo.server(server)
            assert (shown["status"], shown["OS-EXT-STS:task_state"]) == ("ACTIVE", "rescuing")
            agent.obedient = True
            await agent.report()
            await w.demo.until_status(server, "RESCUE")
            for name, argument in (("os-stop", None), ("rescue", None), ("resize", {"flavorRef": "1"})):
                refused = await w.demo.action(server, name, argument)
                word = name.removeprefix("os-")
                assert refused.message == f"Cannot '{word}' instance {server} while it is in vm_state rescued"

            assert (await w.demo.action(server, "unrescue")).status == 202
            assert (await wanted(agent, 2)).rescue is None
            await w.demo.until_status(server, "ACTIVE")
            assert (await actions(w, server))[:2] == [("unrescue", None), ("rescue", None)]
            assert (await w.demo.action(server, "unrescue")).status == 409

            assert len((await w.demo.action(server, "rescue")).json["adminPass"]) == 12
            item = await wanted(agent, 3)
            assert item.rescue is not None and item.rescue.image == item.image

    run(test())


@pytest.mark.parametrize(
    ("properties", "device"),
    [
        ({"hw_rescue_device": "cdrom", "hw_rescue_bus": "sata"}, ("cdrom", "sata")),
        ({"hw_rescue_bus": "usb"}, ("disk", "usb")),
        ({"hw_rescue_device": "disk", "hw_rescue_bus": "scsi"}, ("disk", "scsi")),
        ({"hw_rescue_bus": "fdc"}, None),
    ],
)
def test_an_image_says_which_device_it_rescues_as(
    tmp_path: Path, properties: dict[str, str], device: tuple[str, str] | None
) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            agent = await w.agent()
            server = await started(w)
            asked = await w.demo.action(server, "rescue", {"rescue_image_ref": await w.demo.image(**properties)})
            if device is None:
                assert asked.status == 400 and "accepted are disk, cdrom on virtio, ide, sata" in asked.message
                return
            item = await wanted(agent, 1)
            assert item.rescue is not None and (item.rescue.device, item.rescue.bus) == device

    run(test())


def test_an_image_that_is_not_there_rescues_nothing(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            await w.agent()
            server = await started(w)
            foreign = await w.admin.image()
            asked = await w.demo.action(server, "rescue", {"rescue_image_ref": foreign})
            assert asked.status == 400 and f"rescue image '{foreign}' is not supported" in asked.message
            assert (await w.demo.server(server))["status"] == "ACTIVE"

    run(test())


def test_a_resize_is_confirmed(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            agent = await w.agent()
            server = await started(w)
            small, large = await taken(w), await flavor(w, ram=512, vcpus=2, disk=3)
            before = await used(w)
            agent.obedient = False
            assert (await w.demo.action(server, "resize", {"flavorRef": large})).status == 202
            item = await wanted(agent, 1)
            assert (item.memory_mib, item.vcpus, item.root_disk_gib, item.keep) == (512, 2, 3, 1)
            assert (await w.demo.server(server))["status"] == "RESIZE"
            agent.obedient = True
            await agent.report()
            await w.demo.until_status(server, "VERIFY_RESIZE")
            assert await used(w) == (2, 512)
            assert await taken(w) == (small[0] + 512, small[1] + 3, small[2] + 2), "the host has room for both"
            assert (await w.demo.action(server, "os-stop")).status == 409

            assert (await w.demo.action(server, "confirmResize")).status == 204
            await agent.until(lambda: agent.servers()[0].keep is None)
            shown = await w.demo.until_status(server, "ACTIVE")
            assert shown["flavor"]["id"] == large
            assert await taken(w) == (512, 3, 2)
            assert (await actions(w, server))[:2] == [("confirmResize", None), ("resize", None)]
            assert (await w.demo.action(server, "confirmResize")).status == 409
            assert before == (1, small[0])

    run(test())


def test_a_resize_of_one_that_is_off_is_reverted(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            agent = await w.agent()
            server = await started(w)
            old, before = await used(w), await taken(w)
            assert (await w.demo.action(server, "os-stop")).status == 202
            await w.demo.until_status(server, "SHUTOFF")
            assert (await w.demo.action(server, "resize", {"flavorRef": await flavor(w, ram=512)})).status == 202
            await w.demo.until_status(server, "VERIFY_RESIZE")
            agent.obedient = False
            assert (await w.demo.action(server, "revertResize")).status == 202
            item = await wanted(agent, 2)
            assert (item.keep, item.restore, item.power) == (None, 1, "shutdown")
            assert (await w.demo.server(server))["status"] == "REVERT_RESIZE"
            agent.obedient = True
            await agent.report()
            await w.demo.until_status(server, "SHUTOFF")
            assert (await used(w), await taken(w)) == (old, before)

    run(test())


def test_a_server_is_deleted_in_the_middle_of_a_resize_and_nothing_stays_counted(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            await w.agent()
            server = await started(w)
            await w.demo.action(server, "resize", {"flavorRef": await flavor(w, ram=512)})
            await w.demo.until_status(server, "VERIFY_RESIZE")
            assert (await w.demo.request("DELETE", f"/compute/v2.1/servers/{server}")).status == 204
            await w.demo.until_gone(f"/compute/v2.1/servers/{server}")
            assert (await used(w), await taken(w)) == ((0, 0), (0, 0, 0))

    run(test())


def test_a_flavor_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            await w.agent()
            server = await started(w)
            own = (await w.demo.server(server))["flavor"]["id"]
            for reference, status, words in (
                (own, 400, "instances must change flavor"),
                ("nosuch", 400, "Flavor nosuch could not be found"),
                (None, 400, "flavorRef"),
                (await flavor(w, disk=0), 400, "zero disk flavor is not allowed"),
                (await flavor(w, vcpus=100), 403, "Quota exceeded for cores"),
            ):
                refused = await w.demo.action(server, "resize", {"flavorRef": reference})
                assert (refused.status, words in refused.message) == (status, True), refused.message
            await w.admin.request("PUT", f"/compute/v2.1/os-quota-sets/{w.demo.project_id}", {"quota_set": {"ram": -1}})
            # As in Nova there is no host for it, which the action says.
            assert (await w.demo.action(server, "resize", {"flavorRef": await flavor(w, ram=2**20)})).status == 202
            await w.demo.until_status(server, "ACTIVE")
            assert (await actions(w, server))[0] == ("resize", "Error")

    run(test())

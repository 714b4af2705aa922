"""Images and backups of servers: what is asked, what the host sends, and what becomes of both."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec

from deuteron.model.intent import IntentServer, Report, ServerReport
from tests.unit.api_compute.harness import Answer, Client, World, run, world
from tests.unit.api_hosts.agent import FakeAgent
from tests.unit.api_image.test_inspect import qcow2


async def started(w: World, **fields: Any) -> str:
    network = await w.demo.network()
    server = await w.demo.boot(imageRef=await w.demo.image(**fields), networks=[{"uuid": network}])
    await w.demo.until_status(server, "ACTIVE")
    return server


async def give(w: World, image_id: str, host: str = "h1", data: bytes | None = None) -> Answer:
    """What a host sends once it has copied the disk."""
    headers = {"authorization": f"Bearer token-{host}"}
    path, body = f"/internal/images/{image_id}/file", qcow2() if data is None else data
    return await Client(w.app).request("PUT", path, body, headers=headers, unix=True)


async def image(w: World, image_id: str) -> Any:
    return await w.demo.get(f"/image/v2/images/{image_id}")


async def wanted(agent: FakeAgent, image_id: str | None) -> IntentServer:
    await agent.until(lambda: agent.servers()[0].snapshot == image_id)
    return agent.servers()[0]


def test_an_image_of_a_server_says_what_it_was_made_of_and_is_whole_when_its_host_has_sent_it(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            agent = await w.agent()
            server = await started(w, hw_machine_type="q35", img_signature="x", min_ram=7)
            asked = await w.demo.action(server, "createImage", {"name": "copy", "metadata": {"a": "b"}}, "2.45")
            assert asked.status == 202
            image_id = asked.json["image_id"]
            await wanted(agent, image_id)
            shown = await w.demo.server(server)
            assert (shown["status"], shown["OS-EXT-STS:task_state"]) == ("ACTIVE", "image_snapshot_pending")
            made = await image(w, image_id)
            base = shown["image"]["id"]
            assert (made["status"], made["visibility"], made["min_ram"], made["min_disk"]) == (
                "queued",
                "private",
                7,
                1,
            )
            said = {
                "name": "copy", "a": "b", "image_type": "snapshot", "instance_uuid": server, "base_image_ref": base,
                "user_id": w.demo.user_id, "owner_user_name": "demo", "owner_project_name": "demo",
                "hw_machine_type": "q35",
            }  # fmt: skip
            assert {name: made.get(name) for name in said} == said
            assert "img_signature" not in made
            refused = await w.demo.action(server, "os-stop")
            assert (
                refused.message == f"Cannot 'stop' instance {server} while it is in task_state image_snapshot_pending"
            )

            assert (await give(w, image_id, host="h2")).status == 404
            assert (await give(w, image_id)).status == 204
            made = await image(w, image_id)
            assert (made["status"], made["disk_format"], made["container_format"]) == ("active", "qcow2", "bare")
            assert (made["image_location"], made["image_state"]) == ("snapshot", "available")
            await w.demo.until_status(server, "ACTIVE")
            await wanted(agent, None)
            done = (await w.demo.get(f"/compute/v2.1/servers/{server}/os-instance-actions"))["instanceActions"][0]
            assert (done["action"], done["message"]) == ("createImage", None)
            assert (await give(w, image_id)).status == 404, "nobody waits for it any more"

    run(test())


def test_a_host_that_died_while_it_sent_an_image_sends_it_again(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            agent = await w.agent()
            server = await started(w)
            asked = await w.demo.action(server, "createImage", {"name": "copy"})
            image_id = asked.headers["location"].rsplit("/", 1)[1]
            assert (await give(w, image_id, data=b"half a disk")).status == 415
            assert (await image(w, image_id))["status"] == "queued"
            await agent.leave()
            agent = await w.agent()
            await wanted(agent, image_id)
            assert (await give(w, image_id)).status == 204
            await w.demo.until_status(server, "ACTIVE")

    run(test())


def test_what_the_host_cannot_make_leaves_no_image_and_a_server_as_it_was(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            agent = await w.agent()
            server = await started(w)
            image_id = (await w.demo.action(server, "createImage", {"name": "copy"}, "2.45")).json["image_id"]
            item = await wanted(agent, image_id)
            making = ServerReport(item.id, "running", snapshot=image_id)
            await agent.say(Report(agent.revision, servers=(making,)))
            await w.demo.until(server, lambda found: found["OS-EXT-STS:task_state"] == "image_snapshot")
            failed = msgspec.structs.replace(making, snapshot_fault="no space is left")
            await agent.say(Report(agent.revision, servers=(failed,)))
            await w.demo.until_status(server, "ACTIVE")
            assert (await w.demo.request("GET", f"/image/v2/images/{image_id}")).status == 404
            done = (await w.demo.get(f"/compute/v2.1/servers/{server}/os-instance-actions"))["instanceActions"][0]
            assert (done["action"], done["message"]) == ("createImage", "Error")

    run(test())


def test_an_image_that_is_deleted_before_it_is_made_is_not_made(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            await w.agent()
            server = await started(w)
            image_id = (await w.demo.action(server, "createImage", {"name": "copy"}, "2.45")).json["image_id"]
            assert (await w.demo.request("DELETE", f"/image/v2/images/{image_id}")).status == 204
            assert (await give(w, image_id)).status == 204
            await w.demo.until_status(server, "ACTIVE")

            image_id = (await w.demo.action(server, "createImage", {"name": "copy"}, "2.45")).json["image_id"]
            assert (await w.demo.request("DELETE", f"/compute/v2.1/servers/{server}")).status == 204
            await w.demo.until_gone(f"/compute/v2.1/servers/{server}")
            assert (await w.demo.request("GET", f"/image/v2/images/{image_id}")).status == 404

    run(test())


def test_the_newest_backups_of_a_type_are_kept(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            await w.agent()
            server = await started(w)
            kept: list[str] = []
            for number, (kind, rotation) in enumerate((("daily", 2), ("weekly", 1), ("daily", 2), ("daily", 2))):
                body = {"name": f"b{number}", "backup_type": kind, "rotation": rotation}
                asked = await w.demo.action(server, "createBackup", body)
                assert asked.status == 202
                kept.append(asked.headers["location"].rsplit("/", 1)[1])
                assert (await w.demo.server(server))["OS-EXT-STS:task_state"] == "image_backup"
                assert (await give(w, kept[-1])).status == 204
                await w.demo.until_status(server, "ACTIVE")
            found = (await w.demo.get("/image/v2/images?image_type=backup"))["images"]
            assert {each["id"] for each in found} == set(kept[1:])
            # Its file goes after its row, in another thread.
            while (tmp_path / "images" / kept[0]).exists():
                await asyncio.sleep(0.01)

            none = await w.demo.action(server, "createBackup", {"name": "b", "backup_type": "daily", "rotation": 0})
            assert "location" not in none.headers
            bad = await w.demo.action(server, "createBackup", {"name": "b", "backup_type": "daily", "rotation": -1})
            assert bad.status == 400

    run(test())


def test_a_guest_whose_file_systems_have_to_be_frozen_is_stopped_first(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            await w.agent()
            server = await w.demo.boot("2.37", imageRef=await w.demo.image(os_require_quiesce="yes"), networks="none")
            await w.demo.until_status(server, "ACTIVE")
            backup = {"name": "b", "backup_type": "daily", "rotation": 1}
            for name, argument in (("createImage", {"name": "i"}), ("createBackup", backup)):
                refused = await w.demo.action(server, name, argument)
                assert (refused.status, refused.message) == (409, "QEMU guest agent is not enabled")
            assert (await w.demo.action(server, "os-stop")).status == 202
            await w.demo.until_status(server, "SHUTOFF")
            assert (await w.demo.action(server, "createImage", {"name": "i"})).status == 202

    run(test())


def test_the_host_is_told_that_file_systems_have_to_be_frozen(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            agent = await w.agent()
            image = await w.demo.image(os_require_quiesce="yes", hw_qemu_guest_agent="yes")
            server = await w.demo.boot("2.37", imageRef=image, networks="none")
            await w.demo.until_status(server, "ACTIVE")
            item = agent.servers()[0]
            assert (item.must_quiesce, item.hardware.has_agent_channel) == (True, True)
            assert (await w.demo.action(server, "createImage", {"name": "i"})).status == 202

    run(test())

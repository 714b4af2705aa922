"""Servers whose disks are volumes: made with them, shown, refused, built anew, and gone with them or without."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec

from deuteron.model.intent import IntentServer, IntentVolume, Report, ServerReport, ServerVolume
from tests import rows
from tests.unit.api_compute.harness import World, run, world
from tests.unit.api_hosts.agent import FakeAgent
from tests.unit.api_volume.harness import Volumes
from tests.unit.api_volume.test_volumes import snapshot, status, volume

SERVERS = "/compute/v2.1/servers"
STRANGE = "22222222-1111-4111-8111-111111111111"


def mapping(source: str, object_id: str | None = None, **fields: Any) -> dict[str, Any]:
    named = {} if object_id is None else {"uuid": object_id}
    return {"source_type": source, "destination_type": "volume", "boot_index": 0, **named, **fields}


async def boot(w: World, *devices: dict[str, Any], version: str | None = None, **fields: Any) -> str:
    network = fields.pop("network", None) or await w.demo.network()
    body = {"networks": [{"uuid": network}], "block_device_mapping_v2": list(devices), **fields}
    return await w.demo.boot(version, **body)


async def bootable(w: World, **fields: Any) -> dict[str, Any]:
    """A volume with an image in it."""
    return dict(await volume(Volumes(w.demo), imageRef=await w.demo.image(), **fields))


def test_a_server_boots_from_volumes_that_are_made_for_it(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            agent, demo = await w.agent("h1"), Volumes(w.demo)
            image = await w.demo.image(os_command_line="quiet")
            goes = mapping("image", image, volume_size=2, delete_on_termination=True, tag="root")
            server = await boot(w, goes, mapping("blank", boot_index=-1, volume_size="1"), version="2.42")
            await w.demo.until_status(server, "ACTIVE")
            (intent,) = agent.servers()
            assert isinstance(intent, IntentServer)
            assert (intent.image, intent.root_disk_gib, intent.kernel_args) == (None, 0, "quiet")
            root, data = intent.volumes
            assert (root.target, data.target) == ("vda", "vdb")
            shown = await w.demo.server(server, "2.70")
            assert shown["image"] == ""
            assert shown["os-extended-volumes:volumes_attached"] == [
                {"id": root.volume_id, "delete_on_termination": True},
                {"id": data.volume_id, "delete_on_termination": False},
            ]
            found = await demo.until(f"/volumes/{root.volume_id}", status("in-use"))
            assert (found["size"], found["bootable"], found["name"]) == (2, "true", "")
            assert found["volume_image_metadata"]["image_id"] == image
            assert found["attachments"][0]["device"] == "/dev/vda"
            blank = await demo.until(f"/volumes/{data.volume_id}", status("in-use"))
            assert (blank["size"], blank["bootable"]) == (1, "false")
            path = f"{SERVERS}/{server}/os-volume_attachments"
            listed = (await w.demo.get(path, "2.70"))["volumeAttachments"]
            assert [(each["device"], each["tag"]) for each in listed] == [("/dev/vda", "root"), ("/dev/vdb", None)]
            answer = await w.demo.request("DELETE", f"{path}/{root.volume_id}")
            assert (answer.status, answer.message) == (400, "Cannot detach a root device volume")
            assert (await w.demo.request("DELETE", f"{SERVERS}/{server}")).status == 204
            await w.demo.until_gone(f"{SERVERS}/{server}")
            await demo.until_gone(f"/volumes/{root.volume_id}")
            await demo.until(f"/volumes/{data.volume_id}", status("available"))
            rows.check(w.cloud.database)

    run(test())


def test_a_server_boots_from_what_there_is(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            agent, demo, network = await w.agent("h1"), Volumes(w.demo), await w.demo.network()
            one = await bootable(w)
            kept = await snapshot(demo, one["id"])
            first = await boot(w, mapping("volume", one["id"]), network=network)
            second = await boot(w, mapping("snapshot", kept["id"], delete_on_termination=True), network=network)
            legacy = [{"device_name": "vda", "snapshot_id": kept["id"], "delete_on_termination": "1"}]
            third = await boot(w, block_device_mapping=legacy, network=network)
            beside = await volume(demo)
            image = await w.demo.image()
            local = mapping("image", image, destination_type="local")
            fourth = await boot(
                w, local, mapping("volume", beside["id"], boot_index=None), imageRef=image, network=network
            )
            for server in (first, second, third, fourth):
                shown = await w.demo.until_status(server, "ACTIVE")
                assert bool(shown["image"]) == (server == fourth)
            await demo.until(f"/volumes/{one['id']}", status("in-use"))
            assert (await demo.error("DELETE", f"/volumes/{one['id']}"))[0] == 400
            by_id = {each.id: each for each in agent.servers()}
            assert by_id[first].volumes == (ServerVolume(one["id"], "vda"),)
            assert by_id[fourth].volumes == (ServerVolume(beside["id"], "vdb"),) and by_id[fourth].image is not None
            for server in (second, third):
                (made,) = by_id[server].volumes
                found = (await demo.get(f"/volumes/{made.volume_id}"))["volume"]
                assert (found["snapshot_id"], found["status"], made.target) == (kept["id"], "in-use", "vda")
            rows.check(w.cloud.database)

    run(test())


def test_an_image_that_is_named_describes_the_server_whatever_its_root_volume_holds(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            agent, demo, network = await w.agent("h1"), Volumes(w.demo), await w.demo.network()
            empty, other = await volume(demo), await volume(demo, imageRef=await w.demo.image(os_command_line="other"))
            kept = await snapshot(demo, empty["id"])
            image = await w.demo.image(os_command_line="named", min_disk=5)
            small = [mapping("volume", other["id"], volume_size=1)]
            body = {"name": "v", "flavorRef": "42", "imageRef": image, "networks": [{"uuid": network}]}
            answer = await w.demo.request("POST", SERVERS, {"server": {**body, "block_device_mapping_v2": small}})
            assert answer.status == 400 and "Volume is smaller than the minimum size" in answer.message
            for source, of in (("volume", empty), ("volume", other), ("snapshot", kept)):
                server = await boot(w, mapping(source, of["id"]), imageRef=image, network=network)
                shown = await w.demo.until_status(server, "ACTIVE")
                assert shown["image"]["id"] == image
                (intent,) = [each for each in agent.servers() if each.id == server]
                assert (intent.image, intent.kernel_args, intent.volumes[0].target) == (None, "named", "vda")
            rows.check(w.cloud.database)

    run(test())


def test_mappings_that_cannot_be_are_refused_in_novas_words(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            await w.agent("h1")
            demo, network = Volumes(w.demo), await w.demo.network()
            empty, others, image = await volume(demo), await volume(Volumes(w.admin)), await w.demo.image()
            large = await w.demo.image(min_disk=5)
            full = await bootable(w)
            for devices, words in (
                ([mapping("volume", STRANGE)], f"failed to get volume {STRANGE}"),
                ([mapping("volume", others["id"])], f"failed to get volume {others['id']}"),
                ([mapping("snapshot", STRANGE)], f"failed to get snapshot {STRANGE}"),
                ([mapping("image", STRANGE, volume_size=1)], f"failed to get image {STRANGE}"),
                ([mapping("volume", "no-id")], "failed to get volume no-id"),
                ([mapping("volume", empty["id"])], "is not bootable"),
                ([mapping("volume")], "Missing device UUID."),
                ([mapping("blank", STRANGE)], "Invalid device UUID."),
                ([mapping("image", image)], "need to have a non-zero size specified"),
                ([mapping("image", large, volume_size=1)], "Volume is smaller than the minimum size"),
                ([mapping("image", image, volume_size=1, boot_index=1)], "Boot sequence"),
                ([mapping("blank", boot_index=-1, volume_size=1)], "Boot sequence"),
                ([mapping("image", image, destination_type="local")], "Mapping image to local is not supported."),
                ([mapping("volume", full["id"], destination_type="local")], "is no local disk"),
                ([mapping("volume", full["id"], disk_bus="scsi")], "disk bus scsi"),
                ([mapping("volume", full["id"], device_type="cdrom")], "cdrom"),
                ([mapping("volume", full["id"], guest_format="ext4")], "ext4"),
                ([mapping("volume", full["id"], volume_size=0)], "less than the minimum"),
                ([mapping("volume", full["id"], tag="t")], "Additional properties"),
                ([mapping("volume", full["id"], volume_type="t")], "Additional properties"),
                ([mapping("volume", full["id"], virtual_name="swap")], "Following fields are invalid"),
                ([mapping("nothing")], "nothing"),
                ([{"uuid": full["id"]}], "Some required fields are missing"),
                ([mapping("volume", full["id"]), mapping("volume", full["id"], boot_index=-1)], "must be available"),
            ):  # fmt: skip
                body = {"name": "v", "flavorRef": "42", "networks": [{"uuid": network}]}
                body["block_device_mapping_v2"] = devices
                answer = await w.demo.request("POST", SERVERS, {"server": body})
                assert (answer.status, words in answer.message) == (400, True), (devices, answer.body)
            body["block_device_mapping_v2"] = [mapping("volume", full["id"])]
            for more, words in (
                ({"max_count": 2}, "Cannot attach one or more volumes to multiple instances"),
                ({"block_device_mapping": [{"volume_id": full["id"]}]}, "different block_device_mapping syntaxes"),
                ({"block_device_mapping_v2": []}, "Missing imageRef attribute"),
            ):
                answer = await w.demo.request("POST", SERVERS, {"server": {**body, **more}})
                assert (answer.status, words in answer.message) == (400, True), (more, answer.body)
            typed = mapping("image", image, volume_size=1, volume_type="none")
            body["block_device_mapping_v2"] = [typed]
            answer = await w.demo.request("POST", SERVERS, {"server": body}, version="2.67")
            assert (answer.status, answer.message) == (400, "Volume type none could not be found.")
            assert (await w.demo.get(SERVERS))["servers"] == []
            assert (await demo.get(f"/volumes/{full['id']}"))["volume"]["status"] == "available"

    run(test())


def test_a_server_whose_volume_cannot_be_made_is_in_error_and_says_why(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            agent, network = await w.agent("h1"), await w.demo.network()
            image = await w.demo.image()
            agent.obedient = False
            server = await boot(w, mapping("image", image, volume_size=1), network=network)
            assert (await w.demo.server(server))["OS-EXT-STS:task_state"] == "block_device_mapping"
            await agent.until(lambda: bool(agent.servers()) and bool(agent.servers()[0].volumes))
            made = agent.servers()[0].volumes[0].volume_id
            agent.faults[made] = agent.faults[server] = ("no space is left", "")
            del agent.faults[server]
            agent.objects = {key: item for key, item in agent.objects.items() if key[0] != "server"}
            agent.obedient = True
            await agent.report()
            shown = await w.demo.until_status(server, "ERROR")
            assert made in shown["fault"]["message"] and "its status is error" in shown["fault"]["message"]
            assert (await w.admin.server(server))["OS-EXT-SRV-ATTR:host"] is None
            assert (await w.admin.get("/network/v2.0/ports?device_id=" + server))["ports"] == []
            figures = (await w.admin.get("/compute/v2.1/os-hypervisors/detail"))["hypervisors"]
            assert [host["vcpus_used"] for host in figures] == [0]

            quota = {"quota_set": {"volumes": 1}}
            answer = await w.admin.request("PUT", f"/volume/v3/os-quota-sets/{w.demo.project_id}", quota)
            assert answer.status == 200
            again = await boot(w, mapping("image", image, volume_size=1), network=network)
            shown = await w.demo.until_status(again, "ERROR")
            assert "aborted: VolumeLimitExceeded" in shown["fault"]["message"]
            for each in (server, again):
                assert (await w.demo.request("DELETE", f"{SERVERS}/{each}")).status == 204
                await w.demo.until_gone(f"{SERVERS}/{each}")
            rows.check(w.cloud.database)

    run(test())


def test_a_server_that_boots_from_a_volume_is_rescued_built_anew_and_resized(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            agent = await w.agent("h1")
            one = await bootable(w)
            server = await boot(w, mapping("volume", one["id"]))
            await w.demo.until_status(server, "ACTIVE")
            other = await w.demo.image()
            disk = await w.demo.image(hw_rescue_device="disk")
            for image, version, words in ((None, "2.87", "volume-backed"), (disk, "2.86", "volume-backed"),
                                          (other, "2.87", "hw_rescue_device")):  # fmt: skip
                named = None if image is None else {"rescue_image_ref": image}
                answer = await w.demo.action(server, "rescue", named, version)
                assert (answer.status, words in answer.message) == (400, True)
            assert (await w.demo.action(server, "rescue", {"rescue_image_ref": disk}, "2.87")).status == 200
            await w.demo.until_status(server, "RESCUE")
            (intent,) = agent.servers()
            assert intent.rescue is not None and [each.volume_id for each in intent.volumes] == [one["id"]]
            assert (await w.demo.action(server, "unrescue")).status == 202
            await w.demo.until_status(server, "ACTIVE")
            answer = await w.demo.action(server, "rebuild", {"imageRef": other})
            assert (answer.status, "different image" in answer.message) == (400, True)
            same = one["volume_image_metadata"]["image_id"]
            assert (await w.demo.action(server, "rebuild", {"imageRef": same})).status == 202
            await agent.until(lambda: agent.servers()[0].build_generation == 1)
            assert (await w.demo.until_status(server, "ACTIVE"))["image"] == ""
            small = {"name": "none", "ram": 64, "vcpus": 1, "disk": 0}
            flavor = (await w.admin.post("/compute/v2.1/flavors", {"flavor": small}))["flavor"]["id"]
            assert (await w.demo.action(server, "resize", {"flavorRef": flavor})).status == 202
            await w.demo.until_status(server, "VERIFY_RESIZE")
            assert [each.volume_id for each in agent.servers()[0].volumes] == [one["id"]]

    run(test())


def test_an_image_brings_its_own_devices(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            agent, demo, network = await w.agent("h1"), Volumes(w.demo), await w.demo.network()
            kept = await snapshot(demo, (await bootable(w))["id"])
            device = {"source_type": "snapshot", "destination_type": "volume", "snapshot_id": kept["id"],
                      "boot_index": 0, "delete_on_termination": True, "device_name": "/dev/vda"}  # fmt: skip
            image = await w.demo.image(block_device_mapping=json.dumps([device]), bdm_v2="True")
            local = mapping("image", image, destination_type="local")
            server = await boot(w, local, imageRef=image, network=network)
            shown = await w.demo.until_status(server, "ACTIVE")
            (intent,) = agent.servers()
            assert (intent.image, len(intent.volumes), shown["image"]["id"]) == (None, 1, image)
            for wrong in ("no list", '[{"source_type": 7}]', '[{"source_type": "volume", "boot_index": 0}]',
                          '[{"source_type": "blank", "volume_size": -1}]'):  # fmt: skip
                broken = await w.demo.image(block_device_mapping=wrong, bdm_v2="True")
                body = {"name": "v", "flavorRef": "42", "networks": [{"uuid": network}], "imageRef": broken}
                answer = await w.demo.request("POST", SERVERS, {"server": body})
                assert (answer.status, "Block Device Mapping" in answer.message) == (400, True), answer.body

    run(test())


def test_an_image_of_a_server_that_boots_from_volumes_is_snapshots_of_them(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            agent, demo, network = await w.agent("h1"), Volumes(w.demo), await w.demo.network()
            devices = (mapping("volume", (await bootable(w))["id"]), mapping("blank", boot_index=-1, volume_size=1))
            server = await boot(w, *devices, network=network)
            await w.demo.until_status(server, "ACTIVE")
            answer = await w.demo.action(server, "createBackup", {"name": "b", "backup_type": "d", "rotation": 1})
            assert (answer.status, "volume-backed" in answer.message) == (400, True)
            answer = await w.demo.action(server, "createImage", {"name": "i", "metadata": {"a": "b"}}, "2.45")
            image = await w.demo.get(f"/image/v2/images/{answer.json['image_id']}")
            assert (image["status"], image["size"], image["a"], image["bdm_v2"]) == ("active", 0, "b", "True")
            assert (await w.demo.request("GET", f"/image/v2/images/{image['id']}/file")).status == 204
            stored = json.loads(image["block_device_mapping"])
            assert [(each["device_name"], each["boot_index"]) for each in stored] == [
                ("/dev/vda", 0),
                ("/dev/vdb", None),
            ]
            for each in stored:
                kept = await demo.until(f"/snapshots/{each['snapshot_id']}", status("available"))
                assert kept["name"] == "snapshot for i"
            again = await w.demo.boot(imageRef=image["id"], networks=[{"uuid": network}])
            await w.demo.until_status(again, "ACTIVE")
            (intent,) = (each for each in agent.servers() if each.id == again)
            assert [each.target for each in intent.volumes] == ["vda", "vdb"] and intent.image is None
            rows.check(w.cloud.database)

    run(test())


def test_a_server_that_boots_from_a_volume_is_shelved_without_an_image_and_comes_back_to_it(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            agent, demo = await w.agent("h1"), Volumes(w.demo)
            root, data = await bootable(w), await volume(demo)
            server = await boot(w, mapping("volume", root["id"]))
            await w.demo.until_status(server, "ACTIVE")
            await w.agent("h2")
            assert (await w.demo.action(server, "shelve")).status == 202
            await w.demo.until_status(server, "SHELVED_OFFLOADED")
            await agent.until(lambda: not agent.servers())
            assert (await w.demo.get("/image/v2/images?name=vm-shelved"))["images"] == []
            assert (await demo.get(f"/volumes/{root['id']}"))["volume"]["status"] == "in-use"
            path = f"{SERVERS}/{server}/os-volume_attachments"
            for _ in range(2):
                made = await w.demo.post(path, {"volumeAttachment": {"volumeId": data["id"]}}, status=200)
                assert made["volumeAttachment"]["device"] == "/dev/vdb"
                assert (await demo.get(f"/volumes/{data['id']}"))["volume"]["status"] == "in-use"
                assert (await w.demo.request("DELETE", f"{path}/{data['id']}")).status == 202
                assert (await demo.get(f"/volumes/{data['id']}"))["volume"]["status"] == "available"
            await w.demo.post(path, {"volumeAttachment": {"volumeId": data["id"]}}, status=200)
            assert (await w.demo.action(server, "unshelve")).status == 202
            await w.demo.until_status(server, "ACTIVE")
            (intent,) = agent.servers()
            assert [each.volume_id for each in intent.volumes] == [root["id"], data["id"]]
            assert (await w.demo.action(server, "os-stop")).status == 202
            await w.demo.until_status(server, "SHUTOFF")
            assert (await w.demo.action(server, "shelve")).status == 202
            await w.demo.until_status(server, "SHELVED_OFFLOADED")
            assert (await w.demo.request("DELETE", f"{SERVERS}/{server}")).status == 204
            for each in (root, data):
                await demo.until(f"/volumes/{each['id']}", status("available"))
            rows.check(w.cloud.database)

    run(test())


def test_a_root_volume_is_made_anew_of_another_image_once_its_guest_has_let_it_go(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            agent, demo = await w.agent("h1"), Volumes(w.demo)
            one = await bootable(w)
            server = await boot(w, mapping("volume", one["id"]))
            await w.demo.until_status(server, "ACTIVE")
            other = await w.demo.image(os_command_line="quiet", min_disk=1)
            large = await w.demo.image(min_disk=9)
            for image, words in ((large, "minDisk"), (STRANGE, "Invalid image identifier")):
                answer = await w.demo.action(server, "rebuild", {"imageRef": image}, "2.93")
                assert answer.status == 400 and words in answer.message
            agent.obedient = False
            assert (await w.demo.action(server, "rebuild", {"imageRef": other}, "2.93")).status == 202
            await agent.until(lambda: agent.servers()[0].build_generation == 1)
            intent = agent.servers()[0]
            assert (intent.power, intent.volumes, intent.root_disk_gib) == ("shutdown", (), 0)
            assert kept(agent).reimage is None, "its guest may still write to it"
            assert (await demo.get(f"/volumes/{one['id']}"))["volume"]["status"] == "downloading"
            held = ServerReport(server, "shutdown", 0, 1, 0, held=(one["id"],))
            await agent.say(Report(agent.revision, (), (), (held,)))
            await agent.say(Report(agent.revision, (), (), (msgspec.structs.replace(held, held=()),)))
            await agent.until(lambda: kept(agent).reimage is not None)
            assert kept(agent).reimage.image.id == other and not kept(agent).is_made
            assert (await w.demo.server(server))["OS-EXT-STS:task_state"] == "rebuilding"
            agent.obedient = True
            await agent.report()
            await w.demo.until_status(server, "ACTIVE")
            intent = agent.servers()[0]
            assert (intent.power, [each.volume_id for each in intent.volumes]) == ("running", [one["id"]])
            assert intent.kernel_args == "quiet" and kept(agent).is_made
            found = await demo.until(f"/volumes/{one['id']}", status("in-use"))
            assert found["volume_image_metadata"]["image_id"] == other and found["size"] == one["size"]

            # One that cannot be had is the server's fault, and another one mends it.
            back = one["volume_image_metadata"]["image_id"]
            agent.faults[back] = ("no space is left", "")
            assert (await w.demo.action(server, "rebuild", {"imageRef": back}, "2.93")).status == 202
            await w.demo.until(server, lambda shown: shown["status"] == "ERROR")
            assert "anew from an image" in (await w.demo.server(server))["fault"]["message"]
            assert (await demo.get(f"/volumes/{one['id']}"))["volume"]["status"] == "error"
            await agent.until(lambda: kept(agent).reimage is None and kept(agent).is_made)
            assert agent.servers()[0].volumes == (), "nobody starts from nothing"
            agent.faults.clear()
            assert (await w.demo.action(server, "rebuild", {"imageRef": back}, "2.93")).status == 202
            await w.demo.until_status(server, "ACTIVE")
            await demo.until(f"/volumes/{one['id']}", status("in-use"))

            # A server that goes meanwhile leaves a volume that is made all the same.
            agent.obedient = False
            assert (await w.demo.action(server, "rebuild", {"imageRef": other}, "2.93")).status == 202
            assert (await w.demo.request("DELETE", f"{SERVERS}/{server}")).status == 204
            agent.obedient = True
            await agent.report()
            await w.demo.until_gone(f"{SERVERS}/{server}")
            found = await demo.until(f"/volumes/{one['id']}", status("available"))
            assert found["volume_image_metadata"]["image_id"] == other
            rows.check(w.cloud.database)

    run(test())


def kept(agent: FakeAgent) -> Any:
    """The one volume that the host keeps."""
    (found,) = (item for item in agent.objects.values() if isinstance(item, IntentVolume))
    return found


def test_a_volume_that_is_being_detached_while_its_server_is_shelved_is_free_after(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            agent, demo = await w.agent("h1"), Volumes(w.demo)
            root, data = await bootable(w), await volume(demo)
            server = await boot(w, mapping("volume", root["id"]))
            await w.demo.until_status(server, "ACTIVE")
            path = f"{SERVERS}/{server}/os-volume_attachments"
            await w.demo.post(path, {"volumeAttachment": {"volumeId": data["id"]}}, status=200)
            await demo.until(f"/volumes/{data['id']}", status("in-use"))
            assert (await w.demo.action(server, "os-stop")).status == 202
            await w.demo.until_status(server, "SHUTOFF")
            agent.obedient = False
            assert (await w.demo.request("DELETE", f"{path}/{data['id']}")).status == 202
            assert (await w.demo.action(server, "shelve")).status == 202
            shown = await w.demo.server(server)
            assert (shown["status"], shown["OS-EXT-STS:task_state"]) == ("SHUTOFF", "shelving"), "its host has it"
            agent.obedient = True
            await agent.report()
            await w.demo.until_status(server, "SHELVED_OFFLOADED")
            await demo.until(f"/volumes/{data['id']}", status("available"))
            assert (await demo.get(f"/volumes/{root['id']}"))["volume"]["status"] == "in-use"
            rows.check(w.cloud.database)

    run(test())

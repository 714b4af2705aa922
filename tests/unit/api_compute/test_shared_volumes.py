"""Volumes that several servers have at once: their types, who gets them, and how they are let go."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

from deuteron.model.intent import IntentVolume
from tests import rows
from tests.unit.api_compute.harness import World, run, world
from tests.unit.api_compute.test_root_volumes import boot, mapping
from tests.unit.api_compute.test_volumes import refused
from tests.unit.api_hosts.agent import backend
from tests.unit.api_volume.harness import Volumes
from tests.unit.api_volume.test_backends import types
from tests.unit.api_volume.test_volumes import snapshot, status, volume

SHARED = {"multiattach": "<is> True"}
NEW = "2.60"


async def servers(w: World, number: int) -> list[str]:
    network = await w.demo.network()
    image = await w.demo.image()
    made = [await w.demo.boot(imageRef=image, networks=[{"uuid": network}]) for _ in range(number)]
    for each in made:
        await w.demo.until_status(each, "ACTIVE")
    return made


def path_of(server: str) -> str:
    return f"/compute/v2.1/servers/{server}/os-volume_attachments"


async def attach(w: World, server: str, volume_id: str, **fields: Any) -> Any:
    body = {"volumeAttachment": {"volumeId": volume_id, **fields}}
    return (await w.demo.post(path_of(server), body, "2.79" if fields else NEW, 200))["volumeAttachment"]


def holders(found: Any) -> set[str]:
    return {each["server_id"] for each in found["attachments"]}


def test_several_servers_of_a_host_have_a_volume_whose_type_says_so(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            agent = await w.agent()
            demo, admin = Volumes(w.demo), Volumes(w.admin)
            await types(admin, shared=SHARED)
            one = await volume(demo, volume_type="shared")
            assert one["multiattach"] is True and (await volume(demo))["multiattach"] is False
            (intent,) = (each for each in agent.objects.values() if isinstance(each, IntentVolume) and each.is_shared)
            assert intent.id == one["id"]
            a, b = await servers(w, 2)
            assert await refused(w, "POST", path_of(a), {"volumeAttachment": {"volumeId": one["id"]}}, "2.59") == (
                400, "Multiattach volumes are only supported starting with compute API version 2.60.",
            )  # fmt: skip
            await attach(w, a, one["id"])
            await demo.until(f"/volumes/{one['id']}", status("in-use"))
            await attach(w, b, one["id"], delete_on_termination=True)
            found = await demo.until(f"/volumes/{one['id']}", lambda each: len(each["attachments"]) == 2)
            assert found["status"] == "in-use" and holders(found) == {a, b}
            listed = (await demo.get("/attachments", "3.27"))["attachments"]
            assert {each["instance"] for each in listed} == {a, b}
            told = {each.id: each.volumes[0] for each in agent.servers()}
            assert {(each.is_shared, each.is_elsewhere, each.backend) for each in told.values()} == {
                (True, False, "file")
            }
            assert (await refused(w, "POST", path_of(a), {"volumeAttachment": {"volumeId": one["id"]}}, NEW))[0] == 400

            # What a server asked to be deleted with it stays while another has it.
            assert (await w.demo.request("DELETE", f"/compute/v2.1/servers/{b}")).status == 204
            await w.demo.until_gone(f"/compute/v2.1/servers/{b}")
            found = await demo.until(f"/volumes/{one['id']}", lambda each: holders(each) == {a})
            assert found["status"] == "in-use"
            assert (await w.demo.request("DELETE", f"{path_of(a)}/{one['id']}")).status == 202
            await demo.until(f"/volumes/{one['id']}", status("available"))
            rows.check(w.cloud.database)

    run(test())


def test_one_server_after_the_other_lets_a_shared_volume_go(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            agent = await w.agent()
            demo, admin = Volumes(w.demo), Volumes(w.admin)
            await types(admin, shared=SHARED)
            one = await volume(demo, volume_type="shared")
            a, b, c = await servers(w, 3)
            for each in (a, b):
                await attach(w, each, one["id"])
                await demo.until(f"/volumes/{one['id']}", lambda found, each=each: each in holders(found))
            agent.unplugged = {one["id"]: "no slot is free"}
            agent.obedient = False
            await attach(w, c, one["id"])
            assert (await demo.get(f"/volumes/{one['id']}"))["volume"]["status"] == "reserved"
            agent.unplugged = {}
            agent.obedient = True
            await agent.report()
            await demo.until(f"/volumes/{one['id']}", lambda found: holders(found) == {a, b, c})
            for gone, left in ((b, {a, c}), (a, {c})):
                assert (await w.demo.request("DELETE", f"{path_of(gone)}/{one['id']}")).status == 202
                found = await demo.until(f"/volumes/{one['id']}", lambda found, left=left: holders(found) == left)
                assert found["status"] == "in-use"
            kept = await snapshot(demo, one["id"], force=True)
            assert await demo.delete(f"/snapshots/{kept['id']}") == 202
            assert "in-use" in (await demo.error("DELETE", f"/volumes/{one['id']}"))[2]

    run(test())


def test_servers_boot_from_a_shared_volume_since_2_60_and_shelved_ones_get_none(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            await w.agent()
            demo, admin = Volumes(w.demo), Volumes(w.admin)
            await types(admin, shared=SHARED)
            root = await volume(demo, volume_type="shared", imageRef=await w.demo.image())
            network = await w.demo.network()
            body = {
                "server": {
                    "name": "vm", "flavorRef": (await w.demo.get("/compute/v2.1/flavors"))["flavors"][0]["id"],
                    "networks": [{"uuid": network}], "block_device_mapping_v2": [mapping("volume", root["id"])],
                }
            }  # fmt: skip
            code, words = await refused(w, "POST", "/compute/v2.1/servers", body, "2.59")
            assert code == 400 and "2.60" in words
            first = await boot(w, mapping("volume", root["id"]), version=NEW, network=network)
            await w.demo.until_status(first, "ACTIVE")
            again = await boot(w, mapping("volume", root["id"]), version=NEW, network=network)
            await w.demo.until_status(again, "ACTIVE")
            await demo.until(f"/volumes/{root['id']}", lambda found: holders(found) == {first, again})

            one = await volume(demo, volume_type="shared")
            await w.demo.post(f"/compute/v2.1/servers/{again}/action", {"shelve": None})
            await w.demo.until_status(again, "SHELVED_OFFLOADED")
            body = {"volumeAttachment": {"volumeId": one["id"]}}
            code, words = await refused(w, "POST", path_of(again), body, NEW)
            assert code == 400 and "shelved-offloaded" in words

    run(test())


def test_a_type_makes_a_volume_shared_or_not_while_nobody_has_it(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            agent = await w.agent()
            demo, admin = Volumes(w.demo, "3.5"), Volumes(w.admin)
            await types(admin, shared=SHARED, plain={})
            one = await volume(demo, volume_type="plain")
            path, act = f"/volumes/{one['id']}", f"/volumes/{one['id']}/action"
            agent.obedient = False
            await demo.post(act, {"os-retype": {"new_type": "shared"}})
            found = (await demo.get(path))["volume"]
            assert (found["status"], found["multiattach"], found["volume_type"]) == ("retyping", False, "plain")
            kind = next(each for each in (await admin.get("/types"))["volume_types"] if each["name"] == "shared")
            assert (await admin.error("DELETE", f"/types/{kind['id']}"))[0] == 400
            agent.obedient = True
            await agent.report()
            found = await demo.until(path, status("available"))
            assert (found["multiattach"], found["volume_type"]) == (True, "shared")
            agent.faults[one["id"]] = ("no space is left", "")
            await demo.post(act, {"os-retype": {"new_type": "plain"}})
            await demo.until(path, status("error"))
            agent.faults.clear()
            await agent.report()
            found = await demo.until(path, status("available"))
            assert (found["multiattach"], found["volume_type"]) == (False, "plain")

            await demo.post(act, {"os-retype": {"new_type": "shared"}})
            await demo.until(path, status("available"))
            (server,) = await servers(w, 1)
            await attach(w, server, one["id"])
            await demo.until(path, status("in-use"))
            code, _, words = await demo.error("POST", act, {"os-retype": {"new_type": "plain"}})
            assert code == 400 and "retypes affecting multiattach are only allowed on available volumes" in words
            copies = await demo.error("POST", "/volumes", {"volume": {"size": 1, "multiattach": True}})
            assert copies[0] == 400 and "multiattach enabled volume type" in copies[2]
            rows.check(w.cloud.database)

    run(test())


def test_a_copy_is_shared_as_its_origin_and_back_ends_that_cannot_are_not_chosen(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            one, other = backend("one", 100), backend("other", 10)
            unable = {**one.capabilities, "multiattach": False}
            await w.agent(backends=(backend("one", 100, capabilities=unable), other))
            demo, admin = Volumes(w.demo, "3.5"), Volumes(w.admin)
            await types(admin, shared=SHARED, plain={})
            shared = await volume(demo, volume_type="shared")
            assert (await admin.get(f"/volumes/{shared['id']}"))["volume"]["os-vol-host-attr:host"] == "h1@other#other"
            copy = await volume(demo, source_volid=shared["id"], volume_type="plain")
            assert copy["multiattach"] is True, "as with Cinder"
            kept = await snapshot(demo, shared["id"])
            assert (await volume(demo, snapshot_id=kept["id"], volume_type="plain"))["multiattach"] is False

    run(test())


def test_who_attaches_by_hand_is_told_the_raw_file_and_several_may(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            await w.agent()
            demo, admin = Volumes(w.demo, "3.44"), Volumes(w.admin)
            await types(admin, shared=SHARED)
            one = await volume(demo, volume_type="shared")
            for _ in range(2):
                asked = {"volume_uuid": one["id"], "instance_uuid": str(uuid.uuid4()), "connector": {"host": "h1"}}
                made = (await demo.post("/attachments", {"attachment": asked}))["attachment"]
                assert made["connection_info"]["data"]["format"] == "raw"
                answer = await demo.request("POST", f"/attachments/{made['id']}/action", {"os-complete": {}})
                assert answer.status == 204
            found = await demo.until(f"/volumes/{one['id']}", status("in-use"))
            assert len(found["attachments"]) == 2
            plain = await volume(demo)
            asked = {"volume_uuid": plain["id"], "instance_uuid": str(uuid.uuid4())}
            await demo.post("/attachments", {"attachment": asked})
            assert (await demo.error("POST", "/attachments", {"attachment": asked}))[0] == 400

    run(test())

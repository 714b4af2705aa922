"""Volumes and snapshots of the Block Storage API: what is asked, what their host says, and what users see of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from deuteron.model.intent import IntentSnapshot, IntentVolume, VolumeReport
from tests import rows
from tests.unit.api_compute.harness import DATA, World, run, world
from tests.unit.api_volume.harness import Volumes

Found = Any


def status(wanted: str) -> Any:
    return lambda found: found["status"] == wanted


async def volume(client: Volumes, **fields: Any) -> Found:
    """An available volume."""
    made = (await client.post("/volumes", {"volume": {"size": 1, **fields}}))["volume"]
    return await client.until(f"/volumes/{made['id']}", status("available"))


async def snapshot(client: Volumes, volume_id: str, **fields: Any) -> Found:
    made = (await client.post("/snapshots", {"snapshot": {"volume_id": volume_id, **fields}}))["snapshot"]
    return await client.until(f"/snapshots/{made['id']}", status("available"))


def test_a_volume_is_made_on_a_host_shown_changed_and_deleted(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            agent = await w.agent()
            demo, admin = Volumes(w.demo), Volumes(w.admin)
            body = {"size": "2", "name": " v ", "description": "d", "metadata": {"a": "b"}, "availability_zone": "nova"}
            made = (await demo.post("/volumes", {"volume": body}))["volume"]
            path = f"/volumes/{made['id']}"
            first = {"status": "creating", "size": 2, "name": "v", "bootable": "false", "attachments": []}
            assert {name: made[name] for name in first} == first and made["encrypted"] is False
            assert (made["volume_type"], made["availability_zone"], made["user_id"]) == (
                "__DEFAULT__", "nova", w.demo.user_id,
            )  # fmt: skip
            assert "os-vol-tenant-attr:tenant_id" not in made and "migration_status" not in made
            found = await demo.until(path, status("available"))
            assert found["os-vol-tenant-attr:tenant_id"] == w.demo.project_id and "os-vol-host-attr:host" not in found
            (intent,) = (each for each in agent.objects.values() if isinstance(each, IntentVolume))
            assert (intent.id, intent.size_gib, intent.image, intent.upload) == (made["id"], 2, None, None)
            of_all = await admin.get(path)
            assert of_all["volume"]["os-vol-host-attr:host"] == "h1@file#file"
            newest = (await demo.get(path, "3.71"))["volume"]
            assert set(newest) - set(found) == {
                "group_id",
                "shared_targets",
                "service_uuid",
                "volume_type_id",
                "consumes_quota",
            }
            changed = await demo.put(path, {"volume": {"name": "w", "description": None, "metadata": {}}})
            assert [changed["volume"][name] for name in ("name", "description", "metadata")] == ["w", None, {}]
            assert (await demo.error("PUT", path, {"volume": {"size": 3}}))[0] == 400
            assert (await demo.error("PUT", path, {"volume": {}}, "3.53"))[0] == 400
            absolute = (await demo.get("/limits"))["limits"]["absolute"]
            assert (absolute["totalVolumesUsed"], absolute["totalGigabytesUsed"]) == (1, 2)
            assert await demo.delete(path) == 202
            await demo.until_gone(path)
            absolute = (await demo.get("/limits"))["limits"]["absolute"]
            assert (absolute["totalVolumesUsed"], absolute["totalGigabytesUsed"]) == (0, 0)
            rows.check(w.cloud.database)

    run(test())


def test_what_a_volume_cannot_be_is_refused(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            await w.agent()
            demo = Volumes(w.demo)
            strange = "22222222-1111-4111-8111-111111111111"
            refused: tuple[tuple[dict[str, Any], int, str], ...] = (
                ({}, 400, "size"), ({"size": None}, 400, "size"), ({"size": 0}, 400, "size"),
                ({"size": "x"}, 400, "size"), ({"size": 1.5}, 400, "size"), ({"size": True}, 400, "size"),
                ({"size": 1, "volume_type": "nothing"}, 404, "nothing"),
                ({"size": 1, "snapshot_id": strange}, 404, f"Snapshot {strange} could not be found."),
                ({"size": 1, "source_volid": strange}, 404, f"Volume {strange} could not be found."),
                ({"size": 1, "snapshot_id": "x"}, 400, "snapshot_id"),
                ({"size": 1, "imageRef": strange}, 400, "image"),
                ({"size": 1, "name": "n" * 256}, 400, "name"),
                ({"size": 1, "metadata": {"a": 1}}, 400, "metadata.a"),
                ({"size": 1, "availability_zone": "mars"}, 400, "mars"),
                ({"size": 1, "multiattach": True}, 400, "multiattach"),
                ({"size": 1, "group_id": strange}, 400, strange),
                ({"size": 1001}, 413, "gigabytes"),
            )  # fmt: skip
            for body, code, words in refused:
                found = await demo.error("POST", "/volumes", {"volume": body})
                assert found[0] == code and words in found[2], (body, found)
            assert (await demo.error("POST", "/volumes", {"volume": {"size": 1, "colour": 1}}, "3.53"))[0] == 400
            assert (await demo.error("POST", "/volumes", {}))[0] == 400
            await volume(demo, colour=1, status="x", user_id=None)
            w.admin.project_id, own = w.demo.project_id, w.admin.project_id
            quota = {"quota_set": {"volumes": 1, "per_volume_gigabytes": 5}}
            answer = await w.admin.request("PUT", f"/volume/v3/os-quota-sets/{w.demo.project_id}", quota)
            assert answer.status == 200
            w.admin.project_id = own
            found = await demo.error("POST", "/volumes", {"volume": {"size": 1}})
            assert found[:2] == (413, "overLimit") and "volumes" in found[2]

    run(test())


def test_without_a_host_that_has_room_a_volume_is_in_error_and_says_why(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            demo, admin = Volumes(w.demo, "3.5"), Volumes(w.admin)
            made = (await demo.post("/volumes", {"volume": {"size": 1}}))["volume"]
            assert made["status"] == "error"
            (message,) = (await demo.get(f"/messages?resource_uuid={made['id']}"))["messages"]
            assert message["event_id"] == "VOLUME_VOLUME_001_003" and message["request_id"].startswith("req-")
            assert await demo.delete(f"/volumes/{made['id']}") == 202
            assert (await demo.error("GET", f"/volumes/{made['id']}"))[0] == 404
            await w.agent()
            body = {"host": "h1@file", "binary": "cinder-volume", "disabled_reason": "tired"}
            shown = await admin.put("/os-services/disable-log-reason", body)
            assert (shown["status"], shown["disabled_reason"]) == ("disabled", "tired")
            services = (await admin.get("/os-services?binary=cinder-volume"))["services"]
            assert [(each["host"], each["status"], each["state"]) for each in services] == [
                ("h1@file", "disabled", "up")
            ]
            assert (await demo.post("/volumes", {"volume": {"size": 1}}))["volume"]["status"] == "error"
            of_host = (await admin.get("/os-services?host=h1"))["services"]
            assert [each["binary"] for each in of_host] == ["cinder-volume", "cinder-backup"]
            for wrong in ({"host": "h1"}, {"host": "h1", "disabled_reason": ""}, {"disabled_reason": "x"}):
                assert (await admin.error("PUT", "/os-services/disable-log-reason", wrong))[0] == 400, wrong
            of_the_api = {"host": "controller", "binary": "cinder-scheduler"}
            assert (await admin.error("PUT", "/os-services/disable", of_the_api))[0] == 400
            await admin.put("/os-services/enable", {"host": "h1@file"})
            assert (await demo.error("PUT", "/os-services/enable", {"host": "h1"}))[0] == 403
            assert (await admin.error("PUT", "/os-services/enable", {"host": "nowhere"}))[0] == 404
            assert (await admin.error("PUT", "/os-services/melt", {"host": "h1"}))[0] == 404
            assert (await admin.error("PUT", "/os-services/get-log", {"host": "h1"}))[0] == 501
            assert (await admin.error("PUT", "/os-services/freeze", {"host": "nowhere"}))[0] == 400
            assert (await demo.error("GET", "/volumes/"))[0] == 404, "is no list"
            await volume(demo)
            pools = (await admin.get("/scheduler-stats/get_pools?detail=true"))["pools"]
            assert [(each["name"], each["capabilities"]["allocated_capacity_gb"]) for each in pools] == [
                ("h1@file#file", 1)
            ]
            zones = (await demo.get("/os-availability-zone"))["availabilityZoneInfo"]
            assert zones == [{"zoneName": "nova", "zoneState": {"available": True}}]

    run(test())


def test_a_volume_that_its_host_cannot_make_is_in_error_until_it_can(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            agent = await w.agent(obedient=False)
            demo = Volumes(w.demo, "3.5")
            made = (await demo.post("/volumes", {"volume": {"size": 1}}))["volume"]
            path = f"/volumes/{made['id']}"
            await agent.until(lambda: any(isinstance(each, IntentVolume) for each in agent.objects.values()))
            assert (await demo.error("DELETE", path))[:2] == (400, "badRequest")
            agent.faults[made["id"]] = ("no space is left", "")
            for _ in range(2):
                await agent.report()
            await agent.is_heard()
            await demo.until(path, status("error"))
            (message,) = (await demo.get("/messages"))["messages"]
            assert message["event_id"] == "VOLUME_VOLUME_008_012", "and it is told once"
            agent.faults.clear()
            await agent.report()
            await demo.until(path, status("available"))
            assert await demo.delete(path) == 202
            assert (await demo.get(path))["volume"]["status"] == "deleting"

    run(test())


def test_volumes_are_made_of_images_snapshots_and_volumes(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            agent = await w.agent(obedient=False)
            demo = Volumes(w.demo)
            image = await w.demo.image(os_distro="debian")
            made = (await demo.post("/volumes", {"volume": {"size": 1, "imageRef": image, "name": "i"}}))["volume"]
            await agent.until(lambda: any(isinstance(each, IntentVolume) for each in agent.objects.values()))
            await agent.say(report_of(agent, VolumeReport(made["id"], "making")))
            await demo.until(f"/volumes/{made['id']}", status("downloading"))
            agent.obedient = True
            await agent.report()
            found = await demo.until(f"/volumes/{made['id']}", status("available"))
            assert found["bootable"] == "true"
            told = found["volume_image_metadata"]
            assert (told["image_id"], told["image_name"], told["os_distro"], told["size"]) == (
                image, "tiny", "debian", str(len(DATA)),
            )  # fmt: skip
            copy = await volume(demo, size=None, source_volid=made["id"])
            assert (copy["size"], copy["bootable"], copy["source_volid"]) == (1, "true", made["id"])
            assert copy["volume_image_metadata"] == told
            kept = await snapshot(demo, made["id"], name="s")
            larger = await volume(demo, size=2, snapshot_id=kept["id"])
            assert (larger["size"], larger["bootable"], larger["snapshot_id"]) == (2, "true", kept["id"])
            intents = {each.id: each for each in agent.objects.values() if isinstance(each, IntentVolume)}
            assert intents[copy["id"]].source_id == made["id"] and intents[larger["id"]].snapshot_id == kept["id"]
            of_image = intents[made["id"]].image
            assert of_image is not None and of_image.id == image and intents[made["id"]].is_made
            await demo.post(f"/volumes/{made['id']}/action", {"os-extend": {"new_size": 2}})
            await demo.until(f"/volumes/{made['id']}", lambda found: found["size"] == 2)
            body = {"source_volid": made["id"], "size": 1}
            assert "smaller" in (await demo.error("POST", "/volumes", {"volume": body}))[2]
            both = {"source_volid": made["id"], "snapshot_id": kept["id"]}
            assert (await demo.error("POST", "/volumes", {"volume": both}))[0] == 400
            rows.check(w.cloud.database)

    run(test())


def test_an_image_may_name_the_type_of_its_volumes(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            await w.agent()
            demo, admin = Volumes(w.demo), Volumes(w.admin)
            ids = {}
            for name, is_public in (("fast", True), ("slow", True), ("secret", False)):
                body = {"volume_type": {"name": name, "os-volume-type-access:is_public": is_public}}
                ids[name] = (await admin.post("/types", body))["volume_type"]["id"]
            by_name = await w.demo.image(cinder_img_volume_type="fast")
            by_id = await w.demo.image(cinder_img_volume_type=ids["slow"])
            assert (await volume(demo, imageRef=by_name))["volume_type"] == "fast"
            of_slow = await volume(demo, imageRef=by_id)
            assert of_slow["volume_type"] == "slow"
            assert (await volume(demo, imageRef=by_name, volume_type="slow"))["volume_type"] == "slow"
            assert (await volume(demo, imageRef=by_name, volume_type=None))["volume_type"] == "fast"
            copy = await volume(demo, size=None, source_volid=of_slow["id"])
            assert copy["volume_type"] == "slow", "a copy is what it is a copy of"
            for asked in ("nobody", ids["secret"], "secret"):
                image = await w.demo.image(cinder_img_volume_type=asked)
                refused = await demo.error("POST", "/volumes", {"volume": {"size": 1, "imageRef": image}})
                assert refused[0] == 404 and asked in refused[2]
            silent = await w.demo.image(cinder_img_volume_type="")
            assert (await volume(demo, imageRef=silent))["volume_type"] == "__DEFAULT__"

    run(test())


def report_of(agent: Any, *volumes: VolumeReport) -> Any:
    from deuteron.model.intent import Report

    return Report(agent.revision, volumes=volumes)


def test_a_snapshot_keeps_its_volume_and_goes_with_it_when_asked(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            agent = await w.agent()
            demo = Volumes(w.demo)
            one = await volume(demo)
            kept = await snapshot(demo, one["id"], name="s", description="d", metadata={"a": "b"}, force=True)
            assert kept["os-extended-snapshot-attributes:progress"] == "100%" and kept["size"] == 1
            assert set((await demo.get(f"/snapshots/{kept['id']}", "3.71"))["snapshot"]) - set(kept) == {
                "group_snapshot_id",
                "user_id",
                "consumes_quota",
            }
            assert "have snapshots" in (await demo.error("DELETE", f"/volumes/{one['id']}"))[2]
            path = f"/snapshots/{kept['id']}"
            changed = (await demo.put(path, {"snapshot": {"display_name": "t", "description": "e"}}))["snapshot"]
            assert (changed["name"], changed["description"]) == ("t", "e")
            assert (await demo.error("PUT", path, {"snapshot": {}}))[0] == 400
            assert (await demo.put(f"{path}/metadata", {"metadata": {"c": "d"}})) == {"metadata": {"c": "d"}}
            assert (await demo.post(f"{path}/metadata", {"metadata": {"e": "f"}})) == {"metadata": {"c": "d", "e": "f"}}
            assert (await demo.put(f"{path}/metadata/e", {"meta": {"e": "g"}})) == {"meta": {"e": "g"}}
            assert (await demo.get(f"{path}/metadata/e")) == {"meta": {"e": "g"}}
            assert await demo.delete(f"{path}/metadata/e") == 200
            assert (await demo.error("GET", f"{path}/metadata/e"))[0] == 404
            assert (await demo.get(f"{path}/metadata")) == {"metadata": {"c": "d"}}
            absolute = (await demo.get("/limits"))["limits"]["absolute"]
            assert (absolute["totalSnapshotsUsed"], absolute["totalGigabytesUsed"]) == (1, 2)
            assert (await demo.error("POST", f"{path}/action", {"os-reset_status": {"status": "error"}}))[0] == 403
            await admin_action(w, path, {"os-reset_status": {"status": "error"}})
            assert (await demo.get(path))["snapshot"]["status"] == "error"
            body = {"os-update_snapshot_status": {"status": "available"}}
            assert (await demo.error("POST", f"{path}/action", body))[0] == 400
            await admin_action(w, path, {"os-reset_status": {"status": "creating"}})
            progress = "os-extended-snapshot-attributes:progress"
            for wrong in ("x", "101%", "5", 7):
                body = {"os-update_snapshot_status": {"status": "error", "progress": wrong}}
                assert (await Volumes(w.admin).error("POST", f"{path}/action", body))[0] == 400, wrong
            await admin_action(w, path, {"os-update_snapshot_status": {"status": "error", "progress": "80%"}})
            shown = (await demo.get(path))["snapshot"]
            assert (shown["status"], shown[progress]) == ("error", "80%")
            assert (await demo.error("POST", "/snapshots", {"snapshot": {"volume_id": "x"}}))[0] == 400
            assert (await demo.error("POST", "/snapshots", {"snapshot": {"volume_id": None}}))[0] == 404
            assert (await demo.error("POST", "/snapshots", {"snapshot": {"name": "x"}}))[0] == 400
            wrong = {"snapshot": {"volume_id": one["id"], "force": False}}
            assert (await demo.error("POST", "/snapshots", wrong, "3.66"))[0] == 400
            assert (await demo.request("DELETE", f"/volumes/{one['id']}?cascade=true")).status == 202
            await demo.until_gone(path)
            await demo.until_gone(f"/volumes/{one['id']}")
            assert not [each for each in agent.objects.values() if isinstance(each, IntentSnapshot | IntentVolume)]
            absolute = (await demo.get("/limits"))["limits"]["absolute"]
            assert (absolute["totalSnapshotsUsed"], absolute["totalGigabytesUsed"]) == (0, 0)

    run(test())


async def admin_action(w: World, path: str, body: Any) -> None:
    """An action of an administrator, on what another project has."""
    answer = await w.admin.request("POST", f"/volume/v3{path}/action", body)
    assert answer.status == 202, answer.body


def test_a_volume_grows_as_far_as_its_host_and_its_quota_let_it(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            agent = await w.agent()
            demo = Volumes(w.demo, "3.5")
            one = await volume(demo)
            path = f"/volumes/{one['id']}"
            await demo.post(f"{path}/action", {"os-extend": {"new_size": 3}})
            assert (await demo.until(path, status("available")))["size"] == 3
            for body, code in (({"new_size": 3}, 400), ({"new_size": "x"}, 400), ({}, 400), ({"new_size": 5000}, 413)):
                assert (await demo.error("POST", f"{path}/action", {"os-extend": body}))[0] == code, body
            agent.faults[one["id"]] = ("no space is left", "")
            await demo.post(f"{path}/action", {"os-extend": {"new_size": 4}})
            found = await demo.until(path, status("error_extending"))
            assert found["size"] == 3
            absolute = (await demo.get("/limits"))["limits"]["absolute"]
            assert absolute["totalGigabytesUsed"] == 3
            (message,) = (await demo.get("/messages"))["messages"]
            assert message["event_id"] == "VOLUME_VOLUME_007_010"
            assert "error_extending" in (await demo.error("POST", f"{path}/action", {"os-extend": {"new_size": 9}}))[2]
            assert await demo.delete(path) == 202
            await demo.until_gone(path)

    run(test())


def test_small_actions_change_what_a_volume_says_of_itself(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            await w.agent()
            demo = Volumes(w.demo)
            one = await volume(demo)
            path = f"/volumes/{one['id']}"

            async def act(name: str, argument: Any) -> Any:
                return await demo.post(f"{path}/action", {name: argument})

            await act("os-set_bootable", {"bootable": "True"})
            await act("os-update_readonly_flag", {"readonly": True})
            found = (await demo.get(path))["volume"]
            assert (found["bootable"], found["metadata"]) == ("true", {"readonly": "True"})
            assert await act("os-set_image_metadata", {"metadata": {"a": "b"}}) == {"metadata": {"a": "b"}}
            assert await act("os-show_image_metadata", {}) == {"metadata": {"a": "b"}}
            assert (await demo.get(path))["volume"]["volume_image_metadata"] == {"a": "b"}
            await act("os-unset_image_metadata", {"key": "a"})
            gone = await demo.error("POST", f"{path}/action", {"os-unset_image_metadata": {"key": "a"}})
            assert gone[:2] == (404, "itemNotFound")
            for body in ({"os-nothing": {}}, {}, {"os-extend": 5}, {"os-extend": {}, "os-set_bootable": {}}):
                assert (await demo.error("POST", f"{path}/action", body))[0] == 400, body
            ended = {"os-extend_volume_completion": {"error": False}}
            missing = await Volumes(w.admin).error("POST", f"{path}/action", ended, "3.71")
            assert missing[:2] == (501, "notImplemented") and "not available in this cloud" in missing[2]
            await admin_action(w, path, {"os-reset_status": {"status": "error"}})
            assert (await demo.get(path))["volume"]["status"] == "error"
            for word in ("deleting", "in-use", "sleepy"):
                answer = await w.admin.request(
                    "POST", f"/volume/v3{path}/action", {"os-reset_status": {"status": word}}
                )
                assert answer.status == 400, word
            await admin_action(w, path, {"os-force_delete": {}})
            await demo.until_gone(path)

    run(test())


def test_metadata_of_a_volume_is_changed_by_who_saw_it_last(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            await w.agent()
            demo = Volumes(w.demo, "3.15")
            one = await volume(demo, metadata={"a": "b"})
            path = f"/volumes/{one['id']}/metadata"
            answer = await demo.request("GET", path)
            assert answer.json == {"metadata": {"a": "b"}}
            tag = answer.headers["etag"]
            assert await demo.post(path, {"metadata": {"c": "d"}}) == {"metadata": {"a": "b", "c": "d"}}
            body = {"metadata": {"e": "f"}}
            assert (await demo.request("PUT", path, body, **{"if-match": tag})).status == 412
            tag = (await demo.request("GET", path)).headers["etag"]
            assert (await demo.request("PUT", path, body, **{"if-match": f'"{tag}"'})).json == body
            assert await demo.put(f"{path}/e", {"meta": {"e": "g"}}) == {"meta": {"e": "g"}}
            assert await demo.get(f"{path}/e") == {"meta": {"e": "g"}}
            for wrong in ({"meta": {"x": "g"}}, {"meta": {"e": "g", "h": "i"}}, {"meta": {"": "g"}}, {"meta": 5}, {}):
                assert (await demo.error("PUT", f"{path}/e", wrong))[0] == 400, wrong
            assert await demo.delete(f"{path}/e") == 200
            gone = await demo.error("DELETE", f"{path}/e")
            assert gone[2] == f"Volume {one['id']} has no metadata with key e."

    run(test())


def test_lists_are_filtered_sorted_paged_and_counted(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            await w.agent()
            demo, admin = Volumes(w.demo), Volumes(w.admin)
            ids = {}
            for number, name in enumerate(("b", "c", "a"), 1):
                ids[name] = (await volume(demo, name=name, size=number, metadata={"n": str(number)}))["id"]
            foreign = await volume(admin, name="z")
            await demo.post(f"/volumes/{ids['a']}/action", {"os-set_bootable": {"bootable": True}})

            async def names(query: str, version: str = "3.0", client: Volumes = demo) -> list[str]:
                return [each["name"] for each in (await client.get(f"/volumes{query}", version))["volumes"]]

            assert await names("") == ["a", "c", "b"]
            assert await names("/detail?sort=name:asc") == ["a", "b", "c"]
            assert await names("?sort_key=size&sort_dir=asc") == ["b", "c", "a"]
            assert await names("?sort=name:asc&limit=1&offset=1") == ["b"]
            assert await names(f"?sort=name:asc&marker={ids['a']}") == ["b", "c"]
            assert await names("?limit=0") == []
            assert await names("?name=c") == ["c"] and await names("?size=2") == ["c"]
            assert await names("?status=error") == [] and await names("?bootable=true", "3.2") == ["a"]
            assert await names("?metadata={'n':'3'}") == ["a"] and await names("?metadata={}") == ["a", "c", "b"]
            assert await names("?name~=c", "3.34") == ["c"]
            assert await names("?created_at=gt:2020-01-01T00:00:00", "3.60") == ["a", "c", "b"]
            assert await names("?created_at=lt:2020-01-01", "3.60") == []
            assert await names("?created_at=lt:2020-01-01") == ["a", "c", "b"], "came with 3.60"
            assert await names("?colour=red") == ["a", "c", "b"] and await names("?consumes_quota=no", "3.65") == []
            assert await names("?all_tenants=1") == ["a", "c", "b"], "is for administrators"
            assert sorted(await names("?all_tenants=1", client=admin)) == ["a", "b", "c", "z"]
            assert await names(f"?all_tenants=1&project_id={w.admin.project_id}", client=admin) == ["z"]
            assert await names("", client=admin) == ["z"]
            counted = await demo.get("/volumes?limit=1&with_count=true", "3.45")
            assert counted["count"] == 3 and len(counted["volumes"]) == 1
            assert f"marker={counted['volumes'][0]['id']}" in counted["volumes_links"][0]["href"]
            summary = (await demo.get("/volumes/summary", "3.36"))["volume-summary"]
            assert (summary["total_count"], summary["total_size"]) == (3, 6)
            assert sorted(summary["metadata"]["n"]) == ["1", "2", "3"]
            for query, version in (
                ("bootable=perhaps", "3.2"), ("colour=red", "3.31"), ("metadata=x", "3.0"), ("size=x", "3.0"),
                ("created_at=gt:soon", "3.60"), ("created_at=near:2020-01-01", "3.60"), ("sort=colour", "3.0"),
                ("sort_key=name&sort_dir=up", "3.0"), ("offset=-1", "3.0"),
            ):  # fmt: skip
                assert (await demo.error("GET", f"/volumes?{query}", version=version))[0] == 400, query
            assert (await demo.error("GET", "/volumes?marker=none"))[0] == 404
            assert (await demo.error("GET", "/volumes/summary", version="3.11"))[0] == 404
            assert (await demo.error("GET", f"/volumes/{foreign['id']}"))[:2] == (404, "itemNotFound")
            for name in ("y", "x"):
                await snapshot(demo, ids["a"], name=name, metadata={"n": name})
            found = (await demo.get("/snapshots?sort=name:asc"))["snapshots"]
            assert [each["name"] for each in found] == ["x", "y"]
            found = (await demo.get("/snapshots/detail?metadata={'n':'y'}", "3.22"))["snapshots"]
            assert [each["name"] for each in found] == ["y"]
            assert (await demo.get(f"/snapshots?volume_id={ids['b']}"))["snapshots"] == []
            filters = (await demo.get("/resource_filters?resource=snapshot", "3.33"))["resource_filters"]
            assert [each["resource"] for each in filters] == ["snapshot"]

    run(test())


def test_a_volume_becomes_an_image_by_its_host(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            agent = await w.agent(obedient=True)
            demo = Volumes(w.demo, "3.5")
            one = await volume(demo)
            path = f"/volumes/{one['id']}"
            ask = {"os-volume_upload_image": {"image_name": "img", "disk_format": "raw", "container_format": "bare"}}
            for wrong in ({}, {"image_name": "x", "disk_format": "iso"}, {"image_name": "x", "visibility": "mine"}):
                body = {"os-volume_upload_image": wrong}
                assert (await demo.error("POST", f"{path}/action", body))[0] == 400, wrong
            answer = (await demo.post(f"{path}/action", ask))["os-volume_upload_image"]
            image = answer["image_id"]
            assert (answer["status"], answer["image_name"], answer["volume_type"]["name"]) == (
                "uploading", "img", "__DEFAULT__",
            )  # fmt: skip
            assert (await demo.get(path))["volume"]["status"] == "uploading"
            assert (await demo.error("DELETE", path))[0] == 400
            data = b"\0" * 4096

            async def deliver(token: str, to: str = image) -> int:
                headers = {"authorization": f"Bearer {token}", "content-length": str(len(data))}
                target = f"/internal/volumes/{one['id']}/images/{to}"
                return (await w.demo.request("PUT", target, data, headers=headers, unix=True)).status

            assert await deliver("token-h2") == 404, "another host keeps the volume"
            assert await deliver("token-h1", one["id"]) == 404 and await deliver("nobody") == 401
            assert await deliver("token-h1") == 204
            found = await w.demo.get(f"/image/v2/images/{image}")
            assert (found["status"], found["size"], found["owner"], found["visibility"]) == (
                "active", len(data), w.demo.project_id, "private",
            )  # fmt: skip
            assert (await demo.get(path))["volume"]["status"] == "available"
            assert await deliver("token-h1") == 404, "nobody asks for it any more"
            agent.obedient = False
            again = (await demo.post(f"{path}/action", ask))["os-volume_upload_image"]["image_id"]
            agent.faults[again] = ("cannot be read", "")
            uploads = lambda: [each.upload for each in agent.objects.values() if isinstance(each, IntentVolume)]  # noqa: E731
            await agent.until(lambda: any(each is not None and each.image_id == again for each in uploads()))
            await agent.report()
            await demo.until(path, status("available"))
            (message,) = (await demo.get("/messages"))["messages"]
            assert message["event_id"] == "VOLUME_VOLUME_003_004"

    run(test())


def test_a_volume_takes_another_type_with_its_quotas(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            await w.agent()
            demo, admin = Volumes(w.demo), Volumes(w.admin)
            for name in ("fast", "full"):
                await admin.post("/types", {"volume_type": {"name": name}})
            quota = {"quota_set": {"volumes_full": 0, "gigabytes_fast": 3}}
            await admin.put(f"/os-quota-sets/{w.demo.project_id}", quota)
            one = await volume(demo, size=2)
            path = f"/volumes/{one['id']}"

            async def used(kind: str) -> tuple[int, int]:
                found = (await demo.get(f"/os-quota-sets/{w.demo.project_id}?usage=true"))["quota_set"]
                return found[f"volumes_{kind}"]["in_use"], found[f"gigabytes_{kind}"]["in_use"]

            assert await used("__DEFAULT__") == (1, 2)
            await demo.post(f"{path}/action", {"os-retype": {"new_type": "fast", "migration_policy": "never"}})
            assert (await demo.get(path))["volume"]["volume_type"] == "fast"
            assert (await used("__DEFAULT__"), await used("fast")) == ((0, 0), (1, 2))
            for body, code in (
                ({"new_type": "fast"}, 400), ({"new_type": "none"}, 404), ({"new_type": "full"}, 413), ({}, 400),
                ({"new_type": "full", "migration_policy": "perhaps"}, 400),
            ):  # fmt: skip
                assert (await demo.error("POST", f"{path}/action", {"os-retype": body}))[0] == code, body
            assert (await demo.error("POST", f"{path}/action", {"os-extend": {"new_size": 4}}))[0] == 413
            fast = next(each for each in (await admin.get("/types"))["volume_types"] if each["name"] == "fast")
            assert (await admin.error("DELETE", f"/types/{fast['id']}"))[0] == 400, "a volume has it"
            assert await demo.delete(path) == 202
            await demo.until_gone(path)
            assert await used("fast") == (0, 0)

    run(test())


def test_a_volume_is_where_its_type_says_or_nowhere(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            await w.agent()
            demo, admin = Volumes(w.demo, "3.5"), Volumes(w.admin)
            for name, specs in (("ours", {"volume_backend_name": "file"}), ("theirs", {"vendor_name": "IBM"})):
                await admin.post("/types", {"volume_type": {"name": name, "extra_specs": specs}})
            one = await volume(demo, volume_type="ours")
            path = f"/volumes/{one['id']}"
            body = {"volume": {"size": 1, "volume_type": "theirs"}}
            for origin in ({}, {"source_volid": one["id"]}):
                made = (await demo.post("/volumes", {"volume": {**body["volume"], **origin}}))["volume"]
                assert made["status"] == "error"
                told = (await demo.get("/messages"))["messages"]
                assert told[0]["resource_uuid"] == made["id"]
            assert (await demo.post(f"{path}/action", {"os-retype": {"new_type": "theirs"}})) is None
            assert (await demo.get(path))["volume"]["volume_type"] == "ours"
            assert (await demo.get("/messages"))["messages"][0]["resource_uuid"] == one["id"]
            shown = await admin.get("/capabilities/h1@file")
            assert (shown["volume_backend_name"], shown["namespace"]) == ("file", "OS::Storage::Capabilities::h1@file")
            assert (await admin.get("/capabilities/h1@file#file")) == shown
            assert (await admin.error("GET", "/capabilities/h1@lvm"))[0] == 404
            assert (await demo.error("GET", "/capabilities/h1@file"))[0] == 403

    run(test())


def test_a_volume_goes_to_another_project_that_has_the_key(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            await w.agent()
            demo, admin = Volumes(w.demo), Volumes(w.admin)
            one = await volume(demo, size=2)
            kept = await snapshot(demo, one["id"])
            body = {"transfer": {"volume_id": one["id"], "name": " t "}}
            made = (await demo.post("/os-volume-transfer", body))["transfer"]
            path = f"/os-volume-transfer/{made['id']}"
            assert (made["name"], made["volume_id"], len(made["auth_key"])) == ("t", one["id"], 16)
            assert (await demo.get(f"/volumes/{one['id']}"))["volume"]["status"] == "awaiting-transfer"
            assert (await demo.error("POST", "/os-volume-transfer", body))[0] == 400, "it is on its way"
            assert (await demo.error("DELETE", f"/volumes/{one['id']}"))[0] == 400
            shown = (await demo.get(path))["transfer"]
            assert "auth_key" not in shown and shown["created_at"] == made["created_at"]
            assert [each["id"] for each in (await demo.get("/os-volume-transfer"))["transfers"]] == [made["id"]]
            newest = (await demo.get("/volume-transfers/detail", "3.57"))["transfers"]
            assert [(each["source_project_id"], each["accepted"]) for each in newest] == [(w.demo.project_id, False)]
            assert (await demo.error("GET", "/volume-transfers", version="3.54"))[0] == 404
            assert (await admin.get("/os-volume-transfer"))["transfers"] == []
            wrong = {"accept": {"auth_key": "0" * 16}}
            assert (await admin.error("POST", f"{path}/accept", wrong))[:2] == (400, "badRequest")
            assert (await admin.error("POST", f"{path}/accept", {"accept": {}}))[0] == 400
            await admin.put(f"/os-quota-sets/{w.admin.project_id}", {"quota_set": {"gigabytes": 1}})
            key = {"accept": {"auth_key": made["auth_key"]}}
            assert (await admin.error("POST", f"{path}/accept", key))[0] == 413
            await admin.put(f"/os-quota-sets/{w.admin.project_id}", {"quota_set": {"gigabytes": 10}})
            taken = (await admin.post(f"{path}/accept", key))["transfer"]
            assert taken["volume_id"] == one["id"]
            found = (await admin.get(f"/volumes/{one['id']}"))["volume"]
            assert (found["status"], found["os-vol-tenant-attr:tenant_id"]) == ("available", w.admin.project_id)
            assert (await demo.error("GET", f"/volumes/{one['id']}"))[0] == 404
            assert (await demo.error("GET", f"/snapshots/{kept['id']}"))[0] == 404
            assert (await admin.error("POST", f"{path}/accept", key))[0] == 404, "it was accepted"
            sums = [(await client.get("/limits"))["limits"]["absolute"] for client in (demo, admin)]
            assert [(each["totalVolumesUsed"], each["totalGigabytesUsed"]) for each in sums] == [(0, 0), (1, 4)]
            body = {"transfer": {"volume_id": one["id"], "no_snapshots": True}}
            assert (await admin.error("POST", "/volume-transfers", body, "3.54"))[0] in (400, 404)
            again = (await admin.post("/volume-transfers", body, "3.55"))["transfer"]
            assert again["no_snapshots"] is True
            await demo.post(
                f"/volume-transfers/{again['id']}/accept", {"accept": {"auth_key": again["auth_key"]}}, "3.55"
            )
            assert (await admin.get(f"/snapshots/{kept['id']}"))["snapshot"]["status"] == "available"
            refused = await demo.request("DELETE", f"/volumes/{one['id']}?cascade=true")
            assert refused.status == 400, "another project's snapshot is not taken along"
            third = (await demo.post("/os-volume-transfer", {"transfer": {"volume_id": one["id"]}}))["transfer"]
            assert await demo.delete(f"/os-volume-transfer/{third['id']}") == 202
            assert (await demo.get(f"/volumes/{one['id']}"))["volume"]["status"] == "available"
            rows.check(w.cloud.database)

    run(test())


def test_a_volume_that_vanished_from_its_host_is_in_error(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            agent = await w.agent()
            demo = Volumes(w.demo, "3.5")
            one = await volume(demo)
            await agent.say(report_of(agent, VolumeReport(one["id"], "error", 0, fault="is not there any more")))
            await demo.until(f"/volumes/{one['id']}", status("error"))
            assert len((await demo.get("/messages"))["messages"]) == 1

    run(test())


def test_a_volume_becomes_again_what_its_latest_snapshot_kept(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            agent = await w.agent()
            demo, admin = Volumes(w.demo, "3.40"), Volumes(w.admin)
            one = await volume(demo)
            path, act = f"/volumes/{one['id']}", f"/volumes/{one['id']}/action"
            assert "any snapshots" in (await demo.error("POST", act, {"revert": {"snapshot_id": None}}))[2]
            first = await snapshot(demo, one["id"])
            last = await snapshot(demo, one["id"])
            wanted = {"revert": {"snapshot_id": last["id"]}}
            assert (await demo.error("POST", act, wanted, "3.39"))[0] == 404
            for wrong, code in (({"snapshot_id": first["id"]}, 400), ({}, 400), ({"snapshot_id": 5}, 400)):
                assert (await demo.error("POST", act, {"revert": wrong}))[0] == code, wrong

            agent.obedient = False
            await demo.post(act, wanted)
            below = f"/snapshots/{last['id']}"
            assert (await demo.get(path))["volume"]["status"] == "reverting"
            assert (await demo.get(below))["snapshot"]["status"] == "restoring"
            assert (await demo.error("POST", act, wanted))[0] == 409
            assert (await demo.error("DELETE", below))[0] == 400
            await admin.post(act, {"os-reset_status": {"status": "available"}})
            assert (await demo.get(below))["snapshot"]["status"] == "available"
            await demo.post(act, wanted)
            intents = agent.objects.values()
            await agent.until(lambda: any(getattr(each, "revert", None) for each in intents))
            agent.obedient = True
            await agent.report()
            await demo.until(path, status("available"))
            assert (await demo.get(below))["snapshot"]["status"] == "available"
            await agent.until(lambda: not any(getattr(each, "revert", None) for each in agent.objects.values()))

            agent.faults[last["id"]] = ("it is not there", "")
            await demo.post(act, wanted)
            await demo.until(path, status("error"))
            assert (await demo.get(below))["snapshot"]["status"] == "available"
            await admin.post(act, {"os-reset_status": {"status": "available"}})
            await demo.post(act, {"os-extend": {"new_size": 2}})
            await demo.until(path, status("available"))
            assert "must be equal" in (await demo.error("POST", act, wanted))[2]
            rows.check(w.cloud.database)

    run(test())


def test_a_volume_is_made_anew_of_an_image(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            agent, demo = await w.agent("h1"), Volumes(w.demo)
            made = await volume(demo)
            path, image = f"/volumes/{made['id']}", await w.demo.image(os_type="linux")

            async def refused(version: str = "3.68", **body: Any) -> tuple[int, str]:
                said = await demo.error("POST", f"{path}/action", {"os-reimage": body}, version)
                return said[0], said[2]

            assert (await refused("3.67", image_id=image))[0] == 400
            odd = {"image_id": image, "reimage_reserved": 5}
            for body in ({}, {"image_id": "x"}, {"image_id": image, "more": 1}, odd, {"image_id": made["id"]}):
                assert (await refused(**body))[0] == 400, body
            await demo.post(f"{path}/action", {"os-reimage": {"image_id": image}}, "3.68")
            found = await demo.until(path, status("available"))
            assert (found["bootable"], found["volume_image_metadata"]["os_type"]) == ("true", "linux")
            attachment = await demo.post("/attachments", {"attachment": {"volume_uuid": made["id"]}}, "3.54")
            assert "reimage_reserved" in (await refused(image_id=image))[1]
            body = {"os-reimage": {"image_id": image, "reimage_reserved": True}}
            await demo.post(f"{path}/action", body, "3.68")
            await demo.until(path, status("reserved"))
            path_of_it = f"/attachments/{attachment['attachment']['id']}"
            assert (await demo.request("DELETE", path_of_it, None, "3.54")).status == 200
            await demo.until(path, status("available"))
            agent.faults[image] = ("no space is left", "")
            await demo.post(f"{path}/action", {"os-reimage": {"image_id": image}}, "3.68")
            await demo.until(path, status("error"))
            assert (await refused("3.68", image_id=made["id"]))[0] == 400
            del agent.faults[image]
            await demo.post(f"{path}/action", {"os-reimage": {"image_id": image}}, "3.68")
            await demo.until(path, status("available"))

    run(test())

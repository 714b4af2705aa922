"""Backups of the Block Storage API: what is asked, what their host says, and what users see of it."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

from deuteron.model.intent import IntentBackup, IntentVolume
from tests import rows
from tests.unit.api_compute.harness import run, world
from tests.unit.api_volume.harness import Volumes
from tests.unit.api_volume.test_volumes import snapshot, status, volume

STRANGE = "22222222-1111-4111-8111-111111111111"


async def backup(client: Volumes, volume_id: str, **fields: Any) -> Any:
    """An available backup."""
    made = (await client.post("/backups", {"backup": {"volume_id": volume_id, **fields}}))["backup"]
    return await client.until(f"/backups/{made['id']}", status("available"))


async def used(client: Volumes) -> tuple[int, int]:
    absolute = (await client.get("/limits"))["limits"]["absolute"]
    return absolute["totalBackupsUsed"], absolute["totalBackupGigabytesUsed"]


def test_a_backup_is_made_shown_changed_restored_and_deleted(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            agent = await w.agent()
            demo, admin = Volumes(w.demo, "3.71"), Volumes(w.admin, "3.71")
            source = await volume(demo, name="v", description="d", metadata={"a": "b"})
            agent.obedient = False
            body = {"volume_id": source["id"], "name": " b ", "description": "x", "container": "c"}
            made = await demo.post("/backups", {"backup": {**body, "metadata": {"k": "v"}}})
            made = made["backup"]
            path = f"/backups/{made['id']}"
            assert (set(made), made["name"]) == ({"id", "name", "links"}, "b")
            assert (await demo.get(f"/volumes/{source['id']}"))["volume"]["status"] == "backing-up"
            assert (await demo.error("DELETE", path))[0] == 400
            agent.obedient = True
            await agent.report()
            found = await demo.until(path, status("available"))
            told = {"size": 1, "object_count": 1, "container": "c", "fail_reason": None, "volume_id": source["id"],
                    "is_incremental": False, "has_dependent_backups": False, "snapshot_id": None,
                    "metadata": {"k": "v"}, "availability_zone": None, "description": "x"}  # fmt: skip
            assert {name: found[name] for name in told} == told and found["data_timestamp"] == found["created_at"]
            assert "os-backup-project-attr:project_id" not in found
            of_admin = (await admin.get(path))["backup"]
            assert of_admin["os-backup-project-attr:project_id"] == w.demo.project_id
            assert of_admin["user_id"] == w.demo.user_id
            assert "metadata" not in (await demo.get(path, "3.42"))["backup"]
            assert (await demo.get(f"/volumes/{source['id']}"))["volume"]["status"] == "available"
            assert await used(demo) == (1, 1)
            await demo.put(path, {"backup": {"name": "n", "metadata": {}}})
            assert (await demo.get(path))["backup"]["name"] == "n"
            assert (await demo.error("PUT", path, {"backup": {"name": "n"}}, "3.8"))[0] == 404
            assert (await demo.error("PUT", path, {"backup": {"size": 2}}))[0] == 400

            assert await demo.delete(f"/volumes/{source['id']}") == 202
            await demo.until_gone(f"/volumes/{source['id']}")
            told = (await demo.post(f"{path}/restore", {"restore": {}}))["restore"]
            assert told["volume_name"] == f"restore_backup_{made['id']}" and told["backup_id"] == made["id"]
            new = await demo.until(f"/volumes/{told['volume_id']}", status("available"))
            assert [new[each] for each in ("name", "description", "metadata", "size")] == ["v", "d", {"a": "b"}, 1]
            assert (await demo.get(path))["backup"]["status"] == "available"
            into = await volume(demo, size=2, name="mine")
            await demo.post(f"{path}/restore", {"restore": {"volume_id": into["id"]}})
            into = await demo.until(f"/volumes/{into['id']}", status("available"))
            assert (into["name"], into["size"], into["metadata"]) == ("mine", 2, {"a": "b"})
            asked = {"volume": {"backup_id": made["id"]}}
            assert (await demo.error("POST", "/volumes", asked, "3.46"))[0] == 400
            third = (await demo.post("/volumes", asked, "3.47"))["volume"]
            await demo.until(f"/volumes/{third['id']}", status("available"))

            assert await demo.delete(path) == 202
            await demo.until_gone(path)
            assert await used(demo) == (0, 0)
            rows.check(w.cloud.database)

    run(test())


def test_an_incremental_backup_needs_the_one_it_differs_from(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            agent = await w.agent()
            demo, admin = Volumes(w.demo), Volumes(w.admin)
            source = (await volume(demo))["id"]
            body = {"backup": {"volume_id": source, "incremental": True}}
            assert "No backups available" in (await demo.error("POST", "/backups", body))[2]
            early = (await snapshot(demo, source))["id"]
            first = await backup(demo, source)
            second = await backup(demo, source, incremental=True)
            at = ("backup", second["id"])
            await agent.until(lambda: agent.objects[at] == IntentBackup(at[1], source, None, first["id"], is_made=True))
            assert second["is_incremental"] and not second["has_dependent_backups"]
            shown = {each["id"]: each for each in (await demo.get("/backups/detail"))["backups"]}
            assert shown[first["id"]]["has_dependent_backups"] and not shown[second["id"]]["has_dependent_backups"]
            assert "Incremental backups exist" in (await demo.error("DELETE", f"/backups/{first['id']}"))[2]
            force = {"os-force_delete": {}}
            assert (await admin.error("POST", f"/backups/{first['id']}/action", force))[0] == 400
            # What a snapshot holds is older than each of them.
            body = {"backup": {"volume_id": source, "incremental": True, "snapshot_id": early}}
            assert (await demo.error("POST", "/backups", body))[0] == 400
            third = await backup(demo, source, snapshot_id=early)
            kept = (await demo.get(f"/snapshots/{early}"))["snapshot"]
            assert (kept["status"], third["data_timestamp"]) == ("available", kept["created_at"])
            other = await volume(demo)
            body = {"backup": {"volume_id": other["id"], "snapshot_id": early}}
            assert (await demo.error("POST", "/backups", body))[0] == 400
            for each in (second, first):
                assert await demo.delete(f"/backups/{each['id']}") == 202
                await demo.until_gone(f"/backups/{each['id']}")
            rows.check(w.cloud.database)

    run(test())


def test_a_backup_that_fails_says_why_and_leaves_its_volume_as_it_was(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            agent = await w.agent()
            demo, admin = Volumes(w.demo), Volumes(w.admin)
            source = (await volume(demo))["id"]
            agent.faults[f"backup of {source}"] = ("no space is left", "")
            lost = (await demo.post("/backups", {"backup": {"volume_id": source}}))["backup"]["id"]
            found = await demo.until(f"/backups/{lost}", status("error"))
            assert (found["fail_reason"], found["object_count"]) == ("no space is left", 0)
            await agent.until(lambda: not [each for each in agent.objects.values() if isinstance(each, IntentBackup)])
            assert (await demo.get(f"/volumes/{source}"))["volume"]["status"] == "available"
            (message,) = (await demo.get(f"/messages?resource_uuid={lost}", "3.71"))["messages"]
            assert message["event_id"] == "VOLUME_VOLUME_BACKUP_013_020"
            available = {"os-reset_status": {"status": "available"}}
            assert (await admin.error("POST", f"/backups/{lost}/action", available))[0] == 400
            assert (await demo.error("POST", f"/backups/{lost}/restore", {"restore": {}}))[0] == 400
            assert await demo.delete(f"/backups/{lost}") == 202
            await demo.until_gone(f"/backups/{lost}")

            agent.faults.clear()
            kept = (await backup(demo, source))["id"]
            await admin.post(f"/backups/{kept}/action", {"os-reset_status": {"status": "error"}})
            assert (await demo.get(f"/backups/{kept}"))["backup"]["status"] == "error"
            await admin.post(f"/backups/{kept}/action", available)
            for wrong in ({"os-reset_status": {"status": "creating"}}, {"os-dance": {}}):
                assert (await admin.error("POST", f"/backups/{kept}/action", wrong))[0] == 400
            assert (await demo.error("POST", f"/backups/{kept}/action", available))[0] == 403
            agent.faults[kept] = ("the file is gone", "")
            await demo.post(f"/backups/{kept}/restore", {"restore": {"volume_id": source}})
            await demo.until(f"/volumes/{source}", status("error_restoring"))
            assert (await demo.until(f"/backups/{kept}", lambda each: each["status"] != "restoring"))["id"] == kept

            await admin.put("/os-services/disable", {"host": "h1", "binary": "cinder-backup"})
            services = (await admin.get("/os-services?binary=cinder-backup"))["services"]
            assert [(each["host"], each["status"], each["state"]) for each in services] == [("h1", "disabled", "up")]
            other = (await volume(demo))["id"]
            nowhere = (await demo.post("/backups", {"backup": {"volume_id": other}}))["backup"]["id"]
            found = (await demo.get(f"/backups/{nowhere}"))["backup"]
            assert found["status"] == "error" and "Service not found" in found["fail_reason"]
            rows.check(w.cloud.database)

    run(test())


def test_what_a_backup_cannot_be_is_refused(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            agent = await w.agent()
            demo, admin = Volumes(w.demo), Volumes(w.admin)
            source = (await volume(demo, size=2))["id"]
            whole = {"volume_id": source}
            refused: tuple[tuple[dict[str, Any], int], ...] = (
                ({}, 400), ({"volume_id": STRANGE}, 404), ({"volume_id": "x"}, 400), ({**whole, "metadata": {}}, 400),
                ({**whole, "availability_zone": "nova"}, 400), ({**whole, "force": "perhaps"}, 400),
                ({**whole, "snapshot_id": STRANGE}, 404), ({**whole, "name": "n" * 256}, 400),
                ({**whole, "size": 1}, 400),
            )  # fmt: skip
            for fields, wanted in refused:
                assert (await demo.error("POST", "/backups", {"backup": fields}))[0] == wanted, fields
            theirs = (await volume(admin))["id"]
            assert (await demo.error("POST", "/backups", {"backup": {"volume_id": theirs}}))[0] == 404
            secret = (await backup(admin, theirs))["id"]
            for method, path, body in (
                ("GET", f"/backups/{secret}", None),
                ("POST", f"/backups/{secret}/restore", {"restore": {}}),
                ("DELETE", f"/backups/{secret}", None),
            ):
                assert (await demo.error(method, path, body))[0] == 404
            asked = {"volume": {"size": 1, "backup_id": secret}}
            assert (await demo.error("POST", "/volumes", asked, "3.47"))[0] == 404
            assert (await demo.get("/backups"))["backups"] == []
            made = (await backup(demo, source))["id"]
            small = (await volume(demo))["id"]
            for target, code in ((small, 400), (theirs, 404), (STRANGE, 404)):
                into = {"restore": {"volume_id": target}}
                assert (await demo.error("POST", f"/backups/{made}/restore", into))[0] == code
            asked = {"volume": {"size": 1, "backup_id": made}}
            assert (await demo.error("POST", "/volumes", asked, "3.47"))[0] == 400

            quotas = f"/os-quota-sets/{w.demo.project_id}"
            await admin.put(quotas, {"quota_set": {"backup_gigabytes": 3}})
            assert "VolumeBackupSize" in (await demo.error("POST", "/backups", {"backup": whole}))[2]
            await admin.put(quotas, {"quota_set": {"backup_gigabytes": 9, "backups": 1}})
            code, _, message = await demo.error("POST", "/backups", {"backup": whole})
            assert code == 413 and "BackupLimitExceeded" in message
            await admin.put(quotas, {"quota_set": {"backups": 9}})
            agent.obedient = False
            await demo.post("/backups", {"backup": whole})
            assert "backing-up" in (await demo.error("POST", "/backups", {"backup": whole}))[2]
            rows.check(w.cloud.database)

    run(test())


def test_lists_of_backups_are_filtered_sorted_paged_and_counted(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            await w.agent()
            demo, admin = Volumes(w.demo), Volumes(w.admin)
            one, two = [(await volume(demo))["id"] for _ in range(2)]
            for name, where in (("a", one), ("b", two), ("c", two)):
                await backup(demo, where, name=name)

            async def names(query: str, who: Volumes = demo, version: str = "3.71") -> list[str]:
                return [each["name"] for each in (await who.get(f"/backups/detail{query}", version))["backups"]]

            assert await names("") == ["c", "b", "a"] and await names("?sort=name:asc") == ["a", "b", "c"]
            assert await names(f"?volume_id={two}") == ["c", "b"] and await names("?name=a") == ["a"]
            assert await names("?status=error") == [] and await names("?name~=b") == ["b"]
            assert await names("", admin) == [] and len(await names("?all_tenants=1", admin)) == 3
            assert (await demo.error("GET", "/backups?size=1", version="3.31"))[0] == 400
            counted = await demo.get("/backups?limit=1&with_count=true", "3.45")
            assert counted["count"] == 3 and len(counted["backups"]) == 1 and counted["backups_links"]
            filters = (await demo.get("/resource_filters?resource=backup", "3.33"))["resource_filters"]
            assert filters == [{"resource": "backup", "filters": ["name", "status", "volume_id"]}]

    run(test())


def test_a_record_of_a_backup_makes_another_of_the_same_data(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            agent = await w.agent()
            demo, admin = Volumes(w.demo), Volumes(w.admin)
            source = await volume(demo, name="v")
            made = (await backup(demo, source["id"], name="b"))["id"]
            assert (await demo.error("GET", f"/backups/{made}/export_record"))[0] == 403
            record = (await admin.get(f"/backups/{made}/export_record"))["backup-record"]
            said = json.loads(base64.b64decode(record["backup_url"]))
            assert (said["id"], said["size"]) == (made, 1)

            def changed(**values: Any) -> dict[str, Any]:
                text = base64.b64encode(json.dumps({**said, **values}).encode()).decode()
                return {"backup-record": {**record, "backup_url": text}}

            new = (await admin.request("POST", "/backups/import_record", changed(id=STRANGE))).json["backup"]
            assert (new["id"], new["name"]) == (STRANGE, "b")
            found = await admin.until(f"/backups/{STRANGE}", status("available"))
            assert found["volume_id"] == "00000000-0000-0000-0000-000000000000"
            (intent,) = (each for each in agent.objects.values() if each.id == STRANGE)
            assert isinstance(intent, IntentBackup) and intent.copy_of == made
            told = (await admin.post(f"/backups/{STRANGE}/restore", {"restore": {"name": "mine"}}))["restore"]
            await admin.until(f"/volumes/{told['volume_id']}", status("available"))
            assert any(isinstance(each, IntentVolume) and each.restore is None for each in agent.objects.values())
            wrong = (
                changed(), changed(id="../../x"), changed(id=None), changed(id=source["id"], size="1"),
                changed(id=source["id"], service_metadata="/etc/passwd"), changed(id=source["id"], host="h9"),
                changed(id=source["id"], parent_id=7), changed(id=source["id"], container=["x"]),
                {"backup-record": {**record, "backup_url": "@"}}, {"backup-record": {**record, "backup_url": "e30="}},
                {"backup-record": {**record, "backup_service": "cinder.backup.drivers.swift"}},
            )  # fmt: skip
            for body in wrong:
                assert (await admin.error("POST", "/backups/import_record", body))[0] == 400, body
            assert (await demo.error("POST", "/backups/import_record", changed()))[0] == 403
            rows.check(w.cloud.database)

    run(test())

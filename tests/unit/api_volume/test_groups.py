"""Groups of volumes, their types, and snapshots of groups in the Block Storage API."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests import rows
from tests.unit.api_compute.harness import run, world
from tests.unit.api_volume.harness import Volumes
from tests.unit.api_volume.test_volumes import status, volume

STRANGE = "22222222-1111-4111-8111-111111111111"


async def group(admin: Volumes, owner: Volumes, **fields: Any) -> tuple[str, str]:
    """An available group of a type of its own, and the type of its volumes."""
    kind = (await admin.post("/types", {"volume_type": {"name": f"t-{owner.client.project_id}"}}))["volume_type"]["id"]
    of = (await admin.post("/group_types", {"group_type": {"name": f"g-{kind}"}}))["group_type"]["id"]
    body = {"group": {"group_type": of, "volume_types": [kind], **fields}}
    made = (await owner.post("/groups", body))["group"]
    await owner.until(f"/groups/{made['id']}", status("available"))
    return made["id"], kind


def test_group_types_have_specs_that_administrators_see(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            demo, admin = Volumes(w.demo, "3.11"), Volumes(w.admin, "3.11")
            (first,) = (await demo.get("/group_types"))["group_types"]
            assert first["name"] == "default_cgsnapshot_type" and "group_specs" not in first
            body = {"name": "closed", "is_public": False, "group_specs": {"k": "v"}, "description": "d"}
            made = (await admin.post("/group_types", {"group_type": body}))["group_type"]
            assert {name: made[name] for name in body} == body
            path = f"/group_types/{made['id']}"
            assert (await demo.error("GET", path))[0] == 404 and (await demo.get("/group_types"))["group_types"] == [
                first
            ]
            for query, names in (("", ["default_cgsnapshot_type"]), ("?is_public=false", ["closed"])):
                assert [each["name"] for each in (await admin.get(f"/group_types{query}"))["group_types"]] == names
            assert len((await admin.get("/group_types?is_public=none"))["group_types"]) == 2
            assert (await admin.error("POST", "/group_types", {"group_type": body}))[0] == 409
            assert (await demo.error("POST", "/group_types", {"group_type": {"name": "n"}}))[0] == 403
            assert (await admin.error("GET", "/group_types", version="3.10"))[0] == 404
            assert (await admin.error("GET", "/group_types/default"))[0] == 404
            assert (await admin.error("PUT", path, {"group_type": {}}))[0] == 400
            changed = (await admin.put(path, {"group_type": {"name": "new", "is_public": True}}))["group_type"]
            assert (changed["name"], changed["is_public"]) == ("new", True)

            specs = f"{path}/group_specs"
            assert (await admin.post(specs, {"group_specs": {"a": "1"}}))["group_specs"] == {"a": "1"}
            assert (await admin.get(specs))["group_specs"] == {"k": "v", "a": "1"}
            assert await admin.put(f"{specs}/a", {"a": "2"}) == {"a": "2"} == await admin.get(f"{specs}/a")
            for wrong in ({"b": "2"}, {"a": "1", "b": "2"}, {}):
                assert (await admin.error("PUT", f"{specs}/a", wrong))[0] == 400
            assert await admin.delete(f"{specs}/a") == 202 and (await admin.error("GET", f"{specs}/a"))[0] == 404
            assert (await demo.error("GET", specs))[0] == 403
            assert await admin.delete(path) == 202 and await admin.delete(path) == 404

    run(test())


def test_a_group_has_volumes_that_go_together(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            await w.agent()
            demo, admin = Volumes(w.demo, "3.71"), Volumes(w.admin, "3.71")
            made, kind = await group(admin, demo, name=" g ", description="d")
            path = f"/groups/{made}"
            found = (await demo.get(f"{path}?list_volume=true"))["group"]
            told = {"name": "g", "description": "d", "volume_types": [kind], "volumes": [], "availability_zone": "nova",
                    "group_snapshot_id": None, "source_group_id": None, "replication_status": "disabled"}  # fmt: skip
            assert {name: found[name] for name in told} == told and "project_id" not in found
            assert (await admin.get(path))["group"]["project_id"] == w.demo.project_id
            assert set((await demo.get(path, "3.13"))["group"]) == {
                "id", "status", "availability_zone", "created_at", "name", "description", "group_type", "volume_types",
            }  # fmt: skip
            inside = await volume(demo, group_id=made, volume_type=kind)
            assert inside["group_id"] == made
            for fields in ({"group_id": made}, {"group_id": STRANGE, "volume_type": kind}):
                assert (await demo.error("POST", "/volumes", {"volume": {"size": 1, **fields}}))[0] in (400, 404)
            assert "belong to a group" in (await demo.error("DELETE", f"/volumes/{inside['id']}"))[2]
            other = await volume(demo, volume_type=kind)
            plain = await volume(demo)
            await demo.put(path, {"group": {"name": "n", "add_volumes": other["id"], "remove_volumes": inside["id"]}})
            found = (await demo.get(f"{path}?list_volume=true"))["group"]
            assert (found["name"], found["volumes"]) == ("n", [other["id"]])
            assert [each["id"] for each in (await demo.get(f"/volumes?group_id={made}"))["volumes"]] == [other["id"]]
            for wrong in (
                {"add_volumes": plain["id"]}, {"add_volumes": STRANGE}, {"remove_volumes": plain["id"]}, {"name": "n"},
                {},
                {"add_volumes": other["id"], "remove_volumes": other["id"]}, {"size": 1},
            ):  # fmt: skip
                assert (await demo.error("PUT", path, {"group": wrong}))[0] == 400, wrong

            assert (await demo.error("POST", f"{path}/action", {"delete": {}}))[0] == 400
            for action in ("enable_replication", "disable_replication", "failover_replication"):
                code, _, message = await demo.error("POST", f"{path}/action", {action: {}})
                assert code == 400 and "not a replication group type" in message
            assert (await demo.error("POST", f"{path}/action", {"dance": {}}))[0] == 400
            assert (await demo.error("POST", f"{path}/action", {"reset_status": {"status": "error"}}))[0] == 403
            for wanted in ("error", "available"):
                await admin.post(f"{path}/action", {"reset_status": {"status": wanted}})
                assert (await demo.get(path))["group"]["status"] == wanted
            of = found["group_type"]
            assert (await admin.error("DELETE", f"/group_types/{of}"))[0] == 400
            quota = f"/os-quota-sets/{w.demo.project_id}?usage=true"
            assert (await admin.get(quota))["quota_set"]["groups"]["in_use"] == 1
            await demo.post(f"{path}/action", {"delete": {"delete-volumes": True}})
            await demo.until_gone(path)
            assert (await demo.error("GET", f"/volumes/{other['id']}"))[0] == 404
            assert (await demo.get(f"/volumes/{inside['id']}"))["volume"]["group_id"] is None
            assert (await admin.get(quota))["quota_set"]["groups"]["in_use"] == 0
            rows.check(w.cloud.database)

    run(test())


def test_what_a_group_cannot_be_is_refused(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            await w.agent()
            demo, admin = Volumes(w.demo, "3.58"), Volumes(w.admin, "3.58")
            made, kind = await group(admin, demo)
            of = (await demo.get(f"/groups/{made}"))["group"]["group_type"]
            good: dict[str, Any] = {"group_type": of, "volume_types": [kind]}
            for fields, code in (
                ({}, 400), ({"group_type": of}, 400), ({**good, "volume_types": []}, 400),
                ({**good, "volume_types": [STRANGE]}, 404), ({**good, "group_type": STRANGE}, 404),
                ({**good, "group_type": "default_cgsnapshot_type"}, 400), ({**good, "availability_zone": "mars"}, 400),
                ({**good, "volume_types": [kind, kind]}, 400), ({**good, "status": "error"}, 400),
            ):  # fmt: skip
                assert (await demo.error("POST", "/groups", {"group": fields}))[0] == code, fields
            assert (await demo.error("POST", "/groups", {"group": good}, "3.12"))[0] == 404
            await admin.post(f"/group_types/{of}/group_specs", {"group_specs": {"volume_backend_name": "none"}})
            lost = (await demo.post("/groups", {"group": good}))["group"]["id"]
            assert (await demo.get(f"/groups/{lost}"))["group"]["status"] == "error"
            await demo.post(f"/groups/{lost}/action", {"delete": {}})
            await demo.until_gone(f"/groups/{lost}")
            await admin.put(f"/os-quota-sets/{w.demo.project_id}", {"quota_set": {"groups": 1}})
            assert (await demo.error("POST", "/groups", {"group": good}))[0] == 413
            theirs = (await admin.post("/groups", {"group": {**good, "name": "secret"}}))["group"]["id"]
            assert (await demo.error("GET", f"/groups/{theirs}"))[0] == 404
            body = {"create-from-src": {"source_group_id": theirs}}
            assert (await demo.error("POST", "/groups/action", body))[0] == 404
            body = {"group_snapshot": {"group_id": theirs}}
            assert (await demo.error("POST", "/group_snapshots", body))[0] == 404
            assert [each["id"] for each in (await demo.get("/groups?sort=name:asc&limit=5"))["groups"]] == [made]
            assert len((await admin.get("/groups/detail?all_tenants=1"))["groups"]) == 2

    run(test())


def test_a_snapshot_of_a_group_is_all_of_it_or_nothing(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            agent = await w.agent()
            demo, admin = Volumes(w.demo, "3.71"), Volumes(w.admin, "3.71")
            made, kind = await group(admin, demo)
            body = {"group_snapshot": {"group_id": made, "name": "s"}}
            assert "empty" in (await demo.error("POST", "/group_snapshots", body))[2]
            inside = [(await volume(demo, group_id=made, volume_type=kind))["id"] for _ in range(2)]
            saved = (await demo.post("/group_snapshots", body))["group_snapshot"]
            path = f"/group_snapshots/{saved['id']}"
            found = await demo.until(path, status("available"))
            assert (found["group_id"], found["name"], found["group_type_id"]) == (made, "s", saved["group_type_id"])
            parts = (await demo.get("/snapshots/detail"))["snapshots"]
            assert {each["volume_id"] for each in parts} == set(inside)
            assert {each["group_snapshot_id"] for each in parts} == {saved["id"]}
            assert "part of a group" in (await demo.error("DELETE", f"/snapshots/{parts[0]['id']}"))[2]
            body_of_end = {"delete": {"delete-volumes": True}}
            assert (await demo.error("POST", f"/groups/{made}/action", body_of_end))[0] == 400

            copies = []
            for source in ({"group_snapshot_id": saved["id"]}, {"source_group_id": made}):
                copy = (await demo.post("/groups/action", {"create-from-src": {"name": "c", **source}}))["group"]["id"]
                await demo.until(f"/groups/{copy}", status("available"))
                found = (await demo.get(f"/groups/{copy}?list_volume=true"))["group"]
                assert len(found["volumes"]) == 2 and {name: found[name] for name in source} == source
                copies.append(copy)
            for wrong in ({}, {"source_group_id": made, "group_snapshot_id": saved["id"]}, {"source_group_id": "x"}):
                assert (await demo.error("POST", "/groups/action", {"create-from-src": wrong}))[0] == 400
            for copy in copies:
                await demo.post(f"/groups/{copy}/action", body_of_end)
                await demo.until_gone(f"/groups/{copy}")

            assert (await demo.error("POST", f"{path}/action", {"reset_status": {"status": "error"}}))[0] == 403
            for wanted in ("creating", "available"):
                await admin.post(f"{path}/action", {"reset_status": {"status": wanted}})
                assert (await demo.get(path))["group_snapshot"]["status"] == wanted
            shown = (await admin.get("/group_snapshots/detail?all_tenants=1"))["group_snapshots"]
            assert [each["project_id"] for each in shown] == [w.demo.project_id]
            assert (await demo.get(f"/group_snapshots?group_id={made}"))["group_snapshots"][0]["name"] == "s"
            assert await demo.delete(path) == 202
            await demo.until_gone(path)
            assert (await demo.get("/snapshots"))["snapshots"] == []

            agent.obedient = False
            saved = (await demo.post("/group_snapshots", body))["group_snapshot"]
            parts = (await demo.get("/snapshots"))["snapshots"]
            agent.faults[parts[0]["id"]] = ("no space is left", "")
            agent.obedient = True
            await agent.report()
            path = f"/group_snapshots/{saved['id']}"
            await demo.until(path, status("error"))
            for each in parts:
                await demo.until(f"/snapshots/{each['id']}", status("error"))
            assert await demo.delete(path) == 202
            await demo.until_gone(path)
            rows.check(w.cloud.database)

    run(test())

"""Volume types, QoS specs, quotas and messages of the Block Storage API, in Cinder's shapes."""

from __future__ import annotations

from pathlib import Path

from deuteron.rules.volume import messages
from tests import rows
from tests.unit.api_compute.harness import run, world
from tests.unit.api_volume.harness import Volumes

NOBODY = "7" * 32


def test_versions_are_told_and_negotiated(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            demo = Volumes(w.demo)
            for path, status in (("/volume/", 300), ("/volume/v3/", 200), ("/volume/v3", 200)):
                answer = await w.demo.request("GET", path)
                (document,) = answer.json["versions"]
                assert answer.status == status
                assert (document["id"], document["min_version"], document["version"]) == ("v3.0", "3.0", "3.71")
                assert document["links"][-1]["href"] == "http://cloud.test:5000/volume/v3/"
            answer = await demo.request("GET", "/types", version="3.27")
            assert answer.headers["openstack-api-version"] == "volume 3.27"
            assert answer.headers["x-compute-request-id"] == answer.headers["x-openstack-request-id"]
            latest = await demo.request("GET", "/types", version="latest")
            assert latest.headers["openstack-api-version"] == "volume 3.71"
            assert (await demo.error("GET", "/types", version="3.99"))[:2] == (406, "computeFault")
            assert (await demo.error("GET", "/types", version="three"))[:2] == (400, "badRequest")
            stranger = await w.demo.request("GET", "/volume/v3/types", headers={"x-auth-token": "x"})
            assert stranger.status == 401 and stranger.json["error"]["code"] == 401

    run(test())


def test_the_project_may_stand_in_the_path_or_not_and_is_the_tokens(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            within = await Volumes(w.demo).get("/types")
            without = await w.demo.get("/volume/v3/types")
            assert [each["name"] for each in within["volume_types"]] == ["__DEFAULT__"]
            assert within == without
            other = await w.demo.request("GET", f"/volume/v3/{w.admin.project_id}/types")
            assert (other.status, other.message) == (400, "Malformed request url")
            assert (await Volumes(w.demo).error("GET", "/nothing"))[0] == 404
            assert (await Volumes(w.demo).error("PATCH", "/types"))[:2] == (404, "itemNotFound")

    run(test())


def test_an_administrator_makes_types_and_changes_them(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            admin, demo = Volumes(w.admin), Volumes(w.demo)
            body = {"name": "fast", "description": "d", "extra_specs": {"a": "b", "gone": None}}
            assert (await demo.error("POST", "/types", {"volume_type": body}))[:2] == (403, "forbidden")
            made = (await admin.post("/types", {"volume_type": body}))["volume_type"]
            assert made == {
                "id": made["id"], "name": "fast", "is_public": True, "description": "d", "extra_specs": {"a": "b"},
                "os-volume-type-access:is_public": True,
            }  # fmt: skip
            assert (await admin.error("POST", "/types", {"volume_type": body}))[:2] == (409, "conflictingRequest")
            changed = await admin.put(f"/types/{made['id']}", {"volume_type": {"name": "faster", "is_public": False}})
            assert (changed["volume_type"]["name"], changed["volume_type"]["is_public"]) == ("faster", False)
            shown = (await admin.get(f"/types/{made['id']}"))["volume_type"]
            assert (shown["qos_specs_id"], shown["description"]) == (None, "d")
            default = (await demo.get("/types/default"))["volume_type"]
            assert default["name"] == "__DEFAULT__" and "qos_specs_id" not in default
            refused: tuple[tuple[object, str], ...] = (
                ({"volume_type": {}}, "'name' is a required property"),
                ({"volume_type": {"name": " "}}, "name"),
                ({"volume_type": {"name": "n" * 256}}, "255"),
                ({"volume_type": {"name": "x", "extra_specs": {"a": 1}}}, "extra_specs.a"),
                ({"volume_type": {"name": "x", "colour": "red"}}, "colour"),
                ({"volume_type": 5}, "object"),
                ({}, "'volume_type' is a required property"),
                ([], "object"),
            )
            for wrong, words in refused:
                status, name, message = await admin.error("POST", "/types", wrong)
                assert (status, name) == (400, "badRequest") and words in message, wrong
            assert (await admin.error("PUT", f"/types/{made['id']}", {"volume_type": {"description": None}}))[0] == 400
            assert (await admin.error("DELETE", f"/types/{default['id']}"))[0] == 400
            assert await admin.delete(f"/types/{made['id']}") == 202
            gone = await admin.error("GET", f"/types/{made['id']}")
            assert gone == (404, "itemNotFound", f"Volume type {made['id']} could not be found.")
            rows.check(w.cloud.database)

    run(test())


def test_a_project_sees_public_types_and_those_it_was_let_to_use(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            admin, demo = Volumes(w.admin), Volumes(w.demo)
            body = {"volume_type": {"name": "closed", "os-volume-type-access:is_public": False}}
            closed = (await admin.post("/types", body))["volume_type"]["id"]
            path, own = f"/types/{closed}", {"project": w.demo.project_id}

            async def names(client: Volumes, query: str = "") -> list[str]:
                return [each["name"] for each in (await client.get(f"/types{query}"))["volume_types"]]

            assert await names(demo) == ["__DEFAULT__"] and (await demo.error("GET", path))[0] == 404
            assert await names(admin) == ["__DEFAULT__"]
            assert await names(admin, "?is_public=false") == ["closed"]
            assert await names(admin, "?is_public=None&sort=name:asc") == ["__DEFAULT__", "closed"]
            assert (await admin.error("GET", "/types?is_public=perhaps"))[0] == 400
            assert (await demo.error("POST", f"{path}/action", {"addProjectAccess": own}))[0] == 403
            await admin.post(f"{path}/action", {"addProjectAccess": own})
            assert (await admin.error("POST", f"{path}/action", {"addProjectAccess": own}))[0] == 409
            assert sorted(await names(demo)) == ["__DEFAULT__", "closed"]
            access = {"volume_type_access": [{"volume_type_id": closed, "project_id": w.demo.project_id}]}
            assert await admin.get(f"{path}/os-volume-type-access") == access
            await admin.post(f"{path}/action", {"removeProjectAccess": own})
            assert (await admin.error("POST", f"{path}/action", {"removeProjectAccess": own}))[0] == 404
            assert await names(demo) == ["__DEFAULT__"]
            default = (await admin.get("/types/default"))["volume_type"]["id"]
            assert (await admin.error("POST", f"/types/{default}/action", {"addProjectAccess": own}))[0] == 400
            assert (await admin.error("GET", f"/types/{default}/os-volume-type-access"))[0] == 404
            assert "no such action" in (await admin.error("POST", f"{path}/action", {"open": own}))[2]

    run(test())


def test_extra_specs_come_and_go_and_few_of_them_are_everybodys(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            admin, demo = Volumes(w.admin), Volumes(w.demo)
            made = (await admin.post("/types", {"volume_type": {"name": "t"}}))["volume_type"]["id"]
            path = f"/types/{made}/extra_specs"
            given = {"extra_specs": {"multiattach": "<is> False", "secret": "s"}}
            assert await admin.post(path, given) == given == await admin.get(path)
            assert await demo.get(path) == {"extra_specs": {"multiattach": "<is> False"}}
            assert (await demo.get(f"/types/{made}"))["volume_type"]["extra_specs"] == {"multiattach": "<is> False"}
            assert await admin.put(f"{path}/secret", {"secret": "t"}) == {"secret": "t"}
            assert await admin.get(f"{path}/secret") == {"secret": "t"}
            assert (await demo.error("GET", f"{path}/secret"))[0] == 404
            assert (await admin.error("PUT", f"{path}/secret", {"other": "t"}))[0] == 400
            assert (await admin.error("POST", path, {"extra_specs": {"a b": "c"}}))[0] == 400
            found = "/types?extra_specs={'secret':'t'}"
            assert [each["id"] for each in (await admin.get(found, "3.52"))["volume_types"]] == [made]
            assert (await demo.get(found, "3.52"))["volume_types"] == []
            assert len((await admin.get("/types?extra_specs={'secret':'x'}"))["volume_types"]) == 2, "came with 3.52"
            assert (await admin.error("GET", "/types?extra_specs=[", version="3.52"))[0] == 400
            assert await admin.delete(f"{path}/secret") == 202
            assert (await admin.error("DELETE", f"{path}/secret"))[:2] == (404, "itemNotFound")

    run(test())


def test_lists_of_types_are_sorted_and_paged(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            admin = Volumes(w.admin)
            for name in ("b", "c", "a"):
                await admin.post("/types", {"volume_type": {"name": name}})
            names: list[str] = []
            path = "/types?sort=name:desc&limit=2"
            while path:
                page = await admin.get(path)
                names += [each["name"] for each in page["volume_types"]]
                (link,) = page.get("volume_type_links", [{"href": ""}])
                assert link["href"].startswith("http://cloud.test:5000/volume/v3/") or not link["href"]
                path = link["href"].partition(w.admin.project_id)[2]
            assert names == ["c", "b", "a", "__DEFAULT__"]
            assert [each["name"] for each in (await admin.get("/types?limit=1&offset=1"))["volume_types"]] == ["c"]
            for query in ("limit=-1", "limit=x", "sort=colour", "sort=name:up", "sort=name&sort_key=name", "offset=x"):
                assert (await admin.error("GET", f"/types?{query}"))[:2] == (400, "badRequest"), query
            assert (await admin.error("GET", "/types?marker=none"))[0] == 404

    run(test())


def test_qos_specs_are_for_types(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            admin, demo = Volumes(w.admin), Volumes(w.demo)
            kind = (await admin.post("/types", {"volume_type": {"name": "t"}}))["volume_type"]["id"]
            body = {"qos_specs": {"name": " q ", "consumer": "front-end", "total_iops_sec": "100"}}
            assert (await demo.error("POST", "/qos-specs", body))[0] == 403
            made = await admin.post("/qos-specs", body)
            specs = made["qos_specs"]
            path = f"/qos-specs/{specs['id']}"
            assert specs == {
                "id": specs["id"],
                "name": "q",
                "consumer": "front-end",
                "specs": {"total_iops_sec": "100"},
            }
            assert [each["rel"] for each in made["links"]] == ["self", "bookmark"]
            assert await admin.get(path) == made
            assert (await admin.get("/qos-specs"))["qos_specs"] == [specs]
            assert (await admin.error("POST", "/qos-specs", body))[0] == 409
            assert (await admin.error("POST", "/qos-specs", {"qos_specs": {"name": "r", "consumer": "me"}}))[0] == 400
            assert await admin.put(path, {"qos_specs": {"x": "y"}}) == {"qos_specs": {"x": "y"}}
            await admin.put(f"{path}/delete_keys", {"keys": ["x"]})
            assert (await admin.error("PUT", f"{path}/delete_keys", {"keys": ["x"]}))[0] == 404
            assert (await admin.get(path))["qos_specs"] == specs
            assert (await admin.request("GET", f"{path}/associate?vol_type_id={kind}")).status == 202
            assert (await admin.error("GET", f"{path}/associate"))[0] == 400
            associated = {"association_type": "volume_type", "name": "t", "id": kind}
            assert (await admin.get(f"{path}/associations"))["qos_associations"] == [associated]
            assert (await admin.get(f"/types/{kind}"))["volume_type"]["qos_specs_id"] == specs["id"]
            other = (await admin.post("/qos-specs", {"qos_specs": {"name": "o"}}))["qos_specs"]
            assert other["consumer"] == "back-end"
            assert (await admin.error("GET", f"/qos-specs/{other['id']}/associate?vol_type_id={kind}"))[0] == 400
            assert (await admin.error("DELETE", path))[0] == 400
            assert (await admin.request("GET", f"{path}/disassociate?vol_type_id={kind}")).status == 202
            assert (await admin.get(f"{path}/associations"))["qos_associations"] == []
            assert (await admin.request("GET", f"{path}/associate?vol_type_id={kind}")).status == 202
            assert (await admin.request("GET", f"{path}/disassociate_all")).status == 202
            assert (await admin.request("GET", f"{path}/associate?vol_type_id={kind}")).status == 202
            assert await admin.delete(f"{path}?force=true") == 202
            assert (await admin.get(f"/types/{kind}"))["volume_type"]["qos_specs_id"] is None
            assert (await admin.error("GET", path))[2] == f"No such QoS spec {specs['id']}."
            rows.check(w.cloud.database)

    run(test())


def test_quotas_are_those_of_the_class_until_a_project_has_its_own(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            admin, demo = Volumes(w.admin), Volumes(w.demo)
            path = f"/os-quota-sets/{w.demo.project_id}"
            first = {
                "volumes": 10, "per_volume_gigabytes": -1, "snapshots": 10, "gigabytes": 1000, "backups": 10,
                "backup_gigabytes": 1000, "volumes___DEFAULT__": -1, "gigabytes___DEFAULT__": -1,
                "snapshots___DEFAULT__": -1, "groups": 10,
            }  # fmt: skip
            assert (await demo.get(path))["quota_set"] == {**first, "id": w.demo.project_id}
            assert (await demo.get(f"{path}/defaults"))["quota_set"]["volumes"] == 10
            detail = (await demo.get(f"{path}?usage=true"))["quota_set"]
            assert detail["gigabytes"] == {"limit": 1000, "in_use": 0, "reserved": 0}
            assert (await demo.error("GET", f"/os-quota-sets/{w.admin.project_id}"))[0] == 403
            assert (await demo.error("PUT", path, {"quota_set": {"volumes": 11}}))[0] == 403
            changed = (await admin.put(path, {"quota_set": {"volumes": "11", "gigabytes___DEFAULT__": 5}}))["quota_set"]
            assert (changed["volumes"], changed["gigabytes___DEFAULT__"], changed["snapshots"]) == (11, 5, 10)
            for wrong in ({"nothing": 1}, {"volumes": -2}, {"volumes": "x"}, {"volumes": 2**31}, {"volumes": True}, {}):
                assert (await admin.error("PUT", path, {"quota_set": wrong}))[:2] == (400, "badRequest"), wrong
            body = {"quota_class_set": {"volumes": 12, "snapshots": 13}}
            assert (await admin.put("/os-quota-class-sets/default", body))["quota_class_set"]["volumes"] == 12
            assert (await admin.get("/os-quota-class-sets/other"))["quota_class_set"]["snapshots"] == 13
            own = (await demo.get(path))["quota_set"]
            assert (own["volumes"], own["snapshots"]) == (11, 13)
            absolute = (await demo.get("/limits"))["limits"]["absolute"]
            assert (absolute["maxTotalVolumes"], absolute["totalVolumesUsed"]) == (11, 0)
            assert absolute["maxTotalVolumeGigabytes"] == 1000
            of_demo = await admin.get(f"/limits?project_id={w.demo.project_id}", "3.39")
            assert of_demo["limits"]["absolute"]["maxTotalVolumes"] == 11
            assert await admin.delete(path) == 200
            assert (await demo.get(path))["quota_set"]["volumes"] == 12

    run(test())


def test_a_project_reads_its_messages_and_forgets_them(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            admin, demo = Volumes(w.admin, "3.5"), Volumes(w.demo, "3.5")
            for client in (w.demo, w.admin):
                project = client.project_id
                w.cloud.database.write(
                    lambda tx, project=project: messages.tell(
                        tx, project, messages.NO_BACKEND, project, request_id="req-1"
                    )
                )
            (own,) = (await demo.get("/messages"))["messages"]
            assert own["event_id"] == "VOLUME_VOLUME_001_003" and own["resource_uuid"] == w.demo.project_id
            assert own["user_message"] == "schedule allocate volume:Could not find any available weighted backend."
            assert "project_id" not in own and own["guaranteed_until"] > own["created_at"]
            assert len((await admin.get("/messages"))["messages"]) == 2
            assert len((await admin.get(f"/messages?resource_uuid={w.demo.project_id}"))["messages"]) == 1
            (foreign,) = (await admin.get(f"/messages?resource_uuid={w.admin.project_id}"))["messages"]
            assert (await demo.error("GET", f"/messages/{foreign['id']}"))[0] == 404
            assert (await demo.error("DELETE", f"/messages/{foreign['id']}"))[0] == 404
            assert (await demo.get(f"/messages/{own['id']}"))["message"] == own
            assert (await demo.error("GET", "/messages?colour=red", version="3.31"))[0] == 400
            assert (await demo.error("GET", "/messages", version="3.2"))[0] == 404
            assert await demo.delete(f"/messages/{own['id']}") == 204
            assert (await demo.get("/messages"))["messages"] == []

    run(test())


def test_what_is_listed_of_extensions_is_there(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            demo = Volumes(w.demo)
            found = (await demo.get("/extensions"))["extensions"]
            assert {"os-types-manage", "os-volume-type-access", "qos-specs"} <= {each["alias"] for each in found}
            assert (await demo.get(f"/extensions/{found[0]['alias']}"))["extension"] == found[0]
            assert (await demo.error("GET", "/extensions/nothing"))[0] == 404

    run(test())

"""What operators ask of services together, and what is not there is said to be so."""

from __future__ import annotations

from pathlib import Path

from tests.unit.api_compute.harness import run, world
from tests.unit.api_hosts.agent import backend
from tests.unit.api_volume.harness import Volumes
from tests.unit.api_volume.test_volumes import snapshot, status, volume


def test_services_are_in_no_clusters(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            demo, admin = Volumes(w.demo, "3.26"), Volumes(w.admin, "3.26")
            for path in ("/clusters", "/clusters/detail", "/clusters?is_up=true&frozen=False"):
                assert await admin.get(path) == {"clusters": []}
            assert (await admin.error("GET", "/clusters?colour=red"))[0] == 400
            assert (await admin.error("GET", "/clusters?frozen=true", version="3.25"))[0] == 400
            assert (await admin.error("GET", "/clusters?is_up=perhaps"))[0] == 400
            assert (await admin.error("GET", "/clusters/c"))[::2] == (404, "Cluster c could not be found.")
            for path in ("/clusters/enable", "/clusters/disable"):
                assert (await admin.error("PUT", path, {"name": "c"}))[0] == 404
                assert (await admin.error("PUT", path, {}))[0] == 400
                assert (await admin.error("PUT", path, {"name": "c", "colour": 1}))[0] == 400
                assert (await demo.error("PUT", path, {"name": "c"}))[0] == 403
            assert (await admin.error("GET", "/clusters", version="3.6"))[0] == 404

    run(test())


def test_a_cleanup_tells_who_is_at_something_and_who_will_be(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            agent = await w.agent(backends=(backend("fast", 100), backend("slow", 10)))
            demo, admin = Volumes(w.demo, "3.24"), Volumes(w.admin, "3.24")
            await volume(demo)
            nothing = {"cleaning": [], "unavailable": []}
            assert await admin.post("/workers/cleanup", {"is_up": True}) == nothing
            agent.obedient = False
            busy = (await demo.post("/volumes", {"volume": {"size": 1}}))["volume"]
            found = await admin.post("/workers/cleanup", {"is_up": "true", "resource_id": busy["id"]})
            (told,) = found["cleaning"]
            assert (told["host"], told["binary"], told["cluster_name"]) == ("h1@fast", "cinder-volume", None)
            for body in ({"is_up": True, "host": "h1@slow"}, {"is_up": True, "binary": "cinder-scheduler"}, {},
                         {"is_up": True, "resource_type": "snapshot"}, {"is_up": True, "disabled": True},
                         {"is_up": True, "cluster_name": "c"}):  # fmt: skip
                assert await admin.post("/workers/cleanup", body) == nothing, body
            assert await admin.post("/workers/cleanup", {"is_up": True, "service_id": told["id"]}) == found
            away = (backend("fast", 100, fault="away"), backend("slow", 10))
            await agent.leave()
            agent = await w.agent(backends=away, obedient=False)
            assert (await admin.post("/workers/cleanup", {}))["unavailable"] == [told], "it goes on when it is back"
            for body, words in (
                ({"resource_type": "Backup"}, "must be Volume or Snapshot"),
                ({"resource_id": "22222222-1111-4111-8111-111111111111"}, "pending cleanup"),
                ({"resource_id": "x"}, "resource_id"),
                ({"binary": "cinder-api"}, "binary"),
                ({"colour": 1}, "colour"),
                ({"is_up": 5}, "is_up"),
            ):
                refusal = await admin.error("POST", "/workers/cleanup", body)
                assert refusal[0] == 400 and words in refusal[2], refusal
            assert (await demo.error("POST", "/workers/cleanup", {}))[0] == 403
            assert (await admin.error("POST", "/workers/cleanup", {}, "3.23"))[0] == 404

    run(test())


def test_a_frozen_back_end_deletes_nothing_and_none_is_failed_over(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            await w.agent()
            demo, admin = Volumes(w.demo, "3.26"), Volumes(w.admin, "3.26")
            one = await volume(demo)
            kept = await snapshot(demo, one["id"])
            for action, before, wrong in (("freeze", False, "thaw"), ("thaw", True, "freeze")):
                services = (await admin.get("/os-services?binary=cinder-volume"))["services"]
                assert services[0]["frozen"] is before
                assert (
                    "No service could be changed"
                    in (await admin.error("PUT", f"/os-services/{wrong}", {"host": "h1@file"}))[2]
                )
                assert (await admin.request("PUT", f"/os-services/{action}", {"host": "h1@file"})).status == 200
                code = 202 if action == "thaw" else 400
                assert (await demo.request("DELETE", f"/snapshots/{kept['id']}")).status == code
                if action == "freeze":
                    assert (await demo.error("DELETE", f"/volumes/{one['id']}?cascade=true"))[0] == 400
                    body = {"snapshot": {"volume_id": one["id"]}}
                    assert "frozen storage" in (await demo.error("POST", "/snapshots", body))[2]
                    for path in (f"/volumes/{one['id']}", f"/snapshots/{kept['id']}"):
                        assert (await admin.error("POST", f"{path}/action", {"os-force_delete": {}}))[0] == 400
                    await demo.until(f"/volumes/{(await volume(demo))['id']}", status("available"))
            for action in ("freeze", "failover_host", "failover"):
                for body, code in (({}, 400), ({"host": "h9@file"}, 400), ({"cluster": "c"}, 400), (
                    {"host": "h1@file", "cluster": "c"}, 400,
                ), ({"host": 5}, 400), ({"host": "h1@file", "colour": 1}, 400)):  # fmt: skip
                    assert (await admin.error("PUT", f"/os-services/{action}", body))[0] == code, (action, body)
                assert (await demo.error("PUT", f"/os-services/{action}", {"host": "h1@file"}))[0] == 403
            refusal = await admin.error("PUT", "/os-services/failover_host", {"host": "h1@file", "backend_id": "x"})
            assert refusal[0] == 400 and "replication_status" in refusal[2]
            assert (await admin.error("PUT", "/os-services/failover", {"host": "h1@file"}, "3.25"))[0] == 404

    run(test())


def test_hosts_tell_what_they_keep_and_are_disabled(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            await w.agent()
            demo, admin = Volumes(w.demo), Volumes(w.admin)
            one = await volume(demo, size=2)
            await snapshot(demo, one["id"])
            await volume(admin, size=3)
            shown = (await admin.get("/os-hosts"))["hosts"]
            assert [(each["host_name"], each["service"], each["service-status"]) for each in shown] == [
                ("controller", "cinder-scheduler", "available"),
                ("h1@file", "cinder-volume", "available"),
                ("h1", "cinder-backup", "available"),
            ]
            assert await admin.get("/os-hosts?zone=mars") == {"hosts": []}
            kept = [each["resource"] for each in (await admin.get("/os-hosts/h1@file"))["host"]]
            names = ("project", "volume_count", "total_volume_gb", "snapshot_count", "total_snapshot_gb")
            found = {tuple(each[name] for name in names) for each in kept}
            assert found == {
                ("(total)", "2", "5", "1", "2"),
                (w.demo.project_id, "1", "2", "1", "2"),
                (w.admin.project_id, "1", "3", "0", "0"),
            }
            body = {"status": "Disable"}
            assert await admin.put("/os-hosts/h1@file", body) == {"host": "h1@file", "status": "disabled"}
            assert [each["host_name"] for each in (await admin.get("/os-hosts"))["hosts"]] == ["controller", "h1"]
            assert (await demo.post("/volumes", {"volume": {"size": 1}}))["volume"]["status"] == "error"
            assert (await admin.put("/os-hosts/h1@file", {"status": "enable"}))["status"] == "enabled"
            for wrong in ({"status": "melt"}, {"colour": "red"}, {"status": 5}):
                assert (await admin.error("PUT", "/os-hosts/h1@file", wrong))[0] == 400
            assert (await admin.error("GET", "/os-hosts/h9@file"))[0] == 404
            assert (await demo.error("GET", "/os-hosts"))[0] == 403

    run(test())

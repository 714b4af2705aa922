"""Attachments of the Block Storage API, for who attaches by hand, and the actions of volumes that older clients use."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests import rows
from tests.unit.api_compute.harness import run, world
from tests.unit.api_compute.test_volumes import started
from tests.unit.api_volume.harness import Volumes
from tests.unit.api_volume.test_volumes import status, volume

SERVER = "33333333-1111-4111-8111-111111111111"


def test_an_attachment_reserves_connects_completes_and_ends(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            await w.agent("h1")
            demo, admin = Volumes(w.demo, "3.54"), Volumes(w.admin, "3.54")
            one = await volume(demo)
            path = f"/volumes/{one['id']}"
            assert (await demo.error("GET", "/attachments", version="3.26"))[0] == 404
            body = {"attachment": {"volume_uuid": one["id"], "instance_uuid": SERVER, "mode": "ro"}}
            made = (await demo.post("/attachments", body))["attachment"]
            assert made == {
                "id": made["id"], "status": "reserved", "instance": SERVER, "volume_id": one["id"],
                "attached_at": "", "detached_at": "", "attach_mode": "ro", "connection_info": {},
            }  # fmt: skip
            assert (await demo.get(path))["volume"]["status"] == "reserved"
            assert "must be available" in (await demo.error("POST", "/attachments", body))[2]
            at = f"/attachments/{made['id']}"
            brief = {name: made[name] for name in ("id", "status", "instance", "volume_id")}
            assert (await demo.get("/attachments")) == {"attachments": [brief]}
            assert (await demo.get("/attachments/detail")) == {"attachments": [made]}
            for query, found in (
                (f"instance_id={SERVER}", 1), (f"volume_id={SERVER}", 0), ("status=reserved", 1),
                ("attach_status=attached", 0),
            ):  # fmt: skip
                assert len((await demo.get(f"/attachments?{query}"))["attachments"]) == found, query
            assert (await demo.error("GET", "/attachments?name=x"))[0] == 400
            assert (await admin.get("/attachments"))["attachments"] == []
            assert len((await admin.get("/attachments?all_tenants=1"))["attachments"]) == 1

            far = {"attachment": {"connector": {"host": "h2"}}}
            assert "h2" in (await demo.error("PUT", at, far))[2]
            assert (await demo.error("PUT", at, {"attachment": {"connector": {}}}))[0] == 400
            near = {"attachment": {"connector": {"host": "h1", "mountpoint": "/dev/vdc"}}}
            connected = (await demo.put(at, near))["attachment"]
            assert connected["status"] == "attaching" and connected["connection_info"]["attachment_id"] == made["id"]
            assert connected["connection_info"]["data"]["format"] == "qcow2"
            assert (await demo.get(path))["volume"]["status"] == "attaching"
            assert (await demo.error("POST", f"{at}/action", {"os-complete": None}, "3.43"))[0] == 404
            answer = await demo.request("POST", f"{at}/action", {"os-complete": None})
            assert answer.status == 204, answer.body
            (held,) = (await demo.until(path, status("in-use")))["attachments"]
            assert (held["server_id"], held["device"], held["host_name"]) == (SERVER, "/dev/vdc", None)
            assert (await demo.request("DELETE", at)).json == {"attachments": []}
            free = (await demo.get(path))["volume"]
            assert (free["status"], free["attachments"]) == ("available", [])
            assert (await demo.error("GET", at))[0] == 404
            body["attachment"]["connector"] = {"host": "h1"}  # type: ignore[assignment]  # a body holds anything
            made = (await demo.post("/attachments", body))["attachment"]
            assert made["status"] == "attaching" and made["connection_info"]
            reset = {"os-reset_status": {"status": "available", "attach_status": "detached"}}
            assert (await w.admin.request("POST", f"/volume/v3{path}/action", reset)).status == 202
            assert (await demo.get("/attachments"))["attachments"] == []
            rows.check(w.cloud.database)

    run(test())


def test_a_volume_that_a_server_has_is_its_computes(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            _, server, path = await started(w)
            demo = Volumes(w.demo, "3.44")
            one = await volume(demo)
            await w.demo.post(path, {"volumeAttachment": {"volumeId": one["id"]}}, status=200)
            await demo.until(f"/volumes/{one['id']}", status("in-use"))
            (held,) = (await demo.get("/attachments"))["attachments"]
            assert (held["status"], held["instance"]) == ("attached", server)
            action = f"/volumes/{one['id']}/action"
            refused: tuple[tuple[str, str, Any], ...] = (
                ("DELETE", f"/attachments/{held['id']}", None),
                ("PUT", f"/attachments/{held['id']}", {"attachment": {"connector": {"host": "h1"}}}),
                ("POST", action, {"os-detach": {}}), ("POST", action, {"os-begin_detaching": None}),
                ("POST", action, {"os-roll_detaching": None}),
            )  # fmt: skip
            for method, where, body in refused:
                found = await demo.error(method, where, body)
                assert found[0] == 409 and server in found[2], (where, body, found)
            for reset in ({"status": "available"}, {"attach_status": "detached"}):
                answer = await w.admin.request("POST", f"/volume/v3{action}", {"os-reset_status": reset})
                assert answer.status == 409, reset
            assert (await demo.get(f"/volumes/{one['id']}"))["volume"]["status"] == "in-use"

    run(test())


def test_older_clients_attach_by_actions(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            await w.agent("h1")
            demo = Volumes(w.demo)
            one = await volume(demo)
            path = f"/volumes/{one['id']}"

            async def act(name: str, body: Any = None) -> str:
                answer = await demo.request("POST", f"{path}/action", {name: body})
                assert answer.status in (200, 202), answer.body
                return str((await demo.get(path))["volume"]["status"])

            async def refused(name: str, body: Any = None) -> str:
                return (await demo.error("POST", f"{path}/action", {name: body}))[2]

            assert await act("os-reserve") == "attaching"
            assert "must be available" in await refused("os-reserve")
            assert await act("os-unreserve") == "available" and await act("os-unreserve") == "available"
            assert "in-use" in await refused("os-begin_detaching")
            for wrong in ({}, {"mountpoint": "/dev/vdc"}, {"mountpoint": "", "host_name": "x"},
                          {"mountpoint": "/dev/vdc", "instance_uuid": "x"}):  # fmt: skip
                assert await refused("os-attach", wrong), wrong
            assert await act("os-reserve") == "attaching"
            assert await act("os-attach", {"mountpoint": "/dev/vdc", "instance_uuid": SERVER}) == "in-use"
            (held,) = (await demo.get(path))["volume"]["attachments"]
            assert (held["server_id"], held["device"]) == (SERVER, "/dev/vdc")
            assert await act("os-begin_detaching") == "detaching"
            assert await act("os-roll_detaching") == "in-use"
            assert SERVER in await refused("os-detach", {"attachment_id": SERVER})
            assert await act("os-detach", {"attachment_id": held["attachment_id"]}) == "available"
            await act("os-update_readonly_flag", {"readonly": True})
            assert "rw" in await refused("os-attach", {"mountpoint": "/dev/vdc", "host_name": "h1"})
            assert await act("os-attach", {"mountpoint": "/dev/vdc", "host_name": "h1", "mode": "ro"}) == "in-use"
            forced = {"os-force_detach": {"connector": {"host": "h1"}}}
            assert (await demo.error("POST", f"{path}/action", forced))[0] == 403
            for body in ({"os-reset_status": {"status": "error"}}, forced):
                assert (await w.admin.request("POST", f"/volume/v3{path}/action", body)).status == 202
            freed = (await demo.get(path))["volume"]
            assert (freed["status"], freed["attachments"]) == ("available", [])
            told = await demo.post(f"{path}/action", {"os-initialize_connection": {"connector": {"host": "h1"}}})
            assert told["connection_info"]["driver_volume_type"] == "file"
            assert "h9" in await refused("os-initialize_connection", {"connector": {"host": "h9"}})
            assert await act("os-terminate_connection", {"connector": {"host": "h1"}}) == "available"
            rows.check(w.cloud.database)

    run(test())

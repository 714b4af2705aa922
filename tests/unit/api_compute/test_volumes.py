"""Volumes of servers: attached, told of on both sides, detached, and let go with their server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from deuteron.model.intent import IntentServer, ServerVolume
from tests import rows
from tests.unit.api_compute.harness import World, run, world
from tests.unit.api_volume.harness import Volumes
from tests.unit.api_volume.test_volumes import status, volume


async def started(w: World) -> tuple[Any, str, str]:
    """An agent, a server that runs on it, and the path of the server's volumes."""
    agent = await w.agent("h1")
    network = await w.demo.network()
    server = await w.demo.boot(imageRef=await w.demo.image(), networks=[{"uuid": network}])
    await w.demo.until_status(server, "ACTIVE")
    return agent, server, f"/compute/v2.1/servers/{server}/os-volume_attachments"


def intent_of(agent: Any) -> IntentServer:
    (found,) = agent.servers()
    assert isinstance(found, IntentServer)
    return found


async def refused(w: World, method: str, path: str, body: Any = None, version: str | None = None) -> tuple[int, str]:
    answer = await w.demo.request(method, path, body, version=version)
    assert answer.status >= 400, answer.body
    return answer.status, answer.message


def test_a_volume_comes_and_goes_as_its_host_says(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            agent, server, path = await started(w)
            demo = Volumes(w.demo)
            one = await volume(demo)
            await demo.post(f"/volumes/{one['id']}/action", {"os-update_readonly_flag": {"readonly": True}})
            agent.obedient = False
            body = {"volumeAttachment": {"volumeId": one["id"], "device": "/dev/vdz"}}
            made = (await w.demo.post(path, body, status=200))["volumeAttachment"]
            assert made == {"id": one["id"], "volumeId": one["id"], "serverId": server, "device": "/dev/vdb"}
            assert (await demo.get(f"/volumes/{one['id']}"))["volume"]["status"] == "reserved"
            await agent.until(lambda: bool(intent_of(agent).volumes))
            assert intent_of(agent).volumes == (ServerVolume(one["id"], "vdb", is_readonly=True),)
            assert "already attached" in (await refused(w, "POST", path, body))[1]

            agent.obedient = True
            await agent.report()
            held = await demo.until(f"/volumes/{one['id']}", status("in-use"))
            (shown,) = held["attachments"]
            assert (shown["server_id"], shown["device"], shown["host_name"]) == (server, "/dev/vdb", None)
            assert shown["attached_at"] and shown["id"] == shown["volume_id"] == one["id"]
            of_server = await w.demo.server(server, "2.3")
            assert of_server["os-extended-volumes:volumes_attached"] == [
                {"id": one["id"], "delete_on_termination": False}
            ]
            newest = (await w.demo.get(f"{path}/{one['id']}", "2.89"))["volumeAttachment"]
            assert newest["attachment_id"] == shown["attachment_id"] and newest["bdm_uuid"] and "id" not in newest
            assert (newest["tag"], newest["delete_on_termination"]) == (None, False)
            assert [each["volumeId"] for each in (await w.demo.get(path))["volumeAttachments"]] == [one["id"]]
            assert (await w.demo.get(f"{path}?limit=1&offset=1"))["volumeAttachments"] == []
            for action in ({"os-extend": {"new_size": 2}}, {"os-retype": {"new_type": "__DEFAULT__"}}):
                assert (await demo.error("POST", f"/volumes/{one['id']}/action", action))[0] == 400
            assert "in-use" in (await demo.error("DELETE", f"/volumes/{one['id']}"))[2]

            agent.obedient = False
            assert (await w.demo.request("DELETE", f"{path}/{one['id']}")).status == 202
            assert (await demo.get(f"/volumes/{one['id']}"))["volume"]["status"] == "detaching"
            assert (await refused(w, "DELETE", f"{path}/{one['id']}"))[0] == 400
            await agent.until(lambda: not intent_of(agent).volumes)
            agent.obedient = True
            await agent.report()
            free = await demo.until(f"/volumes/{one['id']}", status("available"))
            assert free["attachments"] == [] and (await w.demo.get(path))["volumeAttachments"] == []
            assert (await refused(w, "GET", f"{path}/{one['id']}"))[0] == 404
            names = [each["action"] for each in (await w.demo.get(path.replace("volume_attachments", "instance-actions")))["instanceActions"]]  # fmt: skip # noqa: E501
            assert names[:2] == ["detach_volume", "attach_volume"]
            rows.check(w.cloud.database)

    run(test())


def test_an_attached_volume_grows_and_is_kept_by_snapshots_that_are_forced(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            _, _, path = await started(w)
            demo = Volumes(w.demo)
            one = await volume(demo)
            await w.demo.post(path, {"volumeAttachment": {"volumeId": one["id"]}}, status=200)
            await demo.until(f"/volumes/{one['id']}", status("in-use"))
            larger = {"os-extend": {"new_size": 2}}
            assert (await demo.error("POST", f"/volumes/{one['id']}/action", larger, "3.41"))[0] == 400
            await demo.post(f"/volumes/{one['id']}/action", larger, "3.42")
            await demo.until(f"/volumes/{one['id']}", lambda found: (found["status"], found["size"]) == ("in-use", 2))
            plain = {"snapshot": {"volume_id": one["id"]}}
            assert (await demo.error("POST", "/snapshots", plain, "3.65"))[0] == 400
            forced = {"snapshot": {"volume_id": one["id"], "force": True}}
            for body, version in ((forced, "3.0"), (plain, "3.66")):
                made = (await demo.post("/snapshots", body, version))["snapshot"]
                await demo.until(f"/snapshots/{made['id']}", status("available"))
            assert (await w.demo.request("DELETE", f"{path}/{one['id']}")).status == 202
            await demo.until(f"/volumes/{one['id']}", status("available"))

    run(test())


def test_what_cannot_be_attached_is_refused(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            _, server, path = await started(w)
            demo, strange = Volumes(w.demo), "22222222-1111-4111-8111-111111111111"
            one, others = await volume(demo), await volume(Volumes(w.admin))
            for body, code, words in (
                ({}, 400, "volumeId"), ({"volumeId": "x"}, 400, "uuid"), ({"volumeId": strange}, 404, strange),
                ({"volumeId": others["id"]}, 404, others["id"]), ({"volumeId": one["id"], "device": "vdb"}, 400, "vdb"),
                ({"volumeId": one["id"], "tag": "t"}, 400, "tag"),
            ):  # fmt: skip
                found = await refused(w, "POST", path, {"volumeAttachment": body})
                assert found[0] == code and words in found[1], (body, found)
            await demo.post(f"/volumes/{one['id']}/action", {"os-set_bootable": {"bootable": True}})
            snapshot = (await demo.post("/snapshots", {"snapshot": {"volume_id": one["id"]}}))["snapshot"]
            await demo.until(f"/snapshots/{snapshot['id']}", status("available"))
            tagged = {"volumeId": one["id"], "tag": "data", "delete_on_termination": True}
            await w.demo.post(path, {"volumeAttachment": tagged}, "2.79", 200)
            await demo.until(f"/volumes/{one['id']}", status("in-use"))
            same = f"{path}/{one['id']}"
            change = {"volumeAttachment": {"volumeId": one["id"], "delete_on_termination": False}}
            assert (await w.demo.request("PUT", same, change, version="2.85")).status == 202
            shown = (await w.demo.get(same, "2.85"))["volumeAttachment"]
            assert (shown["tag"], shown["delete_on_termination"]) == ("data", False)
            change["volumeAttachment"]["device"] = "/dev/vdx"
            assert "cannot be changed" in (await refused(w, "PUT", same, change, "2.85"))[1]
            answer = await w.admin.request("PUT", same, {"volumeAttachment": {"volumeId": strange}})
            assert (
                answer.status == 409 and "is not migrating; this API should only be called by Cinder" in answer.message
            )
            answer = await w.admin.request("PUT", same, {"volumeAttachment": {"volumeId": strange}}, version="2.85")
            assert answer.status == 409 and "Detach the volume" in answer.message
            away = same.replace(same.rpartition("/")[2], strange)
            assert (await w.admin.request("PUT", away, {"volumeAttachment": {"volumeId": strange}})).status == 404
            assert (await refused(w, "PUT", same, {"volumeAttachment": {"volumeId": strange}}))[0] == 403
            await w.demo.action(server, "suspend")
            await w.demo.until_status(server, "SUSPENDED")
            assert (await refused(w, "DELETE", same))[0] == 409

    run(test())


def test_a_volume_that_no_guest_takes_is_free_again_and_the_action_says_so(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            agent, server, path = await started(w)
            demo = Volumes(w.demo)
            one = await volume(demo)
            agent.unplugged[one["id"]] = "no slot is left"
            await w.demo.post(path, {"volumeAttachment": {"volumeId": one["id"]}}, status=200)
            await demo.until(f"/volumes/{one['id']}", status("available"))
            assert (await w.demo.get(path))["volumeAttachments"] == []
            assert (await w.demo.server(server))["status"] == "ACTIVE"
            listed = (await w.demo.get(f"/compute/v2.1/servers/{server}/os-instance-actions"))["instanceActions"]
            request_id = next(each["request_id"] for each in listed if each["action"] == "attach_volume")
            shown = await w.admin.get(f"/compute/v2.1/servers/{server}/os-instance-actions/{request_id}")
            (event,) = shown["instanceAction"]["events"]
            assert (event["event"], event["result"]) == ("compute_attach_volume", "Error")

    run(test())


def test_volumes_are_free_when_their_server_is_gone_or_go_with_it(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            agent, server, path = await started(w)
            demo = Volumes(w.demo)
            stays, goes = await volume(demo), await volume(demo)
            for each, fields in ((stays, {}), (goes, {"delete_on_termination": True})):
                body = {"volumeAttachment": {"volumeId": each["id"], **fields}}
                made = (await w.demo.post(path, body, "2.79", 200))["volumeAttachment"]
                assert made["device"] == ("/dev/vdb" if each is stays else "/dev/vdc")
                await demo.until(f"/volumes/{each['id']}", status("in-use"))
            assert (await demo.error("POST", f"/volumes/{stays['id']}/action", {"os-force_delete": {}}))[0] == 403
            forced = await Volumes(w.admin).client.request(
                "POST", f"/volume/v3/volumes/{stays['id']}/action", {"os-force_delete": {}}
            )
            assert forced.status == 400
            agent.stuck[server] = "its guest does not end"
            assert (await w.demo.request("DELETE", f"/compute/v2.1/servers/{server}")).status == 204
            await agent.until(lambda: not agent.servers())
            assert (await demo.get(f"/volumes/{stays['id']}"))["volume"]["status"] == "in-use"
            agent.stuck.clear()
            await agent.report()
            await w.demo.until_gone(f"/compute/v2.1/servers/{server}")
            await demo.until(f"/volumes/{stays['id']}", status("available"))
            await demo.until_gone(f"/volumes/{goes['id']}")
            rows.check(w.cloud.database)

    run(test())


def test_a_volume_of_another_host_is_refused(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            _, _, path = await started(w)
            demo = Volumes(w.demo)
            await w.agent("h2")
            found = [await volume(demo) for _ in range(2)]
            admin = Volumes(w.admin)
            listed = (await admin.get("/volumes/detail?all_tenants=1"))["volumes"]
            places = {each["id"]: each["os-vol-host-attr:host"].partition("@")[0] for each in listed}
            far = next(each["id"] for each in found if places[each["id"]] == "h2")
            code, words = await refused(w, "POST", path, {"volumeAttachment": {"volumeId": far}})
            assert code == 400 and "h2" in words
            assert (await demo.get(f"/volumes/{far}"))["volume"]["status"] == "available"

    run(test())


def test_volumes_and_snapshots_by_the_old_proxies(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            _, server, path = await started(w)
            demo, C = Volumes(w.demo), "/compute/v2.1"
            body = {"size": "1", "display_name": "v", "display_description": "d", "metadata": {"a": "b"}}
            made = (await w.demo.post(f"{C}/os-volumes", {"volume": body}, status=200))["volume"]
            one = made["id"]
            assert (made["displayName"], made["displayDescription"], made["size"], made["metadata"]) == (
                "v", "d", 1, {"a": "b"},
            )  # fmt: skip
            assert (made["status"], made["attachments"], made["volumeType"]) == ("creating", [{}], "__DEFAULT__")
            await demo.until(f"/volumes/{one}", status("available"))
            wanted = {"snapshot": {"volume_id": one, "display_name": "s"}}
            kept = (await w.demo.post(f"{C}/os-snapshots", wanted, status=200))["snapshot"]
            await demo.until(f"/snapshots/{kept['id']}", status("available"))
            shown = (await w.demo.get(f"{C}/os-snapshots/{kept['id']}"))["snapshot"]
            assert (shown["volumeId"], shown["displayName"], shown["status"]) == (one, "s", "available")
            await w.demo.post(path, {"volumeAttachment": {"volumeId": one}}, status=200)
            await demo.until(f"/volumes/{one}", status("in-use"))
            held = (await w.demo.get(f"{C}/os-volumes/{one}"))["volume"]["attachments"]
            assert held == [{"id": one, "volumeId": one, "serverId": server, "device": "/dev/vdb"}]
            assert "in-use" in (await refused(w, "POST", f"{C}/os-snapshots", wanted))[1]
            newest = (await w.demo.post(f"{C}/os-volumes", {"volume": {"size": 1}}, status=200))["volume"]["id"]
            for tail, ids in (("", [newest, one]), ("/detail?limit=1&offset=1", [one]), ("?limit=1", [newest])):
                listed = (await w.demo.get(f"{C}/os-volumes{tail}"))["volumes"]
                assert [each["id"] for each in listed] == ids
            assert len((await w.demo.get(f"{C}/os-snapshots/detail"))["snapshots"]) == 1
            assert (await w.admin.get(f"{C}/os-snapshots"))["snapshots"] == []
            await demo.until(f"/volumes/{newest}", status("available"))
            for gone in (f"os-volumes/{newest}", f"os-snapshots/{kept['id']}"):
                assert (await w.demo.request("DELETE", f"{C}/{gone}")).status == 202
                await w.demo.until_gone(f"{C}/{gone}")
            for method, tail, wrong, code in (
                ("GET", "os-volumes/none", None, 404), ("DELETE", "os-snapshots/none", None, 404),
                ("POST", "os-volumes", {"volume": {}}, 400), ("POST", "os-volumes", {"volume": {"size": 0}}, 400),
                ("POST", "os-volumes", {"volume": {"size": 1, "imageRef": one}}, 400),
                ("POST", "os-volumes", {"volume": {"size": 99999}}, 403),
                ("POST", "os-snapshots", {"snapshot": {"volume_id": "none"}}, 404),
            ):  # fmt: skip
                assert (await refused(w, method, f"{C}/{tail}", wrong))[0] == code, (tail, wrong)
            assert (await refused(w, "GET", f"{C}/os-volumes", version="2.36"))[0] == 404

    run(test())

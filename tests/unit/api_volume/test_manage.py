"""Disks and snapshots that a back end had already: listed, taken in hand, and given out of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from deuteron.model.intent import IntentVolume, Unmanaged
from tests import rows
from tests.unit.api_compute.harness import run, world
from tests.unit.api_hosts.agent import backend
from tests.unit.api_volume.harness import Volumes
from tests.unit.api_volume.test_volumes import snapshot, status, volume

LIST = "/manageable_volumes/detail?host=h1@file"


def ref(name: str) -> dict[str, Any]:
    return {"host": "h1@file%23file".replace("%23", "#"), "ref": {"source-name": name}}


async def names(admin: Volumes, path: str = LIST) -> list[str]:
    (found,) = (await admin.get(path)).values()
    return [each["reference"]["source-name"] for each in found]


def test_a_disk_of_nobody_is_listed_managed_and_let_go_again(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            agent = await w.agent()
            agent.idle = {"old.raw": Unmanaged("volume", "old.raw", 3)}
            agent.idle["bad.raw"] = Unmanaged("volume", "bad.raw", 0, "it is empty")
            demo, admin = Volumes(w.demo, "3.71"), Volumes(w.admin, "3.71")
            mine = await volume(demo)
            known = (await admin.get(LIST))["manageable-volumes"]
            assert known == [
                {
                    "reference": {"source-name": f"volume-{mine['id']}"}, "size": 1, "safe_to_manage": False,
                    "reason_not_safe": "already managed", "cinder_id": mine["id"], "extra_info": None,
                },
                {
                    "reference": {"source-name": "old.raw"}, "size": 3, "safe_to_manage": True,
                    "reason_not_safe": None, "cinder_id": None, "extra_info": None,
                },
                {
                    "reference": {"source-name": "bad.raw"}, "size": 0, "safe_to_manage": False,
                    "reason_not_safe": "it is empty", "cinder_id": None, "extra_info": None,
                },
            ]  # fmt: skip
            brief = await admin.get("/manageable_volumes?host=h1@file%23file&sort=size:asc&limit=1")
            assert brief == {"manageable-volumes": [{
                "reference": {"source-name": "bad.raw"}, "size": 0, "safe_to_manage": False,
            }]}  # fmt: skip
            marker = f'{LIST}&sort_key=size&sort_dir=asc&marker={{"source-name":"bad.raw"}}&offset=1'
            assert await names(admin, marker) == ["old.raw"]

            body = {**ref("old.raw"), "name": " old ", "metadata": {"a": "b"}, "bootable": True}
            made = (await admin.post("/manageable_volumes", {"volume": body}))["volume"]
            assert (made["status"], made["size"], made["name"]) == ("managing", 3, "old")
            path = f"/volumes/{made['id']}"
            found = await admin.until(path, status("available"))
            assert (found["size"], found["bootable"], found["metadata"]) == (3, "true", {"a": "b"})
            limits = (await admin.get("/limits"))["limits"]["absolute"]
            assert (limits["totalVolumesUsed"], limits["totalGigabytesUsed"]) == (1, 3)
            again = await admin.error("POST", "/manageable_volumes", {"volume": ref(f"volume-{made['id']}")})
            assert again[0] == 400 and "already managed" in again[2]

            kept = await snapshot(admin, made["id"])
            assert (await admin.error("POST", f"{path}/action", {"os-unmanage": {}}))[0] == 400, "it has a snapshot"
            await admin.post(f"/snapshots/{kept['id']}/action", {"os-unmanage": {}})
            await admin.until_gone(f"/snapshots/{kept['id']}")
            listed = (await admin.get("/manageable_snapshots?host=h1@file"))["manageable-snapshots"]
            name, source = f"unmanaged-{kept['id']}", {"source-name": f"volume-{made['id']}"}
            assert listed == [
                {"reference": {"source-name": name}, "size": 1, "safe_to_manage": True, "source_reference": source}
            ]
            body = {"volume_id": made["id"], "ref": {"source-name": name}, "name": "s"}
            back = (await admin.post("/manageable_snapshots", {"snapshot": body}))["snapshot"]
            await admin.until(f"/snapshots/{back['id']}", status("available"))
            assert await names(admin, "/manageable_snapshots?host=h1@file") == [f"snapshot-{back['id']}"]
            assert await admin.delete(f"/snapshots/{back['id']}") == 202
            await admin.until_gone(f"/snapshots/{back['id']}")

            agent.obedient = False
            await admin.post(f"{path}/action", {"os-unmanage": None})
            assert (await admin.get(path))["volume"]["status"] == "unmanaging"
            await agent.until(lambda: any(getattr(each, "is_let_go", False) for each in agent.objects.values()))
            assert (await admin.error("POST", f"{path}/action", {"os-reset_status": {"status": "available"}}))[0] == 400
            await admin.post(f"{path}/action", {"os-force_delete": {}})
            agent.obedient = True
            await agent.report()
            await admin.until_gone(path)
            assert f"unmanaged-{made['id']}" in await names(admin), "nothing of this touched the disk"
            limits = (await admin.get("/limits"))["limits"]["absolute"]
            assert (limits["totalVolumesUsed"], limits["totalGigabytesUsed"]) == (0, 0)
            older = Volumes(w.admin, "3.0")
            made = (await older.post("/os-volume-manage", {"volume": ref(f"unmanaged-{made['id']}")}))["volume"]
            await older.until(f"/volumes/{made['id']}", status("available"))
            assert await names(older, "/os-volume-manage?host=h1@file") != []
            assert await names(older, "/os-snapshot-manage?host=h1@file") == []
            rows.check(w.cloud.database)

    run(test())


def test_what_cannot_be_managed_is_an_error_whose_end_touches_no_disk(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            agent = await w.agent(backends=(backend("file", 10),))
            agent.idle = {name: Unmanaged("volume", name, size) for name, size in (("large", 2000), ("lost", 1))}
            admin = Volumes(w.admin, "3.71")
            specs = {"volume_type": {"name": "far", "extra_specs": {"volume_backend_name": "far"}}}
            await admin.post("/types", specs)
            failed = []
            for body in (ref("none"), ref("large"), {**ref("lost"), "ref": {"source-id": "x"}}, {
                **ref("lost"), "volume_type": "far",
            }, {**ref("lost"), "ref": "lost"}):  # fmt: skip
                made = (await admin.post("/manageable_volumes", {"volume": body}))["volume"]
                assert (made["status"], made["size"]) == ("error_managing", 0), body
                failed.append(made["id"])
                assert (await admin.get("/messages"))["messages"][0]["resource_uuid"] == made["id"]
            agent.obedient = False
            made = (await admin.post("/manageable_volumes", {"volume": ref("lost")}))["volume"]
            twice = await admin.error("POST", "/manageable_volumes", {"volume": ref("lost")})
            assert twice[0] == 400 and "already managed" in twice[2]
            del agent.idle["lost"]
            agent.obedient = True
            await agent.until(lambda: ("volume", made["id"]) in agent.objects)
            await agent.report()
            await admin.until(f"/volumes/{made['id']}", status("error_managing"))
            await agent.until(
                lambda: all(each.is_let_go for each in agent.objects.values() if isinstance(each, IntentVolume))
            )
            for each in (*failed, made["id"]):
                assert await admin.delete(f"/volumes/{each}") == 202
                await admin.until_gone(f"/volumes/{each}")
            mine = await volume(admin)
            body = {"volume_id": mine["id"], "ref": {"source-name": "none"}}
            lost = (await admin.post("/manageable_snapshots", {"snapshot": body}))["snapshot"]
            await admin.until(f"/snapshots/{lost['id']}", status("error"))
            assert await admin.delete(f"/snapshots/{lost['id']}") == 202
            await admin.until_gone(f"/snapshots/{lost['id']}")
            limits = (await admin.get("/limits"))["limits"]["absolute"]
            assert (limits["totalVolumesUsed"], limits["totalSnapshotsUsed"]) == (1, 0)

    run(test())


def test_who_asks_wrongly_is_told_so(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            agent = await w.agent()
            demo, admin = Volumes(w.demo, "3.71"), Volumes(w.admin, "3.71")
            for path, code in (
                ("/manageable_volumes", 400),
                ("/manageable_volumes?host=h1@file&cluster=c", 400),
                ("/manageable_volumes?cluster=c", 404),
                ("/manageable_volumes?host=h9@file", 404),
                (f"{LIST}&sort_key=name", 400),
                (f"{LIST}&sort=size:up", 400),
                (f"{LIST}&limit=x", 400),
                (f"{LIST}&offset=-1", 400),
                (f"{LIST}&marker=x", 400),
                (f'{LIST}&marker={{"source-name":"none"}}', 400),
            ):
                assert (await admin.error("GET", path))[0] == code, path
                assert (await demo.error("GET", path))[0] == 403, path
            mine = await volume(demo)
            for body, code in (
                ({"host": "h1@file"}, 400),
                ({"ref": {}}, 400),
                ({**ref("x"), "colour": 1}, 400),
                ({**ref("x"), "ref": 5}, 400),
                ({**ref("x"), "ref": {"source-name": 5}}, 400),
                ({**ref("x"), "host": "h9@file"}, 404),
                ({**ref("x"), "volume_type": "none"}, 404),
                ({**ref("x"), "availability_zone": "mars"}, 400),
                ({**ref("x"), "bootable": "perhaps"}, 400),
                ({"ref": {}, "cluster": "c"}, 404),
            ):
                assert (await admin.error("POST", "/manageable_volumes", {"volume": body}))[0] == code, body
            for body in ({"volume_id": mine["id"]}, {"ref": {}}, {"volume_id": mine["id"], "ref": 5}):
                assert (await admin.error("POST", "/manageable_snapshots", {"snapshot": body}))[0] == 400, body
            assert (await demo.error("POST", "/manageable_volumes", {"volume": ref("x")}))[0] == 403
            theirs = {"snapshot": {"volume_id": mine["id"], "ref": {"source-name": "x"}}}
            assert (await demo.error("POST", "/manageable_snapshots", theirs))[0] == 403
            assert (await demo.error("POST", f"/volumes/{mine['id']}/action", {"os-unmanage": {}}))[0] == 403
            assert (await admin.error("POST", f"/volumes/{mine['id']}/action", {"os-unmanage": {"a": 1}}))[0] == 400
            assert (await admin.error("GET", LIST, version="3.7"))[0] == 404
            await admin.put("/os-services/disable", {"host": "h1@file"})
            assert (await admin.error("GET", LIST))[0] == 503
            await admin.put("/os-services/enable", {"host": "h1@file"})
            await agent.leave()
            assert (await admin.error("GET", LIST))[0] == 503

    run(test())

"""Volumes that go to other back ends and hosts: what is asked, what each host hears, and what a crash leaves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import select

from deuteron.model.intent import IntentVolume
from deuteron.rules.volume import moves
from deuteron.store.volume_tables import volumes
from tests import rows
from tests.unit.api_compute.harness import Answer, Client, World, run, world
from tests.unit.api_hosts.agent import FakeAgent, backend
from tests.unit.api_volume.harness import Volumes
from tests.unit.api_volume.test_backends import place, types
from tests.unit.api_volume.test_volumes import snapshot, status, volume
from tests.waiting import until

DATA = b"disk" * 1000


async def parcel(w: World, host: str, method: str, move: str | None, body: bytes | None = None) -> Answer:
    headers = {"authorization": f"Bearer token-{host}"}
    return await Client(w.app).request(method, f"/internal/volume-moves/{move}", body, headers=headers, unix=True)


def wish(agent: FakeAgent, volume_id: str) -> IntentVolume | None:
    found = agent.objects.get(("volume", volume_id))
    return found if isinstance(found, IntentVolume) else None


async def until_wish(agent: FakeAgent, volume_id: str, name: str, wanted: Any = None) -> Any:
    """What the host hears of the volume under this name, once it is said (or what is wanted)."""

    def is_there() -> bool:
        found = getattr(wish(agent, volume_id), name, None)
        return found == wanted if wanted is not None else found is not None

    await agent.until(is_there)
    return getattr(wish(agent, volume_id), name)


async def until_alone(agent: FakeAgent, volume_id: str) -> None:
    await agent.until(lambda: wish(agent, volume_id) is None)


def migrate(host: str, **more: Any) -> dict[str, Any]:
    return {"os-migrate_volume": {"host": host, **more}}


async def told(admin: Volumes, volume_id: str) -> tuple[str, str, str | None]:
    found = (await admin.get(f"/volumes/{volume_id}"))["volume"]
    return found["status"], found["os-vol-host-attr:host"], found["os-vol-mig-status-attr:migstat"]


def test_a_volume_goes_to_another_host_and_nothing_is_left_behind(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            first = await w.agent("h1", backends=(backend("file", 100),))
            demo, admin = Volumes(w.demo, "3.71"), Volumes(w.admin, "3.71")
            one = await volume(demo)
            second = await w.agent("h2", backends=(backend("file", 100), backend("full", 0)))
            path, act = f"/volumes/{one['id']}", f"/volumes/{one['id']}/action"
            folder = moves.folder(w.cloud.settings)

            await admin.post(act, migrate("h2@file#file", lock_volume=True, force_host_copy=False))
            move = await until_wish(first, one["id"], "give")
            assert await told(admin, one["id"]) == ("maintenance", "h1@file#file", "migrating")
            assert wish(second, one["id"]) is None, "it has nothing to make it of"
            for method, verb in (("DELETE", path), ("POST", act)):
                assert (await demo.error(method, verb, {"os-extend": {"new_size": 2}}))[0] == 400
            assert (await admin.error("POST", act, migrate("h2@file")))[0] == 400, "it is on its way"
            assert (await parcel(w, "h2", "PUT", move, DATA)).status == 404, "it is not the one that gives"
            assert (await parcel(w, "h1", "PUT", "nothing", DATA)).status == 404
            assert (await parcel(w, "h2", "GET", move)).status == 404, "nothing was given yet"

            second.obedient = False
            for _ in range(2):
                assert (await parcel(w, "h1", "PUT", move, DATA)).status == 204
            assert await until_wish(second, one["id"], "take") == move
            answer = await parcel(w, "h2", "GET", move)
            assert (answer.status, answer.body) == (200, DATA)
            assert (await parcel(w, "h1", "GET", move)).status == 404, "it is not for this one"
            w.cloud.database.write(lambda tx: moves.bootstrap(tx, w.cloud.settings))
            assert [each.name for each in folder.iterdir()] == [move], "a start of the API keeps what is awaited"

            first.obedient = False
            await second.report()
            found = await admin.until(path, status("available"))
            assert await told(admin, one["id"]) == ("available", "h2@file#file", "success")
            heard = wish(second, one["id"])
            await until_wish(second, one["id"], "is_made", True)
            heard = wish(second, one["id"])
            assert heard is not None and (heard.take, heard.is_elsewhere, found["id"]) == (None, False, one["id"])
            await until_wish(first, one["id"], "is_elsewhere", True)
            old = wish(first, one["id"])
            assert old is not None and old.backend == "file", "nothing is to be left on that one alone"
            assert (await admin.error("POST", act, migrate("h1@file")))[0] == 400, "until it has left"
            second.obedient = first.obedient = True
            await first.report()
            await until_alone(first, one["id"])
            pools = (await admin.get("/scheduler-stats/get_pools?detail=true"))["pools"]
            taken = {each["name"]: each["capabilities"]["allocated_capacity_gb"] for each in pools}
            assert taken == {"h1@file#file": 0, "h2@file#file": 1, "h2@full#full": 0}
            await until("what went is gone", lambda: list(folder.iterdir()) == [])

            await demo.post(act, {"os-extend": {"new_size": 2}})
            await demo.until(path, lambda each: each["size"] == 2)
            assert await demo.delete(path) == 202
            await demo.until_gone(path)
            rows.check(w.cloud.database)

    run(test())


def test_a_move_that_fails_or_is_ended_leaves_the_volume_where_it_is(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            first = await w.agent("h1", backends=(backend("file", 100),))
            demo, admin = Volumes(w.demo, "3.71"), Volumes(w.admin, "3.71")
            one = await volume(demo)
            second = await w.agent("h2", backends=(backend("other", 100), backend("full", 0)))
            path, act = f"/volumes/{one['id']}", f"/volumes/{one['id']}/action"
            here = ("available", "h1@file#file", "error")

            await admin.post(act, migrate("h2@full"))
            assert await told(admin, one["id"]) == here, "it has no room"
            first.faults["give"] = ("the API does not answer", "")
            await admin.post(act, migrate("h2@other"))
            await admin.until(path, status("available"))
            assert await told(admin, one["id"]) == here
            assert (await demo.get("/messages"))["messages"][0]["resource_uuid"] == one["id"]
            del first.faults["give"]

            second.faults["other"] = ("it is full", "")
            await admin.post(act, migrate("h2@other"))
            move = await until_wish(first, one["id"], "give")
            assert (await parcel(w, "h1", "PUT", move, DATA)).status == 204
            await admin.until(path, status("available"))
            assert await told(admin, one["id"]) == here
            await until_alone(second, one["id"])
            del second.faults["other"]

            # An administrator ends it: before anything was given, and when the other host may have something.
            for is_given in (False, True):
                second.obedient = False
                await admin.post(act, migrate("h2@other"))
                move = await until_wish(first, one["id"], "give")
                if is_given:
                    assert (await parcel(w, "h1", "PUT", move, DATA)).status == 204
                    await until_wish(second, one["id"], "take")
                of_migration = {"os-reset_status": {"migration_status": "none"}}
                assert (await admin.error("POST", act, of_migration))[0] == 400
                await admin.post(act, {"os-reset_status": {"status": "available"}})
                assert await told(admin, one["id"]) == here
                if is_given:
                    await until_wish(second, one["id"], "is_elsewhere", True)
                assert (await parcel(w, "h1", "PUT", move, DATA)).status == 404
                second.obedient = True
                await second.report()
                await until_alone(second, one["id"])
            await admin.post(act, {"os-reset_status": {"migration_status": "none"}})
            assert (await told(admin, one["id"]))[2] is None

            # It is deleted on its way: its row ends when neither host has anything.
            first.obedient = second.obedient = False
            await admin.post(act, migrate("h2@other"))
            move = await until_wish(first, one["id"], "give")
            assert (await parcel(w, "h1", "PUT", move, DATA)).status == 204
            await until_wish(second, one["id"], "take")
            await admin.post(act, {"os-force_delete": {}})
            await until_alone(first, one["id"])
            await until_alone(second, one["id"])
            first.obedient = True
            await first.report()
            other = (await admin.get(path))["volume"]
            assert other["status"] == "deleting"
            await second.report()
            await admin.until_gone(path)
            rows.check(w.cloud.database)

    run(test())


def test_a_type_takes_a_volume_to_another_host_where_none_of_its_own_will_do(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            first = await w.agent("h1", backends=(backend("fast", 10),))
            demo, admin = Volumes(w.demo, "3.5"), Volumes(w.admin)
            await types(admin, fast={"volume_backend_name": "fast"}, far={"volume_backend_name": "far"})
            one = await volume(demo, volume_type="fast")
            await w.agent("h2", backends=(backend("far", 100),))
            path, act = f"/volumes/{one['id']}", f"/volumes/{one['id']}/action"
            await demo.post(act, {"os-retype": {"new_type": "far", "migration_policy": "on-demand"}})
            move = await until_wish(first, one["id"], "give")
            assert (await demo.get(path))["volume"]["status"] == "retyping"
            assert (await parcel(w, "h1", "PUT", move, DATA)).status == 204
            found = await demo.until(path, status("available"))
            assert found["volume_type"] == "far" and await place(admin, one["id"]) == "h2@far#far"
            quotas = (await demo.get(f"/os-quota-sets/{w.demo.project_id}?usage=true"))["quota_set"]
            assert (quotas["volumes_far"]["in_use"], quotas["volumes_fast"]["in_use"]) == (1, 0)
            await until_alone(first, one["id"])

    run(test())


def test_what_cannot_be_moved_is_refused(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            shared = backend("net", 100, is_networked=True)
            await w.agent("h1", backends=(shared,))
            demo, admin = Volumes(w.demo, "3.71"), Volumes(w.admin, "3.71")
            one = await volume(demo)
            await w.agent("h2", backends=(shared, backend("file", 100)))
            act = f"/volumes/{one['id']}/action"
            for body, code, words in (
                ({}, 400, "One and only one"),
                ({"host": "h2@file", "cluster": "c"}, 400, "One and only one"),
                ({"cluster": "c"}, 400, "No available service named 'c'"),
                ({"host": "h9@file"}, 400, "No available service"),
                ({"host": "h2"}, 400, "No available service"),
                ({"host": "h2@file", "lock_volume": "perhaps"}, 400, "lock_volume"),
                ({"host": "h2@file", "colour": 1}, 400, "colour"),
                ({"host": 5}, 400, "host"),
                ({"host": "h1@net"}, 400, "must be different"),
                ({"host": "h2@net"}, 400, "nothing to move"),
            ):
                refusal = await admin.error("POST", act, {"os-migrate_volume": body})
                assert refusal[0] == code and words in refusal[2], (body, refusal)
            assert "Host field" in (await admin.error("POST", act, {"os-migrate_volume": {}}, "3.15"))[2]
            assert (await demo.error("POST", act, migrate("h2@file")))[0] == 403
            await admin.put("/os-services/disable", {"host": "h2@file"})
            assert "No available" in (await admin.error("POST", act, migrate("h2@file")))[2]
            await admin.put("/os-services/enable", {"host": "h2@file"})
            await snapshot(demo, one["id"])
            assert "have snapshots" in (await admin.error("POST", act, migrate("h2@file")))[2]
            with w.cloud.database.read() as tx:
                assert tx.scalars(select(volumes.c.move)) == [None]

    run(test())


def test_nothing_is_between_two_volumes_so_there_is_nothing_to_complete(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            await w.agent()
            demo, admin = Volumes(w.demo), Volumes(w.admin)
            one, other = await volume(demo), await volume(demo)
            act, of_other = f"/volumes/{one['id']}/action", f"/volumes/{other['id']}/action"
            asked = {"os-migrate_volume_completion": {"new_volume": other["id"], "error": False}}
            assert (await demo.error("POST", act, asked))[0] == 403
            assert await admin.post(act, asked) == {"save_volume_id": other["id"]}
            for body in ({}, {"new_volume": "x"}, {"new_volume": other["id"], "error": 5}):
                assert (await admin.error("POST", act, {"os-migrate_volume_completion": body}))[0] == 400, body
            strange = {"os-migrate_volume_completion": {"new_volume": "22222222-1111-4111-8111-111111111111"}}
            assert (await admin.error("POST", act, strange))[0] == 404
            await admin.post(act, {"os-reset_status": {"migration_status": "migrating"}})
            assert "Destination volume not" in (await admin.error("POST", act, asked))[2]
            await admin.post(of_other, {"os-reset_status": {"migration_status": "Starting"}})
            assert f"expected target:{one['id']}" in (await admin.error("POST", act, asked))[2]
            await admin.post(act, {"os-reset_status": {"migration_status": "none"}})
            assert "Source volume not" in (await admin.error("POST", act, asked))[2]
            wrong = {"os-reset_status": {"migration_status": "odd"}}
            assert (await admin.error("POST", act, wrong))[0] == 400

    run(test())

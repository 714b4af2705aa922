"""Several back ends of a cloud: which one keeps a volume, by its type, and what becomes of those that are away."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from deuteron.model.intent import Heartbeat, IntentBackup, IntentSnapshot, IntentVolume
from tests import rows
from tests.unit.api_compute.harness import World, run, world
from tests.unit.api_hosts.agent import backend
from tests.unit.api_volume.harness import Volumes
from tests.unit.api_volume.test_volumes import snapshot, status, volume
from tests.waiting import until

PLACE = "os-vol-host-attr:host"


async def types(admin: Volumes, **specs: dict[str, str]) -> None:
    for name, wanted in specs.items():
        await admin.post("/types", {"volume_type": {"name": name, "extra_specs": wanted}})


async def place(admin: Volumes, volume_id: str) -> str:
    return str((await admin.get(f"/volumes/{volume_id}"))["volume"][PLACE])


async def services(admin: Volumes) -> dict[str, tuple[str, str]]:
    found = (await admin.get("/os-services?binary=cinder-volume"))["services"]
    return {each["host"]: (each["status"], each["state"]) for each in found}


async def beat(w: World, agent: Any, *backends: Any) -> None:
    """Let the agent say so, and the API write it down."""
    await agent.say(Heartbeat(volume_backends=backends))
    admin = Volumes(w.admin)
    wanted = {f"{agent.host}@{each.name}": "down" if each.fault else "up" for each in backends}
    await until_states(admin, wanted)


async def until_states(admin: Volumes, wanted: dict[str, str]) -> None:
    async def look() -> dict[str, str]:
        return {name: state for name, (_, state) in (await services(admin)).items()}

    await until("the states of back ends", look, wanted.__eq__)


def test_a_type_chooses_the_back_end_and_what_is_made_of_a_volume_stays_there(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            packing = {"compression": True, "vendor_name": "A"}
            fast = backend("fast", 10, called="quick", pool="SSD", capabilities=packing)
            slow = backend("slow", 100, capabilities={"compression": False, "vendor_name": "B"})
            agent = await w.agent(backends=(fast, slow))
            demo, admin = Volumes(w.demo, "3.5"), Volumes(w.admin)
            await types(
                admin,
                quick={"volume_backend_name": "quick"},
                packed={"compression": "<is> True"},
                plain={"capabilities:compression": "<is> False", "driver:speed": "9"},
                either={"vendor_name": "<or> Z <or> A", "total_capacity_gb": ">= 5"},
                none={"volume_backend_name": "quick", "vendor_name": "s== B"},
            )
            places = {}
            for name in ("quick", "packed", "plain", "either"):
                places[name] = await place(admin, (await volume(demo, volume_type=name))["id"])
            on_fast, on_slow = "h1@fast#SSD", "h1@slow#slow"
            assert places == {"quick": on_fast, "packed": on_fast, "plain": on_slow, "either": on_fast}
            roomy = await volume(demo)
            assert await place(admin, roomy["id"]) == on_slow, "it has more room"
            lost = (await demo.post("/volumes", {"volume": {"size": 1, "volume_type": "none"}}))["volume"]
            assert lost["status"] == "error"
            (message,) = (await demo.get(f"/messages?resource_uuid={lost['id']}"))["messages"]
            assert message["user_message"] == "schedule allocate volume:Could not find any available weighted backend."

            origin = await volume(demo, volume_type="quick")
            kept = await snapshot(demo, origin["id"])
            clone = await volume(demo, source_volid=origin["id"])
            of_snapshot = await volume(demo, snapshot_id=kept["id"])
            for each in (clone, of_snapshot):
                assert await place(admin, each["id"]) == on_fast
            wrong = {"size": 1, "source_volid": origin["id"], "volume_type": "plain"}
            assert (await demo.post("/volumes", {"volume": wrong}))["volume"]["status"] == "error"
            saved = (await demo.post("/backups", {"backup": {"volume_id": origin["id"]}}))["backup"]
            await demo.until(f"/backups/{saved['id']}", status("available"))
            told = {
                type(each): each.backend
                for each in agent.objects.values()
                if isinstance(each, IntentSnapshot | IntentBackup)
                or (isinstance(each, IntentVolume) and each.id == clone["id"])
            }
            assert told == {IntentSnapshot: "fast", IntentVolume: "fast", IntentBackup: "fast"}

            pools = (await admin.get("/scheduler-stats/get_pools?detail=true"))["pools"]
            figures = {each["name"]: each["capabilities"] for each in pools}
            shown = ("volume_backend_name", "pool_name", "total_capacity_gb", "allocated_capacity_gb", "vendor_name")
            assert {name: tuple(told[key] for key in shown) for name, told in figures.items()} == {
                on_fast: ("quick", "SSD", 10, 6, "A"),
                on_slow: ("slow", "slow", 100, 2, "B"),
            }
            assert (await admin.get("/capabilities/h1@fast#SSD"))["volume_backend_name"] == "quick"
            rows.check(w.cloud.database)

    run(test())


def test_a_service_of_a_back_end_is_disabled_alone(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            await w.agent(backends=(backend("fast", 10), backend("slow", 100)))
            demo, admin = Volumes(w.demo, "3.5"), Volumes(w.admin)
            body = {"host": "h1@slow", "binary": "cinder-volume", "disabled_reason": "tired"}
            await admin.put("/os-services/disable-log-reason", body)
            assert await services(admin) == {"h1@fast": ("enabled", "up"), "h1@slow": ("disabled", "up")}
            assert await place(admin, (await volume(demo))["id"]) == "h1@fast#fast"
            assert (await admin.error("PUT", "/os-services/disable", {**body, "host": "h1@none"}))[0] in (400, 404)
            await admin.put("/os-services/enable", {"host": "h1@slow", "binary": "cinder-volume"})
            assert await place(admin, (await volume(demo))["id"]) == "h1@slow#slow"
            ids = {(await demo.get(f"/volumes/{each['id']}", "3.48"))["volume"]["service_uuid"] for each in (
                (await demo.get("/volumes"))["volumes"]
            )}  # fmt: skip
            assert len(ids) == 2, "each is a service of its own"

    run(test())


def test_a_back_end_that_is_away_takes_no_volumes_and_the_other_goes_on(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            fast, slow = backend("fast", 10), backend("slow", 100)
            agent = await w.agent(backends=(fast, slow))
            demo, admin = Volumes(w.demo, "3.5"), Volumes(w.admin)
            await types(admin, slow={"volume_backend_name": "slow"})
            away = backend("slow", 100, fault="nobody answers")
            kept = await volume(demo, volume_type="slow")
            server = await w.demo.boot(imageRef=await w.demo.image(), networks=[{"uuid": await w.demo.network()}])
            await w.demo.until_status(server, "ACTIVE")
            await beat(w, agent, fast, away)
            # Nothing is wrong with what it keeps, and nobody can have it, or a copy of it.
            assert (await demo.get(f"/volumes/{kept['id']}"))["volume"]["status"] == "available"
            path = f"/compute/v2.1/servers/{server}/os-volume_attachments"
            answer = await w.demo.request("POST", path, {"volumeAttachment": {"volumeId": kept["id"]}})
            assert answer.status == 400 and "kept by h1@slow, which is away" in answer.message
            by_hand = {"connector": {"host": "h1"}}
            refusal = await demo.error("POST", f"/volumes/{kept['id']}/action", {"os-initialize_connection": by_hand})
            assert refusal[0] == 400 and "away" in refusal[2]
            copied = (await demo.post("/volumes", {"volume": {"source_volid": kept["id"]}}))["volume"]
            assert copied["status"] == "error"
            assert await services(admin) == {"h1@fast": ("enabled", "up"), "h1@slow": ("enabled", "down")}
            assert await place(admin, (await volume(demo))["id"]) == "h1@fast#fast"
            lost = (await demo.post("/volumes", {"volume": {"size": 1, "volume_type": "slow"}}))["volume"]
            assert lost["status"] == "error"
            pools = (await admin.get("/scheduler-stats/get_pools"))["pools"]
            assert [each["name"] for each in pools] == ["h1@fast#fast"]
            await beat(w, agent, fast, slow)
            assert await place(admin, (await volume(demo))["id"]) == "h1@slow#slow"
            # What a host tells when it comes again is newer than what it told by heartbeats.
            await beat(w, agent, fast, away)
            await agent.leave()
            again = await w.agent(backends=(fast, slow))
            assert (await services(admin))["h1@slow"] == ("enabled", "up")
            await again.leave()
            await until_states(admin, {"h1@fast": "down", "h1@slow": "down"})

    run(test())


def test_room_is_given_away_as_often_as_a_back_end_says(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            await w.agent(backends=(backend("thick", 10, max_over_subscription_ratio=1.0, reserved_percentage=20),))
            demo = Volumes(w.demo)
            await volume(demo, size=8)
            assert (await demo.post("/volumes", {"volume": {"size": 1}}))["volume"]["status"] == "error"

    run(test())


def test_a_type_of_another_back_end_moves_the_data_where_that_is_asked_or_nothing_changes(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            agent = await w.agent(backends=(backend("fast", 10), backend("slow", 100)))
            demo, admin = Volumes(w.demo, "3.5"), Volumes(w.admin)
            shared = {"volume_backend_name": "slow", "multiattach": "<is> True"}
            await types(
                admin,
                fast={"volume_backend_name": "fast"},
                slow=shared,
                far={"volume_backend_name": "far"},
                none={"a": "b"},
            )
            one = await volume(demo, volume_type="fast")
            path, act = f"/volumes/{one['id']}", f"/volumes/{one['id']}/action"
            for body in ({"new_type": "slow"}, {"new_type": "slow", "migration_policy": "never"}, {
                "new_type": "none", "migration_policy": "on-demand",
            }):  # fmt: skip
                await demo.post(act, {"os-retype": body})
                found = (await demo.get(path))["volume"]
                assert (found["status"], found["volume_type"]) == ("available", "fast")
                assert (await demo.get("/messages"))["messages"][0]["resource_uuid"] == one["id"]
            wanted = {"os-retype": {"new_type": "slow", "migration_policy": "on-demand"}}
            kept = await snapshot(demo, one["id"])
            assert "must not have snapshots" in (await demo.error("POST", act, wanted))[2]
            assert await demo.delete(f"/snapshots/{kept['id']}") == 202
            await demo.until_gone(f"/snapshots/{kept['id']}")

            agent.faults["slow"] = ("it is full", "")
            await demo.post(act, wanted)
            found = await demo.until(path, status("available"))
            assert found["volume_type"] == "fast" and await place(admin, one["id"]) == "h1@fast#fast"
            assert (await admin.get(path))["volume"]["os-vol-mig-status-attr:migstat"] == "error"
            del agent.faults["slow"]
            agent.obedient = False
            await demo.post(act, wanted)
            found = (await demo.get(path))["volume"]
            assert (found["status"], found["volume_type"], found["multiattach"]) == ("retyping", "fast", False)
            assert (await demo.error("DELETE", path))[0] == 400, "it is on its way"
            await agent.until(lambda: any(getattr(each, "move", None) for each in agent.objects.values()))
            agent.obedient = True
            await agent.report()
            found = await demo.until(path, status("available"))
            assert (found["volume_type"], found["multiattach"]) == ("slow", True)
            assert await place(admin, one["id"]) == "h1@slow#slow"

            def heard() -> list[tuple[str, bool, object]]:
                volumes = [each for each in agent.objects.values() if isinstance(each, IntentVolume)]
                return [(each.backend, each.is_shared, each.left) for each in volumes]

            await until("the host hears where it is", heard, lambda seen: seen == [("slow", True, None)])
            rows.check(w.cloud.database)

    run(test())

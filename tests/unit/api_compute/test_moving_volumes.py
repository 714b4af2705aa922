"""Servers that go to another host with volumes that both hosts reach: who has them when, and what is refused."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from deuteron.model.intent import IntentVolume, LiveReport, Report, VolumeReport
from tests import rows
from tests.unit.api_compute.harness import Answer, Client, World, run, world
from tests.unit.api_compute.test_cold_moves import DISKS, asked, parcel, place
from tests.unit.api_compute.test_cold_moves import status as migration_status
from tests.unit.api_compute.test_evacuations import force_down
from tests.unit.api_compute.test_live_moves import FIGURES, LIVE, actions, said, silent
from tests.unit.api_compute.test_root_volumes import boot, mapping
from tests.unit.api_compute.test_root_volumes import bootable as plain
from tests.unit.api_hosts.agent import FakeAgent, backend
from tests.unit.api_volume.harness import Volumes
from tests.unit.api_volume.test_volumes import status, volume
from tests.waiting import until

SERVERS = "/compute/v2.1/servers"


async def with_volumes(w: World, *, has_disk: bool = False) -> tuple[FakeAgent, FakeAgent, str, list[str]]:
    """A server of h1 with two volumes that h2 reaches as well, one of them its root unless it `has_disk`."""
    san = (backend("san", 100, is_networked=True),)
    first = await w.agent("h1", backends=san)
    image, network = await w.demo.image(), await w.demo.network()
    if has_disk:
        server = await w.demo.boot(imageRef=image, networks=[{"uuid": network}])
        await w.demo.until_status(server, "ACTIVE")
    else:
        server = await boot(w, mapping("image", image, volume_size=1), network=network)
        await w.demo.until_status(server, "ACTIVE")
    for _ in range(2 if has_disk else 1):
        data = await volume(Volumes(w.demo))
        body = {"volumeAttachment": {"volumeId": data["id"]}}
        await w.demo.post(f"{SERVERS}/{server}/os-volume_attachments", body, status=200)
        await Volumes(w.demo).until(f"/volumes/{data['id']}", status("in-use"))
    held = [each.volume_id for each in first.servers()[0].volumes]
    assert len(held) == 2
    return first, await w.agent("h2", backends=san), server, held


def ids(agent: FakeAgent) -> list[str]:
    return [each.volume_id for server in agent.servers() for each in server.volumes]


async def hosts(w: World, held: list[str]) -> set[Any]:
    """Where Block Storage says that the volumes are attached."""
    found = [(await Volumes(w.admin).get(f"/volumes/{each}"))["volume"] for each in held]
    assert {each["status"] for each in found} == {"in-use"}
    return {each["attachments"][0]["host_name"] for each in found}


@pytest.mark.parametrize("way", ["confirmResize", "revertResize"])
def test_volumes_are_let_go_before_another_host_takes_them(tmp_path: Path, way: str) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            first, second, server, held = await with_volumes(w)
            move = await asked(w, first, server, "migrate", None)
            assert ids(first) == [] and first.servers()[0].root_disk_gib == 0
            assert await hosts(w, held) == {"h1"}, "users see them where they were"
            assert (await parcel(w, "h1", "PUT", move, DISKS)).status == 204
            await w.demo.until_status(server, "VERIFY_RESIZE")
            assert ids(second) == held and ids(first) == [] and await hosts(w, held) == {"h2"}
            assert await place(w, server) == ("h2", "h2")
            if way == "confirmResize":
                assert (await w.demo.action(server, way)).status == 204
                await first.until(lambda: not first.servers())
            else:
                second.obedient = False
                assert (await w.demo.action(server, way)).status == 202
                await second.until(lambda: ids(second) == [])
                assert second.servers()[0].power == "shutdown" and second.servers()[0].shape_generation == 2
                assert (await w.demo.server(server))["OS-EXT-STS:task_state"] == "resize_reverting"
                assert await place(w, server) == ("h2", "h2") and ids(first) == [], "not before it has let them go"
                second.obedient = True
                await second.report()
                await second.until(lambda: not second.servers())
            await w.demo.until_status(server, "ACTIVE")
            here = "h2" if way == "confirmResize" else "h1"
            assert await place(w, server) == (here, here) and await hosts(w, held) == {here}
            assert ids(second if here == "h2" else first) == held

    run(test())


def test_a_server_that_is_shelved_lets_its_volumes_go_and_comes_back_on_another_host(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            first, second, server, held = await with_volumes(w)
            assert (await w.demo.action(server, "os-stop")).status == 202
            await w.demo.until_status(server, "SHUTOFF")
            first.obedient = False
            assert (await w.demo.action(server, "shelve")).status == 202
            await first.until(lambda: ids(first) == [])
            assert (await w.demo.server(server))["OS-EXT-STS:task_state"] == "shelving"
            first.obedient = True
            await first.report()
            await w.demo.until_status(server, "SHELVED_OFFLOADED")
            assert await hosts(w, held) == {None}
            assert (await w.admin.action(server, "unshelve", {"host": "h2"}, "2.91")).status == 202
            await w.demo.until_status(server, "ACTIVE")
            assert ids(second) == held and await hosts(w, held) == {"h2"}

    run(test())


def test_an_evacuated_server_has_its_volumes_on_another_host(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            first, second, server, held = await with_volumes(w, has_disk=True)
            first.obedient = False
            await force_down(w, "h1", True)
            assert (await w.admin.action(server, "evacuate", {}, "2.68")).status == 200
            await w.demo.until_status(server, "ACTIVE")
            (item,) = second.servers()
            assert ids(second) == held and {each.after for each in item.volumes} == {("h1",)}
            assert {each.is_elsewhere for each in item.volumes} == {True}
            assert await hosts(w, held) == {"h2"}
            await first.until(lambda: not first.servers())

    run(test())


@pytest.mark.parametrize("has_disk", [True, False])
def test_both_hosts_have_the_volumes_while_a_guest_is_on_its_way(tmp_path: Path, has_disk: bool) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            first, second, server, held = await with_volumes(w, has_disk=has_disk)
            first.live = second.live = silent
            shared = {"host": None, "block_migration": False}
            other = {**shared, "block_migration": not has_disk}
            answer = await w.admin.action(server, "os-migrateLive", other, "2.25")
            assert answer.status == 400 and "shared storage" in answer.message
            asked = LIVE if has_disk else shared
            assert (await w.admin.action(server, "os-migrateLive", asked, "2.79")).status == 202
            await second.until(lambda: bool(second.servers()))
            await first.until(lambda: first.servers()[0].leave is not None)
            leaves, comes = first.servers()[0], second.servers()[0]
            assert ids(first) == ids(second) == held and await hosts(w, held) == {"h1"}
            assert {each.beside for each in comes.volumes} == {"h1"} != {each.beside for each in leaves.volumes}
            await said(first, LiveReport(str(leaves.leave), "sent"))
            await said(second, LiveReport(str(leaves.leave), "loaded"))
            await second.until(lambda: second.servers()[0].arrive is not None)
            assert {each.beside for each in second.servers()[0].volumes} == {""}
            assert await hosts(w, held) == {"h2"}
            await said(second, None)
            await w.demo.until_status(server, "ACTIVE")
            assert await place(w, server) == ("h2", "h2")

    run(test())


def volumes_of(agent: FakeAgent) -> list[IntentVolume]:
    return [item for item in agent.objects.values() if isinstance(item, IntentVolume)]


async def data(w: World, host: str, method: str, move: str | None, body: bytes | None = None) -> Answer:
    headers = {"authorization": f"Bearer token-{host}"}
    return await Client(w.app).request(method, f"/internal/volume-moves/{move}", body, headers=headers, unix=True)


async def alone(w: World) -> tuple[FakeAgent, FakeAgent, str, str]:
    """A server of h1 that boots from a volume that h1 alone reaches, and h2 that could keep it."""
    first = await w.agent("h1")
    root = await plain(w)
    server = await boot(w, mapping("volume", root["id"]))
    await w.demo.until_status(server, "ACTIVE")
    return first, await w.agent("h2"), server, str(root["id"])


@pytest.mark.parametrize("way", ["confirmResize", "revertResize"])
def test_what_one_host_keeps_follows_its_server(tmp_path: Path, way: str) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            first, second, server, held = await alone(w)
            move = await asked(w, first, server, "migrate", None)
            assert ids(first) == [] and volumes_of(first)[0].give is None, "first the server, then what it had"
            second.obedient = False
            assert (await parcel(w, "h1", "PUT", move, DISKS)).status == 204
            await follows(w, first, second, server, held)
            await w.demo.until_status(server, "VERIFY_RESIZE")
            assert ids(second) == [held] and await hosts(w, [held]) == {"h2"}
            if way == "revertResize":
                first.obedient = False
                assert (await w.demo.action(server, way)).status == 202
                await follows(w, second, first, server, held)
            else:
                assert (await w.demo.action(server, way)).status == 204
            await w.demo.until_status(server, "ACTIVE")
            here = "h2" if way == "confirmResize" else "h1"
            assert await place(w, server) == (here, here) and await hosts(w, [held]) == {here}
            folders = (tmp_path / "moves", tmp_path / "volume-moves")
            await until("what went is gone", lambda: [name for each in folders for name in each.iterdir()] == [])
            rows.check(w.cloud.database)

    run(test())


async def follows(w: World, source: FakeAgent, dest: FakeAgent, server: str, held: str) -> None:
    """The volume goes from one host to the other, which its server has come to and which says nothing yet."""
    assert not dest.obedient, "else it says at once of the server that it runs"
    shown = Volumes(w.admin)
    await source.until(lambda: bool(volumes_of(source)) and volumes_of(source)[0].give is not None)
    give = volumes_of(source)[0].give
    await dest.until(lambda: ids(dest) == [held])
    assert volumes_of(dest) == [] and not dest.servers()[0].volumes[0].is_elsewhere, "it is not there yet"
    for host, method, code in ((dest.host, "PUT", 404), (dest.host, "GET", 404), (source.host, "GET", 404)):
        assert (await data(w, host, method, give, b"no" if method == "PUT" else None)).status == code
    assert (await data(w, source.host, "PUT", give, b"all of it")).status == 204
    await dest.until(lambda: [each.take for each in volumes_of(dest)] == [give])
    assert (await data(w, dest.host, "GET", give)).body == b"all of it"
    assert (await data(w, source.host, "GET", give)).status == 404
    found = (await shown.get(f"/volumes/{held}"))["volume"]
    assert (found["status"], found["os-vol-mig-status-attr:migstat"]) == ("in-use", "migrating")
    assert found["os-vol-host-attr:host"] == f"{source.host}@file#file"
    for body in ({"os-extend": {"new_size": 9}}, {"os-reset_status": {"status": "in-use"}}):
        code, _, words = await shown.error("POST", f"/volumes/{held}/action", body, "3.42")
        assert code == 400 and "on its way" in words
    code, _, words = await shown.error("POST", "/snapshots", {"snapshot": {"volume_id": held, "force": True}})
    assert code == 400 and "on its way" in words
    code, _, words = await shown.error("POST", "/backups", {"backup": {"volume_id": held, "force": True}})
    assert code == 400 and "on its way" in words
    source.obedient = False
    dest.obedient = True
    await dest.report()
    await source.until(lambda: [each.is_elsewhere for each in volumes_of(source)] == [True])
    await shown.until(f"/volumes/{held}", lambda seen: seen["os-vol-host-attr:host"] == f"{dest.host}@file#file")
    await dest.until(lambda: [each.take for each in volumes_of(dest)] == [None])
    source.obedient = True
    await source.report()
    await source.until(lambda: volumes_of(source) == [])


def test_what_one_host_keeps_follows_a_server_that_is_unshelved_elsewhere(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            first, second, server, held = await alone(w)
            assert (await w.demo.action(server, "shelve")).status == 202
            await w.demo.until_status(server, "SHELVED_OFFLOADED")
            second.obedient = False
            assert (await w.admin.action(server, "unshelve", {"host": "h2"}, "2.91")).status == 202
            await follows(w, first, second, server, held)
            await w.demo.until_status(server, "ACTIVE")
            assert await hosts(w, [held]) == {"h2"}

    run(test())


def test_a_volume_that_cannot_be_had_is_the_servers_fault_until_it_is(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            first, second, server, held = await alone(w)
            move = await asked(w, first, server, "migrate", None)
            second.obedient = False
            assert (await parcel(w, "h1", "PUT", move, DISKS)).status == 204
            await first.until(lambda: volumes_of(first)[0].give is not None)
            give = str(volumes_of(first)[0].give)
            failed = VolumeReport(held, "ready", 1, fault="no space is left", not_given=give)
            await first.say(Report(first.revision, (), (), (), (failed,)))
            await w.demo.until(server, lambda shown: shown["status"] == "ERROR")
            fault = (await w.demo.server(server))["fault"]["message"]
            assert "cannot come along: no space is left" in fault
            await first.report()
            assert (await data(w, "h1", "PUT", give, b"all of it")).status == 204
            second.obedient = True
            await second.report()
            await w.demo.until_status(server, "VERIFY_RESIZE")

    run(test())


def test_what_one_host_keeps_does_not_follow_everywhere(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            _, _, server, held = await alone(w)
            words = f"volume {held} is kept on host h1, no other reaches it"
            made = await Volumes(w.demo).post("/snapshots", {"snapshot": {"volume_id": held, "force": True}})
            await Volumes(w.demo).until(f"/snapshots/{made['snapshot']['id']}", status("available"))
            answer = await w.admin.action(server, "migrate", None)
            assert (answer.status, f"{words}, and it cannot follow: it has snapshots" in answer.message) == (400, True)
            for version, code in (("2.25", 400), ("2.79", 202)):
                answer = await w.admin.action(server, "os-migrateLive", LIVE, version)
                assert answer.status == code
                assert code == 202 or f"{words}, and it cannot follow: it has snapshots" in answer.message
            assert (await actions(w, server))[0] == ("live-migration", "Error")
            await force_down(w, "h1", True)
            answer = await w.admin.action(server, "evacuate", {}, "2.68")
            assert (answer.status, f"{words}, and that host is not there" in answer.message) == (400, True)
            assert (await w.demo.server(server))["status"] == "ACTIVE"

    run(test())


async def leaving(w: World) -> tuple[FakeAgent, FakeAgent, str, str]:
    """As `alone`, and its guest is on its way to h2 while it runs."""
    first, second, server, held = await alone(w)
    first.live = second.live = silent
    # It has no disk beside the volume, which is copied as one.
    refused = await w.admin.action(server, "os-migrateLive", {"host": None, "block_migration": False}, "2.25")
    assert refused.status == 400 and "is not on shared storage" in refused.message
    answer = await w.admin.action(server, "os-migrateLive", {"host": None, "block_migration": True}, "2.25")
    assert answer.status == 202, answer.text
    await second.until(lambda: bool(second.servers()) and bool(volumes_of(second)))
    await first.until(lambda: first.servers()[0].leave is not None)
    return first, second, server, held


def test_what_one_host_keeps_is_copied_with_a_guest_that_runs(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            first, second, server, held = await leaving(w)
            leaves, comes = first.servers()[0], second.servers()[0]
            (here,), (there,) = leaves.volumes, comes.volumes
            assert (here.copied_gib, there.copied_gib, there.is_elsewhere, there.beside) == (1, 1, False, "")
            (made,) = volumes_of(second)
            nothing = (made.image, made.source_id, made.snapshot_id, made.take)
            assert (made.size_gib, made.is_made, nothing) == (1, False, (None, None, None, None)), "an empty one"
            assert [each.give for each in volumes_of(first)] == [None] and await hosts(w, [held]) == {"h1"}
            shown = Volumes(w.admin)
            code, _, words = await shown.error(
                "POST", f"/volumes/{held}/action", {"os-extend": {"new_size": 9}}, "3.42"
            )
            assert code == 400 and "on its way" in words
            first.obedient = False
            await said(first, LiveReport(str(leaves.leave), "sent"))
            assert [each.is_elsewhere for each in volumes_of(first)] == [False], "one of two"
            await said(second, LiveReport(str(leaves.leave), "loaded"))
            await second.until(lambda: second.servers()[0].arrive is not None)
            assert [each.copied_gib for each in second.servers()[0].volumes] == [0]
            await second.until(lambda: volumes_of(second)[0].is_made)
            await first.until(lambda: [each.is_elsewhere for each in volumes_of(first)] == [True])
            assert await hosts(w, [held]) == {"h2"}
            first.obedient = True
            await first.report()
            await first.until(lambda: volumes_of(first) == [])
            await said(second, None)
            await w.demo.until_status(server, "ACTIVE")
            found = (await shown.get(f"/volumes/{held}"))["volume"]
            assert (found["status"], found["os-vol-host-attr:host"]) == ("in-use", "h2@file#file")
            rows.check(w.cloud.database)

    run(test())


@pytest.mark.parametrize("ending", ["abort", "fault of the guest", "fault of the volume", "delete"])
def test_a_guest_that_stays_has_its_volumes_where_they_were(tmp_path: Path, ending: str) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            first, second, server, held = await leaving(w)
            second.obedient = False
            if ending == "abort":
                await said(first, LiveReport(str(first.servers()[0].leave), "working", None, FIGURES))
                while await migration_status(w) != "running":
                    await asyncio.sleep(0.01)
                path = f"{SERVERS}/{server}/migrations/1"
                assert (await w.admin.request("DELETE", path, version="2.24")).status == 202
            elif ending == "fault of the guest":
                await said(second, LiveReport(str(second.servers()[0].come), "failed", "no room for it"))
            elif ending == "fault of the volume":
                failed = VolumeReport(held, "error", 0, fault="no space is left")
                await second.say(Report(second.revision, (), (), (), (failed,)))
            else:
                assert (await w.demo.request("DELETE", f"{SERVERS}/{server}")).status == 204
            await second.until(lambda: [each.is_elsewhere for each in volumes_of(second)] == [True])
            assert [each.is_elsewhere for each in volumes_of(first)] == [False]
            if ending != "delete":
                await w.demo.until_status(server, "ACTIVE")
                assert await hosts(w, [held]) == {"h1"} and await place(w, server) == ("h1", "h1")
                answer = await w.admin.action(server, "os-migrateLive", LIVE, "2.25")
                assert answer.status == 400 and "something of it is still to be removed" in answer.message
            second.obedient = True
            await second.report()
            await second.until(lambda: volumes_of(second) == [])
            if ending != "delete":
                first.live, second.live = first._moved, second._moved
                assert (await w.admin.action(server, "os-migrateLive", LIVE, "2.25")).status == 202
                await w.demo.until(server, lambda shown: shown["OS-EXT-STS:task_state"] is None)
                assert await place(w, server) == ("h2", "h2") and await hosts(w, [held]) == {"h2"}
            rows.check(w.cloud.database)

    run(test())

"""Servers that go to another host while their guests run: what is asked of both hosts, who decides, and ways back."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest

from deuteron.model.intent import IntentPort, IntentServer, LiveFigures, LiveReport, Report, ServerReport
from tests.unit.api_compute.harness import World, run, world
from tests.unit.api_compute.test_cold_moves import place, status, taken
from tests.unit.api_compute.test_evacuations import force_down, started
from tests.unit.api_hosts.agent import FakeAgent

C = "/compute/v2.1"
LIVE = {"host": None, "block_migration": "auto"}


def silent(item: IntentServer) -> LiveReport | None:
    """A host that has not begun."""
    return None


def working(item: IntentServer) -> LiveReport | None:
    return LiveReport(item.leave, "working", None, FIGURES) if item.leave is not None else None


FIGURES = LiveFigures(134217728, 1000000, 4096, 1073741824, 1073741824, 0)


async def under_way(w: World, *, leaves: Any = working, comes: Any = silent) -> tuple[FakeAgent, FakeAgent, str]:
    """A server of h1 that goes to h2, whose hosts say no more than this."""
    first = await w.agent("h1")
    server = await started(w)
    second = await w.agent("h2")
    first.live, second.live = leaves, comes
    answer = await w.admin.action(server, "os-migrateLive", LIVE, "2.79")
    assert answer.status == 202, answer.text
    await second.until(lambda: bool(second.servers()))
    await first.until(lambda: first.servers()[0].leave is not None)
    while await status(w) != "running":
        await asyncio.sleep(0.01)
    return first, second, server


async def said(agent: FakeAgent, report: LiveReport | None) -> None:
    agent.live = lambda item: report
    (server,) = agent.servers()
    state = "paused" if server.come is not None else server.power
    generations = (server.reboot_generation, server.build_generation, server.shape_generation)
    await agent.say(Report(agent.revision, (), (), (ServerReport(server.id, state, *generations, live=report),)))
    await agent.is_heard()


async def ends(w: World, server: str) -> Any:
    return await w.demo.until_status(server, "ACTIVE")


async def actions(w: World, server: str) -> list[tuple[str, str | None]]:
    found = (await w.demo.get(f"{C}/servers/{server}/os-instance-actions"))["instanceActions"]
    return [(each["action"], each["message"]) for each in found]


async def bindings(w: World, server: str) -> list[tuple[str, str]]:
    port = (await w.admin.get(f"/network/v2.0/ports?device_id={server}"))["ports"][0]["id"]
    found = (await w.admin.get(f"/network/v2.0/ports/{port}/bindings"))["bindings"]
    return sorted((each["host"], each["status"]) for each in found)


def ports(agent: FakeAgent) -> list[bool]:
    """Of the ports of servers on a host, whether they carry anything."""
    owned = [item for item in agent.objects.values() if isinstance(item, IntentPort)]
    return [item.admin_state_up for item in owned if item.device_owner.startswith("compute:")]


def test_a_server_goes_on_at_the_other_host_when_both_have_said_that_all_of_it_is_there(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            first, second, server = await under_way(w)
            shown = await w.demo.server(server)
            assert (shown["status"], shown["OS-EXT-STS:task_state"]) == ("MIGRATING", "migrating")
            leaves, comes = first.servers()[0], second.servers()[0]
            assert (leaves.power, comes.power, leaves.leave) == ("running", "running", comes.come)
            assert leaves.come is comes.leave is comes.arrive is None and leaves.ports == comes.ports
            assert ports(first) == [True] and ports(second) == [False], "nothing goes where nobody answers yet"
            assert await bindings(w, server) == [("h1", "ACTIVE"), ("h2", "INACTIVE")]
            assert await taken(w) == [(1, 128), (1, 128)] and await place(w, server) == ("h1", "h1")

            await w.admin.get(f"{C}/servers/{server}/migrations", "2.23")
            (one,) = (await w.admin.get(f"{C}/servers/{server}/migrations", "2.80"))["migrations"]
            assert (one["status"], one["source_compute"], one["dest_compute"]) == ("running", "h1", "h2")
            assert (one["memory_remaining_bytes"], one["disk_total_bytes"]) == (4096, 1073741824)
            same = (await w.admin.get(f"{C}/servers/{server}/migrations/{one['id']}", "2.80"))["migration"]
            assert same["memory_total_bytes"] == 134217728 and same["uuid"] == leaves.leave

            await said(first, LiveReport(str(leaves.leave), "sent", None, FIGURES))
            assert await place(w, server) == ("h1", "h1"), "one of two"
            await said(second, LiveReport(str(leaves.leave), "loaded"))
            await second.until(lambda: second.servers()[0].arrive is not None)
            await first.until(lambda: not first.servers() and ports(first) == [])
            arrived = second.servers()[0]
            assert (arrived.come, arrived.arrive, arrived.power) == (None, leaves.leave, "running")
            assert ports(second) == [True] and await bindings(w, server) == [("h2", "ACTIVE")]
            assert (await w.demo.server(server))["status"] == "MIGRATING", "it does not run there yet"
            await said(second, None)
            await ends(w, server)
            await second.until(lambda: second.servers()[0].arrive is None)
            assert await place(w, server) == ("h2", "h2") and await taken(w) == [(0, 0), (1, 128)]
            assert await status(w) == "completed" and (await actions(w, server))[0] == ("live-migration", None)
            assert (await w.admin.get(f"{C}/servers/{server}/migrations", "2.80"))["migrations"] == []
            assert (await w.admin.request("GET", f"{C}/servers/{server}/migrations/1", version="2.80")).status == 404

    run(test())


@pytest.mark.parametrize("who", ["h1", "h2"])
@pytest.mark.parametrize("is_late", [False, True])
def test_a_move_that_fails_leaves_the_server_where_it_is(tmp_path: Path, who: str, is_late: bool) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            first, second, server = await under_way(w)
            move = str(first.servers()[0].leave)
            failing, other = (first, second) if who == "h1" else (second, first)
            if is_late:
                await said(other, LiveReport(move, "sent" if other is first else "loaded"))
            await said(failing, LiveReport(move, "failed", "no room for it"))
            await ends(w, server)
            await second.until(lambda: not second.servers() and ports(second) == [])
            await first.until(lambda: first.servers()[0].leave is None)
            assert first.servers()[0].power == "running" and ports(first) == [True]
            assert await place(w, server) == ("h1", "h1") and await taken(w) == [(1, 128), (0, 0)]
            assert await bindings(w, server) == [("h1", "ACTIVE")] and await status(w) == "error"
            assert (await actions(w, server))[0] == ("live-migration", "Error")
            # What is said of a move that is over is nothing.
            await said(first, LiveReport(move, "sent"))
            assert await place(w, server) == ("h1", "h1")
            first.live, second.live = first._moved, second._moved
            assert (await w.admin.action(server, "os-migrateLive", LIVE, "2.79")).status == 202
            await w.demo.until(server, lambda shown: shown["OS-EXT-STS:task_state"] is None)
            assert await place(w, server) == ("h2", "h2"), "and again, with success"

    run(test())


def test_a_move_is_aborted_and_forced(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            first, second, server = await under_way(w)
            one = f"{C}/servers/{server}/migrations/1"
            forced = await w.admin.request("POST", f"{one}/action", {"force_complete": None}, version="2.22")
            assert forced.status == 202
            await first.until(lambda: first.servers()[0].is_leaving_still)
            assert (await w.admin.request("DELETE", one, version="2.23")).status == 404, "before there was such a path"
            assert (await w.admin.request("DELETE", f"{one}9", version="2.24")).status == 404
            assert (await w.admin.request("DELETE", one, version="2.24")).status == 202
            await ends(w, server)
            await second.until(lambda: not second.servers())
            await first.until(lambda: first.servers()[0].leave is None)
            assert await status(w) == "cancelled" and await place(w, server) == ("h1", "h1")
            for method, path, body in (("DELETE", one, None), ("POST", f"{one}/action", {"force_complete": None})):
                assert (await w.admin.request(method, path, body, version="2.24")).status in (400, 409)
            assert {name for name, _ in await actions(w, server)} >= {
                "live-migration", "live_migration_cancel", "live_migration_force_complete",
            }  # fmt: skip

    run(test())


@pytest.mark.parametrize("way", ["delete", "reset", "evacuate"])
def test_what_else_becomes_of_a_server_on_its_way(tmp_path: Path, way: str) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            first, second, server = await under_way(w)
            if way == "delete":
                assert (await w.demo.request("DELETE", f"{C}/servers/{server}")).status == 204
                await w.demo.until_gone(f"{C}/servers/{server}")
                assert await taken(w) == [(0, 0), (0, 0)]
                await second.until(lambda: not second.servers() and ports(second) == [])
                return
            if way == "reset":
                assert (await w.admin.action(server, "os-resetState", {"state": "active"})).status == 202
                await second.until(lambda: not second.servers())
                await first.until(lambda: first.servers()[0].leave is None)
                assert await taken(w) == [(1, 128), (0, 0)]
                return
            await force_down(w, "h1", True)
            assert (await w.admin.action(server, "evacuate", {}, "2.68")).status == 200
            second.live = second._moved
            await w.demo.until(server, lambda shown: shown["OS-EXT-STS:task_state"] is None)
            await second.until(lambda: second.servers()[0].come is second.servers()[0].arrive is None)
            assert await taken(w) == [(0, 0), (1, 128)] and await bindings(w, server) == [("h2", "ACTIVE")]

    run(test())


def test_a_server_that_has_gone_over_is_not_made_anew_by_a_reset(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            first, second, server = await under_way(w)
            move = str(first.servers()[0].leave)
            await said(first, LiveReport(move, "sent"))
            await said(second, LiveReport(move, "loaded"))
            await second.until(lambda: second.servers()[0].arrive == move)
            for state in ("error", "active"):
                assert (await w.admin.action(server, "os-resetState", {"state": state})).status == 202
            await w.demo.get(f"{C}/servers/{server}")
            assert second.servers()[0].arrive == move, "else its host takes the guest for rubbish"
            await said(second, None)
            await second.until(lambda: second.servers()[0].arrive is None)
            assert await place(w, server) == ("h2", "h2")

    run(test())


def test_a_guest_that_dies_as_it_arrives_has_moved_all_the_same(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            first, second, server = await under_way(w)
            move = str(first.servers()[0].leave)
            await said(first, LiveReport(move, "sent"))
            await said(second, LiveReport(move, "loaded"))
            await second.until(lambda: second.servers()[0].arrive == move)
            report = ServerReport(server, "error", 0, 0, 0, "its QEMU ended")
            await second.say(Report(second.revision, (), (), (report,)))
            await w.demo.until_status(server, "ERROR")
            await said(second, None)
            await ends(w, server)
            assert await place(w, server) == ("h2", "h2") and await status(w) == "completed"

    run(test())


def test_a_host_that_dies_on_the_way_is_not_waited_for(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            first, second, server = await under_way(w)
            await said(first, LiveReport(str(first.servers()[0].leave), "sent"))
            await second.leave()
            await w.forget("h2")
            await w.demo.until(server, lambda shown: shown["OS-EXT-STS:task_state"] is None)
            await first.until(lambda: first.servers()[0].leave is None)
            assert await place(w, server) == ("h1", "h1") and await status(w) == "error"

    run(test())


def test_who_may_migrate_a_server_live_and_where_to(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            await w.agent("h1")
            server = await started(w)
            old = {"host": None, "block_migration": True, "disk_over_commit": False}
            assert (await w.demo.action(server, "os-migrateLive", LIVE, "2.79")).status == 403
            for version, argument, code in (
                ("2.1", LIVE, 400), ("2.1", {**old, "block_migration": "auto"}, 400), ("2.25", old, 400),
                ("2.25", {"host": None}, 400), ("2.25", {**LIVE, "force": False}, 400),
                ("2.30", {**LIVE, "force": True}, 400), ("2.68", {**LIVE, "host": "h1", "force": True}, 400),
                ("2.30", {**LIVE, "host": "nosuch"}, 400), ("2.79", {**LIVE, "host": "nosuch"}, 400),
                ("2.30", {**LIVE, "host": "h1"}, 400), ("2.30", {**LIVE, "host": "h2"}, 400),
                ("2.25", {"host": None, "block_migration": False}, 400), ("2.1", old, 400),
            ):  # fmt: skip
                answer = await w.admin.action(server, "os-migrateLive", argument, version)
                assert answer.status == code, (version, argument, answer.text)
            assert (await w.admin.get(f"{C}/os-migrations", "2.80"))["migrations"] == []
            # Since 2.34 nobody waits for what is found out about hosts.
            for argument in (LIVE, {**LIVE, "host": "h1"}, {**LIVE, "host": "h2"}, {**LIVE, "block_migration": False}):
                assert (await w.admin.action(server, "os-migrateLive", argument, "2.34")).status == 202
                assert await status(w) == "error" and (await actions(w, server))[0] == ("live-migration", "Error")
            assert (await w.demo.server(server))["status"] == "ACTIVE"
            second = await w.agent("h2", vcpus=0)
            assert (await w.admin.action(server, "os-migrateLive", {**old, "host": "h2"}, "2.1")).status == 400
            await second.leave()
            second = await w.agent("h2")
            assert (await w.demo.action(server, "os-stop")).status == 202
            await w.demo.until_status(server, "SHUTOFF")
            assert (await w.admin.action(server, "os-migrateLive", LIVE, "2.34")).status == 409
            assert (await w.demo.action(server, "os-start")).status == 202
            await ends(w, server)
            assert (await w.demo.action(server, "pause")).status == 202
            await w.demo.until_status(server, "PAUSED")
            assert (await w.admin.action(server, "os-migrateLive", {**old, "host": "h2"}, "2.1")).status == 202
            await w.demo.until_status(server, "PAUSED")
            assert await place(w, server) == ("h2", "h2"), "a guest that stands still goes as well"

    run(test())


async def in_trunk(w: World) -> tuple[str, list[str]]:
    """A server whose port, on a VLAN, is the parent of a trunk, and the ports of that: parent, subport, in a tunnel."""
    made = []
    for kind in ("vlan", "vxlan"):
        values = {"name": kind, "project_id": w.demo.project_id, "provider:network_type": kind, "mtu": 1400}
        network = (await w.admin.post("/network/v2.0/networks", {"network": values}))["network"]["id"]
        port = await w.demo.post("/network/v2.0/ports", {"port": {"network_id": network}})
        made.append(str(port["port"]["id"]))
    inside = {"port_id": made[1], "segmentation_type": "vlan", "segmentation_id": 7}
    await w.demo.post("/network/v2.0/trunks", {"trunk": {"port_id": made[0], "sub_ports": [inside]}})
    server = await w.demo.boot(imageRef=await w.demo.image(), networks=[{"port": made[0]}])
    await w.demo.until_status(server, "ACTIVE")
    return server, made


def in_trunks(agent: FakeAgent) -> dict[str, bool]:
    """Of the ports in trunks on a host, by id, whether they carry anything."""
    owned = [item for item in agent.objects.values() if isinstance(item, IntentPort)]
    return {item.id: item.admin_state_up for item in owned if item.trunk is not None}


@pytest.mark.parametrize("ending", ["arrives", "fails"])
def test_subports_go_with_the_guest_of_their_parent(tmp_path: Path, ending: str) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            first = await w.agent("h1")
            server, (parent, sub) = await in_trunk(w)
            second = await w.agent("h2")
            first.live, second.live = working, silent
            assert (await w.admin.action(server, "os-migrateLive", LIVE, "2.79")).status == 202
            await second.until(lambda: bool(second.servers()))
            await first.until(lambda: first.servers()[0].leave is not None)
            assert in_trunks(first) == {parent: True, sub: True} and in_trunks(second) == {parent: False, sub: False}
            shown = (await w.admin.get(f"/network/v2.0/ports/{sub}"))["port"]
            assert shown["binding:host_id"] == "h1", "Neutron binds a subport where its parent is, and not before"

            move = str(first.servers()[0].leave)
            if ending == "fails":
                await said(second, LiveReport(move, "failed", "no room for it"))
                await ends(w, server)
                await second.until(lambda: in_trunks(second) == {})
                assert in_trunks(first) == {parent: True, sub: True}
                return
            await said(first, LiveReport(move, "sent", None, FIGURES))
            await said(second, LiveReport(move, "loaded"))
            await second.until(lambda: in_trunks(second) == {parent: True, sub: True})
            await first.until(lambda: in_trunks(first) == {})
            shown = (await w.admin.get(f"/network/v2.0/ports/{sub}"))["port"]
            assert (shown["binding:host_id"], shown["binding:vif_type"]) == ("h2", "ovs")
            assert (await place(w, server))[0] == "h2"

    run(test())


def test_a_guest_goes_nowhere_where_a_subport_of_its_has_no_place(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            first = await w.agent("h1")
            server, _ = await in_trunk(w)
            second = FakeAgent(w.cloud, "h2")
            second.hello = msgspec.structs.replace(second.hello, tunnel_types=())
            await second.connect()
            refused = await w.admin.action(server, "os-migrateLive", LIVE, "2.25")
            assert refused.status == 400 and "tunnel" in refused.message, refused.text
            await first.until(lambda: len(in_trunks(first)) == 2)
            assert in_trunks(second) == {}, "nothing is left of what was tried"

    run(test())

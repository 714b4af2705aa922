"""What hosts have and servers take, as Placement shows it and Compute obeys."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import uuid4

from sqlalchemy import func, select

from deuteron.rules.compute import claims
from deuteron.store.database import Database, Tx
from deuteron.store.placement_tables import allocations, inventories
from tests.stores import older_engine
from tests.unit.api_compute.harness import World, run
from tests.unit.api_placement.harness import Placement, placement, taken

TINY = {"VCPU": 1, "MEMORY_MB": 128, "DISK_GB": 1}
"""What a server of flavor 42 takes."""


def refuse_wrong_sums(tx: Tx) -> None:
    summed = select(allocations.c.provider_id, allocations.c.resource_class, func.sum(allocations.c.used))
    counted = {(row[0], row[1]): row[2] for row in tx.all(summed.group_by(*summed.selected_columns[:2]))}
    of = inventories.c
    kept = {(row[0], row[1]): row[2] for row in tx.all(select(of.provider_id, of.resource_class, of.used)) if row[2]}
    assert kept == counted


async def booted(world: World, **wish: Any) -> tuple[Any, str]:
    """An agent and the id of a server that was asked for."""
    agent = await world.agent("h1")
    image, network = await world.demo.image(), await world.demo.network()
    return agent, await world.demo.boot(imageRef=image, networks=[{"uuid": network}], **wish)


async def host_of(world: World) -> str:
    return str((await world.admin.get("/compute/v2.1/os-hypervisors", "2.53"))["hypervisors"][0]["id"])


def test_a_host_is_a_provider_and_a_server_a_consumer(tmp_path: Path) -> None:
    async def test() -> None:
        async with placement(tmp_path) as (world, api):
            _, server = await booted(world)
            (found,) = (await api.get("/resource_providers"))["resource_providers"]
            assert (found["uuid"], found["name"]) == (await host_of(world), "h1")
            one = f"/resource_providers/{found['uuid']}"
            stock = (await api.get(f"{one}/inventories"))["inventories"]
            assert {name: (each["allocation_ratio"], each["reserved"]) for name, each in stock.items()} == {
                "VCPU": (16.0, 0), "MEMORY_MB": (1.5, 512), "DISK_GB": (1.0, 0),
            }  # fmt: skip
            assert (await api.get(f"{one}/usages"))["usages"] == TINY
            mine = await api.get(f"/allocations/{server}")
            assert mine["allocations"][found["uuid"]]["resources"] == TINY
            assert (mine["project_id"], mine["consumer_type"]) == (world.demo.project_id, "INSTANCE")
            own = f"/usages?project_id={world.demo.project_id}"
            assert (await Placement(world.demo).get(own))["usages"]["INSTANCE"]["VCPU"] == 1
            assert (await Placement(world.demo).refused("GET", f"/usages?project_id={world.admin.project_id}"))[
                0
            ] == 403
            assert "COMPUTE_NODE" in (await api.get(f"{one}/traits"))["traits"]
            await world.demo.request("DELETE", f"/compute/v2.1/servers/{server}")
            await world.demo.until_gone(f"/compute/v2.1/servers/{server}")
            assert set((await api.get(f"{one}/usages"))["usages"].values()) == {0}
            with world.cloud.database.read() as tx:
                refuse_wrong_sums(tx)

    run(test())


def test_servers_are_placed_by_what_placement_has(tmp_path: Path) -> None:
    """A ratio that an operator sets counts, and so does what somebody else takes of a host; both outlive its agent."""

    async def test() -> None:
        async with placement(tmp_path) as (world, api):
            agent, first = await booted(world)
            host = await host_of(world)
            one = f"/resource_providers/{host}"
            stock = await api.get(f"{one}/inventories/DISK_GB")
            await api.do("PUT", f"{one}/inventories/DISK_GB", {**stock, "reserved": stock["total"] - 1})
            image = (await world.demo.get(f"/compute/v2.1/servers/{first}"))["server"]["image"]["id"]
            wish = {"imageRef": image, "networks": "none"}
            refused = await world.demo.boot("2.37", **wish)
            fault = (await world.demo.server(refused))["fault"]["message"]
            assert "h1: 1 GiB of disk wanted, 0 GiB free" in fault
            await agent.leave()
            agent = await world.agent("h1")
            assert (await api.get(f"{one}/inventories/DISK_GB"))["reserved"] == stock["total"] - 1
            shown = await api.get(f"{one}/inventories/DISK_GB")
            await api.do("PUT", f"{one}/inventories/DISK_GB", {**shown, "reserved": 0})
            whole = {"DISK_GB": stock["total"] - 1}
            other = f"/allocations/{uuid4()}"
            await api.do("PUT", other, taken(world.admin, host, **whole))
            assert (await world.demo.server(await world.demo.boot("2.37", **wish)))["status"] == "ERROR"
            await api.do("DELETE", other)
            assert (await world.demo.server(await world.demo.boot("2.37", **wish)))["status"] == "BUILD"

    run(test())


def test_a_resize_holds_what_the_server_was_until_it_is_confirmed(tmp_path: Path) -> None:
    async def test() -> None:
        async with placement(tmp_path) as (world, api):
            _, server = await booted(world)
            await world.demo.until_status(server, "ACTIVE")
            host, held = await host_of(world), f"/allocations/{claims.held_id(server)}"
            assert (await world.demo.action(server, "resize", {"flavorRef": "1"})).status == 202
            await world.demo.until(server, lambda found: found["status"] == "VERIFY_RESIZE")
            assert (await api.get(held))["allocations"][host]["resources"] == TINY
            assert (await api.get(held))["consumer_type"] == "MIGRATION"
            now = (await api.get(f"/allocations/{server}"))["allocations"][host]["resources"]
            assert now == {"VCPU": 1, "MEMORY_MB": 512, "DISK_GB": 1}
            assert (await world.demo.action(server, "confirmResize")).status == 204
            assert (await api.get(held))["allocations"] == {}
            with world.cloud.database.read() as tx:
                refuse_wrong_sums(tx)

    run(test())


def test_a_host_that_takes_no_servers_has_the_trait_of_it(tmp_path: Path) -> None:
    async def test() -> None:
        async with placement(tmp_path) as (world, api):
            await world.agent("h1")
            path = f"/resource_providers/{await host_of(world)}/traits"
            for verb, there in (("disable", True), ("enable", False)):
                body = {"host": "h1", "binary": "nova-compute"}
                answer = await world.admin.request("PUT", f"/compute/v2.1/os-services/{verb}", body)
                assert answer.status == 200, answer.body
                assert ("COMPUTE_STATUS_DISABLED" in (await api.get(path))["traits"]) is there

    run(test())


def test_servers_of_an_older_database_are_counted_once(tmp_path: Path) -> None:
    flavor = '{"id":"1","name":"f","vcpus":2,"ram":64,"disk":3,"ephemeral":1,"swap":0}'
    hello = '{"roles":["compute"],"vcpus":4,"memory_mib":2048,"disk_gib":20}'
    engine = older_engine(
        tmp_path,
        "INSERT INTO hosts (name, id, connected, realised_revision, hello, usage, problems, disabled_services)"
        f" VALUES ('h1', 'one', false, 0, '{hello}', '{{}}', '[]', '{{}}')",
        "INSERT INTO compute_servers (id, project_id, user_id, host, flavor)"
        f" VALUES ('s', 'a', 'u', 'h1', '{flavor}'), ('t', 'a', 'u', NULL, '{flavor}')",
    )
    database = Database(engine)
    with database.read() as tx:
        refuse_wrong_sums(tx)
        of = inventories.c
        assert {row[0]: row[1] for row in tx.all(select(of.resource_class, of.used))} == {
            "VCPU": 2, "MEMORY_MB": 64, "DISK_GB": 4,
        }  # fmt: skip
    database.close()

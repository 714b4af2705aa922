"""The sums of what projects have and hosts carry say what counting says."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from pathlib import Path

import msgspec
from sqlalchemy import func, select

from deuteron.model.compute import Flavor
from deuteron.store.compute_tables import servers
from deuteron.store.database import Database, Tx
from deuteron.store.hosts_tables import slots
from deuteron.store.network_tables import TABLES
from deuteron.store.usage import usage
from tests.stores import older_engine
from tests.unit.api_compute import harness as compute
from tests.unit.api_network.harness import DEMO, HOST, cloud_in

Sums = dict[tuple[str, str, str], int]


def kept(tx: Tx) -> Sums:
    return {(scope, resource, owner): amount for scope, resource, owner, amount in tx.all(select(usage)) if amount}


def counted(tx: Tx) -> Sums:
    found: Counter[tuple[str, str, str]] = Counter()
    for kind, table in TABLES.items():
        if "project_id" not in table.c:  # of a part of another
            continue
        project = table.c.project_id
        for owner, amount in tx.all(select(project, func.count()).where(project.is_not(None)).group_by(project)):
            found[("project", kind, owner)] += amount
    for host in tx.scalars(select(slots.c.host).where(slots.c.kind == "port")):
        found[("host", "ports", host)] += 1
    promised = TABLES["port"].c.promised
    for said in tx.scalars(select(promised).where(promised.is_not(None))):
        for part in said["parts"].values():
            for resource, amount in part["resources"].items():
                found[("host", f"{resource}:{part['provider']}", said["host"])] += amount
    for project_id, host, raw in tx.all(select(servers.c.project_id, servers.c.host, servers.c.flavor)):
        flavor = msgspec.convert(raw, Flavor)
        for name, amount in (("instances", 1), ("cores", flavor.vcpus), ("ram", flavor.ram)):
            found[("project", name, project_id)] += amount
        if host:
            found[("host", "servers", host)] += 1
    return {key: amount for key, amount in found.items() if amount}


def test_what_network_objects_come_and_go_is_in_the_sums(tmp_path: Path) -> None:
    dice = random.Random(11)
    with cloud_in(tmp_path) as client:
        networks = [client.network()["id"] for _ in range(3)]
        for number, network_id in enumerate(networks):
            client.subnet(network_id, f"10.{number}.0.0/24")
        ports = [
            client.port(dice.choice(networks), "admin", project_id=DEMO, **{"binding:host_id": dice.choice(["", HOST])})
            for _ in range(20)
        ]
        group = client.post("/v2.0/security-groups", {"security_group": {"name": "g"}}, "demo")["security_group"]["id"]
        shared = client.network("admin", shared=True, **{"router:external": True})["id"]
        router = client.post("/v2.0/routers", {"router": {}}, "demo")["router"]["id"]
        subnet = client.get(f"/v2.0/subnets?network_id={networks[0]}", "demo")["subnets"][0]["id"]
        client.put(f"/v2.0/routers/{router}/add_router_interface", {"subnet_id": subnet}, "demo")
        with client.cloud.database.read() as tx:
            assert kept(tx) == counted(tx)
            assert kept(tx)[("project", "port", DEMO)] > 20
        for port in ports[::2]:
            client.delete(f"/v2.0/ports/{port['id']}")
        client.put(f"/v2.0/ports/{ports[1]['id']}", {"port": {"binding:host_id": HOST}})
        client.put(f"/v2.0/networks/{shared}", {"network": {"shared": False}})
        client.delete(f"/v2.0/networks/{shared}")
        client.put(f"/v2.0/routers/{router}/remove_router_interface", {"subnet_id": subnet}, "demo")
        client.delete(f"/v2.0/routers/{router}", "demo")
        client.delete(f"/v2.0/security-groups/{group}", "demo")
        with client.cloud.database.read() as tx:
            assert kept(tx) == counted(tx)


def test_what_servers_take_is_in_the_sums_and_leaves_with_them(tmp_path: Path) -> None:
    async def test() -> None:
        async with compute.world(tmp_path) as world:
            await world.agent("h1")
            image, network = await world.demo.image(), await world.demo.network()
            wish = {"imageRef": image, "networks": [{"uuid": network}]}
            first = await world.demo.boot(**wish)
            await world.demo.boot(**wish)
            with world.cloud.database.read() as tx:
                assert kept(tx) == counted(tx)
                assert kept(tx)[("host", "servers", "h1")] == 2
            await world.demo.request("DELETE", f"/compute/v2.1/servers/{first}")
            await world.demo.until_gone(f"/compute/v2.1/servers/{first}")
            with world.cloud.database.read() as tx:
                assert kept(tx) == counted(tx)
                assert kept(tx)[("host", "servers", "h1")] == 1

    asyncio.run(test())


def test_an_older_database_is_counted_once(tmp_path: Path) -> None:
    flavor = '{"id":"1","name":"f","vcpus":2,"ram":64,"disk":3,"ephemeral":1,"swap":0}'
    engine = older_engine(
        tmp_path,
        "INSERT INTO network_networks (id, project_id) VALUES ('n', 'a'), ('m', 'a'), ('o', NULL)",
        "INSERT INTO host_slots VALUES ('h1', 'port', 'p', 16, 'n'), ('h1', 'vlan', 'n', 1, NULL)",
        "INSERT INTO compute_servers (id, project_id, host, flavor)"
        f" VALUES ('s', 'a', 'h1', '{flavor}'), ('t', 'it''s', NULL, '{flavor}')",
    )
    database = Database(engine)
    with database.read() as tx:
        assert kept(tx) == {
            ("project", "network", "a"): 2, ("host", "ports", "h1"): 1,
            ("project", "instances", "a"): 1, ("project", "cores", "a"): 2, ("project", "ram", "a"): 64,
            ("project", "instances", "it's"): 1, ("project", "cores", "it's"): 2, ("project", "ram", "it's"): 64,
            ("host", "servers", "h1"): 1,
        }  # fmt: skip
    database.close()

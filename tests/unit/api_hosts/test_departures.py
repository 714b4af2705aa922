"""Hosts that come to a running API and leave it: who is known, what keeps them, and that nothing is left of them."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec

from deuteron.model.departures import Carried
from deuteron.model.settings import HostEntry
from tests.unit.api_compute.harness import Answer, Client, World, run, world
from tests.unit.api_hosts.agent import FakeAgent

SERVICES = "/compute/v2.1/os-services"


async def _carried(w: World, host: str, token: str) -> Answer:
    headers = {"authorization": f"Bearer {token}"}
    return await Client(w.app).request("GET", f"/internal/hosts/{host}/carried", headers=headers, unix=True)


async def _service(w: World, host: str) -> str:
    (found,) = (await w.admin.get(f"{SERVICES}?binary=nova-compute&host={host}", "2.53"))["services"]
    return f"{SERVICES}/{found['id']}"


async def _agents(w: World, host: str) -> list[dict[str, object]]:
    found: list[dict[str, object]] = (await w.admin.get(f"/network/v2.0/agents?host={host}"))["agents"]
    return found


def test_a_host_is_known_from_when_the_settings_have_it_and_may_connect(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            settings = w.cloud.settings
            assert (await _carried(w, "h3", "token-h3")).status == 401
            entries = dict(settings.hosts)
            assert settings.take_hosts({**entries, "h3": HostEntry(token="token-h3")}) == ({"h3"}, set())
            await w.agent("h3")
            assert {each["alive"] for each in await _agents(w, "h3")} == {True}
            assert settings.take_hosts(entries) == (set(), {"h3"})
            assert (await _carried(w, "h3", "token-h3")).status == 401

    run(test())


def test_a_host_is_told_with_what_it_carries_to_its_owner_alone(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            await w.agent("h1")
            assert msgspec.json.decode((await _carried(w, "h1", "token-h1")).body, type=Carried) == Carried()
            await w.demo.network()
            server = await w.demo.boot("2.37", imageRef=await w.demo.image(), networks="none")
            await w.demo.until_status(server, "ACTIVE")
            router = {"router": {"name": "r"}}
            made = (await w.admin.post("/network/v2.0/routers", router))["router"]["id"]
            (l3,) = [each["id"] for each in await _agents(w, "h1") if each["agent_type"] == "L3 agent"]
            await w.admin.post(f"/network/v2.0/agents/{l3}/l3-routers", {"router_id": made})
            found = msgspec.json.decode((await _carried(w, "h1", "token-h1")).body, type=Carried)
            assert [one.id for one in found.servers] == [server]
            assert [one.name for one in found.routers] == ["r"]
            assert [one.name for one in found.networks] == ["net1"]
            assert found.words()[-1] == "DHCP of 1 network (net1)"
            assert (await _carried(w, "h1", "token-h2")).status == 401

    run(test())


def test_the_service_of_a_host_goes_when_the_host_has_left_and_carries_nothing(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            agents = {name: await w.agent(name) for name in ("h1", "h2")}
            await w.demo.network()
            server = await w.demo.boot("2.37", imageRef=await w.demo.image(), networks="none")
            await w.demo.until_status(server, "ACTIVE")
            home = (await w.admin.server(server))["OS-EXT-SRV-ATTR:host"]
            other = "h2" if home == "h1" else "h1"
            for name in (home, other):
                body = {"aggregate": {"name": name}}
                made = (await w.admin.post("/compute/v2.1/os-aggregates", body))["aggregate"]["id"]
                await w.admin.post(f"/compute/v2.1/os-aggregates/{made}/action", {"add_host": {"host": name}})

            refused = await w.admin.request("DELETE", await _service(w, other), version="2.53")
            assert refused.status == 409 and "in the cloud's topology" in refused.message
            entries = dict(w.cloud.settings.hosts)
            w.cloud.settings.take_hosts({})
            refused = await w.admin.request("DELETE", await _service(w, other), version="2.53")
            assert refused.status == 409, "its agent is connected"
            for name, agent in agents.items():
                await _gone(w, name, agent)
            refused = await w.admin.request("DELETE", await _service(w, home), version="2.53")
            assert refused.status == 409 and f"host {home} carries 1 server (" in refused.message
            kept = [each["hosts"] for each in (await w.admin.get("/compute/v2.1/os-aggregates"))["aggregates"]]
            assert sorted(kept) == [["h1"], ["h2"]], "what was refused changes nothing"

            # The network may be where the server is not.
            found = msgspec.json.decode((await _with(w, entries, other)).body, type=Carried)
            for network in found.networks:
                (dhcp,) = [each["id"] for each in await _agents(w, other) if each["agent_type"] == "DHCP agent"]
                path = f"/network/v2.0/agents/{dhcp}/dhcp-networks/{network.id}"
                assert (await w.admin.request("DELETE", path)).status == 204
            answer = await w.admin.request("DELETE", await _service(w, other), version="2.53")
            assert answer.status == 204, answer.body
            assert (await w.admin.get(f"{SERVICES}?host={other}"))["services"] == []
            assert await _agents(w, other) == []
            providers = (await w.admin.get("/placement/resource_providers"))["resource_providers"]
            assert [each["name"] for each in providers] == [home]
            kept = [each["hosts"] for each in (await w.admin.get("/compute/v2.1/os-aggregates"))["aggregates"]]
            assert sorted(kept) == [[], [home]]

    run(test())


def test_an_agent_of_a_host_that_left_is_deleted_with_its_host(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            agent = await w.agent("h2")
            path = f"/network/v2.0/agents/{(await _agents(w, 'h2'))[0]['id']}"
            assert (await w.admin.request("DELETE", path)).status == 409
            w.cloud.settings.take_hosts({"h1": w.cloud.settings.hosts["h1"]})
            await _gone(w, "h2", agent)
            assert (await w.demo.request("DELETE", path)).status in (403, 404)
            assert (await w.admin.request("DELETE", path)).status == 204
            assert await _agents(w, "h2") == []

    run(test())


async def _gone(w: World, host: str, agent: FakeAgent) -> None:
    await agent.leave()
    while any(each["alive"] for each in await _agents(w, host)):
        await asyncio.sleep(0.01)


async def _with(w: World, entries: dict[str, HostEntry], host: str) -> Answer:
    """What a host that left carries, asked as if it had not."""
    w.cloud.settings.take_hosts(entries)
    try:
        return await _carried(w, host, f"token-{host}")
    finally:
        w.cloud.settings.take_hosts({})

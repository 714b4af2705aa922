"""os-resetState: what an administrator says a server is stays so, and what Nova corrects is corrected."""

from __future__ import annotations

import asyncio
from pathlib import Path

from deuteron.model.intent import Report, ServerReport
from deuteron.rules.hosts import registry
from tests.unit.api_compute.harness import World, run, world
from tests.unit.api_hosts.agent import FakeAgent
from tests.waiting import until


async def reset(w: World, server: str, state: str) -> None:
    assert (await w.admin.action(server, "os-resetState", {"state": state})).status == 202


async def everything_is_said(w: World, agent: FakeAgent, *reports: ServerReport) -> FakeAgent:
    """All that a host may say by itself: each report, all again, and again whole after a new connection."""
    for report in reports:
        await agent.say(Report(-1, servers=(report,)))
    await agent.report()
    await agent.leave()
    back = await w.agent(agent.host)
    for report in reports:
        await back.say(Report(-1, servers=(report,)))
    await is_recorded(back)
    return back


async def is_recorded(agent: FakeAgent) -> None:
    """Once what the agent said so far is written: reports are written in their order, and this one leaves a trace."""
    last = agent.revision + 1_000_000
    await agent.say(Report(last))

    def written() -> bool:
        with agent.cloud.database.read() as tx:
            host = registry.find(tx, agent.cloud.settings, agent.host)
            return host is not None and host.realised_revision == last

    await until("the report is written", lambda: asyncio.to_thread(written))


def test_an_error_that_an_administrator_set_stays_until_something_is_asked_for(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            agent = await w.agent("h1")
            server = await w.admin.boot(imageRef=await w.admin.image(), networks=[])
            await w.admin.until_status(server, "ACTIVE")
            await reset(w, server, "error")
            said = [ServerReport(server, "running"), ServerReport(server, "building"),
                    ServerReport(server, "crashed"), ServerReport(server, "running")]  # fmt: skip
            agent = await everything_is_said(w, agent, *said)
            shown = await w.admin.server(server)
            assert (shown["status"], shown["OS-EXT-STS:vm_state"]) == ("ERROR", "error")
            assert shown["OS-EXT-STS:power_state"] == 1, "what is true of the domain is still told"
            assert (await w.admin.action(server, "reboot", {"type": "HARD"})).status == 202
            await w.admin.until_status(server, "ACTIVE")

    run(test())


def test_a_server_that_an_administrator_calls_active_is_so_unless_its_domain_is_off(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            agent = await w.agent("h1")
            server = await w.admin.boot(imageRef=await w.admin.image(), networks=[])
            await w.admin.until_status(server, "ACTIVE")
            agent.faults[server] = ("the disk is broken", "")
            await agent.report()
            await w.admin.until(server, lambda found: found["status"] == "ERROR")
            await reset(w, server, "active")
            fault = ServerReport(server, "error", fault="the disk is broken")
            agent.faults.clear()
            agent = await everything_is_said(w, agent, fault)
            assert (await w.admin.server(server))["status"] == "ACTIVE"
            await agent.say(Report(-1, servers=(ServerReport(server, "shutdown"),)))
            await w.admin.until(server, lambda found: found["status"] == "SHUTOFF")

    run(test())

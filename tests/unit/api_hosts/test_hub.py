"""The line to the agents, spoken in process: who may connect, what is sent, what reports do to rows."""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest
from sqlalchemy import select, update

from deuteron.agent.intents import keys
from deuteron.api.parts import Parts
from deuteron.hub import hub as hubs
from deuteron.hub.hub import Hub
from deuteron.model.errors import Unavailable
from deuteron.model.intent import Answer, Change, Heartbeat, PortReport, Report, ServerReport, Snapshot
from deuteron.rules.hosts import registry
from deuteron.store.compute_tables import servers
from deuteron.store.database import KEPT_REVISIONS, Tx
from deuteron.store.hosts_tables import hosts
from deuteron.store.network_tables import ports
from tests.stores import open_database
from tests.unit.api_hosts import agent as agents
from tests.unit.api_hosts.agent import FakeAgent
from tests.unit.api_hosts.rows import Rows, settings
from tests.unit.api_hosts.test_views import seed, whole
from tests.waiting import PATIENCE_S, until


@asynccontextmanager
async def running(state: Path, kept_revisions: int = KEPT_REVISIONS) -> AsyncIterator[Parts]:
    """A cloud of a store and a hub that runs."""
    said = settings(state, "h1", "h2")
    database = open_database(state, kept_revisions=kept_revisions)
    hub = Hub(said, database)
    cloud = Parts(said, database, cast(Any, None), cast(Any, None), hub)
    hub.start(asyncio.get_running_loop())
    try:
        yield cloud
    finally:
        await hub.stop()
        database.close()


def write(cloud: Parts, function: Callable[[Rows], None]) -> None:
    cloud.database.write(lambda tx: function(Rows(tx)))


def scalar(cloud: Parts, statement: Any) -> Any:
    with cloud.database.read() as tx:
        return tx.scalar(statement)


def port_status(cloud: Parts, id: str) -> Any:
    return scalar(cloud, select(ports.c["status"]).where(ports.c["id"] == id))


def _has_heard(agent: FakeAgent, revision: int) -> bool:
    return agent.revision >= revision


def _set_mtu(mtu: int, tx: Tx) -> None:
    Rows(tx).set_mtu("net1", mtu)


def run(test: Any) -> None:
    asyncio.run(asyncio.wait_for(test, 4 * PATIENCE_S))


def test_a_host_without_the_right_token_is_refused(tmp_path: Path) -> None:
    async def test() -> None:
        async with running(tmp_path) as cloud:
            for host, token in (("h1", "wrong"), ("h1", ""), ("stranger", ""), ("stranger", "token-h1")):
                agent = await FakeAgent(cloud, host, token=token).connect(hello=False)
                assert (agent.accepted, agent.closed) == (False, 4401)

    run(test())


def test_a_connection_begins_with_the_whole_intent_and_goes_on_with_changes(tmp_path: Path) -> None:
    async def test() -> None:
        async with running(tmp_path) as cloud:
            write(cloud, seed)
            agent = await FakeAgent(cloud, "h1").connect()
            assert isinstance(agent.messages[0], Snapshot)
            assert ("port", "vm1") in agent.objects and ("peer", "h2") in agent.objects
            write(cloud, lambda rows: rows.set_mtu("net1", 1400))
            await agent.until(lambda: len(agent.messages) > 1)
            await until("the port is ACTIVE", lambda: port_status(cloud, "vm1") == "ACTIVE")
            assert set(agent.objects) == keys(whole(cloud, "h1"))

    run(test())


def test_reports_make_ports_active_and_name_the_realised_revision(tmp_path: Path) -> None:
    async def test() -> None:
        async with running(tmp_path) as cloud:
            write(cloud, seed)
            agent = await FakeAgent(cloud, "h1").connect()
            await until("the port is ACTIVE", lambda: port_status(cloud, "vm1") == "ACTIVE")
            assert port_status(cloud, "vm2") == "DOWN", "the other host's port is none of h1's business"
            await agent.say(Report(agent.revision, (PortReport("vm2", "ACTIVE"),), problems=(("flow x", "no bridge"),)))
            told = select(hosts.c.problems).where(hosts.c.name == "h1")
            await until("problems are recorded", lambda: scalar(cloud, told), [["flow x", "no bridge"]].__eq__)
            assert port_status(cloud, "vm2") == "DOWN"
            await until("revision 1 is realised", lambda: cloud.hub.realised("h1", 1))

    run(test())


def test_a_port_taken_off_and_put_back_between_two_messages_becomes_active_again(tmp_path: Path) -> None:
    async def test() -> None:
        async with running(tmp_path) as cloud:
            write(cloud, seed)
            agent = await FakeAgent(cloud, "h1").connect()
            await until("the port is ACTIVE", lambda: port_status(cloud, "vm1") == "ACTIVE")

            def off_and_on(rows: Rows) -> None:
                rows.bind("vm1", None)
                rows.bind("vm1", "h1")

            write(cloud, off_and_on)
            await until(
                "the port is ACTIVE again, though the agent saw no change",
                lambda: port_status(cloud, "vm1") == "ACTIVE",
            )
            assert agent.closed is None

    run(test())


def test_a_second_connection_replaces_the_first(tmp_path: Path) -> None:
    async def test() -> None:
        async with running(tmp_path) as cloud:
            first = await FakeAgent(cloud, "h1").connect()
            await FakeAgent(cloud, "h1").connect()
            assert first.closed == 4409
            await first.leave()
            assert scalar(cloud, select(hosts.c.connected)), "the older connection's end is not the host's end"

    run(test())


def test_a_host_is_alive_while_it_is_heard_and_connected(tmp_path: Path) -> None:
    async def test() -> None:
        async with running(tmp_path) as cloud:

            def alive() -> list[str]:
                with cloud.database.read() as tx:
                    return [host.name for host in registry.all_hosts(tx, cloud.settings) if host.alive]

            agent = await FakeAgent(cloud, "h1").connect()
            await agent.say(Heartbeat(memory_used_mib=256, running_vms=2))
            await until("a heartbeat is recorded", lambda: scalar(cloud, select(hosts.c.usage)) != {})
            assert alive() == ["h1"]
            await agent.leave()
            await until("the host is alive no more", lambda: alive() == [])

    run(test())


def test_hosts_stay_connected_while_the_api_stands_still(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What they say then waits to be read; only one that says nothing afterwards is silent."""
    monkeypatch.setattr(hubs, "REAP_S", 0.1)
    monkeypatch.setattr(registry, "ALIVE_S", 1.0)
    monkeypatch.setattr(agents, "_BEAT_S", 0.2)

    async def test() -> None:
        async with running(tmp_path) as cloud:
            talks = await FakeAgent(cloud, "h1").connect()
            silent = await FakeAgent(cloud, "h2").connect()
            for _ in range(3):
                time.sleep(1.5)  # the loop's: it is what stands still
                await asyncio.sleep(0.3)
                assert talks.closed is None and silent.closed is None
            assert silent.beating is not None
            silent.beating.cancel()
            await silent.until(lambda: silent.closed is not None)
            assert talks.closed is None
            await talks.leave()

    run(test())


def test_a_host_that_was_connected_when_the_api_died_is_awaited_from_its_next_start_on(tmp_path: Path) -> None:
    async def test() -> None:
        async with running(tmp_path) as cloud:
            await FakeAgent(cloud, "h1").connect()
            await FakeAgent(cloud, "h2").connect()

            def as_after_a_long_absence(tx: Tx) -> None:
                tx.execute(update(hosts).values(last_heard="2020-01-01T00:00:00.000+00:00"))
                registry.disconnected(tx, "h2")
                registry.reset(tx)

            await asyncio.to_thread(cloud.database.write, as_after_a_long_absence)
            with cloud.database.read() as tx:
                assert not [host for host in registry.all_hosts(tx, cloud.settings) if host.alive]
                assert (registry.is_awaited(tx, "h1"), registry.is_awaited(tx, "h2")) == (True, False)

    run(test())


def test_questions_reach_the_agent_and_have_a_deadline(tmp_path: Path) -> None:
    async def test() -> None:
        async with running(tmp_path) as cloud:
            with pytest.raises(Unavailable, match="not connected"):
                await cloud.hub.ask("h1", "console_log", "s1")
            agent = await FakeAgent(cloud, "h1").connect()
            assert await cloud.hub.ask("h1", "console_log", "s1", 10) == "console_log of s1"
            agent.answers = lambda ask: Answer(ask.number, error="there is no console")
            with pytest.raises(Unavailable, match="there is no console"):
                await cloud.hub.ask("h1", "console_log", "s1")
            agent.answers = lambda ask: Answer(-ask.number)
            with pytest.raises(Unavailable, match=r"within 0\.1 s"):
                await cloud.hub.ask("h1", "console_log", "s1", timeout_s=0.1)

    run(test())


def test_a_server_starts_fails_and_is_reported_by_its_own_host_only(tmp_path: Path) -> None:
    async def test() -> None:
        async with running(tmp_path) as cloud:
            write(cloud, seed)

            def state() -> Any:
                with cloud.database.read() as tx:
                    row = tx.first(select(servers.c["vm_state"], servers.c["task_state"], servers.c["power_state"]))
                    return None if row is None else tuple(row)

            other = await FakeAgent(cloud, "h2").connect()
            await other.say(Report(other.revision, servers=(ServerReport("s1", "running"),)))
            await other.is_heard()
            agent = FakeAgent(cloud, "h1")
            agent.faults["s1"] = ("no space left on device", "cp: …")
            await agent.connect()
            await until("the server is", state, ("error", None, 0).__eq__)
            fault = scalar(cloud, select(servers.c["fault"]))
            assert (fault["message"], fault["details"]) == ("no space left on device", "cp: …")
            agent.faults.clear()
            await agent.report()
            await until("the server is", state, ("active", None, 1).__eq__)
            write(cloud, lambda rows: rows.set_server("s1", task_state="deleting"))
            await until("the server is gone", lambda: state() is None)
            assert port_status(cloud, "vm1") is None, "its own port goes with it"

    run(test())


def test_an_agent_that_is_further_behind_than_the_log_hears_the_whole_intent(tmp_path: Path) -> None:
    async def test() -> None:
        async with running(tmp_path, kept_revisions=20) as cloud:
            write(cloud, seed)
            agent = await FakeAgent(cloud, "h1").connect()
            # Its own report is a commit, too, which the hub would look at in the midst of those below.
            await agent.is_told()
            await agent.is_heard()
            await agent.is_told()
            # All at once: the hub looks again only when they are done.
            for mtu in range(1200, 1300):
                cloud.database.write(functools.partial(_set_mtu, mtu))
            last = cloud.database.revision
            await agent.until(lambda: agent.revision >= last)
            assert [type(message) for message in agent.messages] == [Snapshot, Snapshot]
            fresh = await FakeAgent(cloud, "h1").connect()
            await fresh.until(lambda: fresh.revision >= last)
            assert agent.objects == fresh.objects

    run(test())


def test_a_slow_agent_gets_what_happened_meanwhile_in_one_message(tmp_path: Path) -> None:
    async def test() -> None:
        async with running(tmp_path) as cloud:
            write(cloud, seed)
            agent = FakeAgent(cloud, "h1", obedient=False)
            await agent.connect()
            gate = asyncio.Event()
            take = agent._take

            async def slow(message: dict[str, Any]) -> None:
                await gate.wait()
                await take(message)

            link = cloud.hub._links["h1"]
            link.send = slow
            quick = await FakeAgent(cloud, "h2").connect()
            for mtu in range(1300, 1320):
                cloud.database.write(functools.partial(_set_mtu, mtu))
                last = cloud.database.revision
                await quick.until(functools.partial(_has_heard, quick, last))
            gate.set()
            await agent.until(lambda: agent.revision >= last)
            # The one that was on its way, and all others.
            assert len([message for message in agent.messages if isinstance(message, Change)]) <= 2

    run(test())


def test_a_host_is_done_with_what_was_asked_also_while_newer_changes_are_on_their_way(tmp_path: Path) -> None:
    async def test() -> None:
        async with running(tmp_path) as cloud:
            write(cloud, seed)
            agent = await FakeAgent(cloud, "h1").connect()
            await until("the snapshot is realised", lambda: cloud.hub.realised("h1", agent.revision))
            asked = agent.revision
            agent.obedient = False
            write(cloud, lambda rows: rows.set_mtu("net1", 1400))
            await agent.until(lambda: agent.revision > asked)

            assert cloud.hub.realised("h1", asked)
            assert not cloud.hub.realised("h1", agent.revision)

    run(test())


def test_after_a_defect_of_ours_every_host_hears_its_intent_anew(tmp_path: Path) -> None:
    async def test() -> None:
        async with running(tmp_path) as cloud:
            write(cloud, seed)
            agents = [await FakeAgent(cloud, host).connect() for host in ("h1", "h2")]
            del cloud.hub._views._holders
            write(cloud, lambda rows: rows.set_mtu("net1", 1400))
            last = cloud.database.revision
            for agent in agents:
                await agent.until(functools.partial(_has_heard, agent, last))
                assert isinstance(agent.messages[-1], Snapshot) and agent.closed is None
                assert set(agent.objects) == keys(whole(cloud, agent.host))

    run(test())

"""What `diff` says, for administrators in a browser, and for nobody else."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec

from deuteron.model.intent import Answer as AgentAnswer
from deuteron.model.intent import Ask, Difference
from tests.unit.api_compute.harness import Client, run, world

FOUND = (
    Difference("flow", "missing", wanted="flow on br-int: table=60,priority=0 actions=drop"),
    Difference("device", "unwanted", actual="tap tapx"),
)
PATH = "/dashboard/hosts/h1/differences"


def test_an_administrator_is_told_what_the_agent_sees(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            agent = await w.agent("h1")
            text = "\n".join(msgspec.json.encode(difference).decode() for difference in FOUND)
            agent.answers = lambda ask: AgentAnswer(ask.number, text)
            hosts = (await w.admin.get("/dashboard/hosts"))["hosts"]
            assert {"name": "h1", "connected": True} in hosts
            found = (await w.admin.get(PATH))["differences"]
            assert [each["words"] for each in found] == [each.words for each in FOUND]
            assert [each["kind"] for each in found] == ["missing", "unwanted"]

    run(test())


def test_nobody_else_is_told(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            agent = await w.agent("h1")
            asked: list[Ask] = []
            agent.answers = lambda ask: asked.append(ask) or AgentAnswer(ask.number, "")
            for path in ("/dashboard/hosts", PATH):
                assert (await w.demo.request("GET", path)).status == 403
                assert (await Client(w.app).request("GET", path)).status == 401
                assert (await Client(w.app, "gAAAA").request("GET", path)).status == 401
            assert (await w.demo.request("GET", "/dashboard/hosts/nowhere/differences")).status == 403
            assert asked == []

    run(test())


def test_a_host_that_is_away_or_unknown_is_said_to_be(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            away = await w.admin.request("GET", PATH)
            assert away.status == 503
            assert away.json["error"]["message"] == "host h1 is not connected, so nobody can answer for it"
            unknown = await w.admin.request("GET", "/dashboard/hosts/nowhere/differences")
            assert (unknown.status, unknown.json["error"]["code"]) == (404, 404)

    run(test())


def test_questions_to_a_host_share_one_answer(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            agent = await w.agent("h1")
            asked: list[Ask] = []
            agent.answers = lambda ask: asked.append(ask) or AgentAnswer(ask.number, "")
            await asyncio.gather(*(w.admin.get(PATH) for _ in range(20)))
            assert len(asked) < 5
            before = len(asked)
            await w.admin.get(PATH)
            assert len(asked) == before + 1

    run(test())

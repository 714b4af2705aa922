"""`deuteron diff`: the owner's question to a host, over the socket only and with the host's own token."""

from __future__ import annotations

from pathlib import Path

import msgspec

from deuteron.model.intent import Answer as AgentAnswer
from deuteron.model.intent import Difference
from tests.unit.api_compute.harness import Answer, Client, World, run, world

FOUND = (
    Difference("flow", "missing", wanted="flow on br-int: table=60,priority=0 actions=drop"),
    Difference("setting", "differs", "setting net.ipv4.ip_forward=1 in ns with value=1", "value=0"),
    Difference("device", "unwanted", actual="tap tapx"),
)


async def ask(w: World, host: str, token: str = "token-h1", *, unix: bool = True) -> Answer:
    headers = {"authorization": f"Bearer {token}"}
    return await Client(w.app).request("GET", f"/internal/hosts/{host}/diff", headers=headers, unix=unix)


def test_the_agents_answer_reaches_the_owner_whole(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            agent = await w.agent("h1")
            agent.answers = lambda ask: AgentAnswer(ask.number, "")
            assert (await ask(w, "h1")).json == []
            text = "\n".join(msgspec.json.encode(difference).decode() for difference in FOUND)
            agent.answers = lambda ask: AgentAnswer(ask.number, text)
            answer = await ask(w, "h1")
            assert (answer.status, tuple(msgspec.json.decode(answer.body, type=list[Difference]))) == (200, FOUND)

    run(test())


def test_only_the_hosts_own_token_on_the_socket_is_answered(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            await w.agent("h1")
            assert (await ask(w, "h1", "token-h2")).status == 401
            assert (await ask(w, "h1", "")).status == 401
            assert (await ask(w, "nowhere")).status == 401
            assert (await ask(w, "h1", unix=False)).status == 404

    run(test())


def test_a_host_that_is_away_is_named(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            answer = await ask(w, "h1")
            assert answer.status == 503
            assert b"host h1 is not connected" in answer.body

    run(test())


def test_differences_are_told_in_words() -> None:
    assert [difference.words for difference in FOUND] == [
        "missing: flow on br-int: table=60,priority=0 actions=drop",
        "differs: setting net.ipv4.ip_forward=1 in ns with value=1; actual: value=0",
        "unwanted: tap tapx",
    ]

"""Counters of a trace's hops: for administrators, a few questions to a host at a time, and nothing that breaks it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest

from deuteron.api.dashboard import counters
from deuteron.model.counters import MOST_PLACES, Counter, CounterQuestion
from deuteron.model.intent import Answer as AgentAnswer
from deuteron.model.intent import Ask
from tests.unit.api_compute.harness import Client, run, world

PATH = "/dashboard/hosts/h1/counters"
PLACE = {"place": "br-int table 60", "rule": "table=60,priority=1 actions=drop"}


def answered(ask: Ask) -> AgentAnswer:
    question = msgspec.json.decode(ask.text, type=CounterQuestion)
    found = [Counter(len(each.rule)) if each.rule else Counter(None, 3, 4) for each in question.places]
    return AgentAnswer(ask.number, msgspec.json.encode(found).decode())


def test_an_administrator_is_told_what_each_place_counted(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            agent = await w.agent("h1")
            agent.answers = answered
            body = {"places": [PLACE, {"place": "tap1"}]}
            found = (await w.admin.request("POST", PATH, body)).json
            assert found == {"counters": [{"packets": len(PLACE["rule"])}, {"entered": 3, "left": 4}]}

    run(test())


def test_nobody_else_asks_a_host(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            agent = await w.agent("h1")
            asked: list[Ask] = []
            agent.answers = lambda ask: asked.append(ask) or answered(ask)
            for path in (PATH, "/dashboard/hosts/nowhere/counters"):
                assert (await w.demo.request("POST", path, {"places": [PLACE]})).status == 403
                assert (await Client(w.app).request("POST", path, {"places": [PLACE]})).status == 401
            assert asked == []

    run(test())


BAD = {
    "no object": [],
    "no places": {},
    "another key": {"places": [], "more": 1},
    "no list": {"places": "tap1"},
    "a place without a name": {"places": [{"rule": "x"}]},
    "a place with more": {"places": [{**PLACE, "host": "h2"}]},
    "a number": {"places": [{"place": 1}]},
    "a long place": {"places": [{"place": "x" * 257}]},
    "a long rule": {"places": [{"place": "x", "rule": "x" * 4097}]},
    "too many": {"places": [{"place": f"tap{number}"} for number in range(MOST_PLACES + 1)]},
}


@pytest.mark.parametrize("body", BAD.values(), ids=BAD)
def test_what_cannot_be_read_is_refused(tmp_path: Path, body: Any) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            agent = await w.agent("h1")
            asked: list[Ask] = []
            agent.answers = lambda ask: asked.append(ask) or answered(ask)
            found = await w.admin.request("POST", PATH, body)
            assert (found.status, found.json["error"]["code"]) == (400, 400)
            assert asked == []

    run(test())


def test_a_host_that_is_away_or_unknown_is_said_to_be(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            assert (await w.admin.request("POST", PATH, {"places": []})).status == 503
            unknown = await w.admin.request("POST", "/dashboard/hosts/nowhere/counters", {"places": []})
            assert unknown.status == 404

    run(test())


def test_of_many_questions_a_host_hears_few(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            agent = await w.agent("h1")
            asked: list[Ask] = []
            agent.answers = lambda ask: asked.append(ask) or answered(ask)
            same = await asyncio.gather(*(w.admin.request("POST", PATH, {"places": [PLACE]}) for _ in range(20)))
            assert {each.status for each in same} == {200}
            assert len(asked) < 10
            asked.clear()
            others = ({"places": [{"place": f"tap{number}"}]} for number in range(40))
            found = await asyncio.gather(*(w.admin.request("POST", PATH, body) for body in others))
            refused = [each for each in found if each.status == 429]
            assert {each.status for each in found} == {200, 429}
            assert len(asked) == len(found) - len(refused)
            assert len(asked) >= counters._MOST_OF_HOST

    run(test())

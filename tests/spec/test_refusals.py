"""Bad requests, and what the real service says to each: `refusals-*.yaml`.

One step is `do: METHOD path`, with `as` (admin unless told; `nobody` sends no token, `token` sends that text),
`body` or `raw`, `headers`, and what is expected: the `status` and, where it matters, words of the message in `says`.
`$network` and the like are the ids of things that are there. Every answer must have the error shape of its service,
and no refused request may leave a row behind: all tables are counted before and after each.
"""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from deuteron.store.database import Database
from tests.fuzz.judge import complaint
from tests.fuzz.world import Answer, Request, World, world

FILES = sorted(Path(__file__).parent.glob("refusals-*.yaml"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_bad_request_is_refused_in_the_words_of_its_service_and_leaves_nothing(path: Path, tmp_path: Path) -> None:
    story = yaml.safe_load(path.read_text())
    problems = asyncio.run(play(story, tmp_path))
    assert not problems, "\n".join(problems)


def test_there_are_more_than_two_hundred_of_them() -> None:
    assert sum(len(yaml.safe_load(path.read_text())["steps"]) for path in FILES) > 200


async def play(story: dict[str, Any], state: Path, store: Database | None = None) -> list[str]:
    """What is wrong with a conversation with a fresh cloud over the store, or over a new one."""
    problems: list[str] = []
    async with world(state, store) as here:
        for number, step in enumerate(story["steps"], 1):
            request = _request(here, story, step)
            before = here.counts()
            answer = await here.send(request)
            told = f"step {number}: {step['do']} {step.get('body', step.get('raw', ''))!s:.150}"
            problems += [f"{told}: {found}" for found in _complaints(here, step, request, answer)]
            after = here.counts()
            if after != before and answer.status >= 400:
                changed = {name: (before[name], after[name]) for name in after if after[name] != before[name]}
                problems.append(f"{told}: rows before and after: {changed}")
        assert not here.defects, here.defects
    return problems


def _complaints(here: World, step: dict[str, Any], request: Request, answer: Answer) -> list[str]:
    found = []
    if answer.status != step["status"]:
        found.append(f"{answer.status}, {step['status']} is expected: {answer.body[:300]!r}")
    if problem := complaint(request, answer):
        found.append(problem)
    wanted = _filled(step.get("says", ""), here)
    text = answer.body.decode("utf-8", "replace")
    if wanted and wanted not in _message(text):
        found.append(f"the message is not of {wanted!r}: {text[:300]}")
    return found


def _message(text: str) -> str:
    try:
        body = json.loads(text)
    except ValueError:
        return text
    return str(body.get("message") or next(iter(body.values())).get("message"))


def _request(here: World, story: dict[str, Any], step: dict[str, Any]) -> Request:
    method, path = step["do"].split(" ", 1)
    path, _, query = (story.get("prefix", "") + _filled(path, here)).partition("?")
    body = _filled(step["raw"], here).encode("utf-8", "surrogatepass") if "raw" in step else b""
    if "raw_hex" in step:
        body = bytes.fromhex(step["raw_hex"])
    if "body" in step:
        body = json.dumps(_filled(step["body"], here)).encode()
    user = step.get("as", "admin")
    token = step.get("token", here.tokens.get(user))
    headers = {"accept": "application/json", "content-length": str(len(body)), **story.get("headers", {})}
    if body:
        headers["content-type"] = "application/json"
    headers |= {name.lower(): str(_filled(value, here)) for name, value in step.get("headers", {}).items()}
    if token is not None:
        headers["x-auth-token"] = token
    pairs = tuple((name.encode(), value.encode()) for name, value in headers.items() if value != "none")
    return Request(method, path.encode(), query.encode(), pairs, body)


def _filled(value: Any, here: World) -> Any:
    if isinstance(value, str):
        names = {**{name.replace(" ", "_"): id for name, id in here.owners.items()}, **here.ids}
        long = re.sub(r"<(.)\*(\d+)>", lambda found: found.group(1) * int(found.group(2)), value)
        return re.sub(r"\$([a-z_]+)", lambda found: names.get(found.group(1), found.group(0)), long)
    if isinstance(value, dict):
        return {_filled(name, here): _filled(item, here) for name, item in value.items()}
    if isinstance(value, list):
        return [_filled(item, here) for item in value]
    return value

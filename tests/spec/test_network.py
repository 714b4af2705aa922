"""Plays the conversations of `network-*.yaml` to a fresh cloud each.

A step is `do: METHOD path`, with `as` (admin unless told), `body` or `raw`, and what is expected: `status`, `error`
as type and message, `expect` as dotted paths and values, `keys` as the exact keys of the answered object, `save` as
names for later steps (`$name`). `$zero`, `$admin`, `$demo` and `$host` are always there.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit.api_network.harness import ADMIN, DEMO, HOST, ZERO, Answer, Client, cloud_in

FILES = sorted(Path(__file__).parent.glob("network-*.yaml"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_conversation_goes_as_it_is_written(path: Path, tmp_path: Path) -> None:
    story = yaml.safe_load(path.read_text())
    names: dict[str, Any] = {"zero": ZERO, "admin": ADMIN, "demo": DEMO, "host": HOST}
    assert story["steps"]
    with cloud_in(tmp_path, **story.get("settings", {})) as client:
        for number, step in enumerate(story["steps"], 1):
            told = f"step {number}: {step.get('name', step['do'])}"
            answer = _do(client, step, names)
            assert answer.status == step.get("status", 200), f"{told}: {answer.status} {answer.raw.decode()}"
            _check(told, step, answer, names)
            for name, place in step.get("save", {}).items():
                names[name] = _at(answer.body, place)


def _do(client: Client, step: dict[str, Any], names: dict[str, Any]) -> Answer:
    method, path = step["do"].split(" ", 1)
    body = step["raw"].encode() if "raw" in step else _filled(step.get("body"), names)
    user = step.get("as", "admin")
    return client.call(method, _filled(path, names), body, None if user == "nobody" else user)


def _check(told: str, step: dict[str, Any], answer: Answer, names: dict[str, Any]) -> None:
    if "error" in step:
        kind, message = step["error"]
        assert answer.error["type"] == kind, f"{told}: {answer.error}"
        assert answer.error["message"] == _filled(message, names), told
        assert set(answer.error) >= {"type", "message", "detail"}, told
    for place, value in step.get("expect", {}).items():
        assert _at(answer.body, place) == _filled(value, names), f"{told}: {place} in {answer.raw.decode()}"
    if "keys" in step:
        (shown,) = answer.body.values()
        assert sorted(shown) == sorted(step["keys"]), told


def _filled(value: Any, names: dict[str, Any]) -> Any:
    if isinstance(value, str):
        whole = re.fullmatch(r"\$([a-z0-9_]+)", value)
        if whole and whole.group(1) in names:
            return names[whole.group(1)]
        return re.sub(r"\$([a-z0-9_]+)", lambda found: str(names.get(found.group(1), found.group(0))), value)
    if isinstance(value, dict):
        return {name: _filled(item, names) for name, item in value.items()}
    if isinstance(value, list):
        return [_filled(item, names) for item in value]
    return value


def _at(body: Any, place: str) -> Any:
    """The value at a dotted path; `*` is all of a list, `#` how many, and a name may hold colons."""
    for number, part in enumerate(parts := place.split(".")):
        if part == "#":
            return len(body)
        if part == "*":
            rest = ".".join(parts[number + 1 :])
            return [_at(item, rest) for item in body]
        body = body[int(part)] if isinstance(body, list) else body[part]
    return body

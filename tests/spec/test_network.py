"""Plays the conversations of `network-*.yaml` to a fresh cloud each.

`steps.py` says what a step may hold; who asks is admin unless told. `$zero`, `$admin`, `$demo` and `$host` are always
there.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from deuteron.store.database import Database
from tests.spec.steps import check, filled, saved
from tests.unit.api_network.harness import ADMIN, DEMO, HOST, ZERO, Answer, Client, cloud_in

FILES = sorted(Path(__file__).parent.glob("network-*.yaml"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_conversation_goes_as_it_is_written(path: Path, tmp_path: Path) -> None:
    play(yaml.safe_load(path.read_text()), tmp_path)


def play(story: dict[str, Any], state: Path, store: Database | None = None) -> None:
    """One conversation with a fresh cloud over the store, or over a new one."""
    names: dict[str, Any] = {"zero": ZERO, "admin": ADMIN, "demo": DEMO, "host": HOST}
    assert story["steps"]
    with cloud_in(state, store, **story.get("settings", {})) as client:
        for number, step in enumerate(story["steps"], 1):
            told = f"step {number}: {step.get('name', step['do'])}"
            answer = _do(client, step, names)
            check(told, step, answer, names)
            names |= saved(step, answer)


def _do(client: Client, step: dict[str, Any], names: dict[str, Any]) -> Answer:
    method, path = step["do"].split(" ", 1)
    body = step["raw"].encode() if "raw" in step else filled(step.get("body"), names)
    user = step.get("as", "admin")
    return client.call(method, filled(path, names), body, None if user == "nobody" else user)

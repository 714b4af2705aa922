"""Plays the conversations of `identity-*.yaml`, `image-*.yaml`, `volume-*.yaml`, `compute-*.yaml`, a whole cloud each.

`steps.py` says what a step may hold. Here a path begins with its service, and who asks is `admin` or `demo`, who are
logged in, or whoever's token a step saved (`token: $name`, `save_header: {name: x-subject-token}`). `version` is
Compute's microversion, `type` the body's media type, `raw` a body that is no JSON. A step with `until` is asked again
until its answer is as expected: the host h1 does at once what it is told, but not before the answer.
`$admin`, `$demo` are projects, `$admin_user`, `$demo_user` users, `$host` the host.

What is expected comes from the references of the services (docs.openstack.org/api-ref: identity/v3, image/v2,
block-storage/v3, compute), not from what is answered here; where this cloud refuses what Nova has, the name of the
step says so.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
import yaml

from deuteron.store.database import Database
from tests.spec.steps import check, filled, saved
from tests.unit.api_compute.harness import Answer, Client, World, world
from tests.waiting import PATIENCE_S

SERVICES = ("identity", "image", "volume", "compute")
STORIES = [path for service in SERVICES for path in sorted(Path(__file__).parent.glob(f"{service}-*"))]


def test_every_service_has_a_story() -> None:
    assert {path.name.split("-")[0] for path in STORIES} == set(SERVICES)


@pytest.mark.parametrize("path", STORIES, ids=lambda path: path.stem)
def test_a_conversation_goes_as_it_is_written(path: Path, tmp_path: Path) -> None:
    play(yaml.safe_load(path.read_text()), tmp_path)


def play(story: dict[str, Any], state: Path, store: Database | None = None) -> None:
    """One conversation with a fresh cloud over the store, or over a new one."""
    steps = story["steps"]

    async def told_all() -> int:
        async with world(state, store=store) as w:
            await w.agent("h1")
            names: dict[str, Any] = {
                "admin": w.admin.project_id, "demo": w.demo.project_id, "admin_user": w.admin.user_id,
                "demo_user": w.demo.user_id, "host": "h1", "zero": "00000000-0000-0000-0000-000000000000",
            }  # fmt: skip
            for number, step in enumerate(steps, 1):
                told = f"step {number}: {step.get('name', step['do'])}"
                names |= await _said(w, told, step, names)
            return number

    assert asyncio.run(asyncio.wait_for(told_all(), 4 * PATIENCE_S)) == len(steps) > 0


async def _said(w: World, told: str, step: dict[str, Any], names: dict[str, Any]) -> dict[str, Any]:
    deadline = asyncio.get_running_loop().time() + (PATIENCE_S if step.get("until") else 0)
    while True:
        answer = await _do(w, step, names)
        try:
            check(told, step, answer, names)
            return saved(step, answer)
        except (AssertionError, LookupError):
            if asyncio.get_running_loop().time() >= deadline:
                raise
        await asyncio.sleep(0.01)


async def _do(w: World, step: dict[str, Any], names: dict[str, Any]) -> Answer:
    method, path = step["do"].split(" ", 1)
    headers = {name.lower(): str(filled(value, names)) for name, value in step.get("headers", {}).items()}
    headers["content-type"] = step.get("type", "application/json")
    who = {"admin": w.admin, "demo": w.demo, "nobody": Client(w.app)}[step.get("as", "admin")]
    if "token" in step:
        who = Client(w.app, str(filled(step["token"], names)))
    body = step["raw"].encode() if "raw" in step else filled(step.get("body"), names)
    return await who.request(method, str(filled(path, names)), body, version=step.get("version"), headers=headers)

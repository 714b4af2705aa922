"""Each value of each good body replaced by each strange one, so that no such refusal is left to chance.

DEUTERON_FUZZ_STEP sends every so manieth of them (3 unless told, 1 is all); which, is shifted by the seed.
"""

from __future__ import annotations

import asyncio
import copy
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.fuzz.bodies import BODIES, with_prefix
from tests.fuzz.judge import complaint
from tests.fuzz.mutate import STRANGE, known_id, named
from tests.fuzz.test_bytes import look_around
from tests.fuzz.world import SEED, Request, World, furnish, world

STEP = int(os.environ.get("DEUTERON_FUZZ_STEP", "3"))
GONE = object()
BATCH = 16
VERSIONS = (
    b"compute 2.1, volume 3.0, placement 1.0",
    b"compute 2.60, volume 3.50, placement 1.20",
    b"compute 2.104, volume 3.71, placement 1.39",
)
"""Microversions: the oldest, some in between, the newest."""


def test_no_value_of_a_body_breaks_the_api(tmp_path: Path) -> None:
    sent, problems, seconds = asyncio.run(_play(tmp_path))
    print(f"seed {SEED}: {sent} requests in {seconds:.0f} s")
    assert not problems, f"seed {SEED}: {len(problems)} of {sent}:\n" + "\n".join(problems[:20])


async def _play(state: Path) -> tuple[int, list[str], float]:
    started, sent = time.monotonic(), 0
    problems: list[str] = []
    async with world(state) as here:
        batch: list[tuple[int, str, str, Any]] = []
        for number, item in enumerate(_bodies()):
            if number % STEP == SEED % STEP:
                batch.append((number, *item))
            if len(batch) == BATCH:
                if batch[-1][2].startswith("/volume/"):
                    await furnish(here, patient=True)
                problems += [found for found in await asyncio.gather(*(_one(here, *one) for one in batch)) if found]
                sent += len(batch)
                batch.clear()
                if here.defects:
                    problems.append(f"logged: {here.defects.pop()[-1500:]}")
                    here.defects.clear()
                if sent % (BATCH * 50) == 0:
                    await look_around(here)
        await look_around(here)
    return sent, problems, time.monotonic() - started


def _bodies() -> Iterator[tuple[str, str, Any]]:
    """Method, path and body of all requests, one changed value in each."""
    for (method, path), bodies in BODIES.items():
        if path.endswith(("/auth/tokens", "/password")):
            continue  # a password takes longer to check than a hundred other requests
        for body in bodies:
            for trail in _trails(body):
                for strange in (*STRANGE, GONE):
                    changed = copy.deepcopy(body)
                    holder = changed
                    for step in trail[:-1]:
                        holder = holder[step]
                    if strange is GONE:
                        del holder[trail[-1]]
                    else:
                        holder[trail[-1]] = copy.deepcopy(strange)
                    yield method, path, changed


def _trails(value: Any, before: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to every value inside, whole objects and lists included."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield (*before, key)
        yield from _trails(item, (*before, key))


async def _one(here: World, number: int, method: str, path: str, body: Any) -> str | None:
    segments = path.strip("/").split("/")
    made = [
        known_id(here, segments, place) or "x" if segment.startswith("{") else segment
        for place, segment in enumerate(segments)
    ]
    target = with_prefix(f"/{'/'.join(made)}")
    raw = json.dumps(named(body, here.names(number))).encode("utf-8", "surrogatepass")
    is_patch = method == "PATCH" and segments[0] == "v2"
    headers = (
        (b"x-auth-token", here.tokens["admin"].encode()),
        (b"accept", b"application/json"),
        (b"openstack-api-version", VERSIONS[number // STEP % len(VERSIONS)]),
        (b"content-type", b"application/openstack-images-v2.1-json-patch" if is_patch else b"application/json"),
        (b"content-length", str(len(raw)).encode()),
    )
    request = Request(method, target.encode(), b"", headers, raw)
    try:
        found = complaint(request, await here.send(request))
    except Exception as error:  # whatever the application lets out is what is looked for
        found = repr(error)
    return None if found is None else f"{request}\n    {found}"

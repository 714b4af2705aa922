"""The largest requests hold nobody: no step of any takes the event loop or the writer for longer than 50 ms.

A step's time is what its thread used of the processor, as the application itself counts it (`api/meter.py`): a busy
machine changes it little. Whoever looks too long is asked twice more, and the shortest time counts, since the collector
of garbage may have stepped in.

DEUTERON_FUZZ_STEP sends every so manieth (8 unless told, 1 is all); which, is shifted by the seed.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator
from pathlib import Path

from deuteron.api import compute, identity, image, network, placement, volume
from deuteron.api.meter import LONG_STEP_S
from tests.fuzz import largest
from tests.fuzz.bodies import with_prefix
from tests.fuzz.judge import complaint
from tests.fuzz.largest import Large, encoded
from tests.fuzz.mutate import known_id, named
from tests.fuzz.world import SEED, Answer, Request, World, furnish, log_in, world

STEP = int(os.environ.get("DEUTERON_FUZZ_STEP", "8"))
MOST_ANSWERED = 16 * 1024
"""Bytes of a refusal, headers of a query that is given back not counted."""
VERSIONS = (
    b"compute 2.1, volume 3.0, placement 1.0",
    b"compute 2.60, volume 3.50, placement 1.20",
    b"compute 2.104, volume 3.71, placement 1.39",
)


def test_the_largest_requests_hold_neither_loop_nor_writer(tmp_path: Path) -> None:
    started = time.monotonic()
    sent, problems, longest = asyncio.run(_play(tmp_path))
    print(f"seed {SEED}: {sent} requests in {time.monotonic() - started:.0f} s; longest: {longest}")
    assert sent > 3000 // STEP
    assert not problems, f"seed {SEED}: {len(problems)} of {sent}:\n" + "\n".join(problems[:20])


async def _play(state: Path) -> tuple[int, list[str], dict[str, tuple[float, str]]]:
    problems: list[str] = []
    longest: dict[str, tuple[float, str]] = {"loop": (0.0, ""), "writer": (0.0, "")}
    sent = 0
    async with world(state) as here:
        for number, large in enumerate(_all()):
            if number % STEP != SEED % STEP:
                continue
            sent += 1
            if sent % 300 == 0:
                for user in ("admin", "demo"):
                    await log_in(here, user)
                await furnish(here)
            request, answer, steps = await _send(here, large, number)
            for again in (1, 2):
                if max(steps.values(), default=0.0) > LONG_STEP_S:
                    _, _, other = await _send(here, large, number + again * 1_000_000)
                    steps = {place: min(seconds, other.get(place, 0.0)) for place, seconds in steps.items()}
            for place, seconds in steps.items():
                longest[place] = max(longest[place], (seconds, f"{large.method} {large.path}: {large.what}"))
                if seconds > LONG_STEP_S:
                    problems.append(f"{seconds * 1000:.0f} ms in the {place}: {large.what}: {request}"[:600])
            found = complaint(request, answer)
            if found is not None:
                problems.append(f"{large.what}: {request}\n    {found}"[:1200])
            if answer.status >= 400 and len(answer.body) > MOST_ANSWERED:
                problems.append(f"a refusal of {len(answer.body)} bytes: {large.what}: {request}"[:600])
            if here.defects:
                problems.append(f"logged: {here.defects.pop()[-1500:]}")
                here.defects.clear()
    return sent, problems, longest


def _all() -> Iterator[Large]:
    services = (
        identity.SERVICE(),
        network.SERVICE(),
        image.SERVICE(),
        volume.SERVICE(),
        compute.SERVICE(),
        placement.SERVICE(),
    )
    yield from largest.bodies()
    yield from largest.texts()
    yield from largest.queries(services)


async def _send(here: World, large: Large, number: int) -> tuple[Request, Answer, dict[str, float]]:
    """The answer, and the seconds that the request held the loop and the writer."""
    segments = large.path.strip("/").split("/")
    made = [
        known_id(here, segments, place) or "x" if segment.startswith("{") else segment
        for place, segment in enumerate(segments)
    ]
    raw = b"" if large.body is None else encoded(named(large.body, here.names(number)))
    is_patch = large.method == "PATCH" and segments[0] == "v2"
    headers = (
        (b"x-auth-token", here.tokens["admin"].encode()),
        (b"accept", b"application/json"),
        (b"openstack-api-version", VERSIONS[number % len(VERSIONS)]),
        (b"content-type", b"application/openstack-images-v2.1-json-patch" if is_patch else b"application/json"),
        (b"content-length", str(len(raw)).encode()),
    )
    path = with_prefix(f"/{'/'.join(made)}").encode()
    request = Request(large.method, path, large.query.encode(), headers, raw)
    return request, *await here.timed(request)

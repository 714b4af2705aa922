"""Broken requests to every route of every service: each is answered in its service's words.

They are seven tenths of `--fuzz-requests`: fourteen thousand unless told. DEUTERON_FUZZ_SEED makes another run.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from deuteron.api.meter import LONG_STEP_S
from tests.fuzz.bodies import BODIES
from tests.fuzz.judge import complaint
from tests.fuzz.memory import Memory
from tests.fuzz.mutate import Mutator
from tests.fuzz.people import invite, welcome
from tests.fuzz.tally import Tally
from tests.fuzz.tidy import Tidy
from tests.fuzz.world import SEED, Answer, Request, World, furnish, log_in, world

BATCH = 16
"""As many at once, so that writes meet in one commit."""
ROUND = 1600
"""Requests after which what was deleted is made anew."""
LEVELS = 10
"""How often the memory is looked at in a long run, each time after taking away what was made."""
LISTS = (
    "/network/v2.0/{}".format, ("networks", "subnets", "ports", "routers", "floatingips", "security-groups",
                                "security-group-rules", "subnetpools", "address-scopes", "rbac-policies", "agents",
                                "quotas"),
), (
    "/compute/v2.1/{}".format, ("servers/detail", "flavors/detail", "os-keypairs", "os-server-groups", "os-services",
                                "os-hypervisors/detail", "limits", "os-security-groups", "os-simple-tenant-usage"),
), (
    "/identity/v3/{}".format, ("users", "projects", "domains", "groups", "roles", "regions", "services", "endpoints",
                               "credentials", "role_assignments?include_names", "auth/catalog"),
), ("/image/v2/{}".format, ("images",)), (
    "/volume/v3/{}".format, ("volumes/detail", "snapshots/detail", "types", "qos-specs", "os-volume-transfer/detail",
                             "os-services", "limits"),
)  # fmt: skip


@pytest.mark.timeout(7200)  # of a long run; a request that hangs fails by itself
def test_no_request_breaks_the_api(tmp_path: Path, fuzz_requests: int) -> None:
    started = time.monotonic()
    requests = fuzz_requests * 7 // 10
    tally, problems, memory = asyncio.run(_fuzz(tmp_path, requests))
    print(f"seed {SEED}: {time.monotonic() - started:.0f} s; {tally.told()}\n  memory {memory.told()}")
    assert not problems, f"seed {SEED}: {len(problems)} of {requests}:\n" + "\n".join(problems[:20])
    assert tally.sent == requests
    tally.refuse_shallow()
    memory.refuse_growth()


async def _fuzz(state: Path, requests: int) -> tuple[Tally, list[str], Memory]:
    """What was sent, what was wrong, and how the memory went."""
    problems: list[str] = []
    async with world(state) as here:
        await invite(here)
        tidy = await Tidy(here).remember()
        mutator, tally, memory = Mutator(here, here.services, BODIES), Tally(here), Memory()
        level = max(2 * ROUND, requests // LEVELS)
        for first in range(0, requests, BATCH):
            numbers = range(first, min(first + BATCH, requests))
            problems += await _batch(here, mutator, tally, numbers)
            if here.defects:
                problems.append(f"logged while {first} to {numbers[-1]}: {here.defects.pop()[-1500:]}")
                here.defects.clear()
            if (first + BATCH) % ROUND < BATCH:
                await look_around(here)
                await welcome(here)
            if (first + BATCH) % level < BATCH:
                await tidy.away()
                memory.look()
        await look_around(here)
        await tidy.away()
        memory.look()
    return tally, problems, memory


async def _batch(here: World, mutator: Mutator, tally: Tally, numbers: range) -> list[str]:
    """Ask them all at once; what was wrong."""
    tally.steps()
    asked = await asyncio.gather(*(_one(here, mutator, tally, number) for number in numbers))
    problems = [problem for _, _, problem in asked if problem is not None]
    by_id = {
        answer.headers["x-openstack-request-id"]: (number, request)
        for number, (request, answer, _) in zip(numbers, asked, strict=True)
        if answer is not None
    }
    for place, (seconds, request_id) in tally.steps().items():
        if request_id not in by_id:
            continue
        number, request = by_id[request_id]
        for again in (1, 2):
            # The collector of garbage may have stepped in.
            if seconds > LONG_STEP_S and place != "reader":
                await here.send(mutator.request(number, again))
                seconds = min(seconds, tally.steps().get(place, (0.0, ""))[0])
        problem = tally.note(place, seconds, request)
        problems += [] if problem is None else [f"number {number}: {problem}"]
    return problems


async def _one(here: World, mutator: Mutator, tally: Tally, number: int) -> tuple[Request, Answer | None, str | None]:
    """The request, its answer, and what was wrong."""
    request, begun = mutator.request(number), time.monotonic()
    try:
        answer = await here.send(request)
        tally.count(request, answer, time.monotonic() - begun)
        mutator.learn(request, answer)
        found = complaint(request, answer)
    except Exception as error:  # whatever the application lets out is what is looked for
        return request, None, f"number {number}: {request}\n    {error!r}"
    return request, answer, None if found is None else f"number {number}: {request}\n    {found}"


async def look_around(here: World) -> None:
    """The API is whole: everything can be listed, and everything is there to be fuzzed again."""
    for place, names in LISTS:
        for name in names:
            answer = await here.call("GET", place(name))
            assert answer.status == 200, f"seed {SEED}: {place(name)} answers {answer.status}: {answer.body!r}"
    for user in ("admin", "demo"):
        await log_in(here, user)
    await furnish(here, patient=True)

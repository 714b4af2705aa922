"""Broken requests to every route of every service: each is answered in its service's words.

They are seven tenths of `--fuzz-requests`: fourteen thousand unless told. DEUTERON_FUZZ_SEED makes another run.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from deuteron.api import compute, identity, image, network
from deuteron.api.root import Root
from tests.fuzz.bodies import BODIES
from tests.fuzz.judge import complaint
from tests.fuzz.memory import Memory
from tests.fuzz.mutate import Mutator
from tests.fuzz.world import SEED, World, furnish, log_in, world

BATCH = 16
"""As many at once, so that writes meet in one commit."""
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
), ("/image/v2/{}".format, ("images",))  # fmt: skip


@pytest.mark.timeout(7200)  # of a long run; a request that hangs fails by itself
def test_no_request_breaks_the_api(tmp_path: Path, fuzz_requests: int) -> None:
    requests = fuzz_requests * 7 // 10
    problems, seconds, memory = asyncio.run(_fuzz(tmp_path, requests))
    print(f"seed {SEED}: {requests} requests in {seconds:.0f} s, memory {memory}")
    assert not problems, f"seed {SEED}: {len(problems)} of {requests}:\n" + "\n".join(problems[:20])


async def _fuzz(state: Path, requests: int) -> tuple[list[str], float, str]:
    """What was wrong, how many seconds it took, and how the memory went."""
    started = time.monotonic()
    problems: list[str] = []
    async with world(state) as here:
        services = (Root(), identity.SERVICE(), network.SERVICE(), image.SERVICE(), compute.SERVICE())
        mutator = Mutator(here, services, BODIES)
        memory = Memory(requests)
        for first in range(0, requests, BATCH):
            memory.look(first)
            numbers = range(first, min(first + BATCH, requests))
            problems += [found for found in await asyncio.gather(*(_one(here, mutator, n) for n in numbers)) if found]
            if here.defects:
                problems.append(f"logged while {first} to {numbers[-1]}: {here.defects.pop()[-1500:]}")
                here.defects.clear()
            if first % 1600 == 0:
                await look_around(here)
        await look_around(here)
        told = memory.told()
        memory.refuse_growth()
    return problems, time.monotonic() - started, told


async def _one(here: World, mutator: Mutator, number: int) -> str | None:
    request = mutator.request(number)
    try:
        found = complaint(request, await here.send(request))
    except Exception as error:  # whatever the application lets out is what is looked for
        found = repr(error)
    return None if found is None else f"number {number}: {request}\n    {found}"


async def look_around(here: World) -> None:
    """The API is whole: everything can be listed, and everything is there to be fuzzed again."""
    for place, names in LISTS:
        for name in names:
            answer = await here.call("GET", place(name))
            assert answer.status == 200, f"seed {SEED}: {place(name)} answers {answer.status}: {answer.body!r}"
    for user in ("admin", "demo"):
        await log_in(here, user)
    await furnish(here)

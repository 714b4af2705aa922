"""Fourteen thousand broken requests to every route of every service: each is answered in its service's words.

DEUTERON_FUZZ_REQUESTS and DEUTERON_FUZZ_SEED make longer and other runs.
"""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

from deuteron.api import compute, identity, image, network
from deuteron.api.root import Root
from tests.fuzz.bodies import BODIES
from tests.fuzz.judge import complaint
from tests.fuzz.mutate import Mutator
from tests.fuzz.world import SEED, World, furnish, log_in, world

REQUESTS = int(os.environ.get("DEUTERON_FUZZ_REQUESTS", "14000"))
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


def test_no_request_breaks_the_api(tmp_path: Path) -> None:
    problems, seconds = asyncio.run(_fuzz(tmp_path))
    print(f"seed {SEED}: {REQUESTS} requests in {seconds:.0f} s")
    assert not problems, f"seed {SEED}: {len(problems)} of {REQUESTS}:\n" + "\n".join(problems[:20])


async def _fuzz(state: Path) -> tuple[list[str], float]:
    started = time.monotonic()
    problems: list[str] = []
    async with world(state) as here:
        services = (Root(), identity.SERVICE(), network.SERVICE(), image.SERVICE(), compute.SERVICE())
        mutator = Mutator(here, services, BODIES)
        for first in range(0, REQUESTS, BATCH):
            numbers = range(first, min(first + BATCH, REQUESTS))
            problems += [found for found in await asyncio.gather(*(_one(here, mutator, n) for n in numbers)) if found]
            if here.defects:
                problems.append(f"logged while {first} to {numbers[-1]}: {here.defects.pop()[-1500:]}")
                here.defects.clear()
            if first % 1600 == 0:
                await look_around(here)
        await look_around(here)
    return problems, time.monotonic() - started


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

"""Requests that schemathesis makes from our OpenAPI document: good ones and ones that break the schema.

They are three tenths of `--fuzz-requests`, in equal parts for each method of each path that has so many.

The document is what the cloud serves at /openapi.json; schemathesis checks first that it is one. The answers are
judged as those of `test_bytes` are.
"""

from __future__ import annotations

import asyncio
import random
import time
import warnings
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import hypothesis
import pytest
import requests
import schemathesis
from schemathesis import GenerationMode

from deuteron.api.meter import LONG_STEP_S
from tests.fuzz.judge import complaint
from tests.fuzz.mutate import KIND_OF, damage
from tests.fuzz.people import HOMES, invite, somebody, token_of, welcome
from tests.fuzz.tally import Tally
from tests.fuzz.world import SEED, Request, World, furnish, world

LEAST = 7
"""Requests to each method of each path."""
schemathesis.serializer.alias("application/openstack-images-v2.1-json-patch", "application/json")
_SLOW = ("/identity/v3/auth/tokens", "/identity/v3/users/{id}/password")
"""Each request there checks a password, which takes longer than a hundred others."""
_POINTS = {
    "floating_network_id": "public",
    "subnetpool_id": "subnetpool",
    "internal_port_id": "port",
    "internal_ip_address": "port_address",
    "object_id": "network",
    "flavor_id": "network_flavor",
    "default_project_id": "project",
    "parent_id": "project",
}
"""Attributes that are not called after what they name."""


@pytest.mark.timeout(7200)  # of a long run; a request that hangs fails by itself
def test_no_request_made_from_the_document_breaks_the_api(tmp_path: Path, fuzz_requests: int) -> None:
    wanted = fuzz_requests * 3 // 10
    started = time.monotonic()
    with asyncio.Runner() as runner:
        keeper = world(tmp_path)
        here = runner.run(keeper.__aenter__())
        try:
            runner.run(invite(here))
            tally, problems = _play(runner, here, wanted)
        finally:
            runner.run(keeper.__aexit__(None, None, None))
    print(f"seed {SEED}: {time.monotonic() - started:.0f} s; {tally.told()}")
    assert not problems, f"seed {SEED}: {len(problems)} of {tally.sent}:\n" + "\n".join(problems[:20])
    assert tally.sent >= wanted
    tally.refuse_shallow()


def _play(runner: asyncio.Runner, here: World, wanted: int) -> tuple[Tally, list[str]]:
    """What was sent, and what was wrong."""
    tally, problems = Tally(here), list[str]()
    document = runner.run(here.call("GET", "/openapi.json")).json
    schema = schemathesis.openapi.from_dict(document)
    schema.config.generation.update(modes=[GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
    operations = [result.ok() for result in schema.get_all_operations()]
    settings = hypothesis.settings(
        database=None,
        deadline=None,
        phases=[hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    round = furnished = 0
    # An operation without parameters has few requests in it: what is left is asked of the others in another round.
    while tally.sent + len(problems) < wanted:
        examples = max(LEAST, (wanted - tally.sent) // len(operations))
        for number, operation in enumerate(operations):
            slow = operation.method.upper() == "POST" and operation.path in _SLOW
            if slow and round:
                continue

            @hypothesis.seed(SEED + number + round * len(operations))
            @hypothesis.settings(settings, max_examples=3 if slow else examples)
            @hypothesis.given(case=operation.as_strategy())
            def play(case: Any) -> None:
                rng = random.Random(f"{SEED}:{tally.sent}")
                request, begun = _request(case, here, rng), time.monotonic()
                tally.steps()
                try:
                    answer = runner.run(here.send(request))
                    tally.count(request, answer, time.monotonic() - begun)
                    found = complaint(request, answer)
                except Exception as error:  # whatever the application lets out is what is looked for
                    found = repr(error)
                if found is not None:
                    problems.append(f"{request}\n    {found}")
                for place, (seconds, _) in tally.steps().items():
                    if seconds > LONG_STEP_S and place != "reader":
                        runner.run(here.send(request))
                        seconds = min(seconds, tally.steps().get(place, (0.0, ""))[0])
                    problem = tally.note(place, seconds, request)
                    problems.extend([] if problem is None else [problem])
                if here.defects:
                    problems.append(f"logged: {here.defects.pop()[-1500:]}")
                    here.defects.clear()

            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                play()
            if tally.sent - furnished >= 200:
                furnished = tally.sent
                runner.run(_again(here))
        round += 1
    return tally, problems


async def _again(here: World) -> None:
    await furnish(here, patient=True)
    await welcome(here)


def _request(case: Any, here: World, rng: random.Random) -> Request:
    """What would go over the wire, with somebody's token and mostly the ids of things that are there."""
    who = somebody(rng)
    names = here.names(rng.randrange(2**24), HOMES.get(who, "admin"))
    segments = case.operation.path.strip("/").split("/")
    for before, segment in pairwise(segments):
        known = names.get(KIND_OF.get(before, ""))
        if segment.startswith("{") and known is not None and rng.random() < 0.8:
            case.path_parameters[segment.strip("{}")] = known
    if segments[:3] == ["volume", "v3", "{project_id}"] and rng.random() < 0.8:
        case.path_parameters["project_id"] = here.owners[f"{HOMES.get(who, 'admin')} project"]
    if rng.random() < 0.6:
        case.body = _pointed(case.body, names)
    token = token_of(rng, here, who, damage)
    made = case.as_transport_kwargs(base_url="http://cloud.test:5000")
    made.pop("cookies", None)
    prepared = requests.Request(**made).prepare()
    parts = urlsplit(prepared.url or "/")
    body = prepared.body or b""
    if not isinstance(body, bytes):
        body = body.encode() if isinstance(body, str) else b"".join(body)
    headers = [(_bytes(name), _bytes(value)) for name, value in prepared.headers.items() if name != "X-Auth-Token"]
    if segments[0] == "volume" and rng.random() < 0.6:
        headers.append((b"openstack-api-version", b"volume 3.%d" % rng.randint(0, 71)))
    if segments[0] == "placement" and rng.random() < 0.9:
        headers.append((b"openstack-api-version", b"placement 1.%d" % rng.randint(0, 39)))
    if token:  # a damaged one holds bytes that `requests` would not send
        headers.append((b"x-auth-token", token))
    return Request(prepared.method or "GET", parts.path.encode(), parts.query.encode(), tuple(headers), body, who)


def _pointed(value: Any, names: dict[str, Any]) -> Any:
    """The body with ids of things that are there where it has texts for such: nothing is made of others."""
    if isinstance(value, list):
        return [_pointed(item, names) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        name: names.get(_POINTS.get(name, name.removesuffix("_id")), item)
        if isinstance(item, str) and (name in _POINTS or name.endswith("_id"))
        else _pointed(item, names)
        for name, item in value.items()
    }


def _bytes(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode("latin-1", "replace")

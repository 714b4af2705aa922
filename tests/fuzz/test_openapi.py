"""Requests that schemathesis makes from our OpenAPI document: good ones and ones that break the schema.

They are three tenths of `--fuzz-requests`, in equal parts for each method of each path.

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

from tests.fuzz.judge import complaint
from tests.fuzz.memory import Memory
from tests.fuzz.mutate import KIND_OF
from tests.fuzz.world import SEED, Request, World, furnish, log_in, world

LEAST = 7
"""Requests to each method of each path."""
schemathesis.serializer.alias("application/openstack-images-v2.1-json-patch", "application/json")
_SLOW = ("/identity/v3/auth/tokens", "/identity/v3/users/{id}/password")
"""Each request there checks a password, which takes longer than a hundred others."""


@pytest.mark.timeout(7200)  # of a long run; a request that hangs fails by itself
def test_no_request_made_from_the_document_breaks_the_api(tmp_path: Path, fuzz_requests: int) -> None:
    started = time.monotonic()
    with asyncio.Runner() as runner:
        keeper = world(tmp_path)
        here = runner.run(keeper.__aenter__())
        try:
            sent, problems, memory = _play(runner, here, fuzz_requests * 3 // 10)
        finally:
            runner.run(keeper.__aexit__(None, None, None))
    print(f"seed {SEED}: {sent} requests in {time.monotonic() - started:.0f} s, memory {memory}")
    assert sent >= 400 * LEAST // 2
    assert not problems, f"seed {SEED}: {len(problems)} of {sent}:\n" + "\n".join(problems[:20])


def _play(runner: asyncio.Runner, here: World, wanted: int) -> tuple[int, list[str], str]:
    """How many were sent, what was wrong, and how the memory went."""
    sent, problems = 0, list[str]()
    document = runner.run(here.call("GET", "/openapi.json")).json
    schema = schemathesis.openapi.from_dict(document)
    schema.config.generation.update(modes=[GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
    operations = [result.ok() for result in schema.get_all_operations()]
    examples = max(LEAST, wanted // len(operations))
    memory = Memory(examples * len(operations))
    settings = hypothesis.settings(
        max_examples=examples,
        database=None,
        deadline=None,
        phases=[hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    for number, operation in enumerate(operations):
        memory.look(sent)
        slow = operation.method.upper() == "POST" and operation.path in _SLOW

        @hypothesis.seed(SEED + number)
        @hypothesis.settings(settings, max_examples=3 if slow else examples)
        @hypothesis.given(case=operation.as_strategy())
        def play(case: Any) -> None:
            nonlocal sent
            sent += 1
            request = _request(case, here, random.Random(f"{SEED}:{sent}"))
            try:
                found = complaint(request, runner.run(here.send(request)))
            except Exception as error:  # whatever the application lets out is what is looked for
                found = repr(error)
            if found is not None:
                problems.append(f"{request}\n    {found}")
            if here.defects:
                problems.append(f"logged: {here.defects.pop()[-1500:]}")
                here.defects.clear()

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            play()
        if number % 8 == 0:
            runner.run(_again(here))
    # What schemathesis keeps of each operation is in it, so that only test_bytes is held to it.
    return sent, problems, memory.told()


async def _again(here: World) -> None:
    for user in ("admin", "demo"):
        await log_in(here, user)
    await furnish(here)


def _request(case: Any, here: World, rng: random.Random) -> Request:
    """What would go over the wire, with the administrator's token and mostly the ids of things that are there."""
    segments = case.operation.path.strip("/").split("/")
    for before, segment in pairwise(segments):
        known = here.ids.get(KIND_OF.get(before, ""))
        if segment.startswith("{") and known is not None and rng.random() < 0.8:
            case.path_parameters[segment.strip("{}")] = known
    made = case.as_transport_kwargs(base_url="http://cloud.test:5000", headers={"X-Auth-Token": here.tokens["admin"]})
    made.pop("cookies", None)
    prepared = requests.Request(**made).prepare()
    parts = urlsplit(prepared.url or "/")
    body = prepared.body or b""
    if not isinstance(body, bytes):
        body = body.encode() if isinstance(body, str) else b"".join(body)
    headers = tuple((_bytes(name), _bytes(value)) for name, value in prepared.headers.items())
    return Request(prepared.method or "GET", parts.path.encode(), parts.query.encode(), headers, body)


def _bytes(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode("latin-1", "replace")

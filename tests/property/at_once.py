"""A whole cloud in this process that is asked many things at once."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hypothesis import HealthCheck, Phase, settings

from tests.fuzz.world import Answer, World

CLIENTS = 16
Asked = tuple[str, str, Any]
"""Method, path below the Network API, and body."""
NET = "/network/v2.0"


@dataclass
class Cloud:
    here: World
    runner: asyncio.Runner

    def at_once(self, requests: Sequence[Asked]) -> list[Answer]:
        """The answers to requests that all wait before the first is answered, in their order."""

        async def all_of_them() -> list[Answer]:
            asked = (self.here.call(method, NET + path, body) for method, path, body in requests)
            return await asyncio.gather(*asked)

        answers = self.runner.run(all_of_them())
        assert not self.here.defects, self.here.defects
        return answers

    def call(self, method: str, path: str, body: Any = None) -> Answer:
        (answer,) = self.at_once([(method, path, body)])
        return answer

    def get(self, path: str) -> Any:
        answer = self.call("GET", path)
        assert answer.status == 200, (path, answer.body)
        return answer.json

    def make(self, path: str, kind: str, **values: Any) -> Any:
        answer = self.call("POST", path, {kind: values})
        assert answer.status == 201, (path, answer.body)
        return answer.json[kind]


def bounded(examples: int, steps: int) -> settings:
    return settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        phases=(Phase.explicit, Phase.generate),  # to shrink takes minutes, and what comes first is seldom the same
        suppress_health_check=list(HealthCheck),
    )

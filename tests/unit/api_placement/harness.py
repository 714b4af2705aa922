"""Requests to Placement of the whole cloud that `api_compute.harness` makes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.unit.api_compute import harness
from tests.unit.api_compute.harness import Answer, Client, World


@dataclass
class Placement:
    """The same client, below `/placement`, in a microversion."""

    client: Client
    version: str = "1.39"

    async def request(self, method: str, path: str, body: Any = None, version: str | None = None) -> Answer:
        headers = {"openstack-api-version": f"placement {version or self.version}"}
        if body is not None:
            headers["content-type"] = "application/json"
        return await self.client.request(method, f"/placement{path}", body, headers=headers)

    async def get(self, path: str, version: str | None = None) -> Any:
        answer = await self.request("GET", path, version=version)
        assert answer.status == 200, (answer.status, answer.body)
        return answer.json

    async def do(self, method: str, path: str, body: Any = None, version: str | None = None) -> Any:
        """The answer's body; a refusal fails the test."""
        answer = await self.request(method, path, body, version)
        assert answer.status < 300, (answer.status, answer.body)
        return answer.json if answer.body else None

    async def refused(self, method: str, path: str, body: Any = None, version: str | None = None) -> tuple[int, str]:
        """Status and code of a refusal."""
        answer = await self.request(method, path, body, version)
        (error,) = answer.json["errors"]
        assert error["status"] == answer.status and error["request_id"], error
        return answer.status, error["code"]

    async def provider(self, name: str, **inventories: int) -> str:
        """The id of a provider with so much of some classes."""
        made = await self.do("POST", "/resource_providers", {"name": name})
        wanted = {resource: {"total": total} for resource, total in inventories.items()}
        body = {"resource_provider_generation": 0, "inventories": wanted}
        await self.do("PUT", f"/resource_providers/{made['uuid']}/inventories", body)
        return str(made["uuid"])


@asynccontextmanager
async def placement(folder: Path) -> AsyncIterator[tuple[World, Placement]]:
    async with harness.world(folder) as world:
        yield world, Placement(world.admin)


def taken(client: Client, provider_id: str, generation: int | None = None, **resources: int) -> dict[str, Any]:
    """A body of allocations of one consumer; without resources, none."""
    return {
        "allocations": {provider_id: {"resources": resources}} if resources else {},
        "project_id": client.project_id,
        "user_id": client.user_id,
        "consumer_generation": generation,
        "consumer_type": "TEST",
    }

"""Requests to the Block Storage API of the whole cloud that `api_compute.harness` makes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.unit.api_compute.harness import Answer, Client
from tests.waiting import until


@dataclass
class Volumes:
    """The same client, below `/volume/v3` with its project's id in the path, in a microversion."""

    client: Client
    version: str = "3.0"

    async def request(
        self, method: str, path: str, body: Any = None, version: str | None = None, **headers: str
    ) -> Answer:
        names = {"openstack-api-version": f"volume {version or self.version}", **headers}
        whole = f"/volume/v3/{self.client.project_id}{path}"
        return await self.client.request(method, whole, body, headers=names)

    async def get(self, path: str, version: str | None = None) -> Any:
        answer = await self.request("GET", path, version=version)
        assert answer.status == 200, (answer.status, answer.body)
        return answer.json

    async def post(self, path: str, body: Any, version: str | None = None) -> Any:
        answer = await self.request("POST", path, body, version)
        assert answer.status in (200, 202), (answer.status, answer.body)
        return answer.json if answer.body else None

    async def put(self, path: str, body: Any, version: str | None = None) -> Any:
        answer = await self.request("PUT", path, body, version)
        assert answer.status in (200, 202), (answer.status, answer.body)
        return answer.json if answer.body else None

    async def delete(self, path: str) -> int:
        return (await self.request("DELETE", path)).status

    async def error(self, method: str, path: str, body: Any = None, version: str | None = None) -> tuple[int, str, str]:
        """Status, name and message of a refusal."""
        answer = await self.request(method, path, body, version)
        assert answer.status >= 400, (answer.status, answer.body)
        return answer.status, next(iter(answer.json)), answer.message

    async def until(self, path: str, condition: Callable[[Any], bool]) -> Any:
        """The object at the path once it fulfils a condition."""

        async def look() -> Any:
            (found,) = (await self.get(path)).values()
            return found

        return await until(path, look, condition)

    async def until_gone(self, path: str) -> None:
        await until(f"{path} is gone", lambda: self.request("GET", path), lambda answer: answer.status == 404)

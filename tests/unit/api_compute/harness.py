"""A whole cloud in one event loop: every service, the hub, fake agents, and a client that speaks ASGI."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import update

from deuteron.api.app import App
from deuteron.api.main import build
from deuteron.api.parts import Parts
from deuteron.model.settings import HostEntry, Operator, Settings
from deuteron.rules.hosts import registry
from deuteron.store.database import Database, Tx
from deuteron.store.hosts_tables import hosts
from tests.coverage import watch
from tests.stores import address_of
from tests.unit.api_hosts.agent import FakeAgent
from tests.waiting import PATIENCE_S, until

DATA = b"a disk" * 100


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes
    asked: str = ""
    """The path of the request."""

    @property
    def text(self) -> str:
        return self.body.decode(errors="replace")

    @property
    def json(self) -> Any:
        return watch.read(self.asked, self.body)

    @property
    def message(self) -> str:
        """The message of a Nova error."""
        return str(next(iter(self.json.values()))["message"])


@dataclass
class Client:
    """Requests as one user in one project."""

    app: App
    token: str = ""
    project_id: str = ""
    user_id: str = ""

    async def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        version: str | None = None,
        headers: dict[str, str] | None = None,
        unix: bool = False,
    ) -> Answer:
        raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        names = {"host": "cloud.test:5000", "x-auth-token": self.token, **(headers or {})}
        if version is not None:
            names["openstack-api-version"] = f"compute {version}"
        parts = urlsplit(path)
        scope = {
            "type": "http", "method": method, "path": parts.path, "query_string": parts.query.encode(),
            "scheme": "http",
            "headers": [(name.encode(), value.encode()) for name, value in names.items()],
            "server": ("api.sock", None) if unix else ("127.0.0.1", 5000), "client": ("127.0.0.1", 1),
        }  # fmt: skip
        waiting = [{"type": "http.request", "body": raw, "more_body": False}]
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            return waiting.pop(0) if waiting else {"type": "http.disconnect"}

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        await self.app(scope, receive, send)
        content = b"".join(message.get("body", b"") for message in sent[1:])
        status = sent[0]["status"]
        watch.heard(method, parts.path, parts.query, raw, status)
        told = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
        return Answer(status, told, content, parts.path)

    async def get(self, path: str, version: str | None = None) -> Any:
        """The answer's body; anything but success fails the test."""
        answer = await self.request("GET", path, version=version)
        assert answer.status in (200, 203), (answer.status, answer.body)
        return answer.json

    async def post(self, path: str, body: Any, version: str | None = None, status: int | None = None) -> Any:
        answer = await self.request("POST", path, body, version=version)
        assert answer.status == status if status is not None else answer.status < 300, (answer.status, answer.body)
        return answer.json if answer.body else None

    async def server(self, server_id: str, version: str | None = None) -> Any:
        return (await self.get(f"/compute/v2.1/servers/{server_id}", version))["server"]

    async def until(self, server_id: str, condition: Callable[[Any], bool]) -> Any:
        """The server once it fulfils a condition."""
        return await until(f"server {server_id}", lambda: self.server(server_id), condition)

    async def until_status(self, server_id: str, status: str) -> Any:
        return await self.until(
            server_id, lambda found: found["status"] == status and found["OS-EXT-STS:task_state"] is None
        )

    async def until_gone(self, path: str) -> None:
        await until(f"{path} is gone", lambda: self.request("GET", path), lambda answer: answer.status == 404)

    async def action(self, server_id: str, name: str, argument: Any = None, version: str | None = None) -> Answer:
        return await self.request(
            "POST", f"/compute/v2.1/servers/{server_id}/action", {name: argument}, version=version
        )

    async def network(self, name: str = "net1", cidr: str = "10.10.10.0/24") -> str:
        """A network with one subnet."""
        made = await self.post("/network/v2.0/networks", {"network": {"name": name}})
        network_id: str = made["network"]["id"]
        subnet = {"network_id": network_id, "ip_version": 4, "cidr": cidr}
        await self.post("/network/v2.0/subnets", {"subnet": subnet})
        return network_id

    async def image(self, **properties: Any) -> str:
        """An active image."""
        body = {"name": "tiny", "disk_format": "raw", "container_format": "bare", "visibility": "private", **properties}
        image_id: str = (await self.post("/image/v2/images", body))["id"]
        answer = await self.request(
            "PUT", f"/image/v2/images/{image_id}/file", DATA, headers={"content-type": "application/octet-stream"}
        )
        assert answer.status == 204, answer.body
        return image_id

    async def boot(self, version: str | None = None, **fields: Any) -> str:
        """The id of a server asked for."""
        body = {"name": "vm", "flavorRef": "42", **fields}
        made = await self.post("/compute/v2.1/servers", {"server": body}, version, 202)
        return str(made["server"]["id"])


@dataclass
class World:
    cloud: Parts
    app: App
    admin: Client
    demo: Client

    async def agent(self, host: str = "h1", **options: Any) -> FakeAgent:
        return await FakeAgent(self.cloud, host, **options).connect()

    async def forget(self, *names: str) -> None:
        """Let so much time pass since hosts that left were last heard that nobody waits for them any more."""
        long_ago = (datetime.now(UTC) - timedelta(seconds=2 * registry.ALIVE_S)).isoformat(timespec="milliseconds")

        def age(tx: Tx) -> None:
            tx.execute(update(hosts).where(hosts.c.name.in_(names)).values(last_heard=long_ago))

        await until(f"{names} have left", lambda: not any(self.cloud.hub.connected(name) for name in names))
        await asyncio.to_thread(self.cloud.database.write, age)


@asynccontextmanager
async def world(
    state: Path,
    mechanism_drivers: tuple[str, ...] = ("openvswitch",),
    store: Database | None = None,
    operator: Operator | None = None,
) -> AsyncIterator[World]:
    """A bootstrapped cloud with two configured hosts and no agent yet, over the store, or over a new one."""
    settings = Settings(
        state_dir=str(state),
        port=5000,
        socket=str(state / "api.sock"),
        admin_password="admin-secret",
        demo_password="demo-secret",
        database=address_of(state),
        hosts={
            name: HostEntry(token=f"token-{name}", tunnel_ip=f"10.0.1.{n}", bridge_mappings={"physnet1": "br-eth2"})
            for n, name in enumerate(("h1", "h2"), 1)
        },
        mechanism_drivers=mechanism_drivers,
        operator=operator or Operator(),
    )
    cloud, app = build(settings, store)
    cloud.hub.start(asyncio.get_running_loop())
    try:
        yield World(cloud, app, await _login(app, "admin"), await _login(app, "demo"))
    finally:
        await cloud.hub.stop()
        await asyncio.to_thread(app._pool.shutdown)
        cloud.database.close()


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(test, 4 * PATIENCE_S))


async def _login(app: App, user: str) -> Client:
    identity = {
        "methods": ["password"],
        "password": {"user": {"name": user, "domain": {"id": "default"}, "password": f"{user}-secret"}},
    }
    scope = {"project": {"name": user, "domain": {"id": "default"}}}
    answer = await Client(app).request(
        "POST", "/identity/v3/auth/tokens", {"auth": {"identity": identity, "scope": scope}}
    )
    assert answer.status == 201, answer.body
    token = answer.json["token"]
    return Client(app, answer.headers["x-subject-token"], token["project"]["id"], token["user"]["id"])

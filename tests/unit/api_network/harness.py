"""A cloud in one process: the Network API over a fresh store, with callers by token name and no identity behind it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

from deuteron.api import network
from deuteron.api.app import App
from deuteron.api.parts import Parts
from deuteron.api.policy import Policy
from deuteron.hub.hub import Hub
from deuteron.model.caller import Caller
from deuteron.model.errors import Unauthorized
from deuteron.model.network import RESOURCES
from deuteron.model.resource import Resource
from deuteron.model.settings import External, HostEntry, Settings
from deuteron.rules.identity.tokens import Tokens
from deuteron.store.database import Database, Tx
from tests import rows
from tests.coverage import watch
from tests.stores import open_database

ADMIN, DEMO, OTHER = "a" * 32, "d" * 32, "e" * 32
HOST = "aio"
BRIDGES = {"physnet1": "br-eth2", "public": "br-ex"}
ZERO = "00000000-0000-0000-0000-000000000000"


def caller(project: str, *roles: str) -> Caller:
    return Caller(
        user_id=f"user-{project[:1]}",
        user_name="user",
        user_domain_id="default",
        roles=frozenset(roles),
        project_id=project,
    )


CALLERS = {
    "admin": caller(ADMIN, "admin", "member", "reader"),
    "manager": caller(DEMO, "manager", "member", "reader"),
    "demo": caller(DEMO, "member", "reader"),
    "reader": caller(DEMO, "reader"),
    "service": caller(ADMIN, "service", "admin", "member", "reader"),
    "other": caller(OTHER, "member", "reader"),
}


class FixedTokens:
    """Tokens whose text is the name of the caller."""

    def caller(self, tx: Tx, token: str) -> Caller:
        if token not in CALLERS:
            raise Unauthorized("The request you have made requires authentication.")
        return CALLERS[token]


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    raw: bytes
    asked: str = ""
    """The path of the request."""

    @property
    def text(self) -> str:
        return self.raw.decode()

    @property
    def body(self) -> Any:
        return watch.read(self.asked, self.raw) if self.raw else None

    @property
    def error(self) -> dict[str, str]:
        return cast("dict[str, str]", self.body["NeutronError"])


@dataclass
class Client:
    """Speaks to the application directly, without sockets."""

    cloud: Parts
    app: App
    loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.new_event_loop)

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        user: str | None = "admin",
        headers: dict[str, str] | None = None,
    ) -> Answer:
        raw = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.loop.run_until_complete(self._call(method, path, raw, user, headers or {}))

    def get(self, path: str, user: str = "admin") -> Any:
        return self._expect(self.call("GET", path, user=user), 200)

    def post(self, path: str, body: Any, user: str = "admin") -> Any:
        return self._expect(self.call("POST", path, body, user), 201)

    def put(self, path: str, body: Any, user: str = "admin") -> Any:
        return self._expect(self.call("PUT", path, body, user), 200)

    def delete(self, path: str, user: str = "admin") -> None:
        self._expect(self.call("DELETE", path, user=user), 204)

    def network(self, user: str = "demo", **values: Any) -> Any:
        return self.post("/v2.0/networks", {"network": {"name": "net", **values}}, user)["network"]

    def subnet(self, network_id: str, cidr: str, user: str = "demo", **values: Any) -> Any:
        version = 6 if ":" in cidr else 4
        wanted = {"network_id": network_id, "cidr": cidr, "ip_version": version, **values}
        return self.post("/v2.0/subnets", {"subnet": wanted}, user)["subnet"]

    def port(self, network_id: str, user: str = "demo", **values: Any) -> Any:
        return self.post("/v2.0/ports", {"port": {"network_id": network_id, **values}}, user)["port"]

    def _expect(self, answer: Answer, status: int) -> Any:
        assert answer.status == status, f"{answer.status}: {answer.raw.decode()}"
        return answer.body

    async def _call(self, method: str, path: str, raw: bytes, user: str | None, headers: dict[str, str]) -> Answer:
        parts = urlsplit(path)
        sent = [(b"host", b"127.0.0.1:5000"), (b"content-length", str(len(raw)).encode())]
        if user is not None:
            sent.append((b"x-auth-token", user.encode()))
        sent += [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        scope = {
            "type": "http",
            "method": method,
            "path": f"/network{parts.path}",
            "query_string": parts.query.encode(),
            "headers": sent,
            "scheme": "http",
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 5000),
        }
        status, answered, pieces = 0, {}, []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": raw, "more_body": False}

        async def send(message: dict[str, Any]) -> None:
            nonlocal status, answered
            if message["type"] == "http.response.start":
                status = message["status"]
                answered = {name.decode(): value.decode() for name, value in message["headers"]}
            else:
                pieces.append(message.get("body", b""))

        await self.app(scope, receive, send)
        asked = f"/network{parts.path}"
        watch.heard(method, asked, parts.query, raw, status)
        return Answer(status, answered, b"".join(pieces), asked)


def path_of(client: Client, resource: Resource) -> str:
    """Where its objects are: of a nested kind, those of one object of its parent."""
    path = f"/v2.0/{resource.path}"
    if resource.parent is None:
        return path
    (parent,) = [each for each in RESOURCES if each.name == resource.parent.kind]
    query, body = "?name=parent", {"name": "parent"}
    if parent.name == "local_ip":
        body = {**body, "network_id": client.get("/v2.0/networks?name=net")["networks"][0]["id"]}
    if "name" not in parent.by_name:  # a floating IP
        query, body = "", {"floating_network_id": client.get("/v2.0/networks?name=public")["networks"][0]["id"]}
    found = client.get(f"/v2.0/{parent.path}{query}")[parent.plural]
    if not found:
        found = [client.post(f"/v2.0/{parent.path}", {parent.member_name: body})[parent.member_name]]
    return path.replace("{parent}", found[0]["id"])


def settings_in(folder: Path, **values: Any) -> Settings:
    wanted: dict[str, Any] = {
        "state_dir": str(folder),
        "port": 5000,
        "socket": str(folder / "api.sock"),
        "admin_password": "x",
        "demo_password": "x",
        "hosts": {HOST: HostEntry(token="t", bridge_mappings=BRIDGES, tunnel_ip="192.0.2.1")},
        "external": External(),
        **values,
    }
    return Settings(**wanted)


@contextmanager
def cloud_in(folder: Path, store: Database | None = None, **values: Any) -> Iterator[Client]:
    """A running cloud with the host `aio`, which never connected."""
    settings = settings_in(folder, **values)
    database = store or open_database(folder)
    hub = Hub(settings, database)
    policy = Policy(network.POLICIES, folder / "policy.yaml")
    cloud = Parts(settings, database, policy, cast("Tokens", FixedTokens()), hub)
    database.write(lambda tx: network.bootstrap(tx, settings))
    client = Client(cloud, App(cloud, (network.SERVICE(),)))
    try:
        yield client
        rows.check(database)
    finally:
        client.loop.close()
        cloud.stop_jobs()
        database.close()

"""A cloud in one process, and a client that speaks ASGI to it: no sockets, no sleeping."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

from deuteron.api import identity, image
from deuteron.api.app import App
from deuteron.api.parts import Parts
from deuteron.api.policy import Policy
from deuteron.model.settings import Settings
from deuteron.rules.identity.tokens import Tokens
from deuteron.store.database import Tx
from tests.stores import open_database


class Clock:
    """Time that a test moves."""

    def __init__(self, now_s: float = 1_800_000_000.0) -> None:
        self.now_s = now_s

    def __call__(self) -> float:
        return self.now_s


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def text(self) -> str:
        return self.body.decode()


@dataclass
class Kit:
    """The cloud with its client. `token` goes with every request unless another is given."""

    cloud: Parts
    app: App
    token: str | None = None
    tokens: dict[str, str] = field(default_factory=dict)

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        token: str | None = None,
        headers: dict[str, str] | None = None,
        pieces: Iterable[bytes] | None = None,
        hang_up: bool = False,
    ) -> Answer:
        """One request: `body` as JSON unless it is bytes, or `pieces` in several parts; `hang_up` before the end."""
        parts = urlsplit(path)
        raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        names = {"host": "cloud.test:5000", **(headers or {})}
        proof = token if token is not None else self.token
        if proof:
            names["x-auth-token"] = proof
        scope = {
            "type": "http",
            "method": method,
            "path": parts.path,
            "query_string": parts.query.encode(),
            "headers": [(name.lower().encode(), value.encode()) for name, value in names.items()],
            "scheme": "http",
            "server": ("127.0.0.1", 5000),
            "client": ("127.0.0.1", 1),
        }
        return asyncio.run(self._send(scope, list(pieces) if pieces is not None else [raw], hang_up))

    async def _send(self, scope: dict[str, Any], pieces: list[bytes], hang_up: bool) -> Answer:
        sent: list[dict[str, Any]] = []
        messages = self._messages(pieces, hang_up)

        async def receive() -> dict[str, Any]:
            return await messages.__anext__()

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        await self.app(scope, receive, send)
        head = sent[0]
        body = b"".join(message.get("body", b"") for message in sent[1:])
        return Answer(head["status"], {key.decode(): value.decode() for key, value in head["headers"]}, body)

    async def _messages(self, pieces: list[bytes], hang_up: bool) -> AsyncIterator[dict[str, Any]]:
        for number, piece in enumerate(pieces):
            more = hang_up or number + 1 < len(pieces)
            yield {"type": "http.request", "body": piece, "more_body": more}
        while True:
            yield {"type": "http.disconnect"}

    def login(
        self, user: str = "admin", password: str | None = None, project: str | None = "admin", scope: Any = None
    ) -> Answer:
        """POST /v3/auth/tokens with user and password in the default domain."""
        secret = password if password is not None else f"{user}-secret"
        auth: dict[str, Any] = {
            "identity": {
                "methods": ["password"],
                "password": {"user": {"name": user, "domain": {"id": "default"}, "password": secret}},
            }
        }
        if scope is not None:
            auth["scope"] = scope
        elif project is not None:
            auth["scope"] = {"project": {"name": project, "domain": {"name": "Default"}}}
        return self.request("POST", "/identity/v3/auth/tokens", {"auth": auth}, token="")

    def as_user(self, user: str = "admin", project: str = "admin", password: str | None = None) -> Kit:
        """A client with a token of this user in this project."""
        answer = self.login(user, password, project)
        assert answer.status == 201, answer.text
        return Kit(self.cloud, self.app, answer.headers["x-subject-token"])

    def write(self, function: Callable[[Tx], Any]) -> Any:
        return self.cloud.database.write(function)


def make_kit(folder: Path, clock: Clock | None = None, **changes: Any) -> Kit:
    """A bootstrapped cloud in `folder`, with identity and image."""
    values: dict[str, Any] = {
        "state_dir": str(folder),
        "port": 5000,
        "socket": str(folder / "api.sock"),
        "admin_password": "admin-secret",
        "demo_password": "demo-secret",
        **changes,
    }
    settings = Settings(**values)
    database = open_database(folder)
    policy = Policy({**identity.POLICIES, **image.POLICIES})
    keys = folder / "fernet-keys"
    tokens = Tokens(keys, 3600) if clock is None else Tokens(keys, 3600, clock)
    # No agents here: neither service speaks to the hub.
    cloud = Parts(settings, database, policy, tokens, cast(Any, None))

    def bootstrap(tx: Tx) -> None:
        identity.bootstrap(tx, settings)
        image.bootstrap(tx, settings)

    database.write(bootstrap)
    return Kit(cloud, App(cloud, (identity.SERVICE(), image.SERVICE())))

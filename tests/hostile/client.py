"""People of a cloud under attack, and how they speak to it: plain HTTP, so that a test can say what no client would."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

MICROVERSION = "compute 2.90, volume 3.71, placement 1.39"


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    raw: bytes

    @property
    def body(self) -> Any:
        return json.loads(self.raw) if self.raw else None


@dataclass(frozen=True)
class Person:
    """A user with a token. `project` is what the token is scoped to."""

    port: int
    token: str = ""
    user: str = ""
    project: str = ""
    name: str = ""

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        *,
        timeout_s: float = 20.0,
    ) -> Answer:
        """One request on a connection of its own. A body that is not bytes goes as JSON."""
        raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        sent = {"content-length": str(len(raw)), "openstack-api-version": MICROVERSION}
        if self.token:
            sent["x-auth-token"] = self.token
        if body is not None:
            sent["content-type"] = "application/octet-stream" if isinstance(body, bytes) else "application/json"
        connection = HTTPConnection("127.0.0.1", self.port, timeout=timeout_s)
        try:
            connection.request(method, path, raw, {**sent, **(headers or {})})
            answer = connection.getresponse()
            return Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
        finally:
            connection.close()

    def get(self, path: str) -> Any:
        return self.expect("GET", path)

    def post(self, path: str, body: Any) -> Any:
        return self.expect("POST", path, body)

    def expect(self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Any:
        """The body of an answer that has to be a success."""
        answer = self.call(method, path, body, headers)
        assert answer.status < 300, f"{self.name}: {method} {path}: {answer.status} {answer.raw[:500]!r}"
        return answer.body

    def create(self, path: str, kind: str, /, **values: Any) -> Any:
        """An object of the Network API or the like: wrapped in its kind, in body and answer."""
        return self.post(path, {kind: values})[kind]

    def image(self, data: bytes | None, /, **values: Any) -> str:
        """Id of an image; with its data when they are given."""
        wanted = {"name": "image", "disk_format": "raw", "container_format": "bare", **values}
        made: str = self.post("/image/v2/images", wanted)["id"]
        if data is not None:
            self.expect("PUT", f"/image/v2/images/{made}/file", data)
        return made


def login(
    port: int, identity: Mapping[str, Any], scope: Any = None, headers: Mapping[str, str] | None = None
) -> tuple[Answer, Person]:
    """The answer of POST /v3/auth/tokens, and who one is with it."""
    auth: dict[str, Any] = {"identity": identity}
    if scope is not None:
        auth["scope"] = scope
    answer = Person(port).call("POST", "/identity/v3/auth/tokens", {"auth": auth}, headers)
    if answer.status != 201:
        return answer, Person(port)
    token = answer.body["token"]
    return answer, Person(
        port,
        answer.headers["x-subject-token"],
        token["user"]["id"],
        token.get("project", {}).get("id", ""),
        token["user"]["name"],
    )


def administrator(state: Path, project: str = "") -> Person:
    """The cloud's administrator as clouds.yaml has them, in the project of that name."""
    auth = yaml.safe_load((state / "clouds.yaml").read_text())["clouds"]["admin"]["auth"]
    port = urlsplit(auth["auth_url"]).port
    assert port is not None
    scope = {"project": {"name": project or auth["project_name"], "domain": {"id": "default"}}}
    answer, admin = login(port, by_password(auth["username"], auth["password"]), scope)
    assert answer.status == 201, answer.raw
    return admin


def by_password(user: str, password: str) -> dict[str, Any]:
    """The identity of a user of the Default domain, by name."""
    named = {"name": user, "domain": {"id": "default"}, "password": password}
    return {"methods": ["password"], "password": {"user": named}}


def by_token(token: str) -> dict[str, Any]:
    return {"methods": ["token"], "token": {"id": token}}


def in_project(project: str) -> dict[str, Any]:
    """The scope of a project by id."""
    return {"project": {"id": project}}

"""The few requests `up` makes itself, over the standard library.

The official client would need a second to start; a warm `up` has four. Proxies of the environment do not
apply: the cloud is on this machine.
"""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

_CHUNK = 1 << 20


class NotAnswering(Exception):
    """Nobody listens on the cloud's port, or hangs up."""


class Refusal(Exception):
    """The API answered, and said no."""

    def __init__(self, status: int, what: str, body: str) -> None:
        super().__init__(f"{what}: HTTP {status}: {body[:500]}")
        self.status = status


class Client:
    """Requests to the cloud on `port` as the user `admin` of project `admin`."""

    def __init__(self, port: int, password: str) -> None:
        self._port = port
        self._password = password
        self._token: str | None = None

    def answers(self) -> bool:
        """Whether the API serves requests."""
        try:
            status, _, _ = self._send("GET", "/", None, {})
        except NotAnswering:
            return False
        return status < 500

    def log_in(self) -> None:
        """Get a token.

        Raises: NotAnswering; Refusal, with status 401 when the password is not this cloud's.
        """
        domain = {"id": "default"}
        user = {"name": "admin", "domain": domain, "password": self._password}
        scope = {"project": {"name": "admin", "domain": domain}}
        body = {"auth": {"identity": {"methods": ["password"], "password": {"user": user}}, "scope": scope}}
        status, headers, answer = self._send("POST", "/identity/v3/auth/tokens", json.dumps(body).encode(), {})
        if status != 201:
            raise Refusal(status, "cannot log in as admin", answer)
        self._token = headers["X-Subject-Token"]

    def get(self, path: str, microversion: str | None = None) -> dict[str, Any]:
        return self.call("GET", path, microversion=microversion)

    def call(
        self, method: str, path: str, body: dict[str, Any] | None = None, microversion: str | None = None
    ) -> dict[str, Any]:
        """The JSON answer to a request. `microversion` is as in `compute 2.11`.

        Raises: NotAnswering; Refusal for any status from 300 on.
        """
        if self._token is None:
            self.log_in()
        headers = {"X-Auth-Token": self._token or ""}
        if microversion is not None:
            headers["OpenStack-API-Version"] = microversion
        data = json.dumps(body).encode() if body is not None else None
        status, _, answer = self._send(method, path, data, headers)
        if status >= 300:
            raise Refusal(status, f"{method} {path}", answer)
        return cast("dict[str, Any]", json.loads(answer)) if answer else {}

    def upload(self, path: str, file: Path) -> None:
        """PUT the content of `file`."""
        if self._token is None:
            self.log_in()
        headers = {
            "X-Auth-Token": self._token or "",
            "Content-Type": "application/octet-stream",
            "Content-Length": str(file.stat().st_size),
        }
        status, _, answer = self._send("PUT", path, _chunks(file), headers)
        if status >= 300:
            raise Refusal(status, f"PUT {path}", answer)

    def _send(
        self, method: str, path: str, body: bytes | Iterator[bytes] | None, headers: dict[str, str]
    ) -> tuple[int, http.client.HTTPMessage, str]:
        if isinstance(body, bytes):
            headers = {"Content-Type": "application/json", **headers}
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
        try:
            connection.request(method, path, body=body, headers={"Accept": "application/json", **headers})
            response = connection.getresponse()
            return response.status, response.headers, response.read().decode(errors="replace")
        except (OSError, http.client.HTTPException) as error:
            raise NotAnswering(f"{method} {path} on port {self._port}: {error}") from error
        finally:
            connection.close()


def _chunks(file: Path) -> Iterator[bytes]:
    with file.open("rb") as source:
        while chunk := source.read(_CHUNK):
            yield chunk

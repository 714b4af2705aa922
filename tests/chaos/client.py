"""A client of the cloud's APIs that never tries again by itself, so that it knows what was acknowledged."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Mapping
from typing import Any

import msgspec

from deuteron.sandbox.cloud import Cloud


class Broken(Exception):
    """The connection broke before an answer: what was asked may have happened, or not."""


class Unexpected(AssertionError):
    """The API answered with a status that nothing in the model explains."""


class Client:
    """One connection at a time, as `admin`. Belongs to one thread; `stop` ends its waiting."""

    def __init__(
        self, cloud: Cloud, stop: threading.Event, versions: Mapping[str, Mapping[str, str]] | None = None
    ) -> None:
        """`versions` are headers of requests for paths that begin so."""
        self._cloud = cloud
        self._stop = stop
        self._versions = versions or {}
        self._connection: http.client.HTTPConnection | None = None
        self._token = ""

    def log_in(self) -> str:
        """The project's id. A token outlives the API."""
        domain = {"id": "default"}
        user = {"name": "admin", "domain": domain, "password": self._cloud.admin_password}
        scope = {"project": {"name": "admin", "domain": domain}}
        body = {"auth": {"identity": {"methods": ["password"], "password": {"user": user}}, "scope": scope}}
        status, headers, answer = self._send("POST", "/identity/v3/auth/tokens", body)
        if status != 201:
            raise Unexpected(f"cannot log in: {status} {answer}")
        self._token = headers["X-Subject-Token"]
        return str(answer["token"]["project"]["id"])

    def call(self, method: str, path: str, body: Any = None, accept: tuple[int, ...] = ()) -> tuple[int, Any]:
        """Status and body. Raises: Broken; Unexpected for a status from 300 on that is not in `accept`."""
        status, _, answer = self._send(method, path, body)
        if status >= 300 and status not in accept:
            raise Unexpected(f"{method} {path} {json.dumps(body)}: {status} {answer}")
        return status, answer

    def list(self, path: str) -> list[dict[str, Any]]:
        """The items of a list, asked for until there is an answer."""
        while True:
            try:
                _, answer = self.call("GET", path)
            except Broken:
                self.wait_back()
                continue
            return next(value for value in answer.values() if isinstance(value, list))

    def wait_back(self, timeout_s: float = 90.0) -> None:
        """Until the API answers again."""
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                self._send("GET", "/")
                return
            except Broken:
                if time.monotonic() > deadline:
                    raise AssertionError(f"the API did not come back in {timeout_s:g} s") from None
                self._stop.wait(0.05)

    def _send(self, method: str, path: str, body: Any = None) -> tuple[int, http.client.HTTPMessage, Any]:
        kind = "openstack-images-v2.1-json-patch" if method == "PATCH" else "json"
        headers = {"Accept": "application/json", "Content-Type": f"application/{kind}"}
        for beginning, more in self._versions.items():
            if path.startswith(beginning):
                headers |= more
        if self._token:
            headers["X-Auth-Token"] = self._token
        data = None if body is None else msgspec.json.encode(body)
        try:
            if self._connection is None:
                self._connection = http.client.HTTPConnection("127.0.0.1", self._cloud.port, timeout=60)
            self._connection.request(method, path, body=data, headers=headers)
            response = self._connection.getresponse()
            text = response.read()
        except (OSError, http.client.HTTPException) as error:
            if self._connection is not None:
                self._connection.close()
            self._connection = None
            raise Broken(f"{method} {path}: {type(error).__name__}: {error}") from error
        try:
            answer = json.loads(text) if text else None
        except ValueError:
            answer = text.decode(errors="replace")
        return response.status, response.headers, answer

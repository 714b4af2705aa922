"""One keep-alive HTTP connection to the cloud, and the clock around each request.

The standard library's client is used: it adds some 0.2 ms a call, the `requests` of Neutron's baseline about 1 ms.
"""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

_IDLE_S = 2.0
"""A connection that was not used for longer is made anew before the clock starts: servers end them after some time."""


class Refused(Exception):
    """The API said no to something a measurement needs."""


@dataclass(frozen=True)
class Credentials:
    port: int
    token: str
    project_id: str
    headers: Mapping[str, str] = field(default_factory=dict)
    """Sent beside the token."""
    network: str = "/network/v2.0"
    """Where the Network API is."""


class Client:
    """Belongs to one thread."""

    def __init__(self, credentials: Credentials, prefix: str | None = None) -> None:
        self.credentials = credentials
        self._used = 0.0
        self.bytes = 0
        """The length of the last answer's body."""
        self._prefix = credentials.network if prefix is None else prefix
        self._connection = http.client.HTTPConnection("127.0.0.1", credentials.port, timeout=120)
        self._connect()
        self._headers = {"X-Auth-Token": credentials.token, "Accept": "application/json", **credentials.headers}

    def timed(self, method: str, path: str, body: Any = None) -> tuple[bytes, float]:
        """The answer's body, and the milliseconds from the request to the last byte of the answer.

        Raises: Refused for any status from 300 on.
        """
        data = None if body is None else json.dumps(body).encode()
        headers = self._headers if data is None else {**self._headers, "Content-Type": "application/json"}
        if time.monotonic() - self._used > _IDLE_S:
            self._connection.close()
            self._connect()
        begun = time.perf_counter()
        self._connection.request(method, self._prefix + path, body=data, headers=headers)
        response = self._connection.getresponse()
        answer = response.read()
        taken_ms = (time.perf_counter() - begun) * 1000
        self.bytes = len(answer)
        self._used = time.monotonic()
        if response.status >= 300:
            raise Refused(f"{method} {path}: {response.status} {answer[:400]!r}")
        return answer, taken_ms

    def ms(self, method: str, path: str, body: Any = None) -> float:
        return self.timed(method, path, body)[1]

    def call(self, method: str, path: str, body: Any = None) -> Any:
        answer, _ = self.timed(method, path, body)
        return json.loads(answer) if answer else None

    def make(self, kind: str, **values: Any) -> tuple[dict[str, Any], float]:
        """POST one object of the network API: the object and the milliseconds."""
        answer, taken_ms = self.timed("POST", f"/{kind.replace('_', '-')}s", {kind: values})
        return json.loads(answer)[kind], taken_ms

    def close(self) -> None:
        self._connection.close()

    def _connect(self) -> None:
        self._connection.connect()
        self._connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._used = time.monotonic()


def log_in(port: int, password: str, user: str = "admin") -> Credentials:
    """Raises: Refused."""
    domain = {"id": "default"}
    identity = {"methods": ["password"], "password": {"user": {"name": user, "domain": domain, "password": password}}}
    body = {"auth": {"identity": identity, "scope": {"project": {"name": user, "domain": domain}}}}
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("POST", "/identity/v3/auth/tokens", json.dumps(body), {"Content-Type": "application/json"})
    response = connection.getresponse()
    answer = response.read()
    connection.close()
    if response.status != 201:
        raise Refused(f"log in: {response.status} {answer[:400]!r}")
    project_id = json.loads(answer)["token"]["project"]["id"]
    return Credentials(port, str(response.headers["X-Subject-Token"]), project_id)


def concurrently(
    credentials: Credentials, clients: int, count: int, work: Callable[[Client, int], float]
) -> tuple[list[float], float]:
    """`count` calls of `work(client, i)` shared by `clients` threads with a connection each.

    Returns their milliseconds, and the wall time in seconds.

    Raises: the first exception of any thread.
    """
    taken: list[float] = []
    failures: list[BaseException] = []
    numbers = iter(range(count))
    lock = threading.Lock()
    start = threading.Barrier(clients + 1)

    def run() -> None:
        client = Client(credentials)
        try:
            client.ms("GET", "/networks?limit=1&fields=id")
        except BaseException as error:
            failures.append(error)
        start.wait()
        while not failures:
            with lock:
                number = next(numbers, None)
            if number is None:
                break
            try:
                taken.append(work(client, number))
            except BaseException as error:
                failures.append(error)
        client.close()

    threads = [threading.Thread(target=run) for _ in range(clients)]
    for thread in threads:
        thread.start()
    start.wait()
    begun = time.perf_counter()
    for thread in threads:
        thread.join()
    wall_s = time.perf_counter() - begun
    if failures:
        raise failures[0]
    return taken, wall_s

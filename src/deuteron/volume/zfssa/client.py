"""The appliance's REST interface as the driver asks it: sessions that are renewed, times that end, clear refusals.

No request is sent twice that may have been carried out: who asked looks what is there, as after a crash.

Source: Oracle ZFS Storage Appliance RESTful API Guide, "Authentication" and "Errors".
"""

from __future__ import annotations

import http.client
import json
import select
import ssl
import threading
import time
from typing import Any, Final
from urllib.parse import quote

from deuteron.volume.contract import BackendAway, VolumeFailure

_MOST_BYTES: Final = 64 << 20
_IDLE_S: Final = 20.0
"""So long a connection is used again: shorter than any appliance keeps it."""
_ACCESS: Final = "/api/access/v1"

Body = dict[str, Any]


class Refusal(VolumeFailure):
    """The appliance refused; `status` is HTTP's."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class ZfssaClient:
    """One appliance, asked from several threads."""

    def __init__(
        self, address: tuple[str, int], user: str, password: str, timeout_s: float, tls: ssl.SSLContext
    ) -> None:
        self._address = address
        self._user, self._password = user, password
        self._timeout_s = timeout_s
        self._tls = tls
        self._lock = threading.Lock()
        self._session = ""
        self._mine = _Mine()

    def get(self, path: str) -> Body:
        """Raises: Refusal; BackendAway."""
        return self._ask("GET", path, None)

    def find(self, path: str) -> Body | None:
        """None for what is not there. Raises: Refusal; BackendAway."""
        try:
            return self.get(path)
        except Refusal as refusal:
            if refusal.status == 404:
                return None
            raise

    def post(self, path: str, body: Body) -> Body:
        """Raises: Refusal; BackendAway."""
        return self._ask("POST", path, body)

    def put(self, path: str, body: Body) -> Body:
        """Raises: Refusal; BackendAway."""
        return self._ask("PUT", path, body)

    def delete(self, path: str) -> None:
        """What is not there is no error. Raises: Refusal; BackendAway."""
        try:
            self._ask("DELETE", path, None)
        except Refusal as refusal:
            if refusal.status != 404:
                raise

    def _ask(self, method: str, path: str, body: Body | None) -> Body:
        session = self._session or self._log_in("")
        status, answer = self._send(method, path, body, {"X-Auth-Session": session})[:2]
        if status == 401:
            # A session ends when nobody used it for a while, and with the appliance's own start.
            session = self._log_in(session)
            status, answer = self._send(method, path, body, {"X-Auth-Session": session})[:2]
        if 200 <= status < 300:
            return answer
        raise self._refusal(f"{method} {path}", status, answer)

    def _log_in(self, ended: str) -> str:
        """A session; `ended` is one that is not taken any more. Raises: Refusal; BackendAway."""
        with self._lock:
            if self._session != ended:
                return self._session
            headers = {"X-Auth-User": self._user, "X-Auth-Key": self._password}
            status, answer, given = self._send("POST", _ACCESS, None, headers)
            if status == 401:
                raise Refusal(f'the appliance at {self._place} does not let user "{self._user}" in', 401)
            if status == 404:
                raise Refusal(f"there is no REST interface at {self._place}: enable its service there", 404)
            if status != 201 or not given:
                raise self._refusal("log in", status, answer)
            self._session = given
            return given

    def _send(self, method: str, path: str, body: Body | None, headers: dict[str, str]) -> tuple[int, Body, str]:
        connection = self._connection()
        raw = None if body is None else json.dumps(body).encode()
        headers = headers | {"Accept": "application/json", "Content-Type": "application/json"}
        try:
            connection.request(method, path, raw, headers)
            response = connection.getresponse()
            data = response.read(_MOST_BYTES)
            if not response.will_close:
                self._mine.connection, self._mine.used_at = connection, time.monotonic()
        except ssl.SSLCertVerificationError as error:
            raise VolumeFailure(
                f"the certificate of {self._place} is not to be trusted: {error.verify_message}"
            ) from error
        except TimeoutError as error:
            raise BackendAway(f"{self._place} did not answer {method} {path} in {self._timeout_s:g} s") from error
        except (OSError, http.client.HTTPException) as error:
            raise BackendAway(f"{self._place} cannot be reached: {error or type(error).__name__}") from error
        finally:
            if self._mine.connection is not connection:
                connection.close()
        try:
            answer = json.loads(data) if data.strip() else {}
        except ValueError:
            answer = {}
        given = response.getheader("X-Auth-Session") or ""
        return response.status, answer if isinstance(answer, dict) else {}, given

    def _connection(self) -> http.client.HTTPSConnection:
        """The last one of this thread, which another request may break: so it is nobody's until it was answered.

        One that was idle for long, or on which something was said since, as that it ends, is not used again.
        """
        kept, self._mine.connection = self._mine.connection, None
        if kept is not None and time.monotonic() - self._mine.used_at < _IDLE_S and not _is_readable(kept):
            return kept
        if kept is not None:
            kept.close()
        host, port = self._address
        return http.client.HTTPSConnection(host, port, timeout=self._timeout_s, context=self._tls)

    def _refusal(self, attempt: str, status: int, answer: Body) -> VolumeFailure:
        fault = answer.get("fault")
        words = [str(fault[key]) for key in ("message", "details") if fault.get(key)] if isinstance(fault, dict) else []
        message = f"{self._place} refused {attempt} with {status}: {', '.join(words) or 'no reason'}"
        return BackendAway(message) if status in (500, 502, 503, 504) else Refusal(message, status)

    @property
    def _place(self) -> str:
        host, port = self._address
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class _Mine(threading.local):
    """What a thread keeps for its next request."""

    connection: http.client.HTTPSConnection | None = None
    used_at: float = 0.0


def _is_readable(connection: http.client.HTTPSConnection) -> bool:
    return connection.sock is None or bool(select.select([connection.sock], [], [], 0)[0])


def path_of(*names: str) -> str:
    """A path below the storage service."""
    return "/api/storage/v1/" + "/".join(quote(name, safe=":=") for name in names)


def tls_of(*, verify: bool, path: str) -> ssl.SSLContext:
    """Raises: OSError for certificates that cannot be read."""
    context = ssl.create_default_context(cafile=path or None)
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context

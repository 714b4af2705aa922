"""The appliance's REST interface: HTTP over TLS, sessions, and which path asks what.

Each request is that of a session (`X-Auth-Session`), or has the user's name and password with it (`X-Auth-User` and
`X-Auth-Key`, or HTTP's own `Authorization: Basic`). A session ends when nobody used it for a while.

Source: Oracle ZFS Storage Appliance RESTful API Guide, "Authentication" and "Common RESTful Operations".
"""

from __future__ import annotations

import base64
import binascii
import hmac
import http.server
import json
import re
import secrets
import socket
import ssl
import threading
import time
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import structlog

from .faults import STATUS, Fault
from .objects import Appliance, Shown
from .san import San
from .trouble import Troubles, die

log = structlog.get_logger("deuteron.appliance")

VERSION: Final = "1.0"
_MOST_BODY: Final = 1 << 20
_IDLE_S: Final = 120.0

Answer = tuple[int, Shown | None]
Handler = Callable[..., Answer]


def _made(shown: Shown) -> Answer:
    return 201, shown


def _accepted(shown: Shown) -> Answer:
    return 202, shown


def _gone(delete: Callable[..., None], *names: str) -> Answer:
    delete(*names)
    return 204, None


def _found(shown: Shown) -> Answer:
    return 200, shown


class Routes:
    """From method and path to what is done. Parts of a path are taken as they are, without looking into them."""

    def __init__(self, appliance: Appliance, san: San) -> None:
        a, s = appliance, san
        pool = "/api/storage/v1/pools/([^/]+)"
        project = f"{pool}/projects/([^/]+)"
        lun = f"{project}/luns/([^/]+)"
        snapshot = f"{lun}/snapshots/([^/]+)"
        san_path = "/api/san/v1/iscsi"
        self._table: list[tuple[str, re.Pattern[str], Handler]] = [
            (method, re.compile(path), handler)
            for method, path, handler in (
                ("GET", "/api/system/v1/version", lambda _: _found(a.version())),
                ("GET", "/api/storage/v1/pools", lambda _: _found(a.pools())),
                ("GET", pool, lambda _, p: _found(a.pool(p))),
                ("GET", f"{pool}/projects", lambda _, p: _found(a.projects(p))),
                ("POST", f"{pool}/projects", lambda b, p: _made(a.create_project(p, b))),
                ("GET", project, lambda _, p, j: _found(a.project(p, j))),
                ("GET", f"{project}/luns", lambda _, p, j: _found(a.luns(p, j))),
                ("POST", f"{project}/luns", lambda b, p, j: _made(a.create_lun(p, j, b))),
                ("GET", lun, lambda _, p, j, n: _found(a.lun(p, j, n))),
                ("PUT", lun, lambda b, p, j, n: _accepted(a.modify_lun(p, j, n, b))),
                ("DELETE", lun, lambda _, p, j, n: _gone(a.delete_lun, p, j, n)),
                ("GET", "/api/storage/v1/snapshots", lambda _: _found(a.all_snapshots())),
                ("GET", f"{lun}/snapshots", lambda _, p, j, n: _found(a.snapshots(p, j, n))),
                ("POST", f"{lun}/snapshots", lambda b, p, j, n: _made(a.create_snapshot(p, j, n, b))),
                ("GET", snapshot, lambda _, p, j, n, s: _found(a.snapshot(p, j, n, s))),
                ("PUT", snapshot, lambda b, p, j, n, s: _accepted(a.rename_snapshot(p, j, n, s, b))),
                ("DELETE", snapshot, lambda _, p, j, n, s: _gone(a.delete_snapshot, p, j, n, s)),
                ("PUT", f"{snapshot}/clone", lambda b, p, j, n, s: _made(a.clone(p, j, n, s, b))),
                ("POST", "/api/storage/v1/schema", lambda b: _made(a.create_property(b))),
                ("GET", "/api/storage/v1/schema/([^/]+)", lambda _, n: _found(a.schema(n))),
                ("GET", f"{san_path}/targets", lambda _: _found(s.targets())),
                ("POST", f"{san_path}/targets", lambda b: _made(s.create_target(b))),
                ("GET", f"{san_path}/targets/([^/]+)", lambda _, n: _found(s.target(n))),
                ("GET", f"{san_path}/initiators", lambda _: _found(s.initiators())),
                ("POST", f"{san_path}/initiators", lambda b: _made(s.create_initiator(b))),
                ("GET", f"{san_path}/initiators/([^/]+)", lambda _, n: _found(s.initiator(n))),
                ("PUT", f"{san_path}/initiators/([^/]+)", lambda b, n: _accepted(s.modify_initiator(n, b))),
                ("GET", f"{san_path}/target-groups", lambda _: _found(s.groups("targets"))),
                ("POST", f"{san_path}/target-groups", lambda b: _made(s.create_group("targets", b))),
                ("GET", f"{san_path}/target-groups/([^/]+)", lambda _, n: _found(s.group("targets", n))),
                ("PUT", f"{san_path}/target-groups/([^/]+)", lambda b, n: _accepted(s.modify_group("targets", n, b))),
                ("GET", f"{san_path}/initiator-groups", lambda _: _found(s.groups("initiators"))),
                ("POST", f"{san_path}/initiator-groups", lambda b: _made(s.create_group("initiators", b))),
                ("GET", f"{san_path}/initiator-groups/([^/]+)", lambda _, n: _found(s.group("initiators", n))),
                (
                    "PUT",
                    f"{san_path}/initiator-groups/([^/]+)",
                    lambda b, n: _accepted(s.modify_group("initiators", n, b)),
                ),
            )
        ]
        self._lock = appliance.lock

    def carry_out(self, method: str, path: str, body: dict[str, Any]) -> Answer:
        """Raises: Fault."""
        is_known = False
        for verb, pattern, handler in self._table:
            found = pattern.fullmatch(path)
            if found is not None and verb == method:
                with self._lock:
                    return handler(body, *(unquote(part) for part in found.groups()))
            is_known = is_known or found is not None
        if is_known:
            raise Fault("ERR_NOT_ALLOWED", f"{method} is not allowed here")
        raise Fault("ERR_NOT_FOUND", f'there is no "{path}"')


class Sessions:
    """Who has logged in, and when each was heard last."""

    def __init__(self, user: str, password: str, idle_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._user, self._password = user, password
        self._idle_s, self._clock = idle_s, clock
        self._heard: dict[str, float] = {}
        self._lock = threading.Lock()

    def open(self) -> str:
        with self._lock:
            session = secrets.token_urlsafe(24)
            self._heard[session] = self._clock()
            return session

    def close(self, session: str) -> None:
        with self._lock:
            self._heard.pop(session, None)

    def refuse_stranger(self, headers: Any) -> None:
        """Raises: Fault."""
        session = headers.get("X-Auth-Session")
        if session is not None:
            with self._lock:
                now = self._clock()
                self._heard = {each: at for each, at in self._heard.items() if now - at < self._idle_s}
                if session in self._heard:
                    self._heard[session] = now
                    return
            raise Fault("ERR_UNAUTHORIZED", "the session has ended")
        user, password = headers.get("X-Auth-User"), headers.get("X-Auth-Key")
        kind, _, word = (headers.get("Authorization") or "").partition(" ")
        if user is None and kind.lower() == "basic":
            try:
                user, _, password = base64.b64decode(word, validate=True).decode().partition(":")
            except (binascii.Error, UnicodeDecodeError):
                raise Fault("ERR_UNAUTHORIZED", "the header Authorization cannot be read") from None
        is_user = hmac.compare_digest((user or "").encode(), self._user.encode())
        if not hmac.compare_digest((password or "").encode(), self._password.encode()) or not is_user:
            raise Fault("ERR_UNAUTHORIZED", "user or password are wrong")


class RestServer(http.server.ThreadingHTTPServer):
    """The server; `serve_forever` runs it. Each connection has a thread, in which it also is encrypted."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(
        self, address: tuple[str, int], tls: ssl.SSLContext, routes: Routes, sessions: Sessions, troubles: Troubles
    ) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, _Handler)
        self.routes, self.sessions, self.troubles = routes, sessions, troubles
        self._tls = tls

    def finish_request(self, request: Any, client_address: Any) -> None:
        request.settimeout(_IDLE_S)
        request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            secured = self._tls.wrap_socket(request, server_side=True)
        except OSError:
            return
        with secured:
            super().finish_request(secured, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        log.warning("connection of REST failed", exc_info=True)


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "ZFSSA-simulator"
    wbufsize = -1
    server: RestServer

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def do_PUT(self) -> None:
        self._answer()

    def do_DELETE(self) -> None:
        self._answer()

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: a request may name secrets."""

    def _answer(self) -> None:
        path = urlsplit(self.path).path
        headers: dict[str, str] = {}
        trouble = None
        try:
            body = self._body()
            trouble = self.server.troubles.meet(f"{self.command} {path}")
            if trouble is not None and trouble.status is not None:
                name = next((name for name, status in STATUS.items() if status == trouble.status), "ERR_INTERNAL")
                self._send(trouble.status, {"fault": {"message": name, "code": trouble.status}}, {})
                return
            self.server.sessions.refuse_stranger(self.headers)
            if path == "/api/access/v1":
                status, shown = self._access(headers)
            else:
                status, shown = self.server.routes.carry_out(self.command, path, body)
        except Fault as fault:
            status, shown = fault.status, fault.body
        except OSError as error:
            log.error("the appliance's own disk failed", path=path, error=str(error))
            status, shown = 500, {"fault": {"message": "ERR_INTERNAL", "details": str(error), "code": 500}}
        if trouble is not None and trouble.die == "after":
            die()
        self._send(status, shown, headers)

    def _access(self, headers: dict[str, str]) -> Answer:
        if self.command == "POST":
            headers["X-Auth-Session"] = self.server.sessions.open()
            return 201, None
        if self.command == "DELETE":
            self.server.sessions.close(self.headers.get("X-Auth-Session") or "")
            return 204, None
        raise Fault("ERR_NOT_ALLOWED", f"{self.command} is not allowed here")

    def _body(self) -> dict[str, Any]:
        length = self.headers.get("Content-Length") or "0"
        if not length.isascii() or not length.isdigit() or int(length) > _MOST_BODY:
            self.close_connection = True
            raise Fault("ERR_OVER_LIMIT", "the request is too large")
        raw = self.rfile.read(int(length))
        if not raw.strip():
            return {}
        try:
            body = json.loads(raw)
        except (ValueError, RecursionError):
            raise Fault("ERR_INVALID_ARG", "the body is no JSON") from None
        if not isinstance(body, dict):
            raise Fault("ERR_INVALID_ARG", "the body is no JSON object")
        return body

    def _send(self, status: int, shown: Shown | None, headers: dict[str, str]) -> None:
        raw = b"" if shown is None else json.dumps(shown).encode()
        self.send_response(status)
        for key, value in (headers | {"X-Zfssa-Version": VERSION, "Content-Type": "application/json"}).items():
            self.send_header(key, value)
        if status != 204:
            self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

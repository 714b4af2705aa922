"""The ASGI application: finds the service and route of a request, proves the caller, runs the handler.

Every request ends in an answer of the service it was for. An exception that is not an `ApiError` is a
defect of ours: it is logged whole with the request id and answered with a plain 500.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, TypeVar
from urllib.parse import parse_qsl

import structlog

from deuteron.api.call import BODY_TIMEOUT_S, Call, Mode, Reply, Route, RouteTable, Service
from deuteron.api.encoding import encoded
from deuteron.api.limits import Buckets
from deuteron.api.meter import LONG_STEP_S, Place, Spent
from deuteron.api.parts import Parts
from deuteron.model.errors import ApiError, BadRequest, NotFound, TooMany, TooSlow

log = structlog.get_logger("deuteron.api")

T = TypeVar("T")
Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
WebSocketHandler = Callable[[Scope, Receive, Send], Awaitable[None]]

MAX_QUERY_PAIRS = 1000
SHORT_BODY_BYTES = 16 * 1024
"""A body of at most so many bytes is read in the event loop: within some milliseconds, and a thread would cost more."""


class App:
    """`services` by prefix; `internal` paths are served only on the Unix socket."""

    def __init__(
        self,
        parts: Parts,
        services: tuple[Service, ...],
        websockets: Mapping[str, WebSocketHandler] | None = None,
        internal: frozenset[str] = frozenset({"internal"}),
        threads: int = 8,
    ) -> None:
        self.parts = parts
        self._services = {
            service.prefix.strip("/"): (
                service,
                RouteTable(service.routes(), exact=service.exact_paths, same_words=service.same_words),
            )
            for service in services
        }
        self.websockets = websockets or {}
        self._internal = internal
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="api")
        limits = parts.settings.operator.limits
        self._projects = None if limits.project is None else Buckets("project", limits.project)
        self._addresses = None if limits.address is None else Buckets("address", limits.address)
        self._slow_s = limits.slow_request_ms / 1000

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "websocket":
            await self._websocket(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._lifespan(receive, send)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                await send({"type": "lifespan.startup.complete"})
            else:
                await send({"type": "lifespan.shutdown.complete"})
                return

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        first = scope["path"].strip("/").partition("/")[0]
        handler = self.websockets.get(first)
        if handler is None or (first in self._internal and not _is_unix(scope)):
            await receive()
            await send({"type": "websocket.close", "code": 4404})
            return
        await handler(scope, receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = time.perf_counter()
        request_id = f"req-{_uuid()}"
        first, _, rest = scope["path"].lstrip("/").partition("/")
        entry = self._services.get(first)
        if entry is None or (first in self._internal and not _is_unix(scope)):
            entry, rest = self._services.get(""), scope["path"]
        call: Call | None = None
        refused = False
        reply: Reply
        if entry is None:
            reply = Reply(404, {"error": {"code": 404, "title": "Not Found", "message": "no service has this path"}})
        else:
            service, table = entry
            try:
                if self._addresses is not None and not _is_unix(scope):
                    self._addresses.take(_address(scope))
                spent = Spent()
                with spent.step("loop"):
                    call = _call(self.parts, scope, request_id, rest, spent, service.max_body_bytes)
                reply = await self._answer(service, table, call, receive)
            except TooMany as error:
                refused = True
                reply = service.error(call, error)
                reply = replace(reply, headers={**reply.headers, "Retry-After": str(error.retry_after_s)})
            except ApiError as error:
                reply = service.error(call, error)
            except Exception:
                log.exception("request failed", request_id=request_id, method=scope["method"], path=scope["path"])
                reply = service.error(call, ApiError("The server met an unexpected condition; its log says more."))
        self._count(scope, call, request_id, reply.status, time.perf_counter() - started, refused)
        await _send(send, reply, call, request_id, scope["method"] == "HEAD")
        log.debug(
            "request",
            request_id=request_id,
            method=scope["method"],
            path=scope["path"],
            status=reply.status,
            duration_ms=round((time.perf_counter() - started) * 1000, 2),
        )

    def _count(
        self, scope: Scope, call: Call | None, request_id: str, status: int, seconds: float, refused: bool
    ) -> None:
        """Before the answer is sent: how long a client takes to hear it says nothing of the request."""
        spent = Spent() if call is None else call.spent
        caller = None if call is None else call._caller
        project = None if caller is None else caller.project_id
        route = "" if call is None else call.route
        self.parts.meter.record(
            spent,
            request=f"{scope['method']} {route}",
            request_id=request_id,
            project=project,
            address="" if _is_unix(scope) else _address(scope),
            refused=refused,
        )
        if seconds > self._slow_s or max(spent.loop, spent.writer) > LONG_STEP_S:
            log.warning(
                "slow request",
                request_id=request_id,
                project=project,
                method=scope["method"],
                route=route,
                status=status,
                ms=round(seconds * 1000, 1),
                loop_ms=round(spent.loop * 1000, 1),
                reader_ms=round(spent.reader * 1000, 1),
                writer_ms=round(spent.writer * 1000, 1),
            )

    async def _answer(self, service: Service, table: RouteTable, call: Call, receive: Receive) -> Reply:
        try:
            route, call.params = table.find(call.method, call.path, odd_slashes=call.odd_slashes)
        except NotFound:
            # An unknown path tells a stranger nothing: OpenStack asks for the token first.
            if "x-auth-token" not in call.headers:
                service.prepare(call)
            raise
        call.route, call.service, call.prefix = route.path, service.name, service.prefix
        call.receive = _pieces(receive)
        if route.mode is Mode.ASYNC:
            service.prepare(call)
            if route.auth:
                await self._admit(call)
            streamed: Reply = await route.handler(call)
            return streamed
        await call.read_body()
        service.prepare(call)
        if route.mode is Mode.READ:
            if route.auth and (self._projects is not None or route.writes_if is not None):
                await self._admit(call)
            if route.writes_if is not None and await self._look(call, functools.partial(route.writes_if, call)):
                return await self._write(route, call)
            if route.is_short is not None and self.parts.database.is_embedded:
                with call.spent.step("loop"), self.parts.database.read() as tx:
                    if route.auth and call._caller is None:
                        call.prove(tx)
                    if route.is_short(call, tx):
                        return self._run(route, call, tx)
            answer: Reply = await self._read(functools.partial(self._step, "reader", route, call))
            return answer
        if route.auth:
            # Proven before queueing: a stranger must not take a place in the writer's line.
            await self._admit(call)
        await self._prepare(route, call)
        return await self._write(route, call)

    async def _look(self, call: Call, what: Callable[[Any], T]) -> T:
        """The result of one short read: in the event loop, but in a thread where a server answers it over a network."""
        if self.parts.database.is_embedded:
            with call.spent.step("loop"), self.parts.database.read() as tx:
                return what(tx)

        def run() -> T:
            with call.spent.step("reader"), self.parts.database.read() as tx:
                return what(tx)

        return await asyncio.get_running_loop().run_in_executor(self._pool, run)

    async def _write(self, route: Route, call: Call) -> Reply:
        reply: Reply = await asyncio.wrap_future(
            self.parts.database.submit(functools.partial(self._step, "writer", route, call))
        )
        if call.due and self.parts.steps is not None:
            await self.parts.steps.finish(call.due)
        return reply

    async def _admit(self, call: Call) -> None:
        """Prove the caller: of a token that was seen before, it is one short read.

        Raises: Unauthorized; TooMany when its project has had its share.
        """
        caller = await self._look(call, call.prove)
        if self._projects is not None and caller.project_id is not None:
            self._projects.take(caller.project_id)

    async def _prepare(self, route: Route, call: Call) -> None:
        """Read the body, before the writer's turn. What takes long does so in a thread, for it holds nobody there."""
        if route.before_is_long or len(call.raw) > SHORT_BODY_BYTES:
            await asyncio.get_running_loop().run_in_executor(self._pool, _read_body, route, call, "reader")
        else:
            _read_body(route, call, "loop")

    def _step(self, place: Place, route: Route, call: Call, tx: Any) -> Reply:
        with call.spent.step(place):
            return self._run(route, call, tx)

    def _run(self, route: Route, call: Call, tx: Any) -> Reply:
        if route.auth and call._caller is None:
            call.prove(tx)
        try:
            reply: Reply = route.handler(call, tx)
        except StopIteration as error:
            # No future holds one: the request would never be answered.
            raise RuntimeError("a handler read beyond the end of an iterator") from error
        call.due = tuple(tx.due)
        if reply.body is not None and not isinstance(reply.body, bytes):
            # Encoded here, in the worker thread: a long list must not hold up the event loop.
            return Reply(reply.status, encoded(reply.body), reply.headers, reply.content_type or "application/json")
        return reply

    async def _read(self, function: Callable[[Any], Any]) -> Any:
        def run() -> Any:
            with self.parts.database.read() as tx:
                return function(tx)

        return await asyncio.get_running_loop().run_in_executor(self._pool, run)


def _uuid() -> str:
    text = secrets.token_hex(16)
    return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-a{text[17:20]}-{text[20:]}"


def _is_unix(scope: Scope) -> bool:
    server = scope.get("server")
    return server is not None and server[1] is None


def _address(scope: Scope) -> str:
    address: str = (scope.get("client") or ("", 0))[0]
    return address


def _read_body(route: Route, call: Call, place: Place) -> None:
    with call.spent.step(place):
        if route.before is not None:
            call.given = route.before(call)
        elif call.raw:
            with contextlib.suppress(BadRequest):  # whose words they are, the handler knows
                call.json()


def _call(parts: Parts, scope: Scope, request_id: str, rest: str, spent: Spent, max_body_bytes: int) -> Call:
    headers: dict[str, str] = {}
    for key, value in scope["headers"]:
        headers[key.decode("latin-1")] = value.decode("latin-1")
    try:
        text = scope["query_string"].decode("ascii")
        if text.count("&") >= MAX_QUERY_PAIRS:
            raise BadRequest(
                f"The query string has {text.count('&') + 1} pairs, at most {MAX_QUERY_PAIRS} are accepted",
                type="HTTPBadRequest",
            )
        query = tuple(parse_qsl(text, keep_blank_values=True, errors="strict")) if text else ()
    except (UnicodeDecodeError, ValueError):
        raise BadRequest("The query string is not valid percent-encoded UTF-8", type="HTTPBadRequest") from None
    path = "/" + "/".join(part for part in rest.split("/") if part)
    return Call(
        parts=parts,
        method=scope["method"],
        path=path,
        odd_slashes=path != "/" + rest.removeprefix("/"),
        params={},
        query=query,
        headers=headers,
        request_id=request_id,
        base_url=f"{scope.get('scheme', 'http')}://{headers.get('host', parts.settings.endpoint.partition('//')[2])}",
        client=_address(scope),
        spent=spent,
        max_body_bytes=max_body_bytes,
    )


async def _pieces(receive: Receive) -> AsyncIterator[bytes]:
    while True:
        try:
            async with asyncio.timeout(BODY_TIMEOUT_S):  # `wait_for` would make a task of it
                message = await receive()
        except TimeoutError:
            raise TooSlow(f"The request body stopped arriving for {BODY_TIMEOUT_S:.0f} s") from None
        if message["type"] == "http.disconnect":
            raise BadRequest("The client closed the connection before the body was complete")
        if message.get("body"):
            yield message["body"]
        if not message.get("more_body"):
            return


async def _send(send: Send, reply: Reply, call: Call | None, request_id: str, head: bool) -> None:
    body = b"" if reply.body is None else reply.body if isinstance(reply.body, bytes) else encoded(reply.body)
    headers = {"x-openstack-request-id": request_id, "date": _http_date()}
    if call is not None:
        headers.update(call.extra_headers)
    if body or reply.content_type:
        headers["content-type"] = reply.content_type or "application/json"
    if reply.stream is None and reply.status != 204:
        headers["content-length"] = str(len(body))
    headers.update({name.lower(): value for name, value in reply.headers.items()})
    raw = [(name.encode("latin-1"), value.encode("latin-1", "replace")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": reply.status, "headers": raw})
    if head:
        body = b""
    if reply.stream is not None and not head:
        async for piece in reply.stream:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": body if reply.stream is None else b""})


def _http_date() -> str:
    return _http_date_of(int(time.time()))


@functools.lru_cache(maxsize=1)
def _http_date_of(seconds: int) -> str:
    return time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(seconds))


__all__ = ["App"]

"""Calls, replies and routes: what a service's handler sees and says.

A handler is `(call, tx) -> Reply`: it reads or writes rows and returns the answer; the application runs it
in a transaction of the route's mode and turns its `ApiError`s into the service's error body. A handler of
mode ASYNC is `async (call) -> Reply` and manages its own transactions: only for bodies that are streamed.
"""

from __future__ import annotations

import asyncio
import enum
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgspec

from deuteron.api.meter import Spent
from deuteron.api.parts import Parts
from deuteron.api.policy import Policy
from deuteron.model.caller import Caller
from deuteron.model.codecs import whole_number
from deuteron.model.errors import ApiError, BadRequest, NotAllowed, NotFound, TooLarge, TooSlow, Unauthorized
from deuteron.model.settings import Settings
from deuteron.rules.identity.access_rules import Request, refuse_beyond
from deuteron.store.database import Database, Tx

MAX_BODY_BYTES = 512 * 1024
"""Of a body that is read whole, where the service has no smaller bound: JSON of so many bytes is read in some 20 ms."""
PASTE_MAX_BODY_BYTES = 114_688
"""The same of Nova and Keystone. Source: oslo_middleware/sizelimit.py, which both have in their api-paste."""
BODY_TIMEOUT_S = 30.0
"""A client that sends its body slower than this is answered 408; one that streams an image, each piece of it."""


class Mode(enum.Enum):
    READ = "read"
    WRITE = "write"
    ASYNC = "async"


@dataclass(frozen=True)
class Reply:
    """An answer: `body` is encoded as JSON unless it is bytes or a stream; None is no body."""

    status: int = 200
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    content_type: str | None = None
    stream: AsyncIterator[bytes] | None = None


@dataclass
class Call:
    """One request. `params` are the path's variables, `query` its pairs in order, `raw` the body as received."""

    parts: Parts
    method: str
    path: str
    params: Mapping[str, str]
    query: tuple[tuple[str, str], ...]
    headers: Mapping[str, str]
    """Names in lower case."""
    odd_slashes: bool = False
    """Whether the client wrote a slash at the end of `path`, or two in it, which are left out there."""
    raw: bytes = b""
    max_body_bytes: int = MAX_BODY_BYTES
    given: Any = None
    """What the route's `before` made of the request."""
    request_id: str = ""
    base_url: str = ""
    """Scheme, host and port the client used: `http://127.0.0.1:5000`."""
    client: str = ""
    receive: AsyncIterator[bytes] | None = None
    """The body in pieces; only ASYNC handlers find any left."""
    _caller: Caller | None = None
    version: Any = None
    """The service's negotiated version (a microversion), set by its `prepare`."""
    extra_headers: dict[str, str] = field(default_factory=dict)
    spent: Spent = field(default_factory=Spent)
    """What the request has held so far."""
    route: str = ""
    """The path of its route: `/v2.0/ports/{id}`."""
    service: str = ""
    """The name of the service that it is for."""
    prefix: str = ""
    """Where that is mounted: `/network`."""
    due: tuple[Any, ...] = ()
    """What its transaction left to be done after the commit."""
    _document: tuple[Any] | BadRequest | None = None
    """What `json` found."""
    """Headers that the service adds to any answer, errors included."""

    @property
    def settings(self) -> Settings:
        return self.parts.settings

    @property
    def policy(self) -> Policy:
        return self.parts.policy

    @property
    def store(self) -> Database:
        return self.parts.database

    @property
    def caller(self) -> Caller:
        """The proven caller; only routes with `auth=True` may ask."""
        if self._caller is None:
            raise RuntimeError("the route has no authenticated caller")
        return self._caller

    def prove(self, tx: Tx) -> Caller:
        """The caller that the token proves in this transaction, kept for the handler.

        Raises: Unauthorized, also for a request that the token's application credential is not for.
        """
        token = self.headers.get("x-auth-token")
        if not token:
            raise Unauthorized("The request you have made requires authentication.")
        caller = self.parts.tokens.caller(tx, token)
        if caller.access_rules is not None:
            refuse_beyond(caller.access_rules, Request(self.service, self.method, self.path, self.prefix))
        self._caller = caller
        return caller

    async def read_body(self) -> None:
        """Read the whole body into `raw`. Raises: TooLarge, TooSlow; BadRequest when the client went away."""
        length = whole_number(self.headers.get("content-length", "0"))
        most = self.max_body_bytes
        if length is not None and length > most:
            raise TooLarge(f"The request body of {length} bytes is too large; at most {most} are accepted")
        announced = "content-length" in self.headers or "transfer-encoding" in self.headers
        if self.receive is None or (self.method in ("GET", "HEAD", "DELETE") and not announced):
            return
        parts: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(BODY_TIMEOUT_S):
                async for piece in self.receive:
                    size += len(piece)
                    if size > most:
                        raise TooLarge(f"The request body is too large; at most {most} bytes are accepted")
                    parts.append(piece)
        except TimeoutError:
            raise TooSlow(f"The request body did not arrive within {BODY_TIMEOUT_S:.0f} s") from None
        self.raw = b"".join(parts)

    def json(self) -> Any:
        """The body as JSON, read once: whoever asks gets the same. Raises: BadRequest."""
        if self._document is None:
            self._document = self._read_json()
        if isinstance(self._document, BadRequest):
            raise self._document
        return self._document[0]

    def _read_json(self) -> tuple[Any] | BadRequest:
        if not self.raw:
            return BadRequest("The request body is empty, a JSON object is expected", type="HTTPBadRequest")
        try:
            return (msgspec.json.decode(self.raw),)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            return BadRequest(f"The request body is not valid JSON: {error}", type="HTTPBadRequest")

    def wrapped(self, name: str) -> dict[str, Any]:
        """The object under the body's key `name`. Raises: BadRequest."""
        body = self.json()
        if not isinstance(body, dict) or not isinstance(body.get(name), dict):
            raise BadRequest(f"Unable to find '{name}' in request body", type="HTTPBadRequest")
        found: dict[str, Any] = body[name]
        return found

    def get(self, name: str, default: str | None = None) -> str | None:
        """The first value of a query parameter."""
        for key, value in self.query:
            if key == name:
                return value
        return default


class Handler(Protocol):
    def __call__(self, call: Call, tx: Any, /) -> Reply: ...


@dataclass(frozen=True)
class Route:
    """`path` is relative to the service's prefix, with variables in braces: `/v2.0/ports/{id}`.

    A last variable `{rest...}` takes whatever follows, also nothing: `/metadata/{rest...}`.
    """

    method: str
    path: str
    handler: Callable[..., Any]
    mode: Mode = Mode.READ
    auth: bool = True
    is_short: Callable[[Call, Any], bool] | None = None
    """Says of a READ, in its transaction, whether it takes at most some milliseconds. Then it runs in the event loop:
    going through a thread would cost more, and hold the interpreter as long."""
    writes_if: Callable[[Call, Any], bool] | None = None
    """Says of a READ, in a short read of its own, that something has to be made first. Then the same handler runs once
    as a write, and makes it: a handler that reads finds no way to write."""
    before: Callable[[Call], Any] | None = None
    """What a WRITE does before its turn, without a transaction: reads its body, makes keys. It becomes `call.given`."""
    query: Mapping[str, bool] = field(default_factory=dict)
    """What a query of its own may say, and whether it has to; what lists are asked for, their declarations say."""
    before_is_long: bool = False
    """Whether `before` takes more than some milliseconds whatever the body; then it runs in a thread."""


class Service(Protocol):
    """One API dialect."""

    name: str
    prefix: str
    """Where it is mounted: `/network`."""
    max_body_bytes: int
    """Of bodies that are read whole."""
    exact_paths: bool
    """Whether `/images/` is another path than `/images`: so in Nova and Glance, whose routes match exactly."""
    same_words: bool
    """Whether `/address_groups` is `/address-groups`, for all names of collections: so in Neutron."""

    def routes(self) -> tuple[Route, ...]: ...

    def error(self, call: Call | None, error: ApiError) -> Reply:
        """The service's own shape of an error."""

    def prepare(self, call: Call) -> None:
        """Before the handler: negotiate versions, refuse media types. May set `version` and `extra_headers`."""


_TAIL, _VARIABLE, _METHODS, _WORDS = "\0tail", "\0variable", "\0methods", "\0words"
"""The nodes of a `{rest...}` variable, of a variable, of what a path answers, and of words by `_folded`: a segment that
a client wrote is never looked up when it begins with NUL, so it is never taken for one of them."""


class RouteTable:
    """Finds the route of a path in time proportional to its segments.

    With `same_words`, a collection is found by its name with dashes and with underscores, whichever its route has.
    With `exact`, a slash at the end, or a second one inside, makes it another path, which no route has; only the
    root of a version (`/v2/`) is the same with and without.
    """

    def __init__(self, routes: tuple[Route, ...], *, exact: bool = False, same_words: bool = False) -> None:
        self._exact = exact
        self._root: dict[str, Any] = {}
        for route in routes:
            node = self._root
            names: list[str] = []
            segments = _segments(route.path)
            for place, segment in enumerate(segments, 1):
                word = segment
                if segment.endswith("...}"):
                    names.append(segment[1:-4])
                    segment = _TAIL
                elif segment.startswith("{"):
                    names.append(segment[1:-1])
                    segment = _VARIABLE
                parent, node = node, node.setdefault(segment, {})
                if same_words and word == segment and (place < len(segments) or route.method != "PUT"):
                    parent.setdefault(_WORDS, {})[_folded(word)] = node
            methods = node.setdefault(_METHODS, {})
            if route.method in methods:
                raise ValueError(f"two routes for {route.method} {route.path}")
            methods[route.method] = (route, tuple(names))

    def find(self, method: str, path: str, *, odd_slashes: bool = False) -> tuple[Route, dict[str, str]]:
        """Raises: NotFound for an unknown path, NotAllowed for a known path without this method."""
        segments = _segments(path)
        refused = self._exact and odd_slashes and len(segments) > 1
        found = None if refused else self._match(self._root, segments, 0, ())
        if found is None:
            raise NotFound("The resource could not be found.", type="HTTPNotFound")
        methods, values = found
        wanted = "GET" if method == "HEAD" and "HEAD" not in methods else method
        if wanted not in methods:
            raise NotAllowed(
                f"The method {method} is not allowed for this resource; allowed: {', '.join(sorted(methods))}",
                detail=",".join(sorted(methods)),
            )
        route, names = methods[wanted]
        return route, dict(zip(names, values, strict=True))

    def _match(
        self, node: dict[str, Any], segments: tuple[str, ...], at: int, values: tuple[str, ...]
    ) -> tuple[dict[str, Any], tuple[str, ...]] | None:
        if at == len(segments):
            methods = node.get(_METHODS)
            return self._tail(node, segments, at, values) if methods is None else (methods, values)
        literal = node.get(segments[at])
        if literal is None and _WORDS in node:
            literal = node[_WORDS].get(_folded(segments[at]))
        if literal is not None and not segments[at].startswith("\0"):
            found = self._match(literal, segments, at + 1, values)
            if found is not None:
                return found
        variable = node.get(_VARIABLE)
        if variable is not None:
            found = self._match(variable, segments, at + 1, (*values, segments[at]))
            if found is not None:
                return found
        return self._tail(node, segments, at, values)

    def _tail(
        self, node: dict[str, Any], segments: tuple[str, ...], at: int, values: tuple[str, ...]
    ) -> tuple[dict[str, Any], tuple[str, ...]] | None:
        tail = node.get(_TAIL)
        return None if tail is None else (tail[_METHODS], (*values, "/".join(segments[at:])))


def _folded(word: str) -> str:
    """What a word is told from others by, where dashes and underscores are the same."""
    return word.replace("-", "_")


def _segments(path: str) -> tuple[str, ...]:
    return tuple(part for part in path.split("/") if part)

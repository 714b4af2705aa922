"""The dashboard: the files of `deuteron.dashboard`, which are the same for everybody.

    /dashboard, /dashboard/     the page
    /dashboard/{file}           its scripts, style and icon
    /dashboard/{version}/{file} the same, kept by browsers for good: another program has another version
    /dashboard/hosts...         for administrators, see `differences` and `counters`
    /dashboard/changes          a WebSocket, see `changes`

A stranger may load them: there is nothing in them. What they show, they ask the APIs for, with the token of a person.
The page runs scripts of this server that are files, and nothing else: no text that somebody put into the name of an
object can become a script, and what the script would make of a text is refused by the browser (trusted types).

The page names its scripts at their version, all of them at the top: they are fetched side by side, and once.

Invariant: what is served is what lay in the folder when the process began; no path of a request is looked for on disk.

Source: Content Security Policy Level 3; Trusted Types (W3C).
"""

from __future__ import annotations

import hashlib
import html
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Final

from deuteron.api.call import MAX_BODY_BYTES, Call, Mode, Reply, Route
from deuteron.api.dashboard.counters import Counters
from deuteron.api.dashboard.differences import PATH, Differences
from deuteron.model.errors import ApiError, NotFound

_KINDS: Final = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}
_PAGE: Final = "; ".join((
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self'",
    "connect-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
    "require-trusted-types-for 'script'",
    "trusted-types 'none'",
))  # fmt: skip
_OTHER: Final = "default-src 'none'; frame-ancestors 'none'; sandbox"
_HEADERS: Final = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cache-control": "no-cache",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}
_KEPT: Final = {"cache-control": "public, max-age=31536000, immutable"}
_INDEX: Final = "index.html"


@dataclass(frozen=True)
class _File:
    data: bytes
    kind: str
    tag: str


class SERVICE:  # the name `main` looks for
    """/dashboard, for browsers."""

    name = "dashboard"
    prefix = "/dashboard"
    max_body_bytes = MAX_BODY_BYTES
    exact_paths = False
    same_words = False

    def __init__(self) -> None:
        files = dict(_read(resources.files("deuteron.dashboard"), ""))
        self._version = hashlib.sha256("".join(each.tag for each in files.values()).encode()).hexdigest()[:16]
        self._files = {**files, _INDEX: _whole(files, f"{self.prefix}/{self._version}/")}
        self._differences = Differences()
        self._counters = Counters()

    def routes(self) -> tuple[Route, ...]:
        return (
            Route("GET", "/", self._page, Mode.ASYNC, auth=False),
            Route("GET", PATH, self._differences.hosts),
            Route("GET", PATH + "/{host}/differences", self._differences.of_host, Mode.ASYNC),
            Route("POST", PATH + "/{host}/counters", self._counters.of_host, Mode.ASYNC),
            Route("GET", "/{rest...}", self._file, Mode.ASYNC, auth=False),
        )

    def prepare(self, call: Call) -> None:
        pass

    def error(self, call: Call | None, error: ApiError) -> Reply:
        if call is not None and call.path.partition("/")[2].partition("/")[0] == PATH[1:]:
            body = {"error": {"code": error.status, "title": error.type, "message": error.message}}
            return Reply(error.status, body, {**_HEADERS, "content-security-policy": _OTHER})
        text = f"<!DOCTYPE html><title>{error.status}</title><p>{html.escape(error.message)}</p>\n".encode()
        headers = {"Allow": error.detail} if error.status == 405 else {}
        return Reply(error.status, text, {**_HEADERS, **headers, "content-security-policy": _OTHER}, _KINDS[".html"])

    async def _page(self, call: Call) -> Reply:
        return _reply(call, self._files[_INDEX])

    async def _file(self, call: Call) -> Reply:
        """Raises: NotFound."""
        version, _, name = call.params["rest"].partition("/")
        is_kept = version == self._version and name != _INDEX
        file = self._files.get(name if is_kept else call.params["rest"])
        if file is None:
            raise NotFound("There is no such page.")
        return _reply(call, file, _KEPT if is_kept else _HEADERS)


def _reply(call: Call, file: _File, more: Mapping[str, str] = _HEADERS) -> Reply:
    is_page = file.kind == _KINDS[".html"]
    headers = {**_HEADERS, **more, "etag": file.tag, "content-security-policy": _PAGE if is_page else _OTHER}
    known = [each.strip().removeprefix("W/") for each in call.headers.get("if-none-match", "").split(",")]
    if file.tag in known or known == ["*"]:
        return Reply(304, None, headers)
    return Reply(200, file.data, headers, file.kind)


def _whole(files: Mapping[str, _File], place: str) -> _File:
    """The page, with where its files are, and all scripts named at its top."""
    scripts = [name for name, file in files.items() if file.kind == _KINDS[".js"]]
    preloads = "".join(f'<link rel="modulepreload" href="/dashboard/{name}">\n' for name in scripts)
    text = files[_INDEX].data.decode().replace("</head>", f"{preloads}</head>").replace('"/dashboard/', f'"{place}')
    return _file(text.encode(), _KINDS[".html"])


def _file(data: bytes, kind: str) -> _File:
    return _File(data, kind, f'"{hashlib.sha256(data).hexdigest()[:32]}"')


def _read(folder: Traversable, above: str) -> list[tuple[str, _File]]:
    found = []
    for entry in sorted(folder.iterdir(), key=lambda each: each.name):
        if entry.is_dir():
            found += _read(entry, f"{above}{entry.name}/")
            continue
        kind = _KINDS.get(entry.name[entry.name.rfind(".") :])
        if kind is not None:
            found.append((above + entry.name, _file(entry.read_bytes(), kind)))
    return found

"""Pages of consoles: noVNC and spice-html5 as the distribution packages them, and a terminal of ours.

    /console/novnc/...          /usr/share/novnc        of the package novnc
    /console/spice/...          /usr/share/spice-html5  of the package spice-html5
    /console/serial             the page of a serial console; as a WebSocket, the console itself
    /console/pages/...          what that page loads

A stranger may load them: there is nothing in them, and the WebSocket asks for the token. The pages run what they are
and nothing else: scripts of this origin, and those inside a page that are in the file, each allowed by its digest. So
what a link's query makes a page write into itself does not run, and no page speaks to another host.

One file of a package is mended on its way (`_MENDED`); all others are served as they are.

Invariant: no file outside the folders is served, whatever a path or a link in a folder says.

Source: Content Security Policy Level 3.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import html
import re
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Final

from deuteron.api.call import MAX_BODY_BYTES, Call, Mode, Reply, Route
from deuteron.model.errors import ApiError, NotFound

PACKAGES: Final = {"novnc": Path("/usr/share/novnc"), "spice": Path("/usr/share/spice-html5")}
"""What packages of the distribution bring for browsers; the folder has the package's name."""
_KINDS: Final = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".ico": "image/x-icon",
    ".woff": "font/woff",
    ".ttf": "font/ttf",
    ".oga": "audio/ogg",
    ".mp3": "audio/mpeg",
}
_MENDED: Final = {
    ("spice", "ticket.js"): (
        b'    if ((h.length & 1) != 0)\n        h = "0" + h;\n',
        b'    h = h.padStart(2 * oaep.length, "0");\n',
    ),
}
"""What is another in a file of a package, where it is as known. spice-html5 0.3.0 writes an encrypted password without
the zeros that it begins with, so that one connection of 256 is denied permission, and a console opens several."""
_MOST_BYTES: Final = 4 << 20
_SCRIPT: Final = re.compile(rb"<script(?![^>]*\ssrc=)[^>]*>(.*?)</script>", re.DOTALL | re.IGNORECASE)
_HANDLER: Final = re.compile(rb"\son[a-z]+=\"([^\"]*)\"", re.IGNORECASE)
_HOST: Final = re.compile(r"[A-Za-z0-9.:\[\]-]{1,255}")


class SERVICE:  # the name `main` looks for
    """/console, for browsers."""

    name = "console"
    prefix = "/console"
    max_body_bytes = MAX_BODY_BYTES
    exact_paths = True
    same_words = False

    def routes(self) -> tuple[Route, ...]:
        return (
            Route("GET", "/serial", _serial, Mode.ASYNC, auth=False),
            Route("GET", "/pages/{rest...}", _ours, Mode.ASYNC, auth=False),
            Route("GET", "/{package}/{rest...}", _packaged, Mode.ASYNC, auth=False),
        )

    def prepare(self, call: Call) -> None:
        pass

    def error(self, call: Call | None, error: ApiError) -> Reply:
        text = f"<!DOCTYPE html><title>{error.status}</title><p>{html.escape(error.message)}</p>\n".encode()
        headers = {"Allow": error.detail} if error.status == 405 else {}
        return Reply(error.status, text, {**_HEADERS, **headers, "content-security-policy": policy(text, "")},
                     _KINDS[".html"])  # fmt: skip


_HEADERS: Final = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-cache",
    "cross-origin-resource-policy": "same-origin",
}


def policy(page: bytes, host: str) -> str:
    """What a page may do; `host` is the one it is asked of."""
    page = page.replace(b"\r\n", b"\n")  # as browsers read it
    scripts = [_digest(each) for each in _SCRIPT.findall(page)]
    handlers = [_digest(html.unescape(each.decode()).encode()) for each in _HANDLER.findall(page)]
    inside = [*scripts, *(["'unsafe-hashes'", *handlers] if handlers else [])]
    sockets = f" ws://{host} wss://{host}" if _HOST.fullmatch(host) else ""
    return "; ".join((
        "default-src 'none'",
        " ".join(("script-src 'self'", *inside)),
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "font-src 'self'",
        "media-src 'self' blob:",
        f"connect-src 'self'{sockets}",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'self'",
    ))  # fmt: skip


async def _serial(call: Call) -> Reply:
    return await asyncio.to_thread(_file, call, _pages(), "serial.html")


async def _ours(call: Call) -> Reply:
    return await asyncio.to_thread(_file, call, _pages(), call.params["rest"])


async def _packaged(call: Call) -> Reply:
    folder = PACKAGES.get(call.params["package"])
    if folder is None:
        raise NotFound("There is no such page.")
    if not await asyncio.to_thread(folder.is_dir):
        raise NotFound(
            f"This page comes with the package {folder.name}, which is not installed where the API runs: "
            f"apt-get install --no-install-recommends {folder.name}. The console itself works without it, for clients "
            "that bring their own."
        )
    reply = await asyncio.to_thread(_file, call, folder, call.params["rest"])
    wrong, right = _MENDED.get((call.params["package"], call.params["rest"]), (b"", b""))
    return replace(reply, body=reply.body.replace(wrong, right)) if wrong else reply


def _pages() -> Path:
    return Path(str(resources.files("deuteron.api.console") / "pages"))


def _file(call: Call, folder: Path, name: str) -> Reply:
    """Raises: NotFound for what is no file of a known kind in the folder."""
    try:
        path = (folder / name.lstrip("/")).resolve(strict=True)
        kind = _KINDS.get(path.suffix)
        is_one = path.is_relative_to(folder.resolve()) and path.is_file() and path.stat().st_size <= _MOST_BYTES
        data = path.read_bytes() if kind is not None and is_one else None
    except (OSError, ValueError):
        data = None
    if data is None or kind is None:
        raise NotFound("There is no such page.")
    is_page = path.suffix == ".html"
    host = call.headers.get("host", "")
    allowed = policy(data, host) if is_page else "default-src 'none'; sandbox"
    return Reply(200, data, {**_HEADERS, "content-security-policy": allowed}, kind)


def _digest(text: bytes) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text).digest()).decode()}'"

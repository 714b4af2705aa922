"""The metadata proxy: what a guest asks of 169.254.169.254 or fe80::a9fe:a9fe, forwarded to the API with who asked.

    guest ── namespace: socket ── this process ── the API's Unix socket: /internal/metadata/<path>

The guest is hostile. What identifies it is the network whose namespace the request came through, or the router
with that address of its own at which the request arrived (of its interface: REDIRECT puts it there), over IPv6 the
router and the network of the one device that the socket hears; and the guest's address there, which anti-spoofing holds
it to; nothing it says itself. Of its headers
only a few harmless ones pass. Every part of a request has a limit and a deadline, and a listener serves
at most `_MOST_CONNECTIONS` at once, `_MOST_OF_A_GUEST` from one address: one guest can use up neither the agent
nor the places of its neighbours.
"""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from collections.abc import Mapping
from http import HTTPStatus
from urllib.parse import unquote

import structlog

from deuteron.net.rows import MetadataListener

log = structlog.get_logger("deuteron.agent")

_PASSED = frozenset({"accept", "content-type", "user-agent"})
_METHODS = frozenset({"GET", "HEAD", "PUT", "POST"})
_HEAD_LIMIT_BYTES = 16 * 1024
_BODY_LIMIT_BYTES = 64 * 1024
_ANSWER_LIMIT_BYTES = 32 * 1024 * 1024
_REQUEST_TIMEOUT_S = 10.0
_ANSWER_TIMEOUT_S = 30.0
_MOST_CONNECTIONS = 64
_MOST_OF_A_GUEST = 8


class Refused(Exception):
    """A request that goes no further, and the status it gets."""

    def __init__(self, status: HTTPStatus, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class MetadataProxy:
    """`opened` and `closed` may be called from any thread; the rest lives in the event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, api_socket: str, token: str) -> None:
        self._loop = loop
        self._api_socket = api_socket
        self._token = token
        self._given: dict[tuple[str, str, int], socket.socket] = {}
        """What is to be served now; a server that was still being made when its socket was taken back goes again."""
        self._servers: dict[tuple[str, str, int], asyncio.Server] = {}
        self._beginning: set[asyncio.Task[None]] = set()

    def opened(self, row: MetadataListener, listener: socket.socket) -> None:
        self._loop.call_soon_threadsafe(self._begin, row, listener)

    def closed(self, row: MetadataListener) -> None:
        self._loop.call_soon_threadsafe(self._close, row)

    def _begin(self, row: MetadataListener, listener: socket.socket) -> None:
        self._close(row)
        self._given[row.key] = listener
        task = self._loop.create_task(self._open(row, listener))
        self._beginning.add(task)
        task.add_done_callback(self._beginning.discard)

    async def _open(self, row: MetadataListener, listener: socket.socket) -> None:
        places = asyncio.Semaphore(_MOST_CONNECTIONS)
        taken: Counter[str] = Counter()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            peer = _plain(writer.get_extra_info("peername")[0])
            if taken[peer] >= _MOST_OF_A_GUEST:
                writer.write(_answer(HTTPStatus.SERVICE_UNAVAILABLE, "too many requests of one guest at once"))
                writer.close()
                return
            taken[peer] += 1
            try:
                await self._serve(row, places, reader, writer)
            finally:
                taken[peer] -= 1
                if not taken[peer]:
                    del taken[peer]

        server = await asyncio.start_server(serve, sock=listener, limit=_HEAD_LIMIT_BYTES)
        if self._given.get(row.key) is listener:
            self._servers[row.key] = server
        else:
            server.close()

    def _close(self, row: MetadataListener) -> None:
        self._given.pop(row.key, None)
        known = self._servers.pop(row.key, None)
        if known is not None:
            known.close()

    async def _serve(
        self,
        row: MetadataListener,
        places: asyncio.Semaphore,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        try:
            if places.locked():
                writer.write(_answer(HTTPStatus.SERVICE_UNAVAILABLE, "too many requests at once"))
                return
            async with places:
                peer, own = (_plain(writer.get_extra_info(name)[0]) for name in ("peername", "sockname"))
                try:
                    async with asyncio.timeout(_REQUEST_TIMEOUT_S):
                        head, body = await _read_request(reader)
                    request = request_to_api(row, peer, own, self._token, head, body)
                    async with asyncio.timeout(_ANSWER_TIMEOUT_S):
                        await self._forward(request, writer)
                except Refused as refusal:
                    writer.write(_answer(refusal.status, str(refusal)))
                except TimeoutError:
                    writer.write(_answer(HTTPStatus.GATEWAY_TIMEOUT, "timed out"))
                async with asyncio.timeout(_REQUEST_TIMEOUT_S):
                    await writer.drain()
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            pass  # the guest went away
        finally:
            writer.close()

    async def _forward(self, request: bytes, writer: asyncio.StreamWriter) -> None:
        try:
            answers, requests = await asyncio.open_unix_connection(self._api_socket)
        except OSError as error:
            log.warning("metadata request failed: the API cannot be reached", reason=str(error))
            raise Refused(HTTPStatus.SERVICE_UNAVAILABLE, "the metadata service is not available now") from error
        try:
            requests.write(request)
            await requests.drain()
            passed = 0
            while chunk := await answers.read(64 * 1024):
                passed += len(chunk)
                if passed > _ANSWER_LIMIT_BYTES:
                    return
                writer.write(chunk)
                await writer.drain()
        finally:
            requests.close()


def request_to_api(row: MetadataListener, peer: str, own: str, token: str, head: bytes, body: bytes) -> bytes:
    """The request as the API gets it: the path below /internal/metadata; who (`peer`) asks, at which address (`own`).

    Raises: Refused for a request that is not plain HTTP/1 with a path.
    """
    try:
        lines = head.decode("ascii").split("\r\n")
        method, target, version = lines[0].split(" ")
    except ValueError as error:
        raise Refused(HTTPStatus.BAD_REQUEST, "this is not an HTTP request") from error
    if method not in _METHODS:
        raise Refused(HTTPStatus.METHOD_NOT_ALLOWED, "method not allowed")
    if version not in ("HTTP/1.0", "HTTP/1.1"):
        raise Refused(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, "HTTP/1.1 is spoken here")
    headers = _headers(lines[1:])
    words = [
        f"{method} /internal/metadata{_path(target)} HTTP/1.1",
        "Host: metadata",
        f"Authorization: Bearer {token}",
        f"X-Forwarded-For: {peer}",
        f"Content-Length: {len(body)}",
        "Connection: close",
    ]
    if row.network_id is not None:
        words.append(f"X-Neutron-Network-ID: {row.network_id}")
    if row.router_id is not None:
        words.append(f"X-Neutron-Router-ID: {row.router_id}")
        if row.network_id is None:
            words.append(f"X-Forwarded-To: {own}")
    words += [f"{name}: {value}" for name, value in headers.items() if name in _PASSED]
    return "\r\n".join([*words, "", ""]).encode("ascii") + body


def _plain(address: str) -> str:
    """An address without the zone of a link-local one, which is a number of another namespace's device here."""
    return address.partition("%")[0]


def _path(target: str) -> str:
    """The path and query of a request, which cannot leave the folder they are put below."""
    path, _, query = target.partition("?")
    if not path.startswith("/") or any(not " " < letter <= "~" for letter in target):
        raise Refused(HTTPStatus.BAD_REQUEST, "the path is not well-formed")
    segments = [segment for segment in unquote(path, errors="replace").replace("\\", "/").split("/") if segment]
    if any(segment in (".", "..") for segment in segments):
        raise Refused(HTTPStatus.BAD_REQUEST, "the path leaves the metadata folder")
    kept = "/" + "/".join(segment for segment in path.split("/") if segment)
    if path.endswith("/") and kept != "/":
        kept += "/"
    return f"{kept}?{query}" if query else kept


def _headers(lines: list[str]) -> Mapping[str, str]:
    headers: dict[str, str] = {}
    for line in lines:
        if not line:
            continue
        name, colon, value = line.partition(":")
        value = value.strip()
        if not colon or name != name.strip() or any(not " " <= letter <= "~" for letter in name + value):
            raise Refused(HTTPStatus.BAD_REQUEST, "a header is not well-formed")
        headers[name.lower()] = value
    return headers


async def _read_request(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.LimitOverrunError as error:
        raise Refused(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "the request is too large") from error
    headers = _headers(head.decode("ascii", errors="replace").split("\r\n")[1:])
    if "transfer-encoding" in headers:
        raise Refused(HTTPStatus.NOT_IMPLEMENTED, "transfer encodings are not understood here")
    length = headers.get("content-length", "0")
    if not length.isdecimal():
        raise Refused(HTTPStatus.BAD_REQUEST, "the content length is not a number")
    if int(length) > _BODY_LIMIT_BYTES:
        raise Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "the body is too large")
    return head[:-4], await reader.readexactly(int(length))


def _answer(status: HTTPStatus, text: str) -> bytes:
    body = text.encode()
    head = f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: text/plain\r\n"
    return f"{head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body

"""Viewers of VNC that are no browsers: a port that speaks RFB over TLS, to whoever shows a token of a console.

    viewer == RFB 3.8, VeNCrypt X509Plain ==> this port --- as a WebSocket of a page ---> `proxy.Consoles`

Security is VeNCrypt's X509Plain and nothing else: TLS with a certificate, then a name and a password. The password is
the token, which is used once and lives for minutes (`rules/compute/consoles`); the name may be anything. Nothing of a
guest is said, and no token taken, before TLS is there: a viewer that wants to do without is refused.

After that a viewer is one who looks as a page does: `Consoles` lets it in, bounds it and joins it with the guest. The
guest's QEMU asks no security of its own on the way that is given to it, and is answered here, so that the viewer's
conversation goes on where it stands.

Bounds: `MOST_UNPROVEN` connections that have shown no token yet, of one address fewer; `TLS_S` until TLS stands,
`TOKEN_S` for a person to give the token.

Source: RFC 6143 section 7.1; VeNCrypt (rfbproto, "VeNCrypt"); RFC 7869 (the address).
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import struct
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlencode

import structlog

from deuteron.api.visitors import Places
from deuteron.hub.hub import Scope
from deuteron.model.settings import Settings, VncOptions

log = structlog.get_logger("deuteron.consoles")

MOST_UNPROVEN: Final = 64
MOST_UNPROVEN_OF_ADDRESS: Final = 16
TLS_S: Final = 10.0
TOKEN_S: Final = 120.0
TAKE_S: Final = 60.0
"""As the WebSockets of pages: who takes nothing for so long is disconnected."""
_VERSION: Final = b"RFB 003.008\n"
_VENCRYPT, _X509_PLAIN, _NONE = 19, 262, 1
_ANSWERS: Final = 2
"""The version that is spoken, and the kind of security."""
_MOST_WORD_BYTES: Final = 256
_PIECE: Final = 64 * 1024
_NUMBER = struct.Struct(">I")


class _Refused(Exception):
    """Of a viewer; the message is for who sits before it."""


def address(options: VncOptions, token: str) -> str:
    """Of a console, for a viewer: where it is, and the token."""
    host = f"[{options.called}]" if ":" in options.called else quote(options.called)
    query = {"SecurityType": _VENCRYPT, "VncUsername": "console", "VncPassword": token}
    return f"vnc://{host}:{options.port}/?{urlencode(query)}"


async def listen(settings: Settings, consoles: Any) -> asyncio.Server | None:
    """The port, where an operator gave one; `consoles` is the handler of WebSockets that serves pages.

    Raises: BadOperatorFile; OSError when the port cannot be had.
    """
    options = settings.operator.vnc
    if options.port is None:
        return None
    from deuteron.api.console import certificate  # only who has viewers pays for the import

    context = await asyncio.to_thread(certificate.context, Path(settings.state_dir), options)
    viewers = Viewers(consoles, context)
    server = await asyncio.start_server(viewers.serve, options.host, options.port)
    log.info("viewers are served", host=options.host, port=options.port)
    return server


class Viewers:
    """`serve` is what a server calls for each connection."""

    def __init__(self, consoles: Any, context: ssl.SSLContext, tls_s: float = TLS_S, token_s: float = TOKEN_S) -> None:
        self._consoles = consoles
        self._context = context
        self._tls_s = tls_s
        self._token_s = token_s
        self._unproven = Places(MOST_UNPROVEN, MOST_UNPROVEN_OF_ADDRESS)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = writer.get_extra_info("peername") or ("", 0)
        name = str(peer[0])
        try:
            if not self._unproven.has_room(name):
                return
            with self._unproven.held(name):
                token = await self._proven(reader, writer)
            viewer = _Viewer(reader, writer)
            query = urlencode({"token": token}).encode()
            scope: Scope = {
                "type": "websocket", "path": "/console/vnc", "query_string": query, "headers": [], "client": peer[:2],
                "subprotocols": [],
            }  # fmt: skip
            await self._consoles(scope, viewer.receive, viewer.send)
        except _Refused as refusal:
            log.info("viewer refused", reason=str(refusal))
            await _refuse(writer, str(refusal))
        except (OSError, EOFError, TimeoutError, ssl.SSLError) as error:
            log.info("viewer left", reason=type(error).__name__)
        finally:
            writer.close()
            with contextlib.suppress(OSError, ssl.SSLError, TimeoutError):
                async with asyncio.timeout(self._tls_s):
                    await writer.wait_closed()

    async def _proven(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str:
        """The token that a viewer shows. Raises: _Refused; TimeoutError; OSError and EOFError when it leaves."""
        async with asyncio.timeout(self._tls_s):
            writer.write(_VERSION)
            version = await reader.readexactly(len(_VERSION))
            if not version.startswith(b"RFB ") or version < _VERSION:
                # Older ones cannot be told why in words that they know, and have no VeNCrypt.
                raise EOFError("an older protocol")
            writer.write(bytes((1, _VENCRYPT)))
            if await reader.readexactly(1) != bytes((_VENCRYPT,)):
                raise _Refused("screens are shown over TLS alone: VeNCrypt with X509Plain")
            writer.write(b"\x00\x02")
            if await reader.readexactly(2) != b"\x00\x02":
                writer.write(b"\xff")
                raise EOFError("another VeNCrypt")
            writer.write(b"\x00\x01" + _NUMBER.pack(_X509_PLAIN))
            if await reader.readexactly(4) != _NUMBER.pack(_X509_PLAIN):
                writer.write(b"\x00")
                raise EOFError("another kind of VeNCrypt")
            writer.write(b"\x01")
            await writer.start_tls(self._context, ssl_handshake_timeout=self._tls_s)
        async with asyncio.timeout(self._token_s):
            lengths = struct.unpack(">II", await reader.readexactly(8))
            if max(lengths) > _MOST_WORD_BYTES:
                raise _Refused("this is no token of a console")
            await reader.readexactly(lengths[0])
            return (await reader.readexactly(lengths[1])).decode("ascii", "replace")


class _Viewer:
    """One viewer, as `Consoles` knows pages: what it sends is received, and the other way about.

    Until the guest's own greeting is over, what is received is this side's part of that.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._is_begun = False
        self._head = b""
        """What the guest has said of its greeting so far."""
        self._answers: asyncio.Queue[bytes] = asyncio.Queue()
        self._made = self._taken = 0
        self._is_greeted = False

    async def receive(self) -> dict[str, Any]:
        if not self._is_begun:
            self._is_begun = True
            return {"type": "websocket.connect"}
        if self._taken < _ANSWERS:
            data = await self._answers.get()
            self._taken += 1
        else:
            try:
                data = await self._reader.read(_PIECE)
            except (OSError, ssl.SSLError):
                data = b""
        return {"type": "websocket.receive", "bytes": data} if data else {"type": "websocket.disconnect"}

    async def send(self, message: dict[str, Any]) -> None:
        """Raises: OSError when the viewer is gone, or the guest greets as none does."""
        if message["type"] == "websocket.close":
            if not self._is_greeted:
                await _refuse(self._writer, "no console is opened by this: a token opens one once, within ten minutes")
            self._writer.close()
        if message["type"] != "websocket.send":
            return
        data: bytes = message["bytes"]
        if not self._is_greeted:
            self._head += data
            self._greet()
            if not self._is_greeted:
                return
            data, self._head = _NUMBER.pack(0) + self._head, b""
        self._writer.write(data)
        async with asyncio.timeout(TAKE_S):
            await self._writer.drain()

    def _greet(self) -> None:
        """Answer what is whole of the guest's version, its kinds of security, and that all is well."""
        begin = len(_VERSION)
        if self._made == 0 and len(self._head) >= begin:
            if self._head[:begin] != _VERSION:
                raise ConnectionError("a guest's screen of another protocol")
            self._answer(_VERSION)
        if len(self._head) <= begin:
            return
        end = begin + 1 + self._head[begin]
        if self._made == 1 and len(self._head) >= end:
            if _NONE not in self._head[begin + 1 : end]:
                raise ConnectionError("a guest's screen that asks for security")
            self._answer(bytes((_NONE,)))
        after = end + _NUMBER.size
        if len(self._head) < after:
            return
        if _NUMBER.unpack_from(self._head, end) != (0,):
            raise ConnectionError("a guest's screen that is refused")
        self._head = self._head[after:]
        self._is_greeted = True

    def _answer(self, data: bytes) -> None:
        self._answers.put_nowait(data)
        self._made += 1


async def _refuse(writer: asyncio.StreamWriter, reason: str) -> None:
    """SecurityResult: failed, and why."""
    text = reason.encode()
    with contextlib.suppress(OSError, ssl.SSLError):
        writer.write(_NUMBER.pack(1) + _NUMBER.pack(len(text)) + text)
        await writer.drain()

"""What the resolver of this machine answers, byte for byte: for the host `outside`, which has no way out itself."""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Final

SHORTEST, LONGEST = 12, 65535
"""Bytes of a DNS message (RFC 1035, sections 4.1.1 and 4.2.2)."""
_RESOLV_CONF: Final = Path("/etc/resolv.conf")
_PORT: Final = 53
_MOST_SERVERS: Final = 3
"""Source: resolv.conf(5), MAXNS."""
_SERVER_TIMEOUT_S: Final = 3.0


def name_servers(path: Path = _RESOLV_CONF) -> list[str]:
    """The servers that a resolv.conf names, in order; none where there is no such file. Source: resolv.conf(5)."""
    try:
        text = path.read_text(errors="replace")
    except OSError:
        return []
    lines = (line.split() for line in text.splitlines())
    return [words[1] for words in lines if len(words) > 1 and words[0] == "nameserver"][:_MOST_SERVERS]


async def ask(servers: Sequence[str], over: str, question: bytes) -> bytes | None:
    """The answer of the first server that gives one to a DNS message, asked `over` udp or tcp; None when none does."""
    one = _over_udp if over == "udp" else _over_tcp
    for server in servers:
        with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
            async with asyncio.timeout(_SERVER_TIMEOUT_S):
                return await one(server, question)
    return None


class _Answer(asyncio.DatagramProtocol):
    """Waits for the datagram with the question's number."""

    def __init__(self, question: bytes) -> None:
        self._number = question[:2]
        self.came: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def datagram_received(self, data: bytes, addr: object) -> None:
        if data[:2] == self._number and len(data) >= SHORTEST and not self.came.done():
            self.came.set_result(data)

    def error_received(self, exc: Exception) -> None:
        if not self.came.done():
            self.came.set_exception(exc)


async def _over_udp(server: str, question: bytes) -> bytes:
    # Connected: the kernel hands out what comes from the server alone.
    loop = asyncio.get_running_loop()
    line, answer = await loop.create_datagram_endpoint(lambda: _Answer(question), remote_addr=(server, _PORT))
    try:
        line.sendto(question)
        return await answer.came
    finally:
        line.close()


async def _over_tcp(server: str, question: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(server, _PORT)
    try:
        writer.write(struct.pack("!H", len(question)) + question)
        await writer.drain()
        length = struct.unpack("!H", await reader.readexactly(2))[0]
        return await reader.readexactly(length)
    finally:
        writer.close()

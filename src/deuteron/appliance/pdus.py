"""PDUs of iSCSI on one connection, and the numbers that they carry.

    BHS 48 bytes, additional headers, data padded to 4; no digests: None is what the target chooses

Source: RFC 7143, section 11.
"""

from __future__ import annotations

import socket
import struct
from typing import Final

import msgspec

MOST_SEGMENT: Final = 262144
NO_TAG: Final = 0xFFFFFFFF
_WINDOW: Final = 64


class Broken(Exception):
    """The other side does not speak iSCSI, or is gone."""


class Pdu(msgspec.Struct):
    header: bytes
    data: bytes

    @property
    def opcode(self) -> int:
        return self.header[0] & 0x3F

    @property
    def tag(self) -> int:
        return int.from_bytes(self.header[16:20], "big")


class Wire:
    """One connection."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.expected = 0
        """The next command's number."""
        self._stat = 1

    def receive(self) -> Pdu:
        header = self._exactly(48)
        extra, length = header[4] * 4, int.from_bytes(header[5:8], "big")
        if length > MOST_SEGMENT:
            raise Broken(f"{length} bytes in one PDU")
        if extra:
            self._exactly(extra)
        data = self._exactly(length + -length % 4)[:length] if length else b""
        return Pdu(header, data)

    def send(self, header: bytes, data: bytes | memoryview = b"") -> None:
        padding = bytes(-len(data) % 4)
        self.connection.sendall(b"".join((header[:4], len(data).to_bytes(4, "big"), header[8:48], data, padding)))

    def numbers(self, *, counts: bool = True) -> bytes:
        """StatSN, ExpCmdSN and MaxCmdSN of an answer."""
        now = struct.pack(">III", self._stat, self.expected, (self.expected + _WINDOW - 1) & 0xFFFFFFFF)
        if counts:
            self._stat = (self._stat + 1) & 0xFFFFFFFF
        return now

    def _exactly(self, count: int) -> bytes:
        parts = bytearray(count)
        view = memoryview(parts)
        while view:
            got = self.connection.recv_into(view)
            if not got:
                raise Broken("the initiator is gone")
            view = view[got:]
        return bytes(parts)


def pairs_of(data: bytes) -> dict[str, str]:
    """Raises: Broken."""
    try:
        items = [item for item in data.decode().split("\0") if item]
    except UnicodeDecodeError:
        raise Broken("text that is none") from None
    if any("=" not in item for item in items):
        raise Broken("text without keys")
    return {item.split("=", 1)[0]: item.split("=", 1)[1] for item in items}


def text_of(pairs: list[tuple[str, str]]) -> bytes:
    return b"".join(f"{key}={value}\0".encode() for key, value in pairs)

"""A viewer of VNC in small: looks at a screen and types, over anything that carries bytes, or over TLS (VeNCrypt).

Source: RFC 6143; VeNCrypt (rfbproto, "VeNCrypt").
"""

from __future__ import annotations

import socket
import ssl
import struct
from collections.abc import Callable
from dataclasses import dataclass, field


def taking(end: socket.socket) -> Callable[[int], bytes]:
    """What reads exactly so many bytes of a socket, also of one with a time limit."""

    def take(many: int) -> bytes:
        found = b""
        while len(found) < many:
            piece = end.recv(many - len(found))
            assert piece, "the connection ended"
            found += piece
        return found

    return take


VENCRYPT, X509_PLAIN = 19, 262
VERSION = b"RFB 003.008\n"


class Refused(AssertionError):
    """What a viewer is told that is not let in."""


def secured(end: socket.socket, trusted: ssl.SSLContext, name: str, token: str, user: str = "console") -> ssl.SSLSocket:
    """The same connection over TLS, to one that is called so by a certificate that is trusted, once the token is taken.

    Raises: Refused; ssl.SSLError.
    """
    take = taking(end)
    assert take(12) == VERSION
    end.sendall(VERSION)
    kinds = take(take(1)[0])
    assert kinds == bytes((VENCRYPT,)), f"security types {list(kinds)}, which are not VeNCrypt alone"
    end.sendall(kinds)
    assert take(2) == b"\x00\x02"
    end.sendall(b"\x00\x02")
    assert take(1) == b"\x00"
    subtypes = struct.unpack(f">{(many := take(1)[0])}I", take(4 * many))
    assert subtypes == (X509_PLAIN,), subtypes
    end.sendall(struct.pack(">I", X509_PLAIN))
    assert take(1) == b"\x01"
    safe = trusted.wrap_socket(end, server_hostname=name)
    safe.sendall(struct.pack(">II", len(user), len(token)) + user.encode() + token.encode())
    taken(taking(safe))
    return safe


def taken(take: Callable[[int], bytes]) -> None:
    """Hear that all is well. Raises: Refused with the reason."""
    if struct.unpack(">I", take(4))[0]:
        raise Refused(take(struct.unpack(">I", take(4))[0]).decode())


@dataclass
class Screen:
    """One viewer. `take` gives exactly so many bytes, `give` sends."""

    take: Callable[[int], bytes]
    give: Callable[[bytes], None]
    width: int = 0
    height: int = 0
    name: str = ""
    pixels: bytearray = field(default_factory=bytearray)

    def greet(self) -> None:
        """No password, and as `begin`; pixels have 32 bits."""
        version = self.take(12)
        assert version == VERSION, version
        self.give(version)
        kinds = self.take(self.take(1)[0])
        assert 1 in kinds, f"security types {list(kinds)}, without None"
        self.give(b"\x01")
        assert self.take(4) == bytes(4)
        self.begin()

    def begin(self) -> None:
        """After security: up to the first look, the screen shared with other viewers, pixels as they are."""
        self.give(b"\x01")
        self.width, self.height = struct.unpack(">HH", self.take(4))
        assert self.take(16)[0] == 32
        self.name = self.take(struct.unpack(">I", self.take(4))[0]).decode()
        self.give(struct.pack(">BxHi", 2, 1, 0))
        self.pixels = bytearray(self.width * self.height * 4)
        self._ask(0)

    def lit(self) -> int:
        """How many pixels are not black, once the screen has changed or was sent for the first time."""
        kind = self.take(1)[0]
        assert kind == 0, f"message {kind}"
        for _ in range(struct.unpack(">xH", self.take(3))[0]):
            x, y, width, height, encoding = struct.unpack(">HHHHi", self.take(12))
            assert encoding == 0
            for row in range(y, y + height):
                at = (row * self.width + x) * 4
                self.pixels[at : at + width * 4] = self.take(width * 4)
        self._ask(1)
        return sum(1 for at in range(0, len(self.pixels), 4) if any(self.pixels[at : at + 3]))

    def _ask(self, changes: int) -> None:
        self.give(struct.pack(">BBHHHH", 3, changes, 0, 0, self.width, self.height))

    def type(self, text: str) -> None:
        for letter in text:
            symbol = 0xFF0D if letter == "\n" else ord(letter)
            for down in (1, 0):
                self.give(struct.pack(">BBxxI", 4, down, symbol))

"""A conversation with one bridge, over the switch's OpenFlow socket: whole messages, without a process.

Many may speak with a bridge at once; each has a conversation of its own, in the version of the protocol that knows what
it asks for.

Source: OpenFlow Switch Specification 1.3, sections 6.3.1 (connection setup), 7.1 (header), 7.5.2 and 7.5.3 (echo).
"""

from __future__ import annotations

import socket
import struct
from typing import Final, NamedTuple

V1_0: Final = 1
V1_3: Final = 4

HELLO, ERROR, ECHO_REQUEST, ECHO_REPLY = 0, 1, 2, 3
BARRIER_REQUEST, BARRIER_REPLY = 20, 21
"""As version 1.3 numbers them; the first four are the same in every version."""

_HEADER = struct.Struct("!BBHI")
_READ_BYTES = 1 << 20
_TIMEOUT_S = 10.0


class Lost(OSError):
    """The conversation has ended, and what the bridge did since is not known."""


class Message(NamedTuple):
    kind: int
    number: int
    """An answer has that of its question."""
    body: bytes = b""


class Conversation:
    """Belongs to one thread."""

    def __init__(self, bridge: str, version: int, run_dir: str = "/run/openvswitch") -> None:
        """Raises: OSError if the bridge is not there."""
        self._version = version
        self._data = b""
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        self._socket.settimeout(_TIMEOUT_S)
        try:
            self._socket.connect(f"{run_dir}/{bridge}.mgmt")
            self.send(Message(HELLO, 0))
        except OSError:
            self._socket.close()
            raise

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()

    def stop_waiting(self) -> None:
        """From now on `receive` returns at once."""
        self._socket.setblocking(False)

    def send(self, *messages: Message) -> None:
        """In one write. Raises: Lost."""
        packed = b"".join(
            _HEADER.pack(self._version, kind, _HEADER.size + len(body), number) + body
            for kind, number, body in messages
        )
        try:
            self._socket.sendall(packed)
        except BlockingIOError as error:
            raise Lost("the switch does not read") from error
        except OSError as error:
            raise Lost(error.strerror or str(error)) from error

    def receive(self) -> list[Message]:
        """What came, in its order: waits until there is something, and may still return nothing that is whole.

        Questions whether we are there are answered, greetings left out. Raises: Lost.
        """
        try:
            chunk = self._socket.recv(_READ_BYTES)
        except BlockingIOError:
            return []
        except OSError as error:
            raise Lost(error.strerror or str(error)) from error
        if not chunk:
            raise Lost("the switch closed the connection")
        self._data += chunk
        found: list[Message] = []
        at = 0
        while at + _HEADER.size <= len(self._data):
            _, kind, length, number = _HEADER.unpack_from(self._data, at)
            if length < _HEADER.size:
                raise Lost("the switch speaks another language")
            if at + length > len(self._data):
                break
            body = self._data[at + _HEADER.size : at + length]
            at += length
            if kind == ECHO_REQUEST:
                self.send(Message(ECHO_REPLY, number, body))
            elif kind != HELLO:
                found.append(Message(kind, number, body))
        self._data = self._data[at:]
        return found

"""The bytes of a guest that moves while it runs, from host to host: through the API, which joins two ends.

Hosts reach each other with nothing but the cloud's networks, and trust each other with nothing. Each speaks with the
API over the socket that it has anyway, with its own token, and the API lets the two hosts of a move at the streams of
this move alone.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
from typing import Final

from websockets.exceptions import WebSocketException
from websockets.sync.client import ClientConnection, unix_connect

_PIECE: Final = 256 * 1024
_OPEN_TIMEOUT_S: Final = 20.0
_QUIET: Final = logging.getLogger("deuteron.streams")
"""Of the library, which calls it an error when the other end is gone; who uses the stream says what that means."""
_QUIET.disabled = True


class StreamBroken(Exception):
    """A stream to the other host cannot be had, or ended before its time."""


class Streams:
    """Opens streams of moves."""

    def __init__(self, api_socket: str, token: str) -> None:
        self._api_socket = api_socket
        self._token = token

    def open(self, move_id: str, name: str) -> Stream:
        """This host's end of the stream. Raises: StreamBroken."""
        try:
            # Entered here and left by `close`: newer versions connect no sooner.
            connection = unix_connect(
                self._api_socket,
                f"ws://localhost/internal/moves/{move_id}/{name}",
                additional_headers={"Authorization": f"Bearer {self._token}"},
                max_size=None,
                compression=None,
                open_timeout=_OPEN_TIMEOUT_S,
                close_timeout=1.0,
                ping_interval=None,
                proxy=None,
                logger=_QUIET,
            ).__enter__()
        except (OSError, TimeoutError, WebSocketException) as error:
            raise StreamBroken(f"cannot open the stream {name} of move {move_id}: {error}") from error
        return Stream(connection, name)


class Stream:
    """One end. Any thread may send, and one at a time receives."""

    def __init__(self, connection: ClientConnection, name: str) -> None:
        self._connection = connection
        self.name = name
        self._sent = threading.Event()

    def send(self, data: bytes | str) -> None:
        """Raises: StreamBroken."""
        try:
            self._connection.send(data)
        except (OSError, WebSocketException) as error:
            raise StreamBroken(f"the stream {self.name} broke: {error}") from error

    def receive(self, timeout_s: float | None = None) -> bytes | str | None:
        """The next message; None when nothing came in time. Raises: StreamBroken, also at its end."""
        try:
            return self._connection.recv(timeout_s)
        except TimeoutError:
            return None
        except (OSError, WebSocketException) as error:
            raise StreamBroken(f"the stream {self.name} ended: {error}") from error

    def close(self) -> None:
        with contextlib.suppress(OSError, WebSocketException):
            self._connection.close()

    def join(self, end: socket.socket) -> None:
        """Let this stream and a socket be one, until either ends, which ends the other. Returns at once."""
        for work in (self._to_socket, self._from_socket):
            threading.Thread(target=work, args=(end,), name=f"stream-{self.name}", daemon=True).start()

    def is_sent(self, timeout_s: float) -> bool:
        """Whether all that the joined socket gave before its end was sent, within this time."""
        return self._sent.wait(timeout_s)

    def _to_socket(self, end: socket.socket) -> None:
        try:
            while True:
                data = self.receive()
                end.sendall(data.encode() if isinstance(data, str) else data or b"")
        except (OSError, StreamBroken):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _from_socket(self, end: socket.socket) -> None:
        try:
            while data := end.recv(_PIECE):
                self.send(data)
            self._sent.set()
        except (OSError, StreamBroken):
            pass
        self.close()

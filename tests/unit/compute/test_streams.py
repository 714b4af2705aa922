"""What a host sends over a stream is there before anybody calls it sent."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

from websockets.exceptions import ConnectionClosed
from websockets.sync.server import ServerConnection, unix_serve

from deuteron.compute.streams import Streams

MEMORY = b"0123456789abcdef" * 200_000


def test_all_that_a_socket_gave_before_its_end_is_sent(tmp_path: Path) -> None:
    heard, is_over = bytearray(), threading.Event()

    def take(connection: ServerConnection) -> None:
        try:
            while True:
                heard.extend(connection.recv(10))
        except ConnectionClosed:
            is_over.set()

    place = str(tmp_path / "s")
    with unix_serve(take, place, max_size=None) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        stream = Streams(place, "token").open("m", "memory")
        ours, theirs = socket.socketpair()
        stream.join(ours)
        assert not stream.is_sent(0), "nothing is sent before it was given"
        theirs.sendall(MEMORY)
        theirs.close()
        assert stream.is_sent(10)
        stream.close()
        assert is_over.wait(10) and bytes(heard) == MEMORY
        server.shutdown()

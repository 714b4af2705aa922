"""Pushes bytes through one TCP connection: `pump.py give ADDRESS SECONDS`, and `take` at the other end.

The taker prints megabits a second, from its first byte to its last. Nothing but the standard library.
"""

from __future__ import annotations

import socket
import sys
import time

_PORT = 5201
_CHUNK = 1 << 18


def give(address: str, seconds: float) -> None:
    data = bytes(_CHUNK)
    with socket.create_connection((address, _PORT), 10) as connection:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            connection.sendall(data)


def take(address: str) -> None:
    with socket.create_server((address, _PORT)) as listener:
        listener.settimeout(10)
        connection, _ = listener.accept()
    with connection:
        buffer = bytearray(_CHUNK)
        total = connection.recv_into(buffer)
        begun = time.monotonic()
        while count := connection.recv_into(buffer):
            total += count
        print(f"{total * 8 / 1e6 / (time.monotonic() - begun):.1f}")


if __name__ == "__main__":
    if sys.argv[1] == "give":
        give(sys.argv[2], float(sys.argv[3]))
    else:
        take(sys.argv[2])

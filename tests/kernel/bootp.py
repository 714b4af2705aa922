"""A client of DHCP without a network of its own: one question, one answer.

python -m tests.kernel.bootp INTERFACE MAC
"""

from __future__ import annotations

import socket
import struct
import sys
import time

OFFER, ACK = 2, 5


def exchange(
    mac: str, kind: int, options: bytes = b"", timeout_s: float = 8.0, interface: str = "guest"
) -> tuple[int, str] | None:
    """The kind of answer to who asks on an interface, and the address that it gives; None for silence."""
    hardware = bytes.fromhex(mac.replace(":", ""))
    body = struct.pack("!BBBB4sHH16s", 1, 1, 6, 0, b"test", 0, 0x8000, bytes(16)) + hardware + bytes(202)
    body += b"\x63\x82\x53\x63" + bytes([53, 1, kind]) + options + b"\xff"
    datagram = struct.pack("!HHHH", 68, 67, 8 + len(body), 0) + body
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(datagram), 1, 0, 64, 17, 0, bytes(4), b"\xff" * 4)
    words = struct.unpack("!10H", head)
    total = sum(words) % 0xFFFF
    head = head[:10] + struct.pack("!H", ~total & 0xFFFF) + head[12:]
    frame = b"\xff" * 6 + hardware + b"\x08\x00" + head + datagram
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0800)) as wire:
        wire.bind((interface, 0))
        wire.settimeout(0.5)
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            wire.send(frame)
            try:
                answer = wire.recv(2048)
            except TimeoutError:
                continue
            if answer[23] == 17 and answer[34:38] == struct.pack("!HH", 67, 68) and answer[46:50] == b"test":
                found = answer.index(b"\x63\x82\x53\x63") + 4
                assert answer[found] == 53
                return answer[found + 2], socket.inet_ntoa(answer[58:62])
    return None


if __name__ == "__main__":
    print(exchange(sys.argv[2], 1, interface=sys.argv[1]))

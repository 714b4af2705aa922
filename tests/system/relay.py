"""Guests without machines: network namespaces of a host, each with a card that is plugged into a tap of the agent.

Run by `deuteron exec HOST`, it is told lines of JSON: first the guests, then commands, each answered by a line.

    [{"tap": "tapXXXXXXXX-XX", "name": "g1", "mac": "fa:16:…", "mtu": 1450, "addresses": ["10.0.0.5/24"]}, …]
    "ip netns exec g1 ping -c 1 10.0.0.6"

The namespace `g1` then has `eth0`, and every frame of it is carried to the tap, as QEMU carries those of a virtual
machine, and back. On port 5001 it takes what is sent to it over TCP, and answers how much that was with its digest.
It ends with its input.
"""

import ctypes
import errno
import fcntl
import hashlib
import json
import os
import select
import socket
import struct
import subprocess
import sys
import threading
import time
from typing import Any

TUNSETIFF = 0x400454CA
IFF_TAP, IFF_NO_PI = 0x0002, 0x1000
LONGEST_FRAME = 65536
CLONE_NEWNET = 0x40000000


def opened(name: str) -> int:
    """A file of a tap; the kernel says that it is busy while somebody else has it."""
    tap = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    deadline = time.monotonic() + 5
    while True:
        try:
            fcntl.ioctl(tap, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TAP | IFF_NO_PI))
        except OSError as error:
            if error.errno != errno.EBUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return tap


def run(command: str) -> None:
    subprocess.run(command.split(), check=True)


def take(listener: socket.socket) -> None:
    while True:
        connection, _ = listener.accept()
        digest, length = hashlib.sha256(), 0
        while data := connection.recv(LONGEST_FRAME):
            digest.update(data)
            length += len(data)
        connection.sendall(f"{length} {digest.hexdigest()}".encode())
        connection.close()


def card_of(guest: dict[str, Any]) -> int:
    """The file of `eth0` in a namespace of the guest's own."""
    name = guest["name"]
    run(f"ip netns add {name}")
    made: list[int] = []
    listeners: list[socket.socket] = []

    def make() -> None:
        # A thread of its own is in another namespace than the process.
        place = os.open(f"/run/netns/{name}", os.O_RDONLY)
        if ctypes.CDLL(None, use_errno=True).setns(place, CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "setns")
        os.close(place)
        made.append(opened("eth0"))
        listeners.append(socket.create_server(("", 5001)))

    thread = threading.Thread(target=make)
    thread.start()
    thread.join()
    threading.Thread(target=take, args=listeners, daemon=True).start()
    run(f"ip -n {name} link set lo up")
    run(f"ip -n {name} link set eth0 address {guest['mac']} mtu {guest['mtu']} up")
    for address in guest["addresses"]:
        run(f"ip -n {name} address add {address} dev eth0 nodad" if ":" in address else
            f"ip -n {name} address add {address} dev eth0")  # fmt: skip
    return made[0]


def carry(ends: list[tuple[int, int]]) -> None:
    """All frames between the two of each pair."""
    other: dict[int, int] = {}
    poll = select.poll()
    for pair in ends:
        for here, there in (pair, pair[::-1]):
            other[here] = there
            poll.register(here, select.POLLIN)
    while True:
        for here, _ in poll.poll():
            try:
                while True:
                    os.write(other[here], os.read(here, LONGEST_FRAME))
            except BlockingIOError:
                pass
            except OSError as error:
                if error.errno not in (errno.EIO, errno.ENETDOWN):  # an end is down
                    raise


def main() -> None:
    ends = [(card_of(guest), opened(guest["tap"])) for guest in json.loads(sys.stdin.readline())]
    threading.Thread(target=carry, args=[ends], daemon=True).start()
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        done = subprocess.run(["sh", "-c", json.loads(line)], capture_output=True, text=True)
        print(json.dumps(done.stdout), flush=True)


main()

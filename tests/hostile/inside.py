"""The hands of a guest: opens taps in a host's namespace, and writes and reads raw frames on them.

Run by `deuteron exec HOST`, it is told what to do in lines of JSON and answers in lines of JSON. A tap is what a
virtual machine has: what is written here has crossed no filter yet, and what is read here has crossed all of them.

    {"open": "tap…", "bridge": null}     open the tap; on a bridge (hybrid), make it and put it there
    {"open": "eth2", "wire": true}       hear and speak on an interface as it is, VLAN tags and all
    {"send": "tap…", "frames": ["…"]}    hexadecimal
    {"take": "tap…"}                     the frames that came since the last time
    {"run": ["ip", "neigh"]}             what a command prints
"""

import errno
import fcntl
import json
import os
import socket
import struct
import subprocess
import sys
import threading
import time

TUNSETIFF = 0x400454CA
SOL_PACKET, PACKET_AUXDATA, PACKET_IGNORE_OUTGOING = 263, 8, 23
ETH_P_ALL, TP_STATUS_VLAN_VALID = 3, 0x10
IFF_TAP, IFF_NO_PI = 0x0002, 0x1000

taps: dict[str, int] = {}
wires: dict[str, socket.socket] = {}
arrived: dict[str, list[str]] = {}
lock = threading.Lock()


def attached(name: str) -> int:
    """A file of the tap. Whoever makes one holds it for a moment: until then the kernel says that it is busy."""
    tap = os.open("/dev/net/tun", os.O_RDWR)
    deadline = time.monotonic() + 30
    while True:
        try:
            fcntl.ioctl(tap, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TAP | IFF_NO_PI))
        except OSError as error:
            if error.errno != errno.EBUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return tap


def heard(wire: socket.socket) -> bytes:
    """The next frame of an interface, with the VLAN tag that the kernel has put beside it."""
    frame, beside, _, _ = wire.recvmsg(65536, 256)
    for level, kind, data in beside:
        if (level, kind) == (SOL_PACKET, PACKET_AUXDATA):
            status, _, _, _, _, tci, tpid = struct.unpack("IIIHHHH", data[:20])
            if status & TP_STATUS_VLAN_VALID:
                return frame[:12] + struct.pack(">HH", tpid or 0x8100, tci) + frame[12:]
    return frame


def connected(name: str) -> socket.socket:
    wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    wire.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
    wire.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
    wire.bind((name, ETH_P_ALL))
    return wire


def listen(name: str) -> None:
    while True:
        frame = heard(wires[name]) if name in wires else os.read(taps[name], 65536)
        with lock:
            arrived[name].append(frame.hex())


def act(order: dict[str, object]) -> object:
    if "open" in order:
        name = str(order["open"])
        if order.get("wire"):
            wires[name] = connected(name)
            taps[name] = wires[name].fileno()
        else:
            taps[name] = attached(name)
        if order.get("bridge"):
            subprocess.run(["ip", "link", "set", name, "master", str(order["bridge"])], check=True)
        subprocess.run(["ip", "link", "set", name, "up"], check=True)
        arrived[name] = []
        threading.Thread(target=listen, args=(name,), daemon=True).start()
        return "open"
    if "send" in order:
        for frame in order["frames"]:  # type: ignore[attr-defined]  # JSON has no types
            os.write(taps[str(order["send"])], bytes.fromhex(frame))
        return "sent"
    if "take" in order:
        with lock:
            frames, arrived[str(order["take"])] = arrived[str(order["take"])], []
        return frames
    done = subprocess.run(order["run"], capture_output=True, text=True)  # type: ignore[call-overload]
    return done.stdout + done.stderr


def main() -> None:
    for line in sys.stdin:
        try:
            answer = {"answer": act(json.loads(line))}
        except Exception as error:  # the test is told, whatever it is
            answer = {"error": repr(error)}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()

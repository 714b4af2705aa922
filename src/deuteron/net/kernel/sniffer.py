"""What passes a device: a packet socket, which sees frames in both directions and changes nothing.

A socket belongs to the namespace in which it was opened, whoever reads it: a helper opens it there and hands it over.

Source: packet(7); linux include/uapi/linux/if_packet.h.
"""

from __future__ import annotations

import contextlib
import socket
import struct
from typing import NamedTuple

_ALL = 0x0003  # ETH_P_ALL
_SOL_PACKET = 263
_STATISTICS, _AUXDATA = 6, 8
_TIMESTAMPS = 35  # SO_TIMESTAMPNS and SCM_TIMESTAMPNS
_BUFFER_FORCED = 33  # SO_RCVBUFFORCE
_BUFFER_BYTES = 4 << 20
_OUTGOING = 4
_HAS_TAG, _HAS_KIND = 1 << 4, 1 << 6
_LONGEST = 1 << 16


class Seen(NamedTuple):
    at_ns: int
    """Since 1970, by the kernel's clock."""
    is_out: bool
    """Whether the kernel sends it on the device, and not receives."""
    frame: bytes
    """With its tag, also where the kernel keeps that beside it."""
    device: str = ""


def open_sniffer(device: str) -> socket.socket:
    """A socket on a device of the calling thread's namespace, or, with an empty name, on all of them.

    Raises: OSError if there is no such device, or this may not be done.
    """
    kinds = 0 if device else socket.htons(_ALL)
    opened = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, kinds)
    try:
        opened.setsockopt(_SOL_PACKET, _AUXDATA, 1)
        opened.setsockopt(socket.SOL_SOCKET, _TIMESTAMPS, 1)
        with contextlib.suppress(OSError):  # not everybody may have more than the machine's usual
            opened.setsockopt(socket.SOL_SOCKET, _BUFFER_FORCED, _BUFFER_BYTES)
        if device:
            opened.bind((device, _ALL))
    except OSError:
        opened.close()
        raise
    return opened


def take(sniffer: socket.socket) -> Seen | None:
    """The next frame; None when there is none now. Raises: OSError when the device is gone."""
    try:
        frame, extras, _, address = sniffer.recvmsg(_LONGEST, 256)
    except BlockingIOError:
        return None
    at_ns = 0
    for level, kind, data in extras:
        if (level, kind) == (socket.SOL_SOCKET, _TIMESTAMPS):
            seconds, rest = struct.unpack("qq", data[:16])
            at_ns = seconds * 10**9 + rest
        elif (level, kind) == (_SOL_PACKET, _AUXDATA):
            status, _, _, _, _, tag, tag_kind = struct.unpack("IIIHHHH", data[:20])
            if status & _HAS_TAG:
                known = tag_kind if status & _HAS_KIND else 0x8100
                frame = frame[:12] + struct.pack(">HH", known, tag) + frame[12:]
    return Seen(at_ns, address[2] == _OUTGOING, frame, address[0])


def lost(sniffer: socket.socket) -> int:
    """How many frames passed unseen since this was asked last, as nobody took them in time."""
    return int(struct.unpack("II", sniffer.getsockopt(_SOL_PACKET, _STATISTICS, 8))[1])

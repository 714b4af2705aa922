"""Captures as Wireshark reads them: pcapng, with one interface for each device and its name.

Source: IETF draft-ietf-opsawg-pcapng, sections 4.1 to 4.3.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final

_SECTION, _INTERFACE, _PACKET = 0x0A0D0D0A, 1, 6
_ETHERNET: Final = 1
_NAME, _DESCRIPTION, _RESOLUTION, _APPLICATION, _FLAGS = 2, 3, 9, 4, 2
_NANOSECONDS = b"\x09"
_IN, _OUT = 1, 2


def header(application: str, interfaces: Sequence[tuple[str, str]]) -> bytes:
    """The section and its interfaces, each with its name and what it is."""
    section = struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1) + _options([(_APPLICATION, application.encode())])
    found = [_block(_SECTION, section)]
    for name, description in interfaces:
        options = [(_NAME, name.encode()), (_RESOLUTION, _NANOSECONDS)]
        if description:
            options.insert(1, (_DESCRIPTION, description.encode()))
        found.append(_block(_INTERFACE, struct.pack("<HHI", _ETHERNET, 0, 0) + _options(options)))
    return b"".join(found)


def packet(interface: int, at_ns: int, frame: bytes, *, is_out: bool) -> bytes:
    """A frame on one of the interfaces, by its place among them; `at_ns` since 1970."""
    head = struct.pack("<IIIII", interface, at_ns >> 32, at_ns & 0xFFFFFFFF, len(frame), len(frame))
    flags = struct.pack("<I", _OUT if is_out else _IN)
    return _block(_PACKET, head + _padded(frame) + _options([(_FLAGS, flags)]))


def _block(kind: int, body: bytes) -> bytes:
    length = struct.pack("<I", len(body) + 12)
    return struct.pack("<I", kind) + length + body + length


def _options(options: Sequence[tuple[int, bytes]]) -> bytes:
    found = [struct.pack("<HH", code, len(value)) + _padded(value) for code, value in options]
    return b"".join([*found, bytes(4)])


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)

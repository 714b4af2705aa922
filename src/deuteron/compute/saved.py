"""A machine that libvirt saved with its memory, given to another server: pure but for copying the memory.

    header    92 bytes, see `Header`
    xml       the domain, and a zero byte
    cookie    XML of libvirt's own that ends in a zero byte, or nothing
    stream    the memory and the state of its devices, as QEMU writes them for a move

libvirt keeps to this since version 0.7. It restores a file of it under the identity that the XML says, and checks
nothing of the stream; QEMU does, which refuses a machine with other devices.

Source: libvirt src/qemu/qemu_saveimage.h `_virQEMUSaveHeader`, qemu_saveimage.c `virQEMUSaveDataWrite`.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import Final

import msgspec

_MAGIC: Final = b"LibvirtQemudSave"
_HEADER: Final = struct.Struct("<16sIIIII56x")
_VERSION: Final = 2
_RAW: Final = 0
_MOST_DATA_BYTES: Final = 1 << 20
_CHUNK_BYTES: Final = 8 << 20


class NotSaved(ValueError):
    """The file is not what libvirt saves, or not in a way that is known here."""


class Saved(msgspec.Struct, frozen=True):
    """What stands before the memory in a saved file."""

    xml: str
    cookie: bytes
    """With its zero byte; empty without one."""
    stream_at: int
    """Where the memory begins, in bytes."""


def read_saved(path: Path) -> Saved:
    """Raises: NotSaved, OSError."""
    with path.open("rb") as file:
        head = file.read(_HEADER.size)
        if len(head) < _HEADER.size:
            raise NotSaved(f"{path} has {len(head)} bytes")
        magic, version, length, _, compression, cookie_at = _HEADER.unpack(head)
        if magic != _MAGIC or version != _VERSION or compression != _RAW:
            raise NotSaved(f"{path} is no saved machine of version {_VERSION} without compression")
        if not 0 < length <= _MOST_DATA_BYTES or cookie_at > length:
            raise NotSaved(f"{path} has {length} bytes of description, its cookie at {cookie_at}")
        data = file.read(length)
    if len(data) < length:
        raise NotSaved(f"{path} ends in its description")
    xml, _, _ = data.partition(b"\0")
    cookie = b"" if not cookie_at else data[cookie_at:].partition(b"\0")[0] + b"\0"
    return Saved(xml.decode(), cookie, _HEADER.size + length)


def prefix(xml: str, cookie: bytes) -> bytes:
    """What stands before the memory of a machine that waits to go on, of this description."""
    text = xml.encode() + b"\0"
    at = len(text) if cookie else 0
    return _HEADER.pack(_MAGIC, _VERSION, len(text) + len(cookie), 0, _RAW, at) + text + cookie


def write_other(source: Path, saved: Saved, xml: str, target: Path) -> None:
    """The saved machine as one of another description. Raises: OSError."""
    with source.open("rb") as memory, target.open("wb") as out:
        out.write(prefix(xml, saved.cookie))
        out.flush()
        at = saved.stream_at
        while sent := os.sendfile(out.fileno(), memory.fileno(), at, _CHUNK_BYTES):
            at += sent

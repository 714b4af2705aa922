"""What the head of a qcow2 file says: its size, the file below it, and whether anything was written to it.

To ask `qemu-img` takes a process of 20 ms, and the driver asks it of every file when it starts.

Source: QEMU, docs/interop/qcow2.txt.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Final

import msgspec

_HEAD: Final = struct.Struct(">4sIQIIQIIQ")
"""Magic, version, place and length of the backing file's name, cluster bits, size, encryption, length and place of
L1."""
_FORMAT: Final = 0xE2792ACA
"""The header extension that names the format of the backing file."""
_CORRUPT: Final = 1 << 1
_DATA_FILE: Final = 1 << 2
"""Incompatible features."""
_MOST_L1: Final = 32 * 1024 * 1024


class NotQcow2(Exception):
    """The file is none, or not a whole one."""


class Head(msgspec.Struct, frozen=True):
    size_bytes: int
    below: str | None
    """The backing file as it is named."""
    below_format: str
    is_blank: bool
    """Whether nothing was written: all that it holds is below it."""
    needs: str = ""
    """What else than the file below it is needed to read it, in words."""


def read_head(path: Path) -> Head:
    """Raises: NotQcow2; OSError."""
    with path.open("rb") as file:
        raw = file.read(65536)
        if len(raw) < 104:
            raise NotQcow2(f"{path.name} has {len(raw)} bytes")
        magic, version, name_at, name_length, _, size, method, l1_entries, l1_at = _HEAD.unpack_from(raw)
        if magic != b"QFI\xfb" or version not in (2, 3) or l1_entries * 8 > _MOST_L1:
            raise NotQcow2(f"{path.name} does not begin like a qcow2 file of version 2 or 3")
        below = raw[name_at : name_at + name_length].decode() if name_at and name_length else None
        file.seek(l1_at)
        table = file.read(l1_entries * 8)
    return Head(size, below, _below_format(raw, version), not any(table), _needs(raw, version, method))


def _needs(raw: bytes, version: int, method: int) -> str:
    features = struct.unpack_from(">Q", raw, 72)[0] if version == 3 else 0
    if method:
        return "a key"
    return "a file for its data" if features & _DATA_FILE else "to be repaired" if features & _CORRUPT else ""


def _below_format(raw: bytes, version: int) -> str:
    at = struct.unpack_from(">I", raw, 100)[0] if version == 3 else 72
    while at + 8 <= len(raw):
        kind, length = struct.unpack_from(">II", raw, at)
        if kind == 0:
            break
        if kind == _FORMAT:
            return raw[at + 8 : at + 8 + length].decode()
        at += 8 + (length + 7) // 8 * 8
    return "qcow2"

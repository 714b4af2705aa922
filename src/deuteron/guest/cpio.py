"""An archive in the kernel's initramfs format, written without being root.

The kernel's format ("newc") holds owner, mode and device numbers as plain numbers, so an ordinary user can
write an archive that contains `/dev/console` and files of root. The archive is a value: the same entries
give the same bytes (times are 0, inode numbers count up), so a recipe can be cached by its content.

Source: Linux Documentation/driver-api/early-userspace/buffer-format.rst.
"""

from __future__ import annotations

import stat
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Entry:
    """One name in the archive, without a leading slash; `mode` includes the file type."""

    name: str
    mode: int
    data: bytes = b""
    owner: int = 0
    """User and group, which are the same number here."""
    device: tuple[int, int] = (0, 0)


def directory(name: str, permissions: int = 0o755, owner: int = 0) -> Entry:
    return Entry(name, stat.S_IFDIR | permissions, owner=owner)


def file(name: str, data: bytes, permissions: int = 0o644) -> Entry:
    return Entry(name, stat.S_IFREG | permissions, data)


def symlink(name: str, target: str) -> Entry:
    return Entry(name, stat.S_IFLNK | 0o777, target.encode())


def character_device(name: str, major: int, minor: int, permissions: int = 0o600) -> Entry:
    return Entry(name, stat.S_IFCHR | permissions, device=(major, minor))


def archive(entries: Iterable[Entry]) -> bytes:
    """The entries as one archive, in the order given: a directory comes before what is in it."""
    out = bytearray()
    for number, entry in enumerate(entries, start=1):
        _append(out, number, entry)
    _append(out, 0, Entry("TRAILER!!!", 0))
    out.extend(b"\0" * (-len(out) % 512))
    return bytes(out)


def _append(out: bytearray, number: int, entry: Entry) -> None:
    name = entry.name.encode() + b"\0"
    fields = (
        number,
        entry.mode,
        entry.owner,
        entry.owner,
        2 if stat.S_ISDIR(entry.mode) else 1,
        0,  # modification time
        len(entry.data),
        0,
        0,
        *entry.device,
        len(name),
        0,  # no checksum in this format
    )
    out.extend(b"070701" + b"".join(b"%08x" % field for field in fields) + name)
    out.extend(b"\0" * (-len(out) % 4))
    out.extend(entry.data)
    out.extend(b"\0" * (-len(out) % 4))

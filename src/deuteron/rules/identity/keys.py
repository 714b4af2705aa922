"""The keys that sign tokens: numbered files, as Keystone's `fernet-keys`.

    0        staged: becomes the primary at the next rotation; already accepted, so that servers may rotate apart
    highest  primary: signs new tokens
    others   older primaries: tokens that they signed stay valid until they are purged

A rotation renames 0 to the next number and makes a new 0; the oldest beyond `MAX_ACTIVE` go. Files are 0600 and
written whole (a temporary name, then a link), so that a crash leaves the folder as it was or with one key more.
Source: Keystone administrator guide, "Fernet - Frequently Asked Questions".
"""

from __future__ import annotations

import os
from pathlib import Path

from cryptography.fernet import Fernet, MultiFernet

MAX_ACTIVE = 3


def load_keys(folder: Path) -> MultiFernet:
    """All keys, primary first; a folder without keys gets its first two. Raises: OSError, ValueError for a bad key."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    numbers = key_numbers(folder)
    if not numbers:
        write_key(folder / "1")
        write_key(folder / "0")
    elif numbers[-1] == 0:
        write_key(folder / "1")
    numbers = key_numbers(folder)
    return MultiFernet([Fernet((folder / str(number)).read_bytes().strip()) for number in reversed(numbers)])


def rotate_keys(folder: Path, max_active: int = MAX_ACTIVE) -> None:
    """Make the staged key the primary, stage a new one, purge the oldest beyond `max_active` (at least 2)."""
    numbers = key_numbers(folder)
    if 0 not in numbers:
        write_key(folder / "0")
        numbers = [0, *numbers]
    primary = numbers[-1] + 1
    os.rename(folder / "0", folder / str(primary))
    os.utime(folder / str(primary))
    write_key(folder / "0")
    older = [number for number in numbers if number != 0]
    for number in older[: max(0, len(older) + 2 - max(2, max_active))]:
        (folder / str(number)).unlink()


def primary_age_s(folder: Path, now_s: float) -> float:
    """How long the primary has been signing."""
    return now_s - (folder / str(key_numbers(folder)[-1])).stat().st_mtime


def key_numbers(folder: Path) -> list[int]:
    """The numbers of the key files, ascending."""
    return sorted(int(entry.name) for entry in folder.iterdir() if entry.name.isascii() and entry.name.isdigit())


def write_key(path: Path) -> None:
    """A new key in a file of its own, whole and on the disk, for this user alone; one that is there is replaced."""
    temporary = path.with_name(f".new-{os.getpid()}-{path.name}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        os.fchmod(descriptor, 0o600)
        os.write(descriptor, Fernet.generate_key())
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    os.rename(temporary, path)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)

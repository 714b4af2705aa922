"""Copies of servers' disks: what is made of a disk while its server goes on, and what is kept until a resize is over.

    .copy          the disk as it was at one moment, over the same base; beside it, so that the base is found
    .copy.whole    the same in one file without a base
    kept-<n>-disk  the disk as it was before the server had its shape generation n; so of each disk

The first two are gone at the end; what a crash leaves is written over by the next copy, or goes with the server's
folder. A kept copy has its name only when it is whole.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from deuteron.compute.tools import run_tool


class DiskCopy:
    """A copy of a disk in qcow2 that is to be taken."""

    def __init__(self, disk: Path) -> None:
        self._disk = disk
        self._copy = disk.with_name(".copy")
        self._whole = disk.with_name(".copy.whole")

    def take(self) -> None:
        """Copy the disk, to which nothing is written meanwhile: at once where the file system can.

        Raises: DiskFailure.
        """
        copy_file(self._disk, self._copy)

    def flattened(self) -> Path:
        """The copy in one file. Raises: DiskFailure."""
        run_tool(["qemu-img", "convert", "-f", "qcow2", "-O", "qcow2", str(self._copy), str(self._whole)])
        return self._whole

    def discard(self) -> None:
        self._copy.unlink(missing_ok=True)
        self._whole.unlink(missing_ok=True)


@contextmanager
def disk_copy(disk: Path) -> Iterator[DiskCopy]:
    """A copy of the disk, to be taken inside, and gone at the end."""
    copy = DiskCopy(disk)
    try:
        yield copy
    finally:
        copy.discard()


def copy_file(source: Path, target: Path) -> None:
    """Copy a file with its holes; the blocks are shared where the file system can. Raises: DiskFailure."""
    run_tool(["cp", "--reflink=auto", "--sparse=always", "--", str(source), str(target)])


_DISKS: Final = ("disk", "disk.eph0")
_KEPT: Final = re.compile(r"kept-([0-9]+)-(.+)")


def keep(folder: Path, generation: int) -> None:
    """Copy the disks, unless that was done before. Raises: DiskFailure."""
    for name in _DISKS:
        source, target = folder / name, folder / f"kept-{generation}-{name}"
        if source.exists() and not target.exists():
            part = folder / ".kept"
            copy_file(source, part)
            part.rename(target)


def put_back(folder: Path, generation: int) -> None:
    """The disks are what they were when they were kept; nothing where that was done before."""
    for name in _DISKS:
        source = folder / f"kept-{generation}-{name}"
        if source.exists():
            source.rename(folder / name)


def kept(folder: Path) -> frozenset[int]:
    """The generations of which copies are there."""
    if not folder.is_dir():
        return frozenset()
    return frozenset(int(found[1]) for path in folder.iterdir() if (found := _KEPT.fullmatch(path.name)))


def drop(folder: Path, but: int | None) -> None:
    """Remove the kept copies but those of one generation."""
    for path in folder.iterdir():
        found = _KEPT.fullmatch(path.name)
        if found and int(found[1]) != but:
            path.unlink(missing_ok=True)

"""Copies of servers' disks: what is made of a disk while its server goes on.

    .copy          the disk as it was at one moment, over the same base; beside it, so that the base is found
    .copy.whole    the same in one file without a base

Both are gone at the end; what a crash leaves is written over by the next copy, or goes with the server's folder.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deuteron.compute.images import run_tool


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

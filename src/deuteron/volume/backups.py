"""Backups of a host's volumes: qcow2 files in a folder of their own, which hold all that they are a backup of.

    backup-<id>    a whole one; or what differs from `backup-<id of another>`, on which it then stands
    .part-*        a file that is not whole, of a crash; removed when the store opens

What differs is what QEMU finds to differ, cluster by cluster, and not what somebody believed to have written. Files
never change; a further name of one is a backup that was imported. None stands on anything outside of the folder.

Mark: the names above. A crash leaves none of them, or the whole file.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

from deuteron.volume.contract import VolumeFailure
from deuteron.volume.unfinished import remove_unfinished

Save = Callable[[Path, Path | None], None]
"""Write a qcow2 file: whole, or on another one of the same folder."""


class BackupStore:
    """The folder; see the module's text. One process has it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        remove_unfinished(folder)

    def path(self, backup_id: str) -> Path:
        return self._folder / f"backup-{UUID(backup_id)}"

    def has(self, backup_id: str) -> bool:
        return self.path(backup_id).exists()

    def keep(self, backup_id: str, parent_id: str | None, save: Save) -> None:
        """Have a backup written by `save`. Raises: VolumeFailure, also for a parent that is not there."""
        if self.has(backup_id):
            return
        below = None if parent_id is None else self.path(parent_id)
        if below is not None and not below.exists():
            raise VolumeFailure(f"cannot make backup {backup_id}: the one it differs from, {parent_id}, is not here")
        handle, name = tempfile.mkstemp(prefix=".part-", dir=self._folder)
        os.close(handle)
        part = Path(name)
        try:
            save(part, below)
            part.chmod(0o444)
            _flush(part)
            part.rename(self.path(backup_id))
        finally:
            part.unlink(missing_ok=True)
        _flush(self._folder)

    def adopt(self, backup_id: str, other_id: str) -> None:
        """Let the backup have the data of another. Raises: VolumeFailure."""
        if self.has(backup_id):
            return
        try:
            os.link(self.path(other_id), self.path(backup_id))
        except FileNotFoundError:
            raise VolumeFailure(f"cannot import backup {backup_id}: this host has no data of {other_id}") from None
        _flush(self._folder)

    def remove(self, backup_id: str) -> None:
        """What stands on it needs it: the API asks for the end of those first."""
        self.path(backup_id).unlink(missing_ok=True)
        _flush(self._folder)


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

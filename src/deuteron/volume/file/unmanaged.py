"""Disks in the folder of the driver `file` that are no volumes: what they are called, and which may become one.

    unmanaged-<id>                        a volume that was given out of hand
    unmanaged-raw-<id>                    one that several guests could have
    unmanaged-snapshot-<id>-of-<volume>   a snapshot; `base-<id>`, which holds its data, stays while it is there
    NAME.qcow2, NAME.raw, NAME.img        what an operator put there

As of volumes, the format of a file is in its name. What somebody else made may become a volume when it needs no other
file, what was a volume when it needs none but bases and images of this folder: a qcow2 file that names any other would
give its guest what the host has there.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

from deuteron.model.intent import Unmanaged
from deuteron.volume.contract import VolumeFailure
from deuteron.volume.file.qcow2 import NotQcow2, read_head

GIB: Final = 1024**3
_UUID: Final = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_SNAPSHOT: Final = re.compile(rf"unmanaged-snapshot-({_UUID})-of-({_UUID})")
_OURS: Final = re.compile(rf"unmanaged-(raw-)?({_UUID})")
_BELOW: Final = re.compile(rf"base-{_UUID}|images/[^/]+")
"""What a volume stands on."""
_FORMATS: Final = {".qcow2": "qcow2", ".raw": "raw", ".img": "raw"}
_TAKEN: Final = (".", "volume-", "raw-", "base-", "snapshot-", "unmanaged-")


def idle_name(volume_id: str, form: str) -> str:
    """What a volume is called that is nobody's any more."""
    return f"unmanaged-{'raw-' if form == 'raw' else ''}{volume_id}"


def idle_snapshot_name(snapshot_id: str, volume_id: str) -> str:
    return f"unmanaged-snapshot-{snapshot_id}-of-{volume_id}"


def former_id(name: str) -> str | None:
    """The volume that a disk was, if its name says so."""
    found = _OURS.fullmatch(name)
    return None if found is None else found[2]


def snapshot_of(name: str) -> tuple[str, str] | None:
    """The snapshot that a name is of, and its volume."""
    found = _SNAPSHOT.fullmatch(name)
    return None if found is None else (found[1], found[2])


def is_qcow2(name: str) -> bool:
    """Whether it is a disk of nobody's that may stand on others of ours."""
    found = _OURS.fullmatch(name)
    return found is not None and found[1] is None


def form_of(name: str) -> str | None:
    """The format of a disk of nobody's; None for a name of something else."""
    found = _OURS.fullmatch(name)
    if found is not None:
        return "raw" if found[1] else "qcow2"
    return None if name.startswith(_TAKEN) or "/" in name else _FORMATS.get(Path(name).suffix)


def size_bytes(path: Path, form: str) -> int:
    """How large the disk is, before it is as large as a volume.

    Raises: VolumeFailure for what cannot become a volume.
    """
    try:
        status = path.lstat()
    except OSError as error:
        raise VolumeFailure(f"there is no {path.name} on this host") from error
    if not path.is_file() or path.is_symlink():
        raise VolumeFailure(f"{path.name} is no plain file")
    if status.st_nlink > 1:
        raise VolumeFailure(f"{path.name} has other names, by which somebody may write to it")
    if not os.access(path, os.R_OK | os.W_OK):
        raise VolumeFailure(f"{path.name} may not be written by the agent of this host")
    if form == "raw":
        size = status.st_size
    else:
        try:
            head = read_head(path)
        except NotQcow2 as error:
            raise VolumeFailure(f"{path.name} cannot be used: {error}") from error
        is_ours = former_id(path.name) is not None and head.below is not None and _BELOW.fullmatch(head.below)
        if head.needs or (head.below is not None and not is_ours):
            raise VolumeFailure(f"{path.name} cannot be used: it needs {head.needs or 'the file below it'}")
        size = head.size_bytes
    if size <= 0:
        raise VolumeFailure(f"{path.name} is empty")
    return size


def found(folder: Path) -> list[Unmanaged]:
    """All of them, by name."""
    told = []
    for path in sorted(folder.iterdir(), key=lambda each: each.name):
        form, snapshot = form_of(path.name), snapshot_of(path.name)
        try:
            if snapshot is not None:
                size = -(-read_head(path).size_bytes // GIB)
                told.append(Unmanaged("snapshot", path.name, size, source=f"volume-{snapshot[1]}"))
            elif form is not None:
                told.append(Unmanaged("volume", path.name, -(-size_bytes(path, form) // GIB)))
        except (VolumeFailure, NotQcow2) as error:
            told.append(Unmanaged("volume" if snapshot is None else "snapshot", path.name, 0, str(error)))
        except FileNotFoundError:
            continue
    return told

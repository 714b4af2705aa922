"""The disks of a server that moves to another host, in one file that goes through the API.

    disk, disk.eph0    in qcow2 without a base: the image below them need not be there any more
    disk.config        the config drive as it is, since nobody could make it again

Swap is made anew. The file is a tar archive; of what is in one, only regular files of these names are used, and a disk
is looked at before QEMU is given it: the host that packed it may be in other hands.
"""

from __future__ import annotations

import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

from deuteron.compute.tools import DiskFailure, run_tool

_DISKS: Final = ("disk", "disk.eph0")
_DRIVE: Final = "disk.config"
_FLAT: Final = ".flat"
_PARCEL: Final = ".parcel"


def pack(folder: Path) -> Path:
    """The disks in `folder`, to which nothing is written meanwhile, in one file there. `discard` removes it.

    Raises: DiskFailure, OSError.
    """
    parcel, flat = folder / _PARCEL, folder / _FLAT
    with tarfile.open(parcel, "w") as archive:
        for name in _DISKS:
            if (folder / name).exists():
                run_tool(["qemu-img", "convert", "-f", "qcow2", "-O", "qcow2", str(folder / name), str(flat)])
                archive.add(flat, arcname=name)
                flat.unlink()
        if (folder / _DRIVE).exists():
            archive.add(folder / _DRIVE, arcname=_DRIVE)
    return parcel


def discard(folder: Path) -> None:
    for name in (_PARCEL, _FLAT):
        (folder / name).unlink(missing_ok=True)


def unpack(parcel: Path, folder: Path, check: Callable[[Path], object]) -> None:
    """Put the disks into `folder`; `check` raises DiskFailure for one that QEMU must not be given.

    Raises: DiskFailure.
    """
    try:
        with tarfile.open(parcel, "r:") as archive:
            for member in archive:
                if member.name not in (*_DISKS, _DRIVE) or not member.isreg():
                    raise DiskFailure(f'cannot take a server over: "{member.name}" is no disk of one')
                data = archive.extractfile(member)
                if data is None:
                    raise DiskFailure(f'cannot take a server over: "{member.name}" has no content')
                with data, (folder / member.name).open("wb") as out:
                    shutil.copyfileobj(data, out, 1 << 20)
                if member.name in _DISKS:
                    check(folder / member.name)
    except tarfile.TarError as error:
        raise DiskFailure(f"cannot take a server over: what came is damaged: {error}") from error

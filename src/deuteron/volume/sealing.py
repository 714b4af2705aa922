"""New encrypted volumes: what a back end is given to keep, which is unreadable to it.

The encryption lies over whatever a driver keeps: a driver is given a disk of which the first bytes say how it is
encrypted, and the rest is. Copies, snapshots, backups and moves are then as those of any other disk, and need no key.
Programs are given it by a file in memory that has no name: nobody else can open it, and it is on no disk.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

from deuteron.model.intent import ImageRef
from deuteron.model.luks import HEADER_BYTES
from deuteron.volume import disks, luks
from deuteron.volume.contract import Fetch, VolumeFailure

KeyOf = Callable[[str], str]
"""What opens the data of a volume, by its id. Raises: VolumeFailure; TimeoutError while nobody can say."""
_GIB: Final = 1024**3
_TOOL_TIMEOUT_S: Final = 3600.0


class Sealer(Protocol):
    def seal(self, volume_id: str, size_gib: int, key_bits: int, image: ImageRef | None, folder: Path) -> Path | None:
        """A qcow2 file in the folder that holds a new encrypted disk, of nothing or with the data of an image.

        None where volumes have no data. Raises: VolumeFailure; TimeoutError, OSError.
        """
        ...


class NoSealer:
    """Of a host whose volumes have no data."""

    def seal(self, volume_id: str, size_gib: int, key_bits: int, image: ImageRef | None, folder: Path) -> Path | None:
        return None


class QemuSealer:
    """`Sealer` by QEMU's own encryption."""

    def __init__(self, key_of: KeyOf, fetch: Fetch) -> None:
        self._key_of = key_of
        self._fetch = fetch

    def seal(self, volume_id: str, size_gib: int, key_bits: int, image: ImageRef | None, folder: Path) -> Path | None:
        secret = self._key_of(volume_id)
        head, data = folder / "head", folder / "sealed"
        head.touch(0o600)
        head.write_bytes(luks.header(secret.encode(), key_bits, volume_id, os.urandom))
        os.truncate(head, size_gib * _GIB)
        disks.run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(head), str(data))
        if image is not None:
            source, form = self._fetch(image, folder)
            held = disks.size_of(source, form)
            if held > size_gib * _GIB - HEADER_BYTES:
                raise VolumeFailure(
                    f"cannot make encrypted volume {volume_id} of {size_gib} GiB from image {image.id}: "
                    f"it holds {held} bytes"
                )
            _write(source, form, data, secret)
        return data


def words(data: Path) -> str:
    """The disk in an encrypted qcow2 file, as QEMU's programs want it on their command line; its key is `key`."""
    name = str(data).replace(",", ",,")
    return f"driver=luks,key-secret=key,file.driver=qcow2,file.file.driver=file,file.file.filename={name}"


def _write(source: Path, form: str, data: Path, secret: str) -> None:
    """Zeros, too: what was never written to a disk of ours is no zeros to who reads it with the key."""
    handle = os.memfd_create("key", os.MFD_CLOEXEC)
    try:
        os.write(handle, secret.encode())
        key = f"secret,id=key,file=/dev/fd/{handle},format=raw"
        command = ["qemu-img", "convert", "-n", "--object", key, "-f", form, "--target-image-opts"]
        try:
            done = subprocess.run(
                [*command, str(source), words(data)],
                capture_output=True,
                text=True,
                check=False,
                timeout=_TOOL_TIMEOUT_S,
                pass_fds=(handle,),
            )
        except subprocess.TimeoutExpired as error:
            raise VolumeFailure(f"qemu-img convert did not end in {_TOOL_TIMEOUT_S:.0f} s") from error
    finally:
        os.close(handle)
    if done.returncode != 0:
        raise VolumeFailure(f"qemu-img convert failed: {done.stderr.strip()[-2000:]}")

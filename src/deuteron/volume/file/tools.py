"""What the driver does with one file: its format, its size, a new one, and the programs that read and write disks."""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Literal

from deuteron.volume.contract import ToolKilled, VolumeFailure
from deuteron.volume.file.qcow2 import NotQcow2, read_head

_TOOL_TIMEOUT_S: Final = 3600.0


def form(path: Path) -> Literal["qcow2", "raw"]:
    """The format of a file of ours. What its data look like says nothing: guests write those."""
    return "raw" if path.name.startswith("raw-") else "qcow2"


def settle(part: Path) -> None:
    """Have a new file on the disk, for nobody else to open."""
    part.chmod(0o600)
    handle = os.open(part, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def refuse_written(volume: Path, before_ns: int) -> None:
    """Raises: VolumeFailure for a file that was written to since."""
    if volume.stat().st_mtime_ns != before_ns:
        raise VolumeFailure(f"{volume.name} was written to while it was copied")


def virtual_size(path: Path, form: str) -> int:
    if form == "raw":
        return path.stat().st_size
    try:
        return read_head(path).size_bytes
    except NotQcow2 as error:
        raise VolumeFailure(f"cannot use image {path.name}: {error}") from error


@contextlib.contextmanager
def part(folder: Path) -> Iterator[Path]:
    """A new name for an unfinished file, which is gone at the end unless it was renamed."""
    handle, name = tempfile.mkstemp(prefix=".part-", dir=folder)
    os.close(handle)
    part = Path(name)
    try:
        yield part
    finally:
        part.unlink(missing_ok=True)


def run(*command: str) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_TOOL_TIMEOUT_S)
    except FileNotFoundError as error:
        raise VolumeFailure(f"there is no {command[0]} on this host") from error
    except subprocess.TimeoutExpired as error:
        raise VolumeFailure(f"{' '.join(command[:2])} did not end in {_TOOL_TIMEOUT_S:.0f} s") from error
    if done.returncode < 0:
        raise ToolKilled(f"{' '.join(command[:2])} was killed by signal {-done.returncode}", " ".join(command))
    if done.returncode != 0:
        raise VolumeFailure(f"{' '.join(command[:2])} failed: {done.stderr.strip()}", " ".join(command))

"""Data into disks of the network and out of them, through QEMU's own clients: no device, and no rights for one."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from deuteron.volume.contract import VolumeFailure

_TOOL_TIMEOUT_S: Final = 3600.0


class Disk:
    """A raw disk as QEMU's block drivers have it: `node` is the driver's own options, `objects` what they need.

    A password is in a file that only this user reads, which `objects` names: arguments are seen by everybody.
    """

    def __init__(self, node: Mapping[str, object], objects: Sequence[str] = ()) -> None:
        self._node = node
        self.objects = objects

    @property
    def name(self) -> str:
        """As the name of a raw disk."""
        return "json:" + json.dumps({"driver": "raw", "file": self._node})

    @property
    def words(self) -> str:
        """As what `--target-image-opts` makes of the target's name."""
        said = ((key, str(value).replace(",", ",,")) for key, value in self._node.items())
        return ",".join(["driver=raw", *(f"file.{key}={value}" for key, value in said)])


def write(to: Disk, source: Path, form: str) -> None:
    """All that a file holds into a disk that is new: what the file has not is zeros there. Raises: VolumeFailure."""
    new = ["-n", "--target-is-zero", "--target-image-opts", "-f", form]
    run("qemu-img", "convert", *to.objects, *new, str(source), to.words)


def read(of: Disk, target: Path, form: str) -> None:
    """Raises: VolumeFailure."""
    run("qemu-img", "convert", *of.objects, "-O", form, of.name, str(target))


def read_difference(of: Disk, target: Path, below: Path, size_bytes: int) -> None:
    """What differs from `below`, into a qcow2 file that stands on it. Raises: VolumeFailure."""
    on = ["-b", of.name, "-F", "raw"]
    run("qemu-img", "create", "-q", *of.objects, "-f", "qcow2", *on, str(target), str(size_bytes))
    run("qemu-img", "rebase", "-q", *of.objects, "-f", "qcow2", "-b", below.name, "-F", "qcow2", str(target))


def size_of(path: Path, form: str) -> int:
    """How many bytes of disk a file holds. Raises: VolumeFailure."""
    shown = run("qemu-img", "info", "-f", form, "--output=json", str(path))
    return int(json.loads(shown)["virtual-size"])


def refuse_without(driver: str, hint: str) -> None:
    """Raises: VolumeFailure where QEMU of this host has no block driver of this name; `hint` is what is told then."""
    try:
        run("qemu-img", "info", "--image-opts", f"driver={driver}")
    except VolumeFailure as failure:
        if "nknown driver" in str(failure) or "nknown protocol" in str(failure):
            raise VolumeFailure(hint) from failure
        if "there is no qemu-img" in str(failure):
            raise


def run(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_TOOL_TIMEOUT_S)
    except FileNotFoundError as error:
        raise VolumeFailure(f"there is no {command[0]} on this host") from error
    except subprocess.TimeoutExpired as error:
        raise VolumeFailure(f"{' '.join(command[:2])} did not end in {_TOOL_TIMEOUT_S:.0f} s") from error
    if done.returncode != 0:
        raise VolumeFailure(f"{' '.join(command[:2])} failed: {done.stderr.strip()[-2000:]}")
    return done.stdout

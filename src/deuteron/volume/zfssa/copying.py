"""Data into LUNs and out of them, through QEMU's own initiator: no device of the host, and no rights for one.

`qemu-img` reads a password from a file that only this user reads: arguments are seen by everybody.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from deuteron.model.connections import IscsiConnection
from deuteron.volume.contract import VolumeFailure

_TOOL_TIMEOUT_S: Final = 3600.0
_ANSWER_S: Final = 60
"""How long a LUN has for a command."""
_HINT: Final = "QEMU on this host has no iSCSI: install the package qemu-block-extra (on Fedora qemu-block-iscsi)"


class Unit:
    """A LUN while it is worked on: `options` say so to `qemu-img`, with what they need in front of them."""

    def __init__(self, at: IscsiConnection, objects: list[str], secret: bool) -> None:
        self.objects = objects
        self._node: dict[str, object] = {
            "driver": "iscsi",
            "transport": "tcp",
            "portal": at.portal,
            "target": at.target,
            "lun": at.lun,
            "initiator-name": at.initiator,
            "timeout": _ANSWER_S,
        }
        if secret:
            self._node |= {"user": at.user, "password-secret": "chap"}

    @property
    def name(self) -> str:
        """As the name of a raw disk."""
        return "json:" + json.dumps({"driver": "raw", "file": self._node})

    @property
    def words(self) -> str:
        """As what `--target-image-opts` makes of the target's name."""
        said = ((key, str(value).replace(",", ",,")) for key, value in self._node.items())
        return ",".join(["driver=raw", *(f"file.{key}={value}" for key, value in said)])


@contextlib.contextmanager
def unit(at: IscsiConnection) -> Iterator[Unit]:
    with tempfile.TemporaryDirectory(prefix="deuteron-") as folder:
        objects = []
        if at.user:
            secret = Path(folder) / "secret"
            secret.touch(0o600)
            secret.write_text(at.password)
            objects = ["--object", f"secret,id=chap,file={secret}"]
        yield Unit(at, objects, bool(at.user))


def write(at: IscsiConnection, source: Path, form: str) -> None:
    """All that a file holds into a LUN that is new: what the file has not is zeros there. Raises: VolumeFailure."""
    with unit(at) as to:
        new = ["-n", "--target-is-zero", "--target-image-opts", "-f", form]
        run("qemu-img", "convert", *to.objects, *new, str(source), to.words)


def read(at: IscsiConnection, target: Path, form: str) -> None:
    """Raises: VolumeFailure."""
    with unit(at) as of:
        run("qemu-img", "convert", *of.objects, "-O", form, of.name, str(target))


def read_difference(at: IscsiConnection, target: Path, below: Path, size_bytes: int) -> None:
    """What differs from `below`, into a qcow2 file that stands on it. Raises: VolumeFailure."""
    with unit(at) as of:
        on = ["-b", of.name, "-F", "raw"]
        run("qemu-img", "create", "-q", *of.objects, "-f", "qcow2", *on, str(target), str(size_bytes))
        run("qemu-img", "rebase", "-q", *of.objects, "-f", "qcow2", "-b", below.name, "-F", "qcow2", str(target))


def size_of(path: Path, form: str) -> int:
    """How many bytes of disk a file holds. Raises: VolumeFailure."""
    shown = run("qemu-img", "info", "-f", form, "--output=json", str(path))
    return int(json.loads(shown)["virtual-size"])


def refuse_without_iscsi() -> None:
    """Raises: VolumeFailure where QEMU of this host cannot do it."""
    try:
        run("qemu-img", "info", "--image-opts", "driver=iscsi")
    except VolumeFailure as failure:
        if "nknown driver" in str(failure) or "nknown protocol" in str(failure):
            raise VolumeFailure(_HINT) from failure
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

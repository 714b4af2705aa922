"""LUNs as QEMU's own initiator has them, for who copies data into them and out of them (`disks`)."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from deuteron.model.connections import IscsiConnection
from deuteron.volume.disks import Disk, refuse_without

_ANSWER_S: Final = 60
"""How long a LUN has for a command."""
_HINT: Final = "QEMU on this host has no iSCSI: install the package qemu-block-extra (on Fedora qemu-block-iscsi)"


@contextlib.contextmanager
def unit(at: IscsiConnection) -> Iterator[Disk]:
    """A LUN while it is worked on."""
    node: dict[str, object] = {
        "driver": "iscsi",
        "transport": "tcp",
        "portal": at.portal,
        "target": at.target,
        "lun": at.lun,
        "initiator-name": at.initiator,
        "timeout": _ANSWER_S,
    }
    if not at.user:
        yield Disk(node)
        return
    with tempfile.TemporaryDirectory(prefix="deuteron-") as folder:
        secret = Path(folder) / "secret"
        secret.touch(0o600)
        secret.write_text(at.password)
        chap = {"user": at.user, "password-secret": "chap"}
        yield Disk(node | chap, ["--object", f"secret,id=chap,file={secret}"])


def refuse_without_iscsi() -> None:
    """Raises: VolumeFailure where QEMU of this host cannot do it."""
    refuse_without("iscsi", _HINT)

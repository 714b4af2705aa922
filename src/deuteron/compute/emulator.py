"""The program that libvirt runs as QEMU: a launcher of `cell`, written where this host keeps its state.

libvirt keeps what it found out about a program until the program's file changes, and finding out takes seconds. So the
launcher is written only when it would say something else, and names the QEMU behind it with the time that file was
changed: a new QEMU makes a new launcher.
"""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path

from deuteron.compute import cell
from deuteron.compute.probe import QEMU

_FALLBACK = Path(cell.RUN)


def install_emulator(folder: Path, python: str = sys.executable) -> str:
    """The path of the launcher in `folder`, for `<emulator>`; in /run where nothing may be run from `folder`.

    Raises: FileNotFoundError if there is no QEMU; OSError if the launcher cannot be written.
    """
    qemu = shutil.which(QEMU)
    if qemu is None:
        raise FileNotFoundError(f"there is no {QEMU} on this host")
    changed = os.stat(qemu).st_ctime_ns
    words = shlex.join([python, "-I", "-S", os.path.abspath(cell.__file__), str(folder / "instances"), qemu])
    text = f'#!/bin/sh\n# {qemu}, changed at {changed}\nexec {words} "$@"\n'
    if os.statvfs(folder).f_flag & os.ST_NOEXEC:
        folder = _FALLBACK
        folder.mkdir(mode=0o700, exist_ok=True)
    launcher = folder / QEMU
    try:
        if launcher.read_text() == text:
            return str(launcher)
    except FileNotFoundError:
        pass
    new = folder / f".{QEMU}.new"
    new.unlink(missing_ok=True)
    fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o700)
    with os.fdopen(fd, "w") as file:
        file.write(text)
    new.rename(launcher)
    return str(launcher)

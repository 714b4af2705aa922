"""Logs of one server on its host: its console, and what QEMU says."""

from __future__ import annotations

import os
from pathlib import Path

from deuteron.compute import domain as domains

CONSOLE_LIMIT_BYTES = 1 << 20
"""When the console log grows beyond this, its older half goes."""


def qemu_log_path(server_id: str) -> Path:
    return Path("/var/log/libvirt/qemu") / f"{domains.instance_name(server_id)}.log"


def qemu_log(server_id: str) -> str:
    """The last words of QEMU, for the details of a fault."""
    try:
        return "\n".join(qemu_log_path(server_id).read_text(errors="replace").splitlines()[-5:])
    except OSError:
        return ""


def trim_log(path: Path, limit_bytes: int = CONSOLE_LIMIT_BYTES) -> None:
    """Cuts a log that grew beyond the limit to its newer half, from a line's start.

    The writer appends, so it goes on at the new end. What it writes between reading and cutting is lost, which for
    a console log is better than a full disk.
    """
    try:
        size = path.stat().st_size
        if size <= limit_bytes:
            return
        with path.open("r+b") as log:
            log.seek(size - limit_bytes // 2)
            tail = log.read()
            log.truncate(0)
    except FileNotFoundError:
        return
    handle = os.open(path, os.O_WRONLY | os.O_APPEND)
    try:
        os.write(handle, tail[tail.find(b"\n") + 1 :])
    finally:
        os.close(handle)

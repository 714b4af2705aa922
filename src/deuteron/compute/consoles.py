"""Consoles of one server on its host: its screen and its terminal for who looks at them, and logs.

    vnc, spice    QEMU is given one end of a pair of sockets; its display listens nowhere
    serial        a socket below /run/deuteron that only root of the host reaches; one looks at it at a time, and QEMU
                  serves the next when that one is gone

Mark: the sockets of `domain.serial_socket`, which libvirt makes when the guest starts.
"""

from __future__ import annotations

import contextlib
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import libvirt

from deuteron.compute import described
from deuteron.compute import domain as domains
from deuteron.compute.contract import NoSuchConsole, NotRunning
from deuteron.compute.libvirtd import Libvirtd

CONSOLE_LIMIT_BYTES = 1 << 20
"""When the console log grows beyond this, its older half goes."""


def prepare() -> None:
    """Make the folder of the sockets."""
    Path(domains.SERIAL).mkdir(mode=0o700, parents=True, exist_ok=True)


def check(libvirtd: Libvirtd, server_id: str, kind: str) -> None:
    """Raises: NotRunning; NoSuchConsole for a kind that the guest does not have."""
    with _or_not_running(server_id):
        _present(libvirtd, server_id, kind)


def connect(libvirtd: Libvirtd, server_id: str, kind: str) -> socket.socket:
    """What the console says, and hears. Raises: as `check`."""
    with _or_not_running(server_id):
        dom = _present(libvirtd, server_id, kind)
        if kind != "serial":
            number = described.displays(dom.XMLDesc(0)).index(kind)
            return socket.socket(fileno=dom.openGraphicsFD(number, libvirt.VIR_DOMAIN_OPEN_GRAPHICS_SKIPAUTH))
        end = socket.socket(socket.AF_UNIX)
        try:
            end.connect(domains.serial_socket(server_id))
        except OSError:
            end.close()
            raise
        return end


def forget(server_id: str) -> None:
    """Remove what a guest that is gone left."""
    Path(domains.serial_socket(server_id)).unlink(missing_ok=True)


def qemu_log_path(server_id: str) -> Path:
    return Path("/var/log/libvirt/qemu") / f"{domains.instance_name(server_id)}.log"


def qemu_log(server_id: str) -> str:
    """The last words of QEMU, for the details of a fault."""
    try:
        return "\n".join(qemu_log_path(server_id).read_text(errors="replace").splitlines()[-5:])
    except OSError:
        return ""


def read_log(path: Path, lines: int) -> str:
    """The last lines, all for -1. Raises: OSError."""
    text = path.read_bytes().decode(errors="replace").replace("\r\n", "\n")
    if lines < 0:
        return text
    return "".join(text.splitlines(keepends=True)[-lines:]) if lines else ""


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


def _present(libvirtd: Libvirtd, server_id: str, kind: str) -> libvirt.virDomain:
    dom = libvirtd.find(server_id)
    if dom is None or not dom.isActive():
        raise NotRunning(f"server {server_id} does not run on this host")
    has = _has_serial(server_id) if kind == "serial" else kind in described.displays(dom.XMLDesc(0))
    if not has:
        raise NoSuchConsole(f"the guest of server {server_id} has no console of the kind {kind}")
    return dom


def _has_serial(server_id: str) -> bool:
    try:
        return stat.S_ISSOCK(os.stat(domains.serial_socket(server_id)).st_mode)
    except OSError:
        return False


@contextlib.contextmanager
def _or_not_running(server_id: str) -> Iterator[None]:
    try:
        yield
    except (libvirt.libvirtError, OSError) as error:
        raise NotRunning(f"no console of server {server_id} can be had on this host: {error}") from error

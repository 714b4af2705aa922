"""Disks of the network, and encrypted ones, for guests: a process of the host holds each, the guest has a socket to it.

    /run/deuteron/units/<server>/       what the server's cell shows of it, beside its folder of volumes
      <volume>                          the socket, where NBD is spoken; it belongs to the guest's QEMU
      <volume>.json                     what is behind it, for this host's root alone: it may name a password or key
      <volume>.pid                      the process, `qemu-nbd`

Such a unit is a logical unit of iSCSI, or an image of a Ceph cluster. A guest's QEMU has no network (`cell`), and is to
have none: who breaks out of a guest would reach the storage network and every unit that its host may see, and read the
host's password. So the client, QEMU's own, runs on the host, one for each unit; it needs no device and no right. A
kernel's client would need both.

One that is encrypted is a disk of any kind, also a file, in which QEMU's LUKS is: the process knows the key, the guest
sees the data, and whoever breaks out of a guest finds neither the key nor the data of others.

Mark: the names above. /run ends with the host, and so do the processes and guests. A process that ends before is
started again within two seconds; the guest's QEMU waits for it, and for storage that is away, up to its limits.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec
import structlog

from deuteron.compute.cell import UNITS
from deuteron.compute.tools import DiskFailure, run_tool
from deuteron.model.connections import (
    FileConnection,
    HeldConnection,
    IscsiConnection,
    RbdConnection,
    SealedConnection,
    SocketConnection,
)

log = structlog.get_logger("deuteron.compute")

_HINTS: Final = {
    IscsiConnection: "QEMU on this host has no iSCSI: install qemu-block-extra (on Fedora qemu-block-iscsi)",
    RbdConnection: "QEMU on this host has no RBD: install qemu-block-extra (on Fedora qemu-block-rbd)",
}
_SECRET: Final = "password"
_KEY: Final = "luks"
_LOOK_S: Final = 2.0
_END_S: Final = 5.0
_COMMAND_S: Final = 120
"""How long a unit has for a command, while it is connected to again and again."""


class Units:
    """The units of all guests of a host."""

    def __init__(self, folder: Path = Path(UNITS)) -> None:
        self._folder = folder
        self._lock = threading.RLock()
        self._closing = threading.Event()
        for left in folder.glob(".secrets-*"):
            shutil.rmtree(left, ignore_errors=True)
        self._watcher = threading.Thread(target=self._watch, name="units", daemon=True)
        self._watcher.start()

    def prepare(self, server_id: str) -> None:
        """Make the folder that the server's cell shows."""
        folder = self._folder / server_id
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o711)

    def open(self, server_id: str, volume_id: str, at: HeldConnection) -> SocketConnection:
        """Hold the unit; asked again, it is what it was. Raises: DiskFailure."""
        self.prepare(server_id)
        socket = self._folder / server_id / volume_id
        record = socket.with_suffix(".json")
        with self._lock:
            known = _read(record)
            if known != at:
                self._end(socket)
                part = socket.with_suffix(".part")
                part.touch(0o600)
                part.write_bytes(msgspec.json.encode(at))
                part.rename(record)
            self._hold(socket, at)
        return SocketConnection(str(socket))

    def close_unit(self, server_id: str, volume_id: str) -> None:
        """Let it go; one that is not held is no error."""
        socket = self._folder / server_id / volume_id
        with self._lock:
            socket.with_suffix(".json").unlink(missing_ok=True)
            self._end(socket)

    def forget(self, server_id: str) -> None:
        """There is no such server any more, and it has no unit."""
        with contextlib.suppress(OSError):
            (self._folder / server_id).rmdir()

    def close(self) -> None:
        """End the thread. The units are held on, as the guests go on."""
        self._closing.set()
        self._watcher.join()

    def _hold(self, socket: Path, at: HeldConnection) -> None:
        if _is_held(socket):
            return
        owner = socket.stat() if socket.exists() else None
        self._end(socket)
        with _secrets(at, self._folder) as objects:
            command = ["qemu-nbd", "--fork", "--persistent", "--shared=8", "--discard=unmap"]
            command += ["--socket", str(socket), "--pid-file", str(socket.with_suffix(".pid"))]
            try:
                run_tool([*command, *objects, "--image-opts", _words(at)])
            except DiskFailure as failure:
                hint = _HINTS.get(type(at.below if isinstance(at, SealedConnection) else at))
                if hint and ("nknown driver" in str(failure) or "nknown protocol" in str(failure)):
                    raise DiskFailure(hint) from failure
                raise
        if owner is not None:
            os.chown(socket, owner.st_uid, owner.st_gid)

    def _end(self, socket: Path) -> None:
        """No process for this socket any more, nor the socket."""
        pid = _pid(socket)
        if pid is not None:
            deadline = time.monotonic() + _END_S
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
                while _pid(socket) is not None:
                    if time.monotonic() > deadline:
                        os.kill(pid, signal.SIGKILL)
                    time.sleep(0.01)
        for path in (socket, socket.with_suffix(".pid")):
            path.unlink(missing_ok=True)

    def _watch(self) -> None:
        while not self._closing.wait(_LOOK_S):
            for record in self._folder.glob("*/*.json"):
                with self._lock:
                    at = _read(record)
                    socket = record.with_suffix("")
                    if at is None or _is_held(socket):
                        continue
                    try:
                        self._hold(socket, at)
                        log.warning("process of a unit was started again", volume=socket.name)
                    except (DiskFailure, OSError) as error:
                        log.warning("unit cannot be held", volume=socket.name, reason=str(error))


def _read(record: Path) -> HeldConnection | None:
    try:
        found: HeldConnection = msgspec.json.decode(record.read_bytes(), type=HeldConnection)
    except (OSError, msgspec.DecodeError):
        return None
    return found


def _is_held(socket: Path) -> bool:
    return _pid(socket) is not None and socket.exists()


def _pid(socket: Path) -> int | None:
    """The process that holds the socket, if it lives: pids are used again."""
    try:
        pid = int(socket.with_suffix(".pid").read_text())
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except (OSError, ValueError):
        return None
    return pid if str(socket).encode() in command.split(b"\0") else None


@contextlib.contextmanager
def _secrets(at: HeldConnection, beside: Path) -> Iterator[tuple[str, ...]]:
    """The password and the key, if there are such, in files that only this user reads, for as long as QEMU starts.

    `beside` is a folder in memory: no key comes to lie on a disk.
    """
    found = {_KEY: (at.secret, "raw")} if isinstance(at, SealedConnection) else {}
    below = at.below if isinstance(at, SealedConnection) else at
    if isinstance(below, IscsiConnection) and below.password:
        found[_SECRET] = (below.password, "raw")
    elif isinstance(below, RbdConnection) and below.key:
        found[_SECRET] = (below.key, "base64")
    if not found:
        yield ()
        return
    with tempfile.TemporaryDirectory(prefix=".secrets-", dir=beside) as folder:
        objects: list[str] = []
        for name, (secret, form) in found.items():
            path = Path(folder) / name
            path.touch(0o600)
            path.write_text(secret)
            objects += ["--object", f"secret,id={name},file={path},format={form}"]
        yield tuple(objects)


def _words(at: HeldConnection) -> str:
    """The unit, as QEMU's programs want it on their command line."""
    if isinstance(at, SealedConnection):
        said = {"driver": "luks", "key-secret": _KEY}
        said |= {f"file.{key}": value for key, value in _disk(at.below).items()}
    else:
        said = _disk(at)
    return ",".join(f"{key}={value.replace(',', ',,')}" for key, value in said.items())


def _disk(at: FileConnection | IscsiConnection | RbdConnection) -> dict[str, str]:
    """The options of the disk: its format, and the block driver below that."""
    if isinstance(at, FileConnection):
        return {"driver": at.format, "file.driver": "file", "file.filename": at.path}
    if isinstance(at, RbdConnection):
        said = {key: str(value) for key, value in at.node.items()}
        if at.key:
            said |= {"key-secret": _SECRET}
    else:
        said = {
            "driver": "iscsi",
            "transport": "tcp",
            "portal": at.portal,
            "target": at.target,
            "lun": str(at.lun),
            "initiator-name": at.initiator,
            "timeout": str(_COMMAND_S),
        }
        if at.user:
            said |= {"user": at.user, "password-secret": _SECRET}
    # Else the client remembers which blocks are empty, or what is in them, which may not be so any more when a guest
    # comes from another host, where it went on writing.
    said |= {"cache.direct": "on"}
    return {"driver": "raw", **{f"file.{key}": value for key, value in said.items()}}

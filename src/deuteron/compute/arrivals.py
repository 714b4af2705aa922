"""A guest comes to this host while it runs at another: it is awaited, and goes on here when the API says so.

    control    the other host says where the guest's devices are; this one makes empty disks and a QEMU that waits
    disk-vda…  the guest's disks, written through that QEMU (NBD, on a socket that only root of this host reaches)
    memory     the guest's memory and the state of its devices

QEMU starts the guest nowhere by itself: all of it may be here, and it goes on at the other host after all.

Mark: the file `.coming` in the server's folder, which holds the move's id. `built` is written beside it when all of the
guest is here. A crash at any point leaves a folder and a QEMU that nobody resumes, which are removed with the server,
or made anew, unless the API says of this very move that the server has arrived.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import libvirt
import msgspec

from deuteron.compute import cell, consoles, described, qmp
from deuteron.compute import domain as domains
from deuteron.compute.departures import joined
from deuteron.compute.images import InstanceFiles, virtual_size_bytes
from deuteron.compute.layout import Layout, awaiting, check
from deuteron.compute.libvirtd import Libvirtd, ServerFailure
from deuteron.compute.session import Session
from deuteron.compute.streams import Stream, StreamBroken
from deuteron.compute.tools import run_tool
from deuteron.model.intent import IntentServer

MARK: Final = ".coming"
_ANNOUNCE: Final = {"initial": 50, "max": 550, "rounds": 5, "step": 100}
"""When the guest's cards say where they are, in ms. Source: QEMU's own defaults."""
_LAST_WORDS: Final = 500
_LAYOUT_TIMEOUT_S: Final = 60.0
_MOST_DRIVE_BYTES: Final = 64 << 20
_MOST_ROOT_GIB: Final = 16 * 1024
"""Of a disk that is as large as its image, where nobody knows how large that is."""


class Arrivals:
    """Of guests at this host."""

    def __init__(
        self,
        libvirtd: Libvirtd,
        files: InstanceFiles,
        define: Callable[[IntentServer], libvirt.virDomain],
    ) -> None:
        """`define` defines the server's domain, and writes its XML beside its disks."""
        self._libvirtd = libvirtd
        self._files = files
        self._define = define

    def is_loaded(self, server_id: str) -> bool:
        """Whether all of the guest is here."""
        return self._files.build_generation(server_id) is not None

    def work(self, session: Session, server: IntentServer) -> None:
        """In the session's thread. Raises: what a session knows."""
        folder = self._files.path(server.id)
        self._files.ensure_boot_images(server)
        control = session.open("control")
        layout = self._hear(session, control)
        rows = {row.target: Path(row.path) for row in domains.disk_rows(server, str(folder))}
        check(layout, _largest(server))
        for disk in layout.disks:
            if disk.target not in rows:
                continue  # a volume, which is there
            size = str(disk.size_bytes)
            run_tool(["qemu-img", "create", "-q", "-f", "qcow2", str(rows[disk.target]), size])
        if server.config_drive:
            self._take_drive(control, layout, folder / "disk.config")
        dom = self._start(server, layout)
        try:
            with self._disks_taken(session, dom, layout):
                self._await_memory(session, dom, control)
                # Nobody writes to the disks from outside once the guest may go on here.
                qmp.ask(dom, "nbd-server-stop")
        except libvirt.libvirtError as error:
            if dom.isActive():
                raise
            # QEMU says why it ends to its log, and to nobody else.
            raise ServerFailure(f"QEMU ended: {consoles.qemu_log(server.id).strip()[-_LAST_WORDS:]}") from error
        self._files.finish(server)
        session.say("loaded")
        # The line stays until the other host has seen that all was sent.
        with contextlib.suppress(StreamBroken):
            while True:
                control.receive(0.5)
                session.pause(0)

    def arrive(self, server: IntentServer) -> None:
        """The guest is here alone. Raises: ServerFailure, libvirtError."""
        dom = self._libvirtd.find(server.id)
        if dom is not None and dom.isActive() and server.power == "running":
            if dom.state()[0] == libvirt.VIR_DOMAIN_PAUSED:
                dom.resume()
            # For switches that saw it elsewhere. A guest with virtio says so itself as well, in words of its own.
            with contextlib.suppress(ServerFailure):
                qmp.ask(dom, "announce-self", **_ANNOUNCE)
        (self._files.path(server.id) / MARK).unlink(missing_ok=True)

    def _hear(self, session: Session, control: Stream) -> Layout:
        deadline = time.monotonic() + _LAYOUT_TIMEOUT_S
        while (said := control.receive(1.0)) is None:
            session.pause(0)
            if time.monotonic() > deadline:
                raise StreamBroken("the other host says nothing")
        return msgspec.json.decode(said, type=Layout)

    def _take_drive(self, control: Stream, layout: Layout, path: Path) -> None:
        if not 0 < layout.drive_bytes <= _MOST_DRIVE_BYTES:
            raise ServerFailure(f"the config drive has {layout.drive_bytes} bytes")
        size = 0
        with path.open("wb") as out:
            while size < layout.drive_bytes:
                piece = control.receive(_LAYOUT_TIMEOUT_S)
                if not isinstance(piece, bytes):
                    raise StreamBroken("the other host does not send the config drive")
                size += len(piece)
                if size > layout.drive_bytes:
                    raise StreamBroken("the other host sends more than the config drive")
                out.write(piece)
        virtual_size_bytes(path, "raw")

    def _start(self, server: IntentServer, layout: Layout) -> libvirt.virDomain:
        """A QEMU that waits for the guest."""
        self._define(server)
        folder = self._files.path(server.id)
        (folder / "console.log").touch(mode=0o640)
        xml = awaiting((folder / "libvirt.xml").read_text(), layout)
        try:
            return self._libvirtd.connect().createXML(xml, libvirt.VIR_DOMAIN_START_PAUSED)
        except libvirt.libvirtError as error:
            raise ServerFailure(
                error.get_error_message() or "libvirt gave no reason", consoles.qemu_log(server.id)
            ) from error

    @contextlib.contextmanager
    def _disks_taken(self, session: Session, dom: libvirt.virDomain, layout: Layout) -> Iterator[None]:
        """While it lasts the other host may write to the guest's disks."""
        place = Path(cell.RUN) / f"nbd-{secrets.token_hex(6)}"
        Path(cell.RUN).mkdir(mode=0o700, exist_ok=True)
        aliases = qmp.block_nodes(dom)
        targets = described.disk_aliases(dom.XMLDesc(0))
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(place))
            try:
                os.chmod(place, 0o600)
                listener.listen(len(layout.disks) + 1)
                qmp.give(dom, "disks", listener.fileno())
                qmp.ask(dom, "nbd-server-start", addr={"type": "fd", "data": {"str": "disks"}})
                for disk in layout.disks:
                    node = aliases[targets[disk.target]][0]
                    export = {"id": f"move-{disk.target}", "type": "nbd", "node_name": node, "name": disk.target}
                    qmp.ask(dom, "block-export-add", writable=True, **export)
                for disk in layout.disks:
                    end = socket.socket(socket.AF_UNIX)
                    end.connect(str(place))
                    session.open(f"disk-{disk.target}").join(end)
                yield
            finally:
                place.unlink(missing_ok=True)

    def _await_memory(self, session: Session, dom: libvirt.virDomain, control: Stream) -> None:
        qmp.ask(dom, "migrate-set-capabilities", capabilities=[{"capability": "events", "state": True}])
        with joined(session.open("memory")) as end:
            qmp.give(dom, "memory", end.fileno())
        qmp.ask(dom, "migrate-incoming", uri="fd:memory")
        control.send('{"is_ready":true}')
        is_there = True
        while True:
            found = qmp.ask(dom, "query-migrate")
            if found.get("status") == "completed":
                return
            if found.get("status") == "failed":
                raise ServerFailure(f"QEMU could not take the memory: {found.get('error-desc', '')}")
            if not is_there:
                raise StreamBroken("the other host went away")
            try:
                control.receive(0.01 if found.get("status") == "active" else 0.1)
            except StreamBroken:
                # What it sent before it went may just not have been read.
                session.pause(0.5)
                is_there = False
            session.pause(0)


def _largest(server: IntentServer) -> dict[str, int]:
    """How large the server's disks may be, in bytes, by target."""
    root = server.root_disk_gib << 30 or (server.image and server.image.virtual_size_bytes) or _MOST_ROOT_GIB << 30
    known = {"disk": root, "disk.eph0": server.ephemeral_disk_gib << 30, "disk.swap": server.swap_mib << 20}
    own = {row.target: known[Path(row.path).name] for row in domains.disk_rows(server, "/")}
    return {**own, **{each.target: each.copied_gib << 30 for each in server.volumes if each.copied_gib}}

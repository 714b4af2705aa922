"""A guest leaves this host while it runs: its disks and its memory go to the other one.

    say where its devices are      control    the other host makes disks and a QEMU that waits, and says so
    copy the disks                 disk-vda…  and everything that the guest writes meanwhile (`blockdev-mirror`);
                                              volumes that both hosts reach stay where they are, others are disks
    copy the memory                memory     and what the guest writes, again and again, until little is left
    the guest stands still: the disks' copies are complete, what is left of the memory and the devices' state goes

From then on the guest goes on only by `resume`, here or there: QEMU by itself starts a guest again whose memory could
not be sent whole, and never one whose memory was.

Mark: the file `.leaving` in the server's folder, which holds the move's id. A crash of this process leaves a guest that
runs, or stands still; whoever finds the mark without a session calls the move off, unless all was sent.

Source: libvirt, src/qemu/qemu_migration.c, which does the same steps.
"""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import libvirt
import msgspec

from deuteron.compute import described, qmp
from deuteron.compute.images import InstanceFiles
from deuteron.compute.layout import layout_of
from deuteron.compute.libvirtd import Libvirtd, ServerFailure
from deuteron.compute.session import Session
from deuteron.compute.streams import Stream, StreamBroken
from deuteron.model.intent import IntentServer, LiveFigures

MARK: Final = ".leaving"
_NODE: Final = "move-"
_PIECE: Final = 256 * 1024
_READY_TIMEOUT_S: Final = 600.0
"""The other host may have to fetch a kernel first."""
_TIMEOUT_S_PER_GIB: Final = 800.0
"""How long it may take for each GiB of memory and disk. Source: nova.conf `live_migration_completion_timeout`."""
_FIGURES_S: Final = 2.0
_GONE_S: Final = 2.0
_TAIL_TIMEOUT_S: Final = 30.0
_UNDER_WAY: Final = ("setup", "active", "device", "pre-switchover", "cancelling", "wait-unplug")


class Departures:
    """Of guests of this host."""

    def __init__(self, libvirtd: Libvirtd, files: InstanceFiles, wanted: Callable[[str], IntentServer | None]) -> None:
        self._libvirtd = libvirtd
        self._files = files
        self._wanted = wanted

    def is_sent(self, server_id: str) -> bool:
        """Whether its guest stands still and all of it was sent. Raises: libvirtError."""
        dom = self._libvirtd.find(server_id)
        if dom is None or not dom.isActive():
            return False
        with contextlib.suppress(ServerFailure):
            return bool(qmp.ask(dom, "query-status")["status"] == "postmigrate")
        return False

    def work(self, session: Session) -> None:
        """In the session's thread. Raises: what a session knows."""
        dom = self._libvirtd.domain(session.server_id)
        if not dom.isActive():
            raise ServerFailure("the guest does not run")
        control = session.open("control")
        nodes = self._describe(dom, session.server_id, control)
        self._await_ready(session, control)
        figures = _Figures(session)
        size_gib = 1 + (dom.info()[1] >> 20) + (sum(size for _, size in nodes.values()) >> 30)
        figures.deadline_s = time.monotonic() + size_gib * _TIMEOUT_S_PER_GIB
        for target, (node, _) in sorted(nodes.items()):
            self._mirror(session, dom, target, node)
        while not self._are_mirrored(dom, figures):
            session.pause(0.1)
        memory = self._send_memory(session, dom)
        self._follow(session, dom, control, figures)
        # QEMU is done when it has written the last of it, which is not yet with the other host then.
        if not memory.is_sent(_TAIL_TIMEOUT_S):
            raise StreamBroken("the last of the memory could not be sent")
        session.say("sent", figures.now)

    def call_off(self, server_id: str, *, runs: bool) -> None:
        """The guest stays: nothing is copied any more, and it goes on if it `runs`.

        Raises: ServerFailure, libvirtError.
        """
        dom = self._libvirtd.find(server_id)
        if dom is not None and dom.isActive():
            if qmp.ask(dom, "query-migrate").get("status") in _UNDER_WAY:
                qmp.ask(dom, "migrate_cancel")
            _wait("QEMU calls the migration off", lambda: qmp.ask(dom, "query-migrate").get("status") not in _UNDER_WAY)
            for job in qmp.ask(dom, "query-jobs"):
                if job["id"].startswith(_NODE) and job["status"] not in ("concluded", "aborting"):
                    qmp.ask(dom, "block-job-cancel", device=job["id"], force=True)
            _wait("QEMU ends the copies of its disks", lambda: _are_concluded(dom))
            _drop_copies(dom)
            if runs and dom.state()[0] == libvirt.VIR_DOMAIN_PAUSED:
                dom.resume()
        (self._files.path(server_id) / MARK).unlink(missing_ok=True)

    def _describe(self, dom: libvirt.virDomain, server_id: str, control: Stream) -> dict[str, tuple[str, int]]:
        """Say what the guest is made of. The nodes and sizes of its disks, by target."""
        xml = dom.XMLDesc(0)
        by_alias = qmp.block_nodes(dom)
        wanted = self._wanted(server_id)
        copied = {each.volume_id for each in wanted.volumes if each.copied_gib} if wanted is not None else set[str]()
        # Other volumes are not copied: the other host reaches them.
        volumes = {target for id, target in described.volume_disks(xml).items() if id not in copied}
        own = {target: alias for target, alias in described.disk_aliases(xml).items() if target not in volumes}
        nodes = {target: by_alias[alias] for target, alias in own.items()}
        drive = self._files.path(server_id) / "disk.config"
        drive_bytes = drive.stat().st_size if drive.exists() else 0
        layout = layout_of(xml, {target: size for target, (_, size) in nodes.items()}, drive_bytes)
        control.send(msgspec.json.encode(layout).decode())
        if drive_bytes:
            _send_file(control, drive)
        return nodes

    def _await_ready(self, session: Session, control: Stream) -> None:
        deadline = time.monotonic() + _READY_TIMEOUT_S
        while (said := control.receive(1.0)) is None:
            session.pause(0)
            if time.monotonic() > deadline:
                raise ServerFailure("the other host does not get ready")
        if json.loads(said) != {"is_ready": True}:
            raise ServerFailure("the other host says what nobody asked")

    def _mirror(self, session: Session, dom: libvirt.virDomain, target: str, node: str) -> None:
        name = f"{_NODE}{target}"
        with joined(session.open(f"disk-{target}")) as end:
            qmp.give(dom, name, end.fileno())
        server = {"type": "fd", "str": name}
        # The node's cache is QEMU's, the file's is the other host's own.
        qmp.ask(dom, "blockdev-add", driver="nbd", node_name=name, server=server, export=target)
        qmp.ask(dom, "blockdev-mirror", job_id=name, device=node, target=name, sync="full", auto_dismiss=False)

    def _are_mirrored(self, dom: libvirt.virDomain, figures: _Figures) -> bool:
        """Whether the copies have all that the guest has written so far. Raises: ServerFailure when one failed."""
        for job in qmp.ask(dom, "query-jobs"):
            if job["id"].startswith(_NODE) and job["status"] == "concluded":
                raise ServerFailure(f"the copy of disk {job['id'].removeprefix(_NODE)} failed: {job.get('error', '')}")
        jobs = [job for job in qmp.ask(dom, "query-block-jobs") if job["device"].startswith(_NODE)]
        figures.of_disks(jobs)
        return all(job["ready"] for job in jobs)

    def _send_memory(self, session: Session, dom: libvirt.virDomain) -> Stream:
        chosen = {"pause-before-switchover": True, "auto-converge": True, "events": True}
        capabilities = [{"capability": name, "state": state} for name, state in chosen.items()]
        qmp.ask(dom, "migrate-set-capabilities", capabilities=capabilities)
        stream = session.open("memory")
        with joined(stream) as end:
            qmp.give(dom, f"{_NODE}memory", end.fileno())
        qmp.ask(dom, "migrate", uri=f"fd:{_NODE}memory")
        return stream

    def _follow(self, session: Session, dom: libvirt.virDomain, control: Stream, figures: _Figures) -> None:
        is_still = False
        gone_s: float | None = None
        while True:
            found = qmp.ask(dom, "query-migrate")
            status = found.get("status")
            figures.of_memory(found.get("ram", {}))
            if status == "completed":
                return
            if status in ("failed", "cancelled"):
                raise ServerFailure(f"QEMU could not send the memory: {found.get('error-desc', status)}")
            if status == "pre-switchover":
                self._finish_disks(session, dom, figures)
                qmp.ask(dom, "migrate-continue", state="pre-switchover")
            elif not is_still and self._is_to_stand_still(session.server_id):
                # Nothing is written any more, so what is left goes over once.
                dom.suspend()
                is_still = True
            try:
                if gone_s is None:
                    control.receive(0.02)
            except StreamBroken:
                # It may have all already, and QEMU is about to say so.
                gone_s = time.monotonic()
            session.pause(0.02 if gone_s is not None else 0)
            if gone_s is not None and time.monotonic() - gone_s > _GONE_S:
                raise StreamBroken("the other host went away")
            figures.refuse_slow()

    def _finish_disks(self, session: Session, dom: libvirt.virDomain, figures: _Figures) -> None:
        """The guest stands still: the copies are complete, and nothing writes to them any more."""
        while not self._are_mirrored(dom, figures):
            session.pause(0.01)
        jobs = [job["id"] for job in qmp.ask(dom, "query-jobs") if job["id"].startswith(_NODE)]
        for job in jobs:
            qmp.ask(dom, "block-job-cancel", device=job)
        _wait("QEMU completes the copies of its disks", lambda: _are_concluded(dom), session)
        failed = _drop_copies(dom)
        if failed:
            raise ServerFailure(f"the copy of a disk failed: {failed}")

    def _is_to_stand_still(self, server_id: str) -> bool:
        wanted = self._wanted(server_id)
        return wanted is not None and wanted.is_leaving_still


class _Figures:
    """How much has gone over, said every few seconds."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._said_s = 0.0
        self.now = LiveFigures()
        self.deadline_s = 0.0

    def of_disks(self, jobs: list[dict[str, Any]]) -> None:
        if jobs:
            total, done = sum(int(job["len"]) for job in jobs), sum(int(job["offset"]) for job in jobs)
            values = {"disk_total": total, "disk_processed": done, "disk_remaining": max(0, total - done)}
            self._set(msgspec.structs.replace(self.now, **values))
        self.refuse_slow()

    def of_memory(self, ram: dict[str, Any]) -> None:
        if ram:
            total, left, done = int(ram["total"]), int(ram["remaining"]), int(ram["transferred"])
            values = {"memory_total": total, "memory_processed": done, "memory_remaining": left}
            self._set(msgspec.structs.replace(self.now, **values))

    def refuse_slow(self) -> None:
        """Raises: ServerFailure when it takes too long."""
        if time.monotonic() > self.deadline_s:
            raise ServerFailure("the guest writes faster than it goes over, or the way is too slow: given up")

    def _set(self, now: LiveFigures) -> None:
        self.now = now
        if time.monotonic() - self._said_s > _FIGURES_S:
            self._said_s = time.monotonic()
            self._session.say("working", now)


@contextlib.contextmanager
def joined(stream: Stream) -> Iterator[socket.socket]:
    """One end of a pair of sockets, for QEMU; the other is the stream's."""
    ours, theirs = socket.socketpair()
    stream.join(ours)
    try:
        yield theirs
    finally:
        theirs.close()


def _send_file(control: Stream, path: Path) -> None:
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            control.send(piece)


def _are_concluded(dom: libvirt.virDomain) -> bool:
    return all(job["status"] == "concluded" for job in qmp.ask(dom, "query-jobs") if job["id"].startswith(_NODE))


def _drop_copies(dom: libvirt.virDomain) -> str | None:
    """Let go of what the disks were copied to; the error of one that failed."""
    failed = None
    for job in qmp.ask(dom, "query-jobs"):
        if job["id"].startswith(_NODE):
            failed = job.get("error") or failed
            qmp.ask(dom, "job-dismiss", id=job["id"])
    for node in qmp.ask(dom, "query-named-block-nodes", flat=True):
        if str(node.get("node-name", "")).startswith(_NODE):
            qmp.ask(dom, "blockdev-del", node_name=node["node-name"])
    return failed


def _wait(what: str, condition: Callable[[], bool], session: Session | None = None, timeout_s: float = 20.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise ServerFailure(f"not within {timeout_s:g} s: {what}")
        if session is not None:
            session.pause(0.005)
        else:
            time.sleep(0.02)

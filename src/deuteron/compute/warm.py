"""Warm starts: a server goes on from the saved memory of a machine of its image and size, and is spared the boot.

    warm/<digest>/machine       a machine that waits for a network interface, as libvirt saves it (`saved`)
                  console.log   what it said until then
                  made-of       the ids of the images in it, a line each
    warm/.making-*              one that is being made; `.part-*` in a server's folder is its own copy of `machine`

The digest is of everything that the machine is, but for what is a server's own: the images, processors, memory and
disk, the description that libvirt has, and the programs that run it. So what no longer fits is no longer found.

A machine is made in the background once a server could have used it, with nothing of any server: no network interface,
no metadata, and an id and a serial number of its own. It says on its console that it waits, which shows that its image
knows how. Whatever it wrote to its disk before would be missing from others' disks, so there must be nothing.

Who may start warm: a server whose disk was just made of an image that asks for it, at its first start, which has a
network interface and nothing that such a machine has not. Everybody else boots, and so does this one when anything
fails: no fault of a warm start is a fault of the server.

Mark: a domain with our `<warm>` element in its metadata, which no server has. It is ended when this process starts.
`fresh` in a server's folder says that its disk was never started from; it is gone before the first start.

A crash at any point leaves: `.making-*` and a domain with the mark (removed at the next start), a server that was not
started (it boots), or one that stands still and lacks interfaces (it goes on and gets them, as any server).
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import threading
import time
import uuid
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Final

import libvirt
import msgspec
import structlog

from deuteron.compute import domain as domains
from deuteron.compute.consoles import CONSOLE_LIMIT_BYTES
from deuteron.compute.images import ImageCache, InstanceFiles, images_of, make_overlay
from deuteron.compute.layout import layout_of, placed
from deuteron.compute.libvirtd import Libvirtd, ServerFailure, is_away, switch_off, unless
from deuteron.compute.saved import NotSaved, read_saved, write_other
from deuteron.compute.tools import ApiAway, DiskFailure
from deuteron.model.intent import IntentServer

log = structlog.get_logger("deuteron.compute")

MARK_NAMESPACE: Final = "urn:deuteron:warm:1"
SERIAL: Final = "warm"
"""The serial number by which a guest learns that it is to wait."""
WAITS: Final = b"warm start: waiting for a network interface"
"""What a guest says on its console when it waits."""

_FRESH: Final = "fresh"
_BOOT_TIMEOUT_S: Final = 300.0
_QUIET_S: Final = 3.0
"""How long no server may have been started before a machine is made: those who wait are first."""
_LOOK_S: Final = 0.1
_NICE: Final = 10
_TIDY_S: Final = 30.0
_MOST_MEMORY_MIB: Final = 2048
_MOST_VCPUS: Final = 8
"""A machine that is made is in nobody's account, so it is a small one."""
_MOST_MACHINES: Final = 8
_MOST_BYTES: Final = 2 << 30
_UNUSED_KEEP_S: Final = 24 * 3600.0
_FAILURES = (libvirt.libvirtError, ServerFailure, DiskFailure, NotSaved, OSError, ElementTree.ParseError)


class WarmStarts:
    """Of one host. `start` is called by whoever starts servers, for one server one at a time."""

    def __init__(
        self,
        folder: Path,
        libvirtd: Libvirtd,
        files: InstanceFiles,
        images: ImageCache,
        image_dir: Path,
        wiring: domains.HostWiring,
        closing: threading.Event,
        quiet_s: float = _QUIET_S,
    ) -> None:
        self._folder = folder
        self._libvirtd = libvirtd
        self._files = files
        self._images = images
        self._image_dir = image_dir
        self._wiring = wiring
        self._closing = closing
        self._quiet_s = quiet_s
        self._lock = threading.Lock()
        self._asked: dict[str, IntentServer] = {}
        self._refused: set[str] = set()
        """Digests of which no machine could be made since this process started; that is not tried for each server."""
        self._started_at = 0.0
        self._wake = threading.Event()
        folder.mkdir(parents=True, exist_ok=True)
        self._thread = threading.Thread(target=self._run, name="compute-warm", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """When `closing` is set. A machine that is being made is given up."""
        self._wake.set()
        self._thread.join()

    def built(self, server: IntentServer) -> None:
        """The server's disks were made. Raises: OSError."""
        mark = self._files.path(server.id) / _FRESH
        if server.take is None and may_start_warm(server):
            mark.touch()
        else:
            mark.unlink(missing_ok=True)

    def start(self, server: IntentServer, dom: libvirt.virDomain, *, is_first: bool) -> bool:
        """Let the server go on from a saved machine, with its interfaces; False if it has to boot, and is off.

        Raises: libvirtError while libvirtd is away, OSError.
        """
        self._started_at = time.monotonic()
        try:
            (self._files.path(server.id) / _FRESH).unlink()
        except FileNotFoundError:
            return False
        if not (is_first and server.power == "running" and may_start_warm(server)):
            return False
        digest = self._digest(server)
        machine = self._folder / digest / "machine"
        if not machine.exists():
            with self._lock:
                self._asked[digest] = server
            self._wake.set()
            return False
        try:
            took_ms = self._restore(server, machine)
        except _FAILURES as error:
            log.warning("warm start failed", server=server.id, machine=digest, reason=str(error))
            if isinstance(error, libvirt.libvirtError) and is_away(error):
                raise
            switch_off(dom)
            self._drop(digest)
            (self._files.path(server.id) / "console.log").write_bytes(b"")
            return False
        log.info("server went on from a warm machine", server=server.id, ms=sum(took_ms.values()), **took_ms)
        return True

    def _restore(self, server: IntentServer, machine: Path) -> dict[str, int]:
        """The milliseconds of each part of it."""
        times = [time.monotonic()]
        folder = self._files.path(server.id)
        saved = read_saved(machine)
        bare = domains.domain_row(
            msgspec.structs.replace(server, ports=()), self._wiring, str(folder), str(self._image_dir)
        )
        root = placed(domains.domain_xml(bare), layout_of(saved.xml, {}))
        part = folder / ".part-warm"
        try:
            write_other(machine, saved, ElementTree.tostring(root, encoding="unicode"), part)
            shutil.copyfile(machine.with_name("console.log"), folder / "console.log")
            times.append(time.monotonic())
            self._libvirtd.connect().restoreFlags(str(part), None, libvirt.VIR_DOMAIN_SAVE_PAUSED)
        finally:
            part.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            os.utime(machine)
        times.append(time.monotonic())
        dom = self._libvirtd.domain(server.id)
        # In their order, as a guest numbers them in the order in which they come.
        for port in server.ports:
            row = domains.interface_row(port, self._wiring, server.hardware)
            dom.attachDeviceFlags(domains.interface_xml(row), libvirt.VIR_DOMAIN_AFFECT_LIVE)
        dom.resume()
        times.append(time.monotonic())
        names = ("copied_ms", "restored_ms", "plugged_ms")
        return {name: int((times[n + 1] - times[n]) * 1000) for n, name in enumerate(names)}

    def _digest(self, server: IntentServer) -> str:
        row = machine_row(server, self._wiring, "0" * 8 + "-0000-0000-0000-" + "0" * 12, "/", str(self._image_dir))
        state = hashlib.sha256(machine_xml(row).encode())
        for image in images_of(server):
            state.update(f"{image.id} {image.sha256} {image.size_bytes} {image.disk_format}\n".encode())
        state.update(f"{server.root_disk_gib} GiB, libvirt {libvirt.getVersion()}\n".encode())
        # Names the emulator behind it, and when that was changed.
        state.update(Path(self._wiring.emulator).read_bytes())
        if self._wiring.virt_type == "kvm":
            state.update(_processor().encode())
        return state.hexdigest()[:32]

    def _drop(self, digest: str) -> None:
        with self._lock:
            folder = self._folder / digest
            if folder.exists():
                shutil.rmtree(folder, ignore_errors=True)

    # --- making them ---------------------------------------------------------------------------------------------

    def _run(self) -> None:
        is_tidy, looked_at = False, 0.0
        while not self._closing.is_set():
            if not is_tidy:
                is_tidy = self._tidy()
            if is_tidy and time.monotonic() - looked_at > 3600.0:
                looked_at = time.monotonic()
                self._prune()
            if is_tidy and self._asked and time.monotonic() - self._started_at >= self._quiet_s:
                with self._lock:
                    digest, server = next(iter(self._asked.items()))
                    del self._asked[digest]
                is_tidy = self._make(digest, server)
            pause_s = self._quiet_s / 4 if self._asked else _TIDY_S if is_tidy else 1.0
            self._wake.wait(pause_s)
            self._wake.clear()

    def _tidy(self) -> bool:
        """Removes what a process before this one, or a failure, left; False if that cannot be known now."""
        try:
            for dom in self._libvirtd.connect().listAllDomains():
                if _is_marked(dom):
                    switch_off(dom)
            for left in self._folder.glob(".making-*"):
                shutil.rmtree(left)
        except (libvirt.libvirtError, OSError):
            return False
        return True

    def _make(self, digest: str, server: IntentServer) -> bool:
        """Makes the machine, if it is not there; False if something of it may be left."""
        final = self._folder / digest
        if digest in self._refused or (final / "machine").exists():
            return True
        work = self._folder / f".making-{digest}"
        began = time.monotonic()
        dom = None
        try:
            work.mkdir()
            if shutil.disk_usage(work).free < 4 * server.memory_mib << 20:
                raise DiskFailure("there is too little room for it")
            machine_id = str(uuid.uuid4())
            assert server.image is not None  # as `may_start_warm` says
            base, form = self._images.base(server.image)
            make_overlay(work / "disk", base, form, server.root_disk_gib)
            untouched = _digest_of(work / "disk")
            (work / "console.log").touch(mode=0o640)
            row = machine_row(server, self._wiring, machine_id, str(work), str(self._image_dir))
            dom = self._libvirtd.connect().createXML(machine_xml(row))
            _yield_to_others(dom)
            if not self._await(dom, work / "console.log", began + _BOOT_TIMEOUT_S):
                return False
            dom.saveFlags(str(work / "machine"), None, libvirt.VIR_DOMAIN_SAVE_PAUSED)
            if _digest_of(work / "disk") != untouched:
                raise ServerFailure("its guest wrote to its disk before it waited")
            read_saved(work / "machine")
            (work / "disk").unlink()
            (work / "made-of").write_text("".join(f"{image.id}\n" for image in images_of(server)))
            for path in work.iterdir():
                _sync(path)
            with self._lock:
                work.rename(final)
            log.info("warm machine made", machine=digest, seconds=round(time.monotonic() - began, 1))
            self._prune()
        except _FAILURES as error:
            log.warning("warm machine not made", machine=digest, reason=str(error))
            # Who cannot be asked now says nothing of the image.
            if not is_away(error) and not isinstance(error, ApiAway):
                self._refused.add(digest)
        finally:
            is_tidy = self._leave(dom, work)
            for path in Path("/var/log/libvirt/qemu").glob("warm-*.log"):
                path.unlink(missing_ok=True)
        return is_tidy

    def _await(self, dom: libvirt.virDomain, console: Path, deadline: float) -> bool:
        """Waits until the guest waits; False if nobody needs it any more. Raises: ServerFailure."""
        while WAITS not in console.read_bytes():
            if self._closing.wait(_LOOK_S):
                return False
            if not dom.isActive():
                raise ServerFailure("its guest ended")
            if console.stat().st_size > CONSOLE_LIMIT_BYTES:
                raise ServerFailure("its guest says too much")
            if time.monotonic() > deadline:
                raise ServerFailure(f'its guest did not say "{WAITS.decode()}" within {_BOOT_TIMEOUT_S:.0f} s')
        return True

    def _leave(self, dom: libvirt.virDomain | None, work: Path) -> bool:
        try:
            if dom is not None:
                with unless(libvirt.VIR_ERR_NO_DOMAIN):
                    switch_off(dom)
            if work.exists():
                shutil.rmtree(work)
        except (libvirt.libvirtError, OSError):
            return False
        return True

    def _prune(self) -> None:
        """Removes what was long not used, whose images are not here any more, and the oldest of too many."""
        with self._lock:
            found = []
            for folder in self._folder.iterdir():
                if folder.name.startswith("."):
                    continue
                try:
                    state = (folder / "machine").stat()
                    made_of = (folder / "made-of").read_text().split()
                except OSError:
                    shutil.rmtree(folder, ignore_errors=True)
                    continue
                is_lost = not all(self._images.path(image_id).exists() for image_id in made_of)
                if is_lost or time.time() - state.st_mtime > _UNUSED_KEEP_S:
                    shutil.rmtree(folder, ignore_errors=True)
                else:
                    found.append((state.st_mtime, state.st_blocks * 512, folder))
            total = 0
            for number, (_, size, folder) in enumerate(sorted(found, reverse=True)):
                total += size
                if number >= _MOST_MACHINES or total > _MOST_BYTES:
                    shutil.rmtree(folder, ignore_errors=True)


def may_start_warm(server: IntentServer) -> bool:
    """Whether the server has nothing that a machine without a server has not."""
    is_plain = server.image is not None and not (server.volumes or server.config_drive or server.rescue)
    has_one_disk = not (server.ephemeral_disk_gib or server.swap_mib)
    is_small = server.memory_mib <= _MOST_MEMORY_MIB and server.vcpus <= _MOST_VCPUS
    # The newer of QEMU's machines takes no more cards than it was told to at its start.
    takes_cards = bool(server.ports) and "q35" not in (server.machine_type or "pc")
    return server.starts_warm and is_plain and has_one_disk and is_small and takes_cards


def machine_row(
    server: IntentServer, wiring: domains.HostWiring, machine_id: str, folder: str, image_dir: str
) -> domains.DomainRow:
    """The machine that servers like this one go on from, with nothing of the server's own."""
    alike = msgspec.structs.replace(
        server,
        id=machine_id,
        name=SERIAL,
        ports=(),
        power="running",
        reboot_generation=0,
        build_generation=0,
        shape_generation=0,
    )
    row = domains.domain_row(alike, wiring, folder, image_dir)
    return msgspec.structs.replace(row, instance_name=f"warm-{machine_id[:8]}")


def machine_xml(row: domains.DomainRow) -> str:
    """The machine as libvirt reads it: with the serial number that says so to its guest, and with our mark."""
    ElementTree.register_namespace("warm", MARK_NAMESPACE)
    root = ElementTree.fromstring(domains.domain_xml(row))
    metadata = root.find("metadata")
    assert metadata is not None  # every domain of ours has some
    metadata.clear()
    ElementTree.SubElement(metadata, f"{{{MARK_NAMESPACE}}}warm")
    for entry in root.iterfind("sysinfo/system/entry"):
        if entry.get("name") == "serial":
            entry.text = SERIAL
    return ElementTree.tostring(root, encoding="unicode")


def _is_marked(dom: libvirt.virDomain) -> bool:
    try:
        dom.metadata(libvirt.VIR_DOMAIN_METADATA_ELEMENT, MARK_NAMESPACE)
    except libvirt.libvirtError as error:
        if error.get_error_code() in (libvirt.VIR_ERR_NO_DOMAIN_METADATA, libvirt.VIR_ERR_NO_DOMAIN):
            return False
        raise
    return True


def _yield_to_others(dom: libvirt.virDomain) -> None:
    """Nobody waits for this guest: its threads run when no others want to. Raises: OSError, libvirtError."""
    pid = Path(f"/run/libvirt/qemu/{dom.name()}.pid").read_text().strip()
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(ProcessLookupError):
            os.setpriority(os.PRIO_PROCESS, int(task.name), _NICE)


def _processor() -> str:
    """What the host's processor is and can do: with KVM a guest's memory goes on on none that can do less."""
    wanted = ("model name", "flags", "microcode")
    lines = Path("/proc/cpuinfo").read_text().partition("\n\n")[0].splitlines()
    return "\n".join(line for line in lines if line.startswith(wanted))


def _digest_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)

"""What each step of `steps` does: to the domains of libvirt, and to the files of servers.

No step remembers anything: what it did is seen by the next look at the server.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import libvirt
import msgspec

from deuteron.compute import consoles, described
from deuteron.compute import domain as domains
from deuteron.compute.arrivals import Arrivals
from deuteron.compute.copies import disk_copy
from deuteron.compute.departures import Departures
from deuteron.compute.hotplug import Hotplug
from deuteron.compute.images import ImageCache, InstanceFiles
from deuteron.compute.libvirtd import Libvirtd, ServerFailure, is_away, switch_off, unless
from deuteron.compute.live import LiveMoves
from deuteron.compute.quiescence import Quiescence
from deuteron.compute.steps import ObservedServer, Step
from deuteron.compute.streams import Streams
from deuteron.compute.volumes import ServerVolumes
from deuteron.compute.warm import WarmStarts
from deuteron.model.intent import IntentServer

_BOTH = libvirt.VIR_DOMAIN_AFFECT_LIVE | libvirt.VIR_DOMAIN_AFFECT_CONFIG


class Operations:
    """Takes steps; any thread may, for one server one at a time."""

    def __init__(
        self,
        libvirtd: Libvirtd,
        files: InstanceFiles,
        images: ImageCache,
        volumes: ServerVolumes,
        image_dir: Path,
        wiring: domains.HostWiring,
        wanted: Callable[[str], IntentServer | None],
        clock: Callable[[], float],
        closing: threading.Event,
        *,
        shutdown_timeout_s: float,
        detach_timeout_s: float,
        streams: Streams,
        heard: Callable[[str], None],
    ) -> None:
        """`wanted` says what should be of a server by now: who waits for a guest looks whether it is still wanted.

        `heard` is called with the id of a server of which a live move got further.
        """
        self._libvirtd = libvirtd
        self._files = files
        self._images = images
        self._volumes = volumes
        self._image_dir = image_dir
        self._wiring = wiring
        self._wanted = wanted
        self._clock = clock
        self._closing = closing
        self._shutdown_timeout_s = shutdown_timeout_s
        self._quiescence = Quiescence(libvirtd, files)
        self._hotplug = Hotplug(volumes, closing, detach_timeout_s, clock)
        self._warm = WarmStarts(image_dir.parent / "warm", libvirtd, files, images, image_dir, wiring, closing)
        departures = Departures(libvirtd, files, wanted)
        arrivals = Arrivals(libvirtd, files, self._define)
        self._live = LiveMoves(files, streams, departures, arrivals, self._clear, heard)

    @property
    def live(self) -> LiveMoves:
        return self._live

    @property
    def quiescence(self) -> Quiescence:
        return self._quiescence

    def close(self) -> None:
        """Ends the threads, once `closing` is set."""
        self._live.close()
        self._warm.close()

    def take(self, step: Step, server_id: str, wanted: IntentServer | None, observed: ObservedServer) -> None:
        """Raises: ServerFailure, DiskFailure, libvirtError, OSError."""
        if step is Step.REMOVE:
            self._remove(server_id)
            return
        assert wanted is not None  # every other step is for a wanted server
        if step is Step.BUILD:
            self._live.end(server_id)
            self._remove_domain(server_id)
            self._live.forget(server_id)
            self._files.build(wanted)
            self._warm.built(wanted)
        elif step is Step.DEFINE:
            self._define(wanted)
        elif step in (Step.START, Step.DISCARD_SUSPENDED):
            self._start(wanted, observed, discard=step is Step.DISCARD_SUSPENDED)
        elif step is Step.RESTART_HARD:
            switch_off(self._libvirtd.domain(server_id))
            self._start(wanted, observed, discard=True)
        elif step is Step.RESTART_SOFT:
            if observed.state == "running":
                self._shut_down(server_id, lambda: self._wants_soft_reboot(server_id))
            self._start(wanted, observed, discard=False)
        elif step is Step.SHUT_DOWN:
            if observed.state == "running":
                self._shut_down(server_id, lambda: self._wants_power(server_id, "shutdown"))
            if self._wants_power(server_id, "shutdown"):
                switch_off(self._libvirtd.domain(server_id))
                self._record(wanted)
        elif step is Step.PAUSE:
            self._libvirtd.domain(server_id).suspend()
            self._record(wanted)
        elif step is Step.RESUME:
            self._libvirtd.domain(server_id).resume()
            self._record(wanted)
        elif step is Step.SUSPEND:
            self._libvirtd.domain(server_id).managedSave()
            self._record(wanted)
        elif step is Step.REWIRE:
            self._rewire(wanted)
        elif step is Step.REPLUG:
            self._replug(wanted, observed)
        elif step is Step.RECORD:
            self._record(wanted)
        elif step is Step.RESHAPE:
            self._reshape(wanted, observed)
        elif step is Step.DROP_KEPT:
            self._files.drop_kept(wanted)
        elif step is Step.THAW:
            self._quiescence.thaw(server_id)
        elif step is Step.IMAGE:
            self._make_image(wanted, observed)
        elif step is Step.GIVE:
            assert wanted.give is not None
            self._files.give(server_id, wanted.give)
        elif step is Step.LEAVE:
            self._live.leave(wanted)
        elif step is Step.STAY:
            self._live.stay(wanted)
        elif step is Step.COME:
            self._live.come(wanted)
        elif step is Step.ARRIVE:
            self._live.arrive(wanted)

    @contextlib.contextmanager
    def still(self, server_id: str) -> Iterator[None]:
        """While it lasts the guest, if it runs, stands still, and all that it wrote is in its files.

        Whoever dies in between leaves a paused guest, which is resumed because it should run. Raises: OSError;
        TimeoutError while libvirtd is away, and for a guest that ends meanwhile.
        """
        try:
            dom = self._libvirtd.find(server_id)
            runs = dom is not None and dom.isActive() and dom.state()[0] == libvirt.VIR_DOMAIN_RUNNING
            if dom is not None and runs:
                dom.suspend()
        except libvirt.libvirtError as error:
            raise self._unasked(server_id, error, f"server {server_id} does not stand still") from error
        try:
            yield
        finally:
            if dom is not None and runs:
                with contextlib.suppress(libvirt.libvirtError):
                    dom.resume()

    def grow(self, server_id: str, volume_id: str, size_gib: int) -> bool:
        """Make a volume of a guest that runs larger, which sees it; False where it is off. Raises: as `still`."""
        try:
            dom = self._libvirtd.find(server_id)
            if dom is None or not dom.isActive():
                return False
            xml = dom.XMLDesc(0)
            target = described.volume_disks(xml).get(volume_id)
            # QEMU does not hear of a new size from who holds the disk: the guest finds it when it starts again.
            if target is None or described.is_held(xml, volume_id):
                return False
            dom.blockResize(target, size_gib << 30, libvirt.VIR_DOMAIN_BLOCK_RESIZE_BYTES)
        except libvirt.libvirtError as error:
            what = f"server {server_id} does not take volume {volume_id} larger"
            raise self._unasked(server_id, error, what) from error
        return True

    def _unasked(self, server_id: str, error: libvirt.libvirtError, what: str) -> OSError:
        """A guest that ended meanwhile can be asked again, and nothing is wrong with what it has."""
        try:
            dom = self._libvirtd.find(server_id)
            is_gone = is_away(error) or dom is None or not dom.isActive()
        except libvirt.libvirtError:
            is_gone = True
        return TimeoutError(f"{what} yet: {error}") if is_gone else OSError(f"{what}: {error}")

    def _reshape(self, wanted: IntentServer, observed: ObservedServer) -> None:
        """Ends the guest, makes the disks fit, and defines it in its new shape, off.

        The domain says that it was switched off, whatever ended it, so that the next step starts it if it should run.
        """
        if observed.state == "running":
            self._shut_down(wanted.id, lambda: self._wants_shape(wanted))
            if not self._wants_shape(wanted):
                return
        if observed.state != "absent":
            dom = self._libvirtd.domain(wanted.id)
            switch_off(dom)
            if dom.hasManagedSaveImage():
                dom.managedSaveRemove()
        self._files.reshape(wanted)
        self._define(msgspec.structs.replace(wanted, power="shutdown"))

    def _wants_shape(self, wanted: IntentServer) -> bool:
        now = self._wanted(wanted.id)
        return now is not None and now.shape_generation == wanted.shape_generation

    def _make_image(self, wanted: IntentServer, observed: ObservedServer) -> None:
        """Copies the disk and gives the copy to the API.

        A guest that runs is paused while its disk is copied, which writes everything that QEMU holds back into the
        file. Whoever dies in between leaves a paused guest, which is resumed because it should run. Before that, an
        agent in it freezes its file systems, where there is one (`quiescence`).
        """
        assert wanted.snapshot is not None
        with disk_copy(self._files.path(wanted.id) / "disk") as copy:
            if observed.state == "running":
                dom = self._libvirtd.domain(wanted.id)
                with self._quiescence.frozen(wanted, dom):
                    dom.suspend()
                    try:
                        copy.take()
                    finally:
                        dom.resume()
            else:
                copy.take()
            self._images.give(wanted.snapshot, copy.flattened())

    def _start(self, wanted: IntentServer, observed: ObservedServer, discard: bool) -> None:
        if observed.state == "suspended" and not discard:
            # On a host that began anew there is nothing yet for its console.
            consoles.prepare()
            self._record(wanted)
            # Those that processes of this host held are not held any more where it was started again.
            self._volumes.bring(wanted, self._volumes.held(wanted.id))
            dom = self._libvirtd.domain(wanted.id)
            # What was suspended before this host had cells is described in its file, and resumes in one all the same.
            other = described.with_emulator(dom.managedSaveGetXMLDesc(0), self._wiring.emulator)
            if other is not None:
                dom.managedSaveDefineXML(other)
            dom.create()
            return
        dom = self._libvirtd.domain(wanted.id) if observed.state != "absent" else None
        if dom is not None and dom.hasManagedSaveImage():
            dom.managedSaveRemove()
        dom = self._define(wanted)
        if discard and wanted.power == "shutdown":
            return
        self._files.ensure_boot_images(wanted)
        log = self._files.path(wanted.id) / "console.log"
        log.touch(mode=0o640)
        if self._warm.start(wanted, dom, is_first=observed.state == "absent"):
            return
        try:
            dom.createWithFlags(libvirt.VIR_DOMAIN_START_PAUSED if wanted.power == "paused" else 0)
        except libvirt.libvirtError as error:
            raise ServerFailure(
                error.get_error_message() or "libvirt gave no reason", consoles.qemu_log(wanted.id)
            ) from error

    def _define(self, wanted: IntentServer) -> libvirt.virDomain:
        folder = self._files.path(wanted.id)
        self._volumes.prepare(wanted.id)
        consoles.prepare()
        paths = self._volumes.bring(wanted, self._volumes.allowed(wanted, self._volumes.held(wanted.id)))
        row = domains.domain_row(wanted, self._wiring, str(folder), str(self._image_dir), paths)
        xml = domains.domain_xml(row)
        (folder / "libvirt.xml").write_text(xml)
        return self._libvirtd.connect().defineXML(xml)

    def _remove(self, server_id: str) -> None:
        self._live.end(server_id)
        self._clear(server_id)

    def _clear(self, server_id: str) -> None:
        self._remove_domain(server_id)
        self._volumes.remove(server_id)
        if self._files.exists(server_id):
            self._files.remove(server_id)

    def _remove_domain(self, server_id: str) -> None:
        dom = self._libvirtd.find(server_id)
        if dom is None:
            return
        switch_off(dom)
        flags = libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE | libvirt.VIR_DOMAIN_UNDEFINE_NVRAM
        with unless(libvirt.VIR_ERR_NO_DOMAIN):
            dom.undefineFlags(flags | libvirt.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA)
        with contextlib.suppress(OSError):
            consoles.qemu_log_path(server_id).unlink()
        consoles.forget(server_id)

    def _shut_down(self, server_id: str, still_wanted: Callable[[], bool]) -> None:
        """Presses the power button and waits until the guest is off; switches it off when the time is over.

        Pressed again every few seconds, because a guest that is still booting does not notice the first time.
        """
        deadline = self._clock() + self._shutdown_timeout_s
        pressed_at = -1e9
        while still_wanted() and not self._closing.is_set():
            dom = self._libvirtd.domain(server_id)
            if not dom.isActive():
                return
            now = self._clock()
            if now >= deadline:
                switch_off(dom)
                return
            if now - pressed_at >= 3.0:
                with unless(libvirt.VIR_ERR_OPERATION_INVALID):
                    dom.shutdownFlags(libvirt.VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN)
                pressed_at = now
            self._closing.wait(0.1)

    def _wants_power(self, server_id: str, power: str) -> bool:
        wanted = self._wanted(server_id)
        return wanted is not None and wanted.power == power

    def _wants_soft_reboot(self, server_id: str) -> bool:
        wanted = self._wanted(server_id)
        return wanted is not None and wanted.reboot_kind == "SOFT"

    def _rewire(self, wanted: IntentServer) -> None:
        rows = {
            row.tap: row
            for row in (domains.interface_row(port, self._wiring, wanted.hardware) for port in wanted.ports)
        }
        dom = self._libvirtd.domain(wanted.id)
        if dom.isActive():
            self._hotplug.rewire(dom, rows)
        self._define(wanted)

    def _replug(self, wanted: IntentServer, observed: ObservedServer) -> None:
        """Gives the guest the volumes that it lacks, and takes those that it should not have."""
        dom = self._libvirtd.domain(wanted.id)
        kept = {each.volume_id for each in wanted.volumes}
        if dom.isActive():
            self._hotplug.unplug(dom, observed.volumes - kept)
            self._hotplug.plug(dom, wanted, self._volumes.allowed(wanted) - observed.volumes)
        self._define(wanted)
        self._volumes.let_go(wanted.id, kept - self._volumes.refused(wanted.id).keys())

    def _record(self, wanted: IntentServer) -> None:
        """Writes into the domain what is applied to it now."""
        dom = self._libvirtd.domain(wanted.id)
        mark = domains.mark_of(wanted)
        flags = _BOTH if dom.isActive() else libvirt.VIR_DOMAIN_AFFECT_CONFIG
        dom.setMetadata(
            libvirt.VIR_DOMAIN_METADATA_ELEMENT,
            domains.mark_xml(mark),
            domains.MARK_PREFIX,
            domains.MARK_NAMESPACE,
            flags,
        )

    # --- observing -------------------------------------------------------------------------------------------

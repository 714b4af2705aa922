"""Servers as libvirt domains: makes true what `sync` was told, and reports what is true.

Mark: a domain with our metadata element (see `domain.py`) is ours, and a folder below `instances/` named by a
UUID. Nothing else is touched. Domains are persistent, so they outlive libvirtd, this process and a reboot of the
host; what was applied to them is in the domain itself, and this driver has no memory it could lose.

How it works: every server has at most one job at a time in a small pool of threads. The job observes the server,
asks `steps.next_step` for one thing to do, does it, and starts over until nothing is left or something must be
waited for. A watcher thread looks at all domains each second, so that a server that dies is started again, and
libvirtd coming back is noticed.

A crash at any point leaves: a folder without `built` (made anew), a defined domain that is off (started), a
server that shut down for its soft reboot (its generation is still the old one: started), a domain without
folder or a folder without domain that nobody wants (removed by the next sync).

A failure of one server is its own: it is reported as `error` with its fault, stays pending, and is tried again
after a pause that doubles from 1 s to 60 s.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Mapping, Set
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import libvirt
import msgspec
import structlog

from deuteron.compute import consoles
from deuteron.compute import domain as domains
from deuteron.compute.config_drive import ConfigDrives
from deuteron.compute.contract import ConsoleUnavailable, HostFacts, HostUse
from deuteron.compute.images import DiskFailure, ImageCache, InstanceFiles
from deuteron.compute.libvirtd import Libvirtd, ServerFailure, details_of, is_away, switch_off, unless
from deuteron.compute.steps import ObservedServer, Step, next_step
from deuteron.model.intent import HostSettings, IntentPort, IntentServer, ServerReport

log = structlog.get_logger("deuteron.compute")

_MAX_STEPS = 20
_BOTH = libvirt.VIR_DOMAIN_AFFECT_LIVE | libvirt.VIR_DOMAIN_AFFECT_CONFIG


class ComputeOptions(msgspec.Struct, frozen=True):
    """Times and sizes; tests shorten them."""

    uri: str = "qemu:///system"
    workers: int = 4
    watch_interval_s: float = 1.0
    shutdown_timeout_s: float = 30.0
    """How long a guest may take to shut itself down before it is switched off."""
    detach_timeout_s: float = 15.0
    retry_first_s: float = 1.0
    retry_most_s: float = 60.0


_AWAY_FAILURES = 20
"""How often libvirtd may be found away, a second apart, before that is a server's fault."""


class _Server(msgspec.Struct):
    """What the driver knows about one server while it runs; all of it can be found out again."""

    wanted: IntentServer | None = None
    ports_ready: bool = False
    is_working: bool = False
    is_dirty: bool = False
    is_power_new: bool = False
    """The wanted power changed since the last start: a guest that is off because it wanted to be is then started,
    also when stop and start came so close together that no job saw the stop."""
    step: Step = Step.NOTHING
    fault: str | None = None
    fault_details: str | None = None
    failures: int = 0
    not_before: float = 0.0
    report: ServerReport | None = None


class LibvirtCompute:
    """`ComputeDriver` over libvirt; see the module's text. `facts` and `wiring` come from `open_compute`."""

    def __init__(
        self,
        settings: HostSettings,
        wiring: domains.HostWiring,
        facts: HostFacts,
        options: ComputeOptions | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.on_change: Callable[[], None] = lambda: None
        self._host = settings.host
        self._wiring = wiring
        self._facts = facts
        self._options = options or ComputeOptions()
        self._clock = clock
        state_dir = Path(settings.state_dir)
        self._images = ImageCache(state_dir / "images", settings.api_socket, settings.token)
        self._image_dir = state_dir / "images"
        drives = ConfigDrives(settings.api_socket, settings.token)
        self._files = InstanceFiles(state_dir / "instances", self._images, drives.make)
        self._lock = threading.Lock()
        self._servers: dict[str, _Server] = {}
        self._is_synced = False
        self._libvirtd = Libvirtd(self._options.uri)
        self._pool = ThreadPoolExecutor(self._options.workers, thread_name_prefix="compute")
        self._closing = threading.Event()
        self._wake = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="compute-watch", daemon=True)
        self._watcher.start()

    # --- what the agent calls --------------------------------------------------------------------------------

    def facts(self) -> HostFacts:
        return self._facts

    def use(self) -> HostUse:
        with self._lock:
            running = [
                entry.wanted
                for entry in self._servers.values()
                if entry.wanted and entry.report and entry.report.state in ("running", "paused")
            ]
        return HostUse(sum(server.memory_mib for server in running), self._files.used_bytes() >> 30, len(running))

    def sync(
        self,
        servers: Mapping[str, IntentServer],
        ports: Mapping[str, IntentPort],
        taps_ready: Set[str],
        leaving: Set[str] = frozenset(),
    ) -> None:
        with self._lock:
            self._is_synced = True
            for server_id in servers.keys() | self._servers.keys() | leaving:
                wanted = servers.get(server_id)
                ready = wanted is not None and all(port.port_id in taps_ready for port in wanted.ports)
                entry = self._servers.setdefault(server_id, _Server())
                if entry.report is not None and entry.wanted == wanted and entry.ports_ready == ready:
                    continue
                if entry.wanted != wanted:
                    # A new wish deserves a new try at once.
                    entry.failures, entry.not_before = 0, 0.0
                if entry.wanted is not None and wanted is not None and entry.wanted.power != wanted.power:
                    entry.is_power_new = True
                entry.wanted, entry.ports_ready = wanted, ready
                self._schedule(server_id, entry)
        self._wake.set()

    def kept(self) -> Mapping[str, str]:
        with self._lock:
            # One that nobody wants is forgotten by the job that found nothing of it.
            return {
                server_id: entry.fault or "is being removed"
                for server_id, entry in self._servers.items()
                if entry.wanted is None
            }

    def reports(self) -> tuple[ServerReport, ...]:
        with self._lock:
            return tuple(entry.report for entry in self._servers.values() if entry.report is not None)

    def pending(self) -> tuple[tuple[str, str], ...]:
        with self._lock:
            found = []
            for server_id, entry in sorted(self._servers.items()):
                if entry.fault is not None:
                    found.append((f"server {server_id}", entry.fault))
                elif entry.step is Step.WAIT_FOR_PORTS:
                    found.append((f"server {server_id}", "waits until its ports are wired"))
            return tuple(found)

    def console_log(self, server_id: str, lines: int = -1) -> str:
        try:
            data = (self._files.path(server_id) / "console.log").read_bytes()
        except (OSError, ValueError) as error:
            raise ConsoleUnavailable(f"server {server_id} has no console log on host {self._host}") from error
        text = data.decode(errors="replace").replace("\r\n", "\n")
        if lines < 0:
            return text
        return "".join(text.splitlines(keepends=True)[-lines:]) if lines else ""

    def close(self) -> None:
        self._closing.set()
        self._wake.set()
        self._watcher.join()
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._libvirtd.close()

    # --- jobs ------------------------------------------------------------------------------------------------

    def _schedule(self, server_id: str, entry: _Server) -> None:
        """Has the server looked at soon. The lock is held."""
        entry.is_dirty = True
        if not entry.is_working and not self._closing.is_set():
            entry.is_working = True
            self._pool.submit(self._work, server_id)

    def _work(self, server_id: str) -> None:
        """The one job of a server: steps until there is nothing to do, or something to wait for."""
        while True:
            with self._lock:
                entry = self._servers.get(server_id)
                if entry is None:
                    return
                if not entry.is_dirty or self._closing.is_set() or self._clock() < entry.not_before:
                    entry.is_working = False
                    return
                entry.is_dirty = False
            self._converge(server_id, entry)

    def _converge(self, server_id: str, entry: _Server) -> None:
        for _ in range(_MAX_STEPS):
            wanted, ready = entry.wanted, entry.ports_ready
            try:
                observed = self._observe(server_id)
                if entry.is_power_new:
                    observed = msgspec.structs.replace(observed, ended_by_guest=False)
                taps = frozenset(self._wiring.plug(port).device for port in wanted.ports) if wanted else frozenset()
                step = next_step(wanted, observed, taps, ready)
                self._publish(server_id, entry, observed, step)
                if step in (Step.NOTHING, Step.WAIT_FOR_PORTS):
                    self._succeeded(server_id, entry, observed, step)
                    return
                # The only place where anything about a server is changed: a log without it is proof that nothing was.
                log.info("server changed", server=server_id, step=step.value)
                self._take(step, server_id, wanted, observed)
                if step is Step.START:
                    entry.is_power_new = False
            except (libvirt.libvirtError, ServerFailure, DiskFailure, OSError) as error:
                self._failed(server_id, entry, error)
                return
        self._failed(server_id, entry, ServerFailure(f"server {server_id} does not settle", f"last step: {step.value}"))

    def _succeeded(self, server_id: str, entry: _Server, observed: ObservedServer, step: Step) -> None:
        with self._lock:
            if step is Step.NOTHING and entry.wanted is None:
                if not entry.is_dirty:
                    del self._servers[server_id]
            elif step is Step.NOTHING:
                entry.failures, entry.not_before = 0, 0.0
        if entry.fault is not None:
            entry.fault = entry.fault_details = None
            self._publish(server_id, entry, observed, step)
        elif entry.wanted is None:
            self.on_change()

    def _failed(self, server_id: str, entry: _Server, error: Exception) -> None:
        with self._lock:
            entry.failures += 1
            pause_s = min(self._options.retry_first_s * 2 ** (entry.failures - 1), self._options.retry_most_s)
            entry.not_before = self._clock() + pause_s
            entry.is_dirty = True
            if is_away(error) and entry.failures <= _AWAY_FAILURES:
                # libvirtd is starting, or coming back: the server waits for it.
                entry.fault = entry.fault_details = None
                entry.not_before = self._clock() + self._options.retry_first_s
            else:
                step = "look at the server" if entry.step is Step.NOTHING else entry.step.value
                entry.fault = f"{step} on host {self._host} failed: {error}"
                entry.fault_details = details_of(error)
        try:
            observed = self._observe(server_id)
        except (libvirt.libvirtError, OSError):
            observed = ObservedServer(server_id, "absent")
        self._publish(server_id, entry, observed, entry.step)

    def _publish(self, server_id: str, entry: _Server, observed: ObservedServer, step: Step) -> None:
        state: str = observed.state
        on_its_way = step in (Step.BUILD, Step.DEFINE, Step.START, Step.WAIT_FOR_PORTS)
        is_off = observed.state in ("absent", "shutdown")
        if on_its_way and is_off and entry.wanted is not None and entry.wanted.power != "shutdown":
            state = "building"
        if entry.fault is not None and observed.state != "running":
            state = "error"
        report = ServerReport(
            id=server_id,
            state=state,  # type: ignore[arg-type]  # a DomainState, "building" or "error": all are in the literal
            reboot_generation=observed.reboot_generation,
            build_generation=observed.build_generation or 0,
            fault=entry.fault,
            fault_details=entry.fault_details,
            instance_name=domains.instance_name(server_id),
        )
        with self._lock:
            entry.step = step
            changed = entry.report != report
            entry.report = report
        if changed:
            self.on_change()

    # --- steps -----------------------------------------------------------------------------------------------

    def _take(self, step: Step, server_id: str, wanted: IntentServer | None, observed: ObservedServer) -> None:
        if step is Step.REMOVE:
            self._remove(server_id)
            return
        assert wanted is not None  # every other step is for a wanted server
        if step is Step.BUILD:
            self._remove_domain(server_id)
            self._files.build(wanted)
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
            self._rewire(wanted, observed)
        elif step is Step.RECORD:
            self._record(wanted)

    def _start(self, wanted: IntentServer, observed: ObservedServer, discard: bool) -> None:
        if observed.state == "suspended" and not discard:
            self._record(wanted)
            dom = self._libvirtd.domain(wanted.id)
            # What was suspended before this host had cells is described in its file, and resumes in one all the same.
            other = domains.with_emulator(dom.managedSaveGetXMLDesc(0), self._wiring.emulator)
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
        try:
            dom.createWithFlags(libvirt.VIR_DOMAIN_START_PAUSED if wanted.power == "paused" else 0)
        except libvirt.libvirtError as error:
            raise ServerFailure(
                error.get_error_message() or "libvirt gave no reason", consoles.qemu_log(wanted.id)
            ) from error

    def _define(self, wanted: IntentServer) -> libvirt.virDomain:
        folder = self._files.path(wanted.id)
        row = domains.domain_row(wanted, self._wiring, str(folder), str(self._image_dir))
        xml = domains.domain_xml(row)
        (folder / "libvirt.xml").write_text(xml)
        return self._libvirtd.connect().defineXML(xml)

    def _remove(self, server_id: str) -> None:
        self._remove_domain(server_id)
        if self._files.exists(server_id):
            self._files.remove(server_id)
        with self._lock:
            used = {
                image.id
                for entry in self._servers.values()
                if entry.wanted
                for image in (entry.wanted.image, entry.wanted.kernel, entry.wanted.ramdisk)
                if image is not None
            }
        self._images.prune(used)

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

    def _shut_down(self, server_id: str, still_wanted: Callable[[], bool]) -> None:
        """Presses the power button and waits until the guest is off; switches it off when the time is over.

        Pressed again every few seconds, because a guest that is still booting does not notice the first time.
        """
        deadline = self._clock() + self._options.shutdown_timeout_s
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
        entry = self._servers.get(server_id)
        return entry is not None and entry.wanted is not None and entry.wanted.power == power

    def _wants_soft_reboot(self, server_id: str) -> bool:
        entry = self._servers.get(server_id)
        return entry is not None and entry.wanted is not None and entry.wanted.reboot_kind == "SOFT"

    def _rewire(self, wanted: IntentServer, observed: ObservedServer) -> None:
        dom = self._libvirtd.domain(wanted.id)
        flags = _BOTH if dom.isActive() else libvirt.VIR_DOMAIN_AFFECT_CONFIG
        rows = {row.tap: row for row in (domains.interface_row(port, self._wiring) for port in wanted.ports)}
        present = domains.interface_taps(dom.XMLDesc(0))
        for tap in sorted(present.keys() - rows.keys()):
            xml = domains.present_interface(dom.XMLDesc(0), tap)
            if xml is None:
                continue
            with unless(libvirt.VIR_ERR_DEVICE_MISSING, libvirt.VIR_ERR_OPERATION_FAILED):
                dom.detachDeviceFlags(xml, flags)
        self._wait_detached(dom, rows.keys())
        for tap in sorted(rows.keys() - present.keys()):
            dom.attachDeviceFlags(domains.interface_xml(rows[tap]), flags)
        row = domains.domain_row(wanted, self._wiring, str(self._files.path(wanted.id)), str(self._image_dir))
        (self._files.path(wanted.id) / "libvirt.xml").write_text(domains.domain_xml(row))

    def _wait_detached(self, dom: libvirt.virDomain, keep: Set[str]) -> None:
        """Waits until the guest has let go of the interfaces it should not have."""
        deadline = self._clock() + self._options.detach_timeout_s
        while left := domains.interface_taps(dom.XMLDesc(0)).keys() - keep:
            if self._clock() > deadline:
                raise ServerFailure(f"the guest does not let go of {', '.join(sorted(left))}")
            if self._closing.wait(0.1):
                return

    def _record(self, wanted: IntentServer) -> None:
        """Writes into the domain what is applied to it now."""
        dom = self._libvirtd.domain(wanted.id)
        mark = domains.Mark(wanted.id, wanted.power, wanted.reboot_generation, wanted.build_generation)
        flags = _BOTH if dom.isActive() else libvirt.VIR_DOMAIN_AFFECT_CONFIG
        dom.setMetadata(
            libvirt.VIR_DOMAIN_METADATA_ELEMENT,
            domains.mark_xml(mark),
            domains.MARK_PREFIX,
            domains.MARK_NAMESPACE,
            flags,
        )

    # --- observing -------------------------------------------------------------------------------------------

    def _observe(self, server_id: str) -> ObservedServer:
        built, has_files = self._files.build_generation(server_id), self._files.exists(server_id)
        return self._libvirtd.observe(server_id, built, has_files)

    def _watch(self) -> None:
        """Looks at everything each second: what died, what should be tried again, what nobody wants."""
        known: dict[str, tuple[int, ...]] = {}
        trimmed_at = 0.0
        while not self._closing.is_set():
            self._wake.wait(self._options.watch_interval_s)
            self._wake.clear()
            if self._closing.is_set():
                return
            with self._lock:
                if not self._is_synced:
                    continue
                for server_id, entry in list(self._servers.items()):
                    if entry.is_dirty and not entry.is_working and self._clock() >= entry.not_before:
                        self._schedule(server_id, entry)
            try:
                seen = self._libvirtd.states()
            except (libvirt.libvirtError, OSError):
                # libvirtd is away. The servers run without it; the jobs report what they cannot do.
                continue
            left_over = (seen.keys() | set(self._files.servers())) - self._servers.keys()
            with self._lock:
                for server_id in left_over:
                    self._schedule(server_id, self._servers.setdefault(server_id, _Server()))
                for server_id, entry in list(self._servers.items()):
                    if known.get(server_id) != seen.get(server_id):
                        self._schedule(server_id, entry)
            known = seen
            if self._clock() - trimmed_at > 5.0:
                trimmed_at = self._clock()
                for server_id in self._files.servers():
                    consoles.trim_log(self._files.path(server_id) / "console.log")
                    consoles.trim_log(consoles.qemu_log_path(server_id))

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

import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import libvirt
import msgspec
import structlog

from deuteron.compute import consoles
from deuteron.compute import domain as domains
from deuteron.compute.config_drive import ConfigDrives
from deuteron.compute.contract import ConsoleUnavailable, HostFacts, HostUse, VolumeSource
from deuteron.compute.guests import Guests
from deuteron.compute.images import ImageCache, InstanceFiles, images_of
from deuteron.compute.libvirtd import Libvirtd, ServerFailure, details_of, is_away
from deuteron.compute.operations import Operations
from deuteron.compute.options import ComputeOptions
from deuteron.compute.precaching import Precaching
from deuteron.compute.steps import ObservedServer, Step, next_step
from deuteron.compute.streams import Streams
from deuteron.compute.tools import ApiAway, DiskFailure
from deuteron.compute.volumes import ServerVolumes
from deuteron.model.intent import (
    GuestFigures,
    HostSettings,
    IntentCachedImage,
    IntentPort,
    IntentServer,
    LiveReport,
    ServerReport,
)

log = structlog.get_logger("deuteron.compute")

_MAX_STEPS = 20
_AWAY_FAILURES = 20
"""How often libvirtd may be found away, a second apart, before that is a server's fault."""
_IMAGE_FAILURES = 3
"""How often an image of a server is tried before it is given up."""


class _Server(msgspec.Struct):
    """What the driver knows about one server while it runs; all of it can be found out again."""

    wanted: IntentServer | None = None
    ports_ready: bool = False
    volumes_ready: frozenset[str] = frozenset()
    """Those of its volumes that are there."""
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
    imaged: str | None = None
    """The last image of its disk that the API took; forgotten by a restart, and then the API says so again."""
    image_fault: str | None = None
    given: str | None = None
    """The last move for which the API took its disks, as above."""
    move_fault: str | None = None


def _has(entry: _Server, volume_id: str) -> bool:
    """Whether the server has the volume, or may get it."""
    wanted = () if entry.wanted is None else tuple(each.volume_id for each in entry.wanted.volumes)
    held = () if entry.report is None else entry.report.held
    return volume_id in wanted or volume_id in held


class LibvirtCompute:
    """`ComputeDriver` over libvirt; see the module's text. `facts` and `wiring` come from `open_compute`."""

    def __init__(
        self,
        settings: HostSettings,
        wiring: domains.HostWiring,
        facts: HostFacts,
        options: ComputeOptions | None = None,
        clock: Callable[[], float] = time.monotonic,
        volumes: VolumeSource | None = None,
    ) -> None:
        self.on_change: Callable[[], None] = lambda: None
        self._host = settings.host
        self._wiring = wiring
        self._facts = facts
        self._options = options or ComputeOptions()
        self._clock = clock
        state_dir = Path(settings.state_dir)
        self._images = ImageCache(state_dir / "images", settings.api_socket, settings.token)
        self._precaching = Precaching(self._images, lambda: self.on_change())
        drives = ConfigDrives(settings.api_socket, settings.token)
        self._files = InstanceFiles(state_dir / "instances", self._images, drives.make)
        self._volumes = ServerVolumes(self._files, volumes)
        self._lock = threading.Lock()
        self._servers: dict[str, _Server] = {}
        self._is_synced = False
        self._libvirtd = Libvirtd(self._options.uri)
        self._guests = Guests(self._libvirtd, settings.host, facts.virt_type)
        self._pool = ThreadPoolExecutor(self._options.workers, thread_name_prefix="compute")
        self._closing = threading.Event()
        self._operations = Operations(
            self._libvirtd,
            self._files,
            self._images,
            self._volumes,
            state_dir / "images",
            wiring,
            lambda server_id: self._servers[server_id].wanted if server_id in self._servers else None,
            clock,
            self._closing,
            shutdown_timeout_s=self._options.shutdown_timeout_s,
            detach_timeout_s=self._options.detach_timeout_s,
            streams=Streams(settings.api_socket, settings.token),
            heard=self._look_again,
        )
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
        volumes_ready: Set[str] = frozenset(),
    ) -> None:
        with self._lock:
            self._is_synced = True
            for server_id in servers.keys() | self._servers.keys() | leaving:
                wanted = servers.get(server_id)
                ready = wanted is not None and all(port.port_id in taps_ready for port in wanted.ports)
                volumes = (
                    frozenset(each.volume_id for each in wanted.volumes) & volumes_ready if wanted else frozenset()
                )
                ready = ready and wanted is not None and len(volumes) == len(wanted.volumes)
                entry = self._servers.setdefault(server_id, _Server())
                now = (wanted, ready, volumes)
                if entry.report is not None and (entry.wanted, entry.ports_ready, entry.volumes_ready) == now:
                    continue
                self._volumes.expect(server_id, volumes, anew=entry.wanted != wanted)
                if entry.wanted != wanted:
                    # A new wish deserves a new try at once.
                    entry.failures, entry.not_before, entry.image_fault, entry.move_fault = 0, 0.0, None, None
                if entry.wanted is not None and wanted is not None and entry.wanted.power != wanted.power:
                    entry.is_power_new = True
                entry.wanted, entry.ports_ready, entry.volumes_ready = now
                self._schedule(server_id, entry)
        self._wake.set()

    def keep_images(self, images: Mapping[str, IntentCachedImage]) -> None:
        self._precaching.want(images)

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
                elif entry.image_fault is not None or entry.move_fault is not None:
                    found.append((f"server {server_id}", entry.image_fault or entry.move_fault or ""))
                elif entry.step is Step.WAIT_FOR_PORTS:
                    found.append((f"server {server_id}", "waits until its ports are wired and its volumes are there"))
            return (*found, *self._precaching.pending())

    def console_log(self, server_id: str, lines: int = -1) -> str:
        try:
            return consoles.read_log(self._files.path(server_id) / "console.log", lines)
        except (OSError, ValueError) as error:
            raise ConsoleUnavailable(f"server {server_id} has no console log on host {self._host}") from error

    def check_console(self, server_id: str, kind: str) -> None:
        consoles.check(self._libvirtd, server_id, kind)

    def open_console(self, server_id: str, kind: str) -> socket.socket:
        return consoles.connect(self._libvirtd, server_id, kind)

    def diagnostics(self, server_id: str) -> GuestFigures:
        return self._guests.diagnostics(server_id)

    def inject_nmi(self, server_id: str) -> None:
        self._guests.inject_nmi(server_id)

    def set_password(self, server_id: str, user: str, password: str) -> bool:
        return self._guests.set_password(server_id, user, password)

    @contextmanager
    def quiet(self, volume_id: str) -> Iterator[None]:
        with self._alone(volume_id) as server_ids, ExitStack() as held:
            for server_id in server_ids:
                held.enter_context(self._operations.still(server_id))
            yield

    def grow(self, volume_id: str, size_gib: int) -> bool:
        with self._alone(volume_id) as server_ids:
            # Each has to see it; the first makes it so.
            grown = [self._operations.grow(server_id, volume_id, size_gib) for server_id in server_ids]
            return any(grown)

    def close(self) -> None:
        self._closing.set()
        self._wake.set()
        self._watcher.join()
        self._precaching.close()
        self._operations.close()
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._libvirtd.close()
        self._volumes.close()

    @contextmanager
    def _alone(self, volume_id: str) -> Iterator[Sequence[str]]:
        """The servers that have the volume, for which no job runs while this lasts; several only where it is shared.

        All of them at once or none: whoever holds one of them waits for nobody. Raises: TimeoutError for a server that
        is busy for too long, and while nobody knows yet which servers there are.
        """
        deadline = self._clock() + self._options.quiet_timeout_s
        while True:
            # A guest of before this process started has what lies in its folder, whatever is known of it by now.
            holding = {id for id in self._files.servers() if volume_id in self._volumes.held(id)}
            with self._lock:
                server_ids = sorted(holding | {id for id, entry in self._servers.items() if _has(entry, volume_id)})
                busy = [id for id in server_ids if id not in self._servers or self._servers[id].is_working]
                if self._is_synced and not busy:
                    for server_id in server_ids:
                        self._servers[server_id].is_working = True
                    break
            if self._clock() > deadline or self._closing.wait(0.02):
                who = f"server {busy[0]} has it, and is busy" if self._is_synced else "its servers are not known yet"
                raise TimeoutError(f"host {self._host} cannot say who writes to volume {volume_id}: {who}")
        try:
            yield server_ids
        finally:
            with self._lock:
                for server_id in server_ids:
                    entry = self._servers.get(server_id)
                    if entry is not None:
                        entry.is_working = False
                        self._schedule(server_id, entry)

    # --- jobs ------------------------------------------------------------------------------------------------

    def _schedule(self, server_id: str, entry: _Server) -> None:
        """Has the server looked at soon. The lock is held."""
        entry.is_dirty = True
        if not entry.is_working and not self._closing.is_set():
            entry.is_working = True
            self._pool.submit(self._work, server_id)

    def _look_again(self, server_id: str) -> None:
        with self._lock:
            entry = self._servers.get(server_id)
            if entry is not None:
                self._schedule(server_id, entry)

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
                step = next_step(wanted, observed, taps, ready, self._volumes.allowed(wanted, observed.volumes))
                self._publish(server_id, entry, observed, step)
                if step in (Step.NOTHING, Step.WAIT_FOR_PORTS):
                    self._succeeded(server_id, entry, observed, step)
                    return
                # The only place where anything about a server is changed: a log without it is proof that nothing was.
                log.info("server changed", server=server_id, step=step.value)
                self._operations.take(step, server_id, wanted, observed)
                self._taken(step, entry, wanted)
            except (libvirt.libvirtError, ServerFailure, DiskFailure, OSError) as error:
                self._failed(server_id, entry, error)
                return
        self._failed(server_id, entry, ServerFailure(f"server {server_id} does not settle", f"last step: {step.value}"))

    def _taken(self, step: Step, entry: _Server, wanted: IntentServer | None) -> None:
        if step is Step.START:
            entry.is_power_new = False
        elif step is Step.IMAGE and wanted is not None:
            entry.imaged = wanted.snapshot
        elif step is Step.GIVE and wanted is not None:
            entry.given = wanted.give
        elif step is Step.REMOVE:
            with self._lock:
                used = {
                    image.id for other in self._servers.values() if other.wanted for image in images_of(other.wanted)
                }
            self._images.prune(used | self._precaching.kept())

    def _succeeded(self, server_id: str, entry: _Server, observed: ObservedServer, step: Step) -> None:
        with self._lock:
            if step is Step.NOTHING and entry.wanted is None:
                if not entry.is_dirty:
                    del self._servers[server_id]
                    self._volumes.forget(server_id)
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
            if isinstance(error, ApiAway):
                # However long that lasts, it says nothing of the server.
                entry.failures -= 1
                entry.not_before = self._clock() + self._options.retry_first_s
            elif is_away(error) and entry.failures <= _AWAY_FAILURES:
                # libvirtd is starting, or coming back: the server waits for it.
                entry.fault = entry.fault_details = None
                entry.not_before = self._clock() + self._options.retry_first_s
            elif entry.step is Step.IMAGE:
                # The server itself is well.
                why = f"{entry.step.value} on host {self._host} failed: {error}"
                entry.image_fault = why if entry.failures >= _IMAGE_FAILURES else None
            elif entry.step is Step.GIVE:
                why = f"{entry.step.value} on host {self._host} failed: {error}"
                entry.move_fault = why if entry.failures >= _IMAGE_FAILURES else None
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
        if observed.leaving is not None and not observed.ended_by_guest:
            on_its_way = True  # one whose QEMU died while it was to leave is started again when it is to stay
        if on_its_way and is_off and entry.wanted is not None and entry.wanted.power != "shutdown":
            state = "building"
        if entry.fault is not None and observed.state != "running":
            state = "error"
        report = ServerReport(
            id=server_id,
            state=state,  # type: ignore[arg-type]  # a DomainState, "building" or "error": all are in the literal
            reboot_generation=observed.reboot_generation,
            build_generation=observed.build_generation or 0,
            shape_generation=observed.shape_generation,
            fault=entry.fault,
            fault_details=entry.fault_details,
            instance_name=domains.instance_name(server_id),
            snapshot=entry.wanted.snapshot if step is Step.IMAGE and entry.wanted is not None else None,
            snapshot_fault=entry.image_fault if step is Step.IMAGE else None,
            move_fault=entry.move_fault if step is Step.GIVE else None,
            volumes=tuple(sorted(observed.volumes)),
            held=tuple(sorted(observed.held | observed.volumes)),
            refused=tuple(sorted(self._volumes.refused(server_id).items())),
            live=self._live_report(server_id),
        )
        with self._lock:
            entry.step = step
            changed = entry.report != report
            entry.report = report
        if changed:
            self.on_change()

    def _live_report(self, server_id: str) -> LiveReport | None:
        try:
            return self._operations.live.report(server_id)
        except libvirt.libvirtError:
            return None  # libvirtd is away, and says it later

    def _observe(self, server_id: str) -> ObservedServer:
        built, has_files = self._files.build_generation(server_id), self._files.exists(server_id)
        observed = self._libvirtd.observe(server_id, built, has_files, self._files.kept(server_id))
        entry = self._servers.get(server_id)
        imaged, given = (None, None) if entry is None else (entry.imaged, entry.given)
        live = self._operations.live
        return msgspec.structs.replace(
            observed,
            imaged=imaged,
            given=given,
            held=self._volumes.held(server_id),
            leaving=live.leaving(server_id),
            coming=live.coming(server_id),
            is_frozen=self._operations.quiescence.is_frozen(server_id),
        )

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

"""The agent's process: reads its settings, builds the parts, and runs until it is told to stop.

    Connection --intent--> Worker (thread: plan, reconcile) --Pass--> Agent --Findings--> Connection
                              |                                        |
                        kernel tables                        ComputeDriver (threads: libvirt)

SIGTERM ends it at once and leaves the data plane as it is: packets flow, dnsmasq answers, guests run.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import click
import msgspec
import structlog

from deuteron.agent.connection import Connection, Findings
from deuteron.agent.consoles import PREFIX as OF_CONSOLES
from deuteron.agent.consoles import Consoles
from deuteron.agent.guests import OF_GUESTS, Guests
from deuteron.agent.intents import is_wanted
from deuteron.agent.metadata import MetadataProxy
from deuteron.agent.statuses import Patience, is_removed, port_reports, router_reports, unrealised, wired_ports
from deuteron.agent.volumes import Exports, NoVolumes, fetch_key, open_volumes, unmanaged
from deuteron.agent.worker import Pass, Worker
from deuteron.compute import ComputeDriver, HostUse, NoHypervisor, open_compute
from deuteron.model import logs
from deuteron.model.counters import Counter, CounterQuestion
from deuteron.model.intent import (
    LINUX_BRIDGE,
    Ask,
    BackupReport,
    Difference,
    Heartbeat,
    Hello,
    HostIntent,
    HostSettings,
    Kept,
    Key,
    PortReport,
    RouterReport,
    ServerReport,
    SnapshotReport,
    VolumeReport,
)
from deuteron.net.counters import counters
from deuteron.net.host import Host, UnfitTable, real_host, simulated_host, table_names
from deuteron.net.kernel.programs import has_program
from deuteron.net.kernel.rtnetlink import known_kinds
from deuteron.net.mechanisms import UnknownMechanism
from deuteron.net.mechanisms.wiring import HostMechanism, host_mechanisms_by_name, plug_of
from deuteron.net.plan import planner
from deuteron.volume import VolumeKeeper

log = structlog.get_logger("deuteron.agent")

_STOP_TIMEOUT_S = 1.0
_MOST_PROBLEMS = 100
_VOLUMES = ("volume", "volume_snapshot", "backup")
_OPTIONAL = ("keepalived",)
"""Programs without which a host does all but some of what may be asked of it."""


class Agent:
    """The parts of one host's agent. Everything here runs in the event loop unless it says otherwise."""

    def __init__(
        self,
        settings: HostSettings,
        mechanisms: Sequence[HostMechanism],
        loop: asyncio.AbstractEventLoop,
        compute: ComputeDriver | None,
        volumes: VolumeKeeper | None = None,
    ) -> None:
        self._settings = settings
        self._mechanisms = mechanisms
        self._loop = loop
        self._compute = compute
        self._volumes = volumes
        self._started_at = datetime.now(UTC).isoformat(timespec="seconds")
        self._intent: HostIntent | None = None
        self._last: Pass | None = None
        self._leaving: set[Key] = set()
        """Keys of which the API waits to hear that they are removed."""
        self._looked_for: frozenset[str] = frozenset()
        """The servers among them that compute was told to look for."""
        self._looked_for_volumes: frozenset[Key] = frozenset()
        self._ports: Patience[PortReport] = Patience()
        self._routers: Patience[RouterReport] = Patience()
        self._consoles = Consoles(settings, compute)
        self._guests = Guests(compute, settings.host)
        self._counting = asyncio.Lock()
        self._proxy = MetadataProxy(loop, settings.api_socket, settings.token)
        subjects = [mechanism.plan for mechanism in mechanisms]
        self._worker = Worker(settings, self._open_host, planner(subjects).plan, self._passed)
        self._connection = Connection(settings, self._hello, self._beat, self._take, self._answer)
        if compute is not None:
            compute.on_change = self._heard_compute
        if volumes is not None:
            volumes.on_change = self._heard_volumes
            if compute is not None:
                volumes.guests = compute

    async def run(self) -> None:
        """Until cancelled."""
        self._worker.start()
        try:
            await self._connection.run()
        finally:
            self._worker.stop()
            self._consoles.close()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_STOP_TIMEOUT_S):
                    await asyncio.to_thread(self._close)

    def _close(self) -> None:
        self._worker.join()
        if self._compute is not None:
            self._compute.close()
        if self._volumes is not None:
            self._volumes.close()

    def _open_host(self) -> Host:
        """In the worker's thread, which nobody would miss: without it, an agent is none."""
        try:
            return self._opened()
        except Exception:  # a driver that cannot even be opened
            log.exception("cannot open the tables of this host")
            sys.stderr.flush()
            os._exit(1)

    def _opened(self) -> Host:
        if self._settings.dataplane == "none":
            return simulated_host(self._settings.bridge_ports.values(), self._mechanisms)
        return real_host(self._settings.state_dir, self._proxy.opened, self._proxy.closed, self._mechanisms)

    # --- from the API to the host ------------------------------------------------------------------------------

    def _take(self, intent: HostIntent, gone: frozenset[Key]) -> None:
        before = self._intent
        self._intent = intent
        self._leaving |= gone
        self._leaving -= {key for key in self._leaving if is_wanted(intent, key)}
        is_server_gone = any(kind == "server" for kind, _ in gone)
        if before is not None and (is_server_gone or before.servers != intent.servers or before.ports != intent.ports):
            # Servers that leave are stopped before their ports are taken away.
            self._sync_compute()
        self._sync_volumes()
        self._worker.want(intent)

    def _sync_compute(self) -> None:
        if self._compute is None or self._intent is None or self._last is None:
            return
        ready = wired_ports(self._last.intent, self._last.plan, self._last.outcome)
        # A guest that came to a port that carried nothing yet goes on when it does.
        before, now = self._last.intent.ports, self._intent.ports
        ready -= {id for id in ready & now.keys() if now[id].admin_state_up and not before[id].admin_state_up}
        self._looked_for = frozenset(id for kind, id in self._leaving if kind == "server")
        there = frozenset[str]()
        if self._volumes is not None:
            there = frozenset(report.id for report in self._volumes.reports()[0] if report.state == "ready")
            # One that comes from another host is nobody's before the API has heard that it is whole.
            there -= {each.id for each in self._intent.volumes.values() if each.take is not None or each.is_elsewhere}
            present = {each.name for each in self._volumes.drivers.told() if each.fault is None}
            named = (each for server in self._intent.servers.values() for each in server.volumes)
            there |= {each.volume_id for each in named if each.is_elsewhere and each.backend in present}
        self._compute.sync(self._intent.servers, self._intent.ports, ready, self._looked_for, there)
        self._compute.keep_images(self._intent.cached_images)

    def _sync_volumes(self) -> None:
        """Nothing of them waits for what a pass makes."""
        if self._volumes is not None and self._intent is not None:
            self._looked_for_volumes = frozenset(key for key in self._leaving if key[0] in _VOLUMES)
            intent = self._intent
            self._volumes.sync(intent.volumes, intent.volume_snapshots, self._looked_for_volumes, intent.backups)

    # --- from the host to the API ------------------------------------------------------------------------------

    def _heard_compute(self) -> None:
        """In a thread of the compute driver."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._report)

    def _heard_volumes(self) -> None:
        """In a thread of theirs: servers may wait for them."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._sync_compute)
            self._loop.call_soon_threadsafe(self._report)

    def _passed(self, done: Pass) -> None:
        """In the worker's thread."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._settle, done)

    def _settle(self, done: Pass) -> None:
        before = self._last
        self._last = done
        is_same_intent = before is not None and before.intent is done.intent
        if before is None or not is_same_intent or unrealised(before.outcome) != unrealised(done.outcome):
            self._sync_compute()
        self._report()

    def _report(self) -> None:
        if self._last is None:
            return
        done = self._last
        servers: dict[str, ServerReport] = {}
        problems: tuple[tuple[str, str], ...] = ()
        if self._compute is not None:
            servers = {report.id: report for report in self._compute.reports()}
            problems = self._compute.pending()
        volumes: dict[str, VolumeReport] = {}
        snapshots: dict[str, SnapshotReport] = {}
        backups: dict[str, BackupReport] = {}
        if self._volumes is not None:
            of_volumes, of_snapshots, of_backups = self._volumes.reports()
            volumes = {report.id: report for report in of_volumes}
            snapshots = {report.id: report for report in of_snapshots}
            backups = {report.id: report for report in of_backups}
            problems = (*problems, *self._volumes.pending())
        now_s = self._loop.time()
        ports, ports_again_s = self._ports.judge(
            port_reports(done.intent, done.plan, done.outcome, self._settings.mechanism_drivers), now_s
        )
        routers, routers_again_s = self._routers.judge(
            router_reports(done.intent, done.outcome, self._active_routers(done)), now_s
        )
        for again_s in (ports_again_s, routers_again_s):
            if again_s is not None:
                self._loop.call_at(again_s, self._report)
        kept = {**self._kept_servers(), **self._kept_volumes()}
        removed = frozenset(key for key in self._leaving if key not in kept and self._is_removed(key, done))
        self._leaving -= removed
        self._connection.report(
            Findings(
                revision=done.intent.revision,
                ports=ports,
                routers=routers,
                servers=servers,
                volumes=volumes,
                snapshots=snapshots,
                backups=backups,
                removed=removed,
                kept=kept,
                problems=(*problems[:_MOST_PROBLEMS], *done.outcome.pending[:_MOST_PROBLEMS]),
            )
        )

    def _kept_servers(self) -> dict[Key, Kept]:
        """The servers that are to leave and may still be here: all that compute did not look for, or found."""
        leaving = [id for kind, id in self._leaving if kind == "server"]
        if self._compute is None:
            reason = "nobody can look for it: there is no hypervisor"
            runs_servers = "compute" in self._settings.roles
            return {("server", id): Kept("server", id, reason) for id in leaving} if runs_servers else {}
        found = self._compute.kept()
        return {
            ("server", id): Kept("server", id, found.get(id, "was not looked for yet"))
            for id in leaving
            if id in found or id not in self._looked_for
        }

    def _kept_volumes(self) -> dict[Key, Kept]:
        """The volumes, snapshots and backups that are to leave and may still be here."""
        leaving = [key for key in self._leaving if key[0] in _VOLUMES]
        if self._volumes is None:
            reason = "nobody can look for it: this host keeps no volumes"
            return {key: Kept(*key, reason) for key in leaving} if "storage" in self._settings.roles else {}
        found = self._volumes.kept()
        return {
            key: Kept(*key, found.get(key, "was not looked for yet"))
            for key in leaving
            if key in found or key not in self._looked_for_volumes
        }

    def _is_removed(self, key: Key, done: Pass) -> bool:
        if key[0] == "server" or key[0] in _VOLUMES:
            return True
        # Only a pass of an intent without the object can have removed it.
        return not is_wanted(done.intent, key) and is_removed(*key, done.outcome)

    def _active_routers(self, done: Pass) -> frozenset[str]:
        if self._settings.dataplane != "none":
            return done.active_routers
        # Nobody elects without packets: whom the API took for the first one.
        routers = done.intent.routers.values()
        return frozenset(router.id for router in routers if router.ha is not None and router.ha.is_active)

    def _hello(self) -> Hello:
        settings = self._settings
        if self._compute is not None:
            facts = self._compute.facts()
            vcpus, memory_mib, disk_gib = facts.vcpus, facts.memory_mib, facts.disk_gib
            hypervisor = (facts.hypervisor_type, facts.hypervisor_version, facts.virt_type)
        else:
            vcpus, memory_mib, disk_gib = os.cpu_count() or 1, 0, 0
            hypervisor = ("QEMU", 0, "qemu")
        return Hello(
            host=settings.host,
            roles=settings.roles,
            vcpus=vcpus,
            memory_mib=memory_mib,
            disk_gib=disk_gib,
            hypervisor_type=hypervisor[0],
            hypervisor_version=hypervisor[1],
            virt_type=hypervisor[2],
            tunnel_ip=settings.tunnel_ip,
            tunnel_types=settings.tunnel_types,
            bridge_mappings=settings.bridge_mappings,
            firewall_driver=settings.firewall_driver,
            datapath_type=settings.datapath_type,
            dataplane=settings.dataplane,
            mechanism_drivers=settings.mechanism_drivers,
            device_kinds=settings.device_kinds,
            interface_mappings=settings.interface_mappings,
            bandwidths=settings.bandwidths,
            packet_rates=settings.packet_rates,
            started_at=self._started_at,
            volume_backends=self._volumes.drivers.told() if self._volumes is not None else (),
            lacks=() if settings.dataplane == "none" else tuple(name for name in _OPTIONAL if not has_program(name)),
        )

    def _beat(self) -> Heartbeat:
        use = self._compute.use() if self._compute is not None else HostUse(0, 0, 0)
        backends = self._volumes.drivers.told() if self._volumes is not None else ()
        return Heartbeat(use.memory_used_mib, use.disk_used_gib, use.running_vms, backends)

    async def _answer(self, question: Ask) -> str:
        if question.what == "diff":
            found = await asyncio.wrap_future(self._worker.ask_difference())
            pending = self._compute.pending() if self._compute is not None else ()
            found += [Difference("server", "differs", words, reason) for words, reason in pending]
            lacking = self._volumes.pending() if self._volumes is not None else ()
            found += [Difference("volume", "differs", words, reason) for words, reason in lacking]
            return "\n".join(msgspec.json.encode(difference).decode() for difference in found)
        if question.what in OF_GUESTS:
            return await self._guests.answer(question)
        if question.what.startswith(OF_CONSOLES):
            return await self._consoles.answer(question)
        if question.what == "unmanaged":
            if self._volumes is None:
                raise NoVolumes(f"host {self._settings.host} keeps no volumes")
            idle = await asyncio.to_thread(unmanaged, self._volumes.drivers, question.id)
            return msgspec.json.encode(idle).decode()
        if question.what == "counters":
            return msgspec.json.encode(
                await self._counted(msgspec.json.decode(question.text, type=CounterQuestion))
            ).decode()
        raise ValueError(f'the question "{question.what}" is not known on this host')

    async def _counted(self, question: CounterQuestion) -> list[Counter]:
        """One question at a time: whoever asks often waits, and the rest of the host does not."""
        done = self._last
        if done is None or self._settings.dataplane == "none":
            return [Counter()] * len(question.places)
        async with self._counting:
            return await asyncio.to_thread(counters, done.plan, question.places)


@click.command()
@click.option("--settings", "path", required=True, type=click.Path(path_type=Path), help="The host's agent.json.")
@click.option("--debug", is_flag=True, help="Log more.")
def main(path: Path, debug: bool) -> None:
    """Keep one host as the API says it should be."""
    logs.configure(sys.stderr, debug=debug)
    try:
        settings = msgspec.json.decode(path.read_bytes(), type=HostSettings)
    except (OSError, msgspec.DecodeError) as error:
        raise click.ClickException(f"cannot read the settings in {path}: {error}") from error
    try:
        mechanisms = host_mechanisms_by_name(settings.mechanism_drivers)
        table_names(mechanisms)
    except (UnknownMechanism, UnfitTable) as error:
        log.error("cannot wire ports", exc_info=error)
        raise click.ClickException(str(error)) from None
    asyncio.run(_run(_with_device_kinds(settings), mechanisms))
    # Threads that wait for libvirt or the switch must not keep a told-to-stop agent alive.
    log.info("stopped", host=settings.host)
    sys.stderr.flush()
    os._exit(0)


def _with_device_kinds(settings: HostSettings) -> HostSettings:
    """The settings, with what the kernel of this host says that it makes."""
    if settings.dataplane == "none":
        return settings
    kinds = known_kinds(settings.device_kinds)
    lacking = sorted(set(settings.device_kinds) - set(kinds))
    if lacking and LINUX_BRIDGE in settings.mechanism_drivers:
        log.warning("the kernel makes no devices of some kinds", kinds=",".join(lacking))
    return msgspec.structs.replace(settings, device_kinds=kinds)


async def _run(settings: HostSettings, mechanisms: Sequence[HostMechanism]) -> None:
    loop = asyncio.get_running_loop()
    volumes = None
    if "storage" in settings.roles:
        try:
            volumes = await asyncio.to_thread(open_volumes, settings)
        except OSError as error:
            log.error("no volumes can be kept on this host", reason=str(error))
    compute = None
    if "compute" in settings.roles:
        try:
            plug = plug_of(mechanisms, settings)
            source = None if volumes is None else Exports(volumes.drivers, partial(fetch_key, settings))
            compute = await asyncio.to_thread(open_compute, _with_known_virt_type(settings), plug, source)
            _remember_virt_type(settings, compute.facts().virt_type)
        except NoHypervisor as error:
            log.error("no servers can run on this host", reason=str(error))
    agent = asyncio.create_task(Agent(settings, mechanisms, loop, compute, volumes).run())
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, agent.cancel)
    log.info("started", host=settings.host, dataplane=settings.dataplane, roles=",".join(settings.roles))
    try:
        await agent
    except asyncio.CancelledError:
        log.info("told to stop", host=settings.host)


def _with_known_virt_type(settings: HostSettings) -> HostSettings:
    """The settings, with what an earlier agent found out about KVM since the machine started.

    Where KVM hangs, finding out takes 2 s, and an agent that comes back should be back at once.
    """
    if settings.virt_type == "auto" and settings.dataplane != "none":
        with contextlib.suppress(OSError):
            boot_id, _, virt_type = _virt_type_file(settings).read_text(encoding="ascii").strip().partition(" ")
            if boot_id == _boot_id() and virt_type == "qemu":
                return msgspec.structs.replace(settings, virt_type="qemu")
    return settings


def _remember_virt_type(settings: HostSettings, virt_type: str) -> None:
    with contextlib.suppress(OSError):
        path = _virt_type_file(settings)
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"{_boot_id()} {virt_type}\n", encoding="ascii")


def _virt_type_file(settings: HostSettings) -> Path:
    return Path(settings.state_dir) / "run" / "virt-type"


def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()

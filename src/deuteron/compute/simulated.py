"""Servers that are only told about: for a cloud whose API works and whose data plane does not exist.

Every server is at once what it should be, and its console says that it is not there. It keeps nothing on disk:
after a restart of the agent the intent says again what there is.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Mapping, Set
from contextlib import AbstractContextManager, nullcontext

from deuteron.compute.contract import ConsoleUnavailable, HostFacts, HostUse, NoSuchConsole, NotRunning
from deuteron.compute.domain import instance_name
from deuteron.model.intent import (
    GuestFigures,
    HostSettings,
    IntentCachedImage,
    IntentPort,
    IntentServer,
    LiveReport,
    ServerReport,
)

SIMULATED_CONSOLE = (
    "This cloud runs without a data plane (deuteron up --dataplane none).\n"
    "The server exists in the API only: no virtual machine was started, and there is no console to show.\n"
)

NO_DISK = "cannot copy a server's disk: this cloud runs without a data plane, so the server has none"


class SimulatedCompute:
    """`ComputeDriver` without virtual machines."""

    def __init__(self, settings: HostSettings, facts: HostFacts) -> None:
        self.on_change: Callable[[], None] = lambda: None
        self._host = settings.host
        self._facts = facts
        self._lock = threading.Lock()
        self._servers: dict[str, IntentServer] = {}
        self._waiting: frozenset[str] = frozenset()
        self._volumes_ready: frozenset[str] = frozenset()

    def facts(self) -> HostFacts:
        return self._facts

    def use(self) -> HostUse:
        with self._lock:
            running = [server for server in self._servers.values() if server.power in ("running", "paused")]
        disk = sum(server.root_disk_gib + server.ephemeral_disk_gib for server in running)
        return HostUse(sum(server.memory_mib for server in running), disk, len(running))

    def sync(
        self,
        servers: Mapping[str, IntentServer],
        ports: Mapping[str, IntentPort],
        taps_ready: Set[str],
        leaving: Set[str] = frozenset(),
        volumes_ready: Set[str] = frozenset(),
    ) -> None:
        with self._lock:
            before = (self._servers, self._waiting, self._volumes_ready)
            known, self._servers = self._servers, dict(servers)
            self._volumes_ready = frozenset(volumes_ready)
            self._waiting = frozenset(
                server.id
                for server in servers.values()
                if server.power != "shutdown"
                and not (
                    all(port.port_id in taps_ready for port in server.ports)
                    and (server.id in known or all(each.volume_id in volumes_ready for each in server.volumes))
                )
            )
            changed = before != (self._servers, self._waiting, self._volumes_ready)
        if changed:
            self.on_change()

    def keep_images(self, images: Mapping[str, IntentCachedImage]) -> None:
        return None

    def kept(self) -> Mapping[str, str]:
        return {}

    def reports(self) -> tuple[ServerReport, ...]:
        with self._lock:
            return tuple(
                ServerReport(
                    id=server.id,
                    state="building" if server.id in self._waiting else server.power,
                    reboot_generation=server.reboot_generation,
                    build_generation=server.build_generation,
                    shape_generation=server.shape_generation,
                    instance_name=instance_name(server.id),
                    volumes=tuple(each.volume_id for each in server.volumes if each.volume_id in self._volumes_ready),
                    snapshot=server.snapshot,
                    snapshot_fault=None if server.snapshot is None else NO_DISK,
                    move_fault=None if server.give is None else NO_DISK,
                    live=_live(server),
                )
                for server in self._servers.values()
            )

    def pending(self) -> tuple[tuple[str, str], ...]:
        with self._lock:
            return tuple(
                (f"server {server_id}", "waits until its ports are wired and its volumes are there")
                for server_id in sorted(self._waiting)
            )

    def console_log(self, server_id: str, lines: int = -1) -> str:
        with self._lock:
            if server_id not in self._servers:
                raise ConsoleUnavailable(f"server {server_id} has no console log on host {self._host}")
        return (
            "".join(SIMULATED_CONSOLE.splitlines(keepends=True)[-lines:] if lines else "")
            if lines >= 0
            else SIMULATED_CONSOLE
        )

    def check_console(self, server_id: str, kind: str) -> None:
        raise NoSuchConsole("this cloud runs without a data plane, so no guest has a screen or a terminal")

    def open_console(self, server_id: str, kind: str) -> socket.socket:
        raise NoSuchConsole("this cloud runs without a data plane, so no guest has a screen or a terminal")

    def diagnostics(self, server_id: str) -> GuestFigures:
        raise NotRunning("this cloud runs without a data plane, so no guest runs that could be looked at")

    def inject_nmi(self, server_id: str) -> None:
        raise NotRunning("this cloud runs without a data plane, so no guest runs that could be interrupted")

    def set_password(self, server_id: str, user: str, password: str) -> bool:
        raise NotRunning("this cloud runs without a data plane, so no guest runs that could be asked")

    def quiet(self, volume_id: str) -> AbstractContextManager[None]:
        return nullcontext()

    def grow(self, volume_id: str, size_gib: int) -> bool:
        return False

    def close(self) -> None:
        pass


def _live(server: IntentServer) -> LiveReport | None:
    """There is nothing to send, so all of it is there at once."""
    if server.leave is not None:
        return LiveReport(server.leave, "sent")
    return None if server.come is None else LiveReport(server.come, "loaded")

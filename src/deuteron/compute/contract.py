"""What the agent may ask of the part that runs virtual machines.

`sync` says what should be and returns at once; threads make it so, each server on its own, and call
`on_change` when something about a server became different. What is true is read with `reports`.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping, Set
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

import msgspec

from deuteron.model.connections import FileConnection, HeldConnection
from deuteron.model.intent import GuestFigures, IntentCachedImage, IntentPort, IntentServer, ServerReport, ServerVolume


class HostFacts(msgspec.Struct, frozen=True):
    """What the host can give to servers; the agent sends it in its `Hello`."""

    vcpus: int
    memory_mib: int
    disk_gib: int
    hypervisor_type: str
    hypervisor_version: int
    virt_type: str


class HostUse(msgspec.Struct, frozen=True):
    """What servers use of the host now, for the heartbeat."""

    memory_used_mib: int
    disk_used_gib: int
    running_vms: int


class VolumeSource(Protocol):
    """What keeps the volumes of this host, as far as servers need it. Sizes are in GiB.

    Raises: DiskFailure of `images` for what cannot be had.
    """

    def export(self, volume: ServerVolume, folder: Path) -> FileConnection | HeldConnection:
        """Let a server have the volume, which finds its files in the folder."""
        ...

    def withdraw(self, backend: str, volume_id: str, folder: Path) -> None:
        """Take it out of the folder again."""
        ...


class ConsoleUnavailable(Exception):
    """There is no console log for the server on this host."""


class NoSuchConsole(Exception):
    """The server's guest has no console of that kind."""


class NotRunning(Exception):
    """There is no running guest of the server on this host."""


class AgentRefused(Exception):
    """The agent in the guest, or libvirt, did not do what was asked."""


class ComputeDriver(Protocol):
    """The virtual machines of one host."""

    on_change: Callable[[], None]
    """Called from any thread, after `reports` would answer differently. The agent sets it before the first sync."""

    def facts(self) -> HostFacts: ...

    def use(self) -> HostUse: ...

    def sync(
        self,
        servers: Mapping[str, IntentServer],
        ports: Mapping[str, IntentPort],
        taps_ready: Set[str],
        leaving: Set[str] = frozenset(),
        volumes_ready: Set[str] = frozenset(),
    ) -> None:
        """Makes `servers`, and only them, exist; does not block.

        `servers` is complete: what is not in it is removed, with its files. `taps_ready` holds the ids of
        the ports whose device (tap, or qbr bridge) is there and wired; a server starts when all of its
        ports are in it, and its volumes in `volumes_ready`, so call again when that changes. `leaving` holds
        servers of which somebody waits to hear that they are gone: they are looked for, also when this driver
        knows nothing of them.
        """
        ...

    def keep_images(self, images: Mapping[str, IntentCachedImage]) -> None:
        """Fetches `images`, and keeps them, whatever servers need; does not block. It is complete."""
        ...

    def kept(self) -> Mapping[str, str]:
        """Servers that are not wanted and may still be there, each with the reason.

        A `leaving` server that was passed to `sync` is in it until nothing of it is left: it was looked for, its domain
        and its files are not there.
        """
        ...

    def reports(self) -> tuple[ServerReport, ...]:
        """One report for each server that is wanted or of which something is still left."""
        ...

    def pending(self) -> tuple[tuple[str, str], ...]:
        """What is not as it should be yet: the server in words, and why; for `Report.problems`."""
        ...

    def console_log(self, server_id: str, lines: int = -1) -> str:
        """The last `lines` lines (all for -1) the server wrote to its serial console.

        Raises: ConsoleUnavailable if there is no such server here.
        """
        ...

    def check_console(self, server_id: str, kind: str) -> None:
        """Whether somebody could look at the console: "vnc", "spice" or "serial". Asks libvirt.

        Raises: NotRunning; NoSuchConsole.
        """
        ...

    def open_console(self, server_id: str, kind: str) -> socket.socket:
        """Somebody looks at the console: its bytes, both ways, until either end closes. Raises: as `check_console`."""
        ...

    def diagnostics(self, server_id: str) -> GuestFigures:
        """How the guest does now. Asks libvirt, which may take some ms.

        Raises: NotRunning.
        """
        ...

    def inject_nmi(self, server_id: str) -> None:
        """Interrupt the guest so that it cannot but notice, on each of its processors; what it does then is its own.

        Raises: NotRunning.
        """
        ...

    def set_password(self, server_id: str, user: str, password: str) -> bool:
        """Have the agent in the guest set the password of a user; False where no agent answers. Takes up to 15 s.

        Raises: NotRunning; AgentRefused.
        """
        ...

    def quiet(self, volume_id: str) -> AbstractContextManager[None]:
        """While it lasts, the server that has the volume writes nothing to it: it stands still, or stays off.

        Raises: OSError if it cannot be had to.
        """
        ...

    def grow(self, volume_id: str, size_gib: int) -> bool:
        """Let the server that runs with the volume see it larger; False where none runs with it. Raises: OSError."""
        ...

    def close(self) -> None:
        """Ends the threads. The virtual machines stay as they are."""
        ...

"""The line to libvirtd, and the domains that are ours: found, looked at, switched off."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

import libvirt

from deuteron.compute import described
from deuteron.compute import domain as domains
from deuteron.compute.steps import DomainState, ObservedServer
from deuteron.compute.tools import DiskFailure

_STATES: dict[int, DomainState] = {
    libvirt.VIR_DOMAIN_NOSTATE: "running",
    libvirt.VIR_DOMAIN_RUNNING: "running",
    libvirt.VIR_DOMAIN_BLOCKED: "running",
    libvirt.VIR_DOMAIN_PAUSED: "paused",
    libvirt.VIR_DOMAIN_SHUTDOWN: "running",
    libvirt.VIR_DOMAIN_SHUTOFF: "shutdown",
    libvirt.VIR_DOMAIN_CRASHED: "crashed",
    libvirt.VIR_DOMAIN_PMSUSPENDED: "suspended",
}


class ServerFailure(Exception):
    """A step failed; the message is the server's fault, in words for its owner."""

    def __init__(self, message: str, details: str = "") -> None:
        super().__init__(message)
        self.details = details


class Libvirtd:
    """A connection that is made anew when it broke. Any thread may use it; its errors are libvirt's."""

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._connection: libvirt.virConnect | None = None
        self._lock = threading.Lock()
        libvirt.registerErrorHandler(lambda context, error: None, None)

    def close(self) -> None:
        with self._lock:
            if self._connection is not None:
                with contextlib.suppress(libvirt.libvirtError):
                    self._connection.close()
                self._connection = None

    def connect(self) -> libvirt.virConnect:
        """The connection to libvirtd, made anew when it broke."""
        with self._lock:
            if self._connection is not None:
                if self._connection.isAlive():
                    return self._connection
                with contextlib.suppress(libvirt.libvirtError):
                    self._connection.close()
                self._connection = None
            self._connection = libvirt.open(self._uri)
            return self._connection

    def find(self, server_id: str) -> libvirt.virDomain | None:
        """The server's domain, if it is there."""
        try:
            return self.connect().lookupByUUIDString(server_id)
        except libvirt.libvirtError as error:
            if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
                return None
            raise

    def domain(self, server_id: str) -> libvirt.virDomain:
        """Raises: ServerFailure when it is not there."""
        found = self.find(server_id)
        if found is None:
            raise ServerFailure(f"the domain {domains.instance_name(server_id)} went away")
        return found

    def states(self) -> dict[str, tuple[int, ...]]:
        """State of every domain that is ours, by server id."""
        connection = self.connect()
        found: dict[str, tuple[int, ...]] = {}
        for dom in connection.listAllDomains():
            try:
                dom.metadata(libvirt.VIR_DOMAIN_METADATA_ELEMENT, domains.MARK_NAMESPACE)
                found[dom.UUIDString()] = tuple(dom.state())
            except libvirt.libvirtError as error:
                if error.get_error_code() not in (libvirt.VIR_ERR_NO_DOMAIN_METADATA, libvirt.VIR_ERR_NO_DOMAIN):
                    raise
        return found

    def observe(
        self, server_id: str, built: int | None, has_files: bool, kept: frozenset[int] = frozenset()
    ) -> ObservedServer:
        """What is there of the server; `built`, `has_files` and `kept` are of its folder.

        Raises: ServerFailure, libvirtError.
        """
        dom = self.find(server_id)
        if dom is None:
            return ObservedServer(server_id, "absent", build_generation=built, has_files=has_files, kept=kept)
        try:
            xml = dom.XMLDesc(0)
            number, reason = dom.state()
            saved = bool(dom.hasManagedSaveImage()) if not dom.isActive() else False
        except libvirt.libvirtError as error:
            if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
                return ObservedServer(server_id, "absent", build_generation=built, has_files=has_files, kept=kept)
            raise
        mark = described.read_mark(xml)
        if mark is None:
            raise ServerFailure(f'a domain with the id {server_id} is there ("{dom.name()}"), and it is not ours')
        state = _STATES.get(number, "running")
        return ObservedServer(
            server_id,
            "suspended" if saved else state,
            power_applied=mark.power,
            reboot_generation=mark.reboot_generation,
            shape_generation=mark.shape_generation,
            build_generation=built,
            ended_by_guest=state == "shutdown" and reason == libvirt.VIR_DOMAIN_SHUTOFF_SHUTDOWN,
            taps=frozenset(described.interface_taps(xml)),
            volumes=frozenset(described.volume_disks(xml)),
            has_files=has_files,
            kept=kept,
        )


@contextlib.contextmanager
def unless(*codes: int) -> Iterator[None]:
    """Lets libvirt's errors with these codes pass: what was asked for is so already."""
    try:
        yield
    except libvirt.libvirtError as error:
        if error.get_error_code() not in codes:
            raise


def is_away(error: Exception) -> bool:
    """Whether libvirtd itself could not be reached."""
    return isinstance(error, libvirt.libvirtError) and error.get_error_domain() == libvirt.VIR_FROM_RPC


def switch_off(dom: libvirt.virDomain) -> None:
    """As by pulling the plug; nothing when it is off already."""
    if dom.isActive():
        with unless(libvirt.VIR_ERR_OPERATION_INVALID, libvirt.VIR_ERR_NO_DOMAIN):
            dom.destroy()


def details_of(error: Exception) -> str:
    """What an administrator may want to know of the error."""
    if isinstance(error, ServerFailure | DiskFailure):
        return error.details
    if isinstance(error, libvirt.libvirtError):
        return f"libvirt error {error.get_error_code()} in domain {error.get_error_domain()}: {error}"
    return f"{type(error).__name__}: {error}"

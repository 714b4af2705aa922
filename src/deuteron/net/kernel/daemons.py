"""dnsmasq, radvd and keepalived: daemons that outlive the agent, with the files they read.

Mark: a process whose command line holds a path inside its own folder below `base_dir`
(dnsmasq: `<base_dir>/<network>/`), and that folder. Nothing else is signalled.

They are started in their namespace, in a session of their own, and put themselves into the
background only when they are ready; a failure to start is seen at once. A restarted agent
finds them again by /proc.

Crash: files are replaced one by one, each by rename. The folder's `unapplied` file is written before
the first replacement and removed after the daemon was told, so a crash between leaves a difference.
`devices` holds the indexes of the namespace's devices at the daemon's start: a daemon keeps sockets
bound to a device that was replaced (Open vSwitch restarted), and is then restarted. keepalived follows devices that
come and go by itself, and is restarted only for its `link`: as the active one it would lose its addresses to another.

Before a line leaves dnsmasq's `host` file, dnsmasq is told that the lease ends (`leases`): it would refuse the address
to the next port otherwise.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from deuteron.net.delta import Delta
from deuteron.net.kernel import rtnetlink as nl
from deuteron.net.kernel.driver import Applied, KernelError, Scope, Unavailable
from deuteron.net.kernel.leases import end_lease, leases
from deuteron.net.kernel.namespaces import Namespaces
from deuteron.net.kernel.programs import PATH, is_readable
from deuteron.net.rows import Dnsmasq, Keepalived, Radvd

R = TypeVar("R", bound=Dnsmasq | Radvd | Keepalived)

_UNAPPLIED = "unapplied"
_DEVICES = "devices"
_HOSTS = "host"
_STOP_TIMEOUT_S = 3.0
_START_TIMEOUT_S = 10.0
_AT_ONCE = 8
"""Daemons that start side by side: most of a start is waiting."""


@dataclass(frozen=True)
class _Process:
    pid: int
    arguments: tuple[str, ...]
    namespace: int
    """Inode of its network namespace, 0 if unreadable."""
    children: tuple[int, ...] = ()
    """radvd keeps a privileged child with the same command line, which ends a moment after it."""


@dataclass(frozen=True)
class _Daemon:
    """What both kinds of row come down to."""

    namespace: str
    directory: str
    command: tuple[str, ...]
    files: tuple[tuple[str, str], ...]
    link: str | None = None
    """The one device whose replacement matters; None for all."""
    leftovers: tuple[str, ...] = ()
    """Files of one that was killed, which keep the next from starting."""


@dataclass(frozen=True)
class _Starting:
    """A daemon on its way to the background, and what is written down when it is there."""

    process: subprocess.Popen[bytes]
    handle: int
    complaints: int
    folder: Path
    devices: str


class _DaemonHost:
    """Starts, finds, tells and stops the daemons of one program."""

    def __init__(self, namespaces: Namespaces, sockets: nl.NetlinkSockets, program: str, base_dir: str) -> None:
        self.writes: Counter[str] = Counter()
        self.touched: set[str] = set()
        """Folders written to, for whoever hears of changes of others; that one empties it."""
        self._namespaces = namespaces
        self._sockets = sockets
        self._program = program
        self._base_dir = base_dir

    def processes(self) -> dict[str, list[_Process]]:
        """Our daemons by the name of their folder."""
        found: dict[str, list[_Process]] = {}
        prefix = self._base_dir.rstrip("/") + "/"
        for entry in os.listdir("/proc"):
            if not entry.isdigit():
                continue
            try:
                with open(f"/proc/{entry}/cmdline", "rb") as file:
                    arguments = tuple(file.read().decode(errors="replace").rstrip("\0").split("\0"))
            except OSError:
                continue
            if os.path.basename(arguments[0]) != self._program:
                continue
            path = next((word.partition(prefix)[2] for word in arguments if prefix in word), None)
            if path is None:
                continue
            try:
                namespace = os.stat(f"/proc/{entry}/ns/net").st_ino
            except OSError:
                namespace = 0
            found.setdefault(path.split("/", 1)[0], []).append(_Process(int(entry), arguments, namespace))
        return {name: _without_children(group) for name, group in found.items()}

    def folders(self) -> set[str]:
        try:
            return set(os.listdir(self._base_dir))
        except FileNotFoundError:
            return set()

    def fault(self, daemon: _Daemon, processes: list[_Process]) -> str | None:
        """What is wrong with a daemon, in a word: "restart", "files", or None."""
        if len(processes) != 1 or processes[0].arguments[1:] != daemon.command[1:]:
            return "restart"
        if processes[0].namespace != self._namespaces.inode(daemon.namespace):
            return "restart"
        folder = Path(daemon.directory)
        if _read(folder / _DEVICES) != self._devices(daemon):
            return "restart"
        if (folder / _UNAPPLIED).exists() or any(_read(folder / name) != text for name, text in daemon.files):
            return "files"
        return None

    def put(self, daemon: _Daemon, processes: list[_Process]) -> _Starting | None:
        """Make a daemon as wanted. One that has to be started is begun: `end_start` waits for it.

        Raises: KernelError.
        """
        fault = self.fault(daemon, processes)
        if fault is None:
            return None
        self.touched.add(daemon.directory)
        folder = Path(daemon.directory)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / _UNAPPLIED).touch()
            for name, text in daemon.files:
                if _read(folder / name) != text:
                    if name == _HOSTS and fault == "files":
                        # Before the file forgets whose they were: a crash in between repeats it.
                        self._end_leases(daemon.namespace, leases(_read(folder / name) or "") - leases(text))
                    _replace(folder / name, text)
                    self.writes[f"{self._program} file written"] += 1
            if fault == "restart":
                for process in processes:
                    _stop(process)
                return self._start(daemon)
            os.kill(processes[0].pid, signal.SIGHUP)
            self.writes[f"{self._program} told"] += 1
            (folder / _UNAPPLIED).unlink()
        except OSError as error:
            raise KernelError(f"cannot run {self._program} in {daemon.directory}: {error}") from error
        return None

    def remove(self, directory: str, processes: list[_Process]) -> None:
        self.touched.add(directory)
        try:
            for process in processes:
                _stop(process)
                self.writes[f"{self._program} stopped"] += 1
            if os.path.isdir(directory):
                shutil.rmtree(directory)
                self.writes[f"{self._program} folder removed"] += 1
        except OSError as error:
            raise KernelError(f"cannot remove {self._program} of {directory}: {error}") from error

    def _end_leases(self, namespace: str, ended: set[tuple[str, str]]) -> None:
        if not ended:
            return
        netlink = self._sockets.to(namespace)
        names = {state.index: state.name for state in netlink.links()}
        devices = {state.interface.partition("/")[0]: names[state.link] for state in netlink.addresses()}
        with self._namespaces.entered(namespace):
            for mac, address in sorted(ended):
                if end_lease(mac, address, devices):
                    self.writes[f"{self._program} lease ended"] += 1

    def _start(self, daemon: _Daemon) -> _Starting:
        devices = self._devices(daemon)
        for name in daemon.leftovers:
            Path(daemon.directory, name).unlink(missing_ok=True)
        complaints = os.memfd_create("complaints", os.MFD_CLOEXEC)
        try:
            with self._namespaces.entered(daemon.namespace):
                process = subprocess.Popen(
                    list(daemon.command),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=complaints,
                    start_new_session=True,
                    cwd="/",
                    env={"PATH": PATH, "LC_ALL": "C"},
                )
        except FileNotFoundError as error:
            os.close(complaints)
            raise Unavailable(f"{self._program} is not installed") from error
        except BaseException:
            os.close(complaints)
            raise
        return _Starting(process, os.pidfd_open(process.pid), complaints, Path(daemon.directory), devices)

    def end_start(self, starting: _Starting) -> None:
        """Wait until a daemon went to the background: it has read its files and opened its sockets.

        Raises: KernelError if it does not within `_START_TIMEOUT_S`, or refuses.
        """
        try:
            if not is_readable(starting.handle, _START_TIMEOUT_S):
                starting.process.kill()
                starting.process.wait()
                raise KernelError(f"{self._program} did not go to the background in {_START_TIMEOUT_S:.0f} s")
            status = starting.process.wait()
            self.writes[f"{self._program} started"] += 1
            if status != 0:
                text = os.pread(starting.complaints, 4096, 0).decode(errors="replace").strip()
                raise KernelError(f"{self._program} refused to start: {text or status}")
            _replace(starting.folder / _DEVICES, starting.devices)
            (starting.folder / _UNAPPLIED).unlink()
        except OSError as error:
            raise KernelError(f"cannot run {self._program} in {starting.folder}: {error}") from error
        finally:
            os.close(starting.handle)
            os.close(starting.complaints)

    def _devices(self, daemon: _Daemon) -> str:
        """The devices that matter and their indexes, "" if there is no such namespace."""
        if self._namespaces.inode(daemon.namespace) is None:
            return ""
        states = self._sockets.to(daemon.namespace).links()
        if daemon.link is not None:
            states = [state for state in states if state.name == daemon.link]
        return "".join(f"{state.index} {state.name}\n" for state in sorted(states, key=lambda state: state.index))


class DnsmasqDriver:
    mark = "a dnsmasq process or folder below the host's dhcp folder"

    def __init__(self, namespaces: Namespaces, sockets: nl.NetlinkSockets, base_dir: str) -> None:
        self._host = _DaemonHost(namespaces, sockets, "dnsmasq", base_dir)
        self._base_dir = base_dir

    @property
    def writes(self) -> Counter[str]:
        return self._host.writes

    @property
    def touched(self) -> set[str]:
        return self._host.touched

    def observe(self, wanted: Mapping[str, Dnsmasq], scope: Scope = None) -> dict[str, Dnsmasq]:
        def unwanted(name: str) -> Dnsmasq:
            return Dnsmasq("", name, f"{self._base_dir}/{name}", ())

        return _observe(self._host, wanted, _dnsmasq, unwanted)

    def apply(self, delta: Delta[str, Dnsmasq]) -> Applied[str]:
        return _apply(self._host, delta, _dnsmasq)


class RadvdDriver:
    mark = "a radvd process or folder below the host's ra folder"

    def __init__(self, namespaces: Namespaces, sockets: nl.NetlinkSockets, base_dir: str) -> None:
        self._host = _DaemonHost(namespaces, sockets, "radvd", base_dir)
        self._base_dir = base_dir

    @property
    def writes(self) -> Counter[str]:
        return self._host.writes

    @property
    def touched(self) -> set[str]:
        return self._host.touched

    def observe(self, wanted: Mapping[str, Radvd], scope: Scope = None) -> dict[str, Radvd]:
        def unwanted(name: str) -> Radvd:
            return Radvd("", name, f"{self._base_dir}/{name}", "")

        return _observe(self._host, wanted, _radvd, unwanted)

    def apply(self, delta: Delta[str, Radvd]) -> Applied[str]:
        return _apply(self._host, delta, _radvd)


class KeepalivedDriver:
    mark = "a keepalived process or folder below the host's ha folder"

    def __init__(self, namespaces: Namespaces, sockets: nl.NetlinkSockets, base_dir: str) -> None:
        self._host = _DaemonHost(namespaces, sockets, "keepalived", base_dir)
        self._base_dir = base_dir
        self._namespaces = namespaces
        self._sockets = sockets

    @property
    def writes(self) -> Counter[str]:
        return self._host.writes

    @property
    def touched(self) -> set[str]:
        return self._host.touched

    def observe(self, wanted: Mapping[str, Keepalived], scope: Scope = None) -> dict[str, Keepalived]:
        def unwanted(name: str) -> Keepalived:
            return Keepalived("", name, f"{self._base_dir}/{name}", "", "", "")

        return _observe(self._host, wanted, _keepalived, unwanted)

    def apply(self, delta: Delta[str, Keepalived]) -> Applied[str]:
        return _apply(self._host, delta, _keepalived)

    def active(self, rows: Iterable[Keepalived]) -> frozenset[str]:
        """Ids of those of the routers that are active here: they have the address that only the active one has."""
        found = set()
        for row in rows:
            try:
                if self._namespaces.inode(row.namespace) is None:
                    continue
                if any(state.interface == row.address for state in self._sockets.to(row.namespace).addresses()):
                    found.add(row.id)
            except KernelError:
                continue  # its namespace just went
        return frozenset(found)


def _keepalived(row: Keepalived) -> _Daemon:
    config, pids = f"{row.directory}/keepalived.conf", ("pid", "pid-vrrp")
    command = (
        "keepalived", "-P", "-f", config, "-p", f"{row.directory}/{pids[0]}", "-r", f"{row.directory}/{pids[1]}",
    )  # fmt: skip
    return _Daemon(row.namespace, row.directory, command, (("keepalived.conf", row.config),), row.link, pids)


def _dnsmasq(row: Dnsmasq) -> _Daemon:
    command = row.arguments if row.arguments and row.arguments[0] == "dnsmasq" else ("dnsmasq", *row.arguments)
    return _Daemon(row.namespace, row.directory, command, row.files)


def _radvd(row: Radvd) -> _Daemon:
    command = ("radvd", "-C", f"{row.directory}/radvd.conf", "-p", f"{row.directory}/radvd.pid", "-m", "syslog")
    return _Daemon(row.namespace, row.directory, command, (("radvd.conf", row.config),))


def _observe(
    host: _DaemonHost, wanted: Mapping[str, R], daemon_of: Callable[[R], _Daemon], unwanted: Callable[[str], R]
) -> dict[str, R]:
    processes = host.processes()
    rows: dict[str, R] = {}
    names = {os.path.basename(daemon_of(row).directory): key for key, row in wanted.items()}
    for name in processes.keys() | host.folders():
        key = names.get(name)
        if key is None:
            rows[name] = unwanted(name)
        elif host.fault(daemon_of(wanted[key]), processes.get(name, [])) is None:
            rows[key] = wanted[key]
        elif name in processes:
            rows[key] = unwanted(name)
    return rows


def _apply(host: _DaemonHost, delta: Delta[str, R], daemon_of: Callable[[R], _Daemon]) -> Applied[str]:
    applied: Applied[str] = Applied()
    processes = host.processes()
    starting: dict[str, _Starting] = {}

    def end_starts() -> None:
        for key, begun in starting.items():
            try:
                host.end_start(begun)
            except KernelError as error:
                applied.failed[key] = str(error)
            else:
                applied.done.add(key)
        starting.clear()

    for key, row in (*delta.remove.items(), *delta.put.items()):
        daemon = daemon_of(row)
        found = processes.get(os.path.basename(daemon.directory), [])
        try:
            if key in delta.remove:
                host.remove(daemon.directory, found)
            elif (begun := host.put(daemon, found)) is not None:
                starting[key] = begun
                if len(starting) == _AT_ONCE:
                    end_starts()
                continue
        except KernelError as error:
            applied.failed[key] = str(error)
        else:
            applied.done.add(key)
    end_starts()
    return applied


def _without_children(group: list[_Process]) -> list[_Process]:
    parents = {process.pid: _parent(process.pid) for process in group}
    return [
        replace(process, children=tuple(pid for pid, parent in parents.items() if parent == process.pid))
        for process in group
        if parents[process.pid] not in parents
    ]


def _parent(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            return int(file.read().rpartition(")")[2].split()[1])
    except (OSError, IndexError, ValueError):
        return 0


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None


def _replace(path: Path, text: str) -> None:
    """Replace a file whole. Readable by all: dnsmasq gives up root before it reads."""
    beside = path.with_name(f".{path.name}.new")
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(beside, "w", encoding="utf-8") as file:
        file.write(text)
        os.fchmod(file.fileno(), 0o644)
    os.replace(beside, path)


def _stop(process: _Process) -> None:
    """End a daemon and wait until it and its children are gone; one that does not listen is killed."""
    handles = []
    for pid in (process.pid, *process.children):
        try:
            handles.append(os.pidfd_open(pid))
        except ProcessLookupError:
            continue
    try:
        for number in (signal.SIGTERM, signal.SIGKILL):
            for handle in handles:
                try:
                    signal.pidfd_send_signal(handle, number)
                except ProcessLookupError:
                    continue
            if all(is_readable(handle, _STOP_TIMEOUT_S) for handle in handles):
                return
        raise KernelError(f"process {process.pid} does not end")
    finally:
        for handle in handles:
            os.close(handle)

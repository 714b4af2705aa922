"""What is worth a look, since something changed that the agent did not change itself.

    Open vSwitch's flow monitors    entries of the bridges
    netlink multicast               devices, addresses, routes, rules, forwarding, in every namespace
    inotify                         namespaces, files of dnsmasq and radvd
    pidfds                          the daemons themselves

The changes that the agent makes are told as well. Those of flows are known by their cookies; those of devices,
addresses and routes by what is wanted of them; those of rules, namespaces and files by where the pass has written
(`touched`). What somebody else does there during the same pass, and what nothing tells of (most settings, sets of
addresses, limits), is found by the turns that look at everything.

Without events the host is kept all the same: no failure here stops anything.
"""

from __future__ import annotations

import os
import select
from collections.abc import Mapping
from pathlib import Path

from deuteron.net.bridge_rows import FDB_TABLE
from deuteron.net.kernel.addresses import is_kernels
from deuteron.net.kernel.conversation import Lost
from deuteron.net.kernel.daemons import DnsmasqDriver, KeepalivedDriver, RadvdDriver
from deuteron.net.kernel.driver import KernelError
from deuteron.net.kernel.flowmonitor import FlowMonitor
from deuteron.net.kernel.inotify import Inotify
from deuteron.net.kernel.iptables import IptablesDriver
from deuteron.net.kernel.multicast import Multicast, Told
from deuteron.net.kernel.namespaces import NamespaceDriver, Namespaces
from deuteron.net.kernel.openflow import FlowDriver
from deuteron.net.kernel.rtnetlink import AddressState, LinkState
from deuteron.net.kernel.sysctl import SysctlDriver
from deuteron.net.reconcile import Reconciler, Turn
from deuteron.net.rows import HOST, Route

_LINK_TABLES = ("device", "interface", "device state")
_ABOUT = {
    "link": _LINK_TABLES,
    "address": ("address",),
    "route": ("route",),
    "setting": ("setting", "device setting"),
    "rules": ("iptables",),
}
_ABOUT_LOST_LINK = (
    *_LINK_TABLES,
    "setting",
    "device setting",
    "address",
    "route",
    "neighbour",
    "proxy neighbour",
    "metadata listener",
)
_MANY_SLICES = 8
_PID_FILES = {"dnsmasq": "pid", "radvd": "radvd.pid", "keepalived": "pid"}


class Events:
    """Belongs to the thread that owns the tables."""

    def __init__(self, namespaces: Namespaces, reconciler: Reconciler, state_dir: str) -> None:
        self._namespaces = namespaces
        self._reconciler = reconciler
        self._tables = {table.name: table for table in reconciler.tables}
        self._base = {
            "dnsmasq": f"{state_dir}/dhcp",
            "radvd": f"{state_dir}/ra",
            "keepalived": f"{state_dir}/ha",
        }
        self._epoll = select.epoll()
        self._multicast = Multicast(namespaces)
        self._inotify = Inotify()
        self._monitors: dict[str, FlowMonitor] = {}
        self._daemons: dict[int, tuple[str, int]] = {}
        """The table and the process id behind each pidfd."""
        self._own_rules: set[str] = set()
        self._own_settings: set[str] = set()
        self._own_places: set[str] = set()
        self._is_election_due = False
        self._tables_due: set[str] = set()
        self._turns_due: list[Turn] = []
        for fd in (*self._multicast.filenos(), self._inotify.fileno()):
            self._epoll.register(fd, select.EPOLLIN)

    def fileno(self) -> int:
        return self._epoll.fileno()

    def close(self) -> None:
        for monitor in self._monitors.values():
            monitor.close()
        for fd in self._daemons:
            os.close(fd)
        self._multicast.close()
        self._inotify.close()
        self._epoll.close()

    @property
    def has_news(self) -> bool:
        """Whether something worth a look was told during the last pass."""
        return bool(self._tables_due or self._turns_due)

    def take_election(self) -> bool:
        """Whether a router that runs on several hosts became active or standby here."""
        is_due, self._is_election_due = self._is_election_due, False
        return is_due

    def take(self) -> tuple[frozenset[str], tuple[Turn, ...]]:
        """Tables to look at wholly, and turns."""
        self._hear()
        tables, self._tables_due = frozenset(self._tables_due), set()
        turns, self._turns_due = tuple(self._turns_due), []
        return tables, turns

    def _hear(self) -> None:
        tables, turns = self._tables_due, self._turns_due
        for bridge in list(self._monitors):
            turns += self._heard_of_flows(bridge, tables)
        turns += self._heard_of_namespaces(tables)
        for folder, name in self._inotify.take():
            turns += self._heard_of_file(folder, name, tables)
        for fd in [fd for fd, _ in self._epoll.poll(0) if fd in self._daemons]:
            tables.add(self._daemons[fd][0])
            self._forget_daemon(fd)

    def settle(self, writes: Mapping[str, int], *, is_first: bool) -> None:
        """A pass has ended that wrote this: what it made is followed from now on."""
        made = self._take_touched("namespace")
        if is_first or made:
            # One that was made again under its name may even have the number of the one before.
            self._multicast.forget(made)
            try:
                self._multicast.follow(self._tables["namespace"].delta.observed)
            except KernelError:
                self._tables_due.add("namespace")
            self._inotify.watch(str(self._namespaces.run_dir))
        for table in _PID_FILES:
            if is_first or f"{table} started" in writes:
                self._follow_daemons(table)
        if "flow" in self._tables:
            self._follow_bridges()
        self._own_rules = self._take_touched("iptables")
        self._own_settings = self._take_touched("setting") | self._take_touched("device setting")
        self._own_places = made.union(*(self._take_touched(table) for table in _PID_FILES))
        self._hear()
        self._own_rules, self._own_settings, self._own_places = set(), set(), set()

    def _take_touched(self, table: str) -> set[str]:
        driver = self._tables[table].driver
        assert isinstance(
            driver, IptablesDriver | SysctlDriver | NamespaceDriver | DnsmasqDriver | RadvdDriver | KeepalivedDriver
        )
        touched = set(driver.touched)
        driver.touched.clear()
        return touched

    def _heard_of_flows(self, bridge: str, tables: set[str]) -> list[Turn]:
        try:
            events = self._monitors[bridge].take()
        except Lost:
            self._monitors.pop(bridge).close()
            tables |= {"bridge", "flow"}
            self._follow_bridges()
            return []
        table = self._tables["flow"]
        flows = table.driver
        assert isinstance(flows, FlowDriver)
        cookies = {event.cookie for event in events if not flows.is_expected(event)}
        if not cookies:
            return []
        pieces = flows.slices_of(bridge, cookies, table.delta.wanted)
        if len(pieces) > _MANY_SLICES:
            tables.add("flow")
            return []
        return [Turn((table,), piece=piece) for piece in pieces]

    def _heard_of_namespaces(self, tables: set[str]) -> list[Turn]:
        try:
            told = self._multicast.take()
        except KernelError:
            # The agent was busy and had made most of it. What others did meanwhile, the turns find.
            return [self._reconciler.turn_of(HOST, _LINK_TABLES)]
        # Of a device, an address or a route that changed several times, the last word counts.
        last = {(item.namespace, item.kind, _which(item)): item for item in told}
        looks: dict[str, set[str]] = {}
        # Who went and is back has lost what it was set to, also when the agent itself has made it again meanwhile.
        lost = [item for item in told if self._is_lost(item)]
        for item in (*lost, *(item for item in last.values() if item not in lost)):
            self._is_election_due |= item.address is not None and self._is_of_election(item.namespace, item.address)
            if item not in lost and self._is_right(item):
                continue
            is_lost_link = item.kind == "link" and item.is_gone
            looks.setdefault(item.namespace, set()).update(_ABOUT_LOST_LINK if is_lost_link else _ABOUT[item.kind])
            if is_lost_link:
                # With its port, of which the switch may tell later: what is missing is said of the port then.
                tables |= {"port", "placement", FDB_TABLE}
                if item.namespace != HOST:
                    tables |= _PID_FILES.keys()
                tables &= self._tables.keys()
        return [self._reconciler.turn_of(namespace, names) for namespace, names in sorted(looks.items())]

    def _is_lost(self, item: Told) -> bool:
        """Whether it says that a device went which is wanted."""
        if item.kind != "link" or not item.is_gone or item.link is None:
            return False
        key = (item.namespace, item.link.name)
        return any(key in self._tables[name].delta.wanted for name in _LINK_TABLES)

    def _is_right(self, item: Told) -> bool:
        """Whether what came is wanted as it is, or what went is not; nobody's business is right, too."""
        namespace = item.namespace
        if item.kind == "rules":
            return namespace in self._own_rules
        if item.kind == "setting":
            return namespace in self._own_settings
        if item.link is not None:
            return self._is_right_link(item, item.link)
        if item.address is not None:
            if not item.address.is_permanent or is_kernels(item.address):
                return True
            wanted = self._tables["address"].delta.wanted
            if any(
                key[0] == namespace and key[2] == item.address.interface and row.by is not None
                for key, row in wanted.items()
            ):
                return True
            is_wanted = any(key[0] == namespace and key[2] == item.address.interface for key in wanted)
            return item.is_gone != is_wanted or (namespace == HOST and not item.is_gone)
        if item.route is not None:
            seen = Route(namespace, item.route.destination, item.route.via, None, table=item.route.table)
            row = self._tables["route"].delta.wanted.get(seen.key)
            if row is not None and row.by is not None:
                return True
            if item.is_gone or namespace == HOST:
                return row is None or not item.is_gone
            return row is not None and row.via == item.route.via
        return False

    def _is_of_election(self, namespace: str, address: AddressState) -> bool:
        rows = self._tables["keepalived"].delta.wanted.values()
        return any(row.namespace == namespace and row.address == address.interface for row in rows)

    def _is_right_link(self, item: Told, state: LinkState) -> bool:
        key = (item.namespace, state.name)
        row = next((row for name in _LINK_TABLES if (row := self._tables[name].delta.wanted.get(key))), None)
        placed = self._tables["placement"].delta.wanted.get(state.name) if "placement" in self._tables else None
        if placed is not None and item.namespace == HOST:
            # On its way from the switch to its namespace, or back on the host since the switch made it anew.
            return item.is_gone
        if row is None:
            return not any(key in self._tables[name].delta.observed for name in _LINK_TABLES)
        if item.is_gone:
            return False
        return row.up == state.is_up and row.mac in (None, state.mac) and row.mtu_bytes in (None, state.mtu_bytes)

    def _heard_of_file(self, folder: str, name: str, tables: set[str]) -> list[Turn]:
        if folder == str(self._namespaces.run_dir):
            if name in self._own_places:
                return []
            if name not in self._tables["namespace"].delta.wanted.keys() | self._tables["namespace"].delta.observed:
                return []
            # What is in a namespace that was replaced is gone with the one before.
            tables |= {"namespace", "placement", *_PID_FILES} & self._tables.keys()
            return [self._reconciler.turn_of(name)]
        if folder not in self._own_places and f"{folder}/{name}" not in self._own_places:
            tables.add(next(table for table, base in self._base.items() if folder.startswith(base)))
        return []

    def _follow_daemons(self, table: str) -> None:
        known = {pid for kind, pid in self._daemons.values() if kind == table}
        self._inotify.watch(self._base[table])
        for row in self._tables[table].delta.wanted.values():
            try:
                self._inotify.watch(row.directory)
                pid = int(Path(row.directory, _PID_FILES[table]).read_text(encoding="ascii"))
                if pid not in known:
                    fd = os.pidfd_open(pid)
                    self._daemons[fd] = (table, pid)
                    self._epoll.register(fd, select.EPOLLIN)
            except (OSError, ValueError):
                continue  # it is not there; the next turn sees that

    def _forget_daemon(self, fd: int) -> None:
        self._epoll.unregister(fd)
        os.close(fd)
        del self._daemons[fd]

    def _follow_bridges(self) -> None:
        """Also those of a switch that came back: its end was heard of, its start by nothing but the next pass."""
        bridges = self._tables["bridge"].delta.observed
        for bridge in self._monitors.keys() - bridges.keys():
            self._monitors.pop(bridge).close()
        for bridge in bridges:
            if bridge not in self._monitors:
                try:
                    self._monitors[bridge] = FlowMonitor(bridge)
                except OSError:
                    continue  # it is not there yet; its flows are looked at when it is
                self._epoll.register(self._monitors[bridge].fileno(), select.EPOLLIN)


def _which(item: Told) -> object:
    """The device, address or route that is told of."""
    if item.link is not None:
        return item.link.name
    if item.address is not None:
        return (item.address.link, item.address.interface)
    return item.route.destination if item.route is not None else None

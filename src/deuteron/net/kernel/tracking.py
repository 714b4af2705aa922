"""Zones of connection tracking that hold only what is allowed: in the switch's datapath, or in the host's kernel.

`TrackedZone` says what may be in a zone. A zone that holds nothing else *is* the wanted row. All connections are looked
at once, by the first observation; after that, those of a zone when its rules have become narrower, and no others: what
is in a zone was let in by its rules. A removed zone is emptied, since its number is given to another port or network.

Mark: zones 1 to 4094 of the datapath, and zones from 4097 of the host's kernel.

Crash: what was not ended is found by the first observation of the next agent.

In the userspace datapath, a connection of ICMPv6 cannot be ended alone: ovs-vswitchd 3.1 ends itself instead (it
takes the type for one of ICMP). Those are left to the mark that the flows set (`net.plan.firewall`).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Protocol

from deuteron.net.connections import Connection, addresses, forbidden, may_forbid, stale_addresses
from deuteron.net.delta import Delta
from deuteron.net.kernel.conntrack import KernelConnections
from deuteron.net.kernel.driver import Applied, KernelError, Scope, Unavailable
from deuteron.net.kernel.unixctl import SwitchControl
from deuteron.net.rows import TrackedPort, TrackedZone

_FIRST_KERNEL_ZONE, _LAST_VLAN = 4097, 4094
_PROTOCOLS = {"icmp": 1, "igmp": 2, "tcp": 6, "udp": 17, "dccp": 33, "icmpv6": 58, "sctp": 132, "udplite": 136}
_LINE = re.compile(
    r"^(\w+),orig=\(src=([^,]+),dst=([^,]+),(?:sport=(\d+),dport=(\d+)|id=(\d+),type=(\d+),code=(\d+))\).*?\bzone=(\d+)",
    re.MULTILINE,
)
_NO_DATAPATH = "no datapaths exist"
_ICMP, _ICMP6 = 1, 58
_UNKNOWN = TrackedPort("", 0, (), ())
"""Stands for whatever let in what is in a zone and not allowed."""


class _Connections(Protocol):
    def held(self, zones: Collection[int] | None = None) -> list[Connection]: ...

    def end(self, connections: Collection[Connection]) -> int: ...


class DatapathConnections:
    """The connections that the switch tracks, through its control socket."""

    def __init__(self, control: SwitchControl) -> None:
        self._control = control

    def held(self, zones: Collection[int] | None = None) -> list[Connection]:
        """Raises: KernelError."""
        self._wait_for_flows()
        try:
            texts = [self._control.ask("dpctl/dump-conntrack", *words) for words in _zone_words(zones)]
        except KernelError as error:
            if _NO_DATAPATH in str(error):
                return []
            raise
        return [
            connection for text in texts for connection in parse_connections(text) if 1 <= connection.zone <= _LAST_VLAN
        ]

    def end(self, connections: Collection[Connection]) -> int:
        """Raises: KernelError."""
        ended = 0
        for connection in connections:
            if connection.protocol != _ICMP6:
                self._control.ask("dpctl/flush-conntrack", f"zone={connection.zone}", tuple_of(connection))
                ended += 1
        return ended

    def _wait_for_flows(self) -> None:
        """Until the datapath's cache has been gone through: so long, it lets in what changed flows would not."""
        try:
            self._control.ask("revalidator/wait")
        except Unavailable:
            raise
        except KernelError:
            pass  # with no datapath, or several, the switch does not wait

    def empty(self, zone: int) -> None:
        """Raises: KernelError."""
        try:
            self._control.ask("dpctl/flush-conntrack", f"zone={zone}")
        except Unavailable:
            return  # a switch that is not there holds nothing
        except KernelError as error:
            if _NO_DATAPATH not in str(error):
                raise


class TrackingDriver:
    mark = f"zones 1 to {_LAST_VLAN} of the datapath, zones from {_FIRST_KERNEL_ZONE} of the host's kernel"

    def __init__(self, control: SwitchControl, kernel: KernelConnections) -> None:
        self.writes: Counter[str] = Counter()
        self._datapath = DatapathConnections(control)
        self._kernel = kernel
        self._clean: dict[int, TrackedZone] | None = None
        """Each zone as it was last found or made; None before the first look."""
        self._strangers: dict[int, frozenset[str]] = {}
        """Addresses that the first look found in a zone and that no port of it had: perhaps of a port that is gone.

        A port that gets one of them does not get its connections."""

    def observe(self, wanted: Mapping[int, TrackedZone], scope: Scope = None) -> dict[int, TrackedZone]:
        if self._clean is None:
            self._clean = self._look(wanted)
        return dict(self._clean)

    def apply(self, delta: Delta[int, TrackedZone]) -> Applied[int]:
        applied: Applied[int] = Applied()
        for zone, row in delta.put.items():
            self._try(applied, zone, partial(self._make, row))
        for zone, row in delta.remove.items():
            self._try(applied, zone, partial(self._empty, row))
        return applied

    def _try(self, applied: Applied[int], zone: int, act: Callable[[], None]) -> None:
        try:
            act()
        except KernelError as error:
            applied.failed[zone] = f"cannot end the connections of zone {zone}: {error}"
        else:
            applied.done.add(zone)

    def _make(self, row: TrackedZone) -> None:
        """Raises: KernelError."""
        if self._clean is None:
            self._clean = {}
        before, strangers = self._clean.get(row.zone), self._strangers.get(row.zone, frozenset())
        stale = stale_addresses(before, row) | (strangers & (addresses(row) - addresses(before)))
        if stale or may_forbid(before, row):
            backend = self._of(row.place)
            self._end(backend, forbidden(row, backend.held([row.zone]), stale))
        self._strangers[row.zone] = strangers - stale
        self._clean[row.zone] = row

    def _empty(self, row: TrackedZone) -> None:
        """Raises: KernelError."""
        if row.place == "datapath":
            self._datapath.empty(row.zone)
        else:
            self._end(self._kernel, self._kernel.held([row.zone]))
        self._strangers.pop(row.zone, None)
        if self._clean is not None:
            self._clean.pop(row.zone, None)

    def _look(self, wanted: Mapping[int, TrackedZone]) -> dict[int, TrackedZone]:
        """Zones that hold something: as wanted, or as none when what they hold is not allowed."""
        held: dict[int, list[Connection]] = {}
        found: dict[int, TrackedZone] = {}
        for place in ("datapath", "kernel"):
            try:
                connections = self._of(place).held()
            except Unavailable:
                if any(row.place == place for row in wanted.values()):
                    raise
                continue
            for connection in connections:
                if place == "datapath" or connection.zone >= _FIRST_KERNEL_ZONE:
                    held.setdefault(connection.zone, []).append(connection)
            for zone in held:
                found.setdefault(zone, TrackedZone("datapath" if place == "datapath" else "kernel", zone))
        for zone, connections in held.items():
            ends = {end for connection in connections for end in (connection.source, connection.target)}
            self._strangers[zone] = frozenset(ends) - addresses(wanted.get(zone))
        for zone, row in wanted.items():
            is_right = not forbidden(row, held.get(zone, ()))
            found[zone] = row if is_right else TrackedZone(row.place, zone, (_UNKNOWN,))
        return found

    def _end(self, connections: _Connections, ending: Collection[Connection]) -> None:
        ended = connections.end(ending)
        if ended:
            self.writes["connection ended"] += ended

    def _of(self, place: str) -> _Connections:
        return self._datapath if place == "datapath" else self._kernel


def parse_connections(text: str) -> list[Connection]:
    """The connections in the output of `ovs-appctl dpctl/dump-conntrack`."""
    found = []
    for name, source, target, sport, dport, icmp_id, kind, code, zone in _LINE.findall(text):
        protocol = _PROTOCOLS.get(name) or (int(name) if name.isdecimal() else 0)
        low, high = (int(sport), int(dport)) if sport else (int(kind), int(code))
        found.append(Connection(int(zone), protocol, source, target, low, high, icmp_id))
    return found


def tuple_of(connection: Connection) -> str:
    """A connection as `dpctl/flush-conntrack` takes it."""
    six = ":" in connection.source
    ends = ("ct_ipv6_src", "ct_ipv6_dst") if six else ("ct_nw_src", "ct_nw_dst")
    words = f"{ends[0]}={connection.source},{ends[1]}={connection.target},ct_nw_proto={connection.protocol}"
    if connection.protocol == _ICMP:
        return f"{words},icmp_id={connection.handle},icmp_type={connection.low},icmp_code={connection.high}"
    if connection.low or connection.high:
        return f"{words},ct_tp_src={connection.low},ct_tp_dst={connection.high}"
    return words


def _zone_words(zones: Collection[int] | None) -> list[tuple[str, ...]]:
    return [()] if zones is None else [(f"zone={zone}",) for zone in zones]

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
from collections.abc import Collection, Mapping
from typing import Protocol

from deuteron.net.connections import Connection, addresses, forbidden, may_forbid, stale_addresses
from deuteron.net.delta import Delta
from deuteron.net.kernel.conntrack import KernelConnections
from deuteron.net.kernel.driver import Applied, KernelError, Scope, Unavailable
from deuteron.net.kernel.unixctl import Sweeps, SwitchControl
from deuteron.net.rows import TrackedPort, TrackedZone

_FIRST_KERNEL_ZONE, _LAST_VLAN = 4097, 4094
_PROTOCOLS = {"icmp": 1, "igmp": 2, "tcp": 6, "udp": 17, "dccp": 33, "icmpv6": 58, "sctp": 132, "udplite": 136}
_LINE = re.compile(
    r"^(\w+),orig=\(src=([^,]+),dst=([^,]+),(?:sport=(\d+),dport=(\d+)|id=(\d+),type=(\d+),code=(\d+))\).*?\bzone=(\d+)",
    re.MULTILINE,
)
_NO_DATAPATH = "no datapaths exist"
_ICMP, _ICMP6 = 1, 58
_FEW_ZONES = 2
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

    def wait_for_flows(self) -> None:
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

    def __init__(self, control: SwitchControl, kernel: KernelConnections, sweeps: Sweeps | None = None) -> None:
        """Without `sweeps`, `apply` waits until the switch has gone through its cache."""
        self.writes: Counter[str] = Counter()
        self._datapath = DatapathConnections(control)
        self._kernel = kernel
        self._sweeps = sweeps
        self._sweep_of: dict[int, tuple[TrackedZone, int]] = {}
        """Zones that are to be judged, each for its row, after a sweep with this number."""
        self._next_sweep: int | None = None
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
        judged: dict[str, list[TrackedZone]] = {}
        for row in delta.put.values():
            if not self._is_narrower(row):
                self._settle(row, applied)
            elif row.place == "datapath" and not self._is_swept(row, applied):
                continue
            else:
                judged.setdefault(row.place, []).append(row)
        self._next_sweep = None
        for place, rows in judged.items():
            self._judge(place, rows, applied)
        for zone, row in delta.remove.items():
            try:
                self._empty(row)
            except KernelError as error:
                applied.failed[zone] = f"cannot end the connections of zone {zone}: {error}"
            else:
                applied.done.add(zone)
        return applied

    def _stale(self, row: TrackedZone) -> frozenset[str]:
        before = self._before(row)
        strangers = self._strangers.get(row.zone, frozenset())
        return stale_addresses(before, row) | (strangers & (addresses(row) - addresses(before)))

    def _before(self, row: TrackedZone) -> TrackedZone | None:
        return self._clean.get(row.zone) if self._clean is not None else None

    def _is_narrower(self, row: TrackedZone) -> bool:
        return bool(self._stale(row)) or may_forbid(self._before(row), row)

    def _settle(self, row: TrackedZone, applied: Applied[int]) -> None:
        if self._clean is None:
            self._clean = {}
        self._strangers[row.zone] = self._strangers.get(row.zone, frozenset()) - self._stale(row)
        self._clean[row.zone] = row
        self._sweep_of.pop(row.zone, None)
        applied.done.add(row.zone)

    def _is_swept(self, row: TrackedZone, applied: Applied[int]) -> bool:
        """Whether the datapath's cache knows the flows that came with `row`; otherwise it is told to look."""
        try:
            if self._sweeps is None:
                return True
            known = self._sweep_of.get(row.zone)
            if known is None or known[0] != row:
                if self._next_sweep is None:
                    self._next_sweep = self._sweeps.begin()
                known = self._sweep_of[row.zone] = (row, self._next_sweep)
            if self._sweeps.is_over(known[1]):
                return True
        except KernelError as error:
            self._sweep_of.pop(row.zone, None)
            applied.failed[row.zone] = f"cannot end the connections of zone {row.zone}: {error}"
            return False
        applied.awaited[row.zone] = "the switch still goes through its cache"
        return False

    def _judge(self, place: str, rows: list[TrackedZone], applied: Applied[int]) -> None:
        """End what zones of one place no longer allow, after one look at all of them."""
        backend = self._of(place)
        held: dict[int, list[Connection]] = {}
        try:
            if place == "datapath" and self._sweeps is None:
                self._datapath.wait_for_flows()
            # One dump of all tells of many zones in less time than a question for each.
            for connection in backend.held([row.zone for row in rows] if len(rows) <= _FEW_ZONES else None):
                held.setdefault(connection.zone, []).append(connection)
        except KernelError as error:
            reason = "cannot end the connections of zone {}: {}"
            applied.failed.update({row.zone: reason.format(row.zone, error) for row in rows})
            return
        for row in rows:
            try:
                self._end(backend, forbidden(row, held.get(row.zone, ()), self._stale(row)))
            except KernelError as error:
                applied.failed[row.zone] = f"cannot end the connections of zone {row.zone}: {error}"
            else:
                self._settle(row, applied)

    def _empty(self, row: TrackedZone) -> None:
        """Raises: KernelError."""
        if row.place == "datapath":
            self._datapath.empty(row.zone)
        else:
            self._end(self._kernel, self._kernel.held([row.zone]))
        self._strangers.pop(row.zone, None)
        self._sweep_of.pop(row.zone, None)
        if self._clean is not None:
            self._clean.pop(row.zone, None)

    def _look(self, wanted: Mapping[int, TrackedZone]) -> dict[int, TrackedZone]:
        """Zones that hold something: as wanted, or as none when what they hold is not allowed."""
        held: dict[int, list[Connection]] = {}
        found: dict[int, TrackedZone] = {}
        for place in ("datapath", "kernel"):
            try:
                if place == "datapath":
                    self._datapath.wait_for_flows()
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

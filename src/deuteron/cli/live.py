"""`deuteron trace --live`: the hosts on the way of a packet are asked, and one packet is sent and looked for.

Each host is asked by a child that goes there (`onhost`): `ofproto/trace` by the switch's control socket, the kernel's
routes, and how the host differs from its plan. The packet comes into the switch as if the guest had sent it
(OpenFlow's packet-out with the guest's port), or out of a namespace by a raw socket, and carries a random mark.
"""

from __future__ import annotations

import secrets
import select
import socket
import time
from collections.abc import Callable, Sequence

import msgspec

from deuteron.cli.asked import RuleTraces, route, traces
from deuteron.cli.onhost import NotThere, on_host, sniffers
from deuteron.cli.options import Refused
from deuteron.cli.topologies import stored_topology
from deuteron.net.kernel.namespaces import Namespaces
from deuteron.net.kernel.programs import run
from deuteron.net.kernel.sniffer import take
from deuteron.net.look import differences
from deuteron.net.traced import Match
from deuteron.sandbox.cloud import Cloud, State
from deuteron.sandbox.errors import SandboxError
from deuteron.sandbox.topology import OUTSIDE
from deuteron.trace.frames import framed, read, written
from deuteron.trace.hops import Hop
from deuteron.trace.live import (
    Direction,
    Live,
    Looked,
    Probed,
    Sight,
    counted,
    judge,
    namespaces_of,
    routes_of,
    rules_of,
    sights,
)
from deuteron.trace.packet import ECHO, ICMP, ICMP6, SCTP, TCP, UDP, Packet
from deuteron.trace.report import Report
from deuteron.trace.rulings import Place, Rule, place_of
from deuteron.trace.walk import Asked, End
from deuteron.trace.witness import Leg, Station, Witness, stations

_TRIES = 3
_BETWEEN_TRIES_S = 0.5
_SETTLED_S = 0.6
"""After which what differed is looked at again: a host may be told of something just now."""
_FIRST_PORT, _PORTS = 33000, 27000
_MARK_BYTES = 12
_HEADERS = {TCP: 20, UDP: 8, ICMP: 8, ICMP6: 8, SCTP: 32}
_ERRORS = {ICMP: (3, 5, 11, 12), ICMP6: (1, 2, 3, 4)}


def looked_live(
    state: State, cloud: Cloud, witness: Witness, told: Report, sender: End, receiver: End, asked: Asked
) -> Live:
    """What the running cloud says to a trace, and what became of one packet.

    Raises: Refused if the cloud has no data plane, or is down.
    """
    if cloud.dataplane != "ovs":
        raise Refused("this cloud has no data plane, so nothing of it can be asked or sent", "trace without --live")
    legs: dict[Direction, list[Leg]] = {"there": witness.legs(told.there), "back": witness.legs(told.back)}
    looked = _hosts(state, witness, told, [*legs["there"], *legs["back"]])
    topology = stored_topology(state)
    outside = topology.host(OUTSIDE)
    wires = dict(outside.physical_interfaces) if outside is not None else {}
    probe, problem = None, ""
    sending = _Probe(state, witness, told, sender, asked, wires, legs["there"])
    places: dict[str, list[str]] = {}
    way = sending.way
    for host, namespace in dict.fromkeys(place_of(hop) for hop in rules_of(way)):
        places.setdefault(host, []).append(namespace)
    rules = RuleTraces(state, places, sending.matches)
    met: dict[Place, list[Rule]] = {}
    try:
        probe = sending.sent(_beyond(witness, receiver))
        met = rules.met()
    except (NotThere, SandboxError) as error:
        problem = f"no packet was sent: {error}"
    finally:
        rules.close()
    live = judge(told, legs, looked, probe)
    if probe is not None:
        live = msgspec.structs.replace(live, counted=tuple(counted(way, met)))
    return live if not problem else msgspec.structs.replace(live, notes=(*live.notes, problem))


def _beyond(witness: Witness, receiver: End) -> Station | None:
    """The device of the guest that it is for."""
    place = witness.world.place_of(receiver.port_id or "")
    if place is None or receiver.namespace is not None:
        return None
    machine, port = place
    parent = port.trunk.parent_id if port.trunk is not None and port.trunk.segmentation_id else port.id
    return Station(machine.name, "", f"tap{parent}"[:14], True)


# --- what hosts say ---------------------------------------------------------------------------------------------------


def _hosts(state: State, witness: Witness, told: Report, legs: Sequence[Leg]) -> dict[str, Looked]:
    way = (*told.there, *told.back)
    found = {}
    for host in dict.fromkeys(hop.host for hop in way if hop.host in witness.world.machines):
        machine = witness.world.machines[host]
        namespaces = namespaces_of(way, host)
        mine = [leg for leg in legs if leg.entry.host == host]
        routes = [hop for hop in routes_of(way) if hop.host == host]

        def work() -> Looked:
            seen = differences(machine.plan, namespaces, has_switch=bool(machine.bridges))  # noqa: B023  # done at once
            if seen:
                time.sleep(_SETTLED_S)
                seen = differences(machine.plan, namespaces, has_switch=bool(machine.bridges))  # noqa: B023
            return Looked(tuple(seen), tuple(traces(mine)), tuple(map(route, routes)))  # noqa: B023

        try:
            found[host] = msgspec.convert(on_host(state, host, work), Looked)
        except (NotThere, SandboxError) as error:
            found[host] = Looked(problem=str(error))
    return found


# --- one packet -------------------------------------------------------------------------------------------------------


class _Probe:
    def __init__(
        self,
        state: State,
        witness: Witness,
        told: Report,
        sender: End,
        asked: Asked,
        wires: dict[str, str],
        legs: Sequence[Leg],
    ) -> None:
        self._state = state
        self._sender = sender
        self._told = told
        self._world = witness.world
        self._wires = wires
        self._legs = legs
        self._mark = secrets.token_bytes(_MARK_BYTES)
        self._sequence = secrets.randbelow(1 << 31) + 1
        self._size_bytes = asked.size_bytes
        self._sent_ns = 0
        self._errors: list[str] = []
        self._answered = False

    @property
    def matches(self) -> list[Match]:
        """By which kernels know it and, but for UDP, its answer."""
        if not self._legs:
            return []
        protocol = self._legs[0].entry.packet.protocol
        if protocol == TCP:
            there, back = self._sequence.to_bytes(4, "big"), (self._sequence + 1).to_bytes(4, "big")
            return [Match(TCP, 4, there), Match(TCP, 8, back)]
        return [Match(protocol, 8, self._mark)] if protocol in _HEADERS and protocol != SCTP else []

    @property
    def way(self) -> list[Hop]:
        """The hops of which kernels can say it. A guest's packet comes into the switch, past its bridge."""
        there = list(self._told.there)
        if not self._legs or not self.matches:
            return []
        if self._sender.namespace is None and not self._sender.is_outside:
            there = there[there.index(self._legs[0].entry.hop) :]
        is_answer_known = self._legs[0].entry.packet.protocol != UDP
        return [*there, *(self._told.back if is_answer_known else ())]

    def sent(self, beyond: Station | None) -> Probed | None:
        """What became of it; None of a packet that by the plan never leaves the guest, or its host's Linux bridges.

        Raises: NotThere; SandboxError.
        """
        told = self._told
        there = stations(self._world, told.there, self._wires)
        back = stations(self._world, told.back, self._wires)
        order = self._order(there)
        if order is None:
            return None
        host, what, action = order
        places = [station for _, station in (*there, *back)]
        is_beyond = beyond is not None and beyond not in places
        watched = dict.fromkeys([*places, *([beyond] if is_beyond and beyond is not None else [])])
        opened = self._opened(list(watched))
        seen: dict[tuple[Station, Direction], int] = {}
        expected = {(station, "there") for _, station in there[1:]} | {(station, "back") for _, station in back}
        try:
            for number in range(_TRIES):
                self._sent_ns = self._sent_ns or time.time_ns()
                on_host(self._state, host, lambda n=number: action(n + 1))  # type: ignore[misc]  # of this turn
                deadline = time.monotonic() + _BETWEEN_TRIES_S
                while time.monotonic() < deadline and not (self._answered and expected <= seen.keys()):
                    self._watch(opened, seen, deadline)
                if self._answered:
                    break
        finally:
            for each in opened.values():
                each.close()
        found = self._sights(sights("there", there), [s for _, s in there], seen, "there")
        found += self._sights(sights("back", back), [s for _, s in back], seen, "back")
        if found and what.startswith("as a frame"):
            found[0] = msgspec.structs.replace(found[0], is_sent=True)
        extra = []
        if is_beyond and beyond is not None and (beyond, "there") in seen:
            extra = self._sights([Sight("there", beyond.host, beyond.words)], [beyond], seen, "there")
        is_answered = self._answered and (told.is_answered or (not back or (back[-1][1], "back") in seen))
        return Probed(
            f"{told.packet}, {what}", tuple(found), tuple(extra), tuple(dict.fromkeys(self._errors)), is_answered
        )

    def _sights(
        self,
        found: list[Sight],
        places: list[Station],
        seen: dict[tuple[Station, Direction], int],
        direction: Direction,
    ) -> list[Sight]:
        result = []
        for sight, station in zip(found, places, strict=True):
            at_ns = seen.get((station, direction))
            after = None if at_ns is None else round(max(0, at_ns - self._sent_ns) / 1e6, 3)
            result.append(msgspec.structs.replace(sight, after_ms=after))
        return result

    def _order(self, there: Sequence[tuple[int, Station]]) -> tuple[str, str, Callable[[int], object]] | None:
        """On which host, in words how, and what sends it there."""
        sender = self._sender
        if sender.namespace is None and not sender.is_outside:
            place = self._world.place_of(sender.port_id or "")
            if not self._legs or place is None or place[0].has_linux_bridges:
                return None
            entry = self._legs[0].entry
            port = entry.port
            words = f"as a frame that comes into {port.bridge} of host {entry.host} by {port.name}"

            def out(number: int) -> object:
                frame = framed(entry.packet, self._packet(entry.packet, number))
                order = f"in_port={port.ofport_request},packet={frame.hex()},actions=table"
                run(["ovs-ofctl", "-O", "OpenFlow14", "--no-names", "packet-out", port.bridge, order])
                return None

            return entry.host, words, out
        if not self._legs:
            return None
        packet = self._legs[0].entry.packet
        if sender.address is not None:
            packet = packet.but(source=sender.address)
        host, namespace = (sender.host or "", sender.namespace) if sender.namespace else (OUTSIDE, "")
        words = f"out of {namespace} of host {host}" if namespace else f"out of {host}"
        return host, words, lambda number: _by_raw_socket(namespace or "", packet, self._packet(packet, number))

    def _packet(self, packet: Packet, number: int) -> bytes:
        head = (40 if packet.kind == "ipv6" else 20) + _HEADERS[packet.protocol]
        payload = self._mark.ljust(max(len(self._mark), self._size_bytes - head), b".")
        if packet.protocol in (TCP, UDP, SCTP):
            packet = packet.but(sport=_FIRST_PORT + self._sequence % _PORTS)
        return written(packet, payload, number=number, sequence=self._sequence)

    def _opened(self, watched: Sequence[Station]) -> dict[Station, socket.socket]:
        found = {}
        for host in dict.fromkeys(station.host for station in watched):
            mine = [station for station in watched if station.host == host]
            devices = list(dict.fromkeys((station.namespace, station.device) for station in mine))
            there, _ = sniffers(self._state, host, devices)
            for (namespace, device), opened in there.items():
                # One socket sees both directions; it is kept for one station, and `_watch` tells them apart.
                found[Station(host, namespace, device, False)] = opened
        return found

    def _watch(
        self, opened: dict[Station, socket.socket], seen: dict[tuple[Station, Direction], int], until: float
    ) -> None:
        waiting = select.poll()
        by_file = {each.fileno(): (station, each) for station, each in opened.items()}
        for file in by_file:
            waiting.register(file, select.POLLIN)
        left_s = until - time.monotonic()
        for file, _ in waiting.poll(max(0.0, min(left_s, 0.05)) * 1000):
            station, sniffer = by_file[file]
            while True:
                try:
                    found = take(sniffer)
                except OSError:  # the device is gone
                    break
                if found is None:
                    break
                direction = self._direction(found.frame, station)
                if direction is not None:
                    seen.setdefault((station._replace(is_out=found.is_out), direction), found.at_ns)

    def _direction(self, frame: bytes, station: Station) -> Direction | None:
        """Whether a frame is the packet, or its answer."""
        is_marked = self._mark in frame
        numbers = (self._sequence.to_bytes(4, "big"), (self._sequence + 1).to_bytes(4, "big"))
        if not is_marked and not any(number in frame for number in numbers):
            return None
        packet = read(frame)
        if packet.protocol in _ERRORS and packet.sport in _ERRORS[packet.protocol]:
            self._errors.append(f"{packet.source} tells {packet.destination}: {packet.words} ({packet.dport})")
            return None
        if packet.protocol in ECHO and is_marked:
            answer = packet.sport == ECHO[packet.protocol][1]
        elif packet.protocol == TCP:
            if packet.sequence != self._sequence and packet.acknowledged != self._sequence + 1:
                return None
            answer = packet.acknowledged == self._sequence + 1 and packet.sequence != self._sequence + 1
        elif packet.protocol in (UDP, SCTP):
            answer = packet.dport == _FIRST_PORT + self._sequence % _PORTS
        else:
            return None
        self._answered = self._answered or (answer and self._is_home(station))
        return "back" if answer else "there"

    def _is_home(self, station: Station) -> bool:
        """Whether what is seen at a device has come back to who sent: its first device on the way."""
        there = stations(self._world, self._told.there, self._wires)
        return bool(there) and there[0][1][:3] == station[:3]


def _by_raw_socket(namespace: str, packet: Packet, ip: bytes) -> None:
    """Sends a whole IP packet out of a namespace of the host where this runs; the kernel finds its way."""
    family = socket.AF_INET6 if packet.kind == "ipv6" else socket.AF_INET
    namespaces = Namespaces()
    try:
        with namespaces.entered(namespace), socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
            raw.sendto(ip, (packet.destination, 0))
    finally:
        namespaces.close()

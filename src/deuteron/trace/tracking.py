"""Connection tracking of one host: what is known of connections in each zone, with their translations.

A connection is known once a rule commits it (Open vSwitch) or its first packet left the namespace (Linux). The first
packet is `new`; what comes back is established and in the other direction.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, NamedTuple

from deuteron.trace.packet import ECHO, SCTP, TCP, Packet

Zone = tuple[str, int]
"""A switch ("") or a namespace (its mark), and the number."""


_OTHER_KIND: Final = {kind: other for pair in ECHO.values() for kind, other in (pair, pair[::-1])}


class Flow(NamedTuple):
    """One direction of a connection. Of ICMP the ports are type and code, of the request or of its answer."""

    protocol: int
    source: str
    destination: str
    sport: int
    dport: int

    @property
    def back(self) -> Flow:
        if self.protocol in ECHO:
            kind = _OTHER_KIND.get(self.sport, self.sport)
            return Flow(self.protocol, self.destination, self.source, kind, self.dport)
        return Flow(self.protocol, self.destination, self.source, self.dport, self.sport)

    def leads_to(self, other: Flow) -> bool:
        """Whether it goes to where the other comes from."""
        return self.destination == other.source and (self.protocol in ECHO or self.dport == other.sport)


@dataclass
class Connection:
    there: Flow
    """As its first packet came."""
    back: Flow
    """As its answers come: not the reverse where it is translated."""
    mark: int = 0
    is_answered: bool = False

    @property
    def is_dnat(self) -> bool:
        return not self.there.leads_to(self.back)

    @property
    def is_snat(self) -> bool:
        return not self.back.leads_to(self.there)


class Known(NamedTuple):
    """A packet's connection, and whether the packet is an answer in it."""

    connection: Connection
    is_reply: bool


@dataclass
class Tracker:
    """All zones of one host."""

    _zones: dict[Zone, dict[Flow, Known]] = field(default_factory=dict)

    def find(self, zone: Zone, packet: Packet) -> Known | None:
        known = self._zones.get(zone, {}).get(flow_of(packet))
        if known is not None and known.is_reply:
            known.connection.is_answered = True
        return known

    def commit(self, zone: Zone, connection: Connection) -> None:
        flows = self._zones.setdefault(zone, {})
        flows[connection.there] = Known(connection, False)
        flows[connection.back] = Known(connection, True)


def flow_of(packet: Packet) -> Flow:
    return Flow(packet.protocol, packet.source, packet.destination, packet.sport, packet.dport)


def begun(packet: Packet) -> Connection:
    """The connection that a packet begins, untranslated."""
    there = flow_of(packet)
    return Connection(there, there.back)


def begins_nothing(packet: Packet) -> bool:
    """Whether a packet of no known connection has none for Linux, as an answer whose question it has not seen.

    Source: nf_conntrack_proto_icmp.c (`valid_new`), nf_conntrack_proto_tcp.c (SYN and ACK in `sNO`),
    nf_conntrack_proto_sctp.c.
    """
    return packet.is_answer and packet.protocol in (*ECHO, TCP, SCTP)


def to_destination(packet: Packet, address: str, port: int | None = None) -> Packet:
    changes: dict[str, object] = {"destination": address}
    if port is not None and packet.protocol not in ECHO:
        changes["dport"] = port
    return packet.but(**changes)


def from_source(packet: Packet, address: str, port: int | None = None) -> Packet:
    changes: dict[str, object] = {"source": address}
    if port is not None and packet.protocol not in ECHO:
        changes["sport"] = port
    return packet.but(**changes)


def translated_in(packet: Packet, known: Known) -> Packet:
    """Where a packet of a translated connection goes: applied as it comes in."""
    connection, is_reply = known
    if is_reply and connection.is_snat:
        return to_destination(packet, connection.there.source, connection.there.sport)
    if not is_reply and connection.is_dnat:
        return to_destination(packet, connection.back.source, connection.back.sport)
    return packet


def translated_out(packet: Packet, known: Known) -> Packet:
    """From whom a packet of a translated connection is: applied as it goes out."""
    connection, is_reply = known
    if is_reply and connection.is_dnat:
        return from_source(packet, connection.there.destination, connection.there.dport)
    if not is_reply and connection.is_snat:
        return from_source(packet, connection.back.destination, connection.back.dport)
    return packet

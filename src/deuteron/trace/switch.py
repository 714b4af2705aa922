"""A packet through the tables of one bridge: every entry that it meets, and what leaves by which port.

`NORMAL` is a learning switch with VLANs: a port with a tag carries that network without the tag, one without carries
all with it. Connections are tracked per bridge's host, in the switch's zones.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from deuteron.net.rows import Flow, OvsPort
from deuteron.trace.actions import Action, options, parsed
from deuteron.trace.flowtable import FlowTables
from deuteron.trace.matches import Work
from deuteron.trace.packet import Packet, is_multicast
from deuteron.trace.tracking import Connection, Tracker, begun, to_destination, translated_in, translated_out
from deuteron.trace.unknown import Unknown

_LEARNED: Final = 20
_MOST_TABLES: Final = 64
"""More than a plan's tables, twice: who passes as many goes round in circles."""


class Met(NamedTuple):
    """An entry that a packet met; None is no entry at all. `says` are effects in words."""

    flow: Flow | None
    table: int
    work: Work
    says: tuple[str, ...]


class Output(NamedTuple):
    """What leaves by a port, with what it met before."""

    port: OvsPort
    packet: Packet
    met: tuple[Met, ...]


class Ended(NamedTuple):
    """Where a packet ends in the tables: with the last entry that it met."""

    met: tuple[Met, ...]
    packet: Packet


class Switch:
    """One bridge. It learns, so it belongs to one trace."""

    def __init__(self, name: str, ports: Mapping[int, OvsPort], tables: FlowTables, tracker: Tracker) -> None:
        self.name = name
        self.ports = ports
        self._tables = tables
        self._tracker = tracker
        self._places: dict[tuple[int, str], int] = {}
        """Port by VLAN and MAC."""
        self._tunnels: dict[tuple[int, str], tuple[int, int]] = {}
        """Of br-tun, port and VNI by VLAN and MAC."""

    def through(self, packet: Packet, in_port: int) -> tuple[list[Output], list[Ended]]:
        """What becomes of a packet that comes in by a port.

        Raises: Unknown.
        """
        run = _Run(self)
        work = Work(packet, in_port)
        run.table(0, work, ())
        return run.outputs, run.ended

    def learn(self, vlan: int, mac: str, port: int) -> None:
        if not is_multicast(mac):
            self._places[vlan, mac] = port

    def ports_of(self, vlan: int, mac: str, in_port: int) -> list[tuple[OvsPort, int]]:
        """Where a frame of a VLAN goes, each with the tag that it has there."""
        learned = None if is_multicast(mac) else self._places.get((vlan, mac))
        found = []
        for number, port in self.ports.items():
            if number == in_port or (learned is not None and number != learned):
                continue
            if port.tag is None:
                found.append((port, vlan))
            elif port.tag == vlan:
                found.append((port, 0))
        return found


class _Run:
    """One packet in one switch."""

    def __init__(self, switch: Switch) -> None:
        self.switch = switch
        self.outputs: list[Output] = []
        self.ended: list[Ended] = []

    def table(self, number: int, work: Work, met: tuple[Met, ...]) -> tuple[Met, ...]:
        """Looks up and does what is found; what was met on the way, for what follows in the same list of actions."""
        if len(met) > _MOST_TABLES:
            raise Unknown("a circle of tables", self.switch.name)
        if number == _LEARNED and self._learned(work, met):
            return met
        flow = self.switch._tables.find(number, work)
        says: list[str] = []
        here = (*met, Met(flow, number, work.copy(), ()))
        before = len(self.outputs), len(self.ended)
        if flow is not None:
            here = self._do(parsed(flow.actions), work, met, flow, says)
        if (len(self.outputs), len(self.ended)) == before:
            self.ended.append(Ended(here, work.packet))
        return here

    def _learned(self, work: Work, met: tuple[Met, ...]) -> bool:
        """Flows of br-tun that were learned come after what is planned."""
        place = self.switch._tunnels.get((work.packet.vlan, work.packet.dst_mac))
        flow = self.switch._tables.find(_LEARNED, work)
        if place is None or (flow is not None and flow.priority > 1):
            return False
        port, vni = place
        actions = f"pop_vlan,set_field:{vni:#x}->tun_id,output:{port}"
        learned = Flow(
            self.switch.name, _LEARNED, 1, f"dl_vlan={work.packet.vlan},dl_dst={work.packet.dst_mac}", actions
        )
        self._do(parsed(actions), work, met, learned, ["learned"])
        return True

    def _do(
        self, actions: tuple[Action, ...], work: Work, met: tuple[Met, ...], flow: Flow, says: list[str]
    ) -> tuple[Met, ...]:
        entry = work.copy()
        before = len(self.outputs)

        def here() -> tuple[Met, ...]:
            return (*met, Met(flow, flow.table, entry, tuple(says)))

        for action in actions:
            name, argument = action
            if name == "drop":
                says.append("drops")
            elif name in ("resubmit", "goto_table"):
                number = int(argument.lstrip(",")) if name == "resubmit" else int(argument)
                ended = len(self.ended)
                self.table(number, work, here())
                if len(self.outputs) > before and self.outputs[before].met[-1].flow is flow:
                    del self.ended[ended:]  # it was output already
            elif name == "ct":
                self._track(argument, work, here, says, flow)
                self.ct_clear("", work, says, here)  # what follows in the list is not tracked any more
            else:
                does = _DOES.get(name)
                if does is None:
                    raise Unknown(f'the action "{name}"', flow.actions)
                does(self, argument, work, says, here)
        return here()

    # --- one action each ----------------------------------------------------------------------------------------------

    def put(self, number: int, packet: Packet, met: tuple[Met, ...]) -> None:
        port = self.switch.ports.get(number)
        if port is None:
            self.ended.append(Ended(met, packet))
        else:
            self.outputs.append(Output(port, packet, met))

    def output(self, argument: str, work: Work, says: list[str], here: Callable[[], tuple[Met, ...]]) -> None:
        port = self.switch.ports.get(int(argument))
        says.append(f"out by {port.name if port else f'port {argument}, which is not there'}")
        self.put(int(argument), work.packet, here())

    def back(self, _argument: str, work: Work, says: list[str], here: Callable[[], tuple[Met, ...]]) -> None:
        says.append("answers by the same port")
        self.put(work.in_port, work.packet, here())

    def normal(self, _argument: str, work: Work, says: list[str], here: Callable[[], tuple[Met, ...]]) -> None:
        switch, packet = self.switch, work.packet
        came = switch.ports.get(work.in_port)
        if came is None:
            self.ended.append(Ended(here(), packet))
            return
        vlan = packet.vlan
        if came.tag is not None:
            if vlan:
                says.append(f"{came.name} takes no frames with a tag")
                self.ended.append(Ended(here(), packet))
                return
            vlan = came.tag
        switch.learn(vlan, packet.src_mac, work.in_port)
        places = switch.ports_of(vlan, packet.dst_mac, work.in_port)
        says.append(f"switches in VLAN {vlan}" if vlan else "switches")
        if not places:
            self.ended.append(Ended(here(), packet))
        if len(places) == 1:
            says.append(f"out by {places[0][0].name}")
        met = here()
        for port, tag in places:
            self.outputs.append(Output(port, packet.but(vlan=tag), met))

    def set_field(self, argument: str, work: Work, says: list[str], _here: Callable[[], tuple[Met, ...]]) -> None:
        value, _, name = argument.partition("->")
        _set(work, name, value, argument, says)

    def load(self, argument: str, work: Work, says: list[str], _here: Callable[[], tuple[Met, ...]]) -> None:
        raise Unknown("a load", argument)

    def move(self, argument: str, work: Work, says: list[str], _here: Callable[[], tuple[Met, ...]]) -> None:
        source, _, target = argument.partition("->")
        packet = work.packet
        match (source, target):
            case ("NXM_OF_VLAN_TCI[0..11]", "NXM_NX_REG6[0..11]"):
                work.registers[6] = packet.vlan
            case ("NXM_OF_ETH_SRC[]", "NXM_OF_ETH_DST[]"):
                work.packet = packet.but(dst_mac=packet.src_mac)
            case ("NXM_NX_ARP_SHA[]", "NXM_NX_ARP_THA[]"):
                pass
            case ("NXM_OF_ARP_SPA[]", "NXM_OF_ARP_TPA[]"):
                work.packet = packet.but(destination=packet.source)
            case _:
                raise Unknown("a move", argument)

    def push_vlan(self, _argument: str, work: Work, _says: list[str], _here: Callable[[], tuple[Met, ...]]) -> None:
        """The tag itself follows in `set_field`."""

    def pop_vlan(self, _argument: str, work: Work, says: list[str], _here: Callable[[], tuple[Met, ...]]) -> None:
        if work.packet.vlan:
            says.append(f"takes off tag {work.packet.vlan}")
        work.packet = work.packet.but(vlan=0)

    def ct_clear(self, _argument: str, work: Work, _says: list[str], _here: Callable[[], tuple[Met, ...]]) -> None:
        work.ct_state, work.ct_zone, work.ct_mark, work.ct_flow = frozenset(), 0, 0, None

    def learn(self, argument: str, work: Work, _says: list[str], _here: Callable[[], tuple[Met, ...]]) -> None:
        if "NXM_OF_ETH_DST[]=NXM_OF_ETH_SRC[]" not in argument or f"table={_LEARNED}" not in argument:
            raise Unknown("what is learned", argument)
        packet = work.packet
        self.switch._tunnels[packet.vlan, packet.src_mac] = (work.in_port, packet.tun_id)

    def pass_by(self, _argument: str, _work: Work, _says: list[str], _here: Callable[[], tuple[Met, ...]]) -> None:
        """A meter drops what is too much, and one packet is not; what the agent is shown goes on."""

    def _track(
        self, argument: str, work: Work, here: Callable[[], tuple[Met, ...]], says: list[str], flow: Flow
    ) -> None:
        """ovs-actions(7), `ct`: with a table, a tracked copy goes on there; the rest of the list goes on with this."""
        asked = options(argument)
        number = _zone(asked.get("zone", "0"), work, flow)
        zone = ("", number)
        tracker = self.switch._tracker
        packet = work.packet
        known = tracker.find(zone, packet)
        connection = begun(packet) if known is None else known.connection
        nat = asked.get("nat")
        if known is None and nat:
            found = re.fullmatch(r"dst=([^,]+)", nat)
            if found is None:
                raise Unknown(f'the translation "{nat}"', flow.actions)
            translated = to_destination(packet, found[1])
            connection = Connection(connection.there, begun(translated).back)
        if "commit" in asked:
            _marked(connection, asked.get("exec"), flow)
            tracker.commit(zone, connection)
            says.append(f"notes the connection in zone {number}" + (" as forbidden" if connection.mark else ""))
        if "table" not in asked:
            return
        is_reply = known is not None and known.is_reply
        tracked = work.copy()
        tracked.ct_zone, tracked.ct_mark, tracked.ct_flow = number, connection.mark, connection.there
        if known is not None and connection.is_answered:
            tracked.ct_state = frozenset({"trk", "est", *(["rpl"] if is_reply else [])})
        else:
            tracked.ct_state = frozenset({"trk", "new"})
        if nat is not None:
            seen = tracker.find(zone, packet)
            if seen is not None:
                tracked.packet = translated_out(translated_in(packet, seen), seen)
                if tracked.packet != packet:
                    says.append(f"{packet.source} to {packet.destination} becomes {tracked.packet.source} to "
                                f"{tracked.packet.destination}")  # fmt: skip
        word = "an answer" if is_reply else "a known connection" if "est" in tracked.ct_state else "a new connection"
        says.append(f"connection tracking in zone {number}: {word}")
        self.table(int(asked["table"]), tracked, here())


_DOES: Final[dict[str, Callable[..., None]]] = {
    "NORMAL": _Run.normal,
    "IN_PORT": _Run.back,
    "output": _Run.output,
    "set_field": _Run.set_field,
    "load": _Run.load,
    "move": _Run.move,
    "push_vlan": _Run.push_vlan,
    "pop_vlan": _Run.pop_vlan,
    "ct_clear": _Run.ct_clear,
    "learn": _Run.learn,
    "meter": _Run.pass_by,
    "controller": _Run.pass_by,
}


def _set(work: Work, name: str, value: str, argument: str, says: list[str]) -> None:
    packet = work.packet
    if name.startswith("reg") and name[3:].isdigit():
        work.registers[int(name[3:])] = int(value, 0)
    elif name == "vlan_vid":
        tag = int(value, 0) & 0xFFF
        says.append(f"tag {packet.vlan} becomes {tag}" if packet.vlan else f"tag {tag}")
        work.packet = packet.but(vlan=tag)
    elif name == "tun_id":
        says.append(f"VNI {int(value, 0)}")
        work.packet = packet.but(tun_id=int(value, 0))
    elif name == "eth_src":
        work.packet = packet.but(src_mac=value)
    elif name == "eth_dst":
        says.append(f"to {value}")
        work.packet = packet.but(dst_mac=value)
    elif name == "arp_op":
        work.packet = packet.but(protocol=int(value))
    elif name == "arp_sha":
        work.packet = packet.but(mac=value)
    elif name == "arp_spa":
        work.packet = packet.but(source=value)
    elif name == "ip_dscp":
        says.append(f"mark {value} of the type of service")
    else:
        raise Unknown(f'the field "{name}"', argument)


def _zone(text: str, work: Work, flow: Flow) -> int:
    if text == "NXM_NX_REG6[0..15]":
        return work.registers.get(6, 0) & 0xFFFF
    if not text.isdigit():
        raise Unknown(f'the zone "{text}"', flow.actions)
    return int(text)


def _marked(connection: Connection, text: str | None, flow: Flow) -> None:
    if text is None:
        return
    found = re.fullmatch(r"set_field:(\w+)->ct_mark", text)
    if found is None:
        raise Unknown(f'"{text}"', flow.actions)
    connection.mark = int(found[1], 0)

"""A walk that notes which frame came into which switch by which port, so that the running switch can be asked the same.

`Witness` is a `Fabric`. What it notes belongs to the hop after which it happened, by which it is known whether it lies
on the way that was told in the end: frames to many go several ways, and one of them is told.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from deuteron.net import rows
from deuteron.trace.fabric import Fabric
from deuteron.trace.hops import Ending, Hop, Step
from deuteron.trace.packet import Packet
from deuteron.trace.world import Machine, World


class Entry(NamedTuple):
    """A frame that comes into a switch from what is no switch: a guest, a namespace, a wire, a tunnel."""

    hop: Hop
    """The last before it."""
    host: str
    port: rows.OvsPort
    packet: Packet


class Leg(NamedTuple):
    """An entry and what is planned to become of it: the tables until it leaves the switch, or ends there."""

    entry: Entry
    hops: tuple[Hop, ...]

    @property
    def states(self) -> list[str]:
        """What connection tracking says each time it is asked, in the words of `ofproto/trace --ct-next`."""
        found = []
        for hop in self.hops:
            for words in hop.does.split(", "):
                if words.startswith("connection tracking in zone"):
                    word = words.partition(": ")[2]
                    found.append({"a new connection": "trk,new", "an answer": "trk,est,rpl"}.get(word, "trk,est"))
        return found


class Witness(Fabric):
    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.entries: list[Entry] = []

    def _into(self, machine: Machine, port: rows.OvsPort, packet: Packet, step: Step) -> list[Ending]:
        if port.type != "patch" and not packet.is_resolution and step.hop is not None:
            self.entries.append(Entry(step.hop, machine.name, port, packet))
        return super()._into(machine, port, packet, step)

    def legs(self, way: Sequence[Hop]) -> list[Leg]:
        """The entries that lie on a way, in its order."""
        found = []
        for place, hop in enumerate(way):
            entry = next((each for each in self.entries if each.hop is hop), None)
            if entry is not None:
                hops = []
                for after in way[place + 1 :]:
                    if " table " not in after.place or after.host != entry.host:
                        break
                    hops.append(after)
                found.append(Leg(entry, tuple(hops)))
        return found


class Station(NamedTuple):
    """A device at which a packet on its way can be seen."""

    host: str
    namespace: str
    device: str
    is_out: bool
    """Whether the kernel sends it there: to the guest, out of the namespace, on the wire."""

    @property
    def words(self) -> str:
        return f"{self.device} in {self.namespace}" if self.namespace else self.device


def stations(world: World, way: Sequence[Hop], outside_devices: dict[str, str]) -> list[tuple[int, Station]]:
    """The devices on a way, each with the number of its hop. `outside_devices` are those of `outside` by wire."""
    found: list[tuple[int, Station]] = []
    for number, hop in enumerate(way):
        station = _station(world, hop, outside_devices)
        if station is not None and (not found or found[-1][1] != station):
            found.append((number, station))
    return found


def _station(world: World, hop: Hop, outside_devices: dict[str, str]) -> Station | None:
    words = hop.place.split(" ")
    machine = world.machines.get(hop.host)
    if hop.host == "outside" and len(words) == 2 and words[0] == "outside" and words[1] != "route":
        device = outside_devices.get(words[1].partition(".")[0])
        return None if device is None else Station("outside", "", device, hop.does != "comes in")
    if machine is None or words[0] == "guest":
        return None
    if len(words) == 2 and words[0] in machine.internal:
        devices = {port.name for port in machine.internal[words[0]]} | set(machine.ends.get(words[0], ()))
        return Station(hop.host, words[0], words[1], hop.does != "comes in") if words[1] in devices else None
    if len(words) != 1:
        return None
    if hop.does.startswith(("the guest sends", "to the guest")):
        return Station(hop.host, "", hop.place, hop.does.startswith("to"))
    if hop.does.startswith(("on the wire", "from the wire")):
        return Station(hop.host, "", hop.place, hop.does.startswith("on"))
    if hop.does == "from the tunnel" or " with VNI " in hop.does:
        for interface in machine.tunnel_interfaces:
            return Station(hop.host, "", interface, hop.does != "from the tunnel")
    return None

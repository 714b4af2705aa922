"""A trace: a packet from one end to the other and what comes back, hop by hop, with the verdict."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from deuteron.model.intent import LINUX_BRIDGE, MECHANISM
from deuteron.trace.fabric import Fabric
from deuteron.trace.hops import Arrived, Dropped, Ending, Hop, Step
from deuteron.trace.packet import CLIENT_PORT, ECHO, ICMP, ICMP6, SMALL_BYTES, Packet, answer, within
from deuteron.trace.stack import Stack
from deuteron.trace.unknown import Unknown
from deuteron.trace.world import World

_KNOWN = (MECHANISM, LINUX_BRIDGE)


class End(msgspec.Struct, frozen=True, omit_defaults=True):
    """Who sends, or whom it is for."""

    words: str
    """As a person would name it."""
    port_id: str | None = None
    """A guest's port; with a `namespace`, that of the device there."""
    namespace: str | None = None
    host: str | None = None
    """Of a namespace."""
    is_outside: bool = False
    address: str | None = None
    """Of the destination: where the packet goes. Of the source: what it sends from, if not what it would choose."""
    gateway: str | None = None
    """What the guest takes for its gateway, if not what it was told."""
    about: tuple[str, str] | None = None


class Asked(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is sent: a protocol with its port, and how large."""

    protocol: int = ICMP
    port: int = 0
    size_bytes: int = SMALL_BYTES


class Way(msgspec.Struct, frozen=True):
    """One direction."""

    hops: tuple[Hop, ...]
    arrived: str | None
    """The stack where it arrived; None where it did not."""
    dropped: Dropped | None


class Walked(msgspec.Struct, frozen=True):
    """Both directions; nothing comes back of what did not arrive."""

    packet: Packet
    there: Way
    back: Way | None


class NoSuchEnd(ValueError):
    """An end that no host has."""


def walk(world: World, source: End, destination: End, asked: Asked, fabric: Fabric | None = None) -> Walked:
    """What becomes of a packet from `source` to the address of `destination`; a `fabric` is used up by it.

    Raises: Unknown for what cannot be followed; NoSuchEnd.
    """
    fabric = Fabric(world) if fabric is None else fabric
    for end in (source, destination):
        refuse_others(world, end.port_id)
    stack = _stack(fabric, source)
    assert destination.address is not None  # whoever names an end says where packets to it go
    family = 6 if ":" in destination.address else 4
    protocol = ICMP6 if asked.protocol == ICMP and family == 6 else asked.protocol
    chosen = source.address or stack.source_for(destination.address) or _any(stack, family)
    if chosen is None:
        raise NoSuchEnd(f"{source.words} has no IPv{family} address to send from")
    is_echo = protocol in ECHO
    packet = Packet(
        "ipv6" if family == 6 else "ip",
        "",
        "",
        chosen,
        destination.address,
        protocol,
        ECHO[protocol][0] if is_echo else CLIENT_PORT,
        0 if is_echo else asked.port,
        size_bytes=asked.size_bytes,
    )
    there, arrived = _way(fabric, stack, packet)
    if arrived is not None and _is_elsewhere(fabric, arrived, destination):
        astray = Dropped(arrived.step, "elsewhere", "", arrived.packet, stack=arrived.stack)
        return Walked(packet, Way(there.hops, None, astray), None)
    back = None
    if arrived is not None:
        at = _stack_named(fabric, arrived.stack, arrived.step.hops[-1].host)
        back, returned = _way(fabric, at, answer(arrived.packet))
        if returned is not None and returned.stack != stack.name:
            astray = Dropped(returned.step, "elsewhere", "", returned.packet, stack=returned.stack)
            back = Way(back.hops, None, astray)
    return Walked(packet, there, back)


def refuse_others(world: World, port_id: str | None) -> None:
    """Raises: Unknown for a port that another mechanism wires than ours two, by rows that are not known here."""
    place = world.place_of(port_id or "")
    if place is not None and place[1].mechanism not in _KNOWN and not place[1].device_owner.startswith("network:"):
        raise Unknown(f"the mechanism {place[1].mechanism}", f"port {port_id}")


def _is_elsewhere(fabric: Fabric, arrived: Arrived, destination: End) -> bool:
    """Whether it arrived where it was not meant to: at another with the same address, or out in the world."""
    if destination.is_outside:
        return arrived.stack != fabric.outside.name
    if destination.namespace is not None:
        return arrived.stack != destination.namespace
    place = fabric.world.place_of(destination.port_id or "")
    if place is not None:
        return arrived.stack != fabric.guest(*place).name
    if arrived.stack != fabric.outside.name or fabric.outside.owns(arrived.packet.destination):
        return False
    return destination.port_id is not None or _is_inside(fabric.world, arrived.packet.destination)


def _is_inside(world: World, address: str) -> bool:
    """Whether an address is of a network of the cloud that is not external."""
    return any(within(address, prefix) for prefix in world.prefixes)


def _way(fabric: Fabric, stack: Stack, packet: Packet) -> tuple[Way, Arrived | None]:
    start = Step().then(Hop(stack.host, stack.name, "", f"sends {packet.words} from {packet.source} to "
                                                        f"{packet.destination}", stack.about))  # fmt: skip
    endings = fabric.send(stack, packet, start)
    arrived = next((ending for ending in endings if isinstance(ending, Arrived)), None)
    if arrived is not None:
        return Way(arrived.step.hops, arrived.stack, None), arrived
    dropped = _furthest(endings)
    if dropped is None:
        dropped = Dropped(start, "address", stack.host, packet, stack=stack.name)
    return Way(dropped.step.hops, None, dropped), None


def _furthest(endings: Sequence[Ending]) -> Dropped | None:
    """Of several, as a frame whose station is not known yet goes everywhere: where it was for somebody.

    That is in a stack or at the rules of who receives, before the tables of a host that has nobody.
    """
    dropped = [ending for ending in endings if isinstance(ending, Dropped)]
    is_meant = {"flow": 0, "address": 1, "host": 1, "tunnel": 1}

    def rank(ending: Dropped) -> tuple[int, int]:
        is_received = ending.why == "flow" and ending.direction == "ingress"
        return 2 if is_received else is_meant.get(ending.why, 2), len(ending.step.hops)

    return max(dropped, key=rank) if dropped else None


def _stack(fabric: Fabric, end: End) -> Stack:
    world = fabric.world
    if end.is_outside:
        return fabric.outside
    if end.namespace is not None:
        machine = world.machines.get(end.host or "")
        if machine is None or not machine.internal.get(end.namespace):
            raise NoSuchEnd(f"{end.words} has no device on any host")
        return fabric.namespace(machine, end.namespace)
    place = world.place_of(end.port_id or "")
    if place is None:
        raise NoSuchEnd(f"{end.words} is plugged in on no host")
    machine, port = place
    if port.device_owner.startswith("network:"):
        raise NoSuchEnd(f"{end.words} is a port of the cloud itself")
    more = (end.address,) if end.address is not None else ()
    return fabric.guest(machine, port, more, end.gateway)


def _stack_named(fabric: Fabric, name: str, host: str) -> Stack:
    """A router may be on several hosts."""
    if name == "outside":
        return fabric.outside
    found = [stack for (_, known), stack in fabric.stacks.items() if known == name]
    return next((stack for stack in found if stack.host == host), found[0])


def _any(stack: Stack, family: int) -> str | None:
    """Of what it would send nothing by: some address, to say what is missing."""
    for device in stack.devices.values():
        for text in device.addresses:
            if (":" in text) is (family == 6) and not text.startswith("fe80:"):
                return text.split("/")[0]
    return None

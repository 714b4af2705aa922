"""One packet at many devices: sightings that are of the same packet, in the order of the kernel's clock.

A packet is known by what nothing on its way changes (`frames.Frame.identity`). At one device it passes once in each
direction under one name: who is seen so again is the next packet that looks the same, as DHCP's questions do.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

import msgspec

from deuteron.trace.frames import Frame


@dataclass(frozen=True)
class Place:
    """A device at which packets are seen."""

    host: str
    namespace: str
    device: str
    about: str = ""
    """Whose it is, as people know it."""
    is_own: bool = False
    """Whether it belongs to what was asked for."""

    @property
    def name(self) -> str:
        return f"{self.host}:{self.device}"

    @property
    def words(self) -> str:
        return f"{self.device} in {self.namespace}" if self.namespace else self.device


@dataclass(frozen=True)
class Sighting:
    at_ns: int
    place: int
    """The number of the device."""
    is_out: bool
    raw: bytes
    frame: Frame
    is_wanted: bool
    """Whether the filter takes it, as it is here."""

    @property
    def _name(self) -> tuple[object, ...]:
        """As what it passes a device."""
        frame = self.frame
        return (self.place, self.is_out, frame.ttl, frame.tags, frame.tunnels, frame.source, frame.destination)


@dataclass
class Journey:
    """One packet."""

    sightings: list[Sighting] = field(default_factory=list)
    names: set[tuple[object, ...]] = field(default_factory=set)
    last_ns: int = 0

    def add(self, sighting: Sighting) -> None:
        self.sightings.append(sighting)
        self.names.add(sighting._name)
        self.last_ns = max(self.last_ns, sighting.at_ns)

    def in_order(self) -> list[Sighting]:
        return sorted(self.sightings, key=lambda each: each.at_ns)


class Follower:
    """Packets on their way. A journey is over when its packet was seen nowhere for a while."""

    def __init__(self, quiet_ns: int, most: int = 20000) -> None:
        self._quiet_ns = quiet_ns
        self._most = most
        self._open: dict[bytes, list[Journey]] = {}
        self._count = 0

    def add(self, sighting: Sighting) -> None:
        journeys = self._open.setdefault(sighting.frame.identity, [])
        fit = next((each for each in journeys if sighting._name not in each.names), None)
        if fit is None:
            fit = Journey()
            journeys.append(fit)
            self._count += 1
        fit.add(sighting)

    def over(self, now_ns: int) -> list[Journey]:
        """Journeys that have ended, the first first; of too many on their way, those too that are oldest."""
        quiet = now_ns - self._quiet_ns
        if self._count > self._most:
            ends = sorted(journey.last_ns for journeys in self._open.values() for journey in journeys)
            quiet = max(quiet, ends[len(ends) // 2])
        found: list[Journey] = []
        for identity in list(self._open):
            kept: list[Journey] = []
            for journey in self._open[identity]:
                (found if journey.last_ns <= quiet else kept).append(journey)
            if kept:
                self._open[identity] = kept
            else:
                del self._open[identity]
        self._count -= len(found)
        return sorted(found, key=lambda journey: min(each.at_ns for each in journey.sightings))


def is_shown(journey: Journey, own: Collection[int]) -> bool:
    """Whether the filter took it somewhere, and it passed a device of what was asked for."""
    return any(each.is_wanted for each in journey.sightings) and any(each.place in own for each in journey.sightings)


# --- for people, and as data ------------------------------------------------------------------------------------------


class Line(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line of `deuteron capture --json`."""

    packet: int
    """The number of the packet; lines of one packet have the same."""
    hop: int
    at: float
    """Seconds since 1970."""
    after_ms: float
    """Since it was seen first."""
    host: str
    device: str
    direction: str
    """`in`: the host's kernel receives it from the device; `out`: it sends."""
    source: str
    destination: str
    protocol: str
    """What it is, in words."""
    src_mac: str
    dst_mac: str
    namespace: str = ""
    about: str = ""
    vlan: tuple[int, ...] = ()
    tunnel: str = ""
    ttl: int = 0
    changed: tuple[str, ...] = ()
    """What is other than at the hop before."""
    bytes: int = 0


def hops(number: int, journey: Journey, places: list[Place]) -> list[Line]:
    """A journey, hop by hop."""
    found: list[Line] = []
    order = journey.in_order()
    before: Frame | None = None
    for hop, each in enumerate(order):
        place, frame = places[each.place], each.frame
        tunnel = ", ".join(tunnel.words for tunnel in frame.tunnels)
        found.append(
            Line(
                number,
                hop,
                each.at_ns / 1e9,
                round((each.at_ns - order[0].at_ns) / 1e6, 3),
                place.host,
                place.device,
                "out" if each.is_out else "in",
                frame.source,
                frame.destination,
                frame.words,
                frame.src_mac,
                frame.dst_mac,
                place.namespace,
                place.about,
                frame.tags,
                tunnel,
                frame.ttl,
                tuple(_changes(before, frame)) if before is not None else (),
                len(each.raw),
            )
        )
        before = frame
    return found


def _changes(before: Frame, now: Frame) -> Iterator[str]:
    if now.source != before.source:
        yield f"source {before.source} becomes {now.source}"
    if now.destination != before.destination:
        yield f"destination {before.destination} becomes {now.destination}"
    if now.words != before.words:
        yield now.words
    if now.tunnels != before.tunnels:
        yield ", ".join(each.words for each in now.tunnels) or "out of the tunnel"
    if now.tags != before.tags:
        yield f"tag {', '.join(map(str, now.tags))}" if now.tags else "no tag"
    if now.ttl != before.ttl:
        yield f"ttl {now.ttl}"
    if (now.src_mac, now.dst_mac) != (before.src_mac, before.dst_mac):
        yield f"{now.src_mac} > {now.dst_mac}"


def text(lines: list[Line]) -> Iterator[str]:
    """The packet, then a line for each hop: when, where, what is other there."""
    first = lines[0]
    ends = f"{first.source} > {first.destination} " if first.source else f"{first.src_mac} > {first.dst_mac} "
    yield f"#{first.packet} {ends}{first.protocol}, {first.bytes} bytes"
    width = max(len(line.host) for line in lines)
    previous = first.at
    for line in lines:
        place = f"{line.device} in {line.namespace}" if line.namespace else line.device
        words = list(line.changed)
        if line is first:
            words = [*([line.tunnel] if line.tunnel else []), *(f"tag {tag}" for tag in line.vlan)]
            words += [*([f"ttl {line.ttl}"] if line.ttl else []), f"{line.src_mac} > {line.dst_mac}"]
        step = (line.at - previous) * 1e3
        previous = line.at
        about = f"  [{line.about}]" if line.about else ""
        told = f"  {'; '.join(words)}" if words else ""
        where = f"{line.host:<{width}}  {line.direction:<3}  {place}"
        yield f"  +{line.after_ms:9.3f} ms  (+{step:.3f})  {where}{about}{told}"

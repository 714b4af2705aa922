"""What `deuteron trace` tells: the verdict with its cause, and every hop there and back, as data and as text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from deuteron.trace.catalog import Catalog
from deuteron.trace.causes import cause
from deuteron.trace.fabric import Fabric
from deuteron.trace.hops import Hop
from deuteron.trace.objects import Cause, Objects
from deuteron.trace.walk import Asked, End, Walked, walk
from deuteron.trace.world import World


class Report(msgspec.Struct, frozen=True, omit_defaults=True):
    source: str
    destination: str
    packet: str
    """`tcp/22 from 10.0.0.7 to 10.0.0.9`."""
    arrives: bool
    is_answered: bool
    cause: Cause | None = None
    """What stops the packet, or its answer."""
    there: tuple[Hop, ...] = ()
    back: tuple[Hop, ...] = ()
    notes: tuple[str, ...] = ()
    """What may make reality another than this."""

    @property
    def verdict(self) -> str:
        if not self.arrives:
            return "does not arrive"
        return (
            "arrives, and the answer comes back" if self.is_answered else "arrives, but the answer does not come back"
        )


def report(
    world: World, catalog: Catalog, source: End, destination: End, asked: Asked, fabric: Fabric | None = None
) -> Report:
    """The trace of a packet, on a `fabric` that nobody has used yet.

    Raises: Unknown for what cannot be followed; NoSuchEnd.
    """
    objects = Objects(world, catalog)
    unplugged = _unplugged(objects, source)
    if unplugged is not None:
        return Report(source.words, destination.words, "", False, False, unplugged, notes=notes(world, catalog))
    walked = walk(world, source, destination, asked, fabric)
    there, back = walked.there, walked.back
    arrives, is_answered = there.dropped is None, back is not None and back.dropped is None
    found = cause(world, catalog, walked, source, destination)
    stale = _unrealised(world, objects, source, destination, walked)
    if stale is not None:
        arrives = is_answered = False
        found = stale
    packet = walked.packet
    return Report(
        source.words,
        destination.words,
        f"{packet.words} from {packet.source} to {packet.destination}",
        arrives,
        is_answered,
        found,
        there.hops,
        back.hops if back is not None else (),
        notes(world, catalog),
    )


def notes(world: World, catalog: Catalog) -> tuple[str, ...]:
    """Hosts whose agents are silent: they do what they were told last."""
    return tuple(
        f"the agent of host {host} does not answer: what was asked of the host since is not done"
        for host in sorted(world.silent)
    )


def _unplugged(objects: Objects, end: End) -> Cause | None:
    if end.port_id is None or end.namespace is not None or objects.placed(end.port_id) is not None:
        return None
    return objects.down(end.port_id)


def _unrealised(world: World, objects: Objects, source: End, destination: End, walked: Walked) -> Cause | None:
    """A port on the way that is planned, on a host whose agent is silent and never said that it is there."""
    if not world.silent:
        return None
    hops = (*walked.there.hops, *(walked.back.hops if walked.back is not None else ()))
    ports = [hop.about[1] for hop in hops if hop.about is not None and hop.about[0] == "port"]
    ends = [end.port_id for end in (source, destination) if end.port_id is not None]
    for port_id in dict.fromkeys((*ends, *ports)):
        placed = objects.placed(port_id)
        row = objects.catalog.get("port", port_id)
        if placed is None or row is None or placed[0].name not in world.silent:
            continue
        if row.get("status") != "ACTIVE":
            host = placed[0].name
            return Cause(
                "agent-down",
                f"the agent of host {host} does not answer, and {objects.port(port_id)} was never wired there: its "
                f"status is {row.get('status')}",
                f"deuteron status, deuteron logs {host}-agent",
                ("port", port_id),
            )
    return None


def lines(told: Report, catalog: Catalog) -> Iterator[str]:
    """The report for people."""
    yield f"{told.packet or 'a packet'}: {told.source} to {told.destination}"
    for title, hops in (("there", told.there), ("back", told.back)):
        if hops:
            yield ""
            yield f"{title}:"
            yield from _hops(hops, catalog)
    yield ""
    yield f"verdict: {told.verdict}"
    if told.cause is not None:
        yield f"cause: {told.cause.text}"
        if told.cause.hint:
            yield f"what would let it pass: {told.cause.hint}"
    for note in told.notes:
        yield f"note: {note}"


def _hops(hops: Sequence[Hop], catalog: Catalog) -> Iterator[str]:
    width = max(len(hop.host) for hop in hops)
    about = None
    for hop in hops:
        whose = ""
        if hop.about is not None and hop.about != about:
            about = hop.about
            whose = f"  [{catalog.called(*hop.about)}]"
        does = f"  {hop.does}" if hop.does else ""
        beside = f"  {hop.rule}" if hop.rule and not hop.does else ""
        yield f"  {hop.host:<{width}}  {called(hop.place, catalog)}{does}{beside}{whose}"
        if hop.rule and hop.does:
            yield f"  {'':<{width}}    {hop.rule}"


def called(place: str, catalog: Catalog) -> str:
    """A place, a guest by the name of its server."""
    words = place.split(" ")
    if words[0] == "guest" and catalog.get("server", words[1]) is not None:
        words[1] = catalog.name("server", words[1])
    return " ".join(words)

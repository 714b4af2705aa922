"""Planned and live side by side: what running hosts say on the way of a packet, and where one that was sent was seen.

`judge` is pure. What hosts said comes from `cli.live`, which asks them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

import msgspec

from deuteron.model.intent import Difference
from deuteron.net.rows import NAMESPACES
from deuteron.trace.hops import Hop
from deuteron.trace.ofproto import met_there, parting
from deuteron.trace.report import Report
from deuteron.trace.rulings import Place, Rule, place_of
from deuteron.trace.witness import Leg, Station

Direction = Literal["there", "back"]


class Route(msgspec.Struct, frozen=True):
    """What the kernel answers who asks for the way to an address."""

    device: str = ""
    via: str = ""
    refusal: str = ""

    @property
    def words(self) -> str:
        return self.refusal or f"{f'via {self.via} ' if self.via else ''}dev {self.device}"


class Looked(msgspec.Struct, frozen=True):
    """What one host says, asked in the order of the way."""

    differences: tuple[Difference, ...] = ()
    traces: tuple[str, ...] = ()
    """What `ofproto/trace` prints, of each leg on this host."""
    routes: tuple[Route, ...] = ()
    """Of each route on this host."""
    problem: str = ""
    """Why it could not be asked."""


class Look(msgspec.Struct, frozen=True):
    """One question to a host, and whether what it says is what is planned."""

    host: str
    place: str
    planned: str
    live: str
    agrees: bool


class Sight(msgspec.Struct, frozen=True, omit_defaults=True):
    """A device of the planned way, and when the packet was seen there."""

    direction: Direction
    host: str
    place: str
    after_ms: float | None = None
    """Since it was sent; None where it was not seen."""
    is_sent: bool = False
    """Where it was sent from, and so was not seen."""
    hop: int = 0
    """Of the way of its direction."""


class Probed(msgspec.Struct, frozen=True):
    """What became of a packet that was sent."""

    sent: str
    """What, and from where."""
    sights: tuple[Sight, ...]
    beyond: tuple[Sight, ...] = ()
    """Where it was seen although the plan ends before."""
    errors: tuple[str, ...] = ()
    """ICMP that tells of it."""
    is_answered: bool = False


class Parted(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where prediction and reality part."""

    kind: str
    """A stable word: `flow-missing`, `flow-other`, `route`, `row-missing`, `row-other`, `lost`, `passes`."""
    host: str
    planned: str
    live: str
    text: str
    hint: str = ""


class Counted(msgspec.Struct, frozen=True):
    """A rule on the way, and how often the kernel says that the packet that was sent, or its answer, met it."""

    host: str
    place: str
    rule: str
    packets: int


class Live(msgspec.Struct, frozen=True, omit_defaults=True):
    looks: tuple[Look, ...] = ()
    probe: Probed | None = None
    parted: Parted | None = None
    notes: tuple[str, ...] = ()
    counted: tuple[Counted, ...] = ()

    @property
    def verdict(self) -> str:
        if self.parted is not None:
            return "parts from the plan"
        if self.probe is None:
            return "as planned, as far as the hosts say"
        if self.probe.is_answered:
            return "as planned: the answer came back"
        there = [sight for sight in self.probe.sights if sight.direction == "there"]
        arrived = bool(there) and there[-1].after_ms is not None and len(there) < len(self.probe.sights)
        return "as planned: the packet arrives" if arrived else "as planned: the packet dies"


def judge(
    told: Report, legs: Mapping[Direction, Sequence[Leg]], looked: Mapping[str, Looked], probe: Probed | None
) -> Live:
    """Where they part, if they do. Of several reasons, rules that a packet should meet come before what is near."""
    ways: list[tuple[Direction, Sequence[Hop]]] = [("there", told.there), ("back", told.back)]
    looks: list[Look] = []
    partings: list[Parted] = []
    traces = {host: iter(each.traces) for host, each in looked.items()}
    routes = {host: iter(each.routes) for host, each in looked.items()}
    for direction, way in ways:
        for look, parted in (*_switches(legs.get(direction, ()), traces), *_routes(way, routes)):
            looks.append(look)
            if parted is not None:
                partings.append(parted)
    missing, near, notes = _rows([*told.there, *told.back], looked)
    lost = _lost(told, probe)
    died = lost is not None or (probe is None and not told.is_answered)
    # A rule that is gone explains why a packet meets another; what is only near explains a packet that dies.
    found = [*missing, *partings, *(near if died and lost is not None else ()), *([lost] if lost is not None else [])]
    rest = [each.text for each in near if each not in found[:1]]
    if found and found[0] is not lost:
        found[0] = _with_loss(found[0], lost)
    if probe is None:
        notes.append("no packet was sent: by the plan none leaves the guest, or its port is in no switch")
    elif _is_one_way(told) and lost is None and told.is_answered and not probe.is_answered:
        notes.append("whoever listens there need not answer such a packet, and did not")
    counted = tuple(f"host {host} could not be asked: {each.problem}" for host, each in looked.items() if each.problem)
    return Live(tuple(looks), probe, found[0] if found else None, (*counted, *notes, *rest))


def _switches(legs: Sequence[Leg], asked: Mapping[str, Iterator[str]]) -> Iterator[tuple[Look, Parted | None]]:
    for leg in legs:
        text = next(asked.get(leg.entry.host, iter(())), None)
        if text is None:
            continue
        place = f"{leg.entry.port.bridge} from {leg.entry.port.name}"
        count = sum(1 for hop in leg.hops if hop.rule)
        part = parting(leg.hops, met_there(text))
        if part is None:
            yield Look(leg.entry.host, place, f"{count} entries", "meets them all", agrees=True), None
            continue
        planned = f"{part.hop.place.partition(' ')[0]} {part.hop.rule}"
        host = leg.entry.host
        yield Look(host, place, planned, part.live, agrees=False), Parted(
            "flow-other", host, planned, part.live,
            f"the switch of host {host} does otherwise than planned: the packet should meet {part.hop.rule} of "
            f"{part.hop.place.partition(' ')[0]}; live: {part.live}",
            _mends(host),
        )  # fmt: skip


def _routes(way: Sequence[Hop], asked: Mapping[str, Iterator[Route]]) -> Iterator[tuple[Look, Parted | None]]:
    for hop in routes_of(way):
        live = next(asked.get(hop.host, iter(())), None)
        if live is None:
            continue
        words = hop.rule.split()
        device, via = words[-1], words[2] if "via" in words else ""
        agrees = (live.device, live.via) == (device, via)
        yield Look(hop.host, hop.place, hop.rule, live.words, agrees), None if agrees else Parted(
            "route", hop.host, f"{hop.place}: {hop.rule}", live.words,
            f"the kernel of host {hop.host} routes otherwise than planned in {hop.place.split(' ')[0]}: the packet "
            f"should go by {hop.rule}; live: {live.words}",
            _mends(hop.host),
        )  # fmt: skip


def routes_of(way: Sequence[Hop]) -> list[Hop]:
    """The hops at which a namespace chooses a route."""
    return [hop for hop in way if hop.place.endswith(" route") and hop.place.startswith(NAMESPACES)]


def namespaces_of(way: Sequence[Hop], host: str) -> list[str]:
    """The namespaces of a host that lie on a way."""
    places = (hop.place.split(" ")[0] for hop in way if hop.host == host)
    return sorted({place for place in places if place.startswith(NAMESPACES)})


def rules_of(way: Sequence[Hop]) -> list[Hop]:
    """The hops at which a rule of iptables or nftables is met."""
    return [hop for hop in way if hop.rule.startswith("-A ") or hop.place.endswith(" nftables")]


def counted(way: Sequence[Hop], met: Mapping[Place, Sequence[Rule]]) -> Iterator[Counted]:
    """How often each rule on the way was met, where the kernel was asked."""
    for hop in dict.fromkeys(rules_of(way)):
        place = place_of(hop)
        if place in met:
            yield Counted(hop.host, hop.place, hop.rule, sum(rule.text == hop.rule for rule in met[place]))


def _rows(way: Sequence[Hop], looked: Mapping[str, Looked]) -> tuple[list[Parted], list[Parted], list[str]]:
    """Rows of hosts that are not as planned: those that the packet meets, in its order; those beside; and the rest."""
    met: list[tuple[int, Parted]] = []
    near: list[Parted] = []
    notes: list[str] = []
    for host, each in looked.items():
        for difference in each.differences:
            if difference.kind == "unknown":
                notes.append(f"host {host}: {difference.table} rows cannot be looked at: {difference.actual}")
                continue
            place = _met_at(way, host, difference)
            parted = _unlike(host, difference)
            if place is not None:
                met.append((place, parted))
            elif difference.table != "flow":
                near.append(parted)
            else:
                notes.append(f"host {host}: {difference.words}")
    return [parted for _, parted in sorted(met, key=lambda pair: pair[0])], near, notes


def _met_at(way: Sequence[Hop], host: str, difference: Difference) -> int | None:
    """The hop at which a packet meets what is not as planned."""
    wanted = f"{difference.wanted or ''} "
    for number, hop in enumerate(way):
        if hop.host != host:
            continue
        first, _, rest = hop.place.partition(" ")
        if difference.table == "flow" and hop.rule and wanted.startswith(f"flow on {first}: {hop.rule} "):
            return number
        is_rule = hop.rule.startswith("-A ") and f" in {first} " in wanted
        lacks = difference.kind == "missing" or f"lacks {hop.rule}" in (difference.actual or "")
        if difference.table == "iptables" and is_rule and lacks:
            return number
        if difference.table == "route" and rest == "route" and difference.kind != "unwanted":
            to = hop.rule.split(" ")[0].replace("default", "::/0" if ":" in hop.rule else "0.0.0.0/0")
            if wanted.startswith(f"route {to} via") and f" in {first} " in wanted:
                return number
        if difference.table in ("device", "device state", "interface", "port") and difference.kind != "unwanted":
            device = rest or first
            if any(word == device for word in wanted.replace(":", " ").split(" ")):
                return number
        is_whole = difference.table in ("setting", "address", "namespace") and difference.kind != "unwanted"
        if is_whole and first.startswith(NAMESPACES) and f" {first} " in wanted:
            return number
    return None


def _unlike(host: str, difference: Difference) -> Parted:
    planned, live = difference.wanted or "nothing of the kind", difference.actual or "it is not there"
    if difference.kind == "missing":
        kind = "flow-missing" if difference.table == "flow" else "row-missing"
        return Parted(kind, host, planned, live, f"host {host} lacks a planned {planned}", _mends(host))
    if difference.kind == "unwanted":
        return Parted("row-other", host, planned, live, f"host {host} has what nobody planned: {live}", _mends(host))
    kind = "flow-other" if difference.table == "flow" else "row-other"
    if difference.table == "flow":
        planned = planned.partition(" with actions=")[0]
    first, *others = live.split("; ")
    live = f"{first}; and {len(others)} more" if others else first
    return Parted(kind, host, planned, live, f"on host {host} {planned} is otherwise: {live}", _mends(host))


def _mends(host: str) -> str:
    return f"the agent of host {host} mends it while it runs: deuteron status, deuteron diff {host}"


def _lost(told: Report, probe: Probed | None) -> Parted | None:
    """Where a packet that was sent was not seen, or was seen although the plan ends before."""
    if probe is None:
        return None
    if probe.beyond:
        there = probe.beyond[0]
        text = f"the packet is seen at {there.place} of host {there.host}, and by the plan it ends before"
        return Parted("passes", there.host, _ended(told), f"seen at {there.place} of host {there.host}", text)
    before: Sight | None = None
    must_answer = told.is_answered and not _is_one_way(told)
    for sight in probe.sights:
        is_missed = sight.after_ms is None and not sight.is_sent and not _seen_later(probe, sight)
        if is_missed and (sight.direction == "there" or must_answer):
            return _not_seen(before, sight, probe)
        before = sight
    if must_answer and not probe.is_answered:
        planned, live = "the answer comes back", "no answer was seen"
        return Parted("lost", before.host if before else "", planned, live, f"{planned}, and {live}")
    return None


def _is_one_way(told: Report) -> bool:
    """Whether who gets such a packet need not answer it: it has nothing in it that a service would understand."""
    return told.packet.startswith(("udp", "sctp"))


def _ended(told: Report) -> str:
    return told.cause.text if told.cause is not None else told.verdict


def _seen_later(probe: Probed, missed: Sight) -> bool:
    """Whether it was seen after a device in the same direction: then what was not seen is the look, not the packet."""
    later = probe.sights[probe.sights.index(missed) + 1 :]
    return any(each.after_ms is not None for each in later)


def _not_seen(before: Sight | None, sight: Sight, probe: Probed) -> Parted:
    at = f"{sight.place} of host {sight.host}"
    what = "the packet" if sight.direction == "there" else "the answer"
    if before is None:
        live = f"{what} was not seen there"
    elif before.direction == sight.direction:
        where = "was sent from" if before.is_sent else "was seen last at"
        live = f"{what} {where} {before.place} of host {before.host}"
    else:
        live = f"{what} was not seen, and the packet was seen last at {before.place} of host {before.host}"
    errors = f" ({'; '.join(probe.errors)})" if probe.errors else ""
    return Parted("lost", sight.host, f"{what} comes to {at}", live, f"{what} does not come to {at}: {live}{errors}")


def _with_loss(parted: Parted, lost: Parted | None) -> Parted:
    if lost is None or lost.kind != "lost":
        return parted
    return msgspec.structs.replace(parted, text=f"{parted.text}; {lost.text}")


# --- for people -------------------------------------------------------------------------------------------------------


def lines(live: Live) -> Iterator[str]:
    yield ""
    yield "live, what hosts say:"
    for look in live.looks:
        if look.agrees:
            yield f"  {look.host}  {look.place}  {look.live}"
        else:
            yield f"  {look.host}  {look.place}"
            yield f"    planned: {look.planned}"
            yield f"    live:    {look.live}"
    for each in live.counted:
        yield f"  {each.host}  {each.place}  counted {each.packets}: {each.rule}"
    if live.probe is not None:
        yield ""
        yield f"live, one packet: {live.probe.sent}"
        for sight in (*live.probe.sights, *live.probe.beyond):
            words = "sent" if sight.is_sent else "not seen"
            if sight.after_ms is not None:
                words = f"+{sight.after_ms:.3f} ms"
            yield f"  {words:>12}  {sight.direction:<5}  {sight.host}  {sight.place}"
        for error in live.probe.errors:
            yield f"  {error}"
    yield ""
    yield f"live: {live.verdict}"
    if live.parted is not None:
        yield f"planned: {live.parted.planned}"
        yield f"live: {live.parted.live}"
        yield f"cause: {live.parted.text}"
        if live.parted.hint:
            yield f"what would let it pass: {live.parted.hint}"
    for note in live.notes:
        yield f"note: {note}"


def sights(direction: Direction, found: Sequence[tuple[int, Station]]) -> list[Sight]:
    """Those devices, where nothing was seen yet."""
    return [Sight(direction, station.host, station.words, hop=number) for number, station in found]

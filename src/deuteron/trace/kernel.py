"""What a network stack does with a packet: answers who asks for its addresses, filters, translates, routes, sends on.

    in    raw, connections, mangle, nat PREROUTING ──> an own address? INPUT, arrived ── else route
    on    mangle and filter FORWARD ──> mangle and nat POSTROUTING ──> who has the next hop? ──> out by the device

Source: Linux, net/ipv4/ip_forward.c; `Packet flow in Netfilter and General Networking`.
"""

from __future__ import annotations

from typing import Literal, Protocol

from deuteron.net.rows import MAIN_TABLE
from deuteron.trace.hops import Arrived, Dropped, Ending, Hop, Step
from deuteron.trace.iptables import Passing, Ruling
from deuteron.trace.packet import (
    REQUEST,
    SOLICITATION,
    Packet,
    ask,
    is_multicast,
    told,
    within,
)
from deuteron.trace.stack import Device, Route, Stack
from deuteron.trace.tracking import (
    Connection,
    Known,
    begins_nothing,
    begun,
    flow_of,
    from_source,
    to_destination,
    translated_in,
    translated_out,
)
from deuteron.trace.unknown import Unknown


class Wires(Protocol):
    """What carries frames between stacks."""

    def emit(self, stack: Stack, device: Device, packet: Packet, step: Step) -> list[Ending]:
        """Where a frame that a device sends ends."""


def receive(wires: Wires, stack: Stack, device: Device, packet: Packet, step: Step, sent: Packet) -> list[Ending]:
    """Where a frame ends that comes in by a device of a stack. `sent` is the packet as it left its source.

    Raises: Unknown.
    """
    if packet.dst_mac != device.mac and not is_multicast(packet.dst_mac):
        return []
    if packet.is_resolution:
        return _resolution(wires, stack, device, packet, step)
    if is_multicast(packet.dst_mac):
        return []
    return _Passage(wires, stack, packet, step, sent, device.name).come_in()


def send(wires: Wires, stack: Stack, packet: Packet, step: Step) -> list[Ending]:
    """Where a packet ends that a stack itself sends: routed, and without MACs yet.

    Raises: Unknown.
    """
    return _Passage(wires, stack, packet, step, packet, "").begin()


def _resolution(wires: Wires, stack: Stack, device: Device, packet: Packet, step: Step) -> list[Ending]:
    is_question = packet.protocol == REQUEST if packet.kind == "arp" else packet.sport == SOLICITATION
    wanted = packet.destination if packet.kind == "arp" else packet.nd_target
    if not is_question:
        whose = packet.source if packet.kind == "arp" else packet.nd_target
        stack.neighbours[device.name, whose] = packet.mac
        return [Arrived(step, stack.name, packet, packet)]
    if not stack.answers_for(device, wanted, packet.source):
        return []
    stack.neighbours[device.name, packet.source] = packet.mac
    return wires.emit(stack, device, told(packet, device.mac), step)


class _Passage:
    """One packet in one stack."""

    def __init__(self, wires: Wires, stack: Stack, packet: Packet, step: Step, sent: Packet, came: str) -> None:
        self.wires = wires
        self.stack = stack
        self.step = step
        self.sent = sent
        self.came = came
        self.known: Known | None = None
        self.connection: Connection | None = None
        self.passing = Passing(packet, in_device=came, sets=stack.sets)

    @property
    def packet(self) -> Packet:
        return self.passing.packet

    def come_in(self) -> list[Ending]:
        self._note(self.came, "", "comes in")
        ended = self._hooks("PREROUTING")
        if ended is not None:
            return [ended]
        stack, packet = self.stack, self.packet
        if stack.owns(packet.destination):
            return self._arrive()
        if stack.sort == "outside" and not any(within(packet.destination, route.destination) for route in stack.routes):
            return self._arrive()
        if stack.sort != "namespace":
            return [self._dropped("address", device=self.came)]
        if packet.family not in stack.forwards:
            return [self._dropped("forward", device=self.came)]
        if packet.ttl <= 1:
            return [self._dropped("hops", device=self.came)]
        self.passing.packet = packet.but(ttl=packet.ttl - 1)
        return self._go(is_own=False)

    def begin(self) -> list[Ending]:
        ended = self._hooks("OUTPUT")
        if ended is not None:
            return [ended]
        if self.stack.owns(self.packet.destination):
            return self._arrive()
        return self._go(is_own=True)

    def _arrive(self) -> list[Ending]:
        for table in ("mangle", "filter"):
            ended = self._ask(table, "INPUT")
            if ended is not None:
                return [ended]
        self._commit()
        self._note("", "", f"takes {self.packet.words} for {self.packet.destination}: arrived")
        return [Arrived(self.step, self.stack.name, self.packet, self.sent)]

    def _go(self, is_own: bool) -> list[Ending]:
        stack = self.stack
        route = stack.route(self.packet.destination, self.packet.source, self.came)
        if route is None:
            return [self._dropped("route", device=self.came)]
        device = stack.devices[route.device]
        self._note("route", route.words, f"{self._asked_for(route)} by {route.device}")
        self.passing.out_device = route.device
        if not is_own:
            for table in ("mangle", "filter"):
                ended = self._ask(table, "FORWARD")
                if ended is not None:
                    return [ended]
        if self.packet.size_bytes > device.mtu_bytes:
            return [self._dropped("size", device=device.name, limit=device.mtu_bytes)]
        ended = self._hooks("POSTROUTING")
        if ended is not None:
            return [ended]
        self._commit()
        return self._to(route, device)

    def _asked_for(self, route: Route) -> str:
        """What the way is chosen by, in the words of ip-route(8); of the main table its destination alone."""
        to = f"to {self.packet.destination}"
        if route.table == MAIN_TABLE:
            return to
        return f"{to} from {self.packet.source}" + (f" iif {self.came}" if self.came else "")

    def _to(self, route: Route, device: Device) -> list[Ending]:
        hop = route.via or self.packet.destination
        stack = self.stack
        mac = stack.neighbours.get((device.name, hop))
        if mac is None:
            source = _asks_from(stack, device, hop, self.packet.source)
            endings = self.wires.emit(stack, device, ask(device.mac, source, hop), Step())
            mac = stack.neighbours.get((device.name, hop))
            if mac is None:
                ended = tuple(ending for ending in endings if isinstance(ending, Dropped))
                return [self._dropped("neighbour", device=device.name, rule=hop, within=ended)]
        word = "ARP" if ":" not in hop else "neighbour discovery"
        self._note(device.name, "", f"{word}: {hop} is at {mac}")
        frame = self.packet.but(src_mac=device.mac, dst_mac=mac, mark=0, vlan=0, tun_id=0)
        return self.wires.emit(stack, device, frame, self.step)

    # --- hooks --------------------------------------------------------------------------------------------------------

    def _hooks(self, hook: Literal["PREROUTING", "OUTPUT", "POSTROUTING"]) -> Dropped | None:
        """The tables of a hook in their order, with connection tracking after `raw`."""
        stack, passing = self.stack, self.passing
        if stack.sort != "namespace":
            return None
        if hook != "POSTROUTING":
            ended = self._ask("raw", hook)
            if ended is not None:
                return ended
            if passing.is_tracked:
                self._track()
            else:
                passing.state = "UNTRACKED"
        ended = self._ask("mangle", hook)
        if ended is None and self.connection is not None:  # what has no connection is not translated
            ended = self._translate(hook, is_in=hook != "POSTROUTING")
        if ended is None and hook == "OUTPUT":
            ended = self._ask("filter", hook)
        passing.connection = self.connection
        return ended

    def _track(self) -> None:
        zone = (self.stack.name, self.passing.zone)
        self.known = self.stack.tracker.find(zone, self.packet)
        if self.known is None and begins_nothing(self.packet):
            self.passing.state = "INVALID"
            return
        self.connection = begun(self.packet) if self.known is None else self.known.connection
        self.passing.connection = self.connection
        if self.known is not None and self.connection.is_answered:
            self.passing.state = "ESTABLISHED"

    def _commit(self) -> None:
        if self.stack.sort == "namespace" and self.known is None and self.connection is not None:
            self.stack.tracker.commit((self.stack.name, self.passing.zone), self.connection)

    def _translate(self, hook: str, *, is_in: bool) -> Dropped | None:
        before = self.packet
        if self.known is not None:
            changed = translated_in(before, self.known) if is_in else translated_out(before, self.known)
            self.passing.packet = changed
            if changed != before:
                self._note(f"connection tracking {hook}", "", _translation(before, changed))
            return None
        return self._ask("nat", hook)

    def _ask(self, table: str, hook: str) -> Dropped | None:
        """Asks a table; what changes the packet is done. The drop, if that is what it says."""
        tables = self.stack.tables.get(self.packet.family)
        if tables is None:
            return None
        ruling, met = tables.ask(table, hook, self.passing)
        place = f"{table} {hook}"
        for each in met:
            if each is not ruling:
                self._note(place, each.text, _does(each))
        if ruling.rule is None:
            return None
        if ruling.verdict == "DROP":
            self._note(place, ruling.text, "drops")
            return self._dropped("rule", device=self.passing.out_device or self.came, rule=ruling.text)
        if ruling.verdict in ("DNAT", "SNAT", "REDIRECT"):
            self._nat(ruling, place)
        else:
            self._note(place, ruling.text, "accepts")
        return None

    def _nat(self, ruling: Ruling, place: str) -> None:
        assert ruling.rule is not None and self.connection is not None  # a rule was met, after tracking
        before, options = self.packet, ruling.rule.options
        if ruling.verdict == "SNAT":
            changed = from_source(before, options["--to-source"])
        elif ruling.verdict == "DNAT":
            address, port = _target(options["--to-destination"], before.dport, ruling.text)
            changed = to_destination(before, address, port)
        else:
            devices = [self.stack.devices[self.came]] if self.came else []
            own = next(
                (a for d in devices for a in sorted(d.own) if (":" in a) is (before.family == 6)), before.destination
            )
            changed = to_destination(before, own, int(options["--to-ports"]))
        self.passing.packet = changed
        self.connection.back = flow_of(changed).back
        self._note(place, ruling.text, _translation(before, changed))

    # --- what is told of it -------------------------------------------------------------------------------------------

    def _note(self, place: str, rule: str, does: str) -> None:
        stack = self.stack
        where = f"{stack.name} {place}".strip()
        self.step = self.step.then(Hop(stack.host, where, rule, does, stack.about))

    def _dropped(
        self,
        why: Literal["address", "forward", "hops", "route", "size", "neighbour", "rule"],
        *,
        device: str,
        rule: str = "",
        limit: int = 0,
        within: tuple[Dropped, ...] = (),
    ) -> Dropped:
        stack = self.stack
        port = stack.devices[device].port_id if device in stack.devices else None
        return Dropped(
            self.step, why, stack.host, self.packet, port, stack=stack.name, device=device, rule=rule,
            limit_bytes=limit, within=within,
        )  # fmt: skip


def _asks_from(stack: Stack, device: Device, hop: str, source: str) -> str:
    """The address in whose name a stack asks for a neighbour: of the device, in the same prefix before others."""
    texts = [text for text in device.addresses if (":" in text) is (":" in hop)]
    near = next((text for text in texts if within(hop, text)), texts[0] if texts else f"{source}/32")
    return near.split("/")[0]


def _target(text: str, port: int, rule: str) -> tuple[str, int | None]:
    """Of `--to-destination`: `A`, `A:80`, or `A:100-110/200`, where 200 outside is 100 inside."""
    address, colon, ports = text.rpartition(":")
    if not colon:
        return text, None
    span, slash, base = ports.partition("/")
    low, dash, _ = span.partition("-")
    if dash and not slash:
        raise Unknown("a choice of ports", rule)
    return address, int(low) + (port - int(base) if slash else 0)


def _translation(before: Packet, after: Packet) -> str:
    """What is another now."""
    found = []
    if before.source != after.source:
        found.append(f"source {before.source} becomes {after.source}")
    if before.destination != after.destination:
        found.append(f"destination {before.destination} becomes {after.destination}")
    if before.dport != after.dport:
        found.append(f"port {before.dport} becomes {after.dport}")
    if before.sport != after.sport:
        found.append(f"source port {before.sport} becomes {after.sport}")
    return ", ".join(found) or "translates nothing"


def _does(ruling: Ruling) -> str:
    return {"MARK": "marks", "CONNMARK": "keeps the mark with the connection", "CT": "sets the zone"}.get(
        ruling.verdict, ruling.verdict.lower()
    )

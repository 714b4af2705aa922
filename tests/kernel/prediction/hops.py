"""Every hop that a walk tells of is one that the kernel tells of, too: devices, rules, entries of switches, routes.

Packets are sent once more, each with a number of its own, and once only. Of each one that was sent, and of its answer

    devices    it is seen where the walk says that it passes, and at no other device of a guest, a namespace or a wire
    rules      the kernel names the rules of iptables and nftables that it met: the same, in the same order, and where
               the walk says that a rule drops it, that rule's verdict is to drop
    switches   the frame that was seen there, given to the switch, meets the entries that the walk names
    counters   of each entry the switch has counted as many packets as walks pass it
    routes     of each namespace the kernel names the device and next hop that the walk names
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from deuteron.net.kernel.openflow import cookie_of
from deuteron.net.rows import HOST, NAMESPACES
from deuteron.trace.hops import Dropped, Hop
from deuteron.trace.live import Route, routes_of
from deuteron.trace.packet import UDP
from deuteron.trace.rulings import parting, planned
from deuteron.trace.walk import Asked, End, Walked, walk
from deuteron.trace.witness import Leg, Witness, stations
from tests.hostile import frames
from tests.kernel.prediction.evidence import Passed, Told
from tests.kernel.prediction.hosts import TUNNELS, Machines
from tests.kernel.prediction.probes import Probe, Sign
from tests.property.clouds import Made

_WAIT_S: Final = 0.8
_OF_IP: Final = re.compile(r",(ip|tcp|udp|icmp|tcp6|udp6|ct_\w+)\b")
"""Of a match, that no question for a neighbour fits."""
Seen = tuple[str, Passed]
"""A host and a device of it."""


@dataclass
class Foretold:
    """What a walk says of a packet."""

    words: str
    source: str
    probe: Probe
    walked: Walked
    legs: dict[bool, list[Leg]]
    """Of the packet, and (True) of its answer."""
    wrong: list[str] = field(default_factory=list)

    def way(self, is_answer: bool) -> Sequence[Hop]:
        if not is_answer:
            return self.walked.there.hops
        return () if self.walked.back is None else self.walked.back.hops

    @property
    def is_answer_other(self) -> bool:
        """Whether what comes back is another kind of packet: a kernel says that nobody listens."""
        arrived = self.walked.there.arrived
        return self.probe.protocol == UDP and arrived is not None and arrived.startswith(NAMESPACES)


def foretold(made: Made, source: End, probe: Probe, asked: Asked, words: str) -> Foretold:
    witness = Witness(made.world)
    walked = walk(made.world, source, End(probe.destination, address=probe.destination), asked, witness)
    back = () if walked.back is None else walked.back.hops
    legs = {False: witness.legs(walked.there.hops), True: witness.legs(back)}
    return Foretold(words, source.words, probe, walked, legs)


class Compared:
    """Walks beside what hosts have told of the same packets."""

    def __init__(self, made: Made, asked: Sequence[Foretold], told: dict[str, Told]) -> None:
        self.made = made
        self.asked = asked
        self.told = told
        self.counted: Counter[str] = Counter()
        """Of each kind of evidence, how much of it was looked at."""
        self._devices = {seen for each in asked for turn in (False, True) for seen in self._planned(each, turn)}

    def _planned(self, each: Foretold, is_answer: bool) -> list[Seen]:
        found = stations(self.made.world, each.way(is_answer), {})
        return [(it.host, Passed(it.namespace or HOST, it.device, it.is_out)) for _, it in found]

    def compare(self) -> None:
        """Notes at each what is not as foretold: of devices and of rules."""
        for each in self.asked:
            for is_answer in (False, True):
                if is_answer and each.is_answer_other:
                    continue
                sign = Sign(each.probe.number, is_answer)
                self._compare_devices(each, sign)
                self._compare_rules(each, sign)

    def _compare_devices(self, each: Foretold, sign: Sign) -> None:
        wanted = self._planned(each, sign.is_answer)
        seen = {(host, passed) for host, told in self.told.items() for passed in told.seen.get(sign, ())}
        self.counted["devices"] += len(wanted)
        what = "answer" if sign.is_answer else "packet"
        missed = [place for place in wanted if place not in seen]
        if missed:
            each.wrong.append(f"{what} not seen at {_words(missed)}, seen at {_words(seen)}")
        beyond = {place for place in (seen & self._devices) - set(wanted) if not self._is_flooded(place, sign)}
        if beyond:
            each.wrong.append(f"{what} seen beyond, at {_words(beyond)}")

    def _is_flooded(self, place: Seen, sign: Sign) -> bool:
        """Whether what passed a device is for the MAC of another, in a cloud whose routers are distributed.

        There a switch may never hear of a MAC, since neighbours are known and not asked for (decision 0039).
        """
        host, passed = place
        intent = self.made.world.machines[host].intent
        if not any(router.distributed is not None for router in intent.routers.values()):
            return False
        port = next((each for each in intent.ports.values() if passed.device.endswith(each.id[:11])), None)
        return port is not None and self.told[host].seen[sign][passed][:6] != frames.mac(port.mac_address)

    def _compare_rules(self, each: Foretold, sign: Sign) -> None:
        wanted = planned(each.way(sign.is_answer))
        live = {
            (host, namespace): rules
            for host, told in self.told.items()
            for namespace, rules in told.rules.get(sign, {}).items()
        }
        for place in wanted.keys() | live.keys():
            rules = wanted.get(place, [])
            self.counted["rules"] += len(rules)
            self.counted["rules that drop"] += any(rule.drops for rule in rules)
            part = parting(place, rules, live.get(place, []))
            if part is not None:
                each.wrong.append(f"{'answer' if sign.is_answer else 'packet'}: {part.words}")

    def entries(self, host: str) -> list[tuple[Foretold, Leg, bytes]]:
        """What came into the switch of a host, with the frame that was seen there."""
        told = self.told[host]
        found = []
        for each in self.asked:
            for is_answer, legs in each.legs.items():
                if is_answer and each.is_answer_other:
                    continue
                seen = told.seen.get(Sign(each.probe.number, is_answer), {})
                for leg in legs:
                    if leg.entry.host != host:
                        continue
                    port = leg.entry.port
                    place = Passed(port.namespace, port.name, port.type == "internal")
                    if leg.entry.packet.tun_id:
                        place = Passed(HOST, TUNNELS, False)
                    frame = seen.get(place)
                    if frame is None:
                        each.wrong.append(f"nothing comes into {port.bridge} of host {host} by {port.name}")
                        continue
                    self.counted["frames in switches"] += 1
                    self.counted["entries of switches"] += sum(1 for hop in leg.hops if hop.rule)
                    found.append((each, leg, frame))
        return found

    def routes(self, host: str) -> dict[tuple[str, ...], list[tuple[Foretold, Hop]]]:
        """By namespace and what it is asked, the routes that are told."""
        found: dict[tuple[str, ...], list[tuple[Foretold, Hop]]] = defaultdict(list)
        for each in self.asked:
            for hop in (*routes_of(each.way(False)), *routes_of(each.way(True))):
                if hop.host == host:
                    self.counted["routes"] += 1
                    asked = hop.does.partition(" by ")[0].split(" ")[1:]  # of other tables also whence it comes
                    found[hop.place.split(" ")[0], *asked].append((each, hop))
        return found

    def compare_routes(self, asked: dict[tuple[str, ...], list[tuple[Foretold, Hop]]], live: Iterable[Route]) -> None:
        for told, found in zip(asked.values(), live, strict=True):
            for each, hop in told:
                words = hop.rule.split()
                via = words[2] if "via" in words else ""
                if (found.device, found.via) != (words[-1], via):
                    each.wrong.append(f"{hop.place}: {hop.rule}; live: {found.words}")

    def counters(self) -> Iterator[str]:
        """Entries of switches that have counted otherwise than walks pass them."""
        more = sum(each.is_answer_other or _tells(each.walked.there.dropped) for each in self.asked)
        wanted: Counter[tuple[str, int]] = Counter()
        rules: dict[tuple[str, int], str] = {}
        for each in self.asked:
            for is_answer, legs in each.legs.items():
                if is_answer and each.is_answer_other:
                    continue
                for leg in legs:
                    for hop in leg.hops:
                        if hop.rule and "learned" not in hop.does:
                            key = hop.host, _cookie(hop)
                            wanted[key] += 1
                            rules[key] = f"{hop.place} {hop.rule}"
        self.counted["counters"] += len(wanted)
        for key, count in wanted.items():
            # Of entries that overlap in one priority and do the same, a switch may count any.
            cookies = self._alike(key[0], key[1])
            live = sum(self.told[key[0]].counts.get(each, 0) for each in cookies)
            count = sum(wanted[key[0], each] for each in cookies)
            is_exact = _OF_IP.search(rules[key].partition(" actions=")[0]) is not None
            self.counted["counters, exact"] += is_exact
            if live < count or (is_exact and len(cookies) == 1 and live > count + more):
                yield f"host {key[0]}: {rules[key]} should have counted {count}, and counted {live}"

    def _alike(self, host: str, cookie: int) -> list[int]:
        """The cookies of an entry, and of those in its table that have its priority and its actions."""
        flows = {cookie_of(flow.key): flow for flow in self.made.world.machines[host].plan.flows}
        mine = flows[cookie]
        what = (mine.bridge, mine.table, mine.priority, mine.actions)
        return [each for each, it in flows.items() if (it.bridge, it.table, it.priority, it.actions) == what]


def _tells(dropped: Dropped | None) -> bool:
    """Whether a router tells the source of a packet that ends there, by ICMP: switches count that, too."""
    return dropped is not None and dropped.stack.startswith(NAMESPACES)


def _cookie(hop: Hop) -> int:
    words, _, _ = hop.rule.partition(" actions=")
    table, priority, *match = words.split(",", 2)
    bridge = hop.place.split(" ")[0]
    return cookie_of((bridge, int(table.partition("=")[2]), int(priority.partition("=")[2]), (match or [""])[0]))


def _words(places: Iterable[Seen]) -> str:
    shown = (f"{host} {it.namespace} {it.device} {'out' if it.is_out else 'in'}" for host, it in sorted(places))
    return ", ".join(shown) or "no place"


def compare_hops(machines: Machines, made: Made, asked: Sequence[Foretold]) -> tuple[list[str], Counter[str]]:
    """Sends packets whose neighbours are known by now, and compares; what is not as foretold, in words."""
    hosts = {name: machine for name, machine in machines.hosts.items() if name in made.world.machines}
    everybody = [*hosts.values(), machines.outside]
    machines.all("gather", everybody)
    machines.all("run", everybody, [(each.source, each.probe) for each in asked], _WAIT_S, True)
    told = dict(zip(hosts, machines.all("told", hosts.values()), strict=True))
    compared = Compared(made, asked, told)
    compared.compare()
    entries = {name: compared.entries(name) for name in hosts}
    routes = {name: compared.routes(name) for name in hosts}
    for name, host in hosts.items():
        host.ask("partings", [(leg, frame) for _, leg, frame in entries[name]])
    for name, host in hosts.items():
        for (each, leg, _), words in zip(entries[name], host.answer(), strict=True):
            if words:
                each.wrong.append(f"{leg.entry.port.bridge} from {leg.entry.port.name}: {words}")
    for name, host in hosts.items():
        host.ask("routes", list(routes[name]))
    for name, host in hosts.items():
        compared.compare_routes(routes[name], host.answer())
    wrong = [f"host {name}: {it.lost} frames passed unseen" for name, it in told.items() if it.lost]
    return wrong + list(compared.counters()), compared.counted

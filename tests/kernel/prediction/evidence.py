"""What a host has to say of packets: which devices they pass, which rules they meet, what its switch does with them.

All of it by `trace --live`'s own means, for very many packets at once: each is known by its number.
"""

from __future__ import annotations

import re
import socket
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from deuteron.cli.asked import route_to, traces
from deuteron.net.kernel.namespaces import Namespaces
from deuteron.net.kernel.programs import run
from deuteron.net.kernel.ruletrace import open_trace, rules_here, steps
from deuteron.net.kernel.sniffer import lost, open_sniffer, take
from deuteron.net.kernel.unixctl import SwitchControl
from deuteron.net.look import bridges_here
from deuteron.net.rows import HOST
from deuteron.net.traced import RuleKey, Step
from deuteron.trace.frames import read
from deuteron.trace.live import Route
from deuteron.trace.ofproto import met_there, parting
from deuteron.trace.packet import ICMP, ICMP6, TCP
from deuteron.trace.rulings import Rule, met
from deuteron.trace.witness import Leg
from tests.kernel.prediction import probes
from tests.kernel.prediction.probes import Sign

_COUNT: Final = re.compile(r"cookie=(0x[0-9a-f]+),.* n_packets=(\d+),")


class Passed(NamedTuple):
    """A device at which a packet was seen."""

    namespace: str
    device: str
    is_out: bool
    """Whether the kernel sent it there."""


class Told(NamedTuple):
    """What a host says of all packets."""

    seen: dict[Sign, dict[Passed, bytes]]
    """With the frame, or the one within its tunnel."""
    rules: dict[Sign, dict[str, list[Rule]]]
    """By namespace."""
    counts: dict[int, int]
    """Of the flows' cookies, the packets meanwhile."""
    lost: int
    """Frames that passed unseen."""


class Evidence:
    """What comes while it is open; `files` say when there is something."""

    def __init__(self) -> None:
        self.files: dict[int, str] = {}
        self._sniffers: dict[int, socket.socket] = {}
        self._traces: dict[int, socket.socket] = {}
        self._steps: dict[str, list[Step]] = defaultdict(list)
        self._rules: dict[str, Mapping[RuleKey, str]] = {}
        self._seen: dict[Sign, dict[Passed, bytes]] = defaultdict(dict)
        namespaces = Namespaces()
        try:
            for name, is_there in {HOST: True, **namespaces.named()}.items():
                if not is_there:
                    continue
                with namespaces.entered(name):
                    self._rules[name] = rules_here()
                    sniffer = open_sniffer("")
                    trace = open_trace(probes.MATCHES, has_bridges=name == HOST)
                    self._sniffers[sniffer.fileno()], self._traces[trace.fileno()] = sniffer, trace
                    self.files |= {sniffer.fileno(): name, trace.fileno(): name}
        finally:
            namespaces.close()
        self._before = _counts()

    def take(self, file: int) -> None:
        name = self.files[file]
        if file in self._traces:
            self._steps[name] += steps(self._traces[file])
            return
        while (seen := take(self._sniffers[file])) is not None:
            if b"deuteron" not in seen.frame and b"\x5e\xed" not in seen.frame:
                continue
            frame = read(seen.frame)
            packet = probes.parse(int.from_bytes(frame.inner[12:14], "big"), frame.inner[14:])
            found = None if packet is None else probes.sign(packet.protocol, packet.payload)
            if found is not None:
                whole = frame.inner if frame.tunnels else seen.frame
                self._seen[found].setdefault(Passed(name, seen.device, seen.is_out), whole)

    def close(self) -> Told:
        for file in self.files:
            self.take(file)
        missed = sum(lost(each) for each in self._sniffers.values())
        for each in (*self._sniffers.values(), *self._traces.values()):
            each.close()
        self._learn_rules()
        rules: dict[Sign, dict[str, list[Rule]]] = defaultdict(dict)
        for name, found in self._steps.items():
            for sign, mine in met(found, self._rules[name], whose).items():
                rules[sign][name] = mine
        counts = {cookie: count - self._before.get(cookie, 0) for cookie, count in _counts().items()}
        return Told(dict(self._seen), dict(rules), counts, missed)

    def _learn_rules(self) -> None:
        """What is new since: whoever wrote rules while this was opened wrote them before any packet was sent."""
        namespaces = Namespaces()
        try:
            for name, found in self._steps.items():
                if any(step.rule is not None and step.rule not in self._rules[name] for step in found):
                    with namespaces.entered(name):
                        self._rules[name] = {**self._rules[name], **rules_here()}
        finally:
            namespaces.close()


def whose(protocol: int, body: bytes) -> Sign | None:
    """By the first 20 bytes behind an IP header."""
    if protocol in (ICMP, ICMP6):
        return probes.sign(protocol, body) if len(body) == 20 else None
    if protocol == TCP:
        return probes.sign(protocol, body)
    if len(body) < 11:
        return None
    # Of a question of the DNS its own number stands before its name.
    return Sign(int.from_bytes(body[8:10], "big"), bool(body[10] & 0x80))


def _counts() -> dict[int, int]:
    control = SwitchControl()
    try:
        control.ask("revalidator/wait")
    finally:
        control.close()
    found: dict[int, int] = {}
    for bridge in bridges_here():
        for cookie, packets in _COUNT.findall(run(["ovs-ofctl", "-O", "OpenFlow14", "dump-flows", bridge])):
            found[int(cookie, 16)] = found.get(int(cookie, 16), 0) + int(packets)
    return found


def partings(legs: Sequence[tuple[Leg, bytes]]) -> list[str]:
    """Of each frame that came into the switch, where its tables do otherwise than planned; empty where nowhere."""
    found = []
    for (leg, _), text in zip(legs, traces([leg for leg, _ in legs], [frame for _, frame in legs]), strict=True):
        part = parting(leg.hops, met_there(text))
        found.append("" if part is None else f"{part.hop.place} {part.hop.rule}; live: {part.live}")
    return found


def routes(asked: Iterable[tuple[str, ...]]) -> list[Route]:
    """The ways in namespaces to addresses, of what comes from and by whatever is said as well."""
    return [route_to(*each) for each in asked]

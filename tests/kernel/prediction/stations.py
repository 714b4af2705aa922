"""Guests that are one card each, and the world outside: honest stations, by hand, on taps.

A station has what the cloud told it: addresses, and routes. It asks for its neighbours and answers them, sends what it
is asked to send, notes what comes for it, and answers that. Everything else of a frame is what filters and switches
have made of it.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections import defaultdict
from collections.abc import Callable
from ipaddress import IPv6Address
from typing import Final, NamedTuple

from deuteron.trace.packet import ICMP6, network, within
from tests.hostile import frames
from tests.kernel.prediction import probes
from tests.kernel.prediction.probes import Packet, Probe, Sign

_ASK_AGAIN_S: Final = 0.25
_ARP_REQUEST, _ARP_REPLY, _SOLICITATION, _ADVERTISEMENT = 1, 2, 135, 136


class Card(NamedTuple):
    """What a station is told."""

    place: str
    """As predictions name it: the id of a guest's port, or `outside`."""
    tap: str
    bridge: str | None
    """A Linux bridge that the tap is put on; None where the tap is there."""
    mac: str
    addresses: tuple[str, ...]
    """With prefix lengths."""
    routes: tuple[tuple[str, str | None], ...]
    lacks: tuple[str, ...] | None = None
    """Of the world: the prefixes of which it has no address but its own; it has all others. None of a guest."""


Heard = Callable[[str, Sign, str], None]
"""A place, what came there, and a word about it."""


class Station:
    def __init__(self, card: Card, tap: int, heard: Heard) -> None:
        self.card = card
        self.tap = tap
        self._own = {text.split("/")[0] for text in card.addresses}
        self._heard = heard
        self._neighbours: dict[str, str] = {}
        self._waiting: dict[str, list[bytes]] = defaultdict(list)
        self._asked: dict[str, tuple[float, str]] = {}

    def send(self, probe: Probe) -> None:
        self._route(probe.source, probe.destination, probes.request(probe))

    def look_again(self) -> None:
        """Ask again for neighbours that have not answered."""
        now = time.monotonic()
        for hop, (when, own) in list(self._asked.items()):
            if now - when > _ASK_AGAIN_S:
                self._ask(hop, own)

    def take(self) -> None:
        """Read what is there."""
        with contextlib.suppress(BlockingIOError):
            while True:
                self._frame(os.read(self.tap, 65536))

    def _frame(self, frame: bytes) -> None:
        kind, data = int.from_bytes(frame[12:14], "big"), frame[14:]
        if kind == frames.ARP:
            self._arp(data)
            return
        packet = probes.parse(kind, data)
        if packet is None:
            return
        if packet.protocol == ICMP6 and packet.payload[0] in (_SOLICITATION, _ADVERTISEMENT):
            self._discovery(frame, packet)
            return
        found = probes.sign(packet.protocol, packet.payload)
        if found is None:
            return
        if frame[:6] != frames.mac(self.card.mac):
            self._heard("", found, f"passed {self.card.tap} to {frame[:6].hex(':')}")
        elif not self._has(packet.destination):
            self._heard("", found, f"came to {self.card.place} for {packet.destination}, which it has not")
        else:
            self._heard(self.card.place, found, f"from {packet.source} to {packet.destination}")
            if not found.is_answer:
                self._route(packet.destination, packet.source, probes.answer(packet))

    def _has(self, address: str) -> bool:
        if address in self._own or self.card.lacks is None:
            return address in self._own
        return not any(within(address, prefix) for prefix in self.card.lacks)

    # --- neighbours ---------------------------------------------------------------------------------------------------

    def _route(self, source: str, destination: str, packet: bytes) -> None:
        fitting = [each for each in self.card.routes if within(destination, each[0])]
        if not fitting:
            return
        _, via = max(fitting, key=lambda each: network(each[0]).prefixlen)
        hop = via or destination
        if hop in self._neighbours:
            self._write(self._neighbours[hop], packet)
            return
        self._waiting[hop].append(packet)
        if hop not in self._asked:
            self._ask(hop, source)

    def _ask(self, hop: str, own: str) -> None:
        self._asked[hop] = time.monotonic(), own
        if ":" in hop:
            raw = frames.ip(hop)
            group = str(IPv6Address(bytes.fromhex("ff0200000000000000000001ff") + raw[13:]))
            body = bytes(4) + raw + b"\x01\x01" + frames.mac(self.card.mac)
            packet = frames.icmp6(own, group, _SOLICITATION, body)
            self._write(f"33:33:ff:{raw[13:].hex(':')}", packet)
        else:
            # As a kernel does it: who sends from what is not its own would ask with its own.
            question = frames.arp(_ARP_REQUEST, (self.card.mac, own), ("00:00:00:00:00:00", hop))
            self._write(frames.BROADCAST, question, frames.ARP)

    def _know(self, hop: str, mac: str) -> None:
        if hop not in self._asked:
            return
        del self._asked[hop]
        self._neighbours[hop] = mac
        for packet in self._waiting.pop(hop, ()):
            self._write(mac, packet)

    def _arp(self, data: bytes) -> None:
        operation = int.from_bytes(data[6:8], "big")
        mac, sender, target = data[8:14].hex(":"), frames.text(data[14:18]), frames.text(data[24:28])
        if operation == _ARP_REPLY:
            self._know(sender, mac)
        elif operation == _ARP_REQUEST and target in self._own:
            self._write(mac, frames.arp(_ARP_REPLY, (self.card.mac, target), (mac, sender)), frames.ARP)

    def _discovery(self, frame: bytes, packet: Packet) -> None:
        target = frames.text(packet.payload[8:24])
        if packet.payload[0] == _ADVERTISEMENT:
            # Without its option the frame's own MAC would be meant.
            self._know(target, (packet.payload[26:32] or frame[6:12]).hex(":"))
        elif target in self._own and packet.source != "::":
            answer = frames.solicited_advertisement(target, self.card.mac, packet.source)
            self._write(frame[6:12].hex(":"), answer)

    def _write(self, mac: str, packet: bytes, kind: int | None = None) -> None:
        if kind is None:
            kind = frames.IPV6 if packet[0] >> 4 == 6 else frames.IPV4
        # A device that is down takes nothing, as any card without a cable.
        with contextlib.suppress(OSError):
            os.write(self.tap, frames.ethernet(self.card.mac, mac, kind, packet))

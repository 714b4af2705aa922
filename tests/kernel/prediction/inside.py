"""One host of a random cloud, or `outside`: it realises plans as the agent does, and has the guests in its hands.

Run by `hosts.py` in namespaces of its own (processes, mounts, network): what it starts ends with it. It is told what to
do, and answers, in pickles.
"""

from __future__ import annotations

import os
import pickle
import select
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from deuteron.model.intent import HostIntent, HostSettings
from deuteron.net.kernel.namespaces import Namespaces
from deuteron.net.kernel.rtnetlink import known_kinds
from deuteron.net.rows import HOST
from deuteron.sandbox.cables import ip, make_networks, sysctl, without_offloads
from deuteron.trace.live import Route
from deuteron.trace.packet import ICMP, ICMP6, TCP, UDP
from deuteron.trace.witness import Leg
from tests.hostile.inside import attached
from tests.kernel.conftest import OpenVSwitch
from tests.kernel.prediction import evidence, probes
from tests.kernel.prediction.evidence import Evidence, Told
from tests.kernel.prediction.probes import Probe, Sign
from tests.kernel.prediction.stations import Card, Station
from tests.kernel.runner import Runner

_SEND_AT_S: Final = (0.0, 0.35, 0.8)
"""What is not answered is sent again: the first packet may be lost where switches learn."""
_QUIET_S: Final = 0.4
_LONGEST_S: Final = 20.0
_ALL: Final = socket.htons(3)
_SOCK_RAW: Final = ((socket.AF_INET, (ICMP, TCP, UDP)), (socket.AF_INET6, (ICMP6, TCP, UDP)))


class Sighting(NamedTuple):
    """What came where."""

    number: int
    is_answer: bool
    place: str
    """A port's id, a namespace, or `outside`; empty if it only passed or was for somebody else."""
    words: str


class Host:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._runner: Runner | None = None
        self._switch: OpenVSwitch | None = None
        self._stations: dict[str, Station] = {}
        self._sightings: dict[Sighting, None] = {}
        self._listeners: dict[int, tuple[str, socket.socket]] = {}
        self._before: list[str] = []
        self._evidence: Evidence | None = None

    def wires(self) -> None:
        """Be the place where the cables of all hosts end, and the world: its card is a tap on `provider`."""
        make_networks()

    def cabled(self, cables: Mapping[str, str]) -> None:
        """Have the outer ends, which are here by now, on their bridges."""
        ip([f"link set {cable} master {bridge} up" for cable, bridge in cables.items()])
        without_offloads(cables)

    def switched(self, interfaces: Sequence[str]) -> None:
        """Be a host: with its interfaces, which are here by now, and a switch."""
        for name in interfaces:
            sysctl(f"net.ipv6.conf.{name}.disable_ipv6", "1")
        ip(["link set lo up", *(f"link set {name} up" for name in interfaces)])
        without_offloads(interfaces)
        self._switch = OpenVSwitch(self.folder)
        self._before = _shown()

    def realise(self, intent: HostIntent | None, settings: HostSettings | None) -> tuple[list[str], str]:
        """Reconcile; what could not be done in time, and what the next round of an agent still had to mend.

        Without an intent nothing is to be here, and settings are not needed.
        """
        begun = time.monotonic()
        if settings is not None:
            kinds = known_kinds(settings.device_kinds)
            settings = msgspec.structs.replace(settings, state_dir=str(self.folder), device_kinds=kinds)
            if self._runner is None:
                self._runner = Runner(settings)
            self._runner.settings = settings  # of this cloud
        if self._runner is None:
            return [], ""
        outcome = self._runner.run(intent)
        while not outcome.is_complete and time.monotonic() - begun < 20:
            time.sleep(0.02)
            outcome = self._runner.run(intent)
        found = [] if outcome.is_complete else [f"pending: {outcome.pending}"]
        outcome = self._runner.run(intent, full=True)
        mended = ""
        if not outcome.is_complete or outcome.writes:
            mended = f"{outcome.writes} {outcome.mended} {outcome.pending}"
            self._runner.settle(intent)
        return found, mended

    def open(self, cards: Sequence[Card]) -> list[str]:
        """The guests start; the places of those that could not."""
        failed = []
        for card in cards:
            is_there = card.bridge is not None or Path(f"/proc/sys/net/ipv4/conf/{card.tap}").exists()
            if not is_there and card.place != "outside":
                failed.append(card.place)
                continue
            tap = attached(card.tap)
            os.set_blocking(tap, False)
            if card.bridge is not None:
                ip([f"link set {card.tap} master {card.bridge} up"])
            self._stations[card.place] = Station(card, tap, self._heard)
        return failed

    def close(self) -> None:
        """The guests end."""
        for station in self._stations.values():
            os.close(station.tap)
        self._stations.clear()

    def listen(self, closely: bool) -> None:
        """Have an eye on what comes to namespaces, before any host sends: what is answered is not sent again.

        `closely` also says of every device of the host what passes it.
        """
        self._sightings = {}
        self._listeners = self._opened(closely)

    def gather(self) -> None:
        """Ask the kernel of each packet what becomes of it, before any host sends."""
        self._sightings = {}
        if self._runner is not None:
            self._evidence = Evidence()

    def told(self) -> Told | None:
        """What was gathered; nothing `outside`."""
        evidence, self._evidence = self._evidence, None
        return None if evidence is None else evidence.close()

    def partings(self, legs: Sequence[tuple[Leg, bytes]]) -> list[str]:
        return evidence.partings(legs)

    def routes(self, asked: Sequence[tuple[str, ...]]) -> list[Route]:
        return evidence.routes(asked)

    def run(self, sent: Sequence[tuple[str, Probe]], seconds: float, is_once: bool = False) -> list[Sighting]:
        """Send each probe from its station; what came to guests and namespaces meanwhile."""
        poll = select.poll()
        stations = {station.tap: station for station in self._stations.values()}
        listeners, gathering = self._listeners, self._evidence.files if self._evidence is not None else {}
        for file in (*stations, *listeners, *gathering):
            poll.register(file, select.POLLIN)
        begun = time.monotonic()
        waits = list(_SEND_AT_S[:1] if is_once else _SEND_AT_S)
        try:
            quiet = begun
            while (now := time.monotonic() - begun) < seconds or (is_once and _is_busy(begun, quiet)):
                if waits and now >= waits[0]:
                    waits.pop(0)
                    self._send(sent)
                for station in () if is_once else stations.values():
                    station.look_again()
                for file, _ in poll.poll(50):
                    if file in stations:
                        stations[file].take()
                    elif file in gathering:
                        assert self._evidence is not None
                        self._evidence.take(file)
                    else:
                        self._take(*listeners[file])
                    quiet = time.monotonic()
        finally:
            for _, listener in listeners.values():
                listener.close()
            self._listeners = {}
        return list(self._sightings)

    def _send(self, sent: Sequence[tuple[str, Probe]]) -> None:
        answered = {each.number for each in self._sightings if each.is_answer and each.place}
        for place, probe in sent:
            if place in self._stations and probe.number not in answered:
                self._stations[place].send(probe)

    def _opened(self, closely: bool) -> dict[int, tuple[str, socket.socket]]:
        """What the kernel hands to sockets, in every namespace: past every filter, and after translation."""
        found: dict[int, tuple[str, socket.socket]] = {}
        if self._runner is None:
            return found
        namespaces = Namespaces()
        try:
            for name, is_there in {HOST: True, **namespaces.named()}.items():
                if not is_there:
                    continue
                with namespaces.entered(name):
                    if closely:
                        listener = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, _ALL)
                        found[listener.fileno()] = name, listener
                    if name == HOST:
                        continue
                    for family, protocols in _SOCK_RAW:
                        for protocol in protocols:
                            listener = socket.socket(family, socket.SOCK_RAW | socket.SOCK_NONBLOCK, protocol)
                            found[listener.fileno()] = name, listener
        finally:
            namespaces.close()
        return found

    def _take(self, namespace: str, listener: socket.socket) -> None:
        with suppress(BlockingIOError):
            while True:
                data, sender = listener.recvfrom(65536)
                if listener.family == socket.AF_PACKET:
                    self._pass(f"{namespace} {sender[0]}".strip(), data)
                    continue
                if listener.family == socket.AF_INET:
                    data = data[(data[0] & 15) * 4 :]
                found = probes.sign(listener.proto, data)
                if found is not None:
                    self._heard(namespace, found, "")

    def _pass(self, device: str, frame: bytes) -> None:
        packet = probes.parse(int.from_bytes(frame[12:14], "big"), frame[14:])
        found = None if packet is None else probes.sign(packet.protocol, packet.payload)
        if packet is not None and found is not None:
            self._heard("", found, f"passed {device} from {packet.source} to {packet.destination}")

    def _heard(self, place: str, found: Sign, words: str) -> None:
        self._sightings[Sighting(found.number, found.is_answer, place, words)] = None

    def stop(self) -> list[str]:
        """Take everything away; what is left then, as other programs see the host."""
        assert self._runner is not None and self._switch is not None
        try:
            self._runner.settle(None)
        except AssertionError as error:
            raise AssertionError(f"{error}; there is: {_shown()}") from error
        self._runner.host.close()
        left = [line for line in _shown() if line not in self._before]
        self._switch.stop()
        return left


def _is_busy(begun: float, quiet: float) -> bool:
    """Whether something has come just now, as on a machine that is full: what is sent once is waited for longer."""
    now = time.monotonic()
    return now - begun < _LONGEST_S and now - quiet < _QUIET_S


def _shown() -> list[str]:
    found = [line.split(":")[1].strip() for line in _output("ip", "-o", "link").splitlines()]
    for command in ("ip netns", "ovs-vsctl list-br", "ipset list -name", "iptables-save", "ip6tables-save"):
        found += _output(*command.split()).splitlines()
    return [line for line in found if not line.startswith(("#", ":", "*", "COMMIT"))]


def _output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def main() -> None:
    Path("/run/netns").mkdir()
    host = Host(Path(sys.argv[1]))
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    while True:
        try:
            name, arguments = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        try:
            answer: tuple[bool, Any] = True, getattr(host, name)(*arguments)
        except BaseException:  # the test is told, whatever it is
            answer = False, traceback.format_exc()
        pickle.dump(answer, answers)
        answers.flush()


if __name__ == "__main__":
    main()

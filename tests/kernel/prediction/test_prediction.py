"""What the objects of a cloud say of a packet is what becomes of a real one, on random clouds.

Every cloud of `tests.property.clouds` is made on the same hosts, by the drivers of an agent, from what the cloud before
has left there. Then packets are sent between its guests and the world, all at once, and each is looked for where it
should arrive and everywhere else. `DEUTERON_CLOUD_SEED` plays one cloud again, `DEUTERON_CLOUDS` asks for more.
"""

from __future__ import annotations

import asyncio
import os
import random
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Final

import pytest

from deuteron.net.plan import names
from deuteron.trace.fabric import Fabric
from deuteron.trace.packet import ICMP, ICMP6, UDP
from deuteron.trace.reach import OUTSIDE, Reach, reachable
from deuteron.trace.stack import Stack
from deuteron.trace.walk import Asked, End, walk
from tests.kernel.prediction import probes
from tests.kernel.prediction.hosts import Machines, settings_of
from tests.kernel.prediction.inside import Sighting
from tests.kernel.prediction.probes import Probe
from tests.kernel.prediction.stations import Card
from tests.property.clouds import Firewall, Made, cloud
from tests.property.test_reach import ASKED, meant, pairs

SHARES: Final = {"openvswitch": 2, "iptables_hybrid": 2, "linuxbridge": 1}
"""Of five clouds."""
CLOUDS: Final = int(os.environ.get("DEUTERON_CLOUDS", "50"))
"""Of all firewalls together."""
_FIRST_S: Final = 1.3
_AGAIN_S: Final = 4.0
"""How long is waited for packets; for those that should have come and did not, once more."""
_FIRST_SEED: Final = 20_000

numbers = (1 + number % probes.HIGHEST for number in count())


@dataclass
class Question:
    """A packet, what is predicted of it, and what was seen."""

    probe: Probe
    source: str
    """A port's id, or `outside`."""
    said: Reach
    arrives_at: str | None
    is_answered: bool | None
    """Whether the source hears an answer; None where nobody has said."""
    words: str
    came_to: set[str] = field(default_factory=set)
    answers_came_to: set[str] = field(default_factory=set)
    passed: list[str] = field(default_factory=list)

    def see(self, host: str, sighting: Sighting) -> None:
        if not sighting.place:
            self.passed.append(f"{'answer' if sighting.is_answer else 'request'} {sighting.words} on {host}")
        elif sighting.is_answer:
            self.answers_came_to.add(sighting.place)
        else:
            self.came_to.add(sighting.place)
            self.passed.append(f"request {sighting.words} came to {sighting.place} on {host}")

    @property
    def is_right(self) -> bool:
        wanted = set() if self.arrives_at is None else {self.arrives_at}
        if self.is_answered is not None and (self.source in self.answers_came_to) is not self.is_answered:
            return False
        return self.came_to == wanted

    @property
    def report(self) -> str:
        return (
            f"{self.words}: objects say {self.said} ({self.arrives_at}), answered: {self.is_answered}; "
            f"measured: came to {self.came_to or 'nobody'}, answer to {self.answers_came_to or 'nobody'}; "
            f"{'; '.join(self.passed) or 'never seen'}"
        )


def cards(made: Made) -> dict[str, list[Card]]:
    """Guests by host, as the cloud configures them, and the world."""
    fabric = Fabric(made.world)
    found: dict[str, list[Card]] = {}
    for host, machine in made.world.machines.items():
        is_hybrid = machine.settings.firewall_driver == "iptables_hybrid" and not machine.has_linux_bridges
        found[host] = [
            _card(
                fabric.guest(machine, port), port.id, names.tap_name(port.id),
                names.qbr_name(port.id) if is_hybrid else None,
            )
            for port in machine.intent.ports.values()
            if not port.device_owner.startswith("network:")
        ]  # fmt: skip
    world = _card(fabric.outside, OUTSIDE, "world", "provider")
    lacks = (*made.world.prefixes, *(text for each in made.world.external for text in each.gateways))
    found[OUTSIDE] = [world._replace(lacks=lacks)]
    return found


def _card(stack: Stack, place: str, tap: str, bridge: str | None) -> Card:
    device = next(iter(stack.devices.values()))
    routes = tuple((route.destination, route.via) for route in stack.routes)
    return Card(place, tap, bridge, device.mac, device.addresses, routes)


def questions(made: Made, dice: random.Random) -> Iterator[Question]:
    fabric = Fabric(made.world)
    for source, destination in pairs(made, dice):
        asked = dice.choice(ASKED)
        address = destination.address
        assert address is not None
        if source.is_outside:
            stack, place = fabric.outside, OUTSIDE
        else:
            found = made.world.place_of(source.port_id or "")
            if found is None:
                continue
            stack, place = fabric.guest(*found), str(source.port_id)
        own = stack.source_for(address)
        if own is None or stack.owns(address):
            continue  # nothing leaves it
        said = reachable(made.catalog, place, address, asked.protocol, asked.port)
        protocol = ICMP6 if asked.protocol == ICMP and ":" in address else asked.protocol
        probe = Probe(next(numbers), own, address, protocol, asked.port)
        at = _place(made, meant(made, said.at)) if said.arrives else None
        words = f"{place} to {address} {protocol}/{asked.port}"
        yield Question(probe, place, said, at, _is_answered(made, source, destination, asked, at), words)


def _place(made: Made, at: str) -> str:
    return at


def _is_answered(made: Made, source: End, destination: End, asked: Asked, at: str | None) -> bool | None:
    """What a trace says of the way back; nothing where a kernel would answer with another kind of packet."""
    if at is None:
        return False
    if asked.protocol == UDP and at.startswith(("qrouter-", "qdhcp-")):
        return None
    walked = walk(made.world, source, destination, asked)
    return walked.back is not None and walked.back.dropped is None


class Place:
    """The machines with what they have been through."""

    def __init__(self, machines: Machines) -> None:
        self._machines = machines
        self.took: Counter[str] = Counter()

    def play(self, made: Made, asked: list[Question]) -> list[str]:
        """Realise a cloud and ask; what is not as predicted."""
        begun = time.monotonic()
        machines = {**self._machines.hosts, OUTSIDE: self._machines.outside}
        for name, machine in self._machines.hosts.items():
            planned = made.world.machines[name]
            machine.ask("realise", planned.intent, settings_of(name, planned.settings))
        wrong = []
        for name, machine in self._machines.hosts.items():
            _, found = machine.answer()
            wrong += [f"{name}: {words}" for words in found]
        self.took["realise"] += time.monotonic() - begun  # type: ignore[assignment]
        begun = time.monotonic()
        told = cards(made)
        for name, machine in machines.items():
            machine.ask("open", told[name])
        for machine in machines.values():
            machine.answer()
        try:
            self._ask(asked, _FIRST_S)
            again = [each for each in asked if not each.is_right]
            if again:
                self._ask(again, _AGAIN_S, closely=True)
        finally:
            self._machines.all("close", machines.values())
        self.took["ask"] += time.monotonic() - begun  # type: ignore[assignment]
        return wrong + [each.report for each in asked if not each.is_right]

    def _ask(self, asked: list[Question], seconds: float, closely: bool = False) -> None:
        by_number = {each.probe.number: each for each in asked}
        sent = [(each.source, each.probe) for each in asked]
        machines = [*self._machines.hosts.values(), self._machines.outside]
        for machine, seen in zip(machines, self._machines.all("run", machines, sent, seconds, closely), strict=True):
            for sighting in seen:
                if sighting.number in by_number:
                    by_number[sighting.number].see(machine.name, sighting)


async def _made(seed: int, firewall: Firewall) -> tuple[Made, random.Random]:
    dice = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        async with cloud(Path(folder), firewall) as it:
            await it.fill(dice)
            return await it.seen(), dice


@pytest.mark.parametrize("firewall", SHARES)
def test_a_packet_arrives_where_the_objects_say(firewall: Firewall, tmp_path: Path) -> None:
    if "DEUTERON_CLOUD_SEED" in os.environ:
        seeds = [int(text) for text in os.environ["DEUTERON_CLOUD_SEED"].split(",")]
    else:
        seeds = [_FIRST_SEED + number for number in range(max(1, CLOUDS * SHARES[firewall] // 5))]
    verdicts: Counter[str] = Counter()
    wrong = []
    with Machines(tmp_path) as machines:
        place = Place(machines)
        for seed in seeds:
            begun = time.monotonic()
            made, dice = asyncio.run(asyncio.wait_for(_made(seed, firewall), 180))
            place.took["make"] += time.monotonic() - begun  # type: ignore[assignment]
            asked = list(questions(made, dice))
            found = place.play(made, asked)
            verdicts.update("arrives" if each.said.arrives else each.said.why for each in asked)
            verdicts["answered"] += sum(bool(each.is_answered) for each in asked)
            verdicts["pairs"] += len(asked)
            if found:
                wrong.append(f"seed {seed}, {firewall}:\n" + "\n".join(found[:12]))
                print(wrong[-1], flush=True)
            print(f"seed {seed}: {len(asked)} pairs, {time.monotonic() - begun:.1f} s", flush=True)
        print(dict(verdicts), {name: f"{took / len(seeds):.2f} s" for name, took in place.took.items()})
    assert not wrong, "\n".join(wrong[:5])

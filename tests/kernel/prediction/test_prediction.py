"""What the objects of a cloud say of a packet is what becomes of a real one, on random clouds.

Every cloud of `tests.property.clouds` is made on the same hosts, by the drivers of an agent, from what the cloud before
has left there. Then packets are sent between its guests and the world, all at once, and each is looked for where it
should arrive and everywhere else. `DEUTERON_CLOUD_SEED` plays one cloud again, `DEUTERON_CLOUDS` asks for others.
"""

from __future__ import annotations

import asyncio
import ipaddress
import os
import random
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Final

import pytest

from deuteron.model.intent import LINUX_BRIDGE
from deuteron.net.plan import names
from deuteron.trace.fabric import Fabric
from deuteron.trace.packet import ICMP, ICMP6, NAMES, UDP
from deuteron.trace.reach import OUTSIDE, Reach, reachable
from deuteron.trace.stack import Stack
from deuteron.trace.walk import Asked, End, walk
from tests.kernel.prediction import probes
from tests.kernel.prediction.hops import Foretold, compare_hops, foretold
from tests.kernel.prediction.hosts import Machines, settings_of
from tests.kernel.prediction.inside import Sighting
from tests.kernel.prediction.probes import Probe
from tests.kernel.prediction.stations import Card
from tests.property.clouds import COMPUTE, HOSTS, Firewall, Made, cloud
from tests.property.test_reach import ASKED, meant

SHARES: Final = {"openvswitch": 2, "iptables_hybrid": 2, "linuxbridge": 1}
"""Of five clouds."""
CLOUDS: Final = int(os.environ.get("DEUTERON_CLOUDS", "50"))
"""Of all firewalls together."""
_FEW_HOPS: Final = 5
HOPS: Final = int(os.environ.get("DEUTERON_HOPS", str(_FEW_HOPS)))
"""Of how many clouds every hop is compared; of some pairs, or of all in more clouds than every change compares."""
DISTRIBUTED: Final = os.environ.get("DEUTERON_DISTRIBUTED", "") not in ("", "0")
"""Whether there are clouds of distributed routers among them."""
_MOST_PAIRS: Final = 120
_FIRST_S: Final = 1.3
_AGAIN_S: Final = 8.0
"""How long is waited for packets; for those that should have come and did not, once more."""
_FIRST_SEEDS: Final = {"openvswitch": 20_000, "iptables_hybrid": 21_000, "linuxbridge": 22_000}
_MOST_SHOWN: Final = 12
_ENOUGH: Final = 10
"""Clouds, of which something can be said together."""

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
    end: End
    asked: Asked
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


def questions(made: Made) -> Iterator[Question]:
    """Of every guest and the world to every address, that there is and some that there is not: some 450 of a cloud."""
    addresses = _addresses(made)
    for source, stack in _sources(made, Fabric(made.world)):
        for address in addresses:
            if stack.source_for(address) and not stack.owns(address):
                for asked in ASKED:
                    yield _question(made, source, stack, address, asked)


def _sources(made: Made, fabric: Fabric) -> Iterator[tuple[End, Stack]]:
    """Ids differ each time, addresses do not."""
    rows = [row for row in made.catalog.all("port") if row["fixed_ips"]]
    for row in sorted(rows, key=lambda row: str(row["fixed_ips"])):
        found = made.world.place_of(row["id"])
        if found is not None and not row["device_owner"].startswith("network:"):
            yield End(row["id"], port_id=row["id"]), fabric.guest(*found)
    yield End(OUTSIDE, is_outside=True), fabric.outside


def _addresses(made: Made) -> list[str]:
    found = {item["ip_address"] for row in made.catalog.all("port") for item in row["fixed_ips"]}
    found |= {row["floating_ip_address"] for row in made.catalog.all("floatingip")}
    return sorted(found | {"8.8.8.8", "172.24.4.1", "10.0.0.200", "10.77.0.1"})


def _question(made: Made, source: End, stack: Stack, address: str, asked: Asked) -> Question:
    place, own = source.words, stack.source_for(address)
    assert own is not None
    said = reachable(made.catalog, place, address, asked.protocol, asked.port)
    protocol = ICMP6 if asked.protocol == ICMP and ":" in address else asked.protocol
    probe = Probe(next(numbers), own, address, protocol, asked.port)
    at = meant(made, said.at) if said.arrives else None
    is_answered = _is_answered(made, source, End(address, address=address), asked, at)
    words = f"{place} ({own}) to {address} {NAMES[protocol]}/{asked.port}"
    return Question(probe, place, said, at, is_answered, words, source, asked)


def _is_answered(made: Made, source: End, destination: End, asked: Asked, at: str | None) -> bool | None:
    """What a trace says of the way back; nothing where a kernel would answer with another kind of packet."""
    if at is None:
        return False
    if asked.protocol == UDP and at.startswith(("qrouter-", "qdhcp-")):
        return None
    walked = walk(made.world, source, destination, asked)
    return walked.back is not None and walked.back.dropped is None


def play(machines: Machines, made: Made, asked: list[Question], hops: Counter[str] | None) -> list[str]:
    """Realise a cloud and ask; what is not as predicted, in words; with `hops`, hop by hop, counted there."""
    hosts = machines.hosts
    for name, machine in hosts.items():
        planned = made.world.machines.get(name)  # a cloud of two hosts leaves nothing on the third
        intent, settings = (None, None) if planned is None else (planned.intent, settings_of(planned.settings))
        machine.ask("realise", intent, settings)
    wrong = []
    for name, machine in hosts.items():
        found, mended = machine.answer()
        wrong += [f"host {name}: {words}" for words in found]
        if mended:
            print(f"host {name}: mended by the next round: {mended}", flush=True)
    told = cards(made)
    everybody = {**hosts, OUTSIDE: machines.outside}
    for name, machine in everybody.items():
        machine.ask("open", told.get(name, ()))
    for machine in everybody.values():
        machine.answer()
    try:
        _ask(machines, asked, _FIRST_S)
        again = [each for each in asked if not each.is_right]
        for each in again:
            each.passed.clear()
        if again:
            _ask(machines, again, _AGAIN_S, closely=True)
        wrong += [each.report for each in asked if not each.is_right]
        if hops is not None:
            asked = sample([each for each in asked if not _has_many_owners(made, each)])
            found, counted = play_hops(machines, made, asked)
            wrong += found
            hops.update(counted)
            hops["pairs"] += len(asked)
            hops["clouds"] += 1
    finally:
        machines.all("close", everybody.values())
    return wrong


def sample(asked: Sequence[Question]) -> list[Question]:
    """Of every change's few clouds, few pairs: those that arrive, and those that do not, by turns."""
    if HOPS > _FEW_HOPS:
        return list(asked)
    dice = random.Random(len(asked))
    found = []
    for arrives in (True, False):
        mine = [each for each in asked if each.said.arrives is arrives]
        found += dice.sample(mine, min(len(mine), _MOST_PAIRS // 2))
    return found


def _has_many_owners(made: Made, question: Question) -> bool:
    """Whether any router of its network may answer at the destination (RFC 4291 section 2.6.1): a walk asks one."""
    destination = ipaddress.ip_address(question.probe.destination)
    subnets = (ipaddress.ip_network(str(row["cidr"])) for row in made.catalog.all("subnet"))
    return destination.version == 6 and any(subnet.network_address == destination for subnet in subnets)


def play_hops(machines: Machines, made: Made, asked: Sequence[Question]) -> tuple[list[str], Counter[str]]:
    """Of a cloud that is there and whose guests know their neighbours: hops that are not as predicted, in words.

    What differs is asked again before it is called a difference: what is sent once may be lost on a full machine.
    """
    told = [_foretold(made, each) for each in asked]
    wrong, counted = compare_hops(machines, made, told)
    if not wrong and not any(each.wrong for each in told):
        return [], counted
    differ = {each.words: each.wrong for each in told if each.wrong}
    if wrong:  # a counter is of all of them together
        told = [_foretold(made, each) for each in asked]
    else:
        told = [_foretold(made, each) for each in asked if each.words in differ]
    wrong, _ = compare_hops(machines, made, told)
    counted["asked again"] += len(differ)
    print(f"asked again: {differ}", flush=True)
    return wrong + ["\n    ".join((each.words, *each.wrong)) for each in told if each.wrong], counted


def _foretold(made: Made, question: Question) -> Foretold:
    probe = question.probe._replace(number=next(numbers))
    return foretold(made, question.end, probe, question.asked, question.words)


def _ask(machines: Machines, asked: list[Question], seconds: float, closely: bool = False) -> None:
    by_number = {each.probe.number: each for each in asked}
    sent = [(each.source, each.probe) for each in asked]
    everybody = [*machines.hosts.values(), machines.outside]
    machines.all("listen", everybody, closely)
    for machine, seen in zip(everybody, machines.all("run", everybody, sent, seconds), strict=True):
        for sighting in seen:
            if sighting.number in by_number:
                by_number[sighting.number].see(machine.name, sighting)


def is_distributed(seed: int, firewall: str) -> bool:
    """Whether the routers of a cloud are: of one in five, and of the second, as hops are compared in the first ones.

    On demand: of a guest without a floating IP of its own, behind a distributed router that translates no sources,
    `reachable` says that it reaches floating IPs of that router on other hosts, whatever scopes are between.
    """
    return DISTRIBUTED and firewall != LINUX_BRIDGE and seed % 5 == 1


def _made(seed: int, firewall: Firewall) -> Made:
    """A cloud by its objects. What a seed makes is the same each time, but for ids."""
    is_one = is_distributed(seed, firewall)
    how = {"is_distributed": is_one, "has_third": is_one, "is_wired": seed % 3 != 0}

    async def fill(folder: str) -> Made:
        async with cloud(Path(folder), firewall, **how) as it:
            await it.fill(random.Random(seed))
            return await it.seen()

    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(asyncio.wait_for(fill(folder), 180))


def _seeds(firewall: str) -> list[int]:
    if "DEUTERON_CLOUD_SEED" in os.environ:
        return [int(text) for text in os.environ["DEUTERON_CLOUD_SEED"].split(",")]
    # Every change is held to the same clouds; who asks for a number of them gets others each time.
    first = random.randrange(2**32) if "DEUTERON_CLOUDS" in os.environ else _FIRST_SEEDS[firewall]
    return [first + number for number in range(_share(CLOUDS, firewall))]


def _share(clouds: int, firewall: str) -> int:
    return -(-clouds * SHARES[firewall] // sum(SHARES.values()))


@pytest.mark.long
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("firewall", SHARES)
def test_a_packet_arrives_where_the_objects_say(firewall: Firewall, host: Path, tmp_path: Path) -> None:
    seeds = _seeds(firewall)
    verdicts: Counter[str] = Counter()
    hops: Counter[str] = Counter()
    wrong: list[str] = []
    counted, begun = 0, time.monotonic()
    # While packets are waited for, the next cloud is made.
    hosts = {**HOSTS, **COMPUTE} if any(is_distributed(seed, firewall) for seed in seeds) else HOSTS
    with Machines(tmp_path, hosts) as machines, ThreadPoolExecutor(1) as maker:
        following = maker.submit(_made, seeds[0], firewall)
        for place, seed in enumerate(seeds, 1):
            made = following.result()
            if place < len(seeds):
                following = maker.submit(_made, seeds[place], firewall)
            asked = list(questions(made))
            found = play(machines, made, asked, hops if place <= _share(HOPS, firewall) else None)
            verdicts.update("arrives" if each.said.arrives else each.said.why for each in asked)
            verdicts["answered"] += sum(bool(each.is_answered) for each in asked)
            counted += len(asked)
            if found:
                wrong.append(f"DEUTERON_CLOUD_SEED={seed}, {firewall}:\n" + "\n".join(found[:_MOST_SHOWN]))
                print(wrong[-1], flush=True)
        each_s = (time.monotonic() - begun) / len(seeds)
        print(f"{firewall}: {counted} pairs in {len(seeds)} clouds, {each_s:.1f} s each: {dict(verdicts)}", flush=True)
        print(f"{firewall}, hops: {dict(hops)}", flush=True)
        left = {name: machine.do("stop") for name, machine in machines.hosts.items()}
    assert not wrong, "\n".join(wrong[:5])
    assert not any(left.values()), left
    if len(seeds) >= _ENOUGH:
        assert counted >= 100 * len(seeds), "hardly anything was asked"
        assert 0.1 < verdicts["arrives"] / counted < 0.9 and verdicts["answered"], verdicts

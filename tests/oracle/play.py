"""Sequences played to the real Neutron and to ours, and what was found: how many were compared, and what differs."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, seed, settings

from deuteron.model.intent import Hello
from deuteron.model.settings import HostEntry, NetworkOptions, Operator
from deuteron.rules.hosts import registry
from tests.oracle.both import Both, Request
from tests.oracle.neutron import Neutron
from tests.oracle.sameness import Difference
from tests.oracle.sequences import LISTS, sequences
from tests.unit.api_network.harness import ADMIN, BRIDGES, DEMO, HOST, OTHER, Client, cloud_in

TUNNELS = {HOST: "192.0.2.1", "far": "192.0.2.2"}
"""Of the hosts. No guest is on any; a port may be bound on one and wait for its guest on the other."""
SEQUENCES_PER_SEED = 8

EXAMPLES = 3

Signature = tuple[str, str, str, str]
"""What makes two differences the same: the step, the place, what is there, what is here."""


@dataclass
class Tally:
    """`unexplained` has, for each signature, the shortest conversation that ended in it; `examples`, of each reason and
    signature, some requests that it explained."""

    compared: int = 0
    explained: Counter[str] = field(default_factory=Counter)
    examples: dict[tuple[str, Signature], list[str]] = field(default_factory=dict)
    unexplained: dict[Signature, list[str]] = field(default_factory=dict)
    seen: Counter[Signature] = field(default_factory=Counter)

    def add(self, request: Request, found: Difference, why: str | None, said: Sequence[str]) -> None:
        signature = (request.step, found.place, *found.told)
        if why is not None:
            self.explained[why] += 1
            self._keep((why, signature), said[-1:])
            return
        self.seen[signature] += 1
        known = self.unexplained.get(signature)
        if known is None or len(said) < len(known):
            self.unexplained[signature] = list(said)

    def join(self, other: Tally) -> None:
        self.compared += other.compared
        self.explained += other.explained
        self.seen += other.seen
        for key, lines in other.examples.items():
            self._keep(key, lines)
        for signature, said in other.unexplained.items():
            known = self.unexplained.get(signature)
            if known is None or len(said) < len(known):
                self.unexplained[signature] = said

    def _keep(self, key: tuple[str, Signature], lines: Sequence[str]) -> None:
        known = self.examples.setdefault(key, [])
        known += lines[: EXAMPLES - len(known)]

    def explanations(self) -> Iterator[str]:
        """What each reason explained, for who asks whether it explains too much."""
        for (why, signature), lines in sorted(self.examples.items()):
            yield f"{why}\n  {signature[0]}: {signature[1]}: {signature[2]} there, {signature[3]} here"
            yield from (f"      {line[:600]}" for line in lines)

    def lines(self) -> Iterator[str]:
        """For people."""
        yield "answers that differ, by reason:"
        for why, count in self.explained.most_common():
            yield f"{count:7}  {why}"
        yield f"differences without a reason: {len(self.unexplained)}"
        for signature, count in self.seen.most_common():
            step, place, there, here = signature
            yield f"{count:7}  {step}: {place}: {there} there, {here} here"
            yield from (f"             {line[:600]}" for line in self.unexplained[signature][-1:])


@contextmanager
def cloud() -> Iterator[Client]:
    """An empty cloud of ours, set up as `neutron_process.py` sets up Neutron: DHCP and routers get no ports there."""
    with tempfile.TemporaryDirectory() as folder:
        hosts = {
            name: HostEntry(token=name, bridge_mappings=BRIDGES, tunnel_ip=tunnel, roles=("compute",))
            for name, tunnel in TUNNELS.items()
        }
        wanted = {"hosts": hosts, "external": None, "vlan_ranges": {"physnet1": ((1000, 1019),)}}
        wanted["operator"] = Operator(network=NetworkOptions(dns_domain="cloud.example"))
        with cloud_in(Path(folder), **wanted, flat_networks=("public",), vni_range=(1, 200)) as client:
            for name, tunnel in TUNNELS.items():
                hello = Hello(
                    name, ("compute",), 2, 1024, 10, tunnel_ip=tunnel, tunnel_types=("vxlan",), bridge_mappings=BRIDGES
                )
                client.cloud.database.write(partial(registry.greet, hello=hello))
            yield client


def play(neutron: Neutron, sequence: Sequence[Request], tally: Tally) -> None:
    """The sequence, and lists of everything after it, to both; it ends where one did what the other refused."""
    neutron.reset()
    with cloud() as client:
        both = Both(neutron, client)
        for project in (ADMIN, DEMO, OTHER):
            both.twins.pair(project, project)
        for agent in client.get("/v2.0/agents")["agents"]:
            query = f"binary={agent['binary']}&host={agent['host']}"
            (theirs,) = neutron.call("GET", f"/v2.0/agents?{query}").body["agents"]
            both.know(f"{agent['binary'].split('-')[1]}_agent", theirs["id"], agent["id"])
        for each in (*sequence, *LISTS):
            tally.compared += 1
            for found, why in both.ask(each):
                tally.add(each, found, why, both.said)
            if both.diverged:
                return


def drawn(number: int) -> list[list[Request]]:
    """The sequences of a seed: the same each time, as long as `sequences.py` stays as it is."""
    found: list[list[Request]] = []

    @seed(number)
    @settings(
        max_examples=SEQUENCES_PER_SEED,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(sequences())
    def draw(sequence: list[Request]) -> None:
        found.append(sequence)

    draw()
    return found

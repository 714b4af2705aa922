"""Generated sequences of requests to the real Neutron and to ours, with `--oracle` alone: it installs Neutron.

    ./deuteron test tests/oracle --oracle [--oracle-requests N]

What differs without a reason in `reasons.py` fails, cut down to the fewest requests that show it.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from deuteron.model.intent import Hello
from deuteron.model.settings import HostEntry
from deuteron.rules.hosts import registry
from tests.oracle.both import Both, Request
from tests.oracle.neutron import Neutron, running
from tests.oracle.sequences import LISTS, sequences
from tests.unit.api_network.harness import BRIDGES, HOST, Client, cloud_in

TUNNEL = "192.0.2.1"


@contextmanager
def cloud() -> Iterator[Client]:
    """An empty cloud of ours, set up as `neutron_process.py` sets up Neutron: DHCP and routers get no ports there."""
    with tempfile.TemporaryDirectory() as folder:
        entry = HostEntry(token="t", bridge_mappings=BRIDGES, tunnel_ip=TUNNEL, roles=("compute",))
        wanted = {"hosts": {HOST: entry}, "external": None, "vlan_ranges": {"physnet1": ((1000, 1019),)}}
        with cloud_in(Path(folder), **wanted, flat_networks=("public",), vni_range=(1, 200)) as client:
            hello = Hello(
                HOST, ("compute",), 2, 1024, 10, tunnel_ip=TUNNEL, tunnel_types=("vxlan",), bridge_mappings=BRIDGES
            )
            client.cloud.database.write(lambda tx: registry.greet(tx, hello))
            yield client


@pytest.fixture(scope="module")
def neutron() -> Iterator[Neutron]:
    with running() as made:
        yield made


@pytest.mark.timeout(0)
def test_no_answer_differs_without_a_reason(neutron: Neutron, request: pytest.FixtureRequest) -> None:
    wanted: int = request.config.getoption("--oracle-requests")
    compared = 0
    explained: Counter[str] = Counter()

    @settings(max_examples=wanted, deadline=None, suppress_health_check=list(HealthCheck))
    @given(sequences())
    def play(sequence: list[Request]) -> None:
        nonlocal compared
        if compared >= wanted:
            return
        neutron.reset()
        with cloud() as client:
            both = Both(neutron, client)
            for each in (*sequence, *LISTS):
                compared += 1
                for found, why in both.ask(each):
                    assert why is not None, "\n".join(("", *both.said, f"  {found}"))
                    explained[why] += 1
                if both.diverged:
                    return

    try:
        play()
    finally:
        print(f"\n{compared} requests compared; answers that differ, by reason:")
        for why, count in explained.most_common():
            print(f"{count:7}  {why}")
    assert compared >= wanted

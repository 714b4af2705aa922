"""Generated sequences of requests to the real Neutron and to ours, with `--oracle` alone: it installs Neutron.

    ./deuteron test tests/oracle --oracle [--oracle-requests N] [--oracle-minutes M] [--oracle-seed S]

What differs without a reason in `reasons.py` fails, cut down to the fewest requests that show it. The long comparison,
which collects what differs and goes on, is `python -m tests.oracle`.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, seed, settings

from tests.oracle.both import Request
from tests.oracle.neutron import Neutron, running
from tests.oracle.play import Tally, play
from tests.oracle.questions import questions
from tests.oracle.sequences import sequences


@pytest.fixture(scope="module")
def neutron() -> Iterator[Neutron]:
    with running() as made:
        yield made


@pytest.mark.timeout(0)
def test_every_list_takes_the_filters_orders_and_fields_that_neutron_takes(neutron: Neutron) -> None:
    whole = Tally()
    play(neutron, list(questions()), whole)
    assert whole.compared > 2000
    assert whole.unexplained == {}


@pytest.mark.timeout(0)
def test_no_answer_differs_without_a_reason(neutron: Neutron, request: pytest.FixtureRequest) -> None:
    wanted: int = request.config.getoption("--oracle-requests")
    end = time.monotonic() + 60 * request.config.getoption("--oracle-minutes")
    number: int | None = request.config.getoption("--oracle-seed")
    number = random.randrange(10**6) if number is None else number
    print(f"\n--oracle-seed {number}")
    whole = Tally()

    @seed(number)
    @settings(max_examples=wanted, database=None, deadline=None, suppress_health_check=list(HealthCheck))
    @given(sequences())
    def compare(sequence: list[Request]) -> None:
        if whole.compared >= wanted or time.monotonic() > end:
            return
        one = Tally()
        play(neutron, sequence, one)
        for signature, said in one.unexplained.items():
            raise AssertionError("\n".join(("", *said, "  {}: {}: {} there, {} here".format(*signature))))
        whole.join(one)

    began = time.monotonic()
    try:
        compare()
    finally:
        minutes = (time.monotonic() - began) / 60
        print(f"\n{whole.compared} requests compared, {whole.compared / minutes:.0f} a minute")
        print("\n".join(whole.lines()))
    assert whole.compared >= wanted or time.monotonic() > end

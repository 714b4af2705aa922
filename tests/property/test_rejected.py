"""A request that is refused changes nothing: every table is as it was, with its revisions and the log of changes.

The requests are those of the fuzz, each a good one that was changed a little or not at all, to every route of every
service, by an administrator, a member and strangers: a new route is asked as soon as it is there.
"""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test
from sqlalchemy import select

from deuteron.api import compute, identity, image, network, placement, volume
from deuteron.store.prepared import Prepared
from deuteron.store.tables import metadata
from tests.fuzz.bodies import BODIES
from tests.fuzz.mutate import Mutator
from tests.fuzz.world import World, furnish, world

STEPS = 120
SERVICES = (
    identity.SERVICE(),
    network.SERVICE(),
    image.SERVICE(),
    volume.SERVICE(),
    compute.SERVICE(),
    placement.SERVICE(),
)
BY_THEMSELVES = {"hosts": "when a host was last heard"}
"""Tables that change without a request, and what of them."""

Rows = dict[str, list[Any]]
_ALL = {table.name: Prepared(select(table)) for table in metadata.sorted_tables if table.name not in BY_THEMSELVES}


def rows(here: World) -> Rows:
    """Every row of every table."""
    with here.cloud.database.read() as tx:
        return {name: sorted(map(repr, tx.run(all_of_it))) for name, all_of_it in _ALL.items()}


class Refusals(RuleBasedStateMachine):
    """Any requests in any order, each compared with what it did."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.runner = asyncio.Runner()
        self.keeper = world(Path(self.folder.name), alone=True)
        self.here = self.runner.run(self.keeper.__aenter__())
        self.requests = Mutator(self.here, SERVICES, BODIES)
        self.before = rows(self.here)

    @rule(number=st.integers(0, 2**40))
    def ask(self, number: int) -> None:
        request = self.requests.request(number)
        answer = self.runner.run(self.here.send(request))
        after = rows(self.here)
        if answer.status >= 400:
            changed = {name: (self.before[name], after[name]) for name in after if after[name] != self.before[name]}
            assert not changed, f"{answer.status} to {request}: {answer.body[:300]!r}; {changed}"
        self.before = after

    @rule()
    def make_anew_what_was_deleted(self) -> None:
        self.runner.run(furnish(self.here))
        self.before = rows(self.here)

    def teardown(self) -> None:
        self.runner.run(self.keeper.__aexit__(None, None, None))
        self.runner.close()
        self.folder.cleanup()


def test_a_request_that_is_refused_changes_nothing(patience: int) -> None:
    run_state_machine_as_test(
        Refusals,
        settings=settings(
            max_examples=patience,
            stateful_step_count=STEPS,
            deadline=None,
            phases=(Phase.explicit, Phase.generate, Phase.shrink),
            suppress_health_check=list(HealthCheck),
        ),
    )

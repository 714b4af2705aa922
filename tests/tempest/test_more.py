"""What tempest has of each service beyond OpenStack Powered Compute: against one host, and between two.

They run with `--plugin`, and each night. What does not pass is in `more-waiting.yaml` with its reason.
"""

from __future__ import annotations

import pytest

from tests import needs
from tests.clouds import running
from tests.tempest import suite
from tests.tempest.results import Result, differences

pytestmark = needs.needs_iscsi()


@pytest.fixture(scope="module")
def found() -> list[Result]:
    return [*results_on(suite.ONE_HOST, suite.MORE), *results_on(suite.TWO_HOSTS, suite.MOVES)]


def results_on(topology: str, of: suite.Suite) -> list[Result]:
    with running(topology=topology) as cloud:
        (cloud.state / "api" / "operator.toml").write_text(suite.POWERED_OPERATOR)
        cloud.run("down")
        cloud.run("up")
        suite.furnish(cloud.state / "clouds.yaml")
        return suite.run(of, cloud.state / "clouds.yaml", suite.more(between_hosts=of is suite.MOVES))


@pytest.mark.timeout(3 * suite.MORE.run_s)  # with the clouds and the environment, which are made first
def test_of_the_other_tests_of_tempest_only_those_that_wait_do_not_pass(found: list[Result]) -> None:
    assert len(found) == 537
    assert "\n".join(differences(found, suite.MORE.waiting)) == ""

"""OpenStack's own acceptance tests against a fresh cloud: those of the Network API, all of them.

What does not pass yet is in `waiting.yaml` with its reason. A test that passes and is listed, or does not and is not,
fails; so the list is what is missing, and nothing leaves what passes unseen.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.clouds import running
from tests.tempest import suite
from tests.tempest.results import Result, differences


@pytest.fixture(scope="module")
def found() -> Iterator[list[Result]]:
    with running() as cloud:
        yield suite.run(suite.TEMPEST, cloud.state / "clouds.yaml", suite.names(suite.TEMPEST))


@pytest.mark.timeout(2 * suite.TEMPEST.run_s)  # with the cloud and the environment, which are made first
def test_of_the_tests_of_the_network_api_only_those_that_wait_do_not_pass(found: list[Result]) -> None:
    assert len(found) == 262
    assert "\n".join(differences(found, suite.TEMPEST.waiting)) == ""


def test_what_openstack_powered_asks_of_networks_passes_whole(found: list[Result]) -> None:
    passed = {result.name for result in found if result.status == "passed"}
    asked = suite.powered("network")
    assert len(asked) == 82
    assert [name for name in asked if name not in passed] == []

"""Keystone's and Cinder's own tests, which their plugins for tempest bring, each against a fresh cloud.

They run with `--plugin`, and each night. What does not pass is in `keystone-waiting.yaml` and `cinder-waiting.yaml`
with its reason.
"""

from __future__ import annotations

import pytest

from tests.clouds import running
from tests.tempest import suite
from tests.tempest.results import differences


@pytest.mark.timeout(2 * suite.KEYSTONE.run_s)  # with the cloud and the environment, which are made first
def test_of_keystones_own_tests_only_those_that_wait_do_not_pass() -> None:
    with running("--dataplane", "none") as cloud:
        found = suite.run(suite.KEYSTONE, cloud.state / "clouds.yaml", suite.names(suite.KEYSTONE))
    assert len(found) == 1485
    assert "\n".join(differences(found, suite.KEYSTONE.waiting)) == ""


@pytest.mark.timeout(2 * suite.CINDER.run_s)
def test_of_cinders_own_tests_only_those_that_wait_do_not_pass() -> None:
    with running(topology=suite.ONE_HOST, operator=suite.POWERED_OPERATOR) as cloud:
        found = suite.run(suite.CINDER, cloud.state / "clouds.yaml", suite.names(suite.CINDER))
    assert len(found) == 159
    assert "\n".join(differences(found, suite.CINDER.waiting)) == ""

"""All that OpenStack Powered Compute asks for, of every service, against a fresh cloud with guests.

They run with `--plugin`, and each night; those of the Network API for every change (`test_tempest.py`). What does not
pass yet is in `powered-waiting.yaml` with its reason.
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
        (cloud.state / "api" / "operator.toml").write_text(suite.POWERED_OPERATOR)
        cloud.run("down")
        cloud.run("up")
        yield suite.run(suite.POWERED, cloud.state / "clouds.yaml", suite.powered())


@pytest.mark.timeout(2 * suite.POWERED.run_s)  # with the cloud and the environment, which are made first
def test_of_what_openstack_powered_compute_asks_only_what_waits_does_not_pass(found: list[Result]) -> None:
    assert len(found) == 282
    assert "\n".join(differences(found, suite.POWERED.waiting)) == ""

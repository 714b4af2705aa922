"""All that OpenStack Powered Compute asks for, of every service, against a fresh cloud, whose guests it logs in to.

Of its 282 tests the 82 of the Network API are among those of `test_tempest.py`; here are the 200 others. What does not
pass yet would be in `powered-waiting.yaml` with its reason.
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
        network = suite.powered("network")
        asked = [name for name in suite.powered() if name not in network]
        yield suite.run(suite.POWERED, cloud.state / "clouds.yaml", asked)


@pytest.mark.timeout(2 * suite.POWERED.run_s)  # with the cloud and the environment, which are made first
def test_what_openstack_powered_compute_asks_of_other_services_passes_whole(found: list[Result]) -> None:
    assert len(found) == 200
    assert "\n".join(differences(found, suite.POWERED.waiting)) == ""

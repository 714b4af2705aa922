"""Neutron's own tests of its API, which its plugin for tempest brings, against a fresh cloud.

They run with `--plugin`, and each night. What does not pass yet is in `plugin-waiting.yaml` with its reason, as in
`test_tempest.py`. The cloud is set up as Neutron's own gate has it: ports have names in a domain of the operator's, and
there are pools that subnets come from unless told.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.clouds import Cloud, running
from tests.tempest import suite
from tests.tempest.results import Result, differences

_OPERATOR = '[network]\ndns_domain = "cloud.example."\n'
_POOLS = {"192.168.192.0/20": 26, "fd00:c10d::/56": 64}


@pytest.fixture(scope="module")
def found() -> Iterator[list[Result]]:
    with running() as cloud:
        _set_up(cloud)
        yield suite.run(suite.PLUGIN, cloud.state / "clouds.yaml", suite.names(suite.PLUGIN))


@pytest.mark.timeout(2 * suite.PLUGIN.run_s)  # with the cloud and the environment, which are made first
def test_of_neutrons_own_tests_only_those_that_wait_do_not_pass(found: list[Result]) -> None:
    assert "\n".join(differences(found, suite.PLUGIN.waiting)) == ""


def _set_up(cloud: Cloud) -> None:
    (cloud.state / "api" / "operator.toml").write_text(_OPERATOR)
    cloud.run("down")
    cloud.run("up")
    network = cloud.connect("admin").network
    for prefix, length in _POOLS.items():
        network.create_subnet_pool(
            name=f"pool {prefix}", prefixes=[prefix], default_prefix_length=length, is_shared=True, is_default=True
        )

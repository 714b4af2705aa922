"""Clouds for system tests, one with each firewall."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.clouds import Cloud, running


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "tests/system/" in str(item.path):
            item.add_marker(pytest.mark.system)


@pytest.fixture(scope="module", params=["openvswitch", "iptables_hybrid"])
def firewall(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def cloud(firewall: str) -> Iterator[Cloud]:
    with running("--firewall", firewall) as made:
        yield made

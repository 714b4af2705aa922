"""Clouds that are treated badly. `DEUTERON_CHAOS_KILLS` and `DEUTERON_CHAOS_SEED` repeat or lengthen a run."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.clouds import Cloud, running


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "tests/chaos/" in str(item.path):
            item.add_marker(pytest.mark.system)


@pytest.fixture(scope="module")
def cloud() -> Iterator[Cloud]:
    with running() as made:
        yield made

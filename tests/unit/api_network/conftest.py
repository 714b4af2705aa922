"""A fresh cloud for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.api_network.harness import Client, cloud_in


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    with cloud_in(tmp_path) as made:
        yield made

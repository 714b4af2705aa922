from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import rows
from tests.unit.api_identity.harness import Clock, Kit, make_kit


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def kit(tmp_path: Path) -> Iterator[Kit]:
    made = make_kit(tmp_path)
    yield made
    rows.check(made.cloud.database)
    made.cloud.database.close()

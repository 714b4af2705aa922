from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import rows
from tests.unit.api_identity.harness import Kit, make_kit


@pytest.fixture
def kit(tmp_path: Path) -> Iterator[Kit]:
    made = make_kit(tmp_path)
    yield made
    rows.check(made.cloud.database)
    made.cloud.database.close()


@pytest.fixture
def admin(kit: Kit) -> Kit:
    return kit.as_user()


@pytest.fixture
def demo(kit: Kit) -> Kit:
    return kit.as_user("demo", "demo")

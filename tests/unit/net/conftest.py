"""A throwaway switch for tests that ask Open vSwitch itself."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from plancloud import Switch
from tests import needs


@pytest.fixture
def switch() -> Iterator[Switch]:
    needs.program("ovs-vswitchd")
    it = Switch()
    try:
        it.start()
        yield it
    finally:
        it.stop()

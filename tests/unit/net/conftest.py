"""A throwaway switch for tests that ask Open vSwitch itself."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest
from plancloud import Switch


@pytest.fixture
def switch() -> Iterator[Switch]:
    if shutil.which("ovs-vswitchd") is None:
        pytest.skip("openvswitch-switch is not installed")
    it = Switch()
    try:
        it.start()
        yield it
    finally:
        it.stop()

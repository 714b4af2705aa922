"""Clouds that are treated badly. `DEUTERON_CHAOS_KILLS` and `DEUTERON_CHAOS_SEED` repeat or lengthen a run."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.conftest import Cloud


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "tests/chaos/" in str(item.path):
            item.add_marker(pytest.mark.system)


@pytest.fixture(scope="module")
def cloud() -> Iterator[Cloud]:
    folder = Path(tempfile.mkdtemp(prefix="deuteron-chaos-"))
    cloud = Cloud(folder / "cloud")
    try:
        cloud.run("up", timeout_s=600)
        yield cloud
    finally:
        for log in sorted((cloud.state / "log").glob("*.log")):  # shown when a test failed
            lines = log.read_text(errors="replace").splitlines()
            print(f"--- {log.name}", *lines[-60:], sep="\n")
        cloud.run("down", "--delete", check=False)
        shutil.rmtree(folder, ignore_errors=True)

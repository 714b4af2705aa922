"""The demo of two projects on four hosts; beside the other, which is run as root and as an ordinary user: this once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.long
def test_two_projects_on_four_hosts_are_as_the_document_shows_them(tmp_path: Path) -> None:
    state = tmp_path / "demo"
    done = subprocess.run(
        [sys.executable, "-m", "deuteron.cli.main", "demo", "seed-e", "--quiet", "--state-dir", str(state)],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=580,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-6000:]
    assert "demo passed" in done.stdout
    assert not state.exists()

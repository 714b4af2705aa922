"""Format, lint and types are part of the tests, so that one command tells whether a change is good."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    "command",
    [
        ["ruff", "format", "--check", "--quiet", "src", "tests", "examples"],
        ["ruff", "check", "src", "tests", "examples", "deuteron"],
        ["mypy"],
    ],
    ids=" ".join,
)
def test_the_tree_passes(command: list[str]) -> None:
    done = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr

"""The tutorial is what a cloud shows: made anew, it is what stands in `docs/learn`, byte for byte."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from deuteron.cli.learn import chapters

PAGES = Path(__file__).parents[2] / "docs" / "learn"


@pytest.mark.long
def test_the_chapters_made_anew_are_what_the_pages_say(tmp_path: Path) -> None:
    """Those of the first cloud; the others at night.

    To mend: python -m deuteron.cli learn docs/learn
    """
    cloud = "vlan"
    done = subprocess.run(
        [sys.executable, "-m", "deuteron.cli.main", "learn", "--cloud", cloud, "--state-dir", str(tmp_path / "cloud"),
         str(tmp_path / "made")],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=580,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-6000:]
    assert not (tmp_path / "cloud").exists()
    made = {path.name: path.read_text() for path in (tmp_path / "made").iterdir()}
    names = {chapter.name for chapter in chapters() if chapter.cloud == cloud}
    there = {
        path.name: path.read_text()
        for path in PAGES.iterdir()
        if path.name == "README.md" or any(path.name.startswith(name) for name in names)
    }
    assert made.keys() == there.keys()
    for name, text in sorted(made.items()):
        assert text.splitlines() == there[name].splitlines(), name

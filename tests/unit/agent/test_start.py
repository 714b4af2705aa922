"""An agent, and an API, that cannot have the mechanisms they are told to have: they end, and say why."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HALF = """
from deuteron.net.mechanisms.openvswitch.host import OpenVSwitchHost

class Copy(OpenVSwitchHost, frozen=True):
    @property
    def name(self):
        return "copy"

{more}
"""

FAILS_TO_OPEN = """
    tables = ()
    def open_drivers(self, kernel):
        raise RuntimeError("no hands")
"""


def started(folder: Path, module: str, mechanisms: list[str], more: str = "") -> subprocess.CompletedProcess[str]:
    """What became of the process, with a mechanism `copy` installed whose tables are those of `openvswitch`."""
    metadata = folder / "site" / "copy-1.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: copy\nVersion: 1\n")
    (metadata / "entry_points.txt").write_text("[deuteron.mechanisms.host]\ncopy = its_half:Copy\n")
    (folder / "site" / "its_half.py").write_text(HALF.format(more=more))
    (folder / "settings.json").write_text(
        json.dumps(
            {
                "host": "h1",
                "state_dir": str(folder),
                "api_socket": str(folder / "none.sock"),
                "token": "t",
                "port": 0,
                "socket": str(folder / "api.sock"),
                "admin_password": "x",
                "demo_password": "x",
                "mechanism_drivers": mechanisms,
                "roles": ["network"],
            }
        )
    )
    return subprocess.run(
        [sys.executable, "-m", module, "--settings", str(folder / "settings.json")],
        env={**os.environ, "PYTHONPATH": str(folder / "site")},
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize("module", ["deuteron.agent", "deuteron.api"])
def test_a_mechanism_that_is_not_installed_ends_the_process(tmp_path: Path, module: str) -> None:
    done = started(tmp_path, module, ["openvswitch", "carrier"])
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith('Error: unknown mechanism "carrier" in mechanism_drivers (known: '), done.stderr


def test_a_mechanism_whose_table_has_the_name_of_another_ends_the_agent(tmp_path: Path) -> None:
    done = started(tmp_path, "deuteron.agent", ["openvswitch", "copy"])
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1].startswith('Error: cannot use table "bridge" of mechanism "copy"')


def test_a_mechanism_that_cannot_open_its_drivers_ends_the_agent(tmp_path: Path) -> None:
    done = started(tmp_path, "deuteron.agent", ["copy"], FAILS_TO_OPEN)
    assert done.returncode == 1
    assert "cannot open the tables of this host" in done.stderr and "no hands" in done.stderr

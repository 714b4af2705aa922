"""The demo is the specification of the six use cases; here it runs once per kind of network and firewall."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize(
    ("network_type", "firewall"), [("vlan", "openvswitch"), ("vxlan", "iptables_hybrid")], ids=lambda value: str(value)
)
def test_the_demo_passes_and_leaves_nothing(tmp_path: Path, network_type: str, firewall: str) -> None:
    state = tmp_path / "demo"
    done = subprocess.run(
        [sys.executable, "-m", "deuteron.cli.main", "demo", "--quiet", "--network-type", network_type,
         "--firewall", firewall, "--state-dir", str(state)],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=580,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-6000:]
    assert "demo passed" in done.stdout
    assert not state.exists()

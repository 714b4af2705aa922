"""A device that is made anew under its name gets everything that belongs to it in the same pass."""

from __future__ import annotations

from pathlib import Path

from deuteron.net.rows import HOST, HostPlan, Link, Sysctl
from tests.kernel.runner import Runner

SETTING = "net.ipv4.conf.eth9/101.arp_ignore"


def _planned(peer: str) -> HostPlan:
    """The way of a VLAN out of a host whose kernel makes no VLAN devices: its far end is named after the network."""
    return HostPlan(links=(Link(HOST, "eth9.101", "veth", peer=peer),), sysctls=(Sysctl(HOST, SETTING, "8"),))


def test_a_pair_with_another_far_end_is_another_device_and_has_its_settings_at_once(runner: Runner) -> None:
    reconciler = runner.host.reconciler
    assert reconciler.run(_planned("vlo1"), full=True).is_complete
    assert reconciler.run(_planned("vlo2"), full=False).is_complete
    assert Path("/proc/sys/net/ipv4/conf/eth9.101/arp_ignore").read_text().strip() == "8"
    outcome = reconciler.run(_planned("vlo2"), full=True)
    assert (outcome.is_complete, outcome.writes) == (True, {})
    reconciler.run(HostPlan(), full=True)

"""A flow that the switch does not take fails alone: what it stands beside is as wanted."""

from __future__ import annotations

import re
import subprocess

import pytest

from deuteron.net.delta import Delta
from deuteron.net.kernel.openflow import FlowDriver
from deuteron.net.rows import Flow
from tests.kernel.conftest import OpenVSwitch


@pytest.mark.parametrize(
    ("match", "reason"),
    [
        ("ip,no_such_field=1", "does not understand"),
        # ovs-ofctl 3.1 writes this match in an order in which ovs-vswitchd refuses it.
        ("ct_state=+trk,ct_nw_proto=17,ct_tp_src=67,ct_tp_dst=68,ip", "OFPBMC_BAD_PREREQ"),
    ],
)
def test_a_refused_flow_fails_alone(switch: OpenVSwitch, match: str, reason: str) -> None:
    options = "-- set Bridge br-test datapath_type=netdev fail_mode=secure"
    subprocess.run(["ovs-vsctl", "add-br", "br-test", *options.split()], check=True)
    driver = FlowDriver(lambda: ["br-test"])
    good = [Flow("br-test", table, 5, "ip", "drop") for table in (1, 2, 3)]
    bad = Flow("br-test", 2, 6, match, "drop")
    applied = driver.apply(Delta({row.key: row for row in (*good, bad)}, {}))
    assert applied.done == {row.key for row in good}
    assert set(applied.failed) == {bad.key}
    assert re.search(reason, applied.failed[bad.key]), applied.failed
    assert set(driver.observe({row.key: row for row in good})) == {row.key for row in good}

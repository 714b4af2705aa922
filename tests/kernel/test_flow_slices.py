"""A bridge with many entries is observed in slices, which together see what one look at everything sees."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest

from deuteron.net.delta import Delta
from deuteron.net.kernel.openflow import FlowDriver, FlowKey
from deuteron.net.rows import Flow
from tests.kernel.conftest import OpenVSwitch

BRIDGE = "br-slices"
ROWS = {
    row.key: row
    for row in (Flow(BRIDGE, 60 + number % 3, 5, f"in_port={number}", "resubmit(,20)") for number in range(1, 3001))
}


@pytest.fixture
def driver(switch: OpenVSwitch) -> Iterator[FlowDriver]:
    subprocess.run(["ovs-vsctl", "add-br", BRIDGE, "--", "set", "bridge", BRIDGE, "datapath_type=netdev",
                    "protocols=OpenFlow10,OpenFlow13,OpenFlow14"], check=True)  # fmt: skip
    made = FlowDriver(lambda: [BRIDGE])
    wholly = made.observe(ROWS)
    unwanted = {key: row for key, row in wholly.items() if key not in ROWS}
    assert made.apply(Delta(dict(ROWS), unwanted)).failed == {}
    yield made
    subprocess.run(["ovs-vsctl", "del-br", BRIDGE], check=True)


def in_slices(driver: FlowDriver) -> dict[FlowKey, Flow]:
    found: dict[FlowKey, Flow] = {}
    for piece in driver.slices(ROWS):
        seen = driver.observe_slice(ROWS, piece)
        assert len(seen) < 1500, "a slice is small"
        found.update(seen)
    return found


def test_slices_see_all_entries_and_each_wanted_one_is_in_one(driver: FlowDriver) -> None:
    pieces = driver.slices(ROWS)
    assert len(pieces) > 2
    assert all(sum(driver.is_in_slice(key, piece, ROWS) for piece in pieces) == 1 for key in ROWS)
    assert in_slices(driver) == ROWS


def test_slices_see_what_a_person_broke(driver: FlowDriver) -> None:
    for command in (
        f"ovs-ofctl --strict del-flows {BRIDGE} table=61,priority=5,in_port=7",
        f"ovs-ofctl --strict mod-flows {BRIDGE} table=62,priority=5,in_port=8,actions=drop",
        f"ovs-ofctl add-flow {BRIDGE} table=0,priority=9,ip,nw_dst=192.0.2.1,actions=drop",
        f"ovs-ofctl add-flow {BRIDGE} table=61,priority=9,cookie=7,in_port=9,actions=drop",
    ):
        subprocess.run(command.split(), check=True)
    missing, changed = (BRIDGE, 61, 5, "in_port=7"), (BRIDGE, 62, 5, "in_port=8")
    seen = in_slices(driver)
    assert {key for key, row in ROWS.items() if seen.get(key) != row} == {missing, changed}
    extra = {key: row for key, row in seen.items() if key not in ROWS}
    assert {(0, 9), (61, 9)} <= {(row.table, row.priority) for row in extra.values()}
    assert driver.apply(Delta({missing: ROWS[missing], changed: ROWS[changed]}, extra)).failed == {}
    assert in_slices(driver) == ROWS
    assert driver.observe(ROWS) == ROWS

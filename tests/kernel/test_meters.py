"""Meters go to the switch in one conversation, and one that it does not take fails alone."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from deuteron.net.delta import Delta
from deuteron.net.kernel.meters import MeterDriver
from deuteron.net.rows import Meter
from tests.kernel.conftest import OpenVSwitch

MANY = 3000

_begun: list[list[str]] = []


def _listen(event: str, _: object) -> None:
    if event in ("subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn", "os.system"):
        for processes in _begun:
            processes.append(event)


sys.addaudithook(_listen)


@contextmanager
def processes() -> Iterator[list[str]]:
    """What this process starts meanwhile."""
    found: list[str] = []
    _begun.append(found)
    try:
        yield found
    finally:
        _begun.remove(found)


def bridge() -> MeterDriver:
    options = "-- set Bridge br-test datapath_type=netdev fail_mode=secure"
    subprocess.run(["ovs-vsctl", "add-br", "br-test", *options.split()], check=True)
    return MeterDriver(lambda: ["br-test"], "br-test")


def test_thousands_of_meters_come_change_and_go_without_a_process(switch: OpenVSwitch) -> None:
    driver = bridge()
    first = {row.key: row for row in (Meter("br-test", number, 1000, 800) for number in range(1, MANY + 1))}
    second = {key: Meter("br-test", key[1], 2, 3, "pktps") for key in first}
    with processes() as begun:
        for put, remove in ((first, {}), (second, {}), ({}, second)):
            applied = driver.apply(Delta(put, remove))
            assert (applied.done, applied.failed) == (set(first), {})
            assert driver.observe(put) == put
        assert begun == []
        subprocess.run(["true"], check=True)
        assert begun, "what starts a process is seen"
    assert driver.writes == {"meter put": 2 * MANY, "meter deleted": MANY}


def test_a_meter_that_the_switch_does_not_take_fails_alone(switch: OpenVSwitch) -> None:
    driver = bridge()
    rows = [Meter("br-test", number, 7, 7) for number in (1, 0, 2)]  # 0 is no number of a meter
    applied = driver.apply(Delta({row.key: row for row in rows}, {}))
    assert applied.done == {rows[0].key, rows[2].key}
    assert applied.failed == {rows[1].key: "the switch refuses the meter: there are no meters of this number"}


def test_a_meter_that_somebody_changed_is_another(switch: OpenVSwitch) -> None:
    driver = bridge()
    row = Meter("br-test", 1, 7, 7)
    driver.apply(Delta({row.key: row}, {}))
    for words in ("kbps,burst,bands=type=drop,rate=8,burst_size=7", "kbps,bands=type=drop,rate=7"):
        subprocess.run(["ovs-ofctl", "-O", "OpenFlow13", "mod-meter", "br-test", f"meter=1,{words}"], check=True)
        observed = driver.observe({row.key: row})
        assert observed.keys() == {row.key} and observed[row.key] != row
    driver.apply(Delta({row.key: row}, {}))
    assert driver.observe({row.key: row}) == {row.key: row}

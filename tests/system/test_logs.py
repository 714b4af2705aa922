"""The logs of a running cloud do not grow without end, whoever talks."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator

import pytest

from deuteron.sandbox.logs import LIMIT_BYTES
from tests.clouds import PROGRAM, Cloud, running, wait_for


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    with running("--no-guest") as made:
        yield made


def test_a_switch_that_never_stops_talking_fills_no_disk(cloud: Cloud) -> None:
    """Forty megabytes through what ovs-vswitchd inherited as its standard error."""
    folder = cloud.state / "log"
    before = len((folder / "aio-ovs-vswitchd.log").read_bytes())

    script = 'exec head -c 40000000 /dev/zero >/proc/"$(cat /run/openvswitch/ovs-vswitchd.pid)"/fd/2'
    cloud.on("aio", script)

    def total() -> int:
        return sum(path.stat().st_size for path in folder.glob("aio-ovs-vswitchd.log*"))

    wait_for("the end of what was said", total, lambda size: size >= 40_000_000 + before - 2 * LIMIT_BYTES)
    sizes = {path.name: path.stat().st_size for path in folder.glob("aio-ovs-vswitchd.log*")}
    assert set(sizes) == {"aio-ovs-vswitchd.log", "aio-ovs-vswitchd.log.1"}
    assert all(size <= LIMIT_BYTES for size in sizes.values()), sizes
    assert cloud.run("status", check=False).returncode == 0, "and the cloud goes on"


def test_who_follows_a_log_follows_it_into_the_next_file(cloud: Cloud) -> None:
    command = [*PROGRAM, "logs", "-f", "-n", "0", "aio-ovs-vswitchd"]
    with subprocess.Popen(command, env=cloud.environment, stdout=subprocess.PIPE, text=True) as follower:
        try:
            assert follower.stdout is not None
            switch = '/proc/"$(cat /run/openvswitch/ovs-vswitchd.pid)"/fd/2'
            started = time.monotonic()
            cloud.on("aio", f"yes | head -c 17000000 >{switch}; echo; echo the last words >{switch}")
            assert any(line.strip() == "the last words" for line in follower.stdout)
            assert time.monotonic() - started < 30, "whoever talks is not faster than who follows"
        finally:
            follower.kill()

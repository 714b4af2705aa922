"""Ready means wired: what a restarted cloud had is there when `up` says so, and `status` says nothing else before."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.clouds import PROGRAM, Cloud, running, wait_for

NETWORKS = 30


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    with running("--no-guest") as made:
        yield made


def dhcp_servers(cloud: Cloud) -> int:
    """How many run, by a glance that takes no time in which more would start."""
    count = 0
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            words = (entry / "cmdline").read_bytes()
            count += words.startswith(b"dnsmasq\0") and os.fsencode(cloud.state) in words
    return count


def is_ready(cloud: Cloud) -> bool:
    return bool(json.loads(cloud.run("status", "--json", check=False).stdout)["ready"])


def test_a_cloud_of_thirty_networks_is_ready_when_they_are_wired_and_not_before(cloud: Cloud) -> None:
    admin = cloud.connect("admin")
    for number in range(NETWORKS):
        network = admin.network.create_network(name=f"n{number}")
        admin.network.create_subnet(network_id=network.id, cidr=f"10.{number}.0.0/24", ip_version=4)
    wait_for("the networks", lambda: dhcp_servers(cloud), lambda count: count == NETWORKS)
    assert is_ready(cloud)
    cloud.run("down")

    said = cloud.run("up", "--no-guest", timeout_s=600)
    there = dhcp_servers(cloud)
    differences = cloud.run("diff", check=False)

    assert there == NETWORKS, "ready and not wired"
    assert differences.returncode == 0, differences.stdout
    assert "wiring: aio" in said.stderr


def test_a_cloud_whose_agent_lags_behind_is_not_ready_until_it_has_caught_up(cloud: Cloud) -> None:
    processes = json.loads(cloud.run("status", "--json").stdout)["processes"]
    (agent,) = [process["pid"] for process in processes if process["name"] == "aio-agent"]
    os.kill(agent, signal.SIGSTOP)
    try:
        admin = cloud.connect("admin")
        network = admin.network.create_network(name="late")
        admin.network.create_subnet(network_id=network.id, cidr="10.0.0.0/24", ip_version=4)
        with subprocess.Popen(
            [*PROGRAM, "up", "--no-guest"], env=cloud.environment, stderr=subprocess.PIPE
        ) as starting:
            said = cloud.run("status", check=False)
            assert said.returncode == 1 and "missing       aio (wiring: at " in said.stdout, said.stdout
            assert starting.poll() is None, "`up` did not wait"
            os.kill(agent, signal.SIGCONT)
            assert starting.wait(60) == 0
    finally:
        os.kill(agent, signal.SIGCONT)
    assert is_ready(cloud)

"""Hosts join a running cloud, fail, come back and leave it; what they carried is elsewhere, and cables are pulled.

n1, n2 (network)        c1, c2 (compute)
      └─── eth1, tunnels ───┘
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.clouds import Cloud, running, wait_for

pytestmark = pytest.mark.long

TOPOLOGY = """\
[groups]
control = ["n1"]
network = ["n1"]
compute = ["c1"]
"""
SEEN_WITHIN_S = 3.0


@pytest.fixture(scope="module")
def cloud() -> Iterator[Cloud]:
    with running(topology=TOPOLOGY) as made:
        yield made


@pytest.fixture(scope="module")
def guest(cloud: Cloud) -> Any:
    """A guest on c1, with a network and a router that only n1 can carry."""
    admin = cloud.connect("admin")
    group = next(iter(admin.network.security_groups(name="default", project_id=admin.current_project_id)))
    admin.network.create_security_group_rule(
        security_group_id=group.id, direction="ingress", protocol="icmp", ethertype="IPv4"
    )
    network = admin.network.create_network(name="net", provider_network_type="vxlan")
    subnet = admin.network.create_subnet(network_id=network.id, name="net", cidr="10.83.0.0/24", ip_version=4)
    router = admin.network.create_router(name="way")
    admin.network.add_interface_to_router(router, subnet_id=subnet.id)
    image = admin.image.find_image("tiny", ignore_missing=False)
    flavor = admin.compute.find_flavor("m1.nano", ignore_missing=False)
    server = admin.compute.create_server(
        name="guest", image_id=image.id, flavor_id=flavor.id, networks=[{"uuid": network.id}]
    )
    return admin.compute.wait_for_server(server, wait=90, interval=0.2)


def _hosts(cloud: Cloud) -> dict[str, dict[str, Any]]:
    return {one["name"]: one for one in json.loads(cloud.run("host", "list", "--json").stdout)}


def _alive(cloud: Cloud) -> dict[str, set[bool]]:
    """By host, what each part of it is said to be in the lists of agents and services."""
    admin = cloud.connect("admin")
    found: dict[str, set[bool]] = {}
    for agent in admin.network.agents():
        found.setdefault(agent.host, set()).add(agent.is_alive)
    for service in admin.compute.services(binary="nova-compute"):
        found.setdefault(service.host, set()).add(service.state == "up")
    for hypervisor in admin.compute.hypervisors(details=True):
        found.setdefault(hypervisor.name, set()).add(hypervisor.state == "up")
    return found


def _pings(cloud: Cloud, host: str, server: Any) -> bool:
    """Whether the guest answers to the router, which is on this host."""
    address = server.addresses["net"][0]["addr"]
    script = f"for n in $(ip netns list | grep -o 'qrouter-[^ ]*'); do ip netns exec $n ping -c 1 -W 1 {address}; done"
    return "1 received" in cloud.on(host, script, check=False)


def test_hosts_that_join_are_part_of_the_cloud(cloud: Cloud, guest: Any) -> None:
    assert cloud.run("host", "add", "c2").stdout == "c2 is up\n"
    assert json.loads(cloud.run("host", "add", "n2", "--groups", "network", "--json").stdout) == {
        "host": "n2", "state": "up", "changed": True,
    }  # fmt: skip
    assert cloud.run("host", "add", "c2").stdout == "c2 is up already\n"
    assert {name: (one["state"], one["alive"]) for name, one in _hosts(cloud).items()} == {
        "n1": ("up", True), "c1": ("up", True), "c2": ("up", True), "n2": ("up", True), "outside": ("up", None),
    }  # fmt: skip
    wait_for("n1 has tunnels to all", lambda: cloud.on("n1", "ovs-vsctl show").count("remote_ip="), lambda n: n == 3)
    assert "172.30.0.13 n2" in cloud.on("n1", "cat /etc/hosts")
    done = cloud.run("host", "add", "c2", "--groups", "network", check=False)
    assert done.returncode == 1 and 'cannot add host "c2": it is there, in groups compute' in done.stderr


def test_a_cable_that_is_pulled_carries_nothing_until_it_is_plugged_in(cloud: Cloud, guest: Any) -> None:
    host = guest.compute_host
    wait_for("the guest answers", lambda: _pings(cloud, "n1", guest))
    assert json.loads(cloud.run("link", "down", host, "eth1", "--json").stdout)["down"] == ["eth1"]
    assert "NO-CARRIER" in cloud.on(host, "ip link show eth1")
    assert not _pings(cloud, "n1", guest)
    assert cloud.run("link", "down", host, "eth1").stdout == f"{host}: eth1 down already\n"
    assert cloud.run("link", "up", host).stdout == f"{host}: eth0, eth1, eth2, eth3 up\n"
    wait_for("the guest answers again", lambda: _pings(cloud, "n1", guest))
    done = cloud.run("link", "down", host, "eth7", check=False)
    assert done.stderr.splitlines() == [
        f'host "{host}" has no interface "eth7"', "hint: its interfaces are eth0, eth1, eth2, eth3",
    ]  # fmt: skip


def test_a_host_that_stops_is_seen_to_be_gone_and_comes_back_with_what_it_had(cloud: Cloud, guest: Any) -> None:
    host = guest.compute_host
    began = time.monotonic()
    done = cloud.run("host", "stop", host)
    assert "carries 1 server (guest)" in done.stderr
    wait_for("all lists say so", lambda: _alive(cloud)[host], lambda seen: seen == {False}, timeout_s=SEEN_WITHIN_S)
    print(f"stopped and seen within {time.monotonic() - began:.1f} s")
    assert _hosts(cloud)[host]["state"] == "stopped"
    # Also over the end of all processes.
    cloud.run("down")
    cloud.run("up")
    assert _hosts(cloud)[host]["state"] == "stopped"
    status = json.loads(cloud.run("status", "--json").stdout)
    assert (status["ready"], status["stopped"]) == (True, [host])
    assert cloud.run("host", "start", host).stdout == f"{host} is up\n"
    assert cloud.run("host", "start", host).stdout == f"{host} is up already\n"
    wait_for("all lists say so", lambda: set.union(*_alive(cloud).values()), lambda seen: seen == {True})
    wait_for("its guest runs again", lambda: _pings(cloud, "n1", guest), timeout_s=90)


def test_a_host_leaves_when_what_it_carries_is_elsewhere(cloud: Cloud, guest: Any) -> None:
    old = guest.compute_host
    new = "c2" if old == "c1" else "c1"
    done = cloud.run("host", "remove", old, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines()[0] == f'cannot remove host "{old}": it carries 1 server (guest)'
    done = cloud.run("host", "remove", old, "--migrate", "--json")
    assert json.loads(done.stdout) == {
        "host": old, "state": "removed", "changed": True, "moved": [f"server guest to {new}"],
    }  # fmt: skip
    assert old not in _hosts(cloud) and old not in _alive(cloud)
    assert not (cloud.state / "hosts" / old).exists()
    wait_for("the guest answers", lambda: _pings(cloud, "n1", guest))
    wait_for("tunnels to it are gone", lambda: cloud.on("n1", "ovs-vsctl show").count("remote_ip="), lambda n: n == 2)

    moved = json.loads(cloud.run("host", "remove", "n1", "--json").stdout)["moved"]
    assert sorted(moved) == ["DHCP of net to n2", "router way to n2"]
    wait_for("the guest answers to the router on n2", lambda: _pings(cloud, "n2", guest))
    done = cloud.run("host", "remove", "n2", check=False)
    assert done.returncode == 1 and 'group "network" of the topology without "n2" has no host' in done.stderr
    assert cloud.run("host", "remove", "n1").stdout == "n1 is removed already\n"
    assert cloud.run("status").returncode == 0

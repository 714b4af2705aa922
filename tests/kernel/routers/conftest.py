"""The reconciler of a routed host, and the namespaces beyond its router."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.kernel.conftest import wait_until
from tests.kernel.routers.world import PLACES, WORLD, Places, do, pings, routed
from tests.kernel.runner import Runner


@pytest.fixture
def places(runner: Runner) -> Iterator[Places]:
    runner.settle(routed())
    for name, address in PLACES.items():
        bridge = "br-ex" if name == "world" else "br-eth2"
        do(f"ip netns add {name}")
        do(f"ip netns exec {name} sysctl -qw net.ipv6.conf.default.accept_dad=0")  # not to wait for its addresses
        do(f"ip link add e-{name} type veth peer name eth0 netns {name}")
        do(f"ethtool -K e-{name} tx off")
        do(f"ip netns exec {name} ethtool -K eth0 tx off")
        do(f"ip -n {name} address add {address} dev eth0")
        for link in (f"-n {name} link set eth0", f"-n {name} link set lo", f"link set e-{name}"):
            do(f"ip {link} up")
        if name != "world":
            do(f"ip -n {name} route add default via 10.10.0.1")
        do(f"ovs-vsctl add-port {bridge} e-{name} {'' if name == 'world' else 'tag=1000'}")
    made = Places()
    for guest in ("a", "b"):
        wait_until(lambda guest=guest: pings(guest, WORLD), f"{guest} reaches the world")
    yield made
    made.close()
    for name in PLACES:
        do(f"ovs-vsctl --if-exists del-port e-{name}")
        do(f"ip link del e-{name}")  # with its namespace it would go later, some time
        do(f"ip netns del {name}")

"""Routes that people add, beside those that addresses make."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from deuteron.net.delta import Delta
from deuteron.net.kernel.namespaces import Namespaces
from deuteron.net.kernel.routes import RouteDriver
from deuteron.net.kernel.rtnetlink import NetlinkSockets
from deuteron.net.rows import Route

N = "qrouter-routes"


def do(command: str) -> str:
    return subprocess.run(command.split(), check=True, capture_output=True, text=True).stdout


@pytest.fixture
def driver(host: Path) -> Iterator[RouteDriver]:
    do(f"ip netns add {N}")
    do(f"ip -n {N} link add dev0 type veth peer name dev1")
    for name, prefix in (("dev0", "10.9.0.1/24"), ("dev1", "10.8.0.1/24")):
        do(f"ip -n {N} link set {name} up")
        do(f"ip -n {N} address add {prefix} dev {name}")
    namespaces = Namespaces()
    sockets = NetlinkSockets(namespaces)
    yield RouteDriver(namespaces, sockets)
    sockets.close()
    namespaces.close()
    do(f"ip netns del {N}")


def taken() -> str:
    """By which way a packet to 10.8.0.7 goes."""
    words = do(f"ip -n {N} route get 10.8.0.7").split()
    return words[words.index("via") + 1] if "via" in words else words[words.index("dev") + 1]


def test_a_route_to_a_prefix_that_the_router_is_on_comes_first_and_leaves_it_behind(driver: RouteDriver) -> None:
    one, two = (Route(N, "10.8.0.0/24", f"10.9.0.{number}", "dev0") for number in (2, 3))
    assert taken() == "dev1"
    assert not driver.apply(Delta({one.key: one}, {})).failed
    assert taken() == "10.9.0.2"
    assert not driver.apply(Delta({two.key: two}, {}, {two.key: one})).failed
    assert taken() == "10.9.0.3"
    assert driver.observe({two.key: two}) == {two.key: two}
    assert not driver.apply(Delta({two.key: two}, {})).failed, "as after a crash"
    assert not driver.apply(Delta({}, {two.key: two})).failed
    assert taken() == "dev1", "what the address made is still there"
    assert driver.observe({}) == {}

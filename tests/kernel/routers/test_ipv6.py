"""IPv6 through a router: the route that it tells, the addresses it answers for outside, and the metadata service."""

from __future__ import annotations

import re
import select
import socket
import time

import msgspec
import pytest

from deuteron.model.intent import HostIntent, IntentSubnet, NdpProxying, RouterGateway
from deuteron.net.kernel.namespaces import Namespaces
from deuteron.net.rows import MetadataListener
from tests.kernel import intents
from tests.kernel.conftest import wait_until
from tests.kernel.routers.world import Places, do, pings, routed
from tests.kernel.runner import ROUTER, Runner


def advertised(revision: int = 1, is_up: bool = True, is_attached: bool = True) -> HostIntent:
    """The routed network with an IPv6 subnet that the router advertises."""
    intent = routed(None, revision)
    network, router = intent.networks[intents.NET], intent.routers[intents.ROUTER]
    subnet = IntentSubnet(
        intents.uid(66), 6, "fd00:10::/64", "fd00:10::1", ipv6_ra_mode="slaac", ipv6_address_mode="slaac"
    )
    network = msgspec.structs.replace(network, subnets=(*network.subnets, subnet))
    (interface,) = router.interfaces
    interface = msgspec.structs.replace(
        interface, addresses=(*interface.addresses, "fd00:10::1/64"), ra_subnets=(subnet,)
    )
    router = msgspec.structs.replace(router, admin_state_up=is_up, interfaces=(interface,) if is_attached else ())
    networks = {**intent.networks, network.id: network}
    return msgspec.structs.replace(intent, networks=networks, routers={router.id: router})


@pytest.mark.parametrize("change", [{"is_up": False}, {"is_attached": False}], ids=["router down", "interface removed"])
def test_a_guest_has_its_ipv6_route_again_as_soon_as_its_router(
    runner: Runner, places: Places, change: dict[str, bool]
) -> None:
    def has_route() -> bool:
        return "fe80::" in do("ip -6 -n a route show default")

    runner.settle(advertised())
    wait_until(has_route, "the guest has learnt its route", 3)
    runner.run(advertised(2, **change))
    wait_until(lambda: not has_route(), "the guest was told that its router goes", 3)
    begun = time.monotonic()
    assert runner.run(advertised(3)).pending == ()
    assert "tentative" not in do(f"ip -6 -n {ROUTER} address")
    # radvd's second advertisement comes 16 s after its start: this must be the first.
    wait_until(has_route, "the guest has its route again", 3)
    print(f"the route is back {time.monotonic() - begun:.2f} s after the change")
    wait_until(lambda: pings("a", "fd00:10::1"), "the guest reaches its router over IPv6", 5)


# --- NDP proxies -----------------------------------------------------------------------------------------------------


def test_a_router_answers_outside_for_the_addresses_it_is_told(runner: Runner, places: Places) -> None:
    inside = "fd00:1:0:1::/64"
    at_a, at_b = "fd00:1:0:1::a", "fd00:1:0:1::b"
    router = routed().routers[intents.ROUTER]
    assert router.gateway is not None
    (interface,) = router.interfaces
    outer = router.gateway.port
    six = {
        "interfaces": (msgspec.structs.replace(interface, addresses=(*interface.addresses, "fd00:1:0:1::1/64")),),
        "gateway": RouterGateway(
            msgspec.structs.replace(outer, addresses=(*outer.addresses, "fd00:1::10/64")), router.gateway.gateway_ips
        ),
    }
    for place, address in (("a", at_a), ("b", at_b)):
        do(f"ip -n {place} address add {address}/64 dev eth0 nodad")
        do(f"ip -n {place} -6 route add default via fd00:1:0:1::1")
    do("ip -n world address add fd00:1::1/64 dev eth0 nodad")
    do(f"ip -n world -6 route add {inside} dev eth0")  # as a provider has the whole scope on one wire

    runner.settle(routed(None, 2, **six))
    wait_until(lambda: pings("world", "fd00:1::10"), "the router has its address outside", 10)
    qg = next(line.split(":")[1].strip().split("@")[0] for line in _links() if ": qg-" in line)
    mac = do(f"ip netns exec {ROUTER} cat /sys/class/net/{qg}/address").strip()
    do(f"ip -n world neigh replace {at_b} lladdr {mac} dev eth0")
    wait_until(lambda: pings("world", at_b), "who knows the way comes in while nothing is answered for", 10)
    assert not pings("world", at_a), "nobody answers for it"

    runner.settle(routed(None, 3, ndp=NdpProxying((inside,), (at_a,)), **six))
    wait_until(lambda: pings("world", at_a), "the router answers for it", 10)
    assert not pings("world", at_b), "what is not answered for is not let in"
    do(f"ip -n world neigh del {at_b} dev eth0")

    runner.settle(routed(None, 4, ndp=NdpProxying((inside,), (at_b,)), **six))
    wait_until(lambda: pings("world", at_b), "the router answers for another", 10)
    assert not pings("world", at_a)
    runner.settle(routed(None, 5, **six))
    assert "proxy" not in do(f"ip -n {ROUTER} -6 neigh show proxy")
    assert "-NDP" not in do(f"ip netns exec {ROUTER} ip6tables-save")


def _links() -> list[str]:
    return do(f"ip -n {ROUTER} -o link").splitlines()


# --- metadata over IPv6 ----------------------------------------------------------------------------------------------

METADATA6 = "fe80::a9fe:a9fe"


def asked6(revision: int = 1, is_routed: bool = True) -> HostIntent:
    """The network with an IPv6 subnet, its metadata by the router or by DHCP."""
    intent = advertised(revision)
    network = msgspec.structs.replace(intent.networks[intents.NET], routed_by=intents.ROUTER if is_routed else None)
    routers = intent.routers if is_routed else {}
    return msgspec.structs.replace(intent, networks={**intent.networks, network.id: network}, routers=routers)


def _ask6(places: Places, runner: Runner, place: str) -> tuple[MetadataListener, str]:
    """Which listener hears a guest that asks over IPv6, and from which address."""
    listeners = {listener.fileno(): row for row, listener in runner.listeners.items()}
    with Namespaces().entered(place):
        index = socket.if_nametoindex("eth0")
        guest = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
    with guest:
        guest.settimeout(3)
        guest.connect((METADATA6, 80, 0, index))
        (heard,), _, _ = select.select(list(listeners), [], [], 3)
        row = listeners[heard]
        accepted, peer = runner.listeners[row].accept()
        with accepted:
            accepted.sendall(b"hello")
            assert guest.recv(10) == b"hello"
        return row, peer[0].partition("%")[0]


@pytest.mark.parametrize("is_routed", [True, False], ids=["router", "DHCP"])
def test_a_guest_reaches_the_metadata_service_over_ipv6(runner: Runner, places: Places, is_routed: bool) -> None:
    runner.settle(asked6(is_routed=is_routed))
    expected = (ROUTER, intents.ROUTER) if is_routed else (f"qdhcp-{intents.NET}", None)
    for place in ("a", "b"):
        (own,) = re.findall(r"inet6 (fe80::\S+)/64", do(f"ip -n {place} -6 address show dev eth0"))
        row, peer = _ask6(places, runner, place)
        assert (row.namespace, row.router_id, row.network_id) == (*expected, intents.NET)
        assert peer == own


def test_the_metadata_service_is_back_when_its_device_was_replaced(runner: Runner, places: Places) -> None:
    runner.settle(asked6())
    do(f"ovs-vsctl del-port qr-{intents.ROUTER_PORT[:11]}")
    runner.settle(asked6())
    assert _ask6(places, runner, "a")[0].network_id == intents.NET


def test_the_metadata_address_goes_with_the_ipv6_subnet(runner: Runner, places: Places) -> None:
    """Also for an agent that did not see it come."""
    runner.settle(asked6())
    assert METADATA6 in do(f"ip -6 -n {ROUTER} address")
    runner.again()
    runner.settle(routed())
    assert METADATA6 not in do(f"ip -6 -n {ROUTER} address")
    assert {row.address for row in runner.listeners} == {"0.0.0.0"}

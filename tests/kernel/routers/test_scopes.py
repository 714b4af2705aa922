"""Address scopes behind a router: what stays within one, and what leaves it translated."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

import msgspec
import pytest

from deuteron.model.intent import HostIntent, IntentSubnet, RouterPort
from tests.kernel import intents
from tests.kernel.conftest import wait_until
from tests.kernel.routers.world import (
    FLOATING,
    GATEWAY,
    WORLD,
    A,
    B,
    Places,
    do,
    pings,
    received,
    routed,
    send_until,
    tracked,
)
from tests.kernel.runner import Runner

OTHER, C = intents.uid(40), "10.20.1.1"


@pytest.fixture
def c(places: Places) -> Iterator[None]:
    """A guest on a second network, VLAN 1001."""
    do("ip netns add c")
    do("ip link add e-c type veth peer name eth0 netns c")
    for name in ("", "ip netns exec c "):
        do(f"{name}ethtool -K {'eth0' if name else 'e-c'} tx off")
    do(f"ip -n c address add {C}/16 dev eth0")
    for link in ("-n c link set eth0", "-n c link set lo", "link set e-c"):
        do(f"ip {link} up")
    do("ip -n c route add default via 10.20.0.1")
    do("ovs-vsctl add-port br-eth2 e-c tag=1001")
    yield
    do("ovs-vsctl --if-exists del-port e-c")
    do("ip link del e-c")
    do("ip netns del c")


def scoped(revision: int, first: int, second: int, outside: int, snat: bool = True) -> HostIntent:
    """The routed network and a second one behind the same router, in address scopes by number; 0 is none."""
    intent = routed(B, revision, snat=snat)
    router, network = intent.routers[intents.ROUTER], intent.networks[intents.NET]
    (interface,), gateway = router.interfaces, router.gateway
    assert gateway is not None
    subnet = IntentSubnet(intents.uid(41), 4, "10.20.0.0/16", "10.20.0.1")
    other = msgspec.structs.replace(
        network, id=OTHER, name="net2", segmentation_id=1001, local_vlan=3, dhcp_port_id=None, subnets=(subnet,)
    )
    port = msgspec.structs.replace(
        intent.ports[intents.ROUTER_PORT], id=intents.uid(42), network_id=OTHER, mac_address="fa:16:3e:00:00:42",
        fixed_ips=(), ofport=42,
    )  # fmt: skip
    interfaces = (
        msgspec.structs.replace(interface, scopes=(first, 0)),
        RouterPort(port.id, OTHER, port.mac_address, ("10.20.0.1/16",), 1500, scopes=(second, 0)),
    )
    gateway = msgspec.structs.replace(gateway, port=msgspec.structs.replace(gateway.port, scopes=(outside, 0)))
    return msgspec.structs.replace(
        intent,
        networks={**intent.networks, OTHER: other},
        ports={**intent.ports, port.id: port},
        routers={router.id: msgspec.structs.replace(router, interfaces=interfaces, gateway=gateway)},
    )


def test_packets_stay_in_their_address_scope(runner: Runner, places: Places, c: None) -> None:
    runner.settle(scoped(2, 0, 0, 0))
    wait_until(lambda: pings("a", C), "without scopes the guest on the other network is reached")
    runner.settle(scoped(3, 1, 2, 0))
    assert not pings("a", C) and not pings("c", A), "from one scope to the other"
    assert pings("a", B) and pings("a", "10.10.0.1")
    runner.settle(scoped(4, 1, 1, 0))
    assert pings("a", C) and pings("c", A), "within one"
    runner.settle(scoped(5, 1, 0, 0))
    assert not pings("a", C) and not pings("c", A), "from a scope to none"


def _seen_as(places: Places, place: str, own: str) -> str | None:
    """The address that the world sees a guest by; None when it hears nothing."""
    asker = places.socket(place, socket.SOCK_DGRAM, address=(own, 0))
    world = places.socket("world", socket.SOCK_DGRAM, address=(WORLD, 0))
    asker.sendto(b"1", world.getsockname())
    heard = received(world)
    if heard is not None:
        world.sendto(b"2", (heard[1], asker.getsockname()[1]))
        with contextlib.suppress(TimeoutError):
            asker.recv(10)
    return None if heard is None else heard[1]


def test_a_router_translates_what_leaves_its_address_scope_and_nothing_else(
    runner: Runner, places: Places, c: None
) -> None:
    do("ip -n world route add 10.0.0.0/8 via 172.24.4.10")  # so that what is not translated is answered
    runner.settle(scoped(2, 1, 2, 1))
    wait_until(lambda: pings("c", WORLD), "the guest of another scope reaches the world, translated")
    assert _seen_as(places, "a", A) == A, "in the scope outside"
    assert _seen_as(places, "b", B) == FLOATING, "a floating IP is translated all the same"
    assert _seen_as(places, "c", C) == GATEWAY
    assert pings("a", WORLD) and pings("world", A), "within a scope it is routed, both ways"
    assert not pings("world", C) and pings("world", FLOATING)
    runner.settle(scoped(3, 2, 2, 1))
    assert [_seen_as(places, *each) for each in (("a", A), ("b", B), ("c", C))] == [GATEWAY, FLOATING, GATEWAY]
    assert pings("world", FLOATING) and pings("b", WORLD), "a floating IP leads from scope to scope"
    runner.settle(scoped(4, 1, 2, 1, snat=False))
    assert _seen_as(places, "a", A) == A and _seen_as(places, "c", C) is None, "no way out of a scope without SNAT"
    assert _seen_as(places, "b", B) == FLOATING


def test_connections_end_when_a_network_comes_to_another_address_scope(runner: Runner, places: Places, c: None) -> None:
    """They would be answered into a scope that is no longer theirs."""
    runner.settle(scoped(2, 1, 0, 0))
    world = places.socket("world", socket.SOCK_DGRAM, address=(WORLD, 5000))
    sender = places.socket("a", socket.SOCK_DGRAM, address=(A, 6000))
    send_until("the world is asked", lambda: sender.sendto(b"1", (WORLD, 5000)), lambda: received(world))
    before = tracked()["a out"]
    runner.settle(scoped(3, 1, 2, 0))
    assert tracked()["a out"] == before, "nothing of it has changed"
    runner.settle(scoped(4, 2, 2, 0))
    assert "a out" not in tracked()

    def answered() -> bytes | None:
        sender.sendto(b"2", (WORLD, 5000))
        _, (address, port) = world.recvfrom(10)
        world.sendto(b"3", (address, port))
        return sender.recv(10)

    assert answered() == b"3"

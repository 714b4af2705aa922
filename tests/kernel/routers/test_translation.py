"""What a router translates between guests and the world, while floating IPs, forwardings and helpers change."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from deuteron.model.intent import ConntrackHelper, HostIntent, PortForwarding
from deuteron.net.plan import plan
from tests.kernel import intents
from tests.kernel.conftest import wait_until
from tests.kernel.routers.world import (
    FLOATING,
    GATEWAY,
    PORT,
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
from tests.kernel.runner import ROUTER, Runner


def _echo(identifier: int, number: int) -> bytes:
    def checksum(data: bytes) -> int:
        total = sum(struct.unpack(f"!{len(data) // 2}H", data))
        total = (total >> 16) + (total & 0xFFFF)
        return ~(total + (total >> 16)) & 0xFFFF

    head = struct.pack("!BBHHH", 8, 0, 0, identifier, number)
    return struct.pack("!BBHHH", 8, 0, checksum(head), identifier, number)


def _requests(where: socket.socket, identifier: int) -> list[int]:
    """Numbers of the echo requests with this identifier that a raw socket has heard."""
    found = []
    while (heard := received(where, 0.3)) is not None:
        kind, _, _, identified, number = struct.unpack_from("!BBHHH", heard[0], 20)
        if kind == 8 and identified == identifier:
            found.append(number)
    return found


def test_udp_follows_a_floating_ip_that_moves(runner: Runner, places: Places) -> None:
    at_a, at_b = (places.socket(place, socket.SOCK_DGRAM, address=("0.0.0.0", PORT)) for place in ("a", "b"))
    client = places.socket("world", socket.SOCK_DGRAM, address=(WORLD, 5000))
    asker = places.socket("a", socket.SOCK_DGRAM, address=(A, 6000))
    assert send_until("a is asked", lambda: client.sendto(b"1", (FLOATING, PORT)), lambda: received(at_a)) == (
        b"1",
        WORLD,
    )
    assert send_until("a asks", lambda: asker.sendto(b"2", (WORLD, 5000)), lambda: received(client)) == (b"2", FLOATING)

    runner.run(routed(B, 2))
    assert send_until("b is asked", lambda: client.sendto(b"3", (FLOATING, PORT)), lambda: received(at_b)) == (
        b"3",
        WORLD,
    )
    assert received(at_a, 0.3) is None
    said = send_until("a asks again", lambda: asker.sendto(b"4", (WORLD, 5000)), lambda: received(client))
    assert said == (b"4", GATEWAY), "a has no floating IP any longer"
    runner.settle(routed(B, 2))


def test_tcp_ends_when_its_floating_ip_moves(runner: Runner, places: Places) -> None:
    servers = {place: places.socket(place, socket.SOCK_STREAM, address=("0.0.0.0", PORT)) for place in ("a", "b")}
    for server in servers.values():
        server.listen()
    client = places.socket("world", socket.SOCK_STREAM)
    client.connect((FLOATING, PORT))
    kept, _ = servers["a"].accept()
    kept.settimeout(0.5)
    client.send(b"1")
    assert kept.recv(10) == b"1"

    runner.run(routed(B, 2))
    client.send(b"2")
    with pytest.raises(ConnectionResetError):
        client.recv(10)
    with pytest.raises(TimeoutError):
        kept.recv(10)
    kept.close()
    again = places.socket("world", socket.SOCK_STREAM)
    again.connect((FLOATING, PORT))
    servers["b"].accept()[0].close()


def test_icmp_follows_a_floating_ip_that_moves(runner: Runner, places: Places) -> None:
    client, at_a, at_b = (places.socket(place, socket.SOCK_RAW, socket.IPPROTO_ICMP) for place in ("world", "a", "b"))
    client.sendto(_echo(77, 1), (FLOATING, 0))
    wait_until(lambda: 1 in _requests(at_a, 77), "a is pinged")
    runner.run(routed(B, 2))
    client.sendto(_echo(77, 2), (FLOATING, 0))
    wait_until(lambda: 2 in _requests(at_b, 77), "b is pinged")
    assert _requests(at_a, 77) == []


CHANGES: dict[str, tuple[Callable[[], HostIntent], set[str]]] = {
    "floating IP moved": (lambda: routed(B, 2), {"b out"}),
    "floating IP taken away": (lambda: routed(None, 2), {"b out"}),
    "SNAT off": (lambda: routed(A, 2, snat=False), {"in to a", "a out"}),
    "no gateway": (lambda: routed(None, 2, gateway=None), set()),
    "no interface": (lambda: routed(None, 2, interfaces=()), set()),
    "nothing of it": (lambda: routed(A, 2), {"in to a", "a out", "b out"}),
}


@pytest.mark.parametrize("is_restarted", [False, True], ids=["", "after a crash"])
@pytest.mark.parametrize("change", CHANGES)
def test_exactly_what_is_no_longer_allowed_ends(
    runner: Runner, places: Places, change: str, is_restarted: bool
) -> None:
    """Seen in the kernel's own numbers of the connections; the crash is between the new rules and the cleaning."""
    at_a = places.socket("a", socket.SOCK_DGRAM, address=("0.0.0.0", PORT))
    world = places.socket("world", socket.SOCK_DGRAM, address=(WORLD, 5000))
    senders = {place: places.socket(place, socket.SOCK_DGRAM, address=("0.0.0.0", 6000)) for place in ("a", "b")}
    send_until("a is asked", lambda: world.sendto(b"1", (FLOATING, PORT)), lambda: received(at_a))
    for sender in senders.values():
        send_until("the world is asked", lambda one=sender: one.sendto(b"2", (WORLD, 5000)), lambda: received(world))
    before = tracked()
    assert set(before) == {"in to a", "a out", "b out"}

    make, stays = CHANGES[change]
    wanted = plan(make(), runner.settings)
    if is_restarted:
        crashed = msgspec.structs.replace(wanted, connections=())
        assert runner.host.reconciler.run(crashed, full=False).pending == ()
        runner.again()
    outcome = runner.host.reconciler.run(wanted, full=is_restarted)
    assert outcome.pending == ()
    assert ("connection ended" in outcome.writes) == (len(stays) < 3)
    assert tracked() == {name: number for name, number in before.items() if name in stays}
    assert runner.host.reconciler.run(wanted, full=True).writes == {}


# --- port forwarding -------------------------------------------------------------------------------------------------


def test_ports_of_a_floating_ip_lead_inside(runner: Runner, places: Places) -> None:
    forwards = "172.24.4.21"
    one = PortForwarding(intents.uid(91), "udp", forwards, (5353, 5353), A, (PORT, PORT))
    several = PortForwarding(intents.uid(92), "udp", forwards, (8000, 8002), B, (9000, 9002))
    stream = PortForwarding(intents.uid(93), "tcp", forwards, (2000, 2005), A, (PORT, PORT))
    runner.settle(routed(None, 2, port_forwardings=(one, several, stream)))
    at_a, at_b = (
        places.socket(place, socket.SOCK_DGRAM, address=("0.0.0.0", port)) for place, port in (("a", PORT), ("b", 9001))
    )
    client = places.socket("world", socket.SOCK_DGRAM, address=(WORLD, 5000))

    def ask(words: bytes, port: int, at: socket.socket) -> None:
        said = send_until("a guest is asked", lambda: client.sendto(words, (forwards, port)), lambda: received(at))
        assert said == (words, WORLD)

    ask(b"1", 5353, at_a)
    at_a.sendto(b"2", (WORLD, 5000))
    assert received(client) == (b"2", forwards), "the answer comes from where the question went"
    ask(b"3", 8001, at_b)
    server = places.socket("a", socket.SOCK_STREAM, address=("0.0.0.0", PORT))
    server.listen()
    for port in (2000, 2005):
        places.socket("world", socket.SOCK_STREAM).connect((forwards, port))
        server.accept()[0].close()
    neighbour = places.socket("b", socket.SOCK_STREAM)
    neighbour.connect((forwards, 2000))
    server.accept()[0].close()

    runner.run(routed(None, 3, port_forwardings=(several,)))
    client.sendto(b"4", (forwards, 5353))
    assert received(at_a, 0.3) is None, "what was open is closed with its forwarding"
    ask(b"5", 8001, at_b)
    runner.settle(routed(None, 3, port_forwardings=(several,)))
    runner.settle(routed(None, 4))
    assert "-pf-" not in do(f"ip netns exec {ROUTER} iptables-save")
    assert forwards not in do(f"ip -n {ROUTER} address")


# --- conntrack helpers -----------------------------------------------------------------------------------------------


def test_a_helper_lets_the_answer_of_a_server_of_files_in(runner: Runner, places: Places) -> None:
    """TFTP: the server answers from a port of its own, which the router knows nothing of without the helper."""
    server = places.socket("world", socket.SOCK_DGRAM, address=(WORLD, 69))
    asks = b"\0\1file\0octet\0"

    def ask(own_port: int) -> tuple[socket.socket, tuple[str, int]]:
        guest = places.socket("b", socket.SOCK_DGRAM, address=("0.0.0.0", own_port))
        server.settimeout(1)
        guest.sendto(asks, (WORLD, 69))
        return guest, server.recvfrom(100)[1]

    data = places.socket("world", socket.SOCK_DGRAM, address=(WORLD, 40000))
    guest, seen = ask(6000)
    data.sendto(b"1", seen)
    assert received(guest, 0.3) is None, "nobody helps"

    helper = ConntrackHelper(intents.uid(94), "udp", 69, "tftp")
    runner.settle(routed(A, 2, conntrack_helpers=(helper,)))
    guest, seen = ask(6001)
    assert seen[0] == GATEWAY
    data.sendto(b"2", seen)
    assert received(guest) == (b"2", WORLD)
    guest.sendto(b"3", (WORLD, 40000))
    assert received(data) == (b"3", GATEWAY)
    runner.settle(routed(None, 3, conntrack_helpers=(helper,)))
    data.sendto(b"4", seen)
    assert received(guest) == (b"4", WORLD), "what the router translates changed, and this not"
    runner.settle(routed(A, 4))
    assert "-cth" not in do(f"ip netns exec {ROUTER} iptables-save")


def test_what_the_kernel_cannot_help_with_is_said_and_the_rest_works(runner: Runner, places: Places) -> None:
    unknown = ConntrackHelper(intents.uid(95), "udp", 69, "no-such")
    wanted = plan(routed(A, 2, conntrack_helpers=(unknown,), floating_ips=()), runner.settings)
    outcome = runner.host.reconciler.run(wanted, full=False)
    reasons = {reason for _, reason in outcome.pending}
    assert any('this kernel has no conntrack helper "no-such"' in reason for reason in reasons), reasons
    assert FLOATING not in do(f"ip netns exec {ROUTER} iptables-save -t nat"), (
        "tables that the kernel takes are as wanted"
    )
    runner.settle(routed(A, 3))


# --- what is administratively down -----------------------------------------------------------------------------------


def test_a_network_that_is_down_goes_on_without_dhcp(runner: Runner, places: Places) -> None:
    def served() -> bool:
        return (Path(runner.settings.state_dir) / "dhcp" / intents.NET).exists()

    assert served()
    up = routed()
    down = msgspec.structs.replace(up.networks[intents.NET], admin_state_up=False)
    runner.settle(msgspec.structs.replace(up, revision=2, networks={**up.networks, down.id: down}))
    assert not served()
    assert pings("a", B) and pings("a", WORLD) and pings("world", FLOATING)
    runner.settle(routed(revision=3))
    assert served()

"""What goes through a router on a real host, from guests and from outside, while the router changes.

world 172.24.4.1 ── br-ex ── br-int ── [qrouter] ── br-int ── br-eth2 ─┬─ a 10.10.1.1
172.24.4.30                                                            └─ b 10.10.1.2
"""

from __future__ import annotations

import contextlib
import re
import select
import socket
import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from deuteron.model.intent import (
    ConntrackHelper,
    FloatingIp,
    HostIntent,
    IntentSubnet,
    MeteringLabel,
    MeteringRule,
    NdpProxying,
    PortForwarding,
    RouterGateway,
    RouterPort,
)
from deuteron.net.kernel.namespaces import Namespaces
from deuteron.net.plan import plan
from deuteron.net.plan.metering import label_chain
from deuteron.net.rows import MetadataListener
from tests.kernel import intents
from tests.kernel.conftest import OpenVSwitch, wait_until
from tests.kernel.test_reconcile import ROUTER, Runner

WORLD, FLOATING, GATEWAY, A, B = "172.24.4.1", "172.24.4.20", "172.24.4.10", "10.10.1.1", "10.10.1.2"
PLACES = {"world": f"{WORLD}/24", "a": f"{A}/16", "b": f"{B}/16"}
PORT = 7777


class Places:
    """The namespaces beyond the router, and sockets in them."""

    def __init__(self) -> None:
        self._namespaces = Namespaces()
        self._open: list[socket.socket] = []

    def socket(self, place: str, kind: int, protocol: int = 0, address: tuple[str, int] | None = None) -> socket.socket:
        with self._namespaces.entered(place):
            made = socket.socket(socket.AF_INET, kind, protocol)
        self._open.append(made)
        made.settimeout(3)
        if address is not None:
            made.bind(address)
        return made

    def close(self) -> None:
        for each in self._open:
            each.close()
        self._namespaces.close()


def do(command: str) -> str:
    return subprocess.run(command.split(), check=True, capture_output=True, text=True).stdout


@pytest.fixture
def runner(switch: OpenVSwitch, wires: None, tmp_path: Path) -> Iterator[Runner]:
    made = Runner(intents.settings(str(tmp_path)))
    yield made
    made.settle(None)
    made.host.close()


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
        wait_until(lambda guest=guest: _pings(guest, WORLD), f"{guest} reaches the world")
    yield made
    made.close()
    for name in PLACES:
        do(f"ovs-vsctl --if-exists del-port e-{name}")
        do(f"ip link del e-{name}")  # with its namespace it would go later, some time
        do(f"ip netns del {name}")


def _pings(place: str, address: str) -> bool:
    command = ["ip", "netns", "exec", place, "ping", "-c1", "-W1", address]
    return subprocess.run(command, capture_output=True).returncode == 0


def routed(fixed: str | None = A, revision: int = 1, snat: bool = True, **change: Any) -> HostIntent:
    """The routed network of `intents`, its floating IP at `fixed`."""
    intent = intents.routed_network(revision=revision)
    router = intent.routers[intents.ROUTER]
    assert router.gateway is not None
    change = {
        "gateway": RouterGateway(router.gateway.port, router.gateway.gateway_ips, enable_snat=snat),
        "floating_ips": () if fixed is None else (FloatingIp(intents.uid(90), FLOATING, fixed),),
        **change,
    }
    return msgspec.structs.replace(intent, routers={router.id: msgspec.structs.replace(router, **change)})


def _echo(identifier: int, number: int) -> bytes:
    def checksum(data: bytes) -> int:
        total = sum(struct.unpack(f"!{len(data) // 2}H", data))
        total = (total >> 16) + (total & 0xFFFF)
        return ~(total + (total >> 16)) & 0xFFFF

    head = struct.pack("!BBHHH", 8, 0, 0, identifier, number)
    return struct.pack("!BBHHH", 8, 0, checksum(head), identifier, number)


def _heard(where: socket.socket, within_s: float = 1.0) -> tuple[bytes, str] | None:
    """What came and from whom; None when nothing comes."""
    where.settimeout(within_s)
    try:
        data, sender = where.recvfrom(4096)
    except TimeoutError:
        return None
    return data, sender[0]


def _requests(where: socket.socket, identifier: int) -> list[int]:
    """Numbers of the echo requests with this identifier that a raw socket has heard."""
    found = []
    while (heard := _heard(where, 0.3)) is not None:
        kind, _, _, identified, number = struct.unpack_from("!BBHHH", heard[0], 20)
        if kind == 8 and identified == identifier:
            found.append(number)
    return found


def _send_until(what: str, send: Callable[[], object], heard: Callable[[], Any]) -> Any:
    """Send again and again until something is heard; the first packet may be lost to address resolution."""
    deadline = time.monotonic() + 5
    while True:
        send()
        if (answer := heard()) is not None:
            return answer
        assert time.monotonic() < deadline, f"not within 5 s: {what}"


def test_udp_follows_a_floating_ip_that_moves(runner: Runner, places: Places) -> None:
    at_a, at_b = (places.socket(place, socket.SOCK_DGRAM, address=("0.0.0.0", PORT)) for place in ("a", "b"))
    client = places.socket("world", socket.SOCK_DGRAM, address=(WORLD, 5000))
    asker = places.socket("a", socket.SOCK_DGRAM, address=(A, 6000))
    assert _send_until("a is asked", lambda: client.sendto(b"1", (FLOATING, PORT)), lambda: _heard(at_a)) == (
        b"1",
        WORLD,
    )
    assert _send_until("a asks", lambda: asker.sendto(b"2", (WORLD, 5000)), lambda: _heard(client)) == (b"2", FLOATING)

    runner.run(routed(B, 2))
    assert _send_until("b is asked", lambda: client.sendto(b"3", (FLOATING, PORT)), lambda: _heard(at_b)) == (
        b"3",
        WORLD,
    )
    assert _heard(at_a, 0.3) is None
    said = _send_until("a asks again", lambda: asker.sendto(b"4", (WORLD, 5000)), lambda: _heard(client))
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
    _send_until("a is asked", lambda: world.sendto(b"1", (FLOATING, PORT)), lambda: _heard(at_a))
    for sender in senders.values():
        _send_until("the world is asked", lambda one=sender: one.sendto(b"2", (WORLD, 5000)), lambda: _heard(world))
    before = _tracked()
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
    assert _tracked() == {name: number for name, number in before.items() if name in stays}
    assert runner.host.reconciler.run(wanted, full=True).writes == {}


def _tracked() -> dict[str, str]:
    """The connections of the test in the router's namespace, by name, with the kernel's numbers."""
    names = {("172.24.4.1", "5000"): "in to a", (A, "6000"): "a out", (B, "6000"): "b out"}
    found = {}
    for line in do(f"ip netns exec {ROUTER} conntrack -L -p udp -o id").splitlines():
        source, port = (re.findall(rf"{word}=(\S+)", line)[0] for word in ("src", "sport"))
        if (source, port) in names:
            found[names[source, port]] = re.findall(r"\bid=(\d+)", line)[0]
    return found


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
        said = _send_until("a guest is asked", lambda: client.sendto(words, (forwards, port)), lambda: _heard(at))
        assert said == (words, WORLD)

    ask(b"1", 5353, at_a)
    at_a.sendto(b"2", (WORLD, 5000))
    assert _heard(client) == (b"2", forwards), "the answer comes from where the question went"
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
    assert _heard(at_a, 0.3) is None, "what was open is closed with its forwarding"
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
    assert _heard(guest, 0.3) is None, "nobody helps"

    helper = ConntrackHelper(intents.uid(94), "udp", 69, "tftp")
    runner.settle(routed(A, 2, conntrack_helpers=(helper,)))
    guest, seen = ask(6001)
    assert seen[0] == GATEWAY
    data.sendto(b"2", seen)
    assert _heard(guest) == (b"2", WORLD)
    guest.sendto(b"3", (WORLD, 40000))
    assert _heard(data) == (b"3", GATEWAY)
    runner.settle(routed(None, 3, conntrack_helpers=(helper,)))
    data.sendto(b"4", seen)
    assert _heard(guest) == (b"4", WORLD), "what the router translates changed, and this not"
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
    wait_until(lambda: _pings("world", "fd00:1::10"), "the router has its address outside", 10)
    qg = next(line.split(":")[1].strip().split("@")[0] for line in _links() if ": qg-" in line)
    mac = do(f"ip netns exec {ROUTER} cat /sys/class/net/{qg}/address").strip()
    do(f"ip -n world neigh replace {at_b} lladdr {mac} dev eth0")
    wait_until(lambda: _pings("world", at_b), "who knows the way comes in while nothing is answered for", 10)
    assert not _pings("world", at_a), "nobody answers for it"

    runner.settle(routed(None, 3, ndp=NdpProxying((inside,), (at_a,)), **six))
    wait_until(lambda: _pings("world", at_a), "the router answers for it", 10)
    assert not _pings("world", at_b), "what is not answered for is not let in"
    do(f"ip -n world neigh del {at_b} dev eth0")

    runner.settle(routed(None, 4, ndp=NdpProxying((inside,), (at_b,)), **six))
    wait_until(lambda: _pings("world", at_b), "the router answers for another", 10)
    assert not _pings("world", at_a)
    runner.settle(routed(None, 5, **six))
    assert "proxy" not in do(f"ip -n {ROUTER} -6 neigh show proxy")
    assert "-NDP" not in do(f"ip netns exec {ROUTER} ip6tables-save")


def _links() -> list[str]:
    return do(f"ip -n {ROUTER} -o link").splitlines()


# --- metering --------------------------------------------------------------------------------------------------------


def _counted(label: MeteringLabel, family: int = 4) -> int:
    """Packets."""
    program = "iptables" if family == 4 else "ip6tables"
    listed = do(f"ip netns exec {ROUTER} {program} -L {label_chain(label.id)} -n -v -x").splitlines()
    return int(listed[2].split()[0])


def test_a_metering_label_counts_what_passes_the_gateway(runner: Runner, places: Places) -> None:
    sent = MeteringRule(intents.uid(71), "egress", source="10.10.0.0/16")
    quiet = MeteringRule(intents.uid(72), "egress", source=f"{B}/32", excluded=True)
    heard = MeteringRule(intents.uid(73), "ingress", destination=f"{B}/32")
    ours, theirs = MeteringLabel(intents.uid(74), (sent, quiet)), MeteringLabel(intents.uid(75), (heard,))
    runner.settle(routed(revision=2, metering_labels=(ours, theirs)))
    for place, times in (("a", 3), ("b", 2)):
        for _ in range(times):
            assert _pings(place, WORLD)
    assert _pings("a", B) and _pings("a", "10.10.0.1")
    assert (_counted(ours), _counted(theirs)) == (3, 2)

    more = msgspec.structs.replace(theirs, rules=(heard, sent))
    runner.settle(routed(revision=3, metering_labels=(ours, more)))
    assert (_counted(ours), _counted(more)) == (3, 2), "what was counted stays when the rules change"
    assert _pings("a", WORLD)
    assert (_counted(ours), _counted(more)) == (4, 3)
    runner.settle(routed(revision=4))
    assert "neutron-meter" not in do(f"ip netns exec {ROUTER} iptables-save")


# --- address scopes --------------------------------------------------------------------------------------------------

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
    wait_until(lambda: _pings("a", C), "without scopes the guest on the other network is reached")
    runner.settle(scoped(3, 1, 2, 0))
    assert not _pings("a", C) and not _pings("c", A), "from one scope to the other"
    assert _pings("a", B) and _pings("a", "10.10.0.1")
    runner.settle(scoped(4, 1, 1, 0))
    assert _pings("a", C) and _pings("c", A), "within one"
    runner.settle(scoped(5, 1, 0, 0))
    assert not _pings("a", C) and not _pings("c", A), "from a scope to none"


def _seen_as(places: Places, place: str, own: str) -> str | None:
    """The address that the world sees a guest by; None when it hears nothing."""
    asker = places.socket(place, socket.SOCK_DGRAM, address=(own, 0))
    world = places.socket("world", socket.SOCK_DGRAM, address=(WORLD, 0))
    asker.sendto(b"1", world.getsockname())
    heard = _heard(world)
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
    wait_until(lambda: _pings("c", WORLD), "the guest of another scope reaches the world, translated")
    assert _seen_as(places, "a", A) == A, "in the scope outside"
    assert _seen_as(places, "b", B) == FLOATING, "a floating IP is translated all the same"
    assert _seen_as(places, "c", C) == GATEWAY
    assert _pings("a", WORLD) and _pings("world", A), "within a scope it is routed, both ways"
    assert not _pings("world", C) and _pings("world", FLOATING)
    runner.settle(scoped(3, 2, 2, 1))
    assert [_seen_as(places, *each) for each in (("a", A), ("b", B), ("c", C))] == [GATEWAY, FLOATING, GATEWAY]
    assert _pings("world", FLOATING) and _pings("b", WORLD), "a floating IP leads from scope to scope"
    runner.settle(scoped(4, 1, 2, 1, snat=False))
    assert _seen_as(places, "a", A) == A and _seen_as(places, "c", C) is None, "no way out of a scope without SNAT"
    assert _seen_as(places, "b", B) == FLOATING


def test_connections_end_when_a_network_comes_to_another_address_scope(runner: Runner, places: Places, c: None) -> None:
    """They would be answered into a scope that is no longer theirs."""
    runner.settle(scoped(2, 1, 0, 0))
    world = places.socket("world", socket.SOCK_DGRAM, address=(WORLD, 5000))
    sender = places.socket("a", socket.SOCK_DGRAM, address=(A, 6000))
    _send_until("the world is asked", lambda: sender.sendto(b"1", (WORLD, 5000)), lambda: _heard(world))
    before = _tracked()["a out"]
    runner.settle(scoped(3, 1, 2, 0))
    assert _tracked()["a out"] == before, "nothing of it has changed"
    runner.settle(scoped(4, 2, 2, 0))
    assert "a out" not in _tracked()

    def answered() -> bytes | None:
        sender.sendto(b"2", (WORLD, 5000))
        _, (address, port) = world.recvfrom(10)
        world.sendto(b"3", (address, port))
        return sender.recv(10)

    assert answered() == b"3"


# --- what is administratively down -----------------------------------------------------------------------------------


def test_a_network_that_is_down_goes_on_without_dhcp(runner: Runner, places: Places) -> None:
    def served() -> bool:
        return (Path(runner.settings.state_dir) / "dhcp" / intents.NET).exists()

    assert served()
    up = routed()
    down = msgspec.structs.replace(up.networks[intents.NET], admin_state_up=False)
    runner.settle(msgspec.structs.replace(up, revision=2, networks={**up.networks, down.id: down}))
    assert not served()
    assert _pings("a", B) and _pings("a", WORLD) and _pings("world", FLOATING)
    runner.settle(routed(revision=3))
    assert served()


# --- IPv6 ------------------------------------------------------------------------------------------------------------


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
    wait_until(lambda: _pings("a", "fd00:10::1"), "the guest reaches its router over IPv6", 5)


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

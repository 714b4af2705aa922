"""A port's name, as its neighbour hears it from the dnsmasq of their network: by DNS, and for itself by DHCP.

[qdhcp] 10.10.0.2 ── br-int ── br-eth2 ── guest 10.10.1.1, whose port has the name; `far` 10.10.1.7 is elsewhere
"""

from __future__ import annotations

import socket
import struct
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from deuteron.model.intent import FixedIp, HostIntent, IntentRemotePort
from deuteron.net.kernel.namespaces import Namespaces
from tests.kernel import intents
from tests.kernel.conftest import wait_until
from tests.kernel.runner import Runner

DOMAIN = "cloud.example"
SERVER, GUEST, FAR = "10.10.0.2", "10.10.1.1", "10.10.1.7"
MAC = "fa:16:3e:00:00:99"
NAME_ERROR, REFUSED = 3, 5
HOST_NAME, DOMAIN_NAME = 12, 15
DISCOVER, REQUEST, ACK = 1, 3, 5


def do(command: str) -> None:
    subprocess.run(command.split(), check=True)


@pytest.fixture
def guest(runner: Runner) -> Iterator[Namespaces]:
    runner.settle(named())
    for command in (
        "ip netns add guest",
        "ip netns exec guest sysctl -qw net.ipv6.conf.default.accept_dad=0",
        "ip link add e-guest type veth peer name eth0 netns guest",
        "ethtool -K e-guest tx off",
        "ip netns exec guest ethtool -K eth0 tx off",
        f"ip -n guest address add {GUEST}/16 dev eth0",
        "ip -n guest link set eth0 up",
        "ip link set e-guest up",
        "ovs-vsctl add-port br-eth2 e-guest tag=1000",
    ):
        do(command)
    namespaces = Namespaces()
    yield namespaces
    namespaces.close()
    for command in ("ovs-vsctl --if-exists del-port e-guest", "ip link del e-guest", "ip netns del guest"):
        do(command)


def named(guest: str = "", far: str = "", revision: int = 1) -> HostIntent:
    """The network of `intents` with two ports that are plugged in elsewhere, and their names."""
    intent = intents.routed_network(router=False, revision=revision)
    network = msgspec.structs.replace(intent.networks[intents.NET], dns_domain=DOMAIN)
    ports = [
        IntentRemotePort(
            id=intents.uid(number),
            network_id=intents.NET,
            mac_address=mac,
            fixed_ips=(FixedIp(intents.SUBNET, address),),
            dns_name=name,
        )
        for number, mac, address, name in (
            (201, MAC, GUEST, guest),
            (202, "fa:16:3e:00:00:98", FAR, far),
        )
    ]
    return msgspec.structs.replace(
        intent, networks={network.id: network}, remote_ports={port.id: port for port in ports}
    )


def asked(place: Namespaces, name: str) -> tuple[int, list[str]]:
    """The code of the answer to a question for the addresses of a name, and the addresses."""
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    question = struct.pack("!HHHHHH", 7, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!HH", 1, 1)
    with place.entered("guest"):
        asking = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with asking:
        asking.settimeout(0.5)
        deadline = time.monotonic() + 20
        while True:
            asking.sendto(question, (SERVER, 53))
            try:
                answer = asking.recv(4096)
                break
            except TimeoutError:
                assert time.monotonic() < deadline, f"nobody answers for {name}"
    found, place_in = [], len(question)
    for _ in range(struct.unpack_from("!H", answer, 6)[0]):
        kind, _, _, size = struct.unpack_from("!HHIH", answer, place_in + 2)
        place_in += 12
        if kind == 1:
            found.append(socket.inet_ntoa(answer[place_in : place_in + size]))
        place_in += size
    return answer[3] & 15, found


def told(place: Namespaces, kind: int = DISCOVER, more: bytes = b"") -> dict[int, bytes]:
    """The options of what DHCP answers the guest."""
    body = struct.pack("!BBBB4sHH16s", 1, 1, 6, 0, b"test", 0, 0x8000, bytes(16))
    body += bytes.fromhex(MAC.replace(":", "")) + bytes(202) + b"\x63\x82\x53\x63"
    body += bytes([53, 1, kind, 55, 2, HOST_NAME, DOMAIN_NAME]) + more + b"\xff"
    with place.entered("guest"):
        asking = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with asking:
        asking.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        asking.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"eth0\0")
        asking.bind(("", 68))
        asking.settimeout(0.5)
        deadline = time.monotonic() + 20
        while True:
            asking.sendto(body, ("255.255.255.255", 67))
            try:
                answer = asking.recv(4096)
                break
            except TimeoutError:
                assert time.monotonic() < deadline, "DHCP offers nothing"
    assert socket.inet_ntoa(answer[16:20]) == GUEST
    found, rest = {}, answer[240:]
    while rest[0] != 255:
        found[rest[0]] = rest[2 : 2 + rest[1]]
        rest = rest[2 + rest[1] :]
    return found


def test_a_neighbour_finds_a_port_by_its_name_and_by_the_one_that_it_gets_next(
    runner: Runner, guest: Namespaces
) -> None:
    pid = Path(runner.settings.state_dir, "dhcp", intents.NET, "pid").read_text()
    assert asked(guest, f"host-10-10-1-7.{DOMAIN}") == (0, [FAR])
    assert asked(guest, f"web.{DOMAIN}") in [(NAME_ERROR, []), (REFUSED, [])]

    runner.settle(named("me", "web", revision=2))
    wait_until(lambda: asked(guest, f"web.{DOMAIN}") == (0, [FAR]), "the name is told")
    assert asked(guest, "web") == (0, [FAR])
    offered = told(guest)
    assert (offered[HOST_NAME], offered[DOMAIN_NAME]) == (b"me", DOMAIN.encode())

    runner.settle(named("me", f"db.{DOMAIN}.", revision=3))
    wait_until(lambda: asked(guest, f"db.{DOMAIN}") == (0, [FAR]), "the new name is told")
    assert asked(guest, f"web.{DOMAIN}") in [(NAME_ERROR, []), (REFUSED, [])]
    assert Path(runner.settings.state_dir, "dhcp", intents.NET, "pid").read_text() == pid, "dnsmasq began anew"
    subprocess.run(["kill", "-0", pid.strip()], check=True)


def test_a_guest_that_leased_its_address_under_a_name_has_its_next_one_alone(runner: Runner, guest: Namespaces) -> None:
    runner.settle(named("me", revision=2))
    wait_until(lambda: asked(guest, f"me.{DOMAIN}") == (0, [GUEST]), "the name is told")
    wanted = bytes([50, 4]) + socket.inet_aton(GUEST) + bytes([54, 4]) + socket.inet_aton(SERVER)
    assert told(guest, REQUEST, wanted)[53] == bytes([ACK])
    runner.settle(named("you", revision=3))
    wait_until(lambda: asked(guest, f"you.{DOMAIN}") == (0, [GUEST]), "the new name is told")
    wait_until(lambda: asked(guest, f"me.{DOMAIN}")[1] == [], "the old name is forgotten")
    assert told(guest, REQUEST, wanted)[HOST_NAME] == b"you"


def test_a_guest_whose_port_has_a_keyword_for_a_name_has_its_address(runner: Runner, guest: Namespaces) -> None:
    runner.settle(named("<project_id>", revision=2))
    wait_until(lambda: told(guest).get(HOST_NAME) == b"host-10-10-1-1", "the address has a name of its own")

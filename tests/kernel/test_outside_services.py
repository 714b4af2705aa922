"""DNS and DHCP of the host `outside`, asked as guests ask: a dnsmasq with its arguments, and the machine's resolver."""

from __future__ import annotations

import asyncio
import socket
import struct
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from deuteron.api.hosts import resolver
from deuteron.model.outside import RESOLVER_PORT, Neighbourhood, OutsideSettings
from deuteron.sandbox.outside_names import Scribe
from deuteron.sandbox.outside_relay import Relay
from deuteron.sandbox.outside_services import arguments, records
from deuteron.sandbox.topology_file import parse_topology
from tests.kernel.bootp import ACK, OFFER, exchange
from tests.kernel.conftest import wait_until

NAMESPACE = "world"
GATEWAY = "192.168.111.254"
TOPOLOGY = parse_topology("""
[external]
cidr = "192.168.111.0/24"
gateway = "192.168.111.254"
pool = ["192.168.111.20", "192.168.111.99"]
[outside]
dns = true
dhcp = ["192.168.111.100", "192.168.111.100"]
[hosts.aio]
external_ip = "192.168.111.11"
""")
STRANGER, STATION = "fa:16:3e:00:00:01", "fa:16:3e:00:00:02"
NOERROR, REFUSED, NXDOMAIN = 0, 5, 3
A, PTR = 1, 12


@pytest.fixture
def scribe(host: Path) -> Iterator[Scribe]:
    """The dnsmasq runs, and its `Scribe` has begun."""
    for command in (
        f"ip netns add {NAMESPACE}",
        f"ip link add guest type veth peer name eth3 netns {NAMESPACE}",
        "ip link set guest up",
        "ip address add 192.168.111.20/24 dev guest",
        f"ip -n {NAMESPACE} link set eth3 up",
        f"ip -n {NAMESPACE} address add {GATEWAY}/24 dev eth3",
    ):
        subprocess.run(command.split(), check=True)
    folder = host / "services"
    told = records(TOPOLOGY.outside, TOPOLOGY.external, TOPOLOGY.hosts)
    made = Scribe(OutsideSettings("", "", {}, str(folder), told))
    made.begin()
    command = ["ip", "netns", "exec", NAMESPACE, *arguments(TOPOLOGY.outside, TOPOLOGY.external, "eth3", str(folder))]
    process = subprocess.Popen(command)
    try:
        wait_until(lambda: asked("outside.openstacklocal") is not None, "dnsmasq answers")
        yield made
    finally:
        process.terminate()
        process.wait(10)
        # Not with its namespace, which goes when the kernel has time.
        subprocess.run(["ip", "link", "del", "guest"], check=True)
        subprocess.run(["ip", "netns", "del", NAMESPACE], check=True)


def question(name: str, kind: int = A) -> bytes:
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    return struct.pack("!6H", 0x1234, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!HH", kind, 1)


def said(answer: bytes) -> tuple[int, str]:
    """The code of an answer, and its address, or its other data in hex."""
    code, count = answer[3] & 0xF, struct.unpack("!H", answer[6:8])[0]
    data = answer[-4:]
    return code, socket.inet_ntoa(data) if count else ""


def asked(name: str, kind: int = A, server: tuple[str, int] = (GATEWAY, 53)) -> bytes | None:
    """The answer over UDP; None for silence."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:
        line.settimeout(2)
        line.connect(server)
        try:
            line.send(question(name, kind))
            return line.recv(4096)
        except (TimeoutError, ConnectionRefusedError):
            return None


def told(name: str) -> tuple[int, str] | None:
    answer = asked(name)
    return None if answer is None else said(answer)


def test_names_of_the_topology_of_addresses_and_of_the_cloud_are_told(scribe: Scribe) -> None:
    assert told("outside.openstacklocal") == (NOERROR, GATEWAY)
    assert told("aio.openstacklocal") == (NOERROR, "192.168.111.11")
    assert told("host-192-168-111-25.openstacklocal") == (NOERROR, "192.168.111.25")
    assert told("host-192-168-111-10.openstacklocal") == (NXDOMAIN, ""), "not of the pool"
    back = asked("25.111.168.192.in-addr.arpa", PTR)
    assert back is not None and b"\x13host-192-168-111-25\x0eopenstacklocal" in back
    assert told("example.org") == (REFUSED, ""), "there is nobody to ask"

    assert told("web.cloud.example") == (REFUSED, "")
    names = (("web.cloud.example", "192.168.111.21"), ("aio.openstacklocal", "192.168.111.66"))
    assert scribe.follow(Neighbourhood(names))
    wait_until(lambda: told("web.cloud.example") == (NOERROR, "192.168.111.21"), "the cloud's name is told")
    assert told("aio.openstacklocal") == (NOERROR, "192.168.111.11"), "nobody takes a host's name"
    assert not scribe.follow(Neighbourhood(names)), "nothing is new"
    assert scribe.follow(Neighbourhood())
    wait_until(lambda: told("web.cloud.example") == (REFUSED, ""), "the name is gone")


def test_addresses_are_leased_beside_the_pool_and_not_to_stations_of_the_cloud(scribe: Scribe) -> None:
    scribe.follow(Neighbourhood((), (STATION,)))
    assert exchange(STRANGER, 1) == (OFFER, "192.168.111.100")
    wanted = bytes([50, 4, 192, 168, 111, 100, 54, 4, 192, 168, 111, 254])
    assert exchange(STRANGER, 3, wanted) == (ACK, "192.168.111.100")
    assert exchange(STATION, 1, timeout_s=2) is None
    assert scribe.follow(Neighbourhood())


def test_what_is_not_known_is_asked_of_the_machine_s_resolver_over_the_api(host: Path) -> None:
    """dnsmasq plays the machine's resolver; what stands between it and the relay is the API's function."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    command = "dnsmasq --keep-in-foreground --conf-file= --no-hosts --no-resolv --user=root --pid-file= --port=53"
    process = subprocess.Popen([*command.split(), "--listen-address=127.0.0.1", "--address=/example.org/192.0.2.7"])
    path = host / "api.sock"
    with socket.socket(socket.AF_UNIX) as api:
        api.bind(str(path))
        api.listen()
        Relay(OutsideSettings(str(path), "", {}, forwards=True)).start()
        try:
            wait_until(lambda: asked("example.org", server=("127.0.0.1", 53)) is not None, "the resolver answers")
            threading.Thread(target=_answer, args=(api, 2), daemon=True).start()
            relay = ("127.0.0.1", RESOLVER_PORT)
            answer = asked("example.org", server=relay)
            assert answer is not None and said(answer) == (NOERROR, "192.0.2.7")
            with socket.create_connection(relay, timeout=30) as line:
                line.send(struct.pack("!H", len(question("a.example.org"))) + question("a.example.org"))
                answer = line.recv(4096)
                assert struct.unpack("!H", answer[:2])[0] == len(answer) - 2
                assert said(answer[2:]) == (NOERROR, "192.0.2.7")
        finally:
            process.terminate()
            process.wait(10)
        assert asyncio.run(resolver.ask(["127.0.0.1"], "udp", question("example.org"))) is None, "nobody answers"


def _answer(api: socket.socket, count: int) -> None:
    """Be the API for so many questions."""
    for _ in range(count):
        line, _ = api.accept()
        with line, line.makefile("rb") as file:
            over = file.readline().split()[1].rpartition(b"/")[2].decode()
            length = 0
            while (header := file.readline().strip()) != b"":
                name, _, value = header.partition(b":")
                length = int(value) if name.lower() == b"content-length" else length
            asked = asyncio.run(resolver.ask(["127.0.0.1"], over, file.read(length)))
            assert asked is not None
            line.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(asked) + asked)

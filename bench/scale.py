"""Part `scale`: what a request costs in a cloud of 100,000 ports and 1,000 hosts, beside one of 1,000 ports and 1 host.

Both clouds run at once and each request is made to them in turns, so that a busy machine hits both; what counts is the
ratio. They are APIs alone, each a process of its own with a folder of its own; their hosts are `crowd`s, of real
WebSockets. A cloud is filled through its API, by requests for many objects: networks of 100 ports, each spread over ten
hosts, with a subnet, DHCP and a security group that names itself as remote; a router for each ten networks. Servers are
not part of it.

A change counts until the last host that it concerns has sent its report of it: every host where the port's network is.
"""

from __future__ import annotations

import contextlib
import http.client
import multiprocessing
import os
import secrets
import socket
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from bench import alone
from bench.client import Client, Credentials
from bench.clouds import Failed
from bench.crowd import Crowd, Member, crowd
from bench.figures import Book
from bench.footprint import pss_mib

SMALL_PORTS, SMALL_HOSTS = 1_000, 1
PORTS_OF_NETWORK = 100
HOSTS_OF_NETWORK = 10
NETWORKS_OF_ROUTER = 10
_HOSTS_OF_NETWORK_HOST = 100
"""One host in so many runs DHCP and routers."""
_IN_STEP_TIMEOUT_S = 1800.0
_ONE_PROJECT_MAY = 1_000_000
_OF_DEMO = 20


def run(book: Book, ports: int, hosts: int, times: int) -> None:
    """`times` of each request to either cloud, which is 1 ms to 10 ms of work each."""
    with contextlib.ExitStack() as stack:
        small = stack.enter_context(_running(book, "small", min(ports, SMALL_PORTS), min(hosts, SMALL_HOSTS)))
        large = stack.enter_context(_running(book, "large", ports, hosts))
        both = (small, large)
        for api in both:
            taken_s = api.fill()
            book.add(f"scale, {api.name}: {api.ports} ports, {api.hosts} hosts made in", [taken_s], "s", "by bulk POST")
            book.add(f"scale, {api.name}: memory of the API, filled", [pss_mib(api.pid)], "MiB")
        for api in both:
            begun = time.monotonic()
            api.connect(stack.enter_context(crowd(str(api.socket), api.members)))
            taken_s = api.until_in_step() - begun
            book.add(f"scale, {api.name}: hosts start until all in step", [taken_s], "s")
            book.add(f"scale, {api.name}: memory of the API, all hosts there", [pss_mib(api.pid)], "MiB")
        _in_turns(book, both, times)
        for api in both:
            _beside_everything(book, api)
        for api in both:
            book.add(f"scale, {api.name}: API restart until all in step", [api.restart(book)], "s")
            book.add(f"scale, {api.name}: memory of the API, afterwards", [pss_mib(api.pid)], "MiB")


# --- the requests -----------------------------------------------------------------------------------------------------


def _in_turns(book: Book, both: tuple[_Api, _Api], times: int) -> None:
    taken: dict[tuple[str, str], list[float]] = {}
    changes: dict[str, list[float]] = {api.name: [] for api in both}
    for number in range(times):
        for api in both if number % 2 else both[::-1]:
            for name, ms in _requests(api, number, changes[api.name]):
                taken.setdefault((name, api.name), []).append(ms)
    for name in dict.fromkeys(name for name, _ in taken):
        small, large = (book.add(f"scale, {api.name}: {name}", taken[(name, api.name)]) for api in both)
        book.add(f"scale: {name}, large against small", [large.median / small.median], "x")
    for api in both:
        found = book.add(f"scale, {api.name}: change to the last report", changes[api.name])
        ordered = sorted(changes[api.name])
        p99 = ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)]
        book.add(f"scale, {api.name}: change to the last report, p99", [p99], note=f"of {found.n} changes")


def _requests(api: _Api, number: int, changes: list[float]) -> Iterator[tuple[str, float]]:
    """The requests of one turn, with their milliseconds; those of each change until the last report go to `changes`."""
    client = api.client
    network = api.networks[number * 7919 % len(api.networks)]
    concerned = api.hosts_of(network.id)

    def changing(method: str, path: str, body: Any = None, port_id: str = "") -> tuple[str, float]:
        begun = time.monotonic()
        answer, ms = client.timed(method, path, body)
        port_id = port_id or msgspec.json.decode(answer)["port"]["id"]
        changes.append((api.crowd.heard(port_id, concerned, begun) - begun) * 1000)
        return port_id, ms

    wanted = {"network_id": network.id, "security_groups": [network.group], "name": f"turn{number}"}
    port_id, ms = changing("POST", "/ports", {"port": wanted})
    yield "POST port", ms
    # Reads stand between the changes, so that the hosts' reports of one are written before the next.
    yield "GET port", client.ms("GET", f"/ports/{port_id}")
    yield "GET ports, a page of 100", client.ms("GET", "/ports?limit=100")
    yield "GET ports, a later page of 100", client.ms("GET", f"/ports?limit=100&marker={api.middle}")
    yield "GET ports, a page by name", client.ms("GET", "/ports?limit=100&sort_key=name&sort_dir=asc")
    target = network.hosts[number % len(network.hosts)]
    _, ms = changing("PUT", f"/ports/{port_id}", {"port": {"binding:host_id": target}}, port_id)
    yield "PUT port, bind", ms
    yield "GET ports of a network", client.ms("GET", f"/ports?network_id={network.id}")
    yield "GET ports of a device", client.ms("GET", f"/ports?device_id={network.device}")
    yield "GET ports as a project with 20", api.demo.ms("GET", "/ports")
    _, ms = changing("DELETE", f"/ports/{port_id}", None, port_id)
    yield "DELETE port", ms


def _beside_everything(book: Book, api: _Api) -> None:
    """How long a small read takes while another client, a process of its own, lists every port at once."""
    api.client.call("GET", "/networks?limit=1&fields=id")
    taken: list[float] = []
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as other:
        other.submit(_list_everything, api.credentials, 0).result()  # it is there, and has its modules
        listing = other.submit(_list_everything, api.credentials, 2)
        while not listing.done():
            taken.append(api.client.ms("GET", "/networks?limit=1&fields=id"))
        longest_ms, size = listing.result()
    note = f"longest {max(taken):.0f} ms of {len(taken)}; the list {longest_ms:.0f} ms, {size / 1e6:.1f} MB"
    book.add(f"scale, {api.name}: small GET beside a list of all", taken, note=note)


def _list_everything(credentials: Credentials, times: int) -> tuple[float, int]:
    """The milliseconds of the longest list, and its bytes."""
    client = Client(credentials)
    longest = max([client.ms("GET", "/ports") for _ in range(times)], default=0.0)
    client.close()
    return longest, client.bytes


# --- a cloud ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Network:
    id: str
    group: str
    device: str
    """The device of one of its ports."""
    hosts: tuple[str, ...]
    """Where its guests are."""


@dataclass
class _Api:
    """One API process and its hosts."""

    name: str
    process: alone.Api
    ports: int
    hosts: int
    members: list[Member]
    networks: list[_Network] = field(default_factory=list)
    middle: str = ""
    """A port in the middle of the list."""
    _crowd: Crowd | None = None
    _clients: dict[str, Client] = field(default_factory=dict)
    _credentials: dict[str, Credentials] = field(default_factory=dict)

    @property
    def socket(self) -> Path:
        return self.process.socket

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def crowd(self) -> Crowd:
        assert self._crowd is not None  # connected by `run`
        return self._crowd

    @property
    def client(self) -> Client:
        return self._client("admin")

    @property
    def demo(self) -> Client:
        return self._client("demo")

    @property
    def credentials(self) -> Credentials:
        return self._credentials["admin"]

    def _client(self, user: str) -> Client:
        found = self._clients.get(user)
        if found is None:
            found = self._clients[user] = Client(self._credentials[user])
            found.call("GET", "/networks?limit=1&fields=id")
        return found

    def start(self) -> None:
        """Returns when it answers. Raises: Failed."""
        self.process.start()
        self._credentials = {user: self.process.log_in(user) for user in ("admin", "demo")}

    def close_clients(self) -> None:
        """The API ends connections that nothing was asked on for some time: the next request opens one anew."""
        for client in self._clients.values():
            client.close()
        self._clients = {}

    def stop(self) -> None:
        self.close_clients()
        self.process.stop()

    def connect(self, hosts: Crowd) -> None:
        self._crowd = hosts

    def until_in_step(self) -> float:
        """When the last host had carried out everything: it reported so, and the API says so."""
        self.crowd.in_step(_IN_STEP_TIMEOUT_S)
        deadline = time.monotonic() + _IN_STEP_TIMEOUT_S
        line = _UnixLine(self.socket)
        for member in self.members:
            while not line.get(f"/internal/hosts/{member.name}/wiring", member.token)["is_realised"]:
                if time.monotonic() > deadline:
                    raise Failed(f"host {member.name} is not in step after {_IN_STEP_TIMEOUT_S:g} s")
                time.sleep(0.01)
        line.close()
        return time.monotonic()

    def restart(self, book: Book) -> float:
        """Seconds from the start of the API, which had ended, until every host is in step."""
        self.stop()
        begun = time.monotonic()
        self.start()
        book.meter.roots.add(self.pid)
        return self.until_in_step() - begun

    def hosts_of(self, network_id: str) -> set[str]:
        """Where the network is: the hosts that hear of its ports."""
        found = self.client.call("GET", f"/ports?network_id={network_id}&fields=binding:host_id")["ports"]
        return {port["binding:host_id"] for port in found} - {""}

    # --- filling it ---------------------------------------------------------------------------------------------------

    def fill(self) -> float:
        """Make everything; the seconds it took. No host is connected meanwhile."""
        begun = time.monotonic()
        project = self.client.credentials.project_id
        kinds = ("network", "subnet", "port", "router", "security_group", "security_group_rule")
        self.client.call("PUT", f"/quotas/{project}", {"quota": dict.fromkeys(kinds, _ONE_PROJECT_MAY)})
        amount = max(1, self.ports // PORTS_OF_NETWORK)
        for first in range(0, amount, 32):
            self._fill_networks(range(first, min(first + 32, amount)))
        for first in range(0, len(self.networks), NETWORKS_OF_ROUTER):
            self._fill_router([network.id for network in self.networks[first : first + NETWORKS_OF_ROUTER]])
        mine = self._make(self.demo, "network", [{"name": "demo's"}])[0]
        self._make(self.demo, "port", [{"network_id": mine, "name": f"own{n}"} for n in range(_OF_DEMO)])
        every = self.client.call("GET", "/ports?fields=id")["ports"]
        self.middle = every[len(every) // 2]["id"]
        self.close_clients()
        return time.monotonic() - begun

    def _fill_networks(self, numbers: range) -> None:
        ids = self._make(self.client, "network", [{"name": f"net{n}"} for n in numbers])
        prefixes = (f"10.{n // 250 % 250}.{n % 250}.0/24" for n in numbers)
        self._make(
            self.client, "subnet",
            [{"network_id": id, "ip_version": 4, "cidr": cidr} for id, cidr in zip(ids, prefixes, strict=True)],
        )  # fmt: skip
        groups = self._make(self.client, "security_group", [{"name": f"net{n}"} for n in numbers])
        rule = {"direction": "ingress", "ethertype": "IPv4"}
        self._make(
            self.client, "security_group_rule",
            [{**rule, "security_group_id": group, "remote_group_id": group} for group in groups],
        )  # fmt: skip
        for number, network_id, group in zip(numbers, ids, groups, strict=True):
            spread = min(HOSTS_OF_NETWORK, self.hosts)
            hosts = tuple(self.members[(number * spread + n) % self.hosts].name for n in range(spread))
            wanted = [
                {
                    "network_id": network_id, "security_groups": [group], "name": f"port{number}-{n}",
                    "device_id": f"device{number}-{n}", "binding:host_id": hosts[n % spread],
                }
                for n in range(min(PORTS_OF_NETWORK, self.ports - number * PORTS_OF_NETWORK))
            ]  # fmt: skip
            self._make(self.client, "port", wanted)
            self.networks.append(_Network(network_id, group, f"device{number}-0", hosts))

    def _fill_router(self, networks: list[str]) -> None:
        router = self._make(self.client, "router", [{"name": "router"}])[0]
        for network_id in networks:
            subnet = self.client.call("GET", f"/subnets?network_id={network_id}&fields=id")["subnets"][0]["id"]
            self.client.call("PUT", f"/routers/{router}/add_router_interface", {"subnet_id": subnet})

    @staticmethod
    def _make(client: Client, kind: str, wanted: list[dict[str, Any]]) -> list[str]:
        path = f"/{kind.replace('_', '-')}s"
        return [made["id"] for made in client.call("POST", path, {f"{kind}s": wanted})[f"{kind}s"]]


@contextlib.contextmanager
def _running(book: Book, name: str, ports: int, hosts: int) -> Iterator[_Api]:
    """An API of its own that knows its hosts; stopped and gone at the end."""
    with tempfile.TemporaryDirectory(prefix="deuteron-scale-") as text:
        folder = Path(text)
        members = [
            Member(
                f"host{n:04}",
                secrets.token_hex(16),
                f"172.{16 + n // 62500}.{n // 250 % 250}.{n % 250 + 1}",
                ("network", "compute") if n % _HOSTS_OF_NETWORK_HOST == 0 else ("compute",),
            )
            for n in range(hosts)
        ]
        entries = {
            member.name: {"token": member.token, "tunnel_ip": member.tunnel_ip, "roles": member.roles}
            for member in members
        }
        api = _Api(name, alone.Api(folder, entries), ports, hosts, members)
        try:
            api.start()
            book.meter.roots.add(api.pid)
            yield api
        finally:
            api.stop()


class _UnixLine:
    """HTTP over the API's socket for hosts."""

    def __init__(self, path: Path) -> None:
        self._connection = http.client.HTTPConnection("localhost")
        self._connection.sock = socket.socket(socket.AF_UNIX)
        self._connection.sock.connect(os.fspath(path))

    def get(self, path: str, token: str) -> Any:
        self._connection.request("GET", path, headers={"Authorization": f"Bearer {token}"})
        response = self._connection.getresponse()
        answer = response.read()
        if response.status != 200:
            raise Failed(f"GET {path}: {response.status} {answer[:200]!r}")
        return msgspec.json.decode(answer)

    def close(self) -> None:
        self._connection.close()


__all__ = ["run"]

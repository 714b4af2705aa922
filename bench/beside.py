"""Part `beside`: the same requests to us and to the real Neutron 29, on this machine, in one run, in turns.

Both are APIs without agents, and both answer a write when SQLite has it on disk (WAL, `synchronous=FULL`). Requests go
over HTTP, five to one and then five to the other, so that a busy machine hits both and neither finds the other's memory
in the processor each time; what counts is the ratio of the medians. With several clients, two blocks of requests go to
each in turns.

What differs favours Neutron: it has no Keystone, so that it proves no token (ours proves one with each request); a
process for each connection answers, where we have one for all; nobody takes its notifications. Its plug-ins are the
oracle's. Its lists are of rows that were copied (`bench/neutron.py`), not made by it.
"""

from __future__ import annotations

import contextlib
import json
import statistics
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import alone, neutron
from bench.client import Client, Credentials, concurrently
from bench.clouds import Failed
from bench.figures import Book

CLIENTS = 8
IN_A_ROW = 5
"""Requests of one client to a side before the other has its turn."""
LISTS = (100, 1_000, 5_000, 10_000)
NETWORKS = 1_000
SUBNETS_OF_NETWORK = 4
BULK = 100
BULK_OF_SUBNETS = 32
"""As many as one request makes."""
_OF_8_CLIENTS_UP_TO = 1_000
"""Objects in the longest list that several clients ask for at once."""
_BULKS = 3
_KINDS = ("network", "subnet", "port", "router", "floatingip", "security_group", "security_group_rule")
_GROUPS = 20

Work = Callable[["Side", Client, int], float]
"""One request to a side: the number says which. Its milliseconds."""


@dataclass(frozen=True)
class Sizes:
    """How much is measured. `budget_s` is what a series may take of a side before it is cut short."""

    times: int = 30
    together: int = 400
    """Requests of several clients, all in all."""
    budget_s: float = 6.0
    lists: tuple[int, ...] = LISTS
    networks: int = NETWORKS


@dataclass
class Side:
    """A running API. `fill_ports` and `fill_networks` make more objects like one that is there."""

    name: str
    pid: int
    credentials: Credentials
    fill_ports: Callable[[str, str, int, int], None]
    """Given the network, a port, the first number and how many."""
    fill_networks: Callable[[str, int], None]

    def __post_init__(self) -> None:
        self.client = Client(self.credentials)
        self.made: dict[str, list[str]] = {}
        """Ids of what was made, by kind."""

    def make(self, client: Client, kind: str, **values: Any) -> float:
        made, taken_ms = client.make(kind, **values)
        self.made.setdefault(kind, []).append(made["id"])
        return taken_ms


Opening = Callable[[], contextlib.AbstractContextManager[Side]]


def run(book: Book, openings: Sequence[Opening], sizes: Sizes) -> None:
    """The requests on two new clouds, then the lists on two others. Ratios are to the first. Raises: Failed."""
    for measure in (_requests, _lists):
        with contextlib.ExitStack() as stack:
            sides = [stack.enter_context(opening()) for opening in openings]
            book.meter.roots.update(side.pid for side in sides)
            for side in sides:
                stack.callback(side.client.close)
            measure(_Turns(book, sides, sizes))


@contextlib.contextmanager
def ours(name: str = "ours") -> Iterator[Side]:
    with tempfile.TemporaryDirectory(prefix="deuteron-beside-") as folder:
        api = alone.Api(Path(folder), {})
        try:
            api.start()
            credentials = api.log_in("admin")
            client = Client(credentials)
            client.call("PUT", f"/quotas/{credentials.project_id}", {"quota": dict.fromkeys(_KINDS, -1)})

            def fill_ports(network: str, _: str, first: int, count: int) -> None:
                for start in range(first, first + count, BULK):
                    several = range(start, min(start + BULK, first + count))
                    client.call("POST", "/ports", {"ports": [_port(network, n) for n in several]})

            def fill_networks(_: str, count: int) -> None:
                for start in range(1, count + 1, BULK):
                    several = range(start, min(start + BULK, count + 1))
                    made = client.call("POST", "/networks", {"networks": [{"name": f"n{n}"} for n in several]})
                    subnets = [each for network in made["networks"] for each in _subnets(network["id"])]
                    for at in range(0, len(subnets), BULK_OF_SUBNETS):
                        client.call("POST", "/subnets", {"subnets": subnets[at : at + BULK_OF_SUBNETS]})

            yield Side(name, api.pid, credentials, fill_ports, fill_networks)
            client.close()
        finally:
            api.stop()


@contextlib.contextmanager
def theirs(tell: Callable[[str], None]) -> Iterator[Side]:
    with neutron.running(tell) as running:

        def fill_ports(network: str, port: str, first: int, count: int) -> None:
            del network

            def change(number: int, table: str, row: dict[str, Any]) -> None:
                number += first
                if table == "ports":
                    row["name"], row["mac_address"] = f"p{number}", f"fa:16:00:00:{number >> 8:02x}:{number & 255:02x}"
                if table == "ipallocations":
                    row["ip_address"] = f"172.17.{number >> 8}.{number & 255}"

            running.copy("ports", port, count, change)

        def fill_networks(network: str, count: int) -> None:
            def change(number: int, table: str, row: dict[str, Any]) -> None:
                if table == "networks":
                    row["name"] = f"n{number + 1}"
                if table == "networksegments":
                    row["segmentation_id"] += number + 1

            running.copy("networks", network, count, change)

        yield Side("Neutron", running.pid, running.credentials, fill_ports, fill_networks)


def _port(network: str, number: int) -> dict[str, Any]:
    return {"network_id": network, "name": f"p{number}"}


def _subnets(network: str) -> list[dict[str, Any]]:
    return [_subnet(network, f"10.0.{n}.0/24") for n in range(SUBNETS_OF_NETWORK)]


def _subnet(network: str, cidr: str) -> dict[str, Any]:
    """Without DHCP: its port is made by us in the same request, and by an agent of Neutron's later."""
    return {"network_id": network, "ip_version": 4, "cidr": cidr, "enable_dhcp": False}


# --- in turns ---------------------------------------------------------------------------------------------------------


@dataclass
class _Turns:
    book: Book
    sides: list[Side]
    sizes: Sizes

    def each(self, work: Callable[[Side], Any]) -> None:
        for side in self.sides:
            work(side)

    def alone(self, name: str, work: Work, times: int = 0) -> list[float]:
        """One client: the medians of the sides, which are said with their ratio."""
        taken: list[list[float]] = [[] for _ in self.sides]
        numbers = range(times or self.sizes.times)
        for first in range(0, len(numbers), IN_A_ROW):
            for spent, side in zip(taken, self.sides, strict=True):
                for number in numbers[first : first + IN_A_ROW]:
                    if len(spent) < 2 or sum(spent) < self.sizes.budget_s * 1000:
                        spent.append(work(side, side.client, number))
        return self._say(name, taken)

    def both(self, name: str, work: Work, at_most: Callable[[Side], int] | None = None) -> None:
        """One client, and several at once: so many requests as fit into the time that a series may take."""
        medians = self.alone(f"{name}, 1 client", work)
        taken: list[list[float]] = [[] for _ in self.sides]
        took_s = [0.0 for _ in self.sides]
        for block in range(2):
            for place, side in enumerate(self.sides):
                count = min(self.sizes.together, int(self.sizes.budget_s * 1000 / medians[place])) // 2
                count = max(CLIENTS, count)
                if at_most is not None:
                    count = min(count, at_most(side))
                done, wall_s = concurrently(
                    side.credentials,
                    CLIENTS,
                    count,
                    lambda client, number, side=side, block=block: work(side, client, 1000 * (1 + block) + number),  # type: ignore[misc]
                )
                taken[place] += done
                took_s[place] += wall_s
        self._say(f"{name}, {CLIENTS} clients", taken)
        rates = [len(done) / wall_s for done, wall_s in zip(taken, took_s, strict=True)]
        self._say(f"{name}, {CLIENTS} clients, a second", [[rate] for rate in rates])

    def _say(self, name: str, taken: Sequence[Sequence[float]]) -> list[float]:
        is_rate = name.endswith("a second")
        medians = [statistics.median(each) for each in taken]
        for side, values in zip(self.sides, taken, strict=True):
            self.book.add(f"beside, {side.name}: {name}", values, "/s" if is_rate else "")
        for median in medians[1:]:
            ratio = medians[0] / median if is_rate else median / medians[0]
            self.book.add(f"beside: {name}, times faster", [ratio], "x")
        return medians


# --- the requests -----------------------------------------------------------------------------------------------------


def _requests(turns: _Turns) -> None:
    def begin(side: Side) -> None:
        client = side.client
        side.make(client, "network", name="big")
        (big,) = side.made["network"]
        side.make(client, "subnet", **_subnet(big, "172.16.0.0/16"))
        outside, _ = client.make("network", name="outside", **{"router:external": True})
        client.make("subnet", **_subnet(outside["id"], "172.31.0.0/16"))
        side.made |= {"big": [big], "outside": [outside["id"]], "network": [], "subnet": []}
        for number in range(_GROUPS):
            side.make(client, "security_group", name=f"g{number}")
        # What a service does with its first requests of a kind is not in the figures.
        spare, _ = client.make("network", name="spare")
        subnet, _ = client.make("subnet", **_subnet(spare["id"], "10.255.0.0/24"))
        client.make("port", network_id=big)
        router, _ = client.make("router", name="spare")
        client.call("PUT", f"/routers/{router['id']}/add_router_interface", {"subnet_id": subnet["id"]})
        client.make("floatingip", floating_network_id=outside["id"])
        for path in ("/networks", "/ports", "/routers", "/subnets", "/floatingips", "/security-group-rules"):
            client.call("GET", path)

    turns.each(begin)
    turns.both("POST network", lambda side, client, n: side.make(client, "network", name=f"n{n}"))
    turns.each(lambda side: side.made.update(todo=list(side.made["network"])))

    def subnet(side: Side, client: Client, number: int) -> float:
        cidr = f"10.{number // 250 % 250}.{number % 250}.0/24"
        return side.make(client, "subnet", **_subnet(side.made["todo"].pop(), cidr))

    turns.both("POST subnet", subnet, lambda side: len(side.made["todo"]))
    turns.both("POST port", lambda side, client, n: side.make(client, "port", **_port(side.made["big"][0], n)))
    turns.both("POST router", lambda side, client, n: side.make(client, "router", name=f"r{n}"))
    turns.each(lambda side: side.made.update(subnets=list(side.made["subnet"]), routers=list(side.made["router"])))

    def interface(side: Side, client: Client, number: int) -> float:
        del number
        path = f"/routers/{side.made['routers'].pop()}/add_router_interface"
        return client.ms("PUT", path, {"subnet_id": side.made["subnets"].pop()})

    def left(side: Side) -> int:
        return min(len(side.made["routers"]), len(side.made["subnets"]))

    turns.both("PUT add_router_interface", interface, left)
    turns.both(
        "POST floatingip",
        lambda side, client, n: side.make(client, "floatingip", floating_network_id=side.made["outside"][0]),
    )

    def rule(side: Side, client: Client, number: int) -> float:
        group = side.made["security_group"][number % _GROUPS]
        return side.make(
            client, "security_group_rule", security_group_id=group, direction="ingress", protocol="tcp",
            port_range_min=1 + number, port_range_max=1 + number,
        )  # fmt: skip

    turns.both("POST rule", rule)
    for kind in ("network", "port"):
        turns.both(f"GET {kind}", lambda side, client, n, kind=kind: client.ms("GET", _path(side, kind, n)))  # type: ignore[misc]


def _path(side: Side, kind: str, number: int) -> str:
    ids = side.made[kind]
    return f"/{kind}s/{ids[number % len(ids)]}"


# --- bulk and lists ---------------------------------------------------------------------------------------------------


def _lists(turns: _Turns) -> None:
    sizes = turns.sizes

    def begin(side: Side) -> None:
        side.make(side.client, "network", name="n0")
        (first,) = side.made["network"]
        for values in _subnets(first):
            side.make(side.client, "subnet", **values)
        side.fill_networks(first, sizes.networks - 1)

    turns.each(begin)
    _listed(turns, "networks", sizes.networks, (("", ""), (", by status", "?status=ACTIVE")), ("?name=n0", 1))

    def ports_begin(side: Side) -> None:
        side.make(side.client, "network", name="big")
        big = side.made["network"][-1]
        side.make(side.client, "subnet", **_subnet(big, "172.16.0.0/15"))
        side.make(side.client, "port", **_port(big, 0))
        side.client.call("DELETE", f"/ports/{side.made['port'].pop()}")
        side.made["big"] = [big]

    turns.each(ports_begin)

    def bulk(side: Side, client: Client, number: int) -> float:
        wanted = [_port(side.made["big"][0], number * BULK + n) for n in range(BULK)]
        answer, taken_ms = client.timed("POST", "/ports", {"ports": wanted})
        side.made["port"] += [port["id"] for port in json.loads(answer)["ports"]]
        return taken_ms

    turns.alone(f"POST {BULK} ports in one request", bulk, _BULKS)
    for amount in sizes.lists:
        for side in turns.sides:
            there = _count(side, "ports", "?fields=id")
            if there > amount:
                for id in side.made["port"][amount - there :]:
                    side.client.call("DELETE", f"/ports/{id}")
                del side.made["port"][amount - there :]
            elif there < amount:
                side.fill_ports(side.made["big"][0], side.made["port"][0], there, amount - there)
        network = "network_id={big}"
        _listed(turns, "ports", amount, (("", ""), (", of their network", f"?{network}")), (f"?{network}&name=p1", 1))


def _listed(turns: _Turns, kind: str, amount: int, whole: Sequence[tuple[str, str]], narrow: tuple[str, int]) -> None:
    """A list of all objects of a kind, by several queries, and of few of them. Raises: Failed if they are others."""

    def path(side: Side, query: str) -> str:
        return f"/{kind}{query.format(big=side.made.get('big', [''])[0])}"

    filters = [(f"GET list of {amount} {kind}{words}", query, amount) for words, query in whole]
    filters.append((f"GET list of {amount} {kind}, one by name", *narrow))
    for name, query, expected in filters:
        for side in turns.sides:
            if (found := _count(side, kind, path(side, query).removeprefix(f"/{kind}"))) != expected:
                raise Failed(f"{name}: {side.name} has {found} where {expected} are expected")
        work: Work = lambda side, client, _, query=query: client.ms("GET", path(side, query))  # type: ignore[misc]  # noqa: E731
        if amount <= _OF_8_CLIENTS_UP_TO and query == "":
            turns.both(name, work)
        else:
            turns.alone(f"{name}, 1 client", work)


def _count(side: Side, kind: str, query: str) -> int:
    return len(side.client.call("GET", f"/{kind}{query}")[kind])

"""Part `api`: what one request costs, with simulated hosts, so that no agent's work disturbs.

The cloud is started with `--dataplane none`: the API is whole and each write reaches the disk; the agent of the one
host wires into memory. Ports are not bound, as in Neutron's baseline.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

from bench.client import Client, concurrently
from bench.clouds import Cloud
from bench.figures import Book
from bench.footprint import pss_mib

CLIENTS = 8
_QUOTAS = ("network", "subnet", "port", "router", "floatingip", "security_group", "security_group_rule")


def run(book: Book, cloud: Cloud, count: int, most_ports: int) -> None:
    credentials = cloud.log_in()
    client = Client(credentials)
    unlimited = dict.fromkeys(_QUOTAS, -1)
    client.call("PUT", f"/quotas/{credentials.project_id}", {"quota": unlimited})

    def serial(times: int, work: Callable[[Client, int], float]) -> list[float]:
        return [work(client, number) for number in range(times)]

    def both(name: str, work: Callable[[Client, int], float], times: int = count) -> None:
        book.add(f"{name}, 1 client", serial(times, work))
        taken, wall_s = concurrently(credentials, CLIENTS, times, lambda each, i: work(each, 1_000_000 + i))
        book.add(f"{name}, {CLIENTS} clients", taken)
        book.add(f"{name}, {CLIENTS} clients, a second", [len(taken) / wall_s])

    serial(20, lambda c, i: c.ms("GET", "/networks"))
    both("GET networks, few", lambda c, i: c.ms("GET", "/networks"))

    networks: list[str] = []
    subnets: list[str] = []
    ports: list[str] = []
    routers: list[str] = []

    def keeping(kind: str, kept: list[str], values: Callable[[int], dict[str, Any]]) -> Callable[[Client, int], float]:
        def work(each: Client, number: int) -> float:
            made, taken_ms = each.make(kind, **values(number))
            kept.append(made["id"])
            return taken_ms

        return work

    both("POST network", keeping("network", networks, lambda i: {"name": f"n{i}"}))
    todo = list(networks)

    def subnet(number: int) -> dict[str, Any]:
        cidr = f"10.{(number // 250) % 250}.{number % 250}.0/24"
        return {"network_id": todo.pop(), "ip_version": 4, "cidr": cidr, "enable_dhcp": False}

    both("POST subnet", keeping("subnet", subnets, subnet))
    both("GET network", lambda c, i: c.ms("GET", f"/networks/{networks[i % count]}"))
    book.add(f"GET networks, {2 * count}", serial(10, lambda c, i: c.ms("GET", "/networks")))

    big, _ = client.make("network", name="big")
    client.make("subnet", network_id=big["id"], ip_version=4, cidr="172.16.0.0/16", enable_dhcp=False)
    both("POST port", keeping("port", ports, lambda i: {"network_id": big["id"], "name": f"p{i}"}))
    both("GET port", lambda c, i: c.ms("GET", f"/ports/{ports[i % count]}"))
    both("PUT port", lambda c, i: c.ms("PUT", f"/ports/{ports[i % count]}", {"port": {"name": f"q{i}"}}))
    both("DELETE port", lambda c, i: c.ms("DELETE", f"/ports/{ports.pop()}"))

    def rule(each: Client, group: str, number: int) -> float:
        number = 1 + number % 60000
        return each.make(
            "security_group_rule", security_group_id=group, direction="ingress", protocol="tcp",
            port_range_min=number, port_range_max=number,
        )[1]  # fmt: skip

    groups = [client.make("security_group", name=f"g{i}")[0]["id"] for i in range(max(1, count // 10))]
    both("POST rule", lambda c, i: rule(c, groups[i % len(groups)], i))
    group = client.make("security_group", name="growing")[0]["id"]
    taken = serial(200, lambda c, i: rule(c, group, i))
    first = book.add("POST rule, group of 200: first 20", taken[:20])
    last = book.add("POST rule, group of 200: last 20", taken[-20:])
    book.add("POST rule, last 20 against first 20", [last.median / first.median], "x")

    both("POST router", keeping("router", routers, lambda i: {"name": f"r{i}"}))
    left_routers, left_subnets = list(routers), list(subnets)

    def interface(each: Client, number: int) -> float:
        path = f"/routers/{left_routers.pop()}/add_router_interface"
        return each.ms("PUT", path, {"subnet_id": left_subnets.pop()})

    both("PUT add_router_interface", interface)

    outside, _ = client.make("network", name="ext", **{"router:external": True})
    client.make("subnet", network_id=outside["id"], ip_version=4, cidr="172.31.0.0/16", enable_dhcp=False)
    both("POST floatingip", lambda c, i: c.make("floatingip", floating_network_id=outside["id"])[1])

    _growing(book, client, big["id"], count, most_ports)
    book.add("memory: API afterwards", [pss_mib(cloud.pids()["api"])], "MiB", "Neutron API alone: 484 MiB, 5,000 ports")
    client.close()


def _growing(book: Book, client: Client, network: str, count: int, most_ports: int) -> None:
    """How lists and single calls grow with the ports of one network."""
    there = 0
    path = f"/ports?network_id={network}"
    for amount in (100, 1000, 5000):
        if amount > most_ports:
            return
        bulk: list[float] = []
        while there < amount:
            begun = time.perf_counter()
            body = {"ports": [{"network_id": network, "name": f"b{there + i}"} for i in range(100)]}
            there += len(json.loads(client.timed("POST", "/ports", body)[0])["ports"])
            bulk.append((time.perf_counter() - begun) * 1000)
        book.add(f"POST 100 ports in one request, up to {amount}", bulk)
        taken = [client.ms("GET", path) for _ in range(10 if amount >= 5000 else 20)]
        book.add(f"GET list of {amount} ports", taken, note=f"{client.bytes / 1e6:.2f} MB")
        book.add(f"GET list of {amount} ports, fields=id", [client.ms("GET", f"{path}&fields=id") for _ in range(5)])
        book.add(f"GET list of {amount} ports, limit=100", [client.ms("GET", f"{path}&limit=100") for _ in range(20)])
        ids = [port["id"] for port in client.call("GET", f"{path}&fields=id")["ports"]]
        times = min(count, 100)
        book.add(f"GET port, {amount} there", [client.ms("GET", f"/ports/{ids[i % amount]}") for i in range(times)])
        made = [client.make("port", network_id=network) for _ in range(times)]
        book.add(f"POST port, {amount} there", [taken_ms for _, taken_ms in made])
        book.add(f"DELETE port, {amount} there", [client.ms("DELETE", f"/ports/{port['id']}") for port, _ in made])

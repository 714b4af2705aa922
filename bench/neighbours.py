"""Part `neighbours`: what one client's largest requests cost the others.

Client B makes a small read and a small write in turns, first alone and then while client A, in a process of its own and
with another project, sends the largest requests that the API accepts, one after the other. B's p50 and p99 with A
beside it are divided by those without, within one run, so that a busy machine hits both.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor

from bench.client import Client, Credentials, Refused
from bench.clouds import Cloud
from bench.figures import Book

_MANY = 900
"""Values of one filter; 1,000 pairs are the most that a query may have."""


def run(book: Book, cloud: Cloud, seconds: float) -> None:
    """`seconds` of each of the two series."""
    mine = cloud.log_in()
    client = Client(mine)
    theirs = cloud.log_in("demo")
    for project in (mine.project_id, theirs.project_id):
        client.call("PUT", f"/quotas/{project}", {"quota": {"network": -1, "port": -1, "security_group_rule": -1}})
    alone = _series(client, lambda began: time.monotonic() - began < seconds)
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as other:
        flooding = other.submit(flood, theirs, seconds)
        beside = _series(client, lambda _: not flooding.done())
        sent, longest_ms = flooding.result()
    client.close()
    for name, place in (("small GET", 0), ("small POST", 1)):
        book.add(f"{name}, alone", alone[place])
        book.add(
            f"{name}, beside the largest requests", beside[place], note=f"{sent} of them, up to {longest_ms:.0f} ms"
        )
        for percent in (50, 99):
            ratio = _percentile(beside[place], percent) / _percentile(alone[place], percent)
            note = f"{_percentile(alone[place], percent):.1f} to {_percentile(beside[place], percent):.1f} ms"
            book.add(f"{name}, p{percent}: beside against alone", [ratio], "x", note)


def flood(credentials: Credentials, seconds: float) -> tuple[int, float]:
    """Client A, in its own process: how many requests it made, and the milliseconds of its longest."""
    client = Client(credentials)
    network = client.make("network", name="flood")[0]["id"]
    client.make("subnet", network_id=network, ip_version=4, cidr="10.0.0.0/8", enable_dhcp=False)
    group = client.make("security_group", name="flood")[0]["id"]
    began, sent, longest = time.monotonic(), 0, 0.0
    while time.monotonic() - began < seconds:
        for method, path, body in _largest(network, group, sent):
            try:
                longest = max(longest, client.ms(method, path, body))
            except Refused as refusal:
                raise Refused(f"this was to be the largest that is accepted: {refusal}") from None
            sent += 1
    client.close()
    return sent, longest


def _largest(network: str, group: str, number: int) -> Iterator[tuple[str, str, object]]:
    ids = "&".join(f"id=00000000-0000-4000-8000-{n:012x}" for n in range(_MANY))
    yield "GET", f"/ports?{ids}", None
    yield "GET", f"/networks?not-tags={','.join(f'word{n}' for n in range(200))}", None
    addresses = "&".join(f"fixed_ips=ip_address%3D10.0.{n // 250}.{n % 250}" for n in range(_MANY))
    yield "GET", f"/ports?{addresses}", None
    yield "GET", "/ports?limit=1000", None
    yield "POST", "/ports", {"ports": [{"network_id": network, "name": f"{number}-{n}"} for n in range(100)]}
    pairs = [{"ip_address": f"10.1.0.{n}", "mac_address": f"fa:16:3e:00:00:{n:02x}"} for n in range(8)]
    yield "POST", "/ports", {"ports": [{"network_id": network, "allowed_address_pairs": pairs} for _ in range(100)]}
    rule = {
        "security_group_id": group, "direction": "ingress", "protocol": "tcp",
        "remote_ip_prefix": f"10.{number // 250 % 250}.{number % 250}.0/24",
    }  # fmt: skip
    rules = [{**rule, "port_range_min": n, "port_range_max": n} for n in range(1, 101)]
    yield "POST", "/security-group-rules", {"security_group_rules": rules}


def _series(client: Client, goes_on: Callable[[float], bool]) -> tuple[list[float], list[float]]:
    """Milliseconds of small reads and of small writes in turns."""
    reads: list[float] = []
    writes: list[float] = []
    began = time.monotonic()
    while goes_on(began):
        reads.append(client.ms("GET", "/networks?limit=1&fields=id"))
        made, taken_ms = client.make("network", name="small")
        writes.append(taken_ms)
        client.ms("DELETE", f"/networks/{made['id']}")
    return reads, writes


def _percentile(values: list[float], percent: int) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)]

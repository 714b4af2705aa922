"""Part `trace`: what a prediction costs in a cloud of some thousand ports.

The cloud is filled through the API, without a data plane, as nothing is sent. What its host should have is asked for,
and planned once; then packets between its ports, and to outside, are walked there and back, and their causes named.
"""

from __future__ import annotations

import random
import time

from bench.client import Client
from bench.clouds import Cloud
from bench.figures import Book
from bench.host import fill
from bench.wire import prepare
from deuteron.cli.client import Client as Reader
from deuteron.cli.options import existing_cloud
from deuteron.cli.traced import catalog_of, world_of
from deuteron.sandbox.cloud import State
from deuteron.trace.packet import ICMP, TCP
from deuteron.trace.report import report
from deuteron.trace.walk import Asked, End

_SEED = 20261123
_OUTSIDE = "8.8.8.8"


def run(book: Book, cloud: Cloud, size: tuple[int, int, int], times: int) -> None:
    """`size` is the number of networks, of routers, and of ports beside theirs."""
    client = Client(cloud.log_in())
    prepare(client)
    fill(client, *size)
    client.close()
    state = State(cloud.folder)
    stored = existing_cloud(state)
    catalog = catalog_of(Reader(stored.port, stored.admin_password))
    begun = time.perf_counter()
    world = world_of(state, stored, catalog)
    planned_ms = (time.perf_counter() - begun) * 1000
    dice = random.Random(_SEED)
    ports = [row for row in catalog.all("port") if row["device_owner"].startswith("compute:") and row["fixed_ips"]]
    taken, arrived = [], 0
    for number in range(times):
        source, target = dice.sample(ports, 2)
        sender = End(source["id"], port_id=source["id"])
        address = _OUTSIDE if number % 10 == 0 else target["fixed_ips"][0]["ip_address"]
        receiver = End(address, address=address, port_id=None if number % 10 == 0 else target["id"])
        asked = Asked(TCP, 22) if number % 2 else Asked(ICMP)
        begun = time.perf_counter()
        arrived += report(world, catalog, sender, receiver, asked).arrives
        taken.append((time.perf_counter() - begun) * 1000)
    flows = sum(len(machine.plan.flows) for machine in world.machines.values())
    count = sum(1 for _ in catalog.all("port"))
    book.add("trace: plan of the cloud", [planned_ms], note=f"{count} ports, {flows} flows")
    figure = book.add("trace: one packet, there and back", taken, note=f"{arrived} of {times} arrive")
    book.add("trace: one packet, p95", [figure.p95])

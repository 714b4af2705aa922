"""The command: runs the parts, prints the table, writes the JSON.

Parts start clouds of their own and take them down again. `--only` picks parts, `--short` makes each series
a tenth as long. The exit status is 0 when everything could be measured, whether targets are met or not.
"""

from __future__ import annotations

import contextlib
import datetime
import os
import platform
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import click
import msgspec

from bench import (
    api,
    beside,
    clouds,
    footprint,
    host,
    kept,
    neighbours,
    restart,
    scale,
    server,
    throughput,
    trace,
    volumes,
    wire,
)
from bench.client import Refused
from bench.figures import HEAD, Book, Figure, row

PARTS = (
    "up",
    "footprint",
    "api",
    "neighbours",
    "wire",
    "restart",
    "server",
    "throughput",
    "volumes",
    "host",
    "kept",
    "trace",
)
ON_REQUEST = ("scale", "beside")
"""Parts that take long, and run only when they are asked for."""


@click.command()
@click.option("--beside", "other", type=click.Choice(("neutron",)), help="The part beside alone.")
@click.option("--only", type=click.Choice((*PARTS, *ON_REQUEST)), multiple=True, help="Run this part; may be repeated.")
@click.option("--short", is_flag=True, help="A tenth of the repetitions: minutes instead of a quarter of an hour.")
@click.option("--scale", "with_scale", is_flag=True, help="The part scale alone, the same as --only scale.")
@click.option("--scale-ports", type=click.IntRange(1), default=100_000, show_default=True, help="Of the large cloud.")
@click.option("--scale-hosts", type=click.IntRange(1), default=1_000, show_default=True, help="Of the large cloud.")
@click.option("--most-ports", type=int, default=5000, show_default=True, help="The longest list.")
@click.option(
    "--rounds", type=int, default=1, show_default=True, help="Measure so often, keep what was disturbed least."
)
@click.option(
    "--host-size", type=int, nargs=3, default=(200, 100, 1000), show_default=True,
    help="Networks, routers and ports of the full host.",
)  # fmt: skip
@click.option("--json", "path", type=click.Path(path_type=Path), default=Path("bench.json"), show_default=True)
def main(
    other: str | None,
    only: tuple[str, ...],
    short: bool,
    with_scale: bool,
    scale_ports: int,
    scale_hosts: int,
    most_ports: int,
    rounds: int,
    host_size: tuple[int, int, int],
    path: Path,
) -> None:
    """Measure the cloud beside its targets and the real Neutron.

    up and footprint: `up` of a cloud that was there before; memory and processor time when idle. api: one request and
    lists, hosts simulated. neighbours: what one client's largest requests cost another. wire: from a request to the
    packet. restart: the agent's start with 100 ports and with 1,000, and the packets that pass meanwhile. server: a
    server beside the same guest by hand. throughput: TCP through the pipeline beside a bare patch. volumes: made,
    copied, attached, of files and on the simulated appliance. host: one more port, an idle agent, and starts, on a host
    that is full. kept: snapshot, rollback and fork of clouds with running servers. trace: the prediction of a packet's
    way in a cloud of 1,000 ports.
    scale, only when asked for: requests in a cloud of 100,000 ports and 1,000 simulated
    hosts beside one of 1,000 ports and 1 host; filling it takes some minutes.
    beside, only when asked for: the same requests to us and to a real Neutron 29, which is installed for it; some ten
    minutes, --short: two.
    """
    wanted = set(only) | ({"scale"} if with_scale else set()) | ({"beside"} if other else set())
    book = Book(click.echo)
    machine = _machine()
    click.echo(f"{machine['date']}  {machine['system']}  {machine['cpu']}, {machine['cores']} cores, "
               f"load {machine['load']}, fsync {machine['fsync_ms']} ms, loop {machine['loop_ms']} ms")  # fmt: skip
    click.echo(HEAD)
    for _ in range(rounds):
        _run(book, wanted or set(PARTS), short, most_ports, host_size)
        if "scale" in wanted:
            scale.run(book, scale_ports, scale_hosts, 20 if short else 200)
        if "beside" in wanted:
            _beside(book, short)
    if rounds > 1:
        click.echo(f"\nof {rounds} rounds, each figure with the least foreign load:\n{HEAD}")
        for figure in book.figures.values():
            click.echo(row(figure))
    path.write_bytes(_json(machine, list(book.figures.values())))
    missed = [figure.name for figure in book.figures.values() if figure.is_met is False]
    click.echo(f"{len(book.figures)} figures in {path}; targets missed: {len(missed)}")


def _run(book: Book, wanted: set[str], short: bool, most_ports: int, host_size: tuple[int, int, int]) -> None:
    if {"up", "footprint", "server", "throughput", "volumes"} & wanted:
        with _fresh(book) as cloud:
            if "up" in wanted:
                _warm_up(book, cloud, 2 if short else 5)
            if "footprint" in wanted:
                footprint.run(book, cloud, 6 if short else 30)
            if "server" in wanted:
                server.run(book, cloud, 1 if short else 5)
            if "throughput" in wanted:
                throughput.run(book, cloud, 2 if short else 5, 1 if short else 3)
            if "volumes" in wanted:
                volumes.run(book, cloud, 4 if short else 20)
    if "volumes" in wanted:
        with _fresh(book, "--with", "zfssa") as cloud:
            volumes.room_for_large_ones(cloud)
            book.meter.roots.add(cloud.pids()["supervisor"])
            volumes.run(book, cloud, 4 if short else 20, ", on the appliance")
    if "api" in wanted:
        with _fresh(book, "--dataplane", "none", "--no-guest") as cloud:
            api.run(book, cloud, 20 if short else 200, most_ports)
    if "neighbours" in wanted:
        with _fresh(book, "--dataplane", "none", "--no-guest") as cloud:
            neighbours.run(book, cloud, 5 if short else 20)
    if "wire" in wanted:
        with _fresh(book, "--no-guest") as cloud:
            wire.run(book, cloud, 4 if short else 20)
    if "restart" in wanted:
        with _fresh(book, "--no-guest") as cloud:
            restart.run(book, cloud, 2 if short else 6, 100)
        with _fresh(book, "--no-guest") as cloud:
            restart.run(book, cloud, 2 if short else 4, 1000)
    if "kept" in wanted:
        with _fresh(book, "--topology", "seed-e") as cloud:
            kept.four_hosts(book, cloud, 2 if short else 5)
        with _fresh(book) as cloud:
            kept.one_host(book, cloud, 2 if short else 5)
    if "host" in wanted:
        with _fresh(book, "--no-guest") as cloud:
            host.run(book, cloud, host_size, 8 if short else 40, 10 if short else 30)
    if "trace" in wanted:
        with _fresh(book, "--dataplane", "none", "--no-guest") as cloud:
            trace.run(book, cloud, (20, 10, 1000), 100 if short else 1000)


def _beside(book: Book, short: bool) -> None:
    sizes = beside.Sizes(8, 80, 3.0, beside.LISTS[:2], 200) if short else beside.Sizes()
    try:
        beside.run(book, (beside.ours, lambda: beside.theirs(click.echo)), sizes)
    except (clouds.Failed, Refused) as error:
        raise click.ClickException(str(error)) from None


@contextlib.contextmanager
def _fresh(book: Book, *options: str) -> Iterator[clouds.Cloud]:
    """A cloud whose processes the book knows as ours."""
    with clouds.fresh(*options) as cloud:
        book.meter.roots.add(cloud.pids()["supervisor"])
        book.meter.foreign()
        yield cloud


def _warm_up(book: Book, cloud: clouds.Cloud, times: int) -> None:
    """`down` and `up` of a cloud that was there before; each leaves it running."""
    taken = []
    for _ in range(times):
        cloud.deuteron("down")
        taken.append(cloud.up())
        book.meter.roots.add(cloud.pids()["supervisor"])
    book.add("warm up", taken, note="Neutron: services and agents alive, cold")


def _json(machine: dict[str, object], figures: list[Figure]) -> bytes:
    rows = [
        {
            **vars(figure),
            "target": figure.target,
            "met": figure.is_met,
            "neutron": figure.neutron,
            "times_better": figure.times_better,
        }
        for figure in figures
    ]
    return msgspec.json.format(msgspec.json.encode({"machine": machine, "figures": rows}), indent=1) + b"\n"


def _machine() -> dict[str, object]:
    """Where this runs, and how disturbed it is: a sync to disk, a fixed loop."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    cpu = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "?")
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "cpu": cpu,
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 2),
        "fsync_ms": _fsync_ms(),
        "loop_ms": _loop_ms(),
    }


def _fsync_ms() -> float:
    taken = []
    with tempfile.NamedTemporaryFile() as file:
        for _ in range(40):
            begun = time.perf_counter()
            file.write(bytes(4096))
            file.flush()
            os.fsync(file.fileno())
            taken.append((time.perf_counter() - begun) * 1000)
    return round(sorted(taken)[len(taken) // 2], 2)


def _loop_ms() -> float:
    begun = time.perf_counter()
    total = 0
    for number in range(1_000_000):
        total += number * number
    return round((time.perf_counter() - begun) * 1000, 1)

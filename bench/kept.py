"""Part `kept`: a cloud of four hosts and eight servers that is kept and rolled back, and a fork of a cloud of one host.

Servers are `tiny` with a disk each, and run; what is counted is the command, which ends when all guests go on. It says
the seconds of its steps itself, which are in the note. A fork is of a cloud without a server, and of one with a server.

Beside the time is the processor time of the command and of all that it started, until then: on a machine that others
use it says what would be left without them.
"""

from __future__ import annotations

import contextlib
import os
import re
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.client import Client
from bench.clouds import Cloud, Failed
from bench.figures import Book
from bench.noise import family
from bench.wire import network, prepare

SERVERS = 8
_ACTIVE_WITHIN_S = 300.0
_STEP = re.compile(r"^ *([\d.]+) s  ([^:\n]+)", re.MULTILINE)


def four_hosts(book: Book, cloud: Cloud, times: int) -> None:
    """Of a cloud with the topology `seed-e`."""
    _servers(cloud, SERVERS)
    words = f"4 hosts, {SERVERS} servers"
    _add(book, "snapshot: kept, and it goes on", [_timed(cloud, cloud, "snapshot", "bench")], words)
    rolled = [_timed(cloud, cloud, "rollback", "bench") for _ in range(times)]
    _add(book, "rollback: until the guests go on", rolled, words)
    book.meter.roots.add(cloud.pids()["supervisor"])


def one_host(book: Book, cloud: Cloud, times: int) -> None:
    """Of a cloud of one host."""
    cloud.deuteron("snapshot", "empty")
    _forks(book, cloud, "empty", times, "fork: one host")
    _servers(cloud, 1)
    cloud.deuteron("snapshot", "full")
    _forks(book, cloud, "full", times, "fork: one host with a running server")
    book.meter.roots.add(cloud.pids()["supervisor"])


def _forks(book: Book, cloud: Cloud, name: str, times: int, figure: str) -> None:
    taken = []
    for _ in range(times):
        with tempfile.TemporaryDirectory(prefix="deuteron-bench-") as folder:
            other = Cloud(Path(folder) / "fork")
            try:
                taken.append(_timed(other, cloud, "fork", name, str(other.folder)))
            finally:
                other.deuteron("down", "--delete")
    _add(book, figure, taken)


def _add(book: Book, figure: str, taken: list[tuple[float, float, str]], words: str = "") -> None:
    note = "; ".join(filter(None, (words, taken[0][2])))
    book.add(figure, [wall_ms for wall_ms, _, _ in taken], note=note)
    book.add(f"{figure}, processor time", [used_ms for _, used_ms, _ in taken])


def _timed(started: Cloud, cloud: Cloud, *command: str) -> tuple[float, float, str]:
    """Milliseconds of a command that starts `started`, those of processors, and what it says of its steps."""
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    _, said = cloud.told(*command)
    taken_ms = (time.perf_counter() - begun) * 1000
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    for pid in family({started.pids()["supervisor"]}):
        with contextlib.suppress(OSError):
            words = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
            used_s += sum(map(int, words[11:15])) / os.sysconf("SC_CLK_TCK")
    return taken_ms, used_s * 1000, ", ".join(f"{step} {seconds}" for seconds, step in _STEP.findall(said))


def _servers(cloud: Cloud, count: int) -> None:
    """Servers that run; the cloud knows them ACTIVE afterwards. Raises: Failed."""
    credentials = cloud.log_in()
    client, nova = Client(credentials), Client(credentials, "/compute/v2.1")
    image = Client(credentials, "/image/v2").call("GET", "/images?name=tiny")["images"][0]["id"]
    flavor = min(nova.call("GET", "/flavors/detail")["flavors"], key=lambda each: each["ram"])["id"]
    prepare(client)
    network_id, _ = network(client, "10.91.0.0/24")
    wish: dict[str, Any] = {"imageRef": image, "flavorRef": flavor, "networks": [{"uuid": network_id}]}
    nova.call("POST", "/servers", {"server": {**wish, "name": "bench", "min_count": count, "max_count": count}})
    deadline = time.monotonic() + _ACTIVE_WITHIN_S
    while [each["status"] for each in nova.call("GET", "/servers/detail")["servers"]] != ["ACTIVE"] * count:
        if time.monotonic() > deadline:
            raise Failed(f"{count} servers are not ACTIVE after {_ACTIVE_WITHIN_S:.0f} s")
        time.sleep(0.2)
    client.close()
    nova.close()

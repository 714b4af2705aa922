"""Part `restart`: an agent that starts on a host whose ports are right, and one that starts on an empty host.

While the agent is killed and starts, an echo request goes from one port to another every 10 ms; all of them are to be
answered, since nobody needs the agent for a packet.
"""

from __future__ import annotations

import os
import re
import signal
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from bench.client import Client
from bench.clouds import HOST, Cloud, Failed
from bench.figures import Book
from bench.noise import family
from bench.wire import guests_on, network, prepare

_IN_ONE_REQUEST = 100
_EVERY_S = 0.01
_WIRED_WITHIN_S = 600.0
_Words = tuple[str, str, str, str]
"""Of a pass: when it ended, its milliseconds, what it wrote, how much was left."""
_PASS = re.compile(r'^timestamp=(\S+) .*event="pass done".* ms=(\d+) writes="?(.*?)"? pending=(\d+)', re.MULTILINE)


def run(book: Book, cloud: Cloud, times: int, count: int) -> None:
    client = Client(cloud.log_in())
    prepare(client)
    network_id, _ = network(client, "10.80.0.0/16")
    wish = {"network_id": network_id, "binding:host_id": HOST, "device_owner": "compute:nova", "device_id": "bench"}
    made: list[dict[str, Any]] = []
    begun = time.monotonic()
    while len(made) < count:
        made += client.call("POST", "/ports", {"ports": [wish] * min(_IN_ONE_REQUEST, count - len(made))})["ports"]
    posted_s = time.monotonic() - begun
    _wait_all_active(client, network_id)
    taken_ms = (time.monotonic() - begun) * 1000
    book.add(f"{count} ports made at once, until all ACTIVE", [taken_ms], note=f"made in {posted_s:.1f} s")
    client.close()
    log = cloud.folder / "log" / f"{HOST}-agent.log"
    right, sync, wrote = [], [], []
    with guests_on(cloud, HOST) as guests:
        taps = [guests.attach(port) for port in made[-2:]]
        guests.tell(do="stream", tap=taps[0], to=made[-1]["fixed_ips"][0]["ip_address"], every_s=_EVERY_S)
        for _ in range(times):
            before = cloud.pids()[f"{HOST}-agent"]
            size = log.stat().st_size
            os.kill(before, signal.SIGKILL)
            started_s, done_s, passes = _until_done(cloud, log, size, before)
            right.append((done_s - started_s) * 1000)
            sync.append(float(passes[-1][1]))
            time.sleep(1)
            wrote += [words for _, _, words, _ in _PASS.findall(log.read_text()[size:]) if words != "none"]
        passed = guests.tell(do="end", tap=taps[0])
    note = "SIGKILL before; from its exec to the end of the first pass"
    book.add(f"agent start, {count} ports right", right, note=note)
    book.add(f"agent start, {count} ports right: the pass itself", sync)
    book.add(f"agent start, {count} ports right: passes that wrote", [len(wrote)], "n", note="; ".join(wrote)[:300])
    words = f"of {passed['sent']}, {times} restarts"
    book.add(f"agent start, {count} ports right: packets lost", [passed["lost"]], "n", note=words)
    _from_empty(book, cloud, count, log)


def _from_empty(book: Book, cloud: Cloud, count: int, log: Path) -> None:
    """The switch of the host has nothing, and no device is there."""
    cloud.deuteron("down")
    (cloud.folder / "hosts" / HOST / "ovs" / "conf.db").unlink()
    size = log.stat().st_size
    cloud.up("--no-guest")
    book.meter.roots.add(cloud.pids()["supervisor"])
    started_s, done_s, passes = _until_done(cloud, log, size, 0)
    note = "; ".join(f"{ms} ms: {writes}" for _, ms, writes, _ in passes)[:300]
    book.add(f"agent start, empty host, {count} ports", [(done_s - started_s) * 1000], note=note)
    for name in (f"{HOST}-agent", f"{HOST}-ovs-vswitchd"):
        used_s = sum(_used_s(pid) for pid in family({cloud.pids()[name]}))
        book.add(f"agent start, empty host, {count} ports: processor time of {name.removeprefix(HOST + '-')}",
                 [used_s * 1000])  # fmt: skip


def _used_s(pid: int) -> float:
    words = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return sum(map(int, words[11:15])) / os.sysconf("SC_CLK_TCK")


def _wait_all_active(client: Client, network_id: str) -> None:
    """Raises: Failed."""
    deadline = time.monotonic() + _WIRED_WITHIN_S
    while left := client.call("GET", f"/ports?network_id={network_id}&status=DOWN&fields=id")["ports"]:
        if time.monotonic() > deadline:
            raise Failed(f"{len(left)} ports are not ACTIVE after {_WIRED_WITHIN_S:.0f} s")
        time.sleep(0.05)


def _until_done(
    cloud: Cloud, log: Path, size: int, before: int
) -> tuple[float, float, list[tuple[str, str, str, str]]]:
    """Start of the agent that is not `before`, end of its first pass that left nothing pending, and all until then."""
    deadline = time.monotonic() + _WIRED_WITHIN_S
    while True:
        pid = cloud.pids().get(f"{HOST}-agent")
        passes = _PASS.findall(log.read_bytes()[size:].decode(errors="replace"))
        done = next((number for number, found in enumerate(passes) if found[3] == "0"), None)
        if pid is not None and pid != before and done is not None:
            ticks = int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[19])
            age_s = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
            done_s = datetime.fromisoformat(passes[done][0].replace("Z", "+00:00")).timestamp()
            return time.time() - age_s, done_s, passes[: done + 1]
        if time.monotonic() > deadline:
            raise Failed(f"the agent is not done after {_WIRED_WITHIN_S:.0f} s: {passes[-3:]}")
        time.sleep(0.02)

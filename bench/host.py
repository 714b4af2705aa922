"""Part `host`: what one more port, an idle minute and a start cost on one host that is full.

The cloud is filled through the API: networks with a subnet and DHCP, routers with an interface and a gateway, and ports
bound to the host as those of servers are. Then, with all of it wired: a port until it is ACTIVE, the agent's processor
time when nothing happens, a restart of the agent until it is in step (and what it writes), and `up` after `down`.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from bench.client import Client, Refused
from bench.clouds import HOST, Cloud, Failed
from bench.figures import Book
from bench.footprint import cpu_s, pss_mib
from bench.wire import port, prepare, wait_active

_AT_ONCE = 32  # what the API takes of subnets
_WIRED_WITHIN_S = 900.0
_SETTLE_S = 5.0
_PASS = re.compile(r'^timestamp=(\S+) .*event="pass done"(.*)$', re.MULTILINE)


def run(book: Book, cloud: Cloud, size: tuple[int, int, int], times: int, idle_s: float) -> None:
    """`size` is the number of networks, of routers, and of ports bound to the host beside DHCP's and the routers'."""
    client = Client(cloud.log_in())
    prepare(client)
    begun = time.monotonic()
    networks = fill(client, *size)
    made_s = time.monotonic() - begun
    wait_in_step(client)
    words = f"{size[0]} networks, {size[1]} routers, {size[2]} ports"
    book.add("full host: made and wired", [(time.monotonic() - begun) * 1000], note=f"{words}; made in {made_s:.1f} s")
    time.sleep(_SETTLE_S)
    _ports(book, client, networks, times)
    _by_hand(book, cloud, max(3, times // 4))
    _idle(book, cloud, idle_s)
    client.close()
    _restart(book, cloud)
    taken = []
    for _ in range(1 if times < 10 else 2):
        cloud.deuteron("down")
        taken.append(cloud.up("--no-guest"))
        book.meter.roots.add(cloud.pids()["supervisor"])
    book.add("full host: up after down", taken, note="until it is wired")


def fill(client: Client, networks: int, routers: int, ports: int) -> list[str]:
    """Make everything; the ids of the networks."""
    public = client.call("GET", "/networks?router:external=true")["networks"][0]["id"]
    made = _bulk(client, "network", [{"name": f"full-{number}"} for number in range(networks)])
    subnets = _bulk(
        client,
        "subnet",
        [
            {"network_id": network_id, "ip_version": 4, "cidr": f"10.{100 + number // 250}.{number % 250}.0/24"}
            for number, network_id in enumerate(made)
        ],
    )
    owner = {"device_owner": "compute:nova", "device_id": "00000000-0000-0000-0000-00000000be9c"}
    bound = [{"network_id": made[number % networks], "binding:host_id": HOST, **owner} for number in range(ports)]
    _bulk(client, "port", bound)
    for number in range(routers):
        router, _ = client.make("router", name=f"full-{number}", external_gateway_info={"network_id": public})
        client.call("PUT", f"/routers/{router['id']}/add_router_interface", {"subnet_id": subnets[number]})
    return made


def wait_in_step(client: Client) -> None:
    """Until no port that is bound waits any longer. Raises: Failed."""
    deadline = time.monotonic() + _WIRED_WITHIN_S
    while True:
        waiting = client.call("GET", "/ports?status=DOWN&fields=binding:host_id")["ports"]
        count = sum(1 for each in waiting if each["binding:host_id"])
        if not count:
            return
        if time.monotonic() > deadline:
            raise Failed(f"{count} ports are not ACTIVE after {_WIRED_WITHIN_S:.0f} s")
        time.sleep(0.2)


def _bulk(client: Client, kind: str, wishes: list[dict[str, Any]]) -> list[str]:
    found: list[str] = []
    for at in range(0, len(wishes), _AT_ONCE):
        answer = client.call("POST", f"/{kind}s", {f"{kind}s": wishes[at : at + _AT_ONCE]})
        found += [item["id"] for item in answer[f"{kind}s"]]
    return found


def _ports(book: Book, client: Client, networks: list[str], times: int) -> None:
    taken, gone = [], []
    for number in range(times):
        begun = time.monotonic()
        made = port(client, networks[number % len(networks)])
        taken.append((wait_active(client, made["id"]) - begun) * 1000)
        # Spread over the periods of whatever the agent does by itself, and after what the one before asked for.
        time.sleep(0.31)
        gone.append(client.ms("DELETE", f"/ports/{made['id']}"))
        time.sleep(1.17)
    figure = book.add("full host: one more port ACTIVE", taken)
    book.add("full host: one more port ACTIVE, p95", [figure.p95])
    book.add("full host: DELETE port", gone)


def _by_hand(book: Book, cloud: Cloud, times: int) -> None:
    """What the switch itself takes for a port more, without an agent in between."""
    script = f"""
        ip tuntap add benchtap mode tap
        for n in $(seq {times}); do
            a=$(date +%s%N); ovs-vsctl add-port br-int benchtap; b=$(date +%s%N)
            ovs-vsctl del-port br-int benchtap; sleep 1; echo $((b - a))
        done
        ip link del benchtap"""
    taken = [int(line) / 1e6 for line in cloud.on(script).split()]
    book.add("full host: ovs-vsctl add-port by hand", taken, note="the switch's part of a port")


def _idle(book: Book, cloud: Cloud, idle_s: float) -> None:
    begun = time.monotonic()
    while not _is_in_step(cloud):
        if time.monotonic() - begun > _WIRED_WITHIN_S:
            raise Failed("the host is not as it should be")
    book.add("full host: in step after the last change", [(time.monotonic() - begun) * 1000], note="by `diff`")
    time.sleep(_SETTLE_S)
    pids = {name: cloud.pids()[pid] for name, pid in (("agent", f"{HOST}-agent"), ("API", "api"))}
    before = {name: cpu_s(pid) for name, pid in pids.items()}
    begun = time.monotonic()
    time.sleep(idle_s)
    elapsed_s = time.monotonic() - begun
    for name, pid in pids.items():
        book.add(f"full host: idle CPU of the {name}", [(cpu_s(pid) - before[name]) / elapsed_s * 100], "%")
        book.add(f"full host: memory of the {name}", [pss_mib(pid)], "MiB")


def _is_in_step(cloud: Cloud) -> bool:
    try:
        return "as it should be" in cloud.deuteron("diff", HOST)
    except Failed:  # it differs, or it takes too long to say
        return False


def _restart(book: Book, cloud: Cloud) -> None:
    log = cloud.folder / "log" / f"{HOST}-agent.log"
    before = cloud.pids()[f"{HOST}-agent"]
    size = log.stat().st_size
    os.kill(before, signal.SIGKILL)
    deadline = time.monotonic() + _WIRED_WITHIN_S
    while time.monotonic() < deadline:
        text = log.read_bytes()[size:].decode(errors="replace")
        passes = _PASS.findall(text)
        with contextlib.suppress(Refused):
            pid = cloud.pids().get(f"{HOST}-agent", before)
            if pid != before and passes and "pending=0" in passes[-1][1]:
                ticks = int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[19])
                age_s = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
                done_s = datetime.fromisoformat(passes[-1][0].replace("Z", "+00:00")).timestamp()
                book.add("full host: agent start", [(done_s - (time.time() - age_s)) * 1000], note="to the last pass")
                written = [words for _, words in passes if "writes=none" not in words]
                book.add("full host: passes that wrote at a start", [len(written)], "n", note=" ".join(written)[:300])
                return
        time.sleep(0.05)
    raise Failed(f"the agent is not in step after {_WIRED_WITHIN_S:.0f} s")

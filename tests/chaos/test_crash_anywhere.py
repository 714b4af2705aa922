"""Whatever is killed, and whenever: what was acknowledged is there, and the host is as the API says.

Rounds of kills in the midst of requests; after each, the cloud comes back by itself and is compared whole.
Between, nothing is repaired by hand: only a killed supervisor is started again, with `deuteron up`.
A run is repeated, as far as the machine's timing allows, with DEUTERON_CHAOS_SEED; 2,000 kills are
DEUTERON_CHAOS_KILLS=2000.
"""

from __future__ import annotations

import os
import random
import re
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from deuteron.sandbox.cloud import State, read_cloud
from tests.chaos.client import Client
from tests.chaos.processes import KINDS, kill
from tests.chaos.stream import PATHS, Settings, Stream
from tests.chaos.world import (
    HOST,
    difference,
    everything,
    leaks,
    lost_or_invented,
    unlike_what_was_asked,
    unreachable,
    until,
)
from tests.clouds import Cloud

KILLS = int(os.environ.get("DEUTERON_CHAOS_KILLS", "200"))
KILLS_IN_A_ROUND = 40
LONGEST_PAUSE_S = 0.7
COMES_BACK_S = 60.0
STREAMS = 3


@pytest.mark.timeout(300 + 5 * KILLS)
def test_two_hundred_kills_lose_nothing_and_leak_nothing(cloud: Cloud) -> None:
    seed = int(os.environ.get("DEUTERON_CHAOS_SEED", str(random.randrange(2**32))))
    print(f"\nDEUTERON_CHAOS_SEED={seed} DEUTERON_CHAOS_KILLS={KILLS}", flush=True)
    dice = random.Random(seed)
    first_state = cloud.host_state()
    stop = threading.Event()
    streams = _streams(cloud, dice, stop)
    watcher = streams[0].client
    killed: Counter[str] = Counter()
    begun = time.monotonic()
    while killed.total() < KILLS:
        stop.clear()
        with ThreadPoolExecutor(STREAMS) as pool:
            running = [pool.submit(stream.run, stop) for stream in streams]
            try:
                for _ in range(min(KILLS_IN_A_ROUND, KILLS - killed.total())):
                    if any(future.done() for future in running):
                        break
                    stop.wait(dice.uniform(0.0, LONGEST_PAUSE_S))
                    kind = dice.choices(list(KINDS), list(KINDS.values()))[0]
                    killed[kill(cloud, KINDS, kind, dice)] += 1
            finally:
                stop.set()
            for future in running:
                future.result()
        quiet = time.monotonic()
        _until_nothing_is_wrong(cloud, watcher, streams)
        requests = sum(sum(stream.counts.values()) for stream in streams)
        objects = sum(len(stream.things) for stream in streams)
        words = f"{killed.total()} kills and {requests} writes in {time.monotonic() - begun:.0f} s; "
        print(f"{words}all {objects} objects as asked {time.monotonic() - quiet:.1f} s after the last", flush=True)
    done = sum((Counter(stream.counts) for stream in streams), Counter())
    print(f"killed: {dict(killed)}\nrequests: {dict(done)}\nconnections broken: {sum(s.broken for s in streams)}")

    _remove_everything(streams)
    _until_nothing_is_wrong(cloud, watcher, streams)
    until(lambda: unlike(first_state, cloud.host_state()), "the host is as it was before the first network", 30)


def _streams(cloud: Cloud, dice: random.Random, stop: threading.Event) -> list[Stream]:
    record = read_cloud(State(cloud.state))
    assert record is not None
    client = Client(record, stop)
    project = client.log_in()
    names = ("network", "subnet", "port", "router", "floatingip", "security_group", "security_group_rule")
    client.call("PUT", f"/network/v2.0/quotas/{project}", {"quota": dict.fromkeys(names, -1)})
    settings = Settings(
        host=HOST,
        public=client.list("/network/v2.0/networks?name=public")[0]["id"],
        image=client.list("/image/v2/images?name=tiny")[0]["id"],
        flavor=next(item["id"] for item in client.list("/compute/v2.1/flavors") if item["name"] == "m1.nano"),
    )
    streams = []
    for number in range(STREAMS):
        own = Client(record, stop)
        own.log_in()
        seed = dice.randrange(2**32)
        streams.append(Stream(number, own, random.Random(seed), settings, most_servers=1 if number < 2 else 0))
    return streams


def _until_nothing_is_wrong(cloud: Cloud, client: Client, streams: list[Stream]) -> None:
    def look() -> list[str]:
        lists = everything(client)
        wrong = lost_or_invented(streams, lists) + unlike_what_was_asked(lists)
        if not wrong:
            wrong = difference(cloud) or leaks(cloud, lists) or unreachable(cloud, lists)
        return wrong

    until(look, "the cloud is as it was asked to be", COMES_BACK_S)


def unlike(before: dict[str, list[str]], after: dict[str, list[str]]) -> list[str]:
    lines = []
    for name in before:
        first, last = ({_without_chance(line) for line in state[name]} for state in (before, after))
        lines += [f"{name}: gone: {line}" for line in sorted(first - last)]
        lines += [f"{name}: left: {line}" for line in sorted(last - first)]
    return lines


def _without_chance(line: str) -> str:
    """A hardware address, and what follows from it, is new when a device is made anew."""
    line = re.sub(r"(?:[0-9a-f]{2}:){5}[0-9a-f]{2}|fe80::[0-9a-f:]+", "(some)", line)
    return " ".join(re.sub(r"state (?:UP|UNKNOWN)", "state up", line).split())


def _remove_everything(streams: list[Stream]) -> None:
    for stream in streams:
        for server in stream.of("server"):
            stream.remove(server)
        for floating in stream.of("floatingip"):
            stream.remove(floating)
        for router, subnet in sorted(stream.interfaces):
            stream._route(router, subnet, is_wanted=False)
        for kind in ("port", "security_group", "router"):
            for thing in stream.of(kind):
                stream.remove(thing)
    for stream in streams:
        until(lambda stream=stream: _left(stream), "deleted servers are gone", 60)
        for network in stream.of("network"):
            stream.remove(network)


def _left(stream: Stream) -> list[str]:
    there = {server["id"] for server in stream.client.list(PATHS["server"])}
    return [id for id in stream.leaving if id in there]

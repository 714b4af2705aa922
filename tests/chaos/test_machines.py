"""Whatever is killed while servers and volumes change: nothing that was written is lost, and nothing is left half done.

Two hosts; two clients that create, extend, copy, attach, resize, shelve, migrate and delete, and have guests write
words to their disks; kills in the midst of it. After each round everything settles by itself, and rows, files,
domains, attachments, quotas and Placement have to say the same, and every word has to be where it belongs.
DEUTERON_CHAOS_SEED and DEUTERON_CHAOS_KILLS as beside (`test_crash_anywhere`); DEUTERON_CHAOS_WARM=1 has servers start
warm.
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from deuteron.sandbox.cloud import State, read_cloud
from tests.chaos import disks
from tests.chaos.client import Client
from tests.chaos.machines import COMPUTE, VERSIONS, VOLUME, Machines, Settings
from tests.chaos.processes import OF_MACHINES, kill
from tests.chaos.world import difference, until
from tests.clouds import Cloud, running

TOPOLOGY = """\
[groups]
control = ["c1"]
network = ["c1"]
compute = ["c1", "c2"]
storage = ["c1", "c2"]
"""
HOSTS = ("c1", "c2")
KILLS = int(os.environ.get("DEUTERON_CHAOS_KILLS", "24"))
KILLS_IN_A_ROUND = 8
WARM = os.environ.get("DEUTERON_CHAOS_WARM") == "1"
"""Whether servers go on from a saved machine, if there is one."""
LONGEST_PAUSE_S = 5.0
SETTLES_S = 180.0
STREAMS = 2

# A guest's console is a root shell, once it has booted. What was typed is echoed, so the answer is not in it.
_TELL = """
log={state}/instances/{server}/console.log
awk '/Deuteron tiny guest/ {{r = 0; b = 1}} /root@/ {{r = 1}} END {{exit b && !r}}' $log || exit
python3 -c 'if 1:
    import socket, sys, time
    console = socket.socket(socket.AF_UNIX)
    console.connect("/run/deuteron/serial/{server}")
    console.sendall(sys.argv[1].encode() + b"\\n")
    time.sleep(6)
' 'done_() {{ echo "ac""k {mark}"; }}; {command}' >/dev/null 2>&1 &
i=0
while [ $i -lt 50 ]; do
    i=$((i + 1))
    grep -aq '^ack {mark}' $log && echo told && exit
    sleep 0.1
done
"""


@pytest.fixture(scope="module")
def cloud() -> Iterator[Cloud]:
    with running(topology=TOPOLOGY) as made:
        yield made


@pytest.mark.timeout(400 + 20 * KILLS)
def test_kills_lose_nothing_that_was_written_and_leave_nothing_half_done(cloud: Cloud) -> None:
    seed = int(os.environ.get("DEUTERON_CHAOS_SEED", str(random.randrange(2**32))))
    print(f"\nDEUTERON_CHAOS_SEED={seed} DEUTERON_CHAOS_KILLS={KILLS}", flush=True)
    dice = random.Random(seed)
    stop = threading.Event()
    machines, project = _machines(cloud, dice, stop)
    watcher = machines[0].client
    killed: Counter[str] = Counter()
    begun = time.monotonic()
    while killed.total() < KILLS:
        stop.clear()
        with ThreadPoolExecutor(STREAMS) as pool:
            running = [pool.submit(each.run, stop) for each in machines]
            try:
                for _ in range(min(KILLS_IN_A_ROUND, KILLS - killed.total())):
                    if any(future.done() for future in running):
                        break
                    stop.wait(dice.uniform(0.0, LONGEST_PAUSE_S))
                    killed[
                        kill(cloud, OF_MACHINES, dice.choices([*OF_MACHINES], [*OF_MACHINES.values()])[0], dice)
                    ] += 1
            finally:
                stop.set()
            for future in running:
                future.result()
        quiet = time.monotonic()
        _until_nothing_is_wrong(cloud, watcher, project, machines)
        if killed.total() < KILLS:
            # What is written now for sure is what the next round may lose.
            until(lambda: [id for each in machines for id in each.write_to_all()], "guests write", SETTLES_S)
        words = sum(len(each) for one in machines for each in one.held.values())
        objects = sum(len(each.there) for each in machines)
        print(f"{killed.total()} kills in {time.monotonic() - begun:.0f} s; all {objects} objects with {words} words "
              f"there {time.monotonic() - quiet:.1f} s after the last", flush=True)  # fmt: skip
    done = sum((Counter(each.counts) for each in machines), Counter())
    refused = sum((Counter(each.refused) for each in machines), Counter())
    print(f"killed: {dict(killed)}\ndone: {dict(done)}\nrefused: {dict(refused)}")
    print(f"connections broken: {sum(each.broken for each in machines)}")

    for kind in ("server", "snapshot", "volume", "image"):
        for each in machines:
            for id in [id for id, its in each.there.items() if its == kind]:
                _remove(each, kind, id)
        until(lambda kind=kind: _left(watcher, machines, kind), f"every {kind} is gone", SETTLES_S)
    _until_nothing_is_wrong(cloud, watcher, project, machines)


def _machines(cloud: Cloud, dice: random.Random, stop: threading.Event) -> tuple[list[Machines], str]:
    record = read_cloud(State(cloud.state))
    assert record is not None
    client = Client(record, stop, VERSIONS)
    project = client.log_in()
    for service, names in (
        (COMPUTE, ("instances", "cores", "ram")),
        (f"{VOLUME}/{project}", ("volumes", "gigabytes", "snapshots")),
    ):
        client.call("PUT", f"{service}/os-quota-sets/{project}", {"quota_set": dict.fromkeys(names, -1)})
    _, answer = client.call("POST", "/network/v2.0/networks", {"network": {"name": "machines"}})
    network = answer["network"]["id"]
    subnet = {"network_id": network, "cidr": "10.85.0.0/24", "ip_version": 4}
    client.call("POST", "/network/v2.0/subnets", {"subnet": subnet})
    flavors = {each["name"]: each["id"] for each in client.list(f"{COMPUTE}/flavors")}
    images = {each["name"]: each["id"] for each in client.list("/image/v2/images")}
    if WARM:
        change = [{"op": "add", "path": "/hw_warm_start", "value": "true"}]
        client.call("PATCH", f"/image/v2/images/{images['tiny']}", change)

    def tell(host: str, server: str, command: str) -> bool:
        mark = f"{dice.randrange(2**40)}"
        state = f"{cloud.state}/hosts/{host}"
        script = _TELL.format(server=server, mark=mark, state=state, command=command.replace("'", "'\\''"))
        return "told" in cloud.on(host, script, check=False)

    settings = Settings(
        network, images["tiny"], images["tiny-disk"], (flavors["m1.nano"], flavors["m1.micro"]), HOSTS, tell
    )
    made = []
    for number in range(STREAMS):
        own = Client(record, stop, VERSIONS)
        own.log_in()
        made.append(Machines(number, own, random.Random(dice.randrange(2**32)), settings))
    return made, project


def _until_nothing_is_wrong(cloud: Cloud, client: Client, project: str, machines: list[Machines]) -> None:
    def wrong() -> list[str]:
        lists = disks.everything(client)
        found = disks.unsettled(machines, lists)
        if found:
            return found
        hosts = disks.look(cloud, HOSTS)
        found = disks.half_attached(client, lists, hosts) + disks.miscounted(client, project, lists)
        return found or disks.orphaned(client, cloud, lists, hosts) or difference(cloud)

    until(wrong, "the cloud is as it was asked to be", SETTLES_S)
    lists = disks.everything(client)
    assert disks.forgotten(cloud, machines, lists) == []


def _remove(machines: Machines, kind: str, id: str) -> None:
    machines.client.wait_back()  # its connection may be of an API that is no more
    assert machines.remove(kind, id) is not None, f"{kind} {id} cannot be deleted: {machines.refusal}"


def _left(client: Client, machines: list[Machines], kind: str) -> list[str]:
    lists = disks.everything(client)
    return [each["id"] for each in lists[kind] if any(each["id"] in one.gone for one in machines)]

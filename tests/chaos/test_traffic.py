"""Packets do not need the API or the agent: what two guests say to each other passes while both die and return."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import signal
import threading
from typing import Any

from deuteron.sandbox import control
from deuteron.sandbox.cloud import State
from tests.clouds import Cloud, wait_for

PINGS = 125
LINES = 250
KILLS = 8

# A guest answers pings before its script listens, and before the disk with its netcat is there: both ends try again.
LISTENER = """#!/bin/sh
( until nc -l -d -p 7000 >/tmp/got; do sleep 1; done
  echo "test: got $(md5sum </tmp/got | cut -c1-32) in $(wc -l </tmp/got) lines" >/dev/console ) &
"""
TALKER = f"""#!/bin/sh
until ping -c 1 -W 1 10.82.0.9 >/dev/null 2>&1; do sleep 1; done
echo "test: begin" >/dev/console
( ping -i 0.2 -c {PINGS} -W 2 10.82.0.9 >/tmp/pings 2>&1
  echo "test: ping $(grep transmitted /tmp/pings)" >/dev/console ) &
lines() {{ i=0; while [ $i -lt {LINES} ]; do i=$((i + 1)); echo $i; sleep 0.1; done; }}
until lines | nc -N 10.82.0.9 7000; do sleep 1; done
"""


def test_a_ping_and_a_stream_between_guests_lose_nothing_while_api_and_agent_die(cloud: Cloud) -> None:
    demo = cloud.connect()
    network = demo.network.create_network(name="traffic")
    demo.network.create_subnet(network_id=network.id, cidr="10.82.0.0/24", ip_version=4)
    listener = _boot(demo, "listener", network, "10.82.0.9", LISTENER)
    talker = _boot(demo, "talker", network, "10.82.0.8", TALKER)

    wait_for("the guests reach each other", lambda: _said(demo, talker, "begin"), timeout_s=90)
    killed: dict[str, int] = {"api": 0, "aio-agent": 0}
    for number in range(KILLS):
        name = ("aio-agent", "api")[number % 2]
        before = wait_for(f"{name} lives", lambda name=name: _pids(cloud).get(name))
        os.kill(before, signal.SIGKILL)
        killed[name] += 1
        wait_for(f"{name} is back", lambda name=name: _pids(cloud).get(name, before), lambda pid: pid != before)  # noqa: B023
        threading.Event().wait(1.0)
    wait_for("the API answers", lambda: cloud.run("diff", check=False).returncode == 0)
    assert not _said(demo, talker, "ping"), "the pings were over before the last kill"

    ping = wait_for("the pings are over", lambda: _said(demo, talker, "ping"), timeout_s=90)
    assert re.search(rf"{PINGS} packets transmitted, {PINGS} packets received, 0% packet loss", ping), ping
    sent = "".join(f"{number}\n" for number in range(1, LINES + 1)).encode()
    got = wait_for("the stream is over", lambda: _said(demo, listener, "got"), timeout_s=90)
    assert got == f"got {hashlib.md5(sent).hexdigest()} in {LINES} lines"
    print(f"{PINGS} pings and {LINES} lines passed while {killed} were killed")

    for server in (listener, talker):
        demo.compute.delete_server(server)
        demo.compute.wait_for_delete(server, interval=0.2, wait=60)
    for port in demo.network.ports(network_id=network.id):
        if not port.device_owner:
            demo.network.delete_port(port)
    demo.network.delete_network(network)


def _boot(connection: Any, name: str, network: Any, address: str, script: str) -> Any:
    port = connection.network.create_port(network_id=network.id, fixed_ips=[{"ip_address": address}])
    image = connection.image.find_image("tiny", ignore_missing=False)
    flavor = connection.compute.find_flavor("m1.nano", ignore_missing=False)
    data = base64.b64encode(script.encode()).decode()
    server = connection.compute.create_server(
        name=name, image_id=image.id, flavor_id=flavor.id, networks=[{"port": port.id}], user_data=data
    )
    return connection.compute.wait_for_server(server, wait=90, interval=0.2)


def _said(connection: Any, server: Any, word: str) -> str:
    """What the guest's script printed on its console after `test: `, beginning with `word`."""
    text = str(connection.compute.get_server_console_output(server, length=400)["output"])
    # A line without its end is still being written.
    found = re.findall(rf"test: ({word}.*?)\r?\n", text)
    return str(found[-1]) if found else ""


def _pids(cloud: Cloud) -> dict[str, int]:
    reply = control.ask(State(cloud.state), control.Ask(do="status"))
    assert reply is not None
    return reply.outer_pids

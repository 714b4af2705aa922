"""Network logs on packets: what a port lets pass and drops is written down, and nothing else is.

a ── tap… ── br-int ── tap… ── b (lets in one port of UDP)
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deuteron.net.plan.logs import BURST, RATE
from tests.clouds import Cloud, running, wait_for
from tests.hostile import frames
from tests.hostile.client import Person, administrator
from tests.hostile.guests import NET, Guest, Hands, plug

OPEN, CLOSED = 7777, 8888
LOGS = f"{NET}/log/logs"


class Place:
    """Two guests of a cloud, of which b has a group that lets in what goes to one port."""

    def __init__(self, cloud: Cloud, admin: Person, a: Guest, b: Guest, group: str) -> None:
        self.cloud, self.admin, self.a, self.b, self.group = cloud, admin, a, b, group
        self._source = 20000

    @property
    def path(self) -> Path:
        return self.cloud.state / "hosts" / "aio" / "network.log"

    def lines(self) -> list[str]:
        return self.path.read_text().splitlines() if self.path.exists() else []

    def send(self, port: int, *, back: bool = False) -> int:
        """Something new from a to b, or back; its source port, by which it is found."""
        self._source += 1
        sender, receiver = (self.b, self.a) if back else (self.a, self.b)
        packet = frames.udp(sender.ip, receiver.ip, (self._source, port), b"word")
        sender.send(frames.ethernet(sender.mac, receiver.mac, frames.IPV4, packet))
        return self._source

    def written(self, port: int, *, back: bool = False) -> str:
        """The first line about what is sent so; what is sent first may be gone before a bridge knows its tap."""
        sent: set[int] = set()

        def look() -> str | None:
            sent.add(self.send(port, back=back))
            return next((line for line in self.lines() if _source(line) in sent), None)

        line: str = wait_for(f"a line about what goes to {port}", look, timeout_s=30)
        return line

    def in_force(self) -> None:
        wait_for(
            "all is there", lambda: self.cloud.run("diff", check=False).stdout, lambda said: "as it should" in said
        )

    def silent(self, *ports: int, back: bool = False) -> None:
        """Nothing is written about what goes to these ports: what a drops is, that was sent to it after them."""
        sent = {self.send(port, back=back) for port in ports for _ in range(3)}
        self.written(CLOSED, back=True)
        assert not sent & {_source(line) for line in self.lines()}


def _source(line: str) -> int:
    found = re.search(r"udp\(.*src_port=(\d+)", line)
    return int(found[1]) if found else 0


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    with running("--no-guest", "--firewall", "openvswitch") as cloud:
        admin = administrator(cloud.state)
        with Hands(cloud) as hands:
            neutron = cloud.connect("admin").network
            network = neutron.create_network(name="logged")
            neutron.create_subnet(network_id=network.id, cidr="10.87.0.0/24", ip_version=4)
            group = neutron.create_security_group(name="guarded")
            neutron.create_security_group_rule(
                security_group_id=group.id,
                direction="ingress",
                protocol="udp",
                port_range_min=OPEN,
                port_range_max=OPEN,
            )
            a, b = (plug(admin, hands, network.id, hybrid=False, security_groups=[group.id]) for _ in range(2))
            yield Place(cloud, admin, a, b, group.id)


def new(place: Place, **values: Any) -> dict[str, Any]:
    made: dict[str, Any] = place.admin.create(LOGS, "log", resource_type="security_group", **values)
    return made


def delete(place: Place, *logs: dict[str, Any]) -> None:
    for log in logs:
        place.admin.expect("DELETE", f"{LOGS}/{log['id']}")


def test_what_a_port_lets_pass_and_drops_is_written_down(place: Place) -> None:
    assert not place.path.exists(), "nobody asked for a log"
    log = new(place, target_id=place.b.id)
    accepted, dropped = place.written(OPEN), place.written(CLOSED)
    for line, action in ((accepted, "ACCEPT"), (dropped, "DROP")):
        assert f"action={action} project_id={log['project_id']} log_resource_ids=['{log['id']}']" in line, line
        assert f"vm_port={place.b.id} pkt=ethernet(dst='{place.b.mac}',ethertype=2048,src='{place.a.mac}')" in line
    assert "dst_port=7777" in accepted and "dst_port=8888" in dropped
    assert place.path.stat().st_mode & 0o777 == 0o600
    told = place.cloud.run("logs", "-n", "1000", "aio-network").stdout
    assert accepted in told and dropped in told

    # Of a, which has no log, nothing is.
    sent = {place.send(CLOSED, back=True) for _ in range(3)}
    place.written(CLOSED)
    assert not sent & {_source(line) for line in place.lines()}

    place.admin.expect("PUT", f"{LOGS}/{log['id']}", {"log": {"enabled": False}})
    other = new(place, target_id=place.a.id, event="DROP")
    place.written(CLOSED, back=True)
    place.in_force()
    place.silent(OPEN, CLOSED)  # b's is off
    place.silent(OPEN, back=True)  # that is no DROP
    delete(place, log, other)


def test_a_log_of_a_group_is_of_all_its_ports(place: Place) -> None:
    log = new(place, resource_id=place.group, event="DROP")
    for back in (False, True):
        port = (place.a if back else place.b).id
        line = place.written(CLOSED, back=back)
        assert f"action=DROP project_id={log['project_id']} log_resource_ids=['{log['id']}'] vm_port={port}" in line
    delete(place, log)
    place.in_force()


def test_a_flood_is_written_down_in_part_and_holds_nobody_up(place: Place) -> None:
    """The meter of the port lets so many of its packets a second be shown."""
    log = new(place, target_id=place.b.id)
    place.written(CLOSED)
    many = [
        frames.ethernet(
            place.a.mac, place.b.mac, frames.IPV4, frames.udp(place.a.ip, place.b.ip, (port, CLOSED), b"many")
        )
        for port in range(30000, 30200)
    ]
    before, begun, sent = len(place.lines()), time.monotonic(), 0
    while time.monotonic() < begun + 4:
        place.a.send(*many)
        sent += len(many)
    # What else the host is asked for meanwhile is done: a log goes.
    delete(place, log)
    place.in_force()
    seconds = time.monotonic() - begun
    flooded = len(place.lines()) - before
    assert sent > 5 * RATE * seconds / 2, f"{sent} in {seconds:.1f} s are no flood"
    assert RATE <= flooded <= (RATE + BURST) * (seconds + 1), f"{flooded} lines of {sent} packets in {seconds:.1f} s"


def test_logs_are_written_again_after_the_switch_was_killed(place: Place) -> None:
    log = new(place, target_id=place.b.id)
    place.written(CLOSED)
    pid = "cat /run/openvswitch/ovs-vswitchd.pid"
    before = place.cloud.on("aio", pid)
    place.cloud.on("aio", f"kill -9 {before}")
    wait_for("another switch", lambda: place.cloud.on("aio", pid, check=False), lambda now: now not in ("", before))
    place.in_force()
    assert "action=DROP" in place.written(CLOSED)
    delete(place, log)

"""QoS on packets: a port's limits hold, both ways, and its packets are marked, with either firewall.

a (obeys the policy) ── tap… ── br-int ── tap… ── b
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.clouds import Cloud, wait_for
from tests.hostile import frames
from tests.hostile.client import administrator
from tests.hostile.guests import Guest, Hands, plug

SENT_KBPS, RECEIVED_KBPS, BURST_KBIT = 1000, 2000, 200
SENT_KPPS, RECEIVED_KPPS = 1, 2
MARK = 26
PAYLOAD = bytes(1000)
FRAME_BITS = (14 + 20 + 8 + len(PAYLOAD)) * 8


@pytest.fixture(scope="module")
def guests(cloud: Cloud, firewall: str) -> Iterator[tuple[Guest, Guest]]:
    """Two guests of one group, that may send to each other."""
    admin = administrator(cloud.state)
    with Hands(cloud) as hands:
        neutron = cloud.connect("admin").network
        network = neutron.create_network(name="qos")
        neutron.create_subnet(network_id=network.id, cidr="10.88.0.0/24", ip_version=4)
        is_hybrid = firewall == "iptables_hybrid"
        yield plug(admin, hands, network.id, hybrid=is_hybrid), plug(admin, hands, network.id, hybrid=is_hybrid)


def frame(sender: Guest, receiver: Guest, payload: bytes = PAYLOAD) -> bytes:
    packet = frames.udp(sender.ip, receiver.ip, (7777, 7777), payload)
    return frames.ethernet(sender.mac, receiver.mac, frames.IPV4, packet)


def ours(seen: list[bytes]) -> list[bytes]:
    return [each for each in seen if each[12:14] == b"\x08\x00" and each[36:38] == (7777).to_bytes(2, "big")]


def reach(sender: Guest, receiver: Guest) -> bytes:
    """A packet that arrived. The first may be gone before the bridge has seen that the tap is open."""
    receiver.look()  # what came before is of another time
    found: list[bytes] = []

    def look() -> bool:
        sender.send(frame(sender, receiver))
        found.extend(ours(receiver.look()))
        return bool(found)

    wait_for("a packet arrives", look, timeout_s=20)
    return found[-1]


def rate_kbps(sender: Guest, receiver: Guest, seconds: float = 3.0, raw: bytes | None = None) -> float:
    """What of much more arrives in a second, after the burst was used up."""
    many = [raw or frame(sender, receiver)] * 20

    def flood(until: float) -> int:
        arrived = 0
        while time.monotonic() < until:
            sender.send(*many)
            arrived += len(ours(receiver.look()))
        return arrived

    flood(time.monotonic() + 0.5)
    begun = time.monotonic()
    arrived = flood(begun + seconds)
    return arrived * FRAME_BITS / 1000 / (time.monotonic() - begun)


def rate_pps(sender: Guest, receiver: Guest) -> float:
    """How many small packets of many more arrive in a second, after the burst was used up."""
    return rate_kbps(sender, receiver, raw=frame(sender, receiver, b"few")) * 1000 / FRAME_BITS


def meters(cloud: Cloud) -> list[tuple[int, int]]:
    # A switch that is starting says nothing, not even that there are none.
    said = cloud.on("aio", "ovs-ofctl -O OpenFlow13 dump-meters br-int || echo rate=0 burst_size=0", check=False)
    return sorted((int(rate), int(burst)) for rate, burst in re.findall(r"rate=(\d+) burst_size=(\d+)", said))


def in_force(cloud: Cloud, wanted: list[tuple[int, int]]) -> None:
    wait_for("the meters of the policy", lambda: meters(cloud), lambda found: found == wanted, timeout_s=20)
    wait_for("nothing differs", lambda: cloud.run("diff", check=False).stdout, lambda text: "as it should be" in text)


def test_a_port_obeys_its_policy_until_it_has_none(cloud: Cloud, guests: tuple[Guest, Guest]) -> None:
    a, b = guests
    assert reach(a, b)[15] == 0 and reach(b, a)[15] == 0, "nothing is marked"
    assert rate_kbps(a, b, 1.0) > 4 * RECEIVED_KBPS, "without a policy much more passes"

    def rule(kind: str) -> Any:
        return cloud.ask(f"network qos rule create --type {kind} slow", "admin")

    assert cloud.ask("network qos policy create slow", "admin")["name"] == "slow"
    rule(f"bandwidth-limit --max-kbps {SENT_KBPS} --max-burst-kbits {BURST_KBIT} --egress")
    incoming = rule(f"bandwidth-limit --max-kbps {RECEIVED_KBPS} --max-burst-kbits {BURST_KBIT} --ingress")
    assert rule(f"dscp-marking --dscp-mark {MARK}")["dscp_mark"] == MARK
    cloud.openstack(f"port set --qos-policy slow {a.id}", "admin")
    in_force(cloud, [(SENT_KBPS, BURST_KBIT), (RECEIVED_KBPS, BURST_KBIT)])

    assert reach(a, b)[15] >> 2 == MARK and reach(b, a)[15] == 0, "what the port sends is marked"
    assert rate_kbps(a, b) == pytest.approx(SENT_KBPS, rel=0.25)
    assert rate_kbps(b, a) == pytest.approx(RECEIVED_KBPS, rel=0.25)

    # A rule that changes is a change of every port that obeys.
    cloud.openstack(f"network qos rule set --max-kbps 500 slow {incoming['id']}", "admin")
    in_force(cloud, [(500, BURST_KBIT), (SENT_KBPS, BURST_KBIT)])
    assert rate_kbps(b, a) == pytest.approx(500, rel=0.25)

    used = cloud.openstack("network qos policy delete slow", "admin", check=False)
    assert used.returncode != 0 and "is used by port" in used.stderr
    cloud.openstack(f"port unset --qos-policy {a.id}", "admin")
    in_force(cloud, [])
    assert reach(a, b)[15] == 0
    assert rate_kbps(a, b, 1.0) > 4 * RECEIVED_KBPS
    cloud.openstack("network qos policy delete slow", "admin")


def test_a_port_sends_and_receives_no_more_packets_than_its_policy_says(
    cloud: Cloud, guests: tuple[Guest, Guest]
) -> None:
    a, b = guests
    admin = cloud.connect("admin").network
    policy = admin.create_qos_policy(name="few")
    for direction, kpps in (("egress", SENT_KPPS), ("ingress", RECEIVED_KPPS)):
        admin.create_qos_packet_rate_limit_rule(policy, max_kpps=kpps, max_burst_kpps=1, direction=direction)
    network = admin.find_network("qos")
    reach(a, b)
    assert rate_pps(a, b) > 1.5 * RECEIVED_KPPS * 1000, "without a policy many more pass"
    admin.update_port(a.id, qos_policy_id=policy.id)
    in_force(cloud, [(1000, 1000), (2000, 1000)])
    assert rate_pps(a, b) == pytest.approx(SENT_KPPS * 1000, rel=0.25)
    assert rate_pps(b, a) == pytest.approx(RECEIVED_KPPS * 1000, rel=0.25)
    admin.update_port(a.id, qos_policy_id=None)
    admin.update_network(network, qos_policy_id=policy.id)
    in_force(cloud, [(1000, 1000), (1000, 1000), (2000, 1000), (2000, 1000)])
    assert rate_pps(b, a) == pytest.approx(SENT_KPPS * 1000, rel=0.25)
    admin.update_network(network, qos_policy_id=None)
    in_force(cloud, [])
    admin.delete_qos_policy(policy)


def test_limits_hold_again_after_the_switch_was_killed(cloud: Cloud, guests: tuple[Guest, Guest]) -> None:
    a, b = guests
    admin = cloud.connect("admin").network
    policy = admin.create_qos_policy(name="again")
    admin.create_qos_bandwidth_limit_rule(policy, max_kbps=SENT_KBPS, max_burst_kbps=BURST_KBIT)
    network = admin.find_network("qos")
    admin.update_network(network, qos_policy_id=policy.id)
    in_force(cloud, [(SENT_KBPS, BURST_KBIT)] * 2)
    before = cloud.on("aio", "cat /run/openvswitch/ovs-vswitchd.pid")
    cloud.on("aio", f"kill -9 {before}")
    pid = "cat /run/openvswitch/ovs-vswitchd.pid"
    wait_for("another switch", lambda: cloud.on("aio", pid, check=False), lambda now: now not in ("", before))
    in_force(cloud, [(SENT_KBPS, BURST_KBIT)] * 2)
    reach(a, b)
    assert rate_kbps(a, b) == pytest.approx(SENT_KBPS, rel=0.25)
    admin.update_network(network, qos_policy_id=None)
    in_force(cloud, [])
    admin.delete_qos_policy(policy)

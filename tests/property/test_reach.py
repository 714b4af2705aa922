"""What a trace says of a packet is what the objects of the cloud mean: thousands of pairs of random clouds.

`reachable` knows no plan, and a trace nothing of what the objects mean. Where they disagree, one of them is wrong, or
the plan is.
"""

from __future__ import annotations

import asyncio
import os
import random
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from deuteron.model.intent import LINUX_BRIDGE
from deuteron.trace.causes import cause
from deuteron.trace.packet import ICMP, TCP, UDP
from deuteron.trace.reach import OUTSIDE, reachable
from deuteron.trace.walk import Asked, End, NoSuchEnd, Walked, walk
from tests.property.clouds import Firewall, Made, cloud

CLOUDS: Final = int(os.environ.get("DEUTERON_CLOUDS", "25"))
"""For each firewall; more of them at night."""
ASKED: Final = (Asked(ICMP), Asked(TCP, 22), Asked(TCP, 80), Asked(UDP, 53))

SAME: Final = {
    "no rule lets it egress": {"security-group-egress"},
    "no rule lets it ingress": {"security-group-ingress"},
    "it may not send from that address": {"anti-spoofing"},
    "it is down": {"port-down", "port-unbound", "router-down"},
    "it is plugged in nowhere": {"port-unbound", "port-down"},
    "its DHCP is off": {"network-down"},
    "its guests have no way there": {"no-route"},
    "outside knows no way there": {"no-floating-ip", "no-route"},
    "no router on the way is on it": {"no-interface"},
    "it has no way there": {"no-interface", "no-gateway"},
    "its networks are in different address scopes": {"address-scope"},
    "nobody has it": {"no-interface", "no-such-address", "no-floating-ip", "no-next-hop", "router-down", "port-down"},
    "nobody else has the address": {"own-next-hop"},
    "it goes round in circles": {"loop"},
    "it has not the address": {"no-such-address", "no-router"},
    "outside has not the address": {"no-such-address"},
    "its own ports are closed": {"router-rule"},
}
"""What the objects say stops a packet, and the kinds of causes that a trace gives it."""


def pairs(made: Made, dice: random.Random) -> Iterator[tuple[End, End]]:
    """Every guest's port and the world outside, to every address that there is and some that there is not."""
    rows = list(made.catalog.all("port"))
    guests = [row for row in rows if not row["device_owner"].startswith("network:")]
    sources = [End(row["id"], port_id=row["id"]) for row in guests if row["fixed_ips"]]
    sources.append(End(OUTSIDE, is_outside=True))
    addresses = {item["ip_address"] for row in rows for item in row["fixed_ips"]}
    addresses |= {row["floating_ip_address"] for row in made.catalog.all("floatingip")}
    addresses |= {"8.8.8.8", "172.24.4.1", "10.0.0.200", "10.77.0.1"}
    for source in sources:
        for address in dice.sample(sorted(addresses), min(12, len(addresses))):
            yield source, End(address, address=address)


def place(made: Made, walked: Walked) -> str | None:
    """Where a trace ends, as `reachable` names it: a guest's port, a namespace, or outside."""
    arrived = walked.there.arrived if walked.there.dropped is None else None
    return arrived if arrived is None else arrived.removeprefix("guest ")


def meant(made: Made, at: str) -> str:
    row = made.catalog.get("port", at)
    if row is None or not row["device_owner"].startswith("network:"):
        return at
    owner, device_id = row["device_owner"], row["device_id"]
    if owner in ("network:dhcp", "network:floatingip_agent_gateway"):
        return f"{'qdhcp' if owner == 'network:dhcp' else 'fip'}-{row['network_id']}"
    is_gateway = owner == "network:router_gateway" and (made.catalog.get("router", device_id) or {}).get("distributed")
    leads_out = owner == "network:router_centralized_snat" or is_gateway
    return f"{'snat' if leads_out else 'qrouter'}-{device_id}"


def disagreements(made: Made, dice: random.Random, verdicts: Counter[str]) -> Iterator[str]:
    for source, destination in pairs(made, dice):
        asked = dice.choice(ASKED)
        assert destination.address is not None
        sender = OUTSIDE if source.is_outside else str(source.port_id)
        said = reachable(made.catalog, sender, destination.address, asked.protocol, asked.port)
        try:
            walked = walk(made.world, source, destination, asked)
        except NoSuchEnd as refusal:
            walked = None
            traced, told = None, str(refusal)
        else:
            traced = place(made, walked)
            found = cause(made.world, made.catalog, walked, source, destination)
            told = found.text if found is not None else "arrives"
            verdicts[found.kind if found is not None else "arrives"] += 1
            if walked.there.dropped and found and not said.arrives and found.kind not in SAME[said.why]:
                yield f"{sender} to {destination.address} {asked}: objects say {said}; the trace says {told}"
        if traced != (meant(made, said.at) if said.arrives else None):
            yield f"{sender} to {destination.address} {asked}: objects say {said}; the trace says {traced}: {told}"


@pytest.mark.parametrize("firewall", ["openvswitch", "iptables_hybrid", "linuxbridge"])
def test_a_trace_says_what_the_objects_mean(firewall: Firewall) -> None:
    verdicts: Counter[str] = Counter()
    clouds = max(1, CLOUDS // 2) if firewall == LINUX_BRIDGE else CLOUDS

    async def one(seed: int) -> None:
        dice = random.Random(seed)
        with tempfile.TemporaryDirectory() as folder:
            async with cloud(Path(folder), firewall) as it:
                await it.fill(dice)
                made = await it.seen()
        wrong = list(disagreements(made, dice, verdicts))
        assert not wrong, f"seed {seed}, {firewall}:\n" + "\n".join(wrong[:8])

    @settings(
        max_examples=clouds,
        derandomize="DEUTERON_CLOUDS"
        not in os.environ,  # every change is held to the same clouds, each night to others
        deadline=None,
        phases=(Phase.explicit, Phase.reuse, Phase.generate),  # a smaller seed is no smaller cloud
        suppress_health_check=[HealthCheck.too_slow],
    )
    @given(seed=st.integers(0, 2**32))
    def holds(seed: int) -> None:
        asyncio.run(asyncio.wait_for(one(seed), 180))

    holds()
    assert verdicts.total() > clouds * 20, "hardly anything was asked"
    assert 0.1 < verdicts["arrives"] / verdicts.total() < 0.9, verdicts


def test_it_says_the_same_of_distributed_routers() -> None:
    verdicts: Counter[str] = Counter()
    local = 0

    async def one(seed: int) -> Made:
        with tempfile.TemporaryDirectory() as folder:
            async with cloud(Path(folder), "openvswitch", is_distributed=True) as it:
                await it.fill(random.Random(seed))
                return await it.seen()

    for seed in (3, 9, 13):
        made = asyncio.run(asyncio.wait_for(one(seed), 180))
        wrong = list(disagreements(made, random.Random(seed), verdicts))
        assert not wrong, f"seed {seed}:\n" + "\n".join(wrong[:8])
        routers = [router for machine in made.world.machines.values() for router in machine.intent.routers.values()]
        local += sum(1 for each in routers if each.distributed is not None and each.distributed.floating is not None)
    assert local and verdicts["arrives"], "no floating IP is translated where its port is"


@pytest.mark.parametrize("firewall", ["openvswitch", "iptables_hybrid", "linuxbridge"])
def test_whatever_a_plan_contains_is_followed(firewall: Firewall) -> None:
    """Limits, logs, trunks, local IPs, forwarded ports, helpers and counters: nothing of them is unknown to a trace."""
    arrived: Counter[bool] = Counter()

    async def one(seed: int) -> None:
        dice = random.Random(seed)
        with tempfile.TemporaryDirectory() as folder:
            async with cloud(Path(folder), firewall) as it:
                await it.fill(dice)
                assert await it.dress(dice) > 10, "nearly everything was refused"
                made = await it.seen()
        for source, destination in pairs(made, dice):
            try:
                walked = walk(made.world, source, destination, dice.choice(ASKED))
            except NoSuchEnd:
                continue
            found = cause(made.world, made.catalog, walked, source, destination)
            assert (found is None) is (walked.back is not None and walked.back.dropped is None)
            arrived[walked.there.dropped is None] += 1

    for seed in range(max(1, CLOUDS // 5)):
        asyncio.run(asyncio.wait_for(one(seed), 180))
    assert arrived[True] > 10 and arrived[False] > 10, arrived

"""Forwarded ports of floating IPs, as rules of iptables and as what connections may be."""

from __future__ import annotations

import pytest
from test_plan_hosts import TestRouter as Routers

from deuteron.model.intent import PortForwarding
from deuteron.net.rows import Forwarding, HostPlan

ID = "20294fbe-4a99-4544-8944-ea7db80ce8a8"
CHAIN, JUMPS = "neutron-l3-agent-pf-20294fbe", "neutron-l3-agent-fip-pf"
WEB = PortForwarding(ID, "tcp", "172.24.4.36", (2222, 2222), "10.10.10.2", (22, 22))


def planned(*forwardings: PortForwarding, **change: object) -> HostPlan:
    return Routers().router(port_forwardings=forwardings, **change)


def chains(plan: HostPlan) -> dict[str, tuple[str, ...]]:
    (table,) = [row for row in plan.iptables if (row.family, row.table) == (4, "nat")]
    return {chain.name: chain.rules for chain in table.chains}


def test_a_forwarding_is_a_chain_that_the_others_lead_to() -> None:
    found = chains(planned(WEB))
    assert found["neutron-l3-agent-PREROUTING"][-1] == f"-j {JUMPS}"
    assert found[JUMPS] == (f"-j {CHAIN}",)
    assert found[CHAIN] == (
        "-d 172.24.4.36/32 -p tcp -m tcp --dport 2222 -j DNAT --to-destination 10.10.10.2:22",
    )  # fmt: skip
    assert not any("pf-" in name for name in chains(planned()))


@pytest.mark.parametrize(
    ("outside", "inside", "said"),
    [
        ((100, 110), (200, 210), "--dport 100:110 -j DNAT --to-destination 10.10.10.2:200-210/100"),
        ((100, 110), (100, 110), "--dport 100:110 -j DNAT --to-destination 10.10.10.2:100-110/100"),
        ((120, 130), (400, 400), "--dport 120:130 -j DNAT --to-destination 10.10.10.2:400"),
    ],
)
def test_ports_lead_one_to_one_or_all_to_one(outside: tuple[int, int], inside: tuple[int, int], said: str) -> None:
    udp = PortForwarding(ID, "udp", "172.24.4.36", outside, "10.10.10.2", inside)
    assert chains(planned(udp))[CHAIN] == (f"-d 172.24.4.36/32 -p udp -m udp {said}",)


def test_the_address_is_the_routers_once_and_goes_where_no_floating_ip_does() -> None:
    more = PortForwarding(ID.replace("2", "3"), "udp", "172.24.4.36", (53, 53), "10.10.10.3", (53, 53))
    plan = planned(WEB, more, floating_ips=())
    assert [row.interface for row in plan.addresses if row.interface.startswith("172.24.4.36")] == ["172.24.4.36/32"]
    assert chains(plan)[JUMPS] == (f"-j {CHAIN}", "-j neutron-l3-agent-pf-30394fbe")
    assert chains(plan)["neutron-l3-agent-float-snat"] == ()
    (connections,) = plan.connections
    assert "172.24.4.36" in connections.own and connections.floating == ()
    assert connections.forwarded == (
        Forwarding(6, "172.24.4.36", 2222, 2222, "10.10.10.2", 22),
        Forwarding(17, "172.24.4.36", 53, 53, "10.10.10.3", 53),
    )


def test_ids_that_begin_alike_share_a_chain() -> None:
    other = PortForwarding(ID[:-1] + "9", "udp", "172.24.4.36", (53, 53), "10.10.10.3", (53, 53))
    found = chains(planned(WEB, other))
    assert found[JUMPS] == (f"-j {CHAIN}",)
    assert len(found[CHAIN]) == 2


def test_a_router_that_is_down_forwards_nothing() -> None:
    assert planned(WEB, admin_state_up=False).iptables == ()

"""NDP proxies, as neighbours and rules of ip6tables."""

from __future__ import annotations

from test_plan_hosts import TestRouter as Routers

from deuteron.model.intent import NdpProxying
from deuteron.net.rows import HostPlan

FORWARD, NDP = "neutron-l3-agent-FORWARD", "neutron-l3-agent-NDP"


def chains(plan: HostPlan, family: int = 6) -> dict[str, tuple[str, ...]]:
    (table,) = [row for row in plan.iptables if (row.family, row.table) == (family, "filter")]
    return {chain.name: chain.rules for chain in table.chains}


def test_what_is_answered_for_comes_in_and_the_rest_of_its_subnets_does_not() -> None:
    plan = Routers().router(ndp=NdpProxying(("fd00:1::/64",), ("fd00:1::5",)))
    (neighbour,) = plan.neighbours
    assert (neighbour.link[:3], neighbour.address) == ("qg-", "fd00:1::5")
    assert (f"net.ipv6.conf.{neighbour.link}.proxy_ndp", "1") in {(row.name, row.value) for row in plan.sysctls}
    found = chains(plan)
    assert found[FORWARD][-1] == f"-d fd00:1::/64 -i {neighbour.link} -j {NDP}"
    assert found[NDP] == (f"-d fd00:1::5/128 -i {neighbour.link} -j ACCEPT", f"-i {neighbour.link} -j DROP")
    assert NDP not in chains(plan, 4)


def test_a_router_that_does_not_answer_has_nothing_of_it() -> None:
    plan = Routers().router()
    assert (plan.neighbours, NDP in chains(plan)) == ((), False)

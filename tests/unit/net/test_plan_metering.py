"""What routers count, as rules of iptables."""

from __future__ import annotations

import pytest
from test_plan_hosts import TestRouter as Routers

from deuteron.model.intent import MeteringLabel, MeteringRule
from deuteron.net.rows import HostPlan

LABEL = "6d1c0e5c-7ff1-4a0e-a5b2-000000000001"
COUNTS, RULES = "neutron-meter-l-6d1c0e5c-7ff", "neutron-meter-r-6d1c0e5c-7ff"


def planned(*rules: MeteringRule, **change: object) -> HostPlan:
    return Routers().router(metering_labels=(MeteringLabel(LABEL, rules),), **change)


def chains(plan: HostPlan, family: int = 4) -> dict[str, tuple[str, ...]]:
    (table,) = [row for row in plan.iptables if (row.family, row.table) == (family, "filter")]
    return {chain.name: chain.rules for chain in table.chains if chain.name.startswith("neutron-meter")}


def test_a_label_is_a_chain_that_counts_and_one_that_chooses() -> None:
    found = chains(planned())
    assert found == {"neutron-meter-FORWARD": (f"-j {RULES}",), COUNTS: ("",), RULES: ()}
    assert chains(planned(), 6) == found
    (table,) = [row for row in planned().iptables if (row.family, row.table) == (4, "filter")]
    assert table.builtin[-1] == ("FORWARD", "-j neutron-meter-FORWARD"), "what the router drops is not counted"


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        (MeteringRule("1", "egress", source="10.0.0.0/24"), f"-s 10.0.0.0/24 -o {{}} -j {COUNTS}"),
        (MeteringRule("1", "ingress", destination="10.0.0.0/24"), f"-d 10.0.0.0/24 -i {{}} -j {COUNTS}"),
        (MeteringRule("1", "ingress", "10.1.0.0/16", "10.0.0.0/24"),
         f"-s 10.1.0.0/16 -d 10.0.0.0/24 -i {{}} -j {COUNTS}"),
        (MeteringRule("1", "egress", source="0.0.0.0/0"), f"-o {{}} -j {COUNTS}"),
        (MeteringRule("1", "egress", source="10.0.0.1/32", excluded=True), "-s 10.0.0.1/32 -o {} -j RETURN"),
    ],
)  # fmt: skip
def test_a_rule_chooses_by_way_and_prefix(rule: MeteringRule, said: str) -> None:
    qg = f"qg-{Routers.qg.id[:11]}"
    assert chains(planned(rule))[RULES] == (said.format(qg),)
    assert chains(planned(rule), 6)[RULES] == ()
    assert chains(planned(rule, gateway=None))[RULES] == (), "nothing passes a gateway that is not there"


def test_what_is_excluded_leaves_before_anything_counts_it() -> None:
    counted = MeteringRule("1", "egress", source="fd00::/8")
    excluded = MeteringRule("2", "egress", source="fd00:1::/32", excluded=True)
    first, second = chains(planned(counted, excluded), 6)[RULES]
    assert first.endswith("-j RETURN") and second.endswith(f"-j {COUNTS}")


def test_a_router_without_labels_and_one_that_is_down_have_no_such_chains() -> None:
    assert chains(Routers().router()) == {}
    assert planned(admin_state_up=False).iptables == ()

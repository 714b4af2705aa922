"""What a router counts for metering labels."""

from __future__ import annotations

import msgspec

from deuteron.model.intent import MeteringLabel, MeteringRule
from deuteron.net.plan.metering import label_chain
from tests.kernel import intents
from tests.kernel.routers.world import WORLD, B, Places, do, pings, routed
from tests.kernel.runner import ROUTER, Runner


def _counted(label: MeteringLabel, family: int = 4) -> int:
    """Packets."""
    program = "iptables" if family == 4 else "ip6tables"
    listed = do(f"ip netns exec {ROUTER} {program} -L {label_chain(label.id)} -n -v -x").splitlines()
    return int(listed[2].split()[0])


def test_a_metering_label_counts_what_passes_the_gateway(runner: Runner, places: Places) -> None:
    sent = MeteringRule(intents.uid(71), "egress", source="10.10.0.0/16")
    quiet = MeteringRule(intents.uid(72), "egress", source=f"{B}/32", excluded=True)
    heard = MeteringRule(intents.uid(73), "ingress", destination=f"{B}/32")
    ours, theirs = MeteringLabel(intents.uid(74), (sent, quiet)), MeteringLabel(intents.uid(75), (heard,))
    runner.settle(routed(revision=2, metering_labels=(ours, theirs)))
    for place, times in (("a", 3), ("b", 2)):
        for _ in range(times):
            assert pings(place, WORLD)
    assert pings("a", B) and pings("a", "10.10.0.1")
    assert (_counted(ours), _counted(theirs)) == (3, 2)

    more = msgspec.structs.replace(theirs, rules=(heard, sent))
    runner.settle(routed(revision=3, metering_labels=(ours, more)))
    assert (_counted(ours), _counted(more)) == (3, 2), "what was counted stays when the rules change"
    assert pings("a", WORLD)
    assert (_counted(ours), _counted(more)) == (4, 3)
    runner.settle(routed(revision=4))
    assert "neutron-meter" not in do(f"ip netns exec {ROUTER} iptables-save")

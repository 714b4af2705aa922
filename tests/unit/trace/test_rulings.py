"""The rules that a kernel says a packet met, beside those that a walk tells of."""

from __future__ import annotations

import pytest

from deuteron.net.rows import HOST
from deuteron.net.traced import Step
from deuteron.trace.hops import Hop
from deuteron.trace.rulings import Rule, met, parting, planned

ROUTER = "qrouter-1"
PLACE = ("h1", ROUTER)
RULES = {
    ("ip", "nat", "PREROUTING", 3): "-A PREROUTING -j neutron",
    ("ip", "nat", "neutron", 4): "-A neutron -d 1.1.1.1/32 -j DNAT --to-destination 10.0.0.4",
    ("ip", "filter", "FORWARD", 2): "-A FORWARD -o qr-1 -j DROP",
    ("ip6", "filter", "FORWARD", 2): "-A FORWARD -p tcp",
    ("bridge", "neutron", "neutronMAC-tap1", 7): "ether saddr != fa:16:3e:00:00:01 drop",
    ("bridge", "neutron", "PREROUTING", 8): "iifname vmap @ports",
}  # fmt: skip

UNKNOWN = Rule("an unknown rule of table nat, chain late", False)


def step(packet: int, rule: tuple[str, str, str, int] | None, body: bytes = b"", **more: bool) -> Step:
    return Step(packet, 6 if body else 0, body, rule, more.get("drops", False), more.get("jumps", False))


def test_steps_are_told_apart_by_packet_and_jumps_left_out() -> None:
    nat, chain, drop, counts, guard, asks = RULES
    found = met(
        [
            step(1, nat, b"one", jumps=True),
            step(2, drop, b"two", drops=True),
            step(1, chain),
            step(3, drop, b"nobody's", drops=True),
            step(1, counts),
            step(1, asks),
            step(1, guard, drops=True),
            step(1, None),
            step(1, ("ip", "nat", "late", 9)),
            step(1, drop, b"two", drops=True),
        ],
        RULES,
        lambda _, body: None if body.startswith(b"nobody") else body,
    )
    assert found == {
        b"one": [Rule(RULES[chain], False), Rule(f"neutronMAC-tap1: {RULES[guard]}", True), UNKNOWN],
        b"two": [Rule(RULES[drop], True), Rule(RULES[drop], True)],
    }


def test_a_way_has_its_rules_by_host_and_namespace() -> None:
    way = (
        Hop("h1", "qbr1 iptables", "-A neutron-filter -j ACCEPT", "accepts"),
        Hop("h1", "br-int table 0", "table=0,priority=0 actions=drop", "drops"),
        Hop("h1", f"{ROUTER} filter FORWARD", "-A FORWARD -j DROP", "drops"),
        Hop("h2", "brq1 nftables", "chain: drop", "drops"),
    )
    assert planned(way) == {
        ("h1", HOST): [Rule("-A neutron-filter -j ACCEPT", False)],
        PLACE: [Rule("-A FORWARD -j DROP", True)],
        ("h2", HOST): [Rule("chain: drop", True)],
    }


A, B = Rule("-A one -j ACCEPT", False), Rule("-A two -j DROP", True)
MARK = Rule("-A three -i qr-1 -j MARK --set-xmark 0x4000000/0xffff0000", False)


@pytest.mark.parametrize(
    ("wanted", "live", "parts"),
    [
        ([A, B], [A, B], None),
        ([A], [MARK, A], None),
        ([MARK, A], [MARK, A], None),
        ([MARK, A], [A], (MARK.text, A.text)),
        ([A, B], [B, A], (A.text, B.text)),
        ([A], [], (A.text, None)),
        ([], [B], (None, B.text)),
        ([B], [B._replace(drops=False)], (B.text, B.text)),
    ],
    ids=["same", "a mark set again", "a mark", "a mark that is not set", "order", "none", "one more", "does not drop"],
)
def test_they_part_at_the_first_rule_that_differs(
    wanted: list[Rule], live: list[Rule], parts: tuple[str | None, str | None] | None
) -> None:
    found = parting(PLACE, wanted, live)
    assert (None if found is None else (found.planned, found.live)) == parts

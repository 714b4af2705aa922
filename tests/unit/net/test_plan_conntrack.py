"""Conntrack helpers, as rules of iptables."""

from __future__ import annotations

from test_plan_hosts import TestRouter as Routers

from deuteron.model.intent import ConntrackHelper

ID = "1c2d3e4f-aa99-4544-8944-ea7db80ce8a8"
CHAIN, JUMPS, HOOK = (f"neutron-l3-agent-{name}" for name in ("cth-1c2d3e4", "cth", "PREROUTING"))


def raw(family: int, *helpers: ConntrackHelper) -> dict[str, tuple[str, ...]]:
    plan = Routers().router(conntrack_helpers=helpers)
    (table,) = [row for row in plan.iptables if (row.family, row.table) == (family, "raw")]
    return {chain.name: chain.rules for chain in table.chains}


def test_a_helper_is_a_chain_that_the_others_lead_to() -> None:
    tftp = ConntrackHelper(ID, "udp", 69, "tftp")
    for family in (4, 6):
        chains = raw(family, tftp)
        assert chains[HOOK] == (f"-j {JUMPS}",)
        assert chains[JUMPS] == (f"-j {CHAIN}",)
        assert chains[CHAIN] == ("-p udp -m udp --dport 69 -j CT --helper tftp",)
        assert not any("cth" in name for name in raw(family))


def test_the_kernel_is_asked_by_its_own_names_and_for_what_it_has() -> None:
    assert raw(4, ConntrackHelper(ID, "udp", 1719, "h323"))[CHAIN][0].endswith("--helper RAS")
    assert raw(4, ConntrackHelper(ID, "tcp", 1720, "h323"))[CHAIN][0].endswith("--helper Q.931")
    irc = ConntrackHelper(ID, "tcp", 6667, "irc")
    assert len(raw(4, irc)[CHAIN]) == 1
    assert raw(6, irc)[CHAIN] == (), "the kernel has it for IPv4 alone"

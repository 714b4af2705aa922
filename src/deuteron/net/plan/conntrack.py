"""Conntrack helpers: chains of the L3 agent's names in the `raw` tables of a router's namespace.

    PREROUTING ──> neutron-l3-agent-cth ──> neutron-l3-agent-cth-<helper>   CT --helper

The kernel calls the two halves of H.323 by names of their own, and has some helpers for IPv4 alone: their chains
are empty in ip6tables.

Source: neutron/agent/l3/extensions/conntrack_helper.py; the kernel's net/netfilter/nf_conntrack_*.c.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from deuteron.model.intent import ConntrackHelper

HELPERS: Final = "cth"
_MAX_NAME: Final = 11
"""Source: neutron/agent/linux/iptables_manager.py, MAX_CHAIN_LEN_WRAP."""
_KERNELS_NAME: Final = {("h323", "udp"): "RAS", ("h323", "tcp"): "Q.931"}
_IPV4_ONLY: Final = frozenset({"irc", "netbios-ns", "pptp", "snmp"})


def helper_chains(helpers: Sequence[ConntrackHelper], prefix: str, family: int) -> dict[str, list[str]]:
    """The chains with their rules, by name without `prefix`; none when the router has no helper."""
    chains: dict[str, list[str]] = {}
    for item in sorted(helpers, key=lambda item: item.id):
        # Two ids that begin alike share a chain.
        rules = chains.setdefault(f"{HELPERS}-{item.id}"[:_MAX_NAME], [])
        if family == 4 or item.helper not in _IPV4_ONLY:
            rules.append(_rule(item))
    return {HELPERS: [f"-j {prefix}{name}" for name in chains], **chains} if chains else {}


def _rule(item: ConntrackHelper) -> str:
    """In the words of iptables-save."""
    name = _KERNELS_NAME.get((item.helper, item.protocol), item.helper)
    return f"-p {item.protocol} -m {item.protocol} --dport {item.port} -j CT --helper {name}"

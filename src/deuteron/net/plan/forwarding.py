"""Port forwarding: chains of the L3 agent's names in the `nat` table of a router's namespace.

    PREROUTING ──> neutron-l3-agent-fip-pf ──> neutron-l3-agent-pf-<forwarding>   DNAT of the floating IP's ports

As many ports inside as outside: the first leads to the first (`200-210/100`, from 100 on). One port inside: all lead
to it.

Source: neutron/agent/l3/extensions/port_forwarding.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from deuteron.model.intent import PortForwarding
from deuteron.net.rows import Forwarding

FORWARDING: Final = "fip-pf"
_MAX_NAME: Final = 11
"""Source: neutron/agent/linux/iptables_manager.py, MAX_CHAIN_LEN_WRAP."""
_NUMBERS: Final = {"tcp": 6, "udp": 17, "sctp": 132}


def forwarding_chains(forwardings: Sequence[PortForwarding], prefix: str) -> dict[str, list[str]]:
    """The chains with their rules, by name without `prefix`; none when nothing is forwarded."""
    chains: dict[str, list[str]] = {}
    for item in sorted(forwardings, key=lambda item: item.id):
        # Two ids that begin alike share a chain.
        chains.setdefault(f"pf-{item.id}"[:_MAX_NAME], []).append(_rule(item))
    return {FORWARDING: [f"-j {prefix}{name}" for name in chains], **chains} if chains else {}


def tracked(forwardings: Sequence[PortForwarding]) -> tuple[Forwarding, ...]:
    """What the chains come down to, for connections that are there."""
    return tuple(
        Forwarding(
            protocol=_NUMBERS[item.protocol],
            own=item.floating_ip_address,
            first=item.external_ports[0],
            last=item.external_ports[1],
            fixed=item.fixed_ip_address,
            inside=item.internal_ports[0],
            is_shifted=item.internal_ports[0] != item.internal_ports[1],
        )
        for item in sorted(forwardings, key=lambda item: item.id)
    )


def _rule(item: PortForwarding) -> str:
    """In the words of iptables-save."""
    (first, last), (low, high) = item.external_ports, item.internal_ports
    ports = str(first) if first == last else f"{first}:{last}"
    inside = str(low) if low == high else f"{low}-{high}/{first}"
    return (
        f"-d {item.floating_ip_address}/32 -p {item.protocol} -m {item.protocol} --dport {ports} "
        f"-j DNAT --to-destination {item.fixed_ip_address}:{inside}"
    )

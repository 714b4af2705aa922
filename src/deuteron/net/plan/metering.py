"""What routers count: chains of the metering agent's names in the `filter` table of their namespaces.

    FORWARD  neutron-meter-FORWARD ──> neutron-meter-r-<label>   what passes the gateway: RETURN where it is excluded,
                                       neutron-meter-l-<label>   else here, where the one rule without target counts

`iptables -t filter -L neutron-meter-l-<label> -n -v -x` says packets and bytes. The agent writes rules of IPv4 only;
here those of IPv6 are in ip6tables. A chain keeps its counters as long as the label is there: it never changes.

Source: neutron/services/metering/drivers/iptables/iptables_driver.py.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Final

from deuteron.model.intent import MeteringLabel, MeteringRule
from deuteron.net.plan.addresses import version

_PREFIX: Final = "neutron-meter-"
HOOK: Final = f"{_PREFIX}FORWARD"
_MAX_CHAIN_LENGTH: Final = 28
"""Source: neutron/agent/linux/iptables_manager.py, MAX_CHAIN_LEN_NOWRAP."""


def label_chain(label_id: str) -> str:
    """Where packets are counted."""
    return f"{_PREFIX}l-{label_id}"[:_MAX_CHAIN_LENGTH]


def _rules_chain(label_id: str) -> str:
    return f"{_PREFIX}r-{label_id}"[:_MAX_CHAIN_LENGTH]


def metering_chains(labels: Sequence[MeteringLabel], gateway: str | None, family: int) -> dict[str, list[str]]:
    """The chains with their rules, by name; none when there is nothing to count.

    `gateway` is the device outside: without one, nothing passes it.
    """
    if not labels:
        return {}
    chains: dict[str, list[str]] = {HOOK: [f"-j {_rules_chain(label.id)}" for label in labels]}
    for label in labels:
        mine = [rule for rule in label.rules if _version(rule) == family and gateway is not None]
        # What is excluded comes first: it leaves before anything counts it.
        mine.sort(key=lambda rule: (not rule.excluded, rule.id))
        chains[label_chain(label.id)] = [""]
        chains[_rules_chain(label.id)] = [_said(rule, label, gateway or "") for rule in mine]
    return chains


def _version(rule: MeteringRule) -> int:
    return version(rule.source or rule.destination or "")


def _said(rule: MeteringRule, label: MeteringLabel, gateway: str) -> str:
    """In the words of iptables-save, which is silent of a prefix that is everything."""
    words = []
    for option, prefix in (("-s", rule.source), ("-d", rule.destination)):
        if prefix is not None and ipaddress.ip_network(prefix).prefixlen > 0:
            words.append(f"{option} {prefix}")
    words.append(f"{'-o' if rule.direction == 'egress' else '-i'} {gateway}")
    words.append("-j RETURN" if rule.excluded else f"-j {label_chain(label.id)}")
    return " ".join(words)

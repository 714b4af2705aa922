"""What the zones of connection tracking may hold: the rules of their ports, once more, as values.

The firewalls write rules for packets. These rows say the same of connections, so that those which no rule allows any
longer can be found among the tracked ones and ended (`net.connections`).
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from deuteron.model.intent import IntentPort, IntentRule
from deuteron.net import rows
from deuteron.net.plan.addresses import allowed_pairs, version
from deuteron.net.plan.draft import Site

_ICMP, _ICMP6 = 1, 58


class Members:
    """The addresses of each remote group by family, made once for all ports that name it."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._known: dict[tuple[str, int], tuple[str, ...]] = {}

    def of(self, group_id: str, family: int) -> tuple[str, ...]:
        key = (group_id, family)
        if key not in self._known:
            members = self._site.members_of_group.get(group_id, ())
            addresses = {address for member in members for address in member.addresses if version(address) == family}
            self._known[key] = _shared(tuple(sorted(addresses)))
        return self._known[key]


@lru_cache(maxsize=1024)
def _shared(addresses: tuple[str, ...]) -> tuple[str, ...]:
    """The same object for the same addresses, so that comparing two plans does not read a group once for each port."""
    return addresses


def tracked_port(
    port: IntentPort, ofport: int, rules: Iterable[IntentRule], members: Members, more: Iterable[rows.Allowance] = ()
) -> rows.TrackedPort:
    """The port with its rules; `more` is what its firewall lets through without a rule."""
    four, six = allowed_pairs(port)
    allowed = dict.fromkeys(allowance for rule in rules if (allowance := _allowance(rule, members)) is not None)
    return rows.TrackedPort(
        id=port.id,
        ofport=ofport,
        addresses=tuple(dict.fromkeys(address for _, address in (*four, *six))),
        allowed=(*allowed, *more),
    )


def _allowance(rule: IntentRule, members: Members) -> rows.Allowance | None:
    family = 4 if rule.ethertype == "IPv4" else 6
    remotes: tuple[str, ...] | None = None
    if rule.remote_ip_prefix is not None:
        if version(rule.remote_ip_prefix) != family:
            return None
        remotes = (rule.remote_ip_prefix,)
    elif rule.remote_group_id is not None:
        remotes = members.of(rule.remote_group_id, family)
    protocol = rule.protocol or None
    if protocol in (_ICMP, _ICMP6):
        protocol = _ICMP if family == 4 else _ICMP6
    return rows.Allowance(
        rule.direction, 4 if family == 4 else 6, protocol, rule.port_range_min, rule.port_range_max, remotes
    )

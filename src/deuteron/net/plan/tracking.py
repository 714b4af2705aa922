"""What the zones of connection tracking may hold: the rules of their ports, once more, as values.

The firewalls write rules for packets. These rows say the same of connections, so that those which no rule allows any
longer can be found among the tracked ones and ended (`net.connections`).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from deuteron.model.intent import IntentPort, IntentRule
from deuteron.net import rows
from deuteron.net.plan.addresses import allowed_pairs, version
from deuteron.net.plan.draft import Draft, Site, View

_COMMON = "group"
_ICMP, _ICMP6 = 1, 58
_FAMILIES: dict[str, Literal[4, 6]] = {"IPv4": 4, "IPv6": 6}


def publish_groups(site: Site, draft: Draft, used: Iterable[str]) -> None:
    """Give parts the addresses of the groups that rules of the groups in `used` name, found once for all of them."""
    rules = (
        rule
        for group_id in used
        if group_id in site.intent.security_groups
        for rule in site.intent.security_groups[group_id].rules
    )
    draft.publish(site, _COMMON, {key: rows.TrackedGroup(*key, _addresses(site, *key)) for key in _named(rules)})


def tracked_groups(view: View, rules: Iterable[IntentRule]) -> tuple[rows.TrackedGroup, ...]:
    """The groups that rules name, with the addresses of their members."""
    return tuple(view.common(_COMMON, key) for key in sorted(_named(rules)))


def _named(rules: Iterable[IntentRule]) -> set[tuple[str, Literal[4, 6]]]:
    return {
        (rule.remote_id, _FAMILIES[rule.ethertype])
        for rule in rules
        if rule.remote_id is not None and rule.remote_ip_prefix is None
    }


def _addresses(site: Site, group_id: str, family: int) -> tuple[str, ...]:
    return tuple(sorted({address for address in site.addresses_of(group_id) if version(address) == family}))


def tracked_port(
    port: IntentPort, ofport: int, rules: Iterable[IntentRule], more: Iterable[rows.Allowance] = ()
) -> rows.TrackedPort:
    """The port with its rules; `more` is what its firewall lets through without a rule."""
    four, six = allowed_pairs(port)
    allowed = dict.fromkeys(allowance for rule in rules if (allowance := _allowance(rule)) is not None)
    return rows.TrackedPort(
        id=port.id,
        ofport=ofport,
        addresses=tuple(dict.fromkeys(address for _, address in (*four, *six))),
        allowed=(*allowed, *more),
    )


def _allowance(rule: IntentRule) -> rows.Allowance | None:
    family = _FAMILIES[rule.ethertype]
    remotes: tuple[str, ...] | None = None
    if rule.remote_ip_prefix is not None:
        if version(rule.remote_ip_prefix) != family:
            return None
        remotes = (rule.remote_ip_prefix,)
    protocol = rule.protocol or None
    if protocol in (_ICMP, _ICMP6):
        protocol = _ICMP if family == 4 else _ICMP6
    group = rule.remote_id if remotes is None else None
    return rows.Allowance(rule.direction, family, protocol, rule.port_range_min, rule.port_range_max, remotes, group)

"""Logs of security groups: of ports with one, the switch shows the agent what it lets pass or drops.

    91   accepted on its way out: sent on, and shown      reg5 the port; of some groups only: their rules again
    92   accepted on its way in: shown, it was output
    93   dropped, by rules or before them: shown

Of a connection that is the first packet, and more of them until it is answered; a stateless group knows no connections,
so each packet that it accepts is shown. As in Neutron, what goes from one port of a host to another is accepted once,
by the receiver. In 91 and 92 a rule with a remote group is known by the number of its conjunction in reg7, which only
ports with such a log write. A meter for each port limits what is shown, and nobody pays who has no log.

Source: neutron/services/logapi/drivers/openvswitch/ovs_firewall_log.py; neutron/conf/services/logging.py, the rates.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from deuteron.model.intent import IntentLog, IntentPort, IntentRule
from deuteron.net.pipeline import (
    ACCEPT_OR_INGRESS,
    ACCEPTED_EGRESS,
    ACCEPTED_EGRESS_NORMAL,
    ACCEPTED_INGRESS,
    DROPPED,
    RULES_EGRESS,
    RULES_INGRESS,
    log_meter,
)
from deuteron.net.plan import firewall
from deuteron.net.plan.bridges import INTEGRATION
from deuteron.net.plan.draft import Draft, Phase, Site, View, is_dead
from deuteron.net.plan.firewall import FilteredPort
from deuteron.net.rows import LOGGED_PORT_TABLE, METER_TABLE, LoggedPort, Meter

RATE, BURST = 100, 25
"""Packets of one port that are shown: a second, and at once. Neutron's defaults, there of all ports together."""

MOST_NAMED: Final = 50
"""Logs of one port whose ids are written with a packet."""
_SHOWN_BYTES: Final = 128
"""Enough for the headers that are written down."""
_SHOWN_PRIORITY = 60
_DROPPED_PRIORITY = 53
_ABOVE_PLAIN = 4
"""What is planned besides, of rules that accept, comes before them and keeps their order."""
_RULE_OF = "reg7"


def plan_logs(site: Site, draft: Draft) -> None:
    """Adds the flows of every filtered port that is up and has a log."""
    if not site.intent.logs:
        return
    for port, _ in site.instance_ports:
        if port.port_security_enabled and not is_dead(port) and any(_scopes_with_logs(site, port)):
            draft.part(site, Phase.LOG, port.id, _plan_port)


def _scopes_with_logs(site: Site, port: IntentPort) -> Iterator[str]:
    return (scope for scope in _scopes(port) if scope in site.logs_of)


def _scopes(port: IntentPort) -> tuple[str, ...]:
    return (port.id, *port.security_groups, port.project_id)


def _plan_port(view: View, draft: Draft, port_id: str) -> None:
    filtered = firewall.filtered_port(view, port_id)
    if filtered is None:
        return
    port = filtered.port
    logs = sorted(
        (log for scope in _scopes(port) for log in view.logs_of(scope) if _is_about(log, port)),
        key=lambda log: log.id,
    )
    accepted = [log for log in logs if log.event != "DROP"]
    dropped = [log for log in logs if log.event != "ACCEPT"]
    if not logs:
        return
    meter = Meter(INTEGRATION, log_meter(filtered.ofport), RATE, BURST, "pktps")
    draft.own(METER_TABLE, meter)
    draft.own(
        LOGGED_PORT_TABLE,
        LoggedPort(
            INTEGRATION,
            filtered.ofport,
            port.id,
            logs[0].project_id,
            tuple(log.id for log in accepted[:MOST_NAMED]),
            tuple(log.id for log in dropped[:MOST_NAMED]),
        ),
    )
    show = f"controller(max_len={_SHOWN_BYTES},meter_id={meter.number})"
    if accepted:
        _Accepted(view, draft, filtered, show).add(accepted)
    if dropped:
        _add_dropped(draft, filtered, show)


def _is_about(log: IntentLog, port: IntentPort) -> bool:
    """Of a log in a scope of the port."""
    return log.resource_id is None or log.resource_id in port.security_groups


class _Accepted:
    """What is accepted at one port, while its flows are being written."""

    def __init__(self, view: View, draft: Draft, port: FilteredPort, show: str) -> None:
        self._view = view
        self._draft = draft
        self._port = port
        self._show = {
            "egress": (ACCEPTED_EGRESS, f"resubmit(,{ACCEPTED_EGRESS_NORMAL}),{show}"),
            "ingress": (ACCEPTED_INGRESS, show),
        }

    def add(self, logs: Iterable[IntentLog]) -> None:
        port = self._port
        groups = {log.resource_id for log in logs}
        if None in groups or groups >= set(port.port.security_groups):
            rules = list(port.rules)
            for table, actions in self._show.values():
                self._draft.flow(INTEGRATION, table, _SHOWN_PRIORITY, port.reg5, actions)
        else:
            rules = [rule for group in port.groups if group.id in groups for rule in group.rules]
            for rule in rules:
                self._add_rule(rule)
        if not port.is_stateful:
            self._add_stateless(rules)

    def _add_rule(self, rule: IntentRule) -> None:
        """What the rule accepted, told by the same match; or by what accepted it left in a register."""
        port = self._port
        table, actions = self._show[rule.direction]
        if rule.remote_id is None:
            priority = firewall.PLAIN_PRIORITY + firewall.priority_offset(rule)
            for word, rest in firewall.rule_matches(rule):
                self._draft.flow(INTEGRATION, table, priority, firewall.joined(word, port.reg5, *rest), actions)
            return
        number = firewall.conjunction_of(self._view, rule)
        match = firewall.joined(firewall.family_of(rule), port.reg5, f"{_RULE_OF}={number:#x}")
        self._draft.flow(INTEGRATION, table, firewall.REMOTE_GROUP_PRIORITY, match, actions)
        self._accept_again(rule)

    def _accept_again(self, rule: IntentRule) -> None:
        """The flows with which the rule accepts, that leave its number, and without connections show each packet."""
        port = self._port
        is_each_shown = rule.direction == "ingress" and not port.is_stateful
        then = f"resubmit(,{ACCEPTED_INGRESS})" if is_each_shown else ""
        table = RULES_EGRESS if rule.direction == "egress" else RULES_INGRESS
        plain = firewall.PLAIN_PRIORITY + firewall.priority_offset(rule) + _ABOVE_PLAIN
        for ct_state, actions in port.verdicts(rule.direction):
            onward = "" if not then or then in actions else f",{then}"
            if rule.remote_id is None:
                for word, rest in firewall.rule_matches(rule):
                    match = firewall.joined(ct_state, word, port.reg5, *rest)
                    self._draft.flow(INTEGRATION, table, plain, match, f"{actions}{onward}")
                continue
            number = firewall.conjunction_of(self._view, rule)
            match = firewall.joined(f"conj_id={number}", ct_state, firewall.family_of(rule), port.reg5)
            first = f"set_field:{number:#x}->{_RULE_OF},"
            priority = firewall.REMOTE_GROUP_PRIORITY + 1
            self._draft.flow(INTEGRATION, table, priority, match, f"{first}{actions}{onward}")

    def _add_stateless(self, rules: Iterable[IntentRule]) -> None:
        """Without connections, each packet is one: it comes to 91 and 92 as only first ones do otherwise."""
        port = self._port
        for family in ("ip", "ipv6"):
            to_shown = f"resubmit(,{ACCEPTED_EGRESS})"
            self._draft.flow(INTEGRATION, ACCEPT_OR_INGRESS, 81, f"{family},{port.reg5}", to_shown)
        for rule in rules:
            if rule.direction == "ingress":
                self._accept_again(rule)


def _add_dropped(draft: Draft, port: FilteredPort, show: str) -> None:
    draft.flow(INTEGRATION, DROPPED, _DROPPED_PRIORITY, port.reg5, show)
    if not port.is_stateful:
        for table in (RULES_EGRESS, RULES_INGRESS):
            draft.flow(INTEGRATION, table, 1, port.reg5, f"resubmit(,{DROPPED})")

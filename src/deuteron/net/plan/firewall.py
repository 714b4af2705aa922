"""Security groups by connection tracking in Open vSwitch: Neutron's `openvswitch` firewall driver.

A frame of a filtered port is marked in table 60 (reg5 its port number, reg6 its network's local tag), checked
against spoofing in 71, against the egress rules in 72, and in 73 goes either to the ingress tables of a filtered
port on this host (81, 82) or out through 94. Connections are tracked in one zone per network.

Rules with a remote group use conjunctive matches: one flow for each member, one for each port and rule, and two for
each port and remote group, instead of their product. The members of an address group are its prefixes. The
conjunction's number derives from the group's id, so a change of one group moves no other group's flows. ct_mark 1
marks connections that were once allowed and no longer are: when no rule accepts an established connection it is marked,
and dropped until a packet in its first direction passes all rules again.

Source: openstack/neutron, doc/source/contributor/internals/openvswitch_firewall.rst and
neutron/agent/linux/openvswitch_firewall/.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator

from deuteron.model.intent import IntentPort, IntentRule, IntentSecurityGroup
from deuteron.net import rows
from deuteron.net.pipeline import (
    ACCEPT_OR_INGRESS,
    ACCEPTED_EGRESS,
    ACCEPTED_EGRESS_NORMAL,
    ACCEPTED_INGRESS,
    BASE_EGRESS,
    BASE_INGRESS,
    CT_ZONE,
    DROPPED,
    RULES_EGRESS,
    RULES_INGRESS,
    TRANSIENT,
)
from deuteron.net.plan.addresses import Pair, allowed_macs, allowed_pairs, prefix, version
from deuteron.net.plan.bridges import INTEGRATION
from deuteron.net.plan.draft import Draft, Phase, Site, View, is_dead, is_of_network
from deuteron.net.plan.masks import masked, port_masks
from deuteron.net.plan.tracking import publish_groups, tracked_groups, tracked_port
from deuteron.net.plan.wiring import trust_port

CONNECTION_LIMIT = 32_768
"""Connections of one network on one host. A full zone takes no new ones until some end; other zones do."""

UNMARK = f"ct(commit,zone={CT_ZONE},exec(set_field:0->ct_mark))"
"""Takes the mark from a connection that a rule allows again."""

REMOTE_GROUP_PRIORITY = 70
PLAIN_PRIORITY = 74

_ICMP, _TCP, _UDP, _ICMP6, _SCTP = 1, 6, 17, 58, 132
_PORT_PROTOCOLS = {_TCP: "tcp", _UDP: "udp", _SCTP: "sctp"}

# Neighbour discovery and multicast listener messages a guest may send: query, router and neighbour solicitation.
_ND_FROM_GUEST = (130, 133, 135)
# From the unspecified address, for duplicate address detection: reports and neighbour solicitation.
_ND_FROM_UNSPECIFIED = (131, 135, 143)
_ND_TO_GUEST = (130, 134, 135, 136)
_NEIGHBOUR_ADVERTISEMENT = 136
_ROUTER_ADVERTISEMENT = 134

_Conjunctions = dict[tuple[str, str, str], int]
"""(remote group, direction, ethertype) to its conjunction number."""


_COMMON = "conjunction"


def plan_firewall(site: Site, draft: Draft) -> None:
    """Adds the flows of every instance port that is up: filtered by its groups, or trusted without port security."""
    up = [(port, network) for port, network in site.instance_ports if not is_dead(port)]
    used = {group_id for port, _ in up if port.port_security_enabled for group_id in port.security_groups}
    conjunctions = _conjunction_numbers(site, used)
    draft.publish(site, _COMMON, conjunctions)
    publish_groups(site, draft, used)
    for port, _ in up:
        draft.part(site, Phase.FIREWALL, port.id, _plan_port)
    # A MAC of address pairs may be shared by several ports (VRRP); the port whose own it is comes first.
    for port, _ in up:
        if port.allowed_address_pairs:
            draft.part(site, Phase.PAIRS, port.id, _plan_pairs)
    for group_id in sorted({group_id for group_id, _, _ in conjunctions}):
        for member in site.members_of_group.get(group_id, ()):
            draft.part(site, Phase.MEMBER, member.id, _plan_member)
        if group_id in site.intent.address_groups:
            draft.part(site, Phase.ADDRESSES, group_id, _plan_address_group)
    for network_id in sorted({network.id for _, network in up}):
        draft.part(site, Phase.ZONE, network_id, _plan_zone)
    for network_id in sorted({network.id for _, network in up}):
        draft.part(site, Phase.ZONE_GROUPS, network_id, _plan_zone_groups)


def _plan_port(view: View, draft: Draft, port_id: str) -> None:
    member_of = filtered_port(view, port_id)
    if member_of is not None:
        member_of.add_flows(draft, view)
        member_of.add_delivery(draft, member_of.port.mac_address)
        return
    port = view.port(port_id)
    network = None if port is None else view.network(port.network_id)
    if port is not None and port.ofport is not None and network is not None:
        trust_port(draft, port.ofport, network.local_vlan)


def _plan_pairs(view: View, draft: Draft, port_id: str) -> None:
    member_of = filtered_port(view, port_id)
    if member_of is not None:
        for mac in allowed_macs(member_of.port)[1:]:
            member_of.add_delivery(draft, mac)


def filtered_port(view: View, port_id: str) -> FilteredPort | None:
    """None for a port without port security."""
    port = view.port(port_id)
    network = None if port is None else view.network(port.network_id)
    if port is None or port.ofport is None or network is None or not port.port_security_enabled:
        return None
    return FilteredPort(port, port.ofport, network.local_vlan, view.security_groups(port.security_groups))


def delivery(ofport: int, local_vlan: int) -> tuple[str, str]:
    """The actions that give a frame to a filtered port: from a patch, and from this host."""
    port = f"set_field:{ofport:#x}->reg5"
    return (
        f"{port},set_field:{local_vlan:#x}->reg6,pop_vlan,resubmit(,{BASE_INGRESS})",
        f"{port},resubmit(,{BASE_INGRESS})",
    )


class FilteredPort:
    """One port with its groups, for as long as its flows are being written."""

    def __init__(self, port: IntentPort, ofport: int, local_vlan: int, groups: list[IntentSecurityGroup]) -> None:
        self.port = port
        self.ofport = ofport
        self.local_vlan = local_vlan
        self.groups = groups
        self.rules = [rule for group in groups for rule in group.rules]
        self.is_stateful = all(group.stateful for group in groups)
        self.reg5 = f"reg5={ofport:#x}"
        self.output = f"output:{ofport}"

    def add_flows(self, draft: Draft, view: View) -> None:
        self._add_entry(draft)
        self._add_base_egress(draft)
        self._add_base_ingress(draft)
        if self.is_stateful:
            # Answers, too, go by the receiver's rules: with a stateless group it lets in what a rule names and no more.
            self._add_tracking(draft, RULES_EGRESS, f"resubmit(,{ACCEPT_OR_INGRESS})")
            self._add_tracking(draft, RULES_INGRESS, self.output)
        for rule in self.rules:
            self._add_rule(draft, rule, view)

    def add_delivery(self, draft: Draft, mac: str) -> None:
        """Frames to a MAC of this port go through its ingress tables, from this host (73) or from a patch (60)."""
        from_patch, from_here = delivery(self.ofport, self.local_vlan)
        draft.flow(
            INTEGRATION,
            TRANSIENT,
            90,
            f"dl_vlan={self.local_vlan},dl_dst={mac}",
            from_patch,
        )
        draft.flow(
            INTEGRATION,
            ACCEPT_OR_INGRESS,
            100,
            f"reg6={self.local_vlan:#x},dl_dst={mac}",
            from_here,
        )

    def _add_entry(self, draft: Draft) -> None:
        draft.flow(
            INTEGRATION,
            TRANSIENT,
            100,
            f"in_port={self.ofport}",
            f"set_field:{self.ofport:#x}->reg5,set_field:{self.local_vlan:#x}->reg6,resubmit(,{BASE_EGRESS})",
        )
        if self.is_stateful:
            for family in ("ip", "ipv6"):
                draft.flow(
                    INTEGRATION,
                    ACCEPT_OR_INGRESS,
                    90,
                    f"ct_state=+new-est,{family},{self.reg5}",
                    f"ct(commit,zone={CT_ZONE}),resubmit(,{ACCEPTED_EGRESS})",
                )
                draft.flow(
                    INTEGRATION,
                    ACCEPT_OR_INGRESS,
                    90,
                    f"ct_state=+est-rel-rpl,ct_mark=0x1,{family},{self.reg5}",
                    f"{UNMARK},resubmit(,{ACCEPTED_EGRESS})",
                )
        draft.flow(INTEGRATION, ACCEPT_OR_INGRESS, 80, self.reg5, f"resubmit(,{ACCEPTED_EGRESS_NORMAL})")

    def _add_base_egress(self, draft: Draft) -> None:
        four, six = allowed_pairs(self.port)
        own = f"{self.reg5},in_port={self.ofport}"
        accept = f"resubmit(,{ACCEPTED_EGRESS_NORMAL})"
        to_rules = f"ct(table={RULES_EGRESS},zone={CT_ZONE})" if self.is_stateful else f"resubmit(,{RULES_EGRESS})"

        def base(priority: int, match: str, actions: str) -> None:
            draft.flow(INTEGRATION, BASE_EGRESS, priority, match, actions)

        for mac, address in four:
            base(95, joined("arp", own, f"dl_src={mac}", _field("arp_spa", address)), accept)
            base(65, joined("ip", own, f"dl_src={mac}", _field("nw_src", address)), to_rules)
        for mac in allowed_macs(self.port):
            base(95, f"rarp,{own},dl_src={mac}", accept)
            for kind in _ND_FROM_UNSPECIFIED:
                base(95, f"icmp6,{own},dl_src={mac},ipv6_src=::,icmp_type={kind}", accept)
        for mac, address in six:
            source = _field("ipv6_src", address)
            for kind in _ND_FROM_GUEST:
                base(95, joined("icmp6", own, f"dl_src={mac}", source, f"icmp_type={kind}"), accept)
            target = _field("nd_target", address)
            base(95, joined("icmp6", own, f"dl_src={mac}", f"icmp_type={_NEIGHBOUR_ADVERTISEMENT}", target), accept)
            base(65, joined("ipv6", own, f"dl_src={mac}", source), to_rules)
        self._add_dhcp_client(draft, own, four, six)
        for dhcp_server in ("udp,{},tp_src=67,tp_dst=68", "udp6,{},tp_src=547,tp_dst=546"):
            base(70, dhcp_server.format(own), f"resubmit(,{DROPPED})")
        for kind in (_ROUTER_ADVERTISEMENT, _NEIGHBOUR_ADVERTISEMENT):
            base(70, f"icmp6,{own},icmp_type={kind}", f"resubmit(,{DROPPED})")
        base(10, own, f"ct_clear,resubmit(,{DROPPED})")

    def _add_dhcp_client(self, draft: Draft, own: str, four: list[Pair], six: list[Pair]) -> None:
        """DHCP requests pass whatever the rules say; requests of a guest without an address come from 0.0.0.0."""
        unspecified = [(mac, "0.0.0.0/32") for mac in allowed_macs(self.port)]
        for word, name, pairs, ports in (
            ("udp", "nw_src", [*four, *unspecified], "tp_src=68,tp_dst=67"),
            ("udp6", "ipv6_src", six, "tp_src=546,tp_dst=547"),
        ):
            for mac, address in pairs:
                match = joined(word, own, f"dl_src={mac}", _field(name, address), ports)
                draft.flow(INTEGRATION, BASE_EGRESS, 80, match, f"resubmit(,{ACCEPT_OR_INGRESS})")

    def _add_base_ingress(self, draft: Draft) -> None:
        def base(priority: int, match: str, actions: str) -> None:
            draft.flow(INTEGRATION, BASE_INGRESS, priority, match, actions)

        base(100, f"arp,{self.reg5}", self.output)
        for kind in _ND_TO_GUEST:
            base(100, f"icmp6,{self.reg5},icmp_type={kind}", self.output)
        base(95, f"udp,{self.reg5},tp_src=67,tp_dst=68", self.output)
        base(95, f"udp6,{self.reg5},tp_src=547,tp_dst=546", self.output)
        if self.is_stateful:
            for family in ("ip", "ipv6"):
                base(90, f"ct_state=-trk,{family},{self.reg5}", f"ct(table={RULES_INGRESS},zone={CT_ZONE})")
            base(80, f"ct_state=+trk,{self.reg5}", f"resubmit(,{RULES_INGRESS})")
        else:
            for family in ("ip", "ipv6"):
                base(80, f"{family},{self.reg5}", f"resubmit(,{RULES_INGRESS})")

    def _add_tracking(self, draft: Draft, table: int, accept: str) -> None:
        """Answers of allowed connections pass; what was allowed once and is no longer is marked and dropped."""

        def track(priority: int, match: str, actions: str) -> None:
            draft.flow(INTEGRATION, table, priority, match, actions)

        zone = f"ct_zone={self.local_vlan},ct_mark=0"
        track(50, f"ct_mark=0x1,{self.reg5}", f"resubmit(,{DROPPED})")
        track(50, f"ct_state=+est-rel+rpl,{zone},{self.reg5}", accept)
        track(50, f"ct_state=-new-est+rel-inv,{zone},{self.reg5}", accept)
        track(40, f"ct_state=-est,{self.reg5}", f"resubmit(,{DROPPED})")
        for family in ("ip", "ipv6"):
            mark = f"ct(commit,zone={CT_ZONE},exec(set_field:0x1->ct_mark))"
            track(40, f"ct_state=+est,{family},{self.reg5}", mark)

    def _add_rule(self, draft: Draft, rule: IntentRule, view: View) -> None:
        table = RULES_EGRESS if rule.direction == "egress" else RULES_INGRESS
        if rule.remote_id is None:
            priority = PLAIN_PRIORITY + priority_offset(rule)
            for word, rest in rule_matches(rule):
                for ct_state, actions in self.verdicts(rule.direction):
                    draft.flow(INTEGRATION, table, priority, joined(ct_state, word, self.reg5, *rest), actions)
            return
        number = conjunction_of(view, rule)
        for word, rest in rule_matches(rule):
            match = joined(word, self.reg5, *rest)
            draft.conjunction(INTEGRATION, table, REMOTE_GROUP_PRIORITY, match, (number, 2, 2))
        for ct_state, actions in self.verdicts(rule.direction):
            match = joined(f"conj_id={number}", ct_state, family_of(rule), self.reg5)
            draft.flow(INTEGRATION, table, REMOTE_GROUP_PRIORITY, match, actions)

    def verdicts(self, direction: str) -> tuple[tuple[str, str], ...]:
        """What an accepted packet does: (connection state to match, actions), for known and for new connections.

        The last to accept a packet takes the mark from its connection: the receiver, or table 73 on the way out.
        A port with a stateless group matches regardless of tracking, but a connection that a stateful port of this host
        began is still committed, or that port would not accept the answer.
        """
        known, new = (
            ("ct_state=+est-rel-rpl", "ct_state=+new-est") if self.is_stateful else ("ct_state=-new", "ct_state=+new")
        )
        if direction == "egress":
            accept = f"resubmit(,{ACCEPT_OR_INGRESS})"
            return (known, accept), (new, accept)
        return (
            (f"{known},ct_mark=0", self.output),
            (f"{known},ct_mark=0x1", f"{UNMARK},{self.output}"),
            (new, f"ct(commit,zone={CT_ZONE}),{self.output},resubmit(,{ACCEPTED_INGRESS})"),
        )


def conjunction_of(view: View, rule: IntentRule) -> int:
    """The number of the group, direction and ethertype of a rule with a remote group."""
    number: int = view.common(_COMMON, (rule.remote_id, rule.direction, rule.ethertype))
    return number


def _plan_zone(view: View, draft: Draft, network_id: str) -> None:
    """What the ports of a network may have in its zone, and how much the zone holds."""
    network = view.network(network_id)
    filtered = _stateful_ports(view, network_id)
    if network is None or not filtered:
        return
    ports = tuple(tracked_port(each.port, each.ofport, each.rules) for each in filtered)
    draft.datapath.append(rows.DatapathSetting(f"ct-limit-{network.local_vlan}", CONNECTION_LIMIT))
    draft.zones.append(rows.TrackedZone("datapath", network.local_vlan, ports))


def _plan_zone_groups(view: View, draft: Draft, network_id: str) -> None:
    """The groups that these ports' rules name: members come and go without a look at the ports."""
    network = view.network(network_id)
    rules = {rule.id: rule for each in _stateful_ports(view, network_id) for rule in each.rules}
    groups = tracked_groups(view, rules.values())
    if network is not None and groups:
        draft.zones.append(rows.TrackedZone("datapath", network.local_vlan, groups=groups))


def _stateful_ports(view: View, network_id: str) -> list[FilteredPort]:
    network = view.network(network_id)
    if network is None:
        return []
    found = (
        FilteredPort(port, port.ofport, network.local_vlan, view.security_groups(port.security_groups))
        for port in view.ports_of(network_id)
        if port.ofport is not None and port.port_security_enabled and not is_dead(port) and not is_of_network(port)
    )
    return [each for each in found if each.is_stateful]


def _plan_member(view: View, draft: Draft, member_id: str) -> None:
    """One flow for each address of a member of a remote group: the first clause of the group's conjunctions."""
    member = view.member(member_id)
    if member is not None:
        _add_remote(view, draft, member.group_id, member.addresses)


def _plan_address_group(view: View, draft: Draft, group_id: str) -> None:
    """The same for each prefix of an address group."""
    group = view.address_group(group_id)
    if group is not None:
        _add_remote(view, draft, group_id, group.addresses)


def _add_remote(view: View, draft: Draft, group_id: str, addresses: Iterable[str]) -> None:
    for direction, table, end in (("egress", RULES_EGRESS, "dst"), ("ingress", RULES_INGRESS, "src")):
        for ethertype, family, word, name in (("IPv4", 4, "ip", f"nw_{end}"), ("IPv6", 6, "ipv6", f"ipv6_{end}")):
            number = view.common(_COMMON, (group_id, direction, ethertype))
            if number is None:
                continue
            for address in addresses:
                if version(address) == family:
                    match = joined(word, _field(name, address))
                    draft.conjunction(INTEGRATION, table, REMOTE_GROUP_PRIORITY, match, (number, 1, 2))


def _conjunction_numbers(site: Site, used: Iterable[str]) -> _Conjunctions:
    """A number for each remote group, direction and ethertype that rules of the groups in use name.

    Groups that hash alike move up, in order.
    """
    wanted = sorted(
        {
            (rule.remote_id, rule.direction, rule.ethertype)
            for group_id in used
            if group_id in site.intent.security_groups
            for rule in site.intent.security_groups[group_id].rules
            if rule.remote_id is not None
        }
    )
    taken: set[int] = set()
    numbers: _Conjunctions = {}
    for key in wanted:
        number = int.from_bytes(hashlib.sha256("/".join(key).encode()).digest()[:4], "big")
        while number == 0 or number in taken:
            number = (number + 1) & 0xFFFFFFFF
        taken.add(number)
        numbers[key] = number
    return numbers


def family_of(rule: IntentRule) -> str:
    return "ip" if rule.ethertype == "IPv4" else "ipv6"


def priority_offset(rule: IntentRule) -> int:
    """Neutron's order among plain rules: any protocol, ICMP, ICMP with a type, everything else."""
    if rule.protocol in (None, 0):
        return 0
    if rule.protocol in (_ICMP, _ICMP6):
        if rule.port_range_min is None:
            return 1
        return 2 if rule.port_range_max is None else 3
    return 3


def rule_matches(rule: IntentRule) -> Iterator[tuple[str, list[str]]]:
    """The rule as (protocol word, fields after reg5), one for each mask of a port range."""
    is_four = rule.ethertype == "IPv4"
    word = "ip" if is_four else "ipv6"
    remote: list[str] = []
    if rule.remote_ip_prefix is not None:
        if version(rule.remote_ip_prefix) != (4 if is_four else 6):
            return
        end = "dst" if rule.direction == "egress" else "src"
        remote = [_field(f"nw_{end}" if is_four else f"ipv6_{end}", rule.remote_ip_prefix)]
    protocol = rule.protocol
    if protocol in (None, 0):
        yield word, remote
    elif protocol in (_ICMP, _ICMP6):
        fields = [] if rule.port_range_min is None else [f"icmp_type={rule.port_range_min}"]
        if rule.port_range_min is not None and rule.port_range_max is not None:
            fields.append(f"icmp_code={rule.port_range_max}")
        yield "icmp" if is_four else "icmp6", remote + fields
    elif protocol in _PORT_PROTOCOLS:
        word = _PORT_PROTOCOLS[protocol] + ("" if is_four else "6")
        if rule.port_range_min is None:
            yield word, remote
            return
        high = rule.port_range_min if rule.port_range_max is None else rule.port_range_max
        for value, mask in port_masks(rule.port_range_min, high):
            yield word, remote + ([f"tp_dst={masked(value, mask)}"] if mask else [])
    else:
        yield word, [*remote, f"nw_proto={protocol}"]


def _field(name: str, address: str) -> str:
    """`name=address`, or nothing when the prefix holds every address."""
    text = prefix(address)
    return "" if text is None else f"{name}={text}"


def joined(*fields: str) -> str:
    return ",".join(field for field in fields if field)

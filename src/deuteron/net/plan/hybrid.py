"""Security groups by iptables on the instance's own Linux bridge: Neutron's `iptables_hybrid` firewall driver.

Frames on qbr pass iptables FORWARD (net.bridge.bridge-nf-call-iptables). Each filtered port has three chains, named by
the first ten characters of its id: `i…` what may reach the guest, `o…` what it may send, `s…` from which MAC and
address.

    FORWARD ── sg-chain ─┬─ i… ── rules ── sg-fallback (drop)
                         └─ o… ── DHCP, s…, rules ── sg-fallback (drop)

RETURN means accepted: sg-chain ends in ACCEPT. Each port has its own conntrack zone, since a packet between two guests
of one host passes two bridges, and an entry made on the first must not open the second. ARP is not seen by iptables, so
br-int checks it in tables 24 and 25.

Source: openstack/neutron, neutron/agent/linux/iptables_firewall.py and
neutron/plugins/ml2/drivers/openvswitch/agent/openflow/native/br_int.py (`install_arp_spoofing_protection`).
"""

from __future__ import annotations

import ipaddress
from typing import Literal

from deuteron.model.intent import IntentPort, IntentRule, IntentSecurityGroup
from deuteron.net import rows
from deuteron.net.pipeline import ARP_SPOOF, LOCAL_EGRESS, MAC_SPOOF
from deuteron.net.plan import names
from deuteron.net.plan.addresses import allowed_macs, allowed_pairs, prefix, version
from deuteron.net.plan.bridges import INTEGRATION
from deuteron.net.plan.draft import Draft, Phase, Site, View, is_dead
from deuteron.net.plan.tracking import publish_groups, tracked_groups, tracked_port
from deuteron.net.plan.wiring import trust_port

_PREFIX = "neutron-openvswi-"
_SG_CHAIN = f"{_PREFIX}sg-chain"
_FALLBACK = f"{_PREFIX}sg-fallback"
PORT_CONNECTION_LIMIT = 8_192
"""Open connections of one port, of each family, begun by the guest and by others. The kernel walks through all of
them for a new one (once in a clock tick), so a larger number would cost more than the table it protects."""

_FIRST_ZONE = 4097
_LAST_ZONE = 65535

_Family = Literal[4, 6]

_ETHERTYPES: dict[_Family, str] = {4: "IPv4", 6: "IPv6"}
# As iptables-save names them; other protocols by number (`/etc/protocols` is not consulted for these rules).
_PROTOCOL_NAMES = {1: "icmp", 6: "tcp", 17: "udp", 58: "ipv6-icmp", 132: "sctp", 136: "udplite", 33: "dccp"}
_UDPLITE = 136
_PORT_PROTOCOLS = (6, 17, 33, 132, _UDPLITE)
_ND_TO_GUEST = (130, 134, 135, 136)
_FRAGMENT_ZONE = 0xFFFF
"""Zone of connection tracking in which fragments are put together; no network has that local VLAN."""
_ND_FROM_UNSPECIFIED = (131, 135, 143)


def plan_hybrid_firewall(site: Site, draft: Draft) -> None:
    """Adds chains, sets and anti-spoofing flows of every instance port that is up."""
    filtered: list[_FilteredPort] = []
    open_taps: list[str] = []
    for port, network in site.instance_ports:
        if is_dead(port) or port.ofport is None:
            continue
        trust_port(draft, port.ofport, network.local_vlan)
        if port.port_security_enabled:
            groups = [site.intent.security_groups[g] for g in port.security_groups if g in site.intent.security_groups]
            filtered.append(_FilteredPort(port, port.ofport, groups))
            _add_spoofing_flows(draft, port, port.ofport)
        else:
            open_taps.append(names.tap_name(port.id))
    _add_ipsets(site, draft, filtered)
    publish_groups(site, draft, {group_id for member_of in filtered for group_id in member_of.port.security_groups})
    for member_of in filtered:
        draft.part(site, Phase.ZONE, member_of.port.id, _plan_zone)
    for member_of in filtered:
        draft.part(site, Phase.ZONE_GROUPS, member_of.port.id, _plan_zone_groups)
    draft.sysctl(
        rows.HOST,
        [("net.bridge.bridge-nf-call-iptables", "1"), ("net.bridge.bridge-nf-call-ip6tables", "1")],
    )
    for family in _ETHERTYPES:
        draft.iptables.append(_filter_table(family, filtered, open_taps))
        draft.iptables.append(_raw_table(family, filtered))


class _FilteredPort:
    def __init__(self, port: IntentPort, ofport: int, groups: list[IntentSecurityGroup]) -> None:
        self.port = port
        self.ofport = ofport
        self.tap = names.tap_name(port.id)
        self.qvb = names.qvb_name(port.id)
        self.rules = [rule for group in groups for rule in group.rules]
        self.is_stateful = all(group.stateful for group in groups)
        # 16 bits hold fewer zones than br-int has port numbers; two ports 61,439 numbers apart share one.
        self.zone = _FIRST_ZONE + ofport % (_LAST_ZONE - _FIRST_ZONE + 1)

    def chain(self, letter: str) -> str:
        return names.port_chain(letter, self.port.id)

    def ingress(self, family: _Family) -> list[str]:
        if family == 6:
            fixed = [f"-p ipv6-icmp -m icmp6 --icmpv6-type {kind} -j RETURN" for kind in _ND_TO_GUEST]
            fixed.append("-p udp -m udp --sport 547 --dport 546 -j RETURN")
        else:
            # The answer of DHCP comes before the guest has an address that a rule could name.
            fixed = ["-p udp -m udp --sport 67 --dport 68 -j RETURN"]
        return [*fixed, *self._rules(family, "ingress")]

    def egress(self, family: _Family) -> list[str]:
        spoof = f"-j {self.chain('s')}"
        if family == 4:
            fixed = [
                _comment(
                    "-s 0.0.0.0/32 -d 255.255.255.255/32 -p udp -m udp --sport 68 --dport 67",
                    "Allow DHCP client traffic.",
                    "RETURN",
                ),
                spoof,
                _comment("-p udp -m udp --sport 68 --dport 67", "Allow DHCP client traffic.", "RETURN"),
                _comment("-p udp -m udp --sport 67 --dport 68", "Prevent DHCP Spoofing by VM.", "DROP"),
            ]
        else:
            fixed = [
                _comment(
                    f"-s ::/128 -d ff02::/16 -p ipv6-icmp -m icmp6 --icmpv6-type {kind}",
                    "Allow IPv6 ICMP traffic.",
                    "RETURN",
                )
                for kind in _ND_FROM_UNSPECIFIED
            ]
            fixed += [
                spoof,
                _comment("-p ipv6-icmp -m icmp6 --icmpv6-type 134", "Drop IPv6 Router Advts from VM Instance.", "DROP"),
                _comment("-p ipv6-icmp", "Allow IPv6 ICMP traffic.", "RETURN"),
                _comment("-p udp -m udp --sport 546 --dport 547", "Allow DHCP client traffic.", "RETURN"),
                _comment("-p udp -m udp --sport 547 --dport 546", "Prevent DHCP Spoofing by VM.", "DROP"),
            ]
        return [*fixed, *self._rules(family, "egress")]

    def spoof(self, family: _Family) -> list[str]:
        four, six = allowed_pairs(self.port)
        rules = []
        for mac, address in four if family == 4 else six:
            source = _prefix_argument("-s", address)
            words = f"{source} -m mac --mac-source {mac}".strip()
            rules.append(_comment(words, "Allow traffic from defined IP/MAC pairs.", "RETURN"))
        return [*rules, _comment("", "Drop traffic without an IP/MAC allow rule.", "DROP")]

    def raw(self) -> list[str]:
        mine = self.port.id[4:]
        if self.is_stateful:
            comment, target = f"Set zone for {mine}", f"CT --zone {self.zone}"
        else:
            comment, target = f"Make {mine} stateless", "CT --notrack"
        matches = (f"-m physdev --physdev-in {self.qvb}", f"-i {self.qvb}", f"-m physdev --physdev-in {self.tap}")
        return [_comment(match, comment, target) for match in matches]

    def remote_groups(self, family: _Family) -> set[str]:
        return {
            rule.remote_id
            for rule in self.rules
            if rule.remote_id is not None and rule.ethertype == _ETHERTYPES[family]
        }

    def _rules(self, family: _Family, direction: str) -> list[str]:
        mine = [rule for rule in self.rules if rule.direction == direction and rule.ethertype == _ETHERTYPES[family]]
        lines = dict.fromkeys(line for line in (_rule_line(rule) for rule in mine) if line is not None)
        return [
            _comment(
                "-m state --state RELATED,ESTABLISHED",
                "Direct packets associated with a known session to the RETURN chain.",
                "RETURN",
            ),
            *([_connection_limit()] if self.is_stateful else []),
            *lines,
            _comment(
                "-m state --state INVALID",
                "Drop packets that appear related to an existing connection (e.g. TCP ACK/FIN) but do not have an "
                "entry in conntrack.",
                "DROP",
            ),
            _comment("", "Send unmatched traffic to the fallback chain.", _FALLBACK),
        ]


def _connection_limit() -> str:
    match = f"--connlimit-above {PORT_CONNECTION_LIMIT} --connlimit-mask 0 --connlimit-saddr"
    return _comment(f"-m state --state NEW -m connlimit {match}", "Limit the connections of one port.", "DROP")


def _add_spoofing_flows(draft: Draft, port: IntentPort, ofport: int) -> None:
    """ARP and neighbour advertisements only for the port's addresses, everything only from its MACs."""
    own = f"in_port={ofport}"
    draft.flow(INTEGRATION, 0, 10, f"arp,{own}", f"resubmit(,{ARP_SPOOF})")
    draft.flow(INTEGRATION, 0, 10, f"icmp6,{own},icmp_type=136", f"resubmit(,{ARP_SPOOF})")
    draft.flow(INTEGRATION, 0, 9, own, f"resubmit(,{MAC_SPOOF})")
    # A fragment does not show its type; connection tracking puts it together, and has no connection for neighbour
    # discovery, which must not come in fragments (RFC 6980 section 5).
    untyped = f"icmp6,{own},nw_frag=yes"
    draft.flow(INTEGRATION, 0, 11, untyped, f"ct(table={ARP_SPOOF},zone={_FRAGMENT_ZONE})")
    draft.flow(INTEGRATION, ARP_SPOOF, 3, f"ct_state=-inv+trk,{untyped}", f"ct_clear,resubmit(,{MAC_SPOOF})")
    four, six = allowed_pairs(port)
    for _, address in four:
        text = prefix(address)
        match = f"arp,{own}" if text is None else f"arp,{own},arp_spa={text}"
        draft.flow(INTEGRATION, ARP_SPOOF, 2, match, f"resubmit(,{MAC_SPOOF})")
    for _, address in six:
        text = prefix(address)
        target = "" if text is None else f",nd_target={text}"
        draft.flow(INTEGRATION, ARP_SPOOF, 2, f"icmp6,{own},icmp_type=136{target}", f"resubmit(,{MAC_SPOOF})")
    for mac in allowed_macs(port):
        draft.flow(INTEGRATION, MAC_SPOOF, 2, f"{own},dl_src={mac}", f"resubmit(,{LOCAL_EGRESS})")


def _add_ipsets(site: Site, draft: Draft, filtered: list[_FilteredPort]) -> None:
    for family, ethertype in _ETHERTYPES.items():
        for group_id in sorted({group for member_of in filtered for group in member_of.remote_groups(family)}):
            members = {_set_member(address) for address in site.addresses_of(group_id) if version(address) == family}
            draft.ipsets.append(
                rows.IpSet(
                    namespace=rows.HOST,
                    name=names.ipset_name(ethertype, group_id),
                    type=f"hash:net family {'inet' if family == 4 else 'inet6'}",
                    members=tuple(sorted(half for member in members for half in member)),
                )
            )


_WITHOUT_A_RULE = (
    rows.Allowance("egress", 6, 58),
    rows.Allowance("egress", 4, 17, 67),
    rows.Allowance("egress", 6, 17, 547),
    rows.Allowance("ingress", 4, 17, 68),
    rows.Allowance("ingress", 6, 17, 546),
)
"""What the chains return before any rule is asked, and so may be tracked: ICMPv6 of the guest, and DHCP."""


def _plan_zone(view: View, draft: Draft, port_id: str) -> None:
    member_of = _stateful_port(view, port_id)
    if member_of is not None:
        tracked = tracked_port(member_of.port, member_of.ofport, member_of.rules, _WITHOUT_A_RULE)
        draft.zones.append(rows.TrackedZone("kernel", member_of.zone, (tracked,)))


def _plan_zone_groups(view: View, draft: Draft, port_id: str) -> None:
    member_of = _stateful_port(view, port_id)
    groups = () if member_of is None else tracked_groups(view, member_of.rules)
    if member_of is not None and groups:
        draft.zones.append(rows.TrackedZone("kernel", member_of.zone, groups=groups))


def _stateful_port(view: View, port_id: str) -> _FilteredPort | None:
    port = view.port(port_id)
    if port is None or port.ofport is None:
        return None
    member_of = _FilteredPort(port, port.ofport, view.security_groups(port.security_groups))
    return member_of if member_of.is_stateful else None


def _set_member(text: str) -> tuple[str, ...]:
    """An address or prefix as ipset prints it. A hash:net set cannot hold /0, so that becomes its two halves."""
    network = ipaddress.ip_network(text, strict=False)
    if network.prefixlen == network.max_prefixlen:
        return (str(network.network_address),)
    if network.prefixlen == 0:
        return tuple(str(half) for half in network.subnets())
    return (str(network),)


def _filter_table(family: _Family, filtered: list[_FilteredPort], open_taps: list[str]) -> rows.IptablesTable:
    top = "neutron-filter-top"
    forward: list[str] = []
    incoming: list[str] = []
    sg_chain: list[str] = []
    chains: dict[str, list[str]] = {
        top: [f"-j {_PREFIX}local"],
        f"{_PREFIX}local": [],
        f"{_PREFIX}OUTPUT": [],
        _FALLBACK: [_comment("", "Default drop rule for unmatched traffic.", "DROP")],
    }
    for member_of in filtered:
        to_guest = f"-m physdev --physdev-out {member_of.tap} --physdev-is-bridged"
        from_guest = f"-m physdev --physdev-in {member_of.tap} --physdev-is-bridged"
        comment = "Direct traffic from the VM interface to the security group chain."
        forward += [_comment(to_guest, comment, _SG_CHAIN), _comment(from_guest, comment, _SG_CHAIN)]
        sg_chain.append(_comment(to_guest, "Jump to the VM specific chain.", member_of.chain("i")))
        sg_chain.append(_comment(from_guest, "Jump to the VM specific chain.", member_of.chain("o")))
        comment = "Direct incoming traffic from VM to the security group chain."
        incoming.append(_comment(from_guest, comment, member_of.chain("o")))
        chains[member_of.chain("i")] = member_of.ingress(family)
        chains[member_of.chain("o")] = member_of.egress(family)
        chains[member_of.chain("s")] = member_of.spoof(family)
    for tap in open_taps:
        comment = "Accept all packets when port security is disabled."
        for direction in ("--physdev-out", "--physdev-in"):
            forward.append(_comment(f"-m physdev {direction} {tap} --physdev-is-bridged", comment, "ACCEPT"))
        incoming.append(_comment(f"-m physdev --physdev-in {tap} --physdev-is-bridged", comment, "ACCEPT"))
    chains[f"{_PREFIX}FORWARD"] = forward
    chains[f"{_PREFIX}INPUT"] = incoming
    chains[_SG_CHAIN] = [*sg_chain, "-j ACCEPT"]
    return rows.IptablesTable(
        namespace=rows.HOST,
        family=family,
        table="filter",
        chains=_chains(chains),
        builtin=(
            ("INPUT", f"-j {_PREFIX}INPUT"),
            ("FORWARD", f"-j {top}"),
            ("FORWARD", f"-j {_PREFIX}FORWARD"),
            ("OUTPUT", f"-j {top}"),
            ("OUTPUT", f"-j {_PREFIX}OUTPUT"),
        ),
    )


def _raw_table(family: _Family, filtered: list[_FilteredPort]) -> rows.IptablesTable:
    prerouting = [line for member_of in filtered for line in member_of.raw()]
    return rows.IptablesTable(
        namespace=rows.HOST,
        family=family,
        table="raw",
        chains=_chains({f"{_PREFIX}PREROUTING": prerouting, f"{_PREFIX}OUTPUT": []}),
        builtin=(("PREROUTING", f"-j {_PREFIX}PREROUTING"), ("OUTPUT", f"-j {_PREFIX}OUTPUT")),
    )


def _rule_line(rule: IntentRule) -> str | None:
    """One rule as iptables-save prints it, or None for a prefix of the other family."""
    family = 4 if rule.ethertype == "IPv4" else 6
    is_ingress = rule.direction == "ingress"
    words: list[str] = []
    if rule.remote_ip_prefix is not None:
        if version(rule.remote_ip_prefix) != family:
            return None
        words.append(_prefix_argument("-s" if is_ingress else "-d", rule.remote_ip_prefix))
    words += _protocol_words(rule, family)
    if rule.remote_id is not None:
        name = names.ipset_name(rule.ethertype, rule.remote_id)
        words.append(f"-m set --match-set {name} {'src' if is_ingress else 'dst'}")
    return " ".join([word for word in words if word] + ["-j RETURN"])


def _protocol_words(rule: IntentRule, family: int) -> list[str]:
    protocol = rule.protocol
    if protocol in (None, 0):
        return []
    if family == 6 and protocol == 1:
        protocol = 58
    assert protocol is not None
    name = _PROTOCOL_NAMES.get(protocol, str(protocol))
    words = [f"-p {name}"]
    low, high = rule.port_range_min, rule.port_range_max
    if low is None:
        return words
    if protocol in (1, 58):
        module, option = ("icmp", "icmp") if protocol == 1 else ("icmp6", "icmpv6")
        words.append(f"-m {module} --{option}-type {low}" + ("" if high is None else f"/{high}"))
    elif protocol in _PORT_PROTOCOLS:
        ports = str(low) if high is None or high == low else f"{low}:{high}"
        # iptables has no match of its own for UDP-Lite.
        words.append(f"-m multiport --dports {ports}" if protocol == _UDPLITE else f"-m {name} --dport {ports}")
    return words


def _prefix_argument(option: str, text: str) -> str:
    network = ipaddress.ip_network(text, strict=False)
    return "" if network.prefixlen == 0 else f"{option} {network}"


def _comment(match: str, comment: str, target: str) -> str:
    return f'{match} -m comment --comment "{comment}" -j {target}'.strip()


def _chains(chains: dict[str, list[str]]) -> tuple[rows.IptablesChain, ...]:
    return tuple(rows.IptablesChain(name, tuple(rules)) for name, rules in sorted(chains.items()))

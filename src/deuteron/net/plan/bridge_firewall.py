"""Security groups as iptables sees them on a Linux bridge: chains, sets and zones of ports, for whoever has bridges.

Frames on a bridge pass iptables FORWARD (net.bridge.bridge-nf-call-iptables). Each filtered port has three chains,
named by the first ten characters of its id: `i…` what may reach the guest, `o…` what it may send, `s…` from which MAC
and address.

    FORWARD ── sg-chain ─┬─ i… ── rules ── sg-fallback (drop)
                         └─ o… ── DHCP, s…, rules ── sg-fallback (drop)

RETURN means accepted: sg-chain ends in ACCEPT. A packet between two ports of one bridge passes `o…` of the one and then
`i…` of the other. ARP is not seen by iptables.

Chains begin with the agent's name, as Neutron cuts it: `neutron-openvswi-` with `iptables_hybrid`, where each port has
a bridge, `neutron-linuxbri-` where each network has one.

Source: openstack/neutron, neutron/agent/linux/iptables_firewall.py.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

from deuteron.model.intent import IntentPort, IntentRule, IntentSecurityGroup
from deuteron.net import rows
from deuteron.net.plan import names
from deuteron.net.plan.addresses import allowed_pairs, version
from deuteron.net.plan.draft import Draft, Site

PORT_CONNECTION_LIMIT = 8_192
"""Open connections of one port, of each family, begun by the guest and by others. The kernel walks through all of
them for a new one (once in a clock tick), so a larger number would cost more than the table it protects."""

FIRST_ZONE = 4097
LAST_ZONE = 65535

Family = Literal[4, 6]

ETHERTYPES: dict[Family, str] = {4: "IPv4", 6: "IPv6"}
# As iptables-save names them; other protocols by number (`/etc/protocols` is not consulted for these rules).
_PROTOCOL_NAMES = {1: "icmp", 6: "tcp", 17: "udp", 58: "ipv6-icmp", 132: "sctp", 136: "udplite", 33: "dccp"}
_UDPLITE = 136
_PORT_PROTOCOLS = (6, 17, 33, 132, _UDPLITE)
_ND_TO_GUEST = (130, 134, 135, 136)
_ND_FROM_UNSPECIFIED = (131, 135, 143)


class FilteredPort:
    """A port with port security, and its chains."""

    def __init__(
        self, agent: names.FirewallAgent, port: IntentPort, ofport: int, groups: Sequence[IntentSecurityGroup]
    ) -> None:
        self.agent = agent
        self.port = port
        self.ofport = ofport
        self.tap = names.tap_name(port.id)
        self.rules = [rule for group in groups for rule in group.rules]
        self.is_stateful = all(group.stateful for group in groups)

    def chain(self, letter: str) -> str:
        return names.port_chain(letter, self.port.id, self.agent)

    def ingress(self, family: Family) -> list[str]:
        if family == 6:
            fixed = [f"-p ipv6-icmp -m icmp6 --icmpv6-type {kind} -j RETURN" for kind in _ND_TO_GUEST]
            fixed.append("-p udp -m udp --sport 547 --dport 546 -j RETURN")
        else:
            # The answer of DHCP comes before the guest has an address that a rule could name.
            fixed = ["-p udp -m udp --sport 67 --dport 68 -j RETURN"]
        return [*fixed, *self._rules(family, "ingress")]

    def egress(self, family: Family) -> list[str]:
        spoof = f"-j {self.chain('s')}"
        if family == 4:
            fixed = [
                comment_rule(
                    "-s 0.0.0.0/32 -d 255.255.255.255/32 -p udp -m udp --sport 68 --dport 67",
                    "Allow DHCP client traffic.",
                    "RETURN",
                ),
                spoof,
                comment_rule("-p udp -m udp --sport 68 --dport 67", "Allow DHCP client traffic.", "RETURN"),
                comment_rule("-p udp -m udp --sport 67 --dport 68", "Prevent DHCP Spoofing by VM.", "DROP"),
            ]
        else:
            fixed = [
                comment_rule(
                    f"-s ::/128 -d ff02::/16 -p ipv6-icmp -m icmp6 --icmpv6-type {kind}",
                    "Allow IPv6 ICMP traffic.",
                    "RETURN",
                )
                for kind in _ND_FROM_UNSPECIFIED
            ]
            fixed += [
                spoof,
                comment_rule(
                    "-p ipv6-icmp -m icmp6 --icmpv6-type 134", "Drop IPv6 Router Advts from VM Instance.", "DROP"
                ),
                comment_rule("-p ipv6-icmp", "Allow IPv6 ICMP traffic.", "RETURN"),
                comment_rule("-p udp -m udp --sport 546 --dport 547", "Allow DHCP client traffic.", "RETURN"),
                comment_rule("-p udp -m udp --sport 547 --dport 546", "Prevent DHCP Spoofing by VM.", "DROP"),
            ]
        return [*fixed, *self._rules(family, "egress")]

    def spoof(self, family: Family) -> list[str]:
        four, six = allowed_pairs(self.port)
        rules = []
        for mac, address in four if family == 4 else six:
            source = _prefix_argument("-s", address)
            words = f"{source} -m mac --mac-source {mac}".strip()
            rules.append(comment_rule(words, "Allow traffic from defined IP/MAC pairs.", "RETURN"))
        return [*rules, comment_rule("", "Drop traffic without an IP/MAC allow rule.", "DROP")]

    def tracking(self, matches: Iterable[str], zone: int) -> list[str]:
        """The rules that put what matches into a zone of connection tracking, or keep it out of all."""
        mine = self.port.id[4:]
        if self.is_stateful:
            comment, target = f"Set zone for {mine}", f"CT --zone {zone}"
        else:
            comment, target = f"Make {mine} stateless", "CT --notrack"
        return [comment_rule(match, comment, target) for match in matches]

    def remote_groups(self, family: Family) -> set[str]:
        return {
            rule.remote_id for rule in self.rules if rule.remote_id is not None and rule.ethertype == ETHERTYPES[family]
        }

    def _rules(self, family: Family, direction: str) -> list[str]:
        mine = [rule for rule in self.rules if rule.direction == direction and rule.ethertype == ETHERTYPES[family]]
        lines = dict.fromkeys(line for line in (_rule_line(rule) for rule in mine) if line is not None)
        fallback = comment_rule("", "Send unmatched traffic to the fallback chain.", f"{prefix(self.agent)}sg-fallback")
        if not self.is_stateful and self.agent == "linuxbri":
            # What it says to a stateful port of its bridge is tracked for that one: it must not pass for that here.
            return [*lines, fallback]
        return [
            comment_rule(
                "-m state --state RELATED,ESTABLISHED",
                "Direct packets associated with a known session to the RETURN chain.",
                "RETURN",
            ),
            *([_connection_limit()] if self.is_stateful else []),
            *lines,
            comment_rule(
                "-m state --state INVALID",
                "Drop packets that appear related to an existing connection (e.g. TCP ACK/FIN) but do not have an "
                "entry in conntrack.",
                "DROP",
            ),
            fallback,
        ]


def _connection_limit() -> str:
    match = f"--connlimit-above {PORT_CONNECTION_LIMIT} --connlimit-mask 0 --connlimit-saddr"
    return comment_rule(f"-m state --state NEW -m connlimit {match}", "Limit the connections of one port.", "DROP")


def add_ipsets(site: Site, draft: Draft, filtered: Sequence[FilteredPort]) -> None:
    """Adds the sets of addresses that rules of the ports name."""
    for family, ethertype in ETHERTYPES.items():
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


WITHOUT_A_RULE = (
    rows.Allowance("egress", 6, 58),
    rows.Allowance("egress", 4, 17, 67),
    rows.Allowance("egress", 6, 17, 547),
    rows.Allowance("ingress", 4, 17, 68),
    rows.Allowance("ingress", 6, 17, 546),
)
"""What the chains return before any rule is asked, and so may be tracked: ICMPv6 of the guest, and DHCP."""


def _set_member(text: str) -> tuple[str, ...]:
    """An address or prefix as ipset prints it. A hash:net set cannot hold /0, so that becomes its two halves."""
    network = ipaddress.ip_network(text, strict=False)
    if network.prefixlen == network.max_prefixlen:
        return (str(network.network_address),)
    if network.prefixlen == 0:
        return tuple(str(half) for half in network.subnets())
    return (str(network),)


class Bridged(NamedTuple):
    """The ports of a host behind Linux bridges, in order of id."""

    filtered: Sequence[FilteredPort]
    open_taps: Sequence[str]
    """Those without port security."""
    tracking: Mapping[Family, Sequence[str]]
    """The rules of table raw: in which zone of connection tracking a packet is."""


def prefix(agent: names.FirewallAgent) -> str:
    return f"neutron-{agent}-"


def add_tables(draft: Draft, agent: names.FirewallAgent, bridged: Bridged) -> None:
    """Adds the tables of both families, and that frames on bridges come to them."""
    draft.sysctl(
        rows.HOST,
        [("net.bridge.bridge-nf-call-iptables", "1"), ("net.bridge.bridge-nf-call-ip6tables", "1")],
    )
    for family in ETHERTYPES:
        draft.iptables.append(_filter_table(agent, family, bridged.filtered, bridged.open_taps))
        draft.iptables.append(_raw_table(agent, family, bridged.tracking[family]))


def _filter_table(
    agent: names.FirewallAgent, family: Family, filtered: Sequence[FilteredPort], open_taps: Sequence[str]
) -> rows.IptablesTable:
    own = prefix(agent)
    sg_name, fallback = f"{own}sg-chain", f"{own}sg-fallback"
    top = "neutron-filter-top"
    forward: list[str] = []
    incoming: list[str] = []
    to_guests: list[str] = []
    from_guests: list[str] = []
    chains: dict[str, list[str]] = {
        top: [f"-j {own}local"],
        f"{own}local": [],
        f"{own}OUTPUT": [],
        fallback: [comment_rule("", "Default drop rule for unmatched traffic.", "DROP")],
    }
    for member_of in filtered:
        to_guest = f"-m physdev --physdev-out {member_of.tap} --physdev-is-bridged"
        from_guest = f"-m physdev --physdev-in {member_of.tap} --physdev-is-bridged"
        comment = "Direct traffic from the VM interface to the security group chain."
        forward += [comment_rule(to_guest, comment, sg_name), comment_rule(from_guest, comment, sg_name)]
        to_guests.append(comment_rule(to_guest, "Jump to the VM specific chain.", member_of.chain("i")))
        from_guests.append(comment_rule(from_guest, "Jump to the VM specific chain.", member_of.chain("o")))
        comment = "Direct incoming traffic from VM to the security group chain."
        incoming.append(comment_rule(from_guest, comment, member_of.chain("o")))
        chains[member_of.chain("i")] = member_of.ingress(family)
        chains[member_of.chain("o")] = member_of.egress(family)
        chains[member_of.chain("s")] = member_of.spoof(family)
    for tap in open_taps:
        comment = "Accept all packets when port security is disabled."
        for direction in ("--physdev-out", "--physdev-in"):
            forward.append(comment_rule(f"-m physdev {direction} {tap} --physdev-is-bridged", comment, "ACCEPT"))
        incoming.append(comment_rule(f"-m physdev --physdev-in {tap} --physdev-is-bridged", comment, "ACCEPT"))
    chains[f"{own}FORWARD"] = forward
    chains[f"{own}INPUT"] = incoming
    chains[sg_name] = [*from_guests, *to_guests, "-j ACCEPT"]
    return rows.IptablesTable(
        namespace=rows.HOST,
        family=family,
        table="filter",
        chains=_chains(chains),
        builtin=(
            ("INPUT", f"-j {own}INPUT"),
            ("FORWARD", f"-j {top}"),
            ("FORWARD", f"-j {own}FORWARD"),
            ("OUTPUT", f"-j {top}"),
            ("OUTPUT", f"-j {own}OUTPUT"),
        ),
    )


def _raw_table(agent: names.FirewallAgent, family: Family, prerouting: Sequence[str]) -> rows.IptablesTable:
    own = prefix(agent)
    return rows.IptablesTable(
        namespace=rows.HOST,
        family=family,
        table="raw",
        chains=_chains({f"{own}PREROUTING": list(prerouting), f"{own}OUTPUT": []}),
        builtin=(("PREROUTING", f"-j {own}PREROUTING"), ("OUTPUT", f"-j {own}OUTPUT")),
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


def comment_rule(match: str, comment: str, target: str) -> str:
    """A rule with a comment, as iptables-save prints it."""
    return f'{match} -m comment --comment "{comment}" -j {target}'.strip()


def _chains(chains: dict[str, list[str]]) -> tuple[rows.IptablesChain, ...]:
    return tuple(rows.IptablesChain(name, tuple(rules)) for name, rules in sorted(chains.items()))

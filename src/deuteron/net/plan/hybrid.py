"""Security groups by iptables on the instance's own Linux bridge: Neutron's `iptables_hybrid` firewall driver.

The chains are those of `bridge_firewall`. Each port has its own conntrack zone, since a packet between two guests of
one host passes two bridges, and an entry made on the first must not open the second. ARP is not seen by iptables, so
br-int checks it in tables 24 and 25.

Source: openstack/neutron, neutron/agent/linux/iptables_firewall.py and
neutron/plugins/ml2/drivers/openvswitch/agent/openflow/native/br_int.py (`install_arp_spoofing_protection`).
"""

from __future__ import annotations

from deuteron.model.intent import IntentPort
from deuteron.net import rows
from deuteron.net.pipeline import ARP_SPOOF, LOCAL_EGRESS, MAC_SPOOF
from deuteron.net.plan import names
from deuteron.net.plan.addresses import allowed_macs, allowed_pairs, prefix
from deuteron.net.plan.bridge_firewall import (
    ETHERTYPES,
    FIRST_ZONE,
    LAST_ZONE,
    WITHOUT_A_RULE,
    Bridged,
    FilteredPort,
    add_ipsets,
    add_tables,
)
from deuteron.net.plan.bridges import INTEGRATION
from deuteron.net.plan.draft import Draft, Phase, Site, View, is_dead
from deuteron.net.plan.tracking import publish_groups, tracked_groups, tracked_port
from deuteron.net.plan.wiring import trust_port

_FRAGMENT_ZONE = 0xFFFF
"""Zone of connection tracking in which fragments are put together; no network has that local VLAN."""


def plan_hybrid_firewall(site: Site, draft: Draft) -> None:
    """Adds chains, sets and anti-spoofing flows of every instance port that is up."""
    filtered: list[FilteredPort] = []
    open_taps: list[str] = []
    for port, network in site.instance_ports:
        if is_dead(port) or port.ofport is None:
            continue
        trust_port(draft, port.ofport, network.local_vlan)
        if port.port_security_enabled:
            groups = [site.intent.security_groups[g] for g in port.security_groups if g in site.intent.security_groups]
            filtered.append(FilteredPort("openvswi", port, port.ofport, groups))
            _add_spoofing_flows(draft, port, port.ofport)
        else:
            open_taps.append(names.tap_name(port.id))
    add_ipsets(site, draft, filtered)
    publish_groups(site, draft, {group_id for member_of in filtered for group_id in member_of.port.security_groups})
    for member_of in filtered:
        draft.part(site, Phase.ZONE, member_of.port.id, _plan_zone)
    for member_of in filtered:
        draft.part(site, Phase.ZONE_GROUPS, member_of.port.id, _plan_zone_groups)
    tracking = [line for member_of in filtered for line in _tracking(member_of)]
    add_tables(draft, "openvswi", Bridged(filtered, open_taps, dict.fromkeys(ETHERTYPES, tracking)))


def _zone(ofport: int) -> int:
    # 16 bits hold fewer zones than br-int has port numbers; two ports 61,439 numbers apart share one.
    return FIRST_ZONE + ofport % (LAST_ZONE - FIRST_ZONE + 1)


def _tracking(member_of: FilteredPort) -> list[str]:
    qvb = names.qvb_name(member_of.port.id)
    matches = (f"-m physdev --physdev-in {qvb}", f"-i {qvb}", f"-m physdev --physdev-in {member_of.tap}")
    return member_of.tracking(matches, _zone(member_of.ofport))


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


def _plan_zone(view: View, draft: Draft, port_id: str) -> None:
    member_of = _stateful_port(view, port_id)
    if member_of is not None:
        tracked = tracked_port(member_of.port, member_of.ofport, member_of.rules, WITHOUT_A_RULE)
        draft.zones.append(rows.TrackedZone("kernel", _zone(member_of.ofport), (tracked,)))


def _plan_zone_groups(view: View, draft: Draft, port_id: str) -> None:
    member_of = _stateful_port(view, port_id)
    groups = () if member_of is None else tracked_groups(view, member_of.rules)
    if member_of is not None and groups:
        draft.zones.append(rows.TrackedZone("kernel", _zone(member_of.ofport), groups=groups))


def _stateful_port(view: View, port_id: str) -> FilteredPort | None:
    port = view.port(port_id)
    if port is None or port.ofport is None:
        return None
    member_of = FilteredPort("openvswi", port, port.ofport, view.security_groups(port.security_groups))
    return member_of if member_of.is_stateful else None

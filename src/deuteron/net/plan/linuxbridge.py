"""Networks as Linux bridges of the kernel: what the mechanism `linuxbridge` adds to a host.

    guest ── tapXXXXXXXX-XX ─┐
    guest ── tapXXXXXXXX-XX ─┴─ brqXXXXXXXX-XX ── eth2.1000 ── eth2        VLAN
                                brqXXXXXXXX-XX ── eth3                     flat
                                brqXXXXXXXX-XX ── vxlan-13 ── the address of eth1, to each peer with ports there

A VXLAN device floods to the peers that have ports of its network and knows their MACs, as br-tun does (L2 population);
it learns others, as br-tun does. Both speak RFC 7348 over the same port, so a network may be on hosts of both kinds.

Where the kernel makes no VLAN devices, a physical bridge of Open vSwitch puts the tags on, and `eth2.1000` is one end
of a pair to an access port of it:

                                brqXXXXXXXX-XX ── eth2.1000 ═ lboXXXXXXXX-XX ── br-eth2 ── eth2
                                brqXXXXXXXX-XX ── eth3.0 ═ lboXXXXXXXX-XX ── br-ex ── eth3

iptables filters what passes a bridge (`bridge_firewall`), with one zone of connection tracking for each network, and
`FrameGuard` what iptables does not see.

Source: openstack/neutron 2024.2, neutron/plugins/ml2/drivers/linuxbridge/agent/linuxbridge_neutron_agent.py, for all
names and for what is in which bridge. Neutron's bridges learn; a bridge that did not would send every guest's frames to
all others (OSSA-2019-004).
"""

from __future__ import annotations

import ipaddress
from collections import defaultdict
from typing import Literal

from deuteron.model.intent import LINUX_BRIDGE, HostSettings, IntentNetwork, IntentPort
from deuteron.net import bridge_rows, rows
from deuteron.net.plan import names
from deuteron.net.plan.addresses import allowed_macs, allowed_pairs
from deuteron.net.plan.bridge_firewall import (
    ETHERTYPES,
    FIRST_ZONE,
    WITHOUT_A_RULE,
    Bridged,
    Family,
    FilteredPort,
    add_ipsets,
    add_tables,
    comment_rule,
)
from deuteron.net.plan.bridges import add_bridge, add_physical_interface
from deuteron.net.plan.draft import Draft, Phase, Site, View, is_dead
from deuteron.net.plan.tracking import publish_groups, tracked_groups, tracked_port
from deuteron.net.plan.tunnels import publish_tunnels, stations
from deuteron.net.plan.wiring import add_tap, keep_host_out

_FIRST_OFPORT = 2
"""On a physical bridge of the switch the interface is 1; the local tag of a network is its own on a host."""
_UNTAGGED = 0


def plan_linuxbridge(site: Site, draft: Draft) -> None:
    """Adds a bridge for each network that is here, its way to other hosts, and the taps of its ports."""
    _plan_interfaces(site, draft)
    publish_tunnels(site, draft)
    for network_id in sorted(site.intent.networks):
        draft.part(site, Phase.NETWORK, network_id, _plan_network)
    ports = site.ports_wired_by(LINUX_BRIDGE)
    for port, _ in ports:
        draft.part(site, Phase.WIRING, port.id, _plan_port)
    _plan_firewall(site, draft)


def has_vlan_devices(settings: HostSettings) -> bool:
    """Whether the kernel puts tags on frames here, and not the switch."""
    return "vlan" in settings.device_kinds


def _plan_interfaces(site: Site, draft: Draft) -> None:
    settings = site.settings
    for bridge, address in sorted(settings.bridge_addresses.items()):
        interface = settings.bridge_ports.get(bridge, bridge)
        draft.links.append(rows.Link(rows.HOST, interface, "existing"))
        draft.addresses.append(rows.Address(rows.HOST, interface, address))
    for bridge in site.physical_bridges:
        if has_vlan_devices(settings):
            if bridge in settings.bridge_ports and not _is_taken(site, bridge):
                draft.links.append(rows.Link(rows.HOST, settings.bridge_ports[bridge], "existing"))
        else:
            add_bridge(site, draft, bridge, "physical")
            add_physical_interface(site, draft, bridge)


def _is_taken(site: Site, bridge: str) -> bool:
    """Whether the interface of a bridge is in the Linux bridge of a flat network here."""
    return any(
        network.network_type == "flat" and site.bridge_of(network) == bridge
        for network in site.intent.networks.values()
    )


def _plan_network(view: View, draft: Draft, network_id: str) -> None:
    network = view.network(network_id)
    if network is None:
        return
    brq = names.brq_name(network.id)
    draft.links.append(rows.Link(rows.HOST, brq, "bridge", mtu_bytes=network.mtu_bytes, learns=True))
    keep_host_out(draft, brq)
    uplink = _uplink(view, draft, network, brq)
    if uplink is not None:
        keep_host_out(draft, uplink)
        draft.own(bridge_rows.GUARD_TABLE, bridge_rows.FrameGuard(uplink))


def _uplink(view: View, draft: Draft, network: IntentNetwork, brq: str) -> str | None:
    """Adds the device by which a network leaves the host; its name, None where there is no way out."""
    if network.network_type == "vxlan":
        return _vxlan(view, draft, network, brq)
    bridge = view.bridge_of(network)
    interface = view.settings.bridge_ports.get(bridge or "")
    if bridge is None or interface is None:
        return None  # a local network, or the mapping went after the port was bound
    if not has_vlan_devices(view.settings):
        return _switched(draft, network, brq, bridge, interface)
    if network.network_type == "flat":
        draft.links.append(rows.Link(rows.HOST, interface, "existing", master=brq))
        return interface
    assert network.segmentation_id is not None  # of a VLAN
    name = names.vlan_device(interface, network.segmentation_id)
    tag, mtu = network.segmentation_id, network.mtu_bytes
    draft.links.append(rows.Link(rows.HOST, name, "vlan", mtu_bytes=mtu, master=brq, vlan_id=tag, parent=interface))
    return name


def _switched(draft: Draft, network: IntentNetwork, brq: str, bridge: str, interface: str) -> str:
    """The way out through the switch, which takes the place of a VLAN device."""
    tag = network.segmentation_id or _UNTAGGED
    inner, outer = names.vlan_device(interface, tag), names.switched_name(network.id)
    mtu = network.mtu_bytes
    draft.links.append(rows.Link(rows.HOST, inner, "veth", mtu_bytes=mtu, master=brq, peer=outer))
    draft.links.append(rows.Link(rows.HOST, outer, "existing", mtu_bytes=mtu))
    keep_host_out(draft, outer)
    draft.ovs_ports.append(
        rows.OvsPort(
            bridge=bridge,
            name=outer,
            type="system",
            ofport_request=_FIRST_OFPORT + network.local_vlan,
            tag=tag,
            external_ids=(("deuteron-id", network.id),),
        )
    )
    return inner


def _vxlan(view: View, draft: Draft, network: IntentNetwork, brq: str) -> str | None:
    vni, local_ip = network.segmentation_id, view.settings.tunnel_ip
    if vni is None or local_ip is None:
        return None
    name = names.vxlan_device(vni)
    mtu = network.mtu_bytes
    draft.links.append(rows.Link(rows.HOST, name, "vxlan", mtu_bytes=mtu, master=brq, vni=vni, local_ip=local_ip))
    for port, tunnel_ip, _ in stations(view, network):
        draft.own(bridge_rows.FDB_TABLE, bridge_rows.FdbEntry(name, bridge_rows.NOBODY_KNOWN, tunnel_ip))
        draft.own(bridge_rows.FDB_TABLE, bridge_rows.FdbEntry(name, port.mac_address, tunnel_ip))
    return name


def _plan_port(view: View, draft: Draft, port_id: str) -> None:
    port = view.port(port_id)
    network = None if port is None else view.network(port.network_id)
    if port is None or network is None:
        return
    tap = add_tap(draft, port, network.mtu_bytes, names.brq_name(network.id), is_up=not is_dead(port))
    draft.own(bridge_rows.GUARD_TABLE, _guard(tap, port))


def _guard(tap: str, port: IntentPort) -> bridge_rows.FrameGuard:
    if not port.port_security_enabled:
        return bridge_rows.FrameGuard(tap)
    four, six = allowed_pairs(port)
    own = {str(ipaddress.ip_network(address, strict=False)) for _, address in (*four, *six)}
    return bridge_rows.FrameGuard(tap, tuple(sorted(allowed_macs(port))), tuple(sorted(own)))


# --- the firewall -----------------------------------------------------------------------------------------------------


def _plan_firewall(site: Site, draft: Draft) -> None:
    filtered: list[FilteredPort] = []
    open_taps: list[str] = []
    of_network: dict[str, list[FilteredPort]] = defaultdict(list)
    for port, network in site.ports_wired_by(LINUX_BRIDGE):
        if is_dead(port):
            continue
        if not port.port_security_enabled:
            open_taps.append(names.tap_name(port.id))
            draft.part(site, Phase.ZONE, port.id, _plan_open_zone)
            continue
        groups = [site.intent.security_groups[id] for id in port.security_groups if id in site.intent.security_groups]
        member = FilteredPort("linuxbri", port, port.ofport, groups)
        filtered.append(member)
        of_network[network.id].append(member)
    add_ipsets(site, draft, filtered)
    publish_groups(site, draft, {group_id for member in filtered for group_id in member.port.security_groups})
    for member in filtered:
        draft.part(site, Phase.ZONE, member.port.id, _plan_zone)
    for member in filtered:
        draft.part(site, Phase.ZONE_GROUPS, member.port.id, _plan_zone_groups)
    networks = [site.intent.networks[id] for id in sorted(of_network)]
    tracking = {
        family: [line for network in networks for line in _tracking(network, of_network[network.id], family)]
        for family in ETHERTYPES
    }
    add_tables(draft, "linuxbri", Bridged(filtered, open_taps, tracking))


def _zone(network: IntentNetwork) -> int:
    return FIRST_ZONE + network.local_vlan


def _tracking(network: IntentNetwork, members: list[FilteredPort], family: Family) -> list[str]:
    """One zone for all of a network; with stateless ports, what is to or from one is in none.

    Unless a stateful port is at the other end: the first rule that is met decides.
    """
    brq, zone = names.brq_name(network.id), _zone(network)
    lines: list[str] = []
    if any(not member.is_stateful for member in members):
        for is_stateful in (True, False):
            for member in members:
                if member.is_stateful is is_stateful:
                    own = allowed_pairs(member.port)[0 if family == 4 else 1]
                    targets = dict.fromkeys(ipaddress.ip_network(address, strict=False) for _, address in own)
                    to_it = [f"-d {target} -i {brq}" if target.prefixlen else f"-i {brq}" for target in targets]
                    lines += member.tracking([f"-m physdev --physdev-in {member.tap}", *to_it], zone)
    return [*lines, comment_rule(f"-i {brq}", f"Set zone for {network.id[4:]}", f"CT --zone {zone}")]


_WAYS: tuple[Literal["egress", "ingress"], ...] = ("egress", "ingress")
_ANYTHING = tuple(rows.Allowance(way, family) for way in _WAYS for family in ETHERTYPES)


def _plan_open_zone(view: View, draft: Draft, port_id: str) -> None:
    """A port without port security shares the zone of its network: what it has there is its own, and stays."""
    port = view.port(port_id)
    network = None if port is None else view.network(port.network_id)
    if port is not None and network is not None:
        tracked = tracked_port(port, port.ofport, (), _ANYTHING)
        draft.zones.append(rows.TrackedZone("kernel", _zone(network), (tracked,)))


def _plan_zone(view: View, draft: Draft, port_id: str) -> None:
    member, network = _stateful_port(view, port_id)
    if member is not None and network is not None:
        tracked = tracked_port(member.port, member.ofport, member.rules, WITHOUT_A_RULE)
        draft.zones.append(rows.TrackedZone("kernel", _zone(network), (tracked,)))


def _plan_zone_groups(view: View, draft: Draft, port_id: str) -> None:
    member, network = _stateful_port(view, port_id)
    groups = () if member is None else tracked_groups(view, member.rules)
    if network is not None and groups:
        draft.zones.append(rows.TrackedZone("kernel", _zone(network), groups=groups))


def _stateful_port(view: View, port_id: str) -> tuple[FilteredPort | None, IntentNetwork | None]:
    port = view.port(port_id)
    network = None if port is None else view.network(port.network_id)
    if port is None or network is None:
        return None, None
    member = FilteredPort("linuxbri", port, port.ofport, view.security_groups(port.security_groups))
    return (member, network) if member.is_stateful else (None, network)

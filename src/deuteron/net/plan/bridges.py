"""Bridges, the patches between them, physical interfaces, and the change between local and provider tags.

    eth2 ── br-eth2 ── phy-br-eth2 ═ int-br-eth2 ── br-int ── patch-tun ═ patch-int ── br-tun
      1                     2             1…                     next          1

    eth1 ── br-eth1 (its own port has the tunnel address)
      1

The userspace datapath sends a tunnel's outer packet through the bridge whose own port has a route to the peer, and
nowhere else; so the interface that carries tunnels is a port of a bridge of its own (ovs, Documentation/howto/
userspace-tunneling.rst).

Port numbers are fixed (see `net.rows`), so that flows are plain text.
"""

from __future__ import annotations

import ipaddress

from deuteron.model.intent import IntentNetwork
from deuteron.net import rows
from deuteron.net.pipeline import (
    ACCEPTED_EGRESS_NORMAL,
    PATCH_INT_OFPORT,
    TO_MANY,
    TRANSIENT,
    BridgeKind,
    tables_of,
)
from deuteron.net.plan import names
from deuteron.net.plan.draft import Draft, Phase, Site, View

INTEGRATION = "br-int"
TUNNEL = "br-tun"

PHYSICAL_OFPORT = 1
PHY_OFPORT = 2
_VID_PRESENT = 0x1000


_SMALLEST_FRAGMENT_BYTES = 400
"""The userspace datapath refuses smaller ones, and by default those under 1200 (IPv6: 1280), which networks with a
small MTU send. Source: ovs, lib/ipf.c, IPF_V4_FRAG_SIZE_LBOUND."""


def plan_bridges(site: Site, draft: Draft) -> None:
    """Adds every bridge with its patches and own rules, and the tag rewriting of each flat or VLAN network."""
    add_bridge(site, draft, INTEGRATION, "integration")
    for bridge in site.physical_bridges:
        add_bridge(site, draft, bridge, "physical")
        ours, theirs = names.patch_name("int-", bridge), names.patch_name("phy-", bridge)
        _patch(draft, INTEGRATION, ours, theirs, site.patch_ofports[ours])
        _patch(draft, bridge, theirs, ours, PHY_OFPORT)
        add_physical_interface(site, draft, bridge)
        draft.flow(INTEGRATION, 0, 2, f"in_port={site.patch_ofports[ours]}", "drop")
        draft.flow(bridge, 0, 2, f"in_port={PHY_OFPORT}", "drop")
    if site.has_tunnel_bridge:
        add_bridge(site, draft, TUNNEL, "tunnel")
        _patch(draft, INTEGRATION, "patch-tun", "patch-int", site.patch_ofports["patch-tun"])
        _patch(draft, TUNNEL, "patch-int", "patch-tun", PATCH_INT_OFPORT)
    for bridge in sorted(set(site.settings.bridge_ports) - set(site.physical_bridges)):
        add_bridge(site, draft, bridge, "physical")
        add_physical_interface(site, draft, bridge)
    for bridge, address in sorted(site.settings.bridge_addresses.items()):
        draft.links.append(rows.Link(namespace=rows.HOST, name=bridge, kind="existing"))
        draft.addresses.append(rows.Address(rows.HOST, bridge, address))
    if site.settings.datapath_type == "netdev":
        for family in ("v4", "v6"):
            draft.datapath.append(rows.DatapathSetting(f"min-frag-{family}", _SMALLEST_FRAGMENT_BYTES))
    tag_to_reg6 = "move:NXM_OF_VLAN_TCI[0..11]->NXM_NX_REG6[0..11]"
    for ofport in site.patch_ofports.values():
        actions = f"{tag_to_reg6},resubmit(,{ACCEPTED_EGRESS_NORMAL})"
        draft.flow(INTEGRATION, TRANSIENT, 1, f"in_port={ofport}", actions)
    for network_id in sorted(site.intent.networks):
        draft.part(site, Phase.NETWORK, network_id, _plan_network)


def _plan_network(view: View, draft: Draft, network_id: str) -> None:
    network = view.network(network_id)
    if network is not None:
        _provider_tags(view, draft, network)
        _subnet_broadcasts(draft, network)


def _subnet_broadcasts(draft: Draft, network: IntentNetwork) -> None:
    """Lets packets to the broadcast address of a subnet travel in frames to many, in their own network only.

    In another network the same address may be a guest's.
    """
    for subnet in network.subnets:
        cidr = ipaddress.ip_network(subnet.cidr)
        if cidr.version == 4 and cidr.prefixlen < 31:
            match = f"ip,reg6={network.local_vlan:#x},{TO_MANY},nw_dst={cidr.broadcast_address}"
            draft.flow(INTEGRATION, ACCEPTED_EGRESS_NORMAL, 3, match, "NORMAL")


def add_bridge(site: Site, draft: Draft, name: str, kind: BridgeKind) -> None:
    """Adds a bridge of the switch with what its tables do with whatever nothing else is said of."""
    draft.bridges.append(rows.OvsBridge(name=name, datapath_type=site.settings.datapath_type))
    for table in tables_of(kind):
        for miss in table.misses:
            draft.flow(name, table.number, miss.priority, miss.match, miss.actions)


def _patch(draft: Draft, bridge: str, name: str, peer: str, ofport: int) -> None:
    draft.ovs_ports.append(
        rows.OvsPort(
            bridge=bridge,
            name=name,
            type="patch",
            ofport_request=ofport,
            options=(("peer", peer),),
            external_ids=(("deuteron-id", bridge),),
        )
    )


def add_physical_interface(site: Site, draft: Draft, bridge: str) -> None:
    """Adds the interface that carries a bridge."""
    interface = site.settings.bridge_ports.get(bridge)
    if interface is None:
        return
    draft.ovs_ports.append(
        rows.OvsPort(
            bridge=bridge,
            name=interface,
            type="system",
            ofport_request=PHYSICAL_OFPORT,
            external_ids=(("deuteron-id", bridge),),
        )
    )
    draft.links.append(rows.Link(namespace=rows.HOST, name=interface, kind="existing"))


def provider_match(network: IntentNetwork) -> tuple[str, str] | None:
    """What frames of a flat or VLAN network look like on their physical bridge, and what gives them the local tag."""
    local = _VID_PRESENT | network.local_vlan
    if network.network_type == "flat":
        return "vlan_tci=0x0000/0x1fff", f"push_vlan:0x8100,set_field:{local}->vlan_vid"
    if network.segmentation_id is not None:
        return f"dl_vlan={network.segmentation_id}", f"set_field:{local}->vlan_vid"
    return None


def provider_tag(network: IntentNetwork) -> str:
    """The way back."""
    if network.network_type == "flat":
        return "pop_vlan,NORMAL"
    return f"set_field:{_VID_PRESENT | (network.segmentation_id or 0)}->vlan_vid,NORMAL"


def _provider_tags(view: View, draft: Draft, network: IntentNetwork) -> None:
    """The two flows of seed D: provider tag to local tag on br-int, and back on the physical bridge."""
    bridge = view.bridge_of(network)
    match = None if bridge is None else provider_match(network)
    if bridge is None or match is None:
        return
    in_port = f"in_port={view.patch_ofport(names.patch_name('int-', bridge))}"
    tagged, to_local = match
    draft.flow(INTEGRATION, 0, 3, f"{in_port},{tagged}", f"{to_local},goto_table:58")
    draft.flow(bridge, 0, 4, f"in_port={PHY_OFPORT},dl_vlan={network.local_vlan}", provider_tag(network))

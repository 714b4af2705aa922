"""br-tun: tunnels to the other hosts, and which MAC of which network lives behind which of them.

One tunnel port for each peer and type that both ends speak. Its number derives from the peer's address, so that a
host that joins or leaves moves nobody else's port or flows. Known MACs are entries of table 20 (L2 population);
broadcasts go only to hosts where the network has a port.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from typing import Literal

from deuteron.model.intent import IntentNetwork, IntentRemotePort, TunnelPeer
from deuteron.net import rows
from deuteron.net.pipeline import (
    DVR_NOT_LEARN,
    FLOOD_TO_TUNNELS,
    LEARN,
    LOCAL_SWITCHING,
    PATCH_INT_OFPORT,
    PATCH_TO_TUNNELS,
    TUNNEL_TABLE,
    UNICAST_TO_TUNNELS,
)
from deuteron.net.plan.bridges import TUNNEL
from deuteron.net.plan.distributed import attached_to
from deuteron.net.plan.draft import TUNNEL_TYPES, Draft, Phase, Site, View

_FIRST_TUNNEL_OFPORT = 2
_SLOTS = 1 << 14
_VID_PRESENT = 0x1000
_COMMON = "tunnel"


def plan_tunnels(site: Site, draft: Draft) -> None:
    """Adds decapsulation for each tunnel network, and ports and forwarding entries where there are peers."""
    if not site.has_tunnel_bridge:
        return
    draft.flow(TUNNEL, LOCAL_SWITCHING, 1, f"in_port={PATCH_INT_OFPORT}", f"goto_table:{PATCH_TO_TUNNELS}")
    ofports = _tunnel_ofports(site)
    for (tunnel_ip, kind), ofport in sorted(ofports.items()):
        _tunnel_port(site, draft, tunnel_ip, kind, ofport)
        draft.flow(TUNNEL, LOCAL_SWITCHING, 1, f"in_port={ofport}", f"goto_table:{TUNNEL_TABLE[kind]}")
    publish_tunnels(site, draft)
    for network_id in sorted(site.intent.networks):
        network = site.intent.networks[network_id]
        if network.network_type in TUNNEL_TABLE and network.segmentation_id is not None:
            draft.part(site, Phase.TUNNEL, network_id, _plan_network)


def publish_tunnels(site: Site, draft: Draft) -> None:
    """Let parts ask `stations`."""
    draft.publish(site, _COMMON, _tunnel_ofports(site))


def stations(view: View, network: IntentNetwork) -> Iterator[tuple[IntentRemotePort, str, int]]:
    """The ports of a network that tunnels lead to: each with the endpoint, and the number of its port on br-tun."""
    for port in view.remote_ports_of(network.whole_id):
        if port.tunnel_ip is not None and (port.lan_id or port.network_id) == network.id:
            ofport = view.common(_COMMON, (port.tunnel_ip, network.network_type))
            if ofport is not None:
                yield port, port.tunnel_ip, ofport


def _plan_network(view: View, draft: Draft, network_id: str) -> None:
    network = view.network(network_id)
    if network is not None and network.segmentation_id is not None:
        _network_flows(view, draft, network, network.segmentation_id)


def tunnel_name(kind: str, tunnel_ip: str) -> str:
    """`vxlan-0a000005`; an IPv6 endpoint is too long to spell and is cut to its last 32 bits.

    Source: openstack/neutron, ovs_neutron_agent.py, `get_tunnel_name`.
    """
    return f"{kind}-{int(ipaddress.ip_address(tunnel_ip)) & 0xFFFFFFFF:08x}"


def _tunnel_ofports(site: Site) -> dict[tuple[str, str], int]:
    """The port number on br-tun of each (peer address, type). Addresses that fall on one number move up, in order."""
    local_ip = site.settings.tunnel_ip
    if local_ip is None:
        return {}
    others = (peer for peer in site.intent.peers.values() if peer.tunnel_ip != local_ip)
    peers: dict[str, TunnelPeer] = {peer.tunnel_ip: peer for peer in others}
    taken: set[int] = set()
    found: dict[tuple[str, str], int] = {}
    for tunnel_ip in sorted(peers, key=lambda text: int(ipaddress.ip_address(text))):
        slot = int(ipaddress.ip_address(tunnel_ip)) % _SLOTS
        while slot in taken:
            slot = (slot + 1) % _SLOTS
        taken.add(slot)
        for index, kind in enumerate(TUNNEL_TYPES):
            if kind in site.settings.tunnel_types and kind in peers[tunnel_ip].tunnel_types:
                found[tunnel_ip, kind] = _FIRST_TUNNEL_OFPORT + slot * len(TUNNEL_TYPES) + index
    return found


def _tunnel_port(site: Site, draft: Draft, tunnel_ip: str, kind: str, ofport: int) -> None:
    assert site.settings.tunnel_ip is not None  # no tunnel ports without one
    draft.ovs_ports.append(
        rows.OvsPort(
            bridge=TUNNEL,
            name=tunnel_name(kind, tunnel_ip),
            type=_PORT_TYPES[kind],
            ofport_request=ofport,
            options=(
                ("df_default", "true"),
                ("in_key", "flow"),
                ("local_ip", site.settings.tunnel_ip),
                ("out_key", "flow"),
                ("remote_ip", tunnel_ip),
            ),
            external_ids=(("deuteron-id", tunnel_ip),),
        )
    )


_PORT_TYPES: dict[str, Literal["vxlan", "gre", "geneve"]] = {"vxlan": "vxlan", "gre": "gre", "geneve": "geneve"}


def _network_flows(view: View, draft: Draft, network: IntentNetwork, vni: int) -> None:
    kind = network.network_type
    onward = DVR_NOT_LEARN if attached_to(view, network.id) else LEARN
    draft.flow(
        TUNNEL,
        TUNNEL_TABLE[kind],
        1,
        f"tun_id={vni:#x}",
        f"push_vlan:0x8100,set_field:{_VID_PRESENT | network.local_vlan}->vlan_vid,goto_table:{onward}",
    )
    flood: set[int] = set()
    for port, _, ofport in stations(view, network):
        flood.add(ofport)
        draft.flow(
            TUNNEL,
            UNICAST_TO_TUNNELS,
            2,
            f"dl_vlan={network.local_vlan},dl_dst={port.mac_address}",
            f"pop_vlan,set_field:{vni:#x}->tun_id,output:{ofport}",
        )
    if flood:
        outputs = ",".join(f"output:{ofport}" for ofport in sorted(flood))
        draft.flow(
            TUNNEL,
            FLOOD_TO_TUNNELS,
            1,
            f"dl_vlan={network.local_vlan}",
            f"pop_vlan,set_field:{vni:#x}->tun_id,{outputs}",
        )

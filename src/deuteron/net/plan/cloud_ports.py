"""How ports of DHCP and routers hang on what their host has: the switch, or the Linux bridge of their network.

    [qdhcp-…] tapXXXXXXXX-XX ── br-int                                                      openvswitch
    [qdhcp-…] ns-XXXXXXXX-XX ═ tapXXXXXXXX-XX ── brqXXXXXXXX-XX                             linuxbridge
    [qrouter-…] qr-XXXXXXXX-XX ═ tapXXXXXXXX-XX ── brqXXXXXXXX-XX

What is down, or is to carry nothing, is there without a carrier: the end in the bridge is down.

Source: openstack/neutron 2024.2, neutron/agent/linux/interface.py (`OVSInterfaceDriver`, `BridgeInterfaceDriver`).
"""

from __future__ import annotations

from deuteron.model.intent import LINUX_BRIDGE, HostSettings, IntentNetwork, IntentPort
from deuteron.net import bridge_rows, rows
from deuteron.net.plan import names
from deuteron.net.plan.draft import Draft, internal_port, is_dead
from deuteron.net.plan.wiring import keep_host_out, refuse_port, trust_port


def dhcp_device(settings: HostSettings, port_id: str) -> str:
    """The name of a DHCP port in its namespace."""
    return names.ns_name(port_id) if has_linux_bridges(settings) else names.tap_name(port_id)


def has_linux_bridges(settings: HostSettings) -> bool:
    return LINUX_BRIDGE in settings.mechanism_drivers


def plug_in(
    settings: HostSettings,
    draft: Draft,
    port: IntentPort,
    network: IntentNetwork,
    name: str,
    namespace: str,
    mtu_bytes: int,
    *,
    carries: bool = True,
) -> None:
    """Adds the device `name` of a port in its namespace, and its way to the network, unfiltered."""
    is_closed = is_dead(port) or not carries
    if has_linux_bridges(settings):
        _pair(draft, port, network, name, namespace, mtu_bytes, is_closed=is_closed)
        return
    internal_port(draft, port, network, name, namespace, mtu_bytes, port.ofport)
    if is_closed:
        refuse_port(draft, port.ofport)
    else:
        trust_port(draft, port.ofport, network.local_vlan)


def _pair(
    draft: Draft,
    port: IntentPort,
    network: IntentNetwork,
    name: str,
    namespace: str,
    mtu_bytes: int,
    *,
    is_closed: bool,
) -> None:
    tap = names.tap_name(port.id)
    draft.links.append(
        rows.Link(
            rows.HOST,
            tap,
            "veth",
            mtu_bytes=mtu_bytes,
            up=not is_closed,
            master=names.brq_name(network.id),
            peer=name,
            peer_namespace=namespace,
        )
    )
    draft.links.append(rows.Link(namespace, name, "existing", mac=port.mac_address, mtu_bytes=mtu_bytes))
    keep_host_out(draft, tap)
    draft.own(bridge_rows.GUARD_TABLE, bridge_rows.FrameGuard(tap))

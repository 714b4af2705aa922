"""Distributed routers: each host routes between the networks that it has, and one of them leads outside.

    guest ── br-int ── qr-… [qrouter-…] qr-… ── br-int ── br-tun or br-eth2 ── other hosts
                                 └── by rule <subnet> ── sg-… [snat-…] qg-…    (on the host that has the gateway)

The devices `qr-` are the same on all hosts, down to addresses and MACs. So what they send leaves a host with its own
MAC in place of theirs (table 1 of br-tun and physical bridges), what is for them does not leave it, and a port that
gets such a frame sees the router's MAC again (tables 1 and 2 of br-int). Answers to ARP would go to the router of
whoever answers, so the namespaces are told where ports are (permanent neighbours).

What leaves by the gateway is what the main table has no route for: a rule for each subnet sends it to the `sg-` port
there. The namespace `snat-` translates as any router does, floating IPs too.

Frames for ports whose rules are in table 60 go on there; others are output at once. By the normal switch it would learn
that the router is behind the tunnel.

Source: neutron/agent/l3/dvr_local_router.py, dvr_edge_router.py;
neutron/plugins/ml2/drivers/openvswitch/agent/ovs_dvr_neutron_agent.py and openflow/native/br_dvr_process.py.
"""

from __future__ import annotations

import ipaddress
import zlib
from collections import defaultdict
from collections.abc import Iterator
from typing import Final, NamedTuple

import msgspec

from deuteron.model.intent import FixedIp, IntentNetwork, IntentPort, IntentRouter, RouterDistributed, RouterPort
from deuteron.net import rows
from deuteron.net.pipeline import (
    DVR_MACS,
    DVR_PROCESS,
    DVR_PROCESS_PHYSICAL,
    DVR_TO_SRC_MAC,
    DVR_TO_SRC_MAC_PHYSICAL,
    LOCAL_SWITCHING,
    LOCAL_VLAN_TRANSLATION,
    PACKET_RATE_LIMIT,
    PATCH_INT_OFPORT,
    PATCH_TO_TUNNELS,
    TUNNEL_TABLE,
)
from deuteron.net.plan import names
from deuteron.net.plan.addresses import allowed_macs, version
from deuteron.net.plan.bridges import INTEGRATION, PHY_OFPORT, TUNNEL, provider_match, provider_tag
from deuteron.net.plan.draft import Draft, Phase, Site, View, is_dead, is_of_network

_COMMON: Final = "distributed"
_LEAST_TABLE6: Final = 1 << 30
_ADVERTISEMENT, _SOLICITATION = 134, 135


class Attached(NamedTuple):
    """An interface of a distributed router that is here."""

    router_id: str
    namespace: str
    port: RouterPort
    host_mac: str

    @property
    def device(self) -> str:
        return names.qr_name(self.port.port_id)


def inside(router: IntentRouter) -> IntentRouter:
    """What routes between the networks inside: no gateway, and nothing that is translated."""
    prefixes = [ipaddress.ip_interface(text).network for port in router.interfaces for text in port.addresses]
    near = tuple(
        route for route in router.routes if any(ipaddress.ip_address(route.nexthop) in prefix for prefix in prefixes)
    )
    return msgspec.structs.replace(
        router,
        gateway=None,
        routes=near,
        floating_ips=(),
        port_forwardings=(),
        conntrack_helpers=(),
        metering_labels=(),
        ndp=None,
        limited_addresses=(),
    )


def outside(router: IntentRouter) -> IntentRouter:
    """What leads outside: its interfaces are those where it takes what leaves."""
    assert router.distributed is not None
    return msgspec.structs.replace(router, interfaces=router.distributed.snat)


def publish_distributed(site: Site, draft: Draft) -> None:
    """Let parts ask which distributed routers a network has here."""
    found: dict[str, list[Attached]] = defaultdict(list)
    for _, router in sorted(site.intent.routers.items()):
        how = router.distributed
        if how is None or not how.is_local or not router.admin_state_up:
            continue
        for port in sorted(router.interfaces, key=lambda each: each.port_id):
            item = Attached(router.id, names.router_namespace(router.id), port, how.mac)
            found[port.network_id].append(item)
    draft.publish(site, _COMMON, {network_id: tuple(items) for network_id, items in found.items()})


def attached_to(view: View, network_id: str) -> tuple[Attached, ...]:
    """The interfaces of distributed routers that the network has here, by router and port."""
    return view.common(_COMMON, network_id) or ()


def plan_distributed(site: Site, draft: Draft) -> None:
    """Adds what the switch and the namespaces have to know of each network of a distributed router."""
    for network_id in sorted(site.common[_COMMON]):
        draft.part(site, Phase.DISTRIBUTED, network_id, _plan_network)


def plan_ways_outside(draft: Draft, router: IntentRouter, how: RouterDistributed) -> None:
    """Adds the rules by which what is for no network inside goes to where the gateway is."""
    namespace = names.router_namespace(router.id)
    draft.sysctl(namespace, [("net.ipv4.conf.all.send_redirects", "0")])
    for interface in router.interfaces:
        device = names.qr_name(interface.port_id)
        # The way on is by the device that a packet came in by, which is no reason to tell its sender of it.
        draft.sysctl(namespace, [(f"net.ipv4.conf.{device}.send_redirects", "0")])
        for text in interface.addresses:
            network = ipaddress.ip_interface(text).network
            hop = next((hop for hop in _hops(how) if hop in network), None)
            if hop is None:
                continue
            table = snat_table(text)
            draft.rules.append(rows.RoutingRule(namespace, table, str(network), table))
            everywhere = "0.0.0.0/0" if network.version == 4 else "::/0"
            draft.routes.append(rows.Route(namespace, everywhere, str(hop), device, table=table))


def snat_table(interface: str) -> int:
    """The number of the rule for what is from an interface's network, and of its table of routes.

    Source: neutron/agent/l3/dvr_local_router.py, `_get_snat_idx`.
    """
    address = ipaddress.ip_interface(interface)
    if address.version == 4:
        return int(address.ip)
    number = zlib.crc32(interface.encode())
    return number if number >= _LEAST_TABLE6 else number + _LEAST_TABLE6


def _hops(how: RouterDistributed) -> Iterator[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    for port in how.snat:
        for text in port.addresses:
            yield ipaddress.ip_interface(text).ip


def _plan_network(view: View, draft: Draft, network_id: str) -> None:
    network = view.network(network_id)
    interfaces = attached_to(view, network_id)
    if network is None or not interfaces:
        return
    _neighbours(view, draft, network, interfaces)
    if network.network_type in TUNNEL_TABLE and view.settings.tunnel_types:
        _leave(draft, TUNNEL, DVR_PROCESS, PATCH_TO_TUNNELS, PATCH_INT_OFPORT, network, interfaces)
        came = f"in_port={view.patch_ofport('patch-tun')},dl_vlan={network.local_vlan},dl_src={DVR_MACS}"
        draft.flow(INTEGRATION, LOCAL_SWITCHING, 4, came, f"goto_table:{DVR_TO_SRC_MAC}")
        _arrive(view, draft, DVR_TO_SRC_MAC, network, interfaces)
    bridge = view.bridge_of(network)
    match = None if bridge is None else provider_match(network)
    if bridge is None or match is None:
        return
    _leave(draft, bridge, DVR_PROCESS_PHYSICAL, LOCAL_VLAN_TRANSLATION, PHY_OFPORT, network, interfaces)
    here, provider = f"dl_vlan={network.local_vlan}", provider_tag(network)
    draft.flow(bridge, DVR_PROCESS_PHYSICAL, 0, here, f"goto_table:{LOCAL_VLAN_TRANSLATION}")
    draft.flow(bridge, LOCAL_VLAN_TRANSLATION, 4, here, provider)
    tagged, to_local = match
    came = f"in_port={view.patch_ofport(names.patch_name('int-', bridge))},{tagged},dl_src={DVR_MACS}"
    draft.flow(INTEGRATION, LOCAL_SWITCHING, 4, came, f"{to_local},goto_table:{DVR_TO_SRC_MAC_PHYSICAL}")
    _arrive(view, draft, DVR_TO_SRC_MAC_PHYSICAL, network, interfaces)


def _neighbours(view: View, draft: Draft, network: IntentNetwork, interfaces: tuple[Attached, ...]) -> None:
    """Where ports of the network are. One that is plugged in nowhere may have lent its address to others."""
    near = [(port.mac_address, port.fixed_ips) for port in view.ports_of(network.id)]
    far = [(port.mac_address, port.fixed_ips) for port in view.remote_ports_of(network.whole_id) if port.is_bound]
    for item in interfaces:
        if view.bound_ofport(item.port.port_id) is None:
            continue
        prefixes = [ipaddress.ip_interface(text).network for text in item.port.addresses]
        for mac, fixed_ips in (*near, *far):
            if mac == item.port.mac_address:
                continue
            for address in _in(prefixes, fixed_ips):
                draft.known.append(rows.PermanentNeighbour(item.namespace, item.device, address, mac))


def _in(prefixes: list[ipaddress.IPv4Network | ipaddress.IPv6Network], fixed_ips: tuple[FixedIp, ...]) -> Iterator[str]:
    for item in fixed_ips:
        if any(ipaddress.ip_address(item.ip_address) in prefix for prefix in prefixes):
            yield item.ip_address


def _leave(
    draft: Draft,
    bridge: str,
    table: int,
    onward: int,
    in_port: int,
    network: IntentNetwork,
    interfaces: tuple[Attached, ...],
) -> None:
    """What goes from br-int to other hosts."""
    here = f"dl_vlan={network.local_vlan}"
    draft.flow(bridge, LOCAL_SWITCHING, 5, f"in_port={in_port},{here}", f"goto_table:{table}")
    for item in interfaces:
        mac = item.port.mac_address
        for text in item.port.addresses:
            address = text.split("/")[0]
            if version(address) == 4:
                draft.flow(bridge, table, 3, f"arp,{here},arp_tpa={address}", "drop")
            else:
                asked = f"icmp6,{here},icmp_type={_SOLICITATION},nd_target={address}"
                draft.flow(bridge, table, 3, asked, "drop")
        if any(version(text) == 6 for text in item.port.addresses):
            draft.flow(bridge, table, 3, f"icmp6,{here},dl_src={mac},icmp_type={_ADVERTISEMENT}", "drop")
        draft.flow(bridge, table, 2, f"{here},dl_dst={mac}", "drop")
        draft.flow(bridge, table, 1, f"{here},dl_src={mac}", f"set_field:{item.host_mac}->eth_src,goto_table:{onward}")


def _arrive(view: View, draft: Draft, table: int, network: IntentNetwork, interfaces: tuple[Attached, ...]) -> None:
    """What routers of other hosts send to ports of this one."""
    own = {item.port.port_id for item in interfaces}
    by_family = {version(text): each.port.mac_address for each in reversed(interfaces) for text in each.port.addresses}
    for port in view.ports_of(network.id):
        if port.id in own or port.ofport is None or is_dead(port):
            continue
        onward = f"goto_table:{PACKET_RATE_LIMIT}" if _is_filtered(view, port) else f"pop_vlan,output:{port.ofport}"
        for mac in allowed_macs(port):
            to_it = f"dl_vlan={network.local_vlan},dl_dst={mac}"
            for family, router_mac in by_family.items():
                match = f"{'ipv6' if family == 6 else 'ip'},{to_it}"
                draft.flow(INTEGRATION, table, 4, match, f"set_field:{router_mac}->eth_src,{onward}")


def _is_filtered(view: View, port: IntentPort) -> bool:
    """Whether table 60 knows where frames for the port go."""
    is_plain = is_of_network(port) or not port.port_security_enabled
    return not is_plain and view.settings.firewall_driver != "iptables_hybrid"

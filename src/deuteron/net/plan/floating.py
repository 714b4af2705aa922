"""Floating IPs of distributed routers, translated on the hosts of their ports: `fip-<external network>`.

    guest ── qr-… [qrouter-…] rfp-… ═ 169.254.x.x/31 ═ fpr-… [fip-…] fg-… ── br-int ── br-ex
             by rule <fixed IP>                         by rule iif fpr-…

On the way out a rule of the fixed IP leads past the router's way outside, which is on another host, to the pair, where
the fixed IP becomes the floating one. On the way in `fg-` answers ARP for what has a route in `fip-` (`proxy_arp`):
floating IPs, each to the router that translates it. The namespace has the devices and routes of all routers that share
the external network on the host, and keeps no connections: they are the routers' to know.

What a router has of it is in its own part of the plan; the namespace is a part of its own.

Source: neutron/agent/l3/dvr_fip_ns.py, dvr_local_router.py, link_local_allocator.py, fip_rule_priority_allocator.py.
"""

from __future__ import annotations

import ipaddress
from collections import defaultdict
from typing import Final

import msgspec

from deuteron.model.intent import FloatingIp, IntentRouter, RouterFloating, RouterGateway, RouterPort
from deuteron.net import rows
from deuteron.net.plan import names
from deuteron.net.plan.addresses import version
from deuteron.net.plan.draft import NO_DAD, Draft, Phase, Site, View, internal_port, is_dead
from deuteron.net.plan.wiring import refuse_port, trust_port

TABLE: Final = 16
"""Of routes of what is from a fixed IP with a floating one."""
_PAIRS: Final = ipaddress.IPv4Network("169.254.64.0/18")
_COMMON: Final = "floating"
_EVERYWHERE: Final = "0.0.0.0/0"
_PREFIX: Final = "neutron-l3-agent-"

_SYSCTLS: Final = (
    ("net.ipv4.ip_forward", "1"),
    ("net.ipv4.ip_nonlocal_bind", "1"),
    ("net.ipv4.conf.all.arp_ignore", "1"),
    ("net.ipv4.conf.all.arp_announce", "2"),
    # A packet from outside has no way back but by rules for what comes in by the other devices.
    ("net.ipv4.conf.all.rp_filter", "0"),
    # Between two floating IPs of one router it goes back by the device that it came by, which is no reason to tell.
    ("net.ipv4.conf.all.send_redirects", "0"),
    ("net.ipv6.conf.default.accept_ra", "0"),
    *NO_DAD,
)


def with_floating(router: IntentRouter, inside: IntentRouter) -> IntentRouter:
    """The router as it routes `inside`, with the pair for its way outside: where floating IPs of this host leave.

    Nothing else is translated there, so that it does no SNAT.
    """
    floating = None if router.distributed is None else router.distributed.floating
    if floating is None:
        return inside
    own, _ = pair(floating.pair)
    port = RouterPort(
        "", floating.port.network_id, _mac(own), (f"{own}/31",), floating.port.mtu_bytes, scopes=floating.port.scopes
    )
    translated = tuple(
        FloatingIp(item.id, item.floating_ip_address, item.fixed_ip_address) for item in floating.floating_ips
    )
    return msgspec.structs.replace(
        inside,
        gateway=RouterGateway(port, enable_snat=False),
        floating_ips=translated,
        metering_labels=router.metering_labels,
    )


def pair(number: int) -> tuple[ipaddress.IPv4Address, ipaddress.IPv4Address]:
    """The addresses of the ends of a pair with this number: the router's, and that where floating IPs are."""
    first = _PAIRS.network_address + 2 * number
    return first, first + 1


def is_there(view: View, floating: RouterFloating) -> bool:
    """Whether the host has the port by which it answers for floating IPs."""
    return view.bound_ofport(floating.port.port_id) is not None and view.network(floating.port.network_id) is not None


def plan_way_out(draft: Draft, router_id: str, floating: RouterFloating) -> None:
    """Adds the router's end of the pair, and the rules by which fixed IPs leave by it."""
    namespace, device = names.router_namespace(router_id), names.rfp_name(router_id)
    own, other = pair(floating.pair)
    mtu = floating.port.mtu_bytes
    draft.links.append(rows.Link(namespace, device, "existing", mac=_mac(own), mtu_bytes=mtu))
    draft.addresses.append(rows.Address(namespace, device, f"{own}/31"))
    draft.routes.append(rows.Route(namespace, _EVERYWHERE, str(other), device, table=TABLE))
    for item in floating.floating_ips:
        draft.rules.append(rows.RoutingRule(namespace, item.priority, f"{item.fixed_ip_address}/32", TABLE))


def publish_floating(site: Site, draft: Draft) -> None:
    """Let parts ask which routers translate floating IPs of an external network here."""
    found: dict[str, list[str]] = defaultdict(list)
    for router_id, router in sorted(site.intent.routers.items()):
        how = router.distributed
        if how is not None and how.is_local and how.floating is not None and router.admin_state_up:
            found[how.floating.port.network_id].append(router_id)
    draft.publish(site, _COMMON, {network_id: tuple(ids) for network_id, ids in found.items()})


def floating_of(view: View, network_id: str) -> list[tuple[IntentRouter, RouterFloating]]:
    """The routers that translate floating IPs of an external network here, by id."""
    found = (view.router(id) for id in view.common(_COMMON, network_id) or ())
    return [
        (router, router.distributed.floating)
        for router in found
        if router is not None and router.distributed is not None and router.distributed.floating is not None
    ]


def plan_floating(site: Site, draft: Draft) -> None:
    """Adds the namespace of each external network that has floating IPs here."""
    for network_id in sorted(site.common[_COMMON]):
        draft.part(site, Phase.FLOATING, network_id, _plan_network)


def _plan_network(view: View, draft: Draft, network_id: str) -> None:
    routers = floating_of(view, network_id)
    if not routers or not is_there(view, routers[0][1]):
        return
    outward = routers[0][1].port
    port, network = view.port(outward.port_id), view.network(network_id)
    assert port is not None and port.ofport is not None and network is not None  # `is_there`
    namespace, fg = names.floating_namespace(network.whole_id), names.fg_name(outward.port_id)
    draft.namespaces.append(rows.Namespace(namespace))
    draft.links.append(rows.Link(namespace=namespace, name="lo", kind="existing"))
    draft.sysctl(namespace, _SYSCTLS)
    internal_port(draft, port, network, fg, namespace, outward.mtu_bytes, port.ofport)
    if is_dead(port):
        refuse_port(draft, port.ofport)
    else:
        trust_port(draft, port.ofport, network.local_vlan)
    for text in outward.addresses:
        draft.addresses.append(rows.Address(namespace, fg, text))
    # An answer for others is otherwise put off by up to 0.8 s.
    settings = (("conf", "proxy_arp", "1"), ("conf", "rp_filter", "0"), ("neigh", "proxy_delay", "0"))
    draft.sysctl(namespace, [(f"net.ipv4.{kind}.{fg}.{name}", value) for kind, name, value in settings])
    untracked = rows.IptablesChain(f"{_PREFIX}PREROUTING", ("-j CT --notrack",))
    draft.iptables.append(
        rows.IptablesTable(namespace, 4, "raw", (untracked,), (("PREROUTING", f"-j {untracked.name}"),))
    )
    for router, floating in routers:
        _plan_router(draft, namespace, fg, router, floating)


def _plan_router(draft: Draft, namespace: str, fg: str, router: IntentRouter, floating: RouterFloating) -> None:
    """What the namespace has of one router."""
    own, other = pair(floating.pair)
    device = names.fpr_name(router.id)
    draft.links.append(
        rows.Link(
            namespace,
            device,
            "veth",
            mac=_mac(other),
            mtu_bytes=floating.port.mtu_bytes,
            peer=names.rfp_name(router.id),
            peer_namespace=names.router_namespace(router.id),
        )
    )
    draft.addresses.append(rows.Address(namespace, device, f"{other}/31"))
    settings = ("rp_filter", "send_redirects")
    draft.sysctl(namespace, [(f"net.ipv4.conf.{device}.{name}", "0") for name in settings])
    table = int(other)
    draft.rules.append(rows.RoutingRule(namespace, table, _EVERYWHERE, table, device))
    near = [ipaddress.ip_interface(text).network for text in floating.port.addresses]
    for hop in floating.gateway_ips:
        if version(hop) == 4:
            if not any(ipaddress.ip_address(hop) in network for network in near):
                draft.routes.append(rows.Route(namespace, f"{hop}/32", None, fg, table=table))
            draft.routes.append(rows.Route(namespace, _EVERYWHERE, hop, fg, table=table))
    # One of the router's own to everywhere replaces the gateway's, as it is the last.
    for route in router.routes:
        if version(route.destination) == 4 and any(ipaddress.ip_address(route.nexthop) in each for each in near):
            draft.routes.append(rows.Route(namespace, route.destination, route.nexthop, fg, table=table))
    for item in floating.floating_ips:
        to = f"{item.floating_ip_address}/32"
        draft.routes.append(rows.Route(namespace, to, str(own), device, told_by=fg))


def _mac(address: ipaddress.IPv4Address) -> str:
    """Of an end of a pair: of its address, since there is nobody else on its wire."""
    return (b"\x02\x00" + address.packed).hex(":")

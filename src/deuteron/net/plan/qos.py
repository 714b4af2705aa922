"""QoS: what ports, and addresses of routers, send and receive is metered, and marked, by br-int.

    egress     table 58: from the port through the meter of its packets, and on to table 59
               table 59: from the port through that of its bits, IP gets the mark, and on to table 60
    ingress    the same meters where a frame is given to the port's MAC: from a patch (60), or from this host (73, or 94
               without filters)
    both       where there is another meter to pass, table 61

A port obeys its own policy, else that of its network; of the cloud's own ports only a router's gateway looks at its
network's. Under a floating IP, or the gateway's own address, limits hold besides: for what leaves the gateway port with
it as source, and what arrives there for it. Where a distributed router translates it on the host of its port, that is
the host's own port outside. Marks and limits of packets are of ports alone, as in Neutron.

What a port receives is counted where it is given to it: Neutron's table 58 sees the frames of this host before it is
known whose they are, so that its limit of what a port receives holds for what comes from other hosts only.

Meters act in user space and in the kernel alike, where policing of the device would not: the userspace datapath reads a
tap beside the kernel, and a kernel need not have what filters on a gateway's device are made of (decisions/0015).
What is sent to many is not metered on its way in, as it is switched to all ports at once.

Source: neutron/plugins/ml2/drivers/openvswitch/agent/extension_drivers/qos_driver.py, neutron/objects/qos/rule.py
(`should_apply_to_port`), neutron/agent/l3/extensions/qos/ for what is limited.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import NamedTuple

from deuteron.model.intent import IntentPort, IntentQosPolicy, LimitedAddress, PacketLimit, RateLimit
from deuteron.net.pipeline import (
    ACCEPT_OR_INGRESS,
    ACCEPTED_EGRESS_NORMAL,
    BANDWIDTH_RATE_LIMIT,
    NEXT_LIMIT,
    PACKET_RATE_LIMIT,
    TRANSIENT,
    floating_meter,
    gateway_meter,
    port_meter,
)
from deuteron.net.plan import firewall, floating
from deuteron.net.plan.addresses import allowed_macs, version
from deuteron.net.plan.bridges import INTEGRATION
from deuteron.net.plan.draft import Draft, Phase, Site, View, is_dead, is_of_network
from deuteron.net.rows import METER_TABLE, Meter

_GATEWAY = "network:router_gateway"
_OUTWARD = (_GATEWAY, "network:floatingip_agent_gateway")
"""Ports behind which floating IPs are."""
_ONWARD = f"resubmit(,{TRANSIENT})"


class _Address(NamedTuple):
    """An address of a router that is limited: the meters of what is sent and of what is received, where there are."""

    address: str
    egress: Meter | None
    ingress: Meter | None


def plan_qos(site: Site, draft: Draft) -> None:
    """Adds meters and flows of every port that is up and obeys a policy, or has an address that does."""
    ids = [
        port.id
        for port, network in (*site.instance_ports, *site.cloud_ports)
        if not is_dead(port)
        and (port.qos_policy_id or network.qos_policy_id is not None or port.device_owner in _OUTWARD)
    ]
    for port_id in sorted(ids):
        draft.part(site, Phase.QOS, port_id, _plan_port)


def _plan_port(view: View, draft: Draft, port_id: str) -> None:
    port = view.port(port_id)
    network = None if port is None else view.network(port.network_id)
    if port is None or network is None:
        return
    inherits = not is_of_network(port) or port.device_owner == _GATEWAY
    policy = view.qos_policy(port.qos_policy_id or (network.qos_policy_id if inherits else None) or "")
    policy = policy or IntentQosPolicy("")
    addresses = list(_addresses(view, port)) if port.device_owner in _OUTWARD else []
    _plan_egress(draft, port, policy, addresses)
    packets = _packet_meter(port_meter(port.ofport, 3), policy.ingress_packets)
    bits = _meter(port_meter(port.ofport, 1), policy.ingress)
    received = [meter for meter in (packets, bits) if meter is not None]
    if received:
        _plan_ingress(view, draft, port, network.local_vlan, received)
    for item in addresses:
        if item.ingress is not None:
            to_it = f"ip,nw_dst={item.address},"
            _plan_ingress(view, draft, port, network.local_vlan, [item.ingress, *received], to_it)


def _addresses(view: View, port: IntentPort) -> Iterator[_Address]:
    """The limited addresses behind a gateway port. As in Neutron, of the router's own only those of IPv4."""
    if port.device_owner != _GATEWAY:
        for _, here in floating.floating_of(view, port.network_id):
            yield from _limited(view, here.limited_addresses)
        return
    router = view.router(port.device_id)
    if router is None or router.gateway is None or router.gateway.port.port_id != port.id:
        return
    own = view.qos_policy(router.gateway.qos_policy_id or "")
    if own is not None:
        egress = _meter(gateway_meter(port.ofport, 0), own.egress)
        ingress = _meter(gateway_meter(port.ofport, 1), own.ingress)
        for text in router.gateway.port.addresses:
            if version(text) == 4:
                yield _Address(text.split("/")[0], egress, ingress)
    yield from _limited(view, router.limited_addresses)


def _limited(view: View, addresses: Sequence[LimitedAddress]) -> Iterator[_Address]:
    for item in addresses:
        policy = view.qos_policy(item.qos_policy_id)
        if policy is not None:
            egress = _meter(floating_meter(item.number, 0), policy.egress)
            yield _Address(item.address, egress, _meter(floating_meter(item.number, 1), policy.ingress))


def _plan_egress(draft: Draft, port: IntentPort, policy: IntentQosPolicy, addresses: Sequence[_Address]) -> None:
    meter = _meter(port_meter(port.ofport, 0), policy.egress)
    sent = () if meter is None else (meter,)
    source = f"in_port={port.ofport}"
    packets = _packet_meter(port_meter(port.ofport, 2), policy.egress_packets)
    if packets is not None:
        _pass(draft, (PACKET_RATE_LIMIT, 10, ""), source, [packets], f"resubmit(,{BANDWIDTH_RATE_LIMIT})")
    mark = "" if policy.dscp_mark is None else f"set_field:{policy.dscp_mark}->ip_dscp,"
    if sent:
        _pass(draft, (BANDWIDTH_RATE_LIMIT, 10, ""), source, sent, _ONWARD)
    if mark:
        for family in ("ip", "ipv6"):
            _pass(draft, (BANDWIDTH_RATE_LIMIT, 20, f"{family},"), source, sent, _ONWARD, mark)
    for item in addresses:
        if item.egress is not None:
            entry = (BANDWIDTH_RATE_LIMIT, 30, f"ip,nw_src={item.address},")
            _pass(draft, entry, source, [*sent, item.egress], _ONWARD, mark)


def _plan_ingress(
    view: View, draft: Draft, port: IntentPort, local_vlan: int, meters: Sequence[Meter], to: str = ""
) -> None:
    """Frames for the port, or those of them that `to` matches, pass the meters before they are given to it."""
    is_filtered = (
        port.port_security_enabled and not is_of_network(port) and view.settings.firewall_driver != "iptables_hybrid"
    )
    more = 1 if to else 0
    for mac in allowed_macs(port):
        from_patch, from_here = f"dl_vlan={local_vlan},dl_dst={mac}", f"reg6={local_vlan:#x},dl_dst={mac}"
        if is_filtered:
            patched, near = firewall.delivery(port.ofport, local_vlan)
            ways = ((TRANSIENT, 91, from_patch, patched), (ACCEPT_OR_INGRESS, 101, from_here, near))
        else:
            ways = ((TRANSIENT, 91, from_patch, "NORMAL"), (ACCEPTED_EGRESS_NORMAL, 5, from_here, "NORMAL"))
        for table, priority, match, delivered in ways:
            _pass(draft, (table, priority + more, to), match, meters, delivered)


def _pass(
    draft: Draft,
    entry: tuple[int, int, str],
    match: str,
    meters: Sequence[Meter],
    then: str,
    first: str = "",
) -> None:
    """Frames that match pass the meters, which are added, one after the other.

    `entry` is the table, the priority and what else the match of the first flow says; `first` is done there.
    """
    table, priority, only = entry
    if not meters:
        draft.flow(INTEGRATION, table, priority, f"{only}{match}", f"{first}{then}")
    for meter, following in zip_longest(meters, meters[1:]):
        draft.own(METER_TABLE, meter)
        onward = then if following is None else f"set_field:{following.number:#x}->reg8,resubmit(,{NEXT_LIMIT})"
        draft.flow(INTEGRATION, table, priority, f"{only}{match}", f"meter:{meter.number},{first}{onward}")
        if following is not None:
            table, priority, only, first = NEXT_LIMIT, 10, f"reg8={following.number:#x},", ""


def _meter(number: int, limit: RateLimit | None) -> Meter | None:
    return None if limit is None else Meter(INTEGRATION, number, limit.kbps, limit.burst_kbit)


def _packet_meter(number: int, limit: PacketLimit | None) -> Meter | None:
    return None if limit is None else Meter(INTEGRATION, number, limit.pps, limit.burst, "pktps")

"""Routed networks: each of their subnets is on one of their segments, so where a port is plugged in says its addresses.

A host is connected to a segment when it has a bridge for the segment's physical network. A port that has no host yet
gets no address, unless it names one: that is deferred until it is plugged in. Packets from segment to segment go
through routers of the operator's; the subnets of a network tell guests so by host routes.

Source: neutron/objects/subnet.py (`find_candidate_subnets`), neutron/db/ipam_backend_mixin.py (`update_port`),
neutron/services/segments/plugin.py (`SegmentHostRoutes`).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from deuteron.model.errors import Conflict
from deuteron.model.network import NETWORK
from deuteron.model.network.parts import FixedIp, Lan, Route, WantedIp
from deuteron.model.network.rows import NetworkRow, SubnetRow
from deuteron.model.scalars import Mac, NetworkId, PortId
from deuteron.model.settings import Settings
from deuteron.rules.hosts import registry
from deuteron.rules.network import addresses, faults, segments
from deuteron.rules.network.kinds import find
from deuteron.store.database import Tx

IMMEDIATE: Final = "immediate"
DEFERRED: Final = "deferred"
NONE: Final = "none"
"""What a port says of its addresses: it got them when it was made, gets them with its host, or asked for none."""


class Deferred(Exception):
    """Which addresses the port gets is decided by its host."""


def is_routed(subnets: Iterable[SubnetRow]) -> bool:
    return any(subnet["segment_id"] is not None for subnet in subnets)


def reaches(bridge_mappings: Mapping[str, str], lan: Lan) -> bool:
    """Whether a host with these bridges is connected to the segment. A tunnel connects none."""
    return lan["physical_network"] in bridge_mappings


def lans_on(tx: Tx, settings: Settings, network: NetworkRow, host: str) -> list[Lan]:
    """The segments of the network that the host is connected to, in their order."""
    found = registry.find(tx, settings, host)
    return [] if found is None else [lan for lan in segments.lans_of(network) if reaches(found.bridge_mappings, lan)]


def allocate(
    tx: Tx,
    settings: Settings,
    network_id: NetworkId,
    port_id: PortId,
    mac: Mac,
    device_owner: str,
    host: str,
    wanted: Sequence[WantedIp] | None,
) -> tuple[list[FixedIp], str]:
    """The addresses of a new port, and whether it got them now. Raises: as `addresses.allocate` and `_groups_for`."""
    said = NONE if wanted is not None and not wanted else IMMEDIATE
    try:
        groups = _groups_for(tx, settings, network_id, host, wanted)
    except Deferred:
        return [], DEFERRED if said == IMMEDIATE else NONE
    for group in groups[:-1]:
        try:
            return addresses.allocate(tx, network_id, port_id, mac, device_owner, wanted, group), said
        except Conflict as error:
            if not error.type.startswith("IpAddressGenerationFailure"):
                raise
            addresses.release(tx, port_id)  # what it got of the other family
    return addresses.allocate(tx, network_id, port_id, mac, device_owner, wanted, groups[-1]), said


def on_host(tx: Tx, settings: Settings, network: NetworkRow, port: Mapping[str, Any], host: str) -> dict[str, object]:
    """What becomes of the addresses of a port that is being plugged in on the host, on a network that is routed.

    Raises: Conflict for a host where its addresses would reach nobody, or that has none for it.
    """
    held: Sequence[FixedIp] = port["fixed_ips"]
    if held:
        valid = {subnet["id"] for subnet in subnets_for(tx, settings, network["id"], host, held)}
        if any(item["subnet_id"] not in valid for item in held):
            raise faults.conflict(
                "HostNotCompatibleWithFixedIps",
                f"Host {host} is not connected to a segment where the existing fixed_ips on port {port['id']} will "
                "function given the routed network topology.",
            )
    elif port["ip_allocation"] == DEFERRED:
        owner: str = port["device_owner"]
        found, _ = allocate(tx, settings, network["id"], port["id"], port["mac_address"], owner, host, None)
        return {"fixed_ips": found}
    return {}


def subnets_for(
    tx: Tx, settings: Settings, network_id: NetworkId, host: str, wanted: Sequence[WantedIp]
) -> list[SubnetRow]:
    """The subnets that a port there may have these addresses of. Raises: Conflict, BadRequest as `_groups_for`."""
    try:
        return [subnet for group in _groups_for(tx, settings, network_id, host, wanted) for subnet in group]
    except Deferred:
        return []


def _groups_for(
    tx: Tx, settings: Settings, network_id: NetworkId, host: str, wanted: Sequence[WantedIp] | None
) -> list[list[SubnetRow]]:
    """The subnets that a port there may have addresses of: all of one list, and of the next when it is used up.

    Raises: Deferred; Conflict for a host that no subnet's segment reaches; BadRequest for addresses of two segments.
    """
    there = addresses.subnets_of(tx, network_id)
    if not is_routed(there):
        return [there]
    everywhere = [subnet for subnet in there if subnet["segment_id"] is None]
    if not host:
        if wanted:
            return [_of_one_segment(there, wanted)]
        if not everywhere:
            raise Deferred
        return [everywhere]
    network = find(tx, NETWORK, network_id)
    assert network is not None  # its subnets go before it
    reached = [lan["segment_id"] for lan in lans_on(tx, settings, network, host)]
    found = [[subnet for subnet in there if subnet["segment_id"] in (None, segment)] for segment in reached]
    found = [group for group in found if is_routed(group)]
    if not found and not everywhere:
        raise faults.conflict(
            "HostNotConnectedToAnySegment",
            f"Host {host} is not connected to any segments on routed provider network '{network_id}'.  It should be "
            "connected to one.",
        )
    if not found:
        return [everywhere]
    # Addresses that are named are looked for on all of them.
    return found if wanted is None else [[subnet for subnet in there if any(subnet in group for group in found)]]


def _of_one_segment(there: Sequence[SubnetRow], wanted: Sequence[WantedIp]) -> list[SubnetRow]:
    named: list[str | None] = []
    for item in wanted:
        found = _subnet_for(there, item)
        if found is None:
            return list(there)  # whoever takes the address finds it wrong
        if found["segment_id"] not in named:
            named.append(found["segment_id"])
    if len(named) > 1:
        raise faults.refused("FixedIpsSubnetsNotOnSameSegment", "Cannot allocate addresses from different segments.")
    return [subnet for subnet in there if subnet["segment_id"] == named[0]]


def _subnet_for(there: Sequence[SubnetRow], item: WantedIp) -> SubnetRow | None:
    if "subnet_id" in item:
        return next((subnet for subnet in there if subnet["id"] == item["subnet_id"]), None)
    address = ipaddress.ip_address(item["ip_address"])
    return next((subnet for subnet in there if address in ipaddress.ip_network(subnet["cidr"])), None)


# --- routes between segments --------------------------------------------------------------------------------------


def with_peers(
    subnet: SubnetRow, there: Sequence[SubnetRow], *, old_gateway: str | None = None, gone: str | None = None
) -> list[Route]:
    """The subnet's host routes with those to the subnets of other segments, by its gateway.

    A route that is there already, or a wider one, stands for the one to a subnet; `old_gateway` is the one that routes
    went by so far, `gone` the prefix of a subnet that was deleted.
    """
    gateway = subnet["gateway_ip"]
    peers = [
        peer
        for peer in there
        if peer["ip_version"] == subnet["ip_version"] and peer["segment_id"] != subnet["segment_id"]
    ]
    stale = {(peer["cidr"], old_gateway) for peer in peers} | {(gone, gateway)}
    routes = [route for route in subnet["host_routes"] if (route["destination"], route["nexthop"]) not in stale]
    for peer in peers if gateway is not None else ():
        assert gateway is not None
        if not any(_holds(route["destination"], peer["cidr"]) for route in routes):
            routes.append(Route(destination=peer["cidr"], nexthop=gateway))
    return routes


def _holds(wider: str, prefix: str) -> bool:
    outer, inner = ipaddress.ip_network(wider, strict=False), ipaddress.ip_network(prefix)
    return (
        outer.version == inner.version
        and outer.prefixlen <= inner.prefixlen
        and int(outer.network_address) <= int(inner.network_address) <= int(outer.broadcast_address)
    )

"""Ports of routers, with what they take from their networks and subnets."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Mapping, Sequence

from sqlalchemy import select

from deuteron.hub.projections.contract import Reading, held, rows
from deuteron.hub.projections.network import subnet as intent_subnet
from deuteron.model.intent import RouterGateway, RouterPort
from deuteron.model.network import ROUTER_INTERFACES
from deuteron.model.network.rows import PortRow, RouterRow, SubnetRow
from deuteron.model.scalars import NetworkId, SubnetId
from deuteron.rules.network import address_scopes
from deuteron.store.network_tables import networks


class Around:
    """What ports take from their networks."""

    def __init__(self, reading: Reading, network_ids: Collection[str], attached: Sequence[PortRow]) -> None:
        columns = [networks.c[name] for name in ("id", "mtu", "ipv4_address_scope", "ipv6_address_scope", "lans")]
        statement = select(*columns)
        found = list(rows(reading.tx, lambda chunk: statement.where(networks.c["id"].in_(chunk)), network_ids))
        numbers = address_scopes.numbers(reading.tx, {scope for row in found for scope in row[2:4] if scope})
        self.mtus = {id: mtu or reading.settings.path_mtu for id, mtu, _, _, _ in found}
        self._scopes = {id: (numbers.get(four, 0), numbers.get(six, 0)) for id, _, four, six, _ in found}
        self.path_mtu = reading.settings.path_mtu
        several = {id for id, _, _, _, lans in found if lans is not None}
        places = [(port["binding:host_id"], port["id"]) for port in attached if port["network_id"] in several]
        self.lans = {id: lan_id for (_, id), (_, lan_id) in held(reading.tx, "port", places).items()} if places else {}
        """Which segment a port is plugged into, of networks that have several."""

    def scopes_of(self, network_id: NetworkId | None) -> tuple[int, int]:
        """The numbers of its address scopes, of IPv4 and IPv6; 0 for none."""
        return self._scopes.get(network_id, (0, 0))


def router_port(around: Around, port: PortRow, prefixes: Mapping[SubnetId, SubnetRow]) -> RouterPort:
    reached = [prefixes[ip["subnet_id"]] for ip in port["fixed_ips"] or () if ip["subnet_id"] in prefixes]
    return RouterPort(
        port_id=port["id"],
        network_id=around.lans.get(port["id"], port["network_id"]),
        mac_address=port["mac_address"],
        addresses=tuple(
            f"{ip['ip_address']}/{ipaddress.ip_network(prefixes[ip['subnet_id']]['cidr']).prefixlen}"
            for ip in port["fixed_ips"] or ()
            if ip["subnet_id"] in prefixes
        ),
        mtu_bytes=around.mtus.get(port["network_id"], around.path_mtu),
        ra_subnets=tuple(intent_subnet(subnet) for subnet in reached if _is_advertised(port, subnet))
        if port["device_owner"] in ROUTER_INTERFACES
        else (),
        scopes=around.scopes_of(port["network_id"]),
    )


def gateway_of(
    around: Around, router: RouterRow, port: PortRow, prefixes: Mapping[SubnetId, SubnetRow]
) -> RouterGateway:
    info = router["external_gateway_info"]
    return RouterGateway(
        router_port(around, port, prefixes),
        hops_of(port, prefixes),
        info is None or info["enable_snat"],
        router["qos_policy_id"],
    )


def hops_of(port: PortRow, prefixes: Mapping[SubnetId, SubnetRow]) -> tuple[str, ...]:
    """The gateways of a port's subnets, at most one for each IP version, IPv4's first."""
    hops: dict[int, str] = {}
    for ip in port["fixed_ips"] or ():
        subnet = prefixes.get(ip["subnet_id"])
        if subnet is not None and subnet["gateway_ip"] is not None:
            hops.setdefault(subnet["ip_version"], subnet["gateway_ip"])
    return tuple(hops[version] for version in sorted(hops))


def _is_advertised(port: PortRow, subnet: SubnetRow) -> bool:
    """Whether a router's port advertises the subnet and itself: as its gateway, or on a subnet of its own project.

    A router that a project puts on a network of another routes for who asks it; an advertisement would make it the
    way out of everybody there.
    """
    if subnet["ip_version"] != 6 or subnet["ipv6_ra_mode"] is None:
        return False
    if subnet["project_id"] == port["project_id"]:
        return True
    return any(
        ip["ip_address"] == subnet["gateway_ip"] and ip["subnet_id"] == subnet["id"] for ip in port["fixed_ips"] or ()
    )

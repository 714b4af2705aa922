"""Networks where one of their ports is plugged in: each host has its own VLAN tag for one, and may serve its DHCP.

They need the network's other ports where frames to them go through tunnels, or where DHCP is served.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Set

from sqlalchemy import select

from deuteron.hub.projections.contract import (
    Made,
    OnHost,
    Place,
    Reading,
    Scope,
    Touched,
    by_host,
    numbers,
    pairs,
    rows,
    whole,
)
from deuteron.model.intent import HostRoute, IntentNetwork, IntentSubnet, Key
from deuteron.model.network import DHCP, ROUTER_INTERFACE
from deuteron.model.network.rows import SubnetRow
from deuteron.store.network_tables import networks, ports, subnets

_TUNNELED = ("vxlan", "gre", "geneve")


def subnet(row: SubnetRow) -> IntentSubnet:
    return IntentSubnet(
        id=row["id"],
        ip_version=row["ip_version"],
        cidr=row["cidr"],
        gateway_ip=row["gateway_ip"],
        enable_dhcp=bool(row["enable_dhcp"]),
        dns_nameservers=tuple(row["dns_nameservers"] or ()),
        host_routes=tuple(HostRoute(route["destination"], route["nexthop"]) for route in row["host_routes"] or ()),
        ipv6_ra_mode=row["ipv6_ra_mode"],
        ipv6_address_mode=row["ipv6_address_mode"],
    )


def _build(reading: Reading, places: Collection[Place]) -> Iterator[tuple[str, Made]]:
    tx, settings = reading.tx, reading.settings
    vlans = numbers(tx, "vlan", places)
    hosts = by_host(vlans)
    nested: dict[str, list[IntentSubnet]] = defaultdict(list)
    made_of: dict[str, list[Key]] = defaultdict(list)
    ordered = select(subnets).order_by(subnets.c["id"])
    for each in whole(tx, subnets, lambda chunk: ordered.where(subnets.c["network_id"].in_(chunk)), hosts):
        nested[each["network_id"]].append(subnet(each))
        made_of[each["network_id"]].append(("subnet", each["id"]))
    dhcp: dict[tuple[str, str], str] = {}
    routed: dict[str, str] = {}
    gateways = {subnet.id: subnet.gateway_ip for found in nested.values() for subnet in found}
    owned = (
        select(
            ports.c["id"],
            ports.c["network_id"],
            ports.c["device_owner"],
            ports.c["device_id"],
            ports.c["binding:host_id"],
            ports.c["fixed_ips"],
        )
        .where(ports.c["device_owner"].in_((DHCP, ROUTER_INTERFACE)))
        .order_by(ports.c["id"])
    )
    for port_id, network_id, owner, device_id, bound, fixed_ips in rows(
        tx, lambda chunk: owned.where(ports.c["network_id"].in_(chunk)), hosts
    ):
        made_of[network_id].append(("port", port_id))
        if owner == ROUTER_INTERFACE:
            # As in Neutron (`get_isolated_subnets`), only the router that is the guests' gateway serves them metadata:
            # else whoever puts a router on a shared network takes it from everybody.
            if any(ip["ip_address"] == gateways.get(ip["subnet_id"]) for ip in fixed_ips or ()):
                routed.setdefault(network_id, device_id)
        elif bound:
            dhcp.setdefault((bound, network_id), port_id)
    for row in whole(tx, networks, lambda chunk: select(networks).where(networks.c["id"].in_(chunk)), hosts):
        for host in hosts[row["id"]]:
            item = IntentNetwork(
                id=row["id"],
                project_id=row["project_id"] or "",
                name=row["name"] or "",
                network_type=row["provider:network_type"],
                physical_network=row["provider:physical_network"],
                segmentation_id=row["provider:segmentation_id"],
                mtu_bytes=row["mtu"] or settings.path_mtu,
                local_vlan=vlans[host, row["id"]],
                admin_state_up=bool(row["admin_state_up"]),
                external=bool(row["router:external"]),
                subnets=tuple(nested[row["id"]]),
                dhcp_port_id=dhcp.get((host, row["id"])),
                routed_by=routed.get(row["id"]),
                dns_domain=settings.dns_domain,
                qos_policy_id=row["qos_policy_id"],
            )
            asks = item.dhcp_port_id is not None or item.network_type in _TUNNELED
            needs: list[Scope] = [("remote_port", row["id"])] if asks else []
            if row["qos_policy_id"] is not None:
                needs.append(("qos_policy", row["qos_policy_id"]))
            yield host, Made(item, rows=tuple(made_of[row["id"]]), needs=tuple(needs))


def _dirty(touched: Touched) -> Set[str]:
    table = subnets
    within = pairs(touched.tx, table.c["id"], table.c["network_id"], touched.of("subnet")).values()
    served = {port.network_id for port in touched.ports if port.device_owner in (DHCP, ROUTER_INTERFACE)}
    return touched.of("network") | set(within) | served


PROJECTION = OnHost("network", _dirty, _build)

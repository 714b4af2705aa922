"""Networks where one of their ports is plugged in: each host has its own VLAN tag for one, and may serve its DHCP.

Of a network with several segments each is such an object, where a port is plugged into it.

They need the network's other ports where frames to them go through tunnels, or where DHCP is served.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence, Set

from sqlalchemy import select

from deuteron.hub.projections.contract import (
    AnyRow,
    Made,
    OnHost,
    Place,
    Reading,
    Scope,
    Touched,
    by_host,
    held,
    numbers,
    pairs,
    rows,
    whole,
)
from deuteron.model.intent import HostRoute, IntentNetwork, IntentSubnet, Key
from deuteron.model.network import DHCP, ROUTER_INTERFACES
from deuteron.model.network.rows import NetworkRow, SubnetRow
from deuteron.rules.network import segments
from deuteron.store.database import Tx
from deuteron.store.network_tables import networks, ports, subnets
from deuteron.store.network_tables import segments as segment_table

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
    found = _networks(tx, hosts)
    ids = {row["id"] for row in found.values()}
    nested: dict[str, list[SubnetRow]] = defaultdict(list)
    made_of: dict[str, list[Key]] = defaultdict(list)
    ordered = select(subnets).order_by(subnets.c["id"])
    for each in whole(tx, subnets, lambda chunk: ordered.where(subnets.c["network_id"].in_(chunk)), ids):
        nested[each["network_id"]].append(each)
        made_of[each["network_id"]].append(("subnet", each["id"]))
    dhcp: dict[tuple[str, str], str] = {}
    routed: dict[str, str] = {}
    owned = (
        select(
            ports.c["id"],
            ports.c["network_id"],
            ports.c["device_owner"],
            ports.c["device_id"],
            ports.c["binding:host_id"],
            ports.c["fixed_ips"],
        )
        .where(ports.c["device_owner"].in_((DHCP, *ROUTER_INTERFACES)))
        .order_by(ports.c["id"])
    )
    serving = list(rows(tx, lambda chunk: owned.where(ports.c["network_id"].in_(chunk)), ids))
    lans = _lans_of_dhcp(tx, found, serving)
    gateways = {each["id"]: each["gateway_ip"] for found_here in nested.values() for each in found_here}
    for port_id, network_id, owner, device_id, bound, fixed_ips in serving:
        made_of[network_id].append(("port", port_id))
        if owner in ROUTER_INTERFACES:
            # As in Neutron (`get_isolated_subnets`), only the router that is the guests' gateway serves them metadata:
            # else whoever puts a router on a shared network takes it from everybody.
            for ip in fixed_ips or ():
                if ip["ip_address"] == gateways.get(ip["subnet_id"]):
                    routed.setdefault(ip["subnet_id"], device_id)
        elif bound:
            dhcp.setdefault((bound, lans.get(port_id, network_id)), port_id)
    for lan_id, row in found.items():
        lan = next((lan for lan in segments.lans_of(row) if lan["id"] == lan_id), None)
        if lan is None:
            continue  # the last port on it is about to leave
        there = [each for each in nested[row["id"]] if each["segment_id"] in (None, lan["segment_id"])]
        for host in hosts[lan_id]:
            item = IntentNetwork(
                id=lan_id,
                project_id=row["project_id"] or "",
                name=row["name"] or "",
                network_type=lan["network_type"],
                physical_network=lan["physical_network"],
                segmentation_id=lan["segmentation_id"],
                mtu_bytes=row["mtu"] or settings.path_mtu,
                local_vlan=vlans[host, lan_id],
                admin_state_up=bool(row["admin_state_up"]),
                external=bool(row["router:external"]),
                subnets=tuple(subnet(each) for each in there),
                dhcp_port_id=dhcp.get((host, lan_id)),
                routed_by=next((routed[each["id"]] for each in there if each["id"] in routed), None),
                dns_domain=settings.dns_domain,
                qos_policy_id=row["qos_policy_id"],
                segment_of=None if lan_id == row["id"] else row["id"],
            )
            asks = item.dhcp_port_id is not None or item.network_type in _TUNNELED
            needs: list[Scope] = [("remote_port", row["id"])] if asks else []
            if row["qos_policy_id"] is not None:
                needs.append(("qos_policy", row["qos_policy_id"]))
            yield host, Made(item, rows=(("network", row["id"]), *made_of[row["id"]]), needs=tuple(needs))


def _networks(tx: Tx, lan_ids: Collection[str]) -> dict[str, NetworkRow]:
    """The network of each segment."""
    found: dict[str, NetworkRow] = {}
    statement = select(networks)
    for row in whole(tx, networks, lambda chunk: statement.where(networks.c["id"].in_(chunk)), lan_ids):
        found[row["id"]] = row
    further = [lan_id for lan_id in lan_ids if lan_id not in found]
    of = pairs(tx, segment_table.c["id"], segment_table.c["network_id"], further)
    several = {
        row["id"]: row
        for row in whole(tx, networks, lambda chunk: statement.where(networks.c["id"].in_(chunk)), of.values())
    }
    return found | {lan_id: several[network_id] for lan_id, network_id in of.items() if network_id in several}


def _lans_of_dhcp(tx: Tx, found: Mapping[str, NetworkRow], serving: Sequence[AnyRow]) -> dict[str, str]:
    """Of the networks that have several segments: which of them each DHCP port is plugged into."""
    several = {row["id"] for row in found.values() if row["lans"] is not None}
    places = [(row[4], row[0]) for row in serving if row[1] in several and row[2] == DHCP and row[4]]
    return {id: lan_id for (_, id), (_, lan_id) in held(tx, "port", places).items()} if places else {}


def _dirty(touched: Touched) -> Set[str]:
    table = subnets
    within = pairs(touched.tx, table.c["id"], table.c["network_id"], touched.of("subnet")).values()
    served = {port.network_id for port in touched.ports if port.device_owner in (DHCP, *ROUTER_INTERFACES)}
    ids = touched.of("network") | set(within) | served
    further = segment_table.c["id"]
    beyond_first = (
        select(further)
        .join(networks, networks.c["id"] == segment_table.c["network_id"])
        .where(networks.c["lans"].is_not(None), segment_table.c["segment_index"] > 0)
    )
    return ids | {
        row[0] for row in rows(touched.tx, lambda chunk: beyond_first.where(networks.c["id"].in_(chunk)), ids)
    }


PROJECTION = OnHost("network", _dirty, _build)

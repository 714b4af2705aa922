"""Subnets: prefixes of networks, their gateways, pools and who serves them by DHCP.

Source: openstack/neutron, neutron/db/db_base_plugin_v2.py (`_validate_subnet`) and
neutron/ipam/utils.py (`generate_pools`).
"""

from __future__ import annotations

import functools
import ipaddress
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from sqlalchemy import bindparam, delete, select

from deuteron.model.caller import Caller
from deuteron.model.codecs import quoted
from deuteron.model.network import (
    COMPUTE_PREFIX,
    DHCP,
    FLOATING,
    NETWORK,
    PORT,
    ROUTER_GATEWAY,
    ROUTER_INTERFACES,
    SUBNET,
)
from deuteron.model.network.rows import NetworkRow, SubnetRow
from deuteron.model.scalars import Cidr, SubnetId
from deuteron.model.settings import Settings
from deuteron.rules.network import (
    address_scopes,
    addresses,
    dhcp,
    faults,
    ports,
    quotas,
    routed,
    segments,
    sight,
    steps,
    subnet_segments,
    subnetpools,
)
from deuteron.rules.network.addresses import Address, Prefix
from deuteron.rules.network.kinds import ZONE, Kind, add, change, find, new_id, remove
from deuteron.store import query
from deuteron.store.database import Tx
from deuteron.store.network_tables import ip_allocations
from deuteron.store.network_tables import ports as ports_table
from deuteron.store.network_tables import subnets as table
from deuteron.store.prepared import Prepared
from deuteron.store.query import Values

_DHCP_PREFIXES = {4: 30, 6: 126}
"""Longest prefixes that leave room for a DHCP server. Source: neutron-lib, constants."""

_OWNER_PREFIXES = ("network:", "neutron:", *COMPUTE_PREFIX)

_CIDRS = Prepared(select(table.c.cidr).where(table.c.network_id == bindparam("network")))
Pools = list[tuple[Address, Address]]


def create_subnet(tx: Tx, settings: Settings, caller: Caller | None, values: Values) -> SubnetRow:
    """A new subnet; its network's DHCP server gets an address there when it is to serve it.

    Raises: NotFound for the network; BadRequest for a prefix, gateway or pool that cannot be; Conflict.
    """
    quotas.check(tx, "subnet", values["project_id"])
    subnet_id = SubnetId(new_id())
    values = dict(values)
    length = values.pop("prefixlen", None)
    wanted = _wanted(tx, values, length)
    version: int = values["ip_version"]
    if wanted is not None:
        _check_prefix(wanted, values["enable_dhcp"])
    if values.get("gateway_ip") is not None:
        _check_gateway(ipaddress.ip_address(values["gateway_ip"]), version, wanted)
    _check_lists(values, version)
    _check_modes(values, version, wanted)
    network = sight.network_for(tx, caller, values["network_id"])
    addresses.check_mtu(network["id"], network["mtu"], (version,))
    prefix = _prefix(tx, caller, values, wanted, length)
    gateway = _gateway(values, prefix)
    # Of a new subnet no pools are as good as none said; one that is there may be left without any.
    pools = _pools(values.get("allocation_pools") or None, prefix, gateway)
    _refuse_overlap(tx, network, prefix)
    subnetpools.refuse_other_pool(tx, network, version, values.get("subnetpool_id"))
    segment_id = values.get("segment_id")
    if segment_id is not None or not network["l2_adjacency"]:
        subnet_segments.refuse_segment(tx, network, segment_id, values["service_types"])
    row = add(
        tx,
        SUBNET,
        {
            **values,
            "id": subnet_id,
            "cidr": str(prefix),
            "gateway_ip": None if gateway is None else str(gateway),
            "allocation_pools": [{"start": str(low), "end": str(high)} for low, high in pools],
            "router:external": network["router:external"],
        },
    )
    addresses.set_pools(tx, subnet_id, pools)
    steps.made(tx, settings, "subnet", row)
    joined: dict[str, object] = {"subnets": sorted([*network["subnets"], subnet_id]), "availability_zones": [ZONE]}
    if row["subnetpool_id"] is not None:
        joined |= address_scopes.follow(tx, network, row["ip_version"])
    if segment_id is not None:
        joined |= {"l2_adjacency": False, **segments.say(segments.rows_of(tx, network["id"]), is_routed=True)}
    network = change(tx, NETWORK, network, joined)
    if not network["l2_adjacency"]:
        row = subnet_segments.tell_peers(tx, network["id"]).get(subnet_id, row)
    if row["enable_dhcp"]:
        dhcp.serve(tx, settings, network)
    if addresses.is_automatic(row):
        _join_automatic(tx, settings, row)
    elif network["router:external"]:
        _join_gateways(tx, row)
    return row


def update_subnet(tx: Tx, settings: Settings, caller: Caller | None, row: SubnetRow, values: Values) -> SubnetRow:
    """The subnet with `values` set. Raises: BadRequest, Conflict."""
    prefix = ipaddress.ip_network(row["cidr"])
    values = dict(values)
    _check_lists(values, prefix.version)
    if values.get("enable_dhcp") and not row["enable_dhcp"]:
        _check_prefix(prefix, True)
    if "gateway_ip" in values and values["gateway_ip"] != row["gateway_ip"]:
        _refuse_gateway_change(tx, row)
        text = values["gateway_ip"]
        if text is not None:
            _check_gateway(ipaddress.ip_address(text), prefix.version, prefix)
    if "gateway_ip" in values or "allocation_pools" in values:
        text = values.get("gateway_ip", row["gateway_ip"])
        gateway = None if text is None else ipaddress.ip_address(text)
        # On a subnet that is there a null is a list of none, as Neutron reads it; on a new one it asks for the default.
        wanted = (values["allocation_pools"] or []) if "allocation_pools" in values else row["allocation_pools"]
        pools = _pools(wanted, prefix, gateway)
        values["allocation_pools"] = [{"start": str(low), "end": str(high)} for low, high in pools]
        if values["allocation_pools"] != row["allocation_pools"]:
            addresses.set_pools(tx, row["id"], pools)
    if "segment_id" in values:
        subnet_segments.refuse_other_segment(tx, row, values["segment_id"])
    has_moved = values.get("segment_id", row["segment_id"]) != row["segment_id"]
    if row["segment_id"] is not None and values.keys() & {"host_routes", "gateway_ip"}:
        wanted = query.with_values(row, values)
        old_gateway = row["gateway_ip"] if wanted["gateway_ip"] != row["gateway_ip"] else None
        there = addresses.subnets_of(tx, row["network_id"])
        values["host_routes"] = routed.with_peers(wanted, there, old_gateway=old_gateway)
    changed = change(tx, SUBNET, row, values)
    if has_moved:
        subnet_segments.become_routed(tx, settings, changed)
    if changed["enable_dhcp"] != row["enable_dhcp"]:
        network = find(tx, NETWORK, row["network_id"])
        assert network is not None  # a subnet keeps its network
        if changed["enable_dhcp"]:
            dhcp.serve(tx, settings, network)
        else:
            _end_dhcp(tx, settings, row)
    return changed


def delete_subnet(tx: Tx, settings: Settings, caller: Caller | None, row: SubnetRow) -> None:
    """Delete the subnet. Raises: Conflict while ports other than DHCP's have addresses there."""
    held = query.rows(tx, ports_table, ports_table.c.id.in_(addresses.holders(tx, row["id"])))
    automatic = addresses.is_automatic(row)
    for port in held:
        if port["device_owner"] != DHCP and not (automatic and port["device_owner"] not in addresses.ROUTER_OWNERS):
            raise faults.subnet_in_use(row["id"])
        if automatic and row["segment_id"] is not None and len(port["fixed_ips"]) == 1:
            # It would have no address left, and no other subnet that gives it one.
            raise faults.subnet_in_use(row["id"])
    for port in held:
        ports.leave_subnet(tx, settings, port, row["id"])
    addresses.set_pools(tx, row["id"], ())
    tx.execute(delete(ip_allocations).where(ip_allocations.c.subnet_id == row["id"]))
    steps.goes(tx, settings, "subnet", row["id"])
    remove(tx, SUBNET, row["id"])
    network = find(tx, NETWORK, row["network_id"])
    if network is not None:
        left: dict[str, object] = {"subnets": [item for item in network["subnets"] if item != row["id"]]}
        if row["subnetpool_id"] is not None:
            left |= address_scopes.follow(tx, network, row["ip_version"])
        if row["segment_id"] is not None and not routed.is_routed(addresses.subnets_of(tx, network["id"])):
            left |= {"l2_adjacency": True, **segments.say(segments.rows_of(tx, network["id"]))}
        change(tx, NETWORK, network, left)
        if row["segment_id"] is not None:
            subnet_segments.tell_peers(tx, network["id"], gone=row["cidr"])


def pool_size(row: SubnetRow) -> int:
    """How many addresses the allocation pools hold."""
    return sum(
        int(ipaddress.ip_address(pool["end"])) - int(ipaddress.ip_address(pool["start"])) + 1
        for pool in row["allocation_pools"]
    )


def default_pools(prefix: Prefix, gateway: Address | None) -> Pools:
    """All addresses a port may have, without the gateway."""
    if prefix.version == 4 and prefix.prefixlen < 31:
        low, high = int(prefix.network_address) + 1, int(prefix.broadcast_address) - 1
    elif prefix.version == 6 and prefix.prefixlen < 127:
        low, high = int(prefix.network_address) + 1, int(prefix.broadcast_address)
    else:
        low, high = int(prefix.network_address), int(prefix.broadcast_address)
    ranges = [(low, high)]
    if gateway is not None and low <= int(gateway) <= high:
        ranges = [(low, int(gateway) - 1), (int(gateway) + 1, high)]
    return [
        (addresses.address_of(first, prefix.version), addresses.address_of(last, prefix.version))
        for first, last in ranges
        if first <= last
    ]


def _wanted(tx: Tx, values: Values, length: int | None) -> Prefix | None:
    """The prefix that is asked for; None where it is to be a pool's choice, which is in `values` then.

    Raises: BadRequest for what is not said together.
    """
    text = values.get("cidr")
    if text is not None and length is not None:
        raise faults.bad_request("subnets", "cidr and prefixlen must not be supplied together")
    prefix: Prefix | None = None
    if text is not None:
        if "/" not in text:
            raise faults.invalid_input(f"{text} is not in a CIDR format")
        prefix = ipaddress.ip_network(text, strict=False)
    if values.pop("use_default_subnetpool", False):
        if values.get("subnetpool_id") is not None:
            raise faults.bad_request("subnets", "subnetpool_id and use_default_subnetpool cannot both be specified")
        version: int = values["ip_version"] if prefix is None else prefix.version
        values["subnetpool_id"] = subnetpools.default_pool(tx, version)
    if prefix is None:
        if values.get("subnetpool_id") is None:
            raise faults.bad_request("subnets", "a subnetpool must be specified in the absence of a cidr")
        if "allocation_pools" in values:
            raise faults.bad_request("subnets", "allocation_pools allowed only for specific subnet requests")
    elif prefix.version != values["ip_version"]:
        raise faults.invalid_input(f"cidr '{text}' does not match the ip_version '{values['ip_version']}'")
    return prefix


def _prefix(tx: Tx, caller: Caller | None, values: Values, wanted: Prefix | None, length: int | None) -> Prefix:
    pool_id, version = values.get("subnetpool_id"), values["ip_version"]
    if pool_id is None:
        assert wanted is not None  # else it was refused
        return wanted
    prefix = subnetpools.take(tx, caller, pool_id, values["project_id"], version, wanted, length)
    if wanted is None and version == 4 and values.get("gateway_ip") is not None:
        gateway = ipaddress.ip_address(values["gateway_ip"])
        if prefix.prefixlen < 31 and gateway in (prefix.network_address, prefix.broadcast_address):
            # Nobody could know before: Neutron's address management says so, of a clash.
            raise faults.conflict(
                "IpamValueInvalid", f"Gateway IP {gateway} cannot be the network or broadcast IP address {prefix}"
            )
    _check_modes(values, version, prefix)
    _check_prefix(prefix, values["enable_dhcp"])
    return prefix


def _check_modes(values: Values, version: int, prefix: Prefix | None) -> None:
    ra, address = values.get("ipv6_ra_mode"), values.get("ipv6_address_mode")
    if ra is None and address is None:
        return
    if version == 4:
        name = "ipv6_ra_mode" if ra is not None else "ipv6_address_mode"
        raise faults.invalid_input(f"{name} is not valid when ip_version is 4")
    if ra is not None and address is not None and ra != address:
        raise faults.invalid_input(
            f"ipv6_ra_mode set to '{ra}' with ipv6_address_mode set to '{address}' is not valid. "
            "If both attributes are set, they must be the same value"
        )
    if not values["enable_dhcp"]:
        raise faults.invalid_input("ipv6_ra_mode or ipv6_address_mode cannot be set when enable_dhcp is set to False")
    if address in addresses.AUTO_MODES and prefix is not None and prefix.prefixlen != 64:
        raise faults.invalid_input(
            f"Invalid CIDR {prefix} for IPv6 address mode. OpenStack uses the EUI-64 address format, "
            "which requires the prefix to be /64"
        )


def _check_prefix(prefix: Prefix, enable_dhcp: bool) -> None:
    if not enable_dhcp:
        return
    if prefix.is_multicast:
        raise faults.invalid_input("Multicast IP subnet is not supported if enable_dhcp is True")
    if prefix.is_loopback:
        raise faults.invalid_input("Loopback IP subnet is not supported if enable_dhcp is True")
    if prefix.network_address.is_unspecified:
        raise faults.invalid_input("First IP '0' of the subnet is not allowed if enable_dhcp is True")
    if prefix.prefixlen > _DHCP_PREFIXES[prefix.version]:
        raise faults.invalid_input("Subnet has a prefix length that is incompatible with DHCP service enabled")


def _refuse_overlap(tx: Tx, network: NetworkRow, prefix: Prefix) -> None:
    version, low, high = _span(Cidr(str(prefix)))
    for (cidr,) in tx.run(_CIDRS, {"network": network["id"]}):
        other, first, last = _span(cidr)
        if other == version and first <= high and low <= last:
            raise faults.invalid_input(
                f"Requested subnet with cidr: {prefix} for network: {network['id']} overlaps with another subnet"
            )


@functools.lru_cache(maxsize=4096)
def _span(cidr: Cidr) -> tuple[int, int, int]:
    """IP version, first and last address: to read a prefix takes ten times as long as to compare it."""
    prefix = ipaddress.ip_network(cidr)
    return prefix.version, int(prefix.network_address), int(prefix.broadcast_address)


def _check_lists(values: Values, version: int) -> None:
    servers, routes = values.get("dns_nameservers") or [], values.get("host_routes") or []
    for server in servers:
        if ipaddress.ip_address(server).version != version:
            raise faults.invalid_input(f"dns_nameserver '{server}' does not match the ip_version '{version}'")
    for route in routes:
        for name, part in (("destination", route["destination"].split("/")[0]), ("nexthop", route["nexthop"])):
            if ipaddress.ip_address(part).version != version:
                raise faults.invalid_input(f"{name} '{route[name]}' does not match the ip_version '{version}'")


def _refuse_service_types(settings: Settings, values: Mapping[str, Any]) -> None:
    """Raises: BadRequest for what owns no port.

    As Neutron: it adds the letters of `compute:` to the prefixes one by one, so that a word which begins with any of
    them passes, and others depend on that: a word of their own that is on no port but theirs.

    Source: neutron-lib, neutron_lib/api/validators/__init__.py `validate_subnet_service_types`.
    """
    for word in values.get("service_types") or ():
        if not word.startswith(_OWNER_PREFIXES):
            raise faults.refused(
                "InvalidSubnetServiceType", f"Subnet service type {word} does not correspond to a valid device owner."
            )


def _gateway(values: Values, prefix: Prefix) -> Address | None:
    if "gateway_ip" not in values:
        if prefix.version == 6 or prefix.prefixlen == prefix.max_prefixlen:
            # As Neutron: the subnet-router anycast address (RFC 4291 section 2.6.1).
            return prefix.network_address
        return addresses.address_of(
            int(prefix.network_address) + (0 if prefix.prefixlen == prefix.max_prefixlen - 1 else 1), prefix.version
        )
    if values["gateway_ip"] is None:
        return None
    gateway = ipaddress.ip_address(values["gateway_ip"])
    _check_gateway(gateway, prefix.version, prefix)
    return gateway


def _check_gateway(gateway: Address, version: int, prefix: Prefix | None) -> None:
    """A gateway outside the prefix is allowed (it may be on the link), its network and broadcast address are not."""
    if gateway.version != version:
        raise faults.invalid_input(f"gateway_ip '{gateway}' does not match the ip_version '{version}'")
    if prefix is None or prefix.version == 6 or prefix.prefixlen >= 31:
        return
    if gateway in (prefix.network_address, prefix.broadcast_address):
        raise faults.invalid_input("Gateway is not valid on subnet")


def _pools(raw: Any, prefix: Prefix, gateway: Address | None) -> Pools:
    """The pools asked for, checked; all addresses when none are. Raises: BadRequest, Conflict."""
    if raw is None:
        return default_pools(prefix, gateway)
    pools: Pools = []
    for pool in raw:
        low, high = ipaddress.ip_address(pool["start"]), ipaddress.ip_address(pool["end"])
        if low.version != high.version or low.version != prefix.version or int(low) > int(high):
            raise faults.refused("InvalidAllocationPool", f"The allocation pool {quoted(pool)} is not valid.")
        if low not in prefix or high not in prefix or not (_usable(low, prefix) and _usable(high, prefix)):
            raise faults.refused(
                "OutOfBoundsAllocationPool", f"The allocation pool {low}-{high} spans beyond the subnet cidr {prefix}."
            )
        if gateway is not None and gateway.version == low.version and int(low) <= int(gateway) <= int(high):
            raise faults.conflict(
                "GatewayConflictWithAllocationPools",
                f"Gateway ip {gateway} conflicts with allocation pool {low}-{high}.",
            )
        pools.append((low, high))
    pools.sort(key=lambda pair: int(pair[0]))
    for (first, before), (after, last) in pairwise(pools):
        if int(after) <= int(before):
            raise faults.conflict(
                "OverlappingAllocationPools",
                f"Found overlapping allocation pools: {first}-{before} {after}-{last} for subnet {prefix}.",
            )
    return pools


def _usable(address: Address, prefix: Prefix) -> bool:
    return (
        prefix.version == 6
        or prefix.prefixlen >= 31
        or address not in (prefix.network_address, prefix.broadcast_address)
    )


def _refuse_gateway_change(tx: Tx, row: SubnetRow) -> None:
    """The gateway stays while a router's port has it and something depends on it."""
    if row["gateway_ip"] is None or ipaddress.ip_address(row["gateway_ip"]) not in ipaddress.ip_network(row["cidr"]):
        return
    holder = addresses.holder_of(tx, row["id"], row["gateway_ip"])
    if holder is None:
        return
    owner = tx.scalar(select(ports_table.c.device_owner).where(ports_table.c.id == holder))
    if owner in ROUTER_INTERFACES:
        raise faults.conflict(
            "GatewayIpInUse",
            f"Current gateway ip {row['gateway_ip']} already in use by port {holder}. Unable to update.",
        )


def _end_dhcp(tx: Tx, settings: Settings, row: SubnetRow) -> None:
    for port in query.rows(
        tx, ports_table, ports_table.c.network_id == row["network_id"], ports_table.c.device_owner == DHCP
    ):
        ports.leave_subnet(tx, settings, port, row["id"])


def _join_automatic(tx: Tx, settings: Settings, row: SubnetRow) -> None:
    """Guests already there make themselves an address in a new automatic subnet: their ports get it."""
    skipped = (*addresses.ROUTER_OWNERS, DHCP, FLOATING)
    segment_of = {each["id"]: each["segment_id"] for each in addresses.subnets_of(tx, row["network_id"])}
    for port in query.rows(
        tx,
        ports_table,
        ports_table.c.network_id == row["network_id"],
        ports_table.c.device_owner.not_in(skipped),
    ):
        if any(segment_of.get(item["subnet_id"]) == row["segment_id"] for item in port["fixed_ips"]):
            item = addresses.take_exact(tx, row, port["id"], addresses.eui64(row["cidr"], port["mac_address"]))
            change(tx, PORT, port, {"fixed_ips": [*port["fixed_ips"], item]})


def _join_gateways(tx: Tx, row: SubnetRow) -> None:
    """Gateways of routers that have no address of the subnet's family get one from it.

    Source: neutron/db/l3_db.py `update_router_gw_ports`, which by a slip leaves IPv4 out.
    """
    gateways = query.rows(
        tx,
        ports_table,
        ports_table.c.network_id == row["network_id"],
        ports_table.c.device_owner == ROUTER_GATEWAY,
        order_by=(ports_table.c.id,),
    )
    for port in gateways:
        if any(ipaddress.ip_address(item["ip_address"]).version == row["ip_version"] for item in port["fixed_ips"]):
            continue
        if not addresses.serves(row, ROUTER_GATEWAY) or not subnet_segments.is_beside(tx, row, port):
            continue
        item = addresses.take_lowest(tx, row, port["id"], ROUTER_GATEWAY)
        if item is None:
            return
        ports.set_addresses(tx, port, [*port["fixed_ips"], item])


def _seen_as(caller: Caller, row: Mapping[str, object]) -> Mapping[str, object]:
    if row.get("project_id") == caller.project_id or caller.is_admin or caller.is_service:
        return {}
    # Visible and not its own: then its network is external, or shared with it.
    return {"shared": not row.get("router:external")}


KIND = Kind(
    resource=SUBNET,
    max_bulk=32,  # each is held against all others of its network
    create=create_subnet,
    update=update_subnet,
    refuse=_refuse_service_types,
    delete=delete_subnet,
    visible=sight.visible_subnets,
    target=sight.network_target,
    seen_as=_seen_as,
    filters={"shared": sight.by_shared(table.c.network_id)},
)

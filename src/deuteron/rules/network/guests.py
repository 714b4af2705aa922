"""What a guest may be told of the networks that it is on: by the metadata service, and on its config drive."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sqlalchemy import select

from deuteron.model.network import DHCP, ROUTER_INTERFACES
from deuteron.model.network.rows import PortRow, SubnetRow
from deuteron.model.scalars import Ip, Mac, NetworkId, PortId, SecurityGroupId, SubnetId
from deuteron.store import query, slots
from deuteron.store.database import Tx
from deuteron.store.network_tables import (
    floatingips,
    ip_allocations,
    networks,
    ports,
    routers,
    security_groups,
    subnets,
)

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True)
class Asking:
    """The port that a guest asks from, and what its owner wrote of whose it is."""

    port_id: PortId
    device_id: str


def networks_with_dhcp_on(tx: Tx, host: str | None, network_id: str) -> list[NetworkId]:
    """The network, if the host has its DHCP server."""
    serves = ports.c["network_id"] == network_id, ports.c["device_owner"] == DHCP, ports.c["binding:host_id"] == host
    return tx.scalars(select(ports.c["network_id"]).where(*serves).distinct())


def networks_behind_router_on(
    tx: Tx, host: str | None, router_id: str, *, network_id: str | None = None, address: str = ""
) -> list[NetworkId]:
    """The network that the router, which is on the host, has an interface on: the one with this id, or the one where
    `address` is the router's."""
    found = select(ports.c["id"], ports.c["network_id"], routers.c["host"], routers.c["distributed"])
    found = found.join(routers, routers.c["id"] == ports.c["device_id"])
    found = found.where(ports.c["device_id"] == router_id, ports.c["device_owner"].in_(ROUTER_INTERFACES))
    if network_id:
        found = found.where(ports.c["network_id"] == network_id)
    else:
        found = found.join(ip_allocations, ip_allocations.c.port_id == ports.c["id"])
        found = found.where(ip_allocations.c.ip_address == address)
    there = tx.all(found)
    # A distributed router is on other hosts, too.
    asked = {row.id for row in there if row.distributed}
    spread = {id for id, _ in slots.places_of(tx, asked, host or "")} if asked else ()
    return list(dict.fromkeys(row.network_id for row in there if row.host == host or row.id in spread))


def port_at(tx: Tx, network_ids: Sequence[NetworkId], address: Address) -> Asking | None:
    """The port with the address on one of the networks; a link-local IPv6 address is the MAC that it is made of."""
    asks = select(ports.c["id"], ports.c["device_id"]).where(ports.c["network_id"].in_(network_ids))
    if isinstance(address, ipaddress.IPv6Address) and address.is_link_local:
        asks = asks.where(ports.c["mac_address"] == _mac_of(address))
    else:
        asks = asks.join(ip_allocations, ip_allocations.c.port_id == ports.c["id"])
        asks = asks.where(ip_allocations.c.ip_address == str(address))
    row = tx.first(asks)
    return None if row is None else Asking(row.id, row.device_id or "")


def ports_of(tx: Tx, device_id: str) -> dict[PortId, PortRow]:
    """The ports that say they are the device's, by id."""
    return {port["id"]: port for port in query.rows(tx, ports, ports.c["device_id"] == device_id)}


def floating_address_of(tx: Tx, port_ids: Collection[PortId]) -> Ip | None:
    """A floating address of one of the ports."""
    address: Ip | None = tx.scalar(
        select(floatingips.c["floating_ip_address"]).where(floatingips.c["port_id"].in_(port_ids)).limit(1)
    )
    return address


def names_of_groups(tx: Tx, group_ids: Collection[SecurityGroupId]) -> list[str]:
    """In order."""
    named = select(security_groups.c["name"]).where(security_groups.c["id"].in_(group_ids))
    return tx.scalars(named.order_by(security_groups.c["name"]))


def subnets_of(tx: Tx, network_ids: Collection[NetworkId]) -> dict[SubnetId, SubnetRow]:
    """The subnets of the networks, by id."""
    return {row["id"]: row for row in query.rows(tx, subnets, subnets.c["network_id"].in_(network_ids))}


def mtus_of(tx: Tx, network_ids: Collection[NetworkId]) -> dict[NetworkId, int]:
    """The MTU of each network in bytes, by id."""
    sizes = tx.all(select(networks.c["id"], networks.c["mtu"]).where(networks.c["id"].in_(network_ids)))
    return {row.id: row.mtu for row in sizes}


def _mac_of(address: ipaddress.IPv6Address) -> Mac:
    """The MAC of which a link-local address was made (RFC 4291 appendix A); "" for one that was made otherwise.

    Anti-spoofing lets a guest have the one made of its own MAC.
    """
    if address not in ipaddress.IPv6Network("fe80::/64") or address.packed[11:13] != b"\xff\xfe":
        return Mac("")
    octets = bytes([address.packed[8] ^ 2, *address.packed[9:11], *address.packed[13:]])
    return Mac(octets.hex(":"))

"""Distributed routers: their ports, and what becomes of them when a router becomes or is no longer one.

    interfaces  network:router_interface_distributed  on every host that needs them (`spread`), bound on none
    gateway     network:router_gateway                on the router's host
    beside it   network:router_centralized_snat       one for each interface, while there is a gateway

What the gateway is for is done on the router's host, but for floating IPs that the hosts of their ports can translate
(`local_floating`).

Source: neutron/db/l3_dvr_db.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from deuteron.model.intent import LINUX_BRIDGE, MECHANISM
from deuteron.model.network import (
    DISTRIBUTED_VIF,
    DVR_INTERFACE,
    NETWORK,
    PORT,
    ROUTER_INTERFACE,
    ROUTER_INTERFACES,
    ROUTER_SNAT,
)
from deuteron.model.network.rows import PortRow, RouterRow
from deuteron.model.scalars import NetworkId
from deuteron.model.settings import Settings
from deuteron.rules.network import bindings, faults, local_floating, ports, router_hosts, spread
from deuteron.rules.network.kinds import change, find
from deuteron.store import query, slots
from deuteron.store.database import Tx
from deuteron.store.network_tables import ports as table

_PLUGGED: Final = {
    "binding:host_id": "",
    "binding:vif_type": DISTRIBUTED_VIF,
    "binding:vif_details": {},
    "device_owner": DVR_INTERFACE,
}


def refuse(settings: Settings, values: Mapping[str, Any]) -> None:
    """What a router that is to be distributed cannot be here. Raises: BadRequest, Conflict."""
    if not values.get("distributed"):
        return
    if values.get("ha"):
        raise faults.bad_request(
            "router", "A router cannot be both distributed and ha here: its gateway is on one network host"
        )
    if MECHANISM not in settings.mechanism_drivers or LINUX_BRIDGE in settings.mechanism_drivers:
        raise faults.conflict(
            "RouterDistributedNotSupported",
            f"Routers cannot be distributed in a cloud whose hosts run {', '.join(settings.mechanism_drivers)}: every "
            f"host has to run {MECHANISM}, and none {LINUX_BRIDGE}.",
        )


def refuse_network(tx: Tx, row: RouterRow, network_id: NetworkId) -> None:
    """Raises: Conflict for a network of several segments, of which a host may have any."""
    network = find(tx, NETWORK, network_id) if row["distributed"] else None
    if network is not None and network["lans"] is not None:
        raise faults.conflict(
            "RouterDistributedNotSupported",
            f"Router {row['id']} is distributed and cannot have an interface on network {network_id}, which has "
            "several segments.",
        )


def hosts_of(tx: Tx, row: RouterRow) -> list[str]:
    """Where the router is beside its own host, as it is distributed."""
    return spread.hosts_of(tx, [row["id"]]).get(row["id"], []) if row["distributed"] else []


def settle(tx: Tx, settings: Settings, row: RouterRow, hosts: Sequence[str] = ()) -> None:
    """Let a distributed router have the ports that it needs, where it needs them; `hosts` are where it was before.

    Raises: Conflict where a network has no address left.
    """
    if not row["distributed"]:
        return
    interfaces = _ports(tx, row, *ROUTER_INTERFACES)
    for port in interfaces:
        if port["binding:vif_type"] != DISTRIBUTED_VIF or port["device_owner"] != DVR_INTERFACE:
            change(tx, PORT, port, {**bindings.unbind(tx, port["id"]), **_PLUGGED})
    _settle_snat(tx, settings, row, interfaces if row["gateway_port_id"] is not None else [])
    there = {host for port in interfaces for host in slots.hosts_of(tx, port["network_id"])}
    for host in sorted({*there, *hosts}):
        spread.follow(tx, host)
    local_floating.settle_router(tx, settings, row)
    tx.changed("router", row["id"])


def follow(tx: Tx, settings: Settings, before: RouterRow, after: RouterRow) -> RouterRow:
    """The router after it became distributed, or is it no longer."""
    if before["distributed"] == after["distributed"]:
        return after
    if after["distributed"]:
        for port in _ports(tx, after, *ROUTER_INTERFACES):
            refuse_network(tx, after, port["network_id"])
        settle(tx, settings, after)
        return after
    hosts = hosts_of(tx, before)
    _settle_snat(tx, settings, after, [])
    host = router_hosts.host_for(tx, settings, after)
    for port in _ports(tx, after, DVR_INTERFACE):
        change(tx, PORT, port, {**bindings.unbind(tx, port["id"]), "device_owner": ROUTER_INTERFACE})
        if host:
            ports.bind_port(tx, settings, port["id"], host)
    for each in hosts:
        spread.follow(tx, each)
    local_floating.settle_router(tx, settings, after)
    tx.changed("router", after["id"])
    return after


def _settle_snat(tx: Tx, settings: Settings, row: RouterRow, interfaces: Sequence[PortRow]) -> None:
    """One port for each interface, with an address of each of its subnets, on the router's host."""
    wanted = {_subnets(port): port["network_id"] for port in interfaces}
    for port in _ports(tx, row, ROUTER_SNAT):
        if wanted.pop(_subnets(port), None) is None:
            ports.delete_port(tx, settings, port["id"])
    for subnet_ids, network_id in wanted.items():
        ports.create_port(
            tx,
            settings,
            None,
            {
                "network_id": network_id,
                "project_id": "",
                "device_owner": ROUTER_SNAT,
                "device_id": row["id"],
                "fixed_ips": [{"subnet_id": subnet_id} for subnet_id in subnet_ids],
                "binding:host_id": row["host"] or "",
            },
        )


def _subnets(port: PortRow) -> tuple[str, ...]:
    return tuple(sorted(item["subnet_id"] for item in port["fixed_ips"]))


def _ports(tx: Tx, row: RouterRow, *owners: str) -> list[PortRow]:
    mine = (table.c["device_id"] == row["id"], table.c["device_owner"].in_(owners))
    return query.rows(tx, table, *mine, order_by=(table.c["id"],))

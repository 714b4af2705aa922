"""Which hosts serve a network's DHCP, and the ports that they have for it.

Owns the table `dhcp_hosts`. A network is given a host with its first subnet that DHCP serves, and further ones, or
others, by administrators. Each host has one port there, with an address on every subnet that DHCP serves; where subnets
are on segments, one for each segment that it is connected to. A segment that no host was connected to is served from
when one comes that is. The port of a host that no longer serves it is unplugged and kept: the next host takes it over,
and guests find their server where it was.

Source: neutron/db/agentschedulers_db.py, `add_network_to_dhcp_agent`, `remove_network_from_dhcp_agent`.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Final

from sqlalchemy import ColumnElement, delete, select

from deuteron.model.network import DHCP, NETWORK, PORT
from deuteron.model.network.parts import Lan, WantedIp
from deuteron.model.network.rows import NetworkRow, PortRow, SubnetRow
from deuteron.model.scalars import NetworkId
from deuteron.model.settings import Settings
from deuteron.rules.hosts import registry
from deuteron.rules.hosts.registry import Host
from deuteron.rules.network import addresses, ports, routed, segments
from deuteron.rules.network.kinds import ZONE, change, find
from deuteron.store import query
from deuteron.store.database import Tx
from deuteron.store.network_tables import dhcp_hosts, ip_allocations, subnets
from deuteron.store.network_tables import ports as table
from deuteron.store.network_tables import segments as segment_table

RESERVED: Final = "reserved_dhcp_port"
"""The device of a port that no host has. Source: neutron-lib, constants, `DEVICE_ID_RESERVED_DHCP_PORT`."""


def hosts_of(tx: Tx, network_id: str) -> list[str]:
    """The hosts that serve the network, by name."""
    return tx.scalars(
        select(dhcp_hosts.c.host).where(dhcp_hosts.c.network_id == network_id).order_by(dhcp_hosts.c.host)
    )


def serve(tx: Tx, settings: Settings, network: NetworkRow) -> None:
    """Give the network's hosts an address on each subnet that DHCP serves; it has a host from the first one on.

    Of a network whose subnets are on segments each such segment has a host that is connected to it, if there is one.
    """
    hosts = hosts_of(tx, network["id"])
    if network["l2_adjacency"]:
        missing = settings.operator.network.dhcp_agents_per_network - len(hosts)
        if missing > 0:
            hosts += _with_hosts(tx, network, _others(tx, settings, network["id"], hosts, missing))
    else:
        served = {subnet["segment_id"] for subnet in _served(tx, network)}
        for lan in segments.lans_of(network):
            if lan["segment_id"] in served and not any(lan in routed.lans_on(tx, settings, network, h) for h in hosts):
                hosts += _with_hosts(tx, network, _others(tx, settings, network["id"], hosts, 1, lan))
    for host in hosts:
        _serve_on(tx, settings, network, host)


def _others(
    tx: Tx,
    settings: Settings,
    network_id: str,
    present: Sequence[str],
    count: int,
    lan: Lan | None = None,
) -> list[str]:
    """Up to `count` further hosts that could serve the network, or a segment of it."""

    def able(host: Host) -> bool:
        return host.name not in present and (lan is None or routed.reaches(host.bridge_mappings, lan))

    return registry.network_hosts_for(tx, settings, network_id, registry.DHCP_AGENT, count, able)


def _with_hosts(tx: Tx, network: NetworkRow, hosts: Sequence[str]) -> Sequence[str]:
    for host in hosts:
        tx.insert(dhcp_hosts, {"network_id": network["id"], "host": host})
    return hosts


def leave_others(tx: Tx, settings: Settings, network: NetworkRow) -> None:
    """The network has come to be routed: hosts that are connected to none of its segments serve it no longer."""
    for host in hosts_of(tx, network["id"]):
        if not routed.lans_on(tx, settings, network, host):
            remove_host(tx, settings, network["id"], host)


def unserved_on(tx: Tx, settings: Settings, host: str) -> list[NetworkId]:
    """Networks that have a segment which the host is connected to, with subnets that DHCP was never served to.

    Nobody was connected to it when they were made. What an administrator took from a host has its port still.
    Source: neutron/db/agentschedulers_db.py, `auto_schedule_networks`, which a DHCP agent asks for at its start.
    """
    found = registry.find(tx, settings, host)
    if found is None or "network" not in found.roles:
        return []
    beside = subnets.alias()
    has_port = (
        select(table.c.id)
        .join(ip_allocations, ip_allocations.c.port_id == table.c.id)
        .join(beside, beside.c.id == ip_allocations.c.subnet_id)
        .where(beside.c.segment_id == subnets.c.segment_id, table.c.device_owner == DHCP)
        .exists()
    )
    return tx.scalars(
        select(subnets.c.network_id)
        .distinct()
        .join(segment_table, segment_table.c.id == subnets.c.segment_id)
        .where(subnets.c.enable_dhcp, segment_table.c.physical_network.in_(sorted(found.bridge_mappings)), ~has_port)
        .order_by(subnets.c.network_id)
    )


def serve_late(tx: Tx, settings: Settings, network_id: NetworkId) -> None:
    """Serve what can be served now, of a network that may be gone meanwhile."""
    network = find(tx, NETWORK, network_id)
    if network is not None:
        serve(tx, settings, network)


def add_host(tx: Tx, settings: Settings, network: NetworkRow, host: str) -> bool:
    """Let the host serve the network; whether it did not already."""
    if host in hosts_of(tx, network["id"]):
        return False
    tx.insert(dhcp_hosts, {"network_id": network["id"], "host": host})
    change(tx, NETWORK, network, {"availability_zones": [ZONE]})
    _serve_on(tx, settings, network, host)
    return True


def remove_host(tx: Tx, settings: Settings, network_id: str, host: str) -> bool:
    """Let the host serve the network no longer; whether it did."""
    mine = dhcp_hosts.c.network_id == network_id
    if tx.execute(delete(dhcp_hosts).where(mine, dhcp_hosts.c.host == host)).rowcount == 0:
        return False
    for port in query.rows(tx, table, *_of(network_id), table.c["binding:host_id"] == host):
        ports.update_port(tx, settings, None, port, {"device_id": RESERVED, "binding:host_id": ""})
    network = find(tx, NETWORK, network_id)
    if network is not None and not hosts_of(tx, network_id):
        change(tx, NETWORK, network, {"availability_zones": []})
    return True


def forget(tx: Tx, network_id: str) -> None:
    """The network goes; its ports are its own to delete."""
    tx.execute(delete(dhcp_hosts).where(dhcp_hosts.c.network_id == network_id))


def _served(tx: Tx, network: NetworkRow) -> list[SubnetRow]:
    return [subnet for subnet in addresses.subnets_of(tx, network["id"]) if subnet["enable_dhcp"]]


def _serve_on(tx: Tx, settings: Settings, network: NetworkRow, host: str) -> None:
    served = _served(tx, network)
    if network["l2_adjacency"]:
        _serve_subnets(tx, settings, network, host, served, None)
        return
    for lan in routed.lans_on(tx, settings, network, host):
        on_it = [subnet for subnet in served if subnet["segment_id"] == lan["segment_id"]]
        _serve_subnets(tx, settings, network, host, on_it, lan["segmentation_id"])


def _serve_subnets(
    tx: Tx, settings: Settings, network: NetworkRow, host: str, served: Sequence[SubnetRow], tag: int | None
) -> None:
    """Give the host a port with an address on each of the subnets, which are on one segment."""
    if not served:
        return
    device_id = f"dhcp{uuid.uuid5(uuid.NAMESPACE_DNS, host)}-{network['id']}" + (f"-{tag}" if tag else "")
    of_host = {"device_id": device_id, "binding:host_id": host}
    # Who may not say where a port is plugged cannot make one that is taken for the host's.
    port = _port_of(tx, network, served, table.c["binding:host_id"] == host)
    if port is None:
        port = _port_of(tx, network, served, table.c.device_id == RESERVED, table.c["binding:host_id"] == "")
        if port is not None:
            port = ports.update_port(tx, settings, None, port, of_host)
    if port is None:
        values = {
            "network_id": network["id"],
            "project_id": network["project_id"],
            "device_owner": DHCP,
            "fixed_ips": [{"subnet_id": subnet["id"]} for subnet in served],
            **of_host,
        }
        ports.create_port(tx, settings, None, values)
        return
    held = {item["subnet_id"] for item in port["fixed_ips"]}
    for subnet in served:
        if subnet["id"] not in held:
            wanted: WantedIp = {"subnet_id": subnet["id"]}
            items = addresses.allocate(tx, network["id"], port["id"], port["mac_address"], DHCP, [wanted], [subnet])
            port = change(tx, PORT, port, {"fixed_ips": [*port["fixed_ips"], *items]})


def _port_of(tx: Tx, network: NetworkRow, served: Sequence[SubnetRow], *where: ColumnElement[bool]) -> PortRow | None:
    """A DHCP port of the network; of one that is routed, a port with addresses on the segment."""
    if network["l2_adjacency"]:
        return query.first(tx, table, *_of(network["id"]), *where)
    (segment_id,) = {subnet["segment_id"] for subnet in served}
    beside = {each["id"] for each in addresses.subnets_of(tx, network["id"]) if each["segment_id"] == segment_id}
    found = query.rows(tx, table, *_of(network["id"]), *where, order_by=(table.c.id,))
    return next((port for port in found if any(item["subnet_id"] in beside for item in port["fixed_ips"])), None)


def _of(network_id: str) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return table.c.network_id == network_id, table.c.device_owner == DHCP

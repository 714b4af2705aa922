"""A network for a project that asks for one: with subnets from the default pools, behind a router to the outside.

Made when it is first asked for, all or nothing, and gone with its network.

Source: neutron/services/auto_allocate/db.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from sqlalchemy import bindparam, delete, select

from deuteron.model.caller import Caller
from deuteron.model.errors import BadRequest, Conflict, NotFound
from deuteron.model.network import NETWORK, ROUTER, SUBNET
from deuteron.model.network.rows import NetworkRow, RouterRow, SubnetRow
from deuteron.model.scalars import NetworkId, ProjectId, SubnetPoolId
from deuteron.model.settings import Settings
from deuteron.rules.network import attributes, faults, networks, routers, subnetpools, subnets
from deuteron.rules.network.kinds import find
from deuteron.store import query
from deuteron.store.database import Tx
from deuteron.store.network_tables import auto_allocated_topologies as table
from deuteron.store.network_tables import networks as networks_table
from deuteron.store.network_tables import subnetpools as pools_table
from deuteron.store.network_tables import subnets as subnets_table
from deuteron.store.prepared import Prepared

NAME: Final = "auto_allocated"
_NETWORK_OF: Final = Prepared(select(table.c.network_id).where(table.c.project_id == bindparam("project")))


def network_of(tx: Tx, project_id: ProjectId) -> NetworkId | None:
    """The network that was made for the project."""
    found: NetworkId | None = tx.run(_NETWORK_OF, {"project": project_id}).scalar()
    return found


def check(tx: Tx, caller: Caller) -> None:
    """Raises: Conflict when there is no default external network, or no default pool."""
    _outside(tx)
    if not _pools(tx, caller):
        raise _failure("No default subnetpools defined")


def provide(tx: Tx, settings: Settings, caller: Caller, project_id: ProjectId) -> NetworkId:
    """The network that is made for the project, or was. Raises: Conflict for what the cloud lacks, or a full quota."""
    found = network_of(tx, project_id)
    if found is not None:
        return found
    outside = _outside(tx)
    pools = _pools(tx, caller)
    if not pools:
        raise _failure("Unable to provide project private network")
    try:
        network = _network(tx, settings, caller, project_id)
        inside = [_subnet(tx, settings, caller, project_id, network, version, pool) for version, pool in pools.items()]
    except (BadRequest, NotFound):
        raise _failure("Unable to provide project private network") from None
    try:
        router = _router(tx, settings, caller, project_id, outside)
        for subnet in inside:
            routers.add_interface(tx, settings, caller, router, {"subnet_id": subnet["id"]})
    except BadRequest:
        raise _failure("Unable to provide external connectivity") from None
    tx.insert(table, {"project_id": project_id, "network_id": network["id"], "router_id": router["id"]})
    return network["id"]


def take_down(tx: Tx, settings: Settings, caller: Caller, project_id: ProjectId) -> None:
    """Delete the network and the router that were made for the project. Raises: Conflict while they are in use."""
    row = tx.first(select(table.c.network_id, table.c.router_id).where(table.c.project_id == project_id))
    if row is None:
        return
    router = find(tx, ROUTER, row.router_id)
    if router is not None:
        own = set(tx.scalars(select(subnets_table.c.id).where(subnets_table.c.network_id == row.network_id)))
        for port in routers.interface_ports(tx, router["id"]):
            if own & {fixed["subnet_id"] for fixed in port["fixed_ips"]}:
                routers.remove_interface(tx, settings, caller, router, {"port_id": port["id"]})
        router = find(tx, ROUTER, row.router_id)
    if router is not None:
        routers.delete_router(tx, settings, caller, router)
    network = find(tx, NETWORK, row.network_id)
    if network is not None:
        networks.delete_network(tx, settings, caller, network)
    tx.execute(delete(table).where(table.c.project_id == project_id))


def _outside(tx: Tx) -> NetworkId:
    default = networks_table.c.is_default, networks_table.c["router:external"]
    found: NetworkId | None = tx.scalar(select(networks_table.c.id).where(*default).limit(1))
    if found is None:
        raise _failure("No default router:external network")
    return found


def _pools(tx: Tx, caller: Caller) -> Mapping[int, SubnetPoolId]:
    """The default pools that the caller may use, by IP version."""
    visible = subnetpools.KIND.visible(caller)
    conditions = (pools_table.c.is_default, *(() if visible is None else (visible,)))
    return {
        pool["ip_version"]: pool["id"]
        for pool in query.rows(tx, pools_table, *conditions, order_by=(pools_table.c.ip_version,))
    }


def _network(tx: Tx, settings: Settings, caller: Caller, project_id: ProjectId) -> NetworkRow:
    body = {"name": f"{NAME}_network", "project_id": project_id}
    return networks.create_network(tx, settings, caller, attributes.decode_create(NETWORK, body, caller))


def _subnet(
    tx: Tx,
    settings: Settings,
    caller: Caller,
    project_id: ProjectId,
    network: NetworkRow,
    version: int,
    pool_id: SubnetPoolId,
) -> SubnetRow:
    body = {
        "name": f"{NAME}_subnet_v{version}",
        "network_id": network["id"],
        "project_id": project_id,
        "ip_version": version,
        "subnetpool_id": pool_id,
    }
    return subnets.create_subnet(tx, settings, caller, attributes.decode_create(SUBNET, body, caller))


def _router(tx: Tx, settings: Settings, caller: Caller, project_id: ProjectId, outside: NetworkId) -> RouterRow:
    gateway = {"network_id": outside}
    body = {"name": f"{NAME}_router", "project_id": project_id, "external_gateway_info": gateway}
    return routers.create_router(tx, settings, caller, attributes.decode_create(ROUTER, body, caller))


def _failure(reason: str) -> Conflict:
    return faults.conflict("AutoAllocationFailure", f"Deployment error: {reason}.")

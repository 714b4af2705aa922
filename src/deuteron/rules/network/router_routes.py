"""The static routes of routers."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from sqlalchemy import select

from deuteron.model.network import MAX_ROUTES, ROUTER, ROUTER_GATEWAY, ROUTER_INTERFACES
from deuteron.model.network.parts import Route
from deuteron.model.network.rows import RouterRow
from deuteron.rules.network import attributes, faults, quotas
from deuteron.store.database import Tx
from deuteron.store.network_tables import ip_allocations
from deuteron.store.network_tables import ports as ports_table
from deuteron.store.network_tables import subnets as subnets_table


def check(tx: Tx, row: RouterRow, routes: Sequence[Route]) -> None:
    """Each next hop is in a subnet of the router, and is not the router. Raises: BadRequest, Conflict (OverQuota)."""
    if len(routes) > MAX_ROUTES:  # those that are there and those that are added, together
        raise attributes.too_many(ROUTER.by_name["routes"], MAX_ROUTES)
    if not routes:
        return
    held = tx.all(
        select(subnets_table.c.cidr, ip_allocations.c.ip_address)
        .join(ip_allocations, ip_allocations.c.subnet_id == subnets_table.c.id)
        .join(ports_table, ports_table.c.id == ip_allocations.c.port_id)
        .where(
            ports_table.c.device_id == row["id"], ports_table.c.device_owner.in_((*ROUTER_INTERFACES, ROUTER_GATEWAY))
        )
    )
    prefixes = [ipaddress.ip_network(cidr) for cidr, _ in held]
    own = {address for _, address in held}
    for route in routes:
        hop = ipaddress.ip_address(route["nexthop"])
        if not any(hop.version == prefix.version and hop in prefix for prefix in prefixes):
            reason = "the nexthop is not connected with router"
        elif str(hop) in own:
            reason = "the nexthop is used by router"
        else:
            continue
        raise faults.refused("InvalidRoutes", f"Invalid format for routes: {list(routes)}, {reason}")
    quotas.check_items(tx, "router_route", row["project_id"], len(routes))

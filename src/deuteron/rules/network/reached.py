"""What needs an interface of a router: floating IPs, forwarded ports, addresses answered for, and routes."""

from __future__ import annotations

import ipaddress

from sqlalchemy import select

from deuteron.model.network import SUBNET
from deuteron.model.network.rows import RouterRow
from deuteron.model.scalars import SubnetId
from deuteron.rules.network import faults, forwarded, proxied
from deuteron.rules.network.kinds import find
from deuteron.store.database import Tx
from deuteron.store.network_tables import floatingips, ip_allocations


def refuse_in_use(tx: Tx, row: RouterRow, subnet_id: SubnetId) -> None:
    """Raises: Conflict while something needs the router's interface on the subnet."""
    proxied.refuse_without_subnet(tx, row, subnet_id)
    subnet = find(tx, SUBNET, subnet_id)
    if subnet is None:
        return
    inside = select(ip_allocations.c.port_id).where(ip_allocations.c.subnet_id == subnet_id)
    led = select(floatingips.c.fixed_ip_address).where(
        floatingips.c.router_id == row["id"], floatingips.c.port_id.in_(inside)
    )
    for fixed in (*tx.scalars(led), *forwarded.led_to(tx, row["id"], inside)):
        if ipaddress.ip_address(fixed) in ipaddress.ip_network(subnet["cidr"]):
            raise faults.conflict(
                "RouterInterfaceInUseByFloatingIP",
                f"Router interface for subnet {subnet_id} on router {row['id']} cannot be deleted, as it is required "
                "by one or more floating IPs.",
            )
    for route in row["routes"]:
        if ipaddress.ip_address(route["nexthop"]) in ipaddress.ip_network(subnet["cidr"]):
            raise faults.conflict(
                "RouterInterfaceInUseByRoute",
                f"Router interface for subnet {subnet_id} on router {row['id']} cannot be deleted, as it is required "
                "by one or more routes.",
            )

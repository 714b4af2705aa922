"""Floating IP pools: the IPv4 subnets of external networks, from which floating IPs get their addresses.

Source: neutron/db/l3_fip_pools_db.py; neutron-lib, neutron_lib/api/definitions/floatingip_pools.py.
"""

from __future__ import annotations

from sqlalchemy import select

from deuteron.api.call import Call, Reply
from deuteron.api.network import lists
from deuteron.rules.network import sight
from deuteron.store.database import Tx
from deuteron.store.network_tables import networks, subnets
from deuteron.store.query import Values


def list_pools(call: Call, tx: Tx) -> Reply:
    """GET /floatingip_pools: each of those that the caller may use, as its own."""
    owner: Values = dict.fromkeys(("project_id", "tenant_id"), call.caller.project_id)
    if not call.policy.check(call.caller, "get_floatingip_pool", owner):
        return lists.answer(call, lists.POOLS, [])
    visible = sight.visible_networks(call.caller)
    columns = (subnets.c.id, subnets.c.name, subnets.c.network_id, subnets.c.cidr)
    statement = (
        select(*columns)
        .join(networks, networks.c.id == subnets.c.network_id)
        .where(networks.c["router:external"], subnets.c.ip_version == 4, *(() if visible is None else (visible,)))
        .order_by(subnets.c.id)
    )
    shown = [
        {"subnet_id": id, "subnet_name": name, "network_id": network_id, "cidr": cidr, **owner}
        for id, name, network_id, cidr in tx.all(statement)
    ]
    return lists.answer(call, lists.POOLS, shown)

"""Taking back what a request made: for after-commit steps that fail (SEEDS NS-05)."""

from __future__ import annotations

from deuteron.model.network import FLOATING, NETWORK, PORT, ROUTER, ROUTER_GATEWAY, ROUTER_INTERFACES, SUBNET
from deuteron.model.network.rows import PortRow
from deuteron.model.settings import Settings
from deuteron.net.mechanisms import Step
from deuteron.rules.network import floatingips, networks, ports, routers, subnets
from deuteron.rules.network.kinds import find, touch
from deuteron.store import query
from deuteron.store.database import Tx
from deuteron.store.network_tables import floatingips as floatingips_table


def undo(tx: Tx, settings: Settings, step: Step) -> str | None:
    """Delete the object that `step` tells of, if it is still there; what has lost its port by that, a server perhaps.

    Raises: ApiError when somebody else has come to use the object meanwhile.
    """
    if step.kind == "network":
        if (network := find(tx, NETWORK, step.id)) is not None:
            networks.delete_network(tx, settings, None, network)
    elif step.kind == "subnet":
        if (subnet := find(tx, SUBNET, step.id)) is not None:
            subnets.delete_subnet(tx, settings, None, subnet)
    elif (port := find(tx, PORT, step.id)) is not None:
        return _undo_port(tx, settings, port)
    return None


def _undo_port(tx: Tx, settings: Settings, port: PortRow) -> str | None:
    owner, device = port["device_owner"], port["device_id"]
    if owner == FLOATING:
        floating = query.first(tx, floatingips_table, floatingips_table.c.floating_port_id == port["id"])
        if floating is not None:
            floatingips.delete_floatingip(tx, settings, None, floating)
    elif owner == ROUTER_GATEWAY:
        router = find(tx, ROUTER, device)
        if router is not None and router["gateway_port_id"] == port["id"]:
            routers.clear_gateway(tx, settings, router)
    ports.delete_port(tx, settings, port["id"])
    if owner in ROUTER_INTERFACES and find(tx, ROUTER, device) is not None:
        touch(tx, ROUTER, device)
    return device or None

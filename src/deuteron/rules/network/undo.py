"""Taking back what a request made: for after-commit steps that fail (SEEDS NS-05)."""

from __future__ import annotations

from deuteron.model.network import FLOATING, ROUTER_GATEWAY, ROUTER_INTERFACE
from deuteron.model.settings import Settings
from deuteron.net.mechanisms import Step
from deuteron.rules.network import floatingips, networks, ports, routers, subnets
from deuteron.rules.network.kinds import find, touch
from deuteron.store import query
from deuteron.store.database import Tx
from deuteron.store.network_tables import floatingips as floatingips_table
from deuteron.store.query import Values


def undo(tx: Tx, settings: Settings, step: Step) -> str | None:
    """Delete the object that `step` tells of, if it is still there; what has lost its port by that, a server perhaps.

    Raises: ApiError when somebody else has come to use the object meanwhile.
    """
    row = find(tx, step.kind, step.id)
    if row is None:
        return None
    if step.kind == "network":
        networks.delete_network(tx, settings, None, row)
    elif step.kind == "subnet":
        subnets.delete_subnet(tx, settings, None, row)
    else:
        return _undo_port(tx, settings, row)
    return None


def _undo_port(tx: Tx, settings: Settings, port: Values) -> str | None:
    owner, device = port["device_owner"], port["device_id"]
    if owner == FLOATING:
        floating = query.first(tx, floatingips_table, floatingips_table.c.floating_port_id == port["id"])
        if floating is not None:
            floatingips.delete_floatingip(tx, settings, None, floating)
    elif owner == ROUTER_GATEWAY:
        router = find(tx, "router", device)
        if router is not None and router["gateway_port_id"] == port["id"]:
            routers.clear_gateway(tx, settings, router)
    ports.delete_port(tx, settings, port["id"])
    if owner == ROUTER_INTERFACE and find(tx, "router", device) is not None:
        touch(tx, "router", device)
    return device or None

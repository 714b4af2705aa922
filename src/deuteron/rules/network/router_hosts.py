"""Which host runs a router: its ports are plugged in there, and go with it.

Source: neutron/db/l3_agentschedulers_db.py.
"""

from __future__ import annotations

from deuteron.model.network import HA_ROUTER_INTERFACE, ROUTER, ROUTER_GATEWAY, ROUTER_INTERFACE, ROUTER_SNAT
from deuteron.model.network.rows import PortRow, RouterRow
from deuteron.model.settings import Settings
from deuteron.rules.hosts import registry
from deuteron.rules.network import ports
from deuteron.rules.network.kinds import ZONE, change
from deuteron.store import query
from deuteron.store.database import Tx
from deuteron.store.network_tables import ports as table

OWNERS = (ROUTER_INTERFACE, HA_ROUTER_INTERFACE, ROUTER_GATEWAY, ROUTER_SNAT)
"""Of the ports that go where their router goes."""


def host_for(tx: Tx, settings: Settings, row: RouterRow) -> str:
    """The router's host; where it has none, one that is chosen, with the ports it has. Empty where there is none."""
    if row["host"]:
        return row["host"]
    for host in registry.network_hosts_for(tx, settings, row["id"], registry.L3_AGENT, 1):
        _plug(tx, settings, row, host)
        return host
    return ""


def move(tx: Tx, settings: Settings, row: RouterRow, host: str | None) -> RouterRow:
    """The router on `host`, its ports too; on None it runs nowhere until it is given a host or changes its ports."""
    _plug(tx, settings, row, host)
    return change(tx, ROUTER, row, {"host": host, "availability_zones": [ZONE] if host else []})


def _plug(tx: Tx, settings: Settings, row: RouterRow, host: str | None) -> None:
    for port in ports_of(tx, row):
        if host is None:
            ports.unbind_port(tx, settings, port["id"])
        else:
            ports.bind_port(tx, settings, port["id"], host)


def ports_of(tx: Tx, row: RouterRow) -> list[PortRow]:
    """The ports that go where the router goes, by id."""
    return query.rows(
        tx,
        table,
        table.c.device_id == row["id"],
        table.c.device_owner.in_(OWNERS),
        order_by=(table.c.id,),
    )

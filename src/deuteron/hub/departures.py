"""Hosts that leave the cloud: what they still carry, of every service, and that nothing is left of them."""

from __future__ import annotations

from sqlalchemy import ColumnElement, Table, or_, select

from deuteron.model.departures import Carried, Named
from deuteron.model.errors import Conflict
from deuteron.model.settings import Settings
from deuteron.rules.hosts import registry
from deuteron.rules.network import local_floating, spread
from deuteron.store.compute_tables import migrations, servers
from deuteron.store.database import Tx
from deuteron.store.network_tables import dhcp_hosts, networks, routers
from deuteron.store.volume_tables import backups, volumes

_MOST = 1000
"""Of each kind: who sees so many knows enough."""
_RETURNING = ("finished",)
"""Migrations that were not confirmed: the server may be reverted to where it was."""


def carried(tx: Tx, host: str) -> Carried:
    """What would be lost, or stand still, without the host."""
    coming_back = select(migrations.c["server_id"]).where(
        migrations.c["source"] == host, migrations.c["status"].in_(_RETURNING)
    )
    on_server = or_(servers.c["host"] == host, servers.c["other_host"] == host, servers.c["id"].in_(coming_back))
    served = select(dhcp_hosts.c.network_id).where(dhcp_hosts.c.host == host)
    return Carried(
        servers=_named(tx, servers, on_server),
        volumes=_named(tx, volumes, or_(volumes.c["host"] == host, volumes.c["other_host"] == host)),
        backups=_named(tx, backups, backups.c["host"] == host),
        routers=_named(tx, routers, routers.c["host"] == host),
        networks=_named(tx, networks, networks.c["id"].in_(served)),
    )


def forget(tx: Tx, settings: Settings, host: str) -> None:
    """Nothing is known of the host any more: a host of this name that comes is a new one.

    Raises: Conflict while it is one of the cloud's, or connected, or carries anything.
    """
    found = registry.find(tx, settings, host)
    if found is None:
        return
    if host in settings.hosts or found.connected:
        raise Conflict(f"host {host} is in the cloud's topology", type="HTTPConflict")
    if words := carried(tx, host).words():
        raise Conflict(f"host {host} carries {', '.join(words)}", type="HTTPConflict")
    registry.forget(tx, host)
    spread.forget(tx, host)
    local_floating.settle_host(tx, settings, host)


def _named(tx: Tx, table: Table, condition: ColumnElement[bool]) -> tuple[Named, ...]:
    statement = select(table.c["id"], table.c["name"]).where(condition).order_by(table.c["name"], table.c["id"])
    return tuple(Named(row.id, row.name or "") for row in tx.all(statement.limit(_MOST)))

"""What of the outside is the cloud's."""

from __future__ import annotations

from sqlalchemy import select

from deuteron.store.database import Tx
from deuteron.store.network_tables import networks, subnets


def networks_outside(tx: Tx) -> list[str]:
    """The CIDRs of the subnets outside: floating IPs and gateways of routers have addresses there."""
    external = select(networks.c.id).where(networks.c["router:external"])
    return tx.scalars(select(subnets.c.cidr).where(subnets.c.network_id.in_(external)))

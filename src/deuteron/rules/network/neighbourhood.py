"""What DNS and DHCP on the external network, which the host `outside` serves, know of the cloud.

Names are those of ports that a floating IP leads to, in the domain that the operator set (`dns_assignment` shows them):
nobody can have one of another domain. Of several ports with one name the first that was made has it outside.
"""

from __future__ import annotations

import re

from sqlalchemy import exists, select

from deuteron.model.outside import Neighbourhood
from deuteron.model.settings import Settings
from deuteron.rules.network import dns
from deuteron.store.database import Tx
from deuteron.store.network_tables import floatingips, ip_allocations, ports, segments

_HOST_NAME = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)(\.(?!-)[a-z0-9-]{1,63}(?<!-))*")


def neighbourhood(tx: Tx, settings: Settings) -> Neighbourhood:
    """The names and the stations, in order."""
    return Neighbourhood(_names(tx, settings) if dns.are_given(settings) else (), _stations(tx))


def _names(tx: Tx, settings: Settings) -> tuple[tuple[str, str], ...]:
    tail = f".{settings.dns_domain}"
    found: dict[str, str] = {}
    for name, address in tx.all(
        select(ports.c["dns_name"], floatingips.c["floating_ip_address"])
        .join(ports, ports.c["id"] == floatingips.c["port_id"])
        .where(ports.c["dns_name"] != "")
        .order_by(ports.c["created_at"], floatingips.c["floating_ip_address"])
    ):
        whole = name.removesuffix(".") if name.endswith(".") else f"{name}{tail}"
        # A name may be made of a keyword of Neutron's, <user_name>: that is none of a host.
        if _HOST_NAME.fullmatch(whole):
            found.setdefault(whole, address)
    return tuple(sorted(found.items()))


def _stations(tx: Tx) -> tuple[str, ...]:
    """The MACs of guests on flat networks that have an address there, given by the cloud."""
    has_address = exists().where(ip_allocations.c.port_id == ports.c["id"])
    flat = select(segments.c["network_id"]).where(segments.c["network_type"] == "flat")
    return tuple(
        sorted(
            tx.scalars(
                select(ports.c["mac_address"]).where(
                    ports.c["network_id"].in_(flat), ~ports.c["device_owner"].startswith("network:"), has_address
                )
            )
        )
    )

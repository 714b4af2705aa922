"""The external networks of the cloud as the host `outside` needs them: it plays the routers beyond.

A gateway that is an address of a port is somebody's already; `outside` leaves it alone.
"""

from __future__ import annotations

import ipaddress
from collections import defaultdict

from sqlalchemy import exists, select

from deuteron.model.outside import ExternalNetwork
from deuteron.store.database import Tx
from deuteron.store.network_tables import ip_allocations, networks, subnets


def external_networks(tx: Tx) -> list[ExternalNetwork]:
    """Flat ones and VLANs, in order."""
    of_a_port = exists().where(
        ip_allocations.c.network_id == subnets.c["network_id"], ip_allocations.c.ip_address == subnets.c["gateway_ip"]
    )
    on_wires = networks.c["router:external"].is_(True), networks.c["provider:network_type"].in_(("flat", "vlan"))
    gateways: dict[str, list[str]] = defaultdict(list)
    for network_id, gateway, cidr in tx.all(
        select(subnets.c["network_id"], subnets.c["gateway_ip"], subnets.c["cidr"])
        .join(networks, networks.c["id"] == subnets.c["network_id"])
        .where(*on_wires, subnets.c["gateway_ip"].is_not(None), ~of_a_port)
    ):
        gateways[network_id].append(f"{gateway}/{ipaddress.ip_network(cidr).prefixlen}")
    columns = (networks.c["id"], networks.c["provider:physical_network"], networks.c["provider:segmentation_id"])
    found = [
        ExternalNetwork(physical_network, vlan_id or None, tuple(sorted(gateways[id])))
        for id, physical_network, vlan_id in tx.all(select(*columns).where(*on_wires))
    ]
    found.sort(key=lambda network: (network.physical_network, network.vlan_id or 0))
    return found

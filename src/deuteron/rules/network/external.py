"""The external networks of the cloud as the host `outside` needs them: it plays the routers beyond.

A gateway that is an address of a port is somebody's already; `outside` leaves it alone.
"""

from __future__ import annotations

import ipaddress
from collections import defaultdict

from sqlalchemy import exists, select

from deuteron.model.outside import ExternalNetwork
from deuteron.store.database import Tx
from deuteron.store.network_tables import ip_allocations, networks, segments, subnets


def external_networks(tx: Tx) -> list[ExternalNetwork]:
    """Flat ones and VLANs, in order."""
    of_a_port = exists().where(
        ip_allocations.c.network_id == subnets.c["network_id"], ip_allocations.c.ip_address == subnets.c["gateway_ip"]
    )
    is_external = networks.c["router:external"].is_(True)
    gateways: dict[tuple[str, str | None], list[str]] = defaultdict(list)
    for network_id, segment_id, gateway, cidr in tx.all(
        select(subnets.c["network_id"], subnets.c["segment_id"], subnets.c["gateway_ip"], subnets.c["cidr"])
        .join(networks, networks.c["id"] == subnets.c["network_id"])
        .where(is_external, subnets.c["gateway_ip"].is_not(None), ~of_a_port)
    ):
        gateways[network_id, segment_id].append(f"{gateway}/{ipaddress.ip_network(cidr).prefixlen}")
    on_wires = (
        select(networks.c["id"], segments.c["id"], segments.c["physical_network"], segments.c["segmentation_id"])
        .join(segments, segments.c["network_id"] == networks.c["id"])
        .where(is_external, segments.c["network_type"].in_(("flat", "vlan")))
    )
    found = [
        ExternalNetwork(physical_network, vlan_id or None, tuple(sorted(gateways[id, None] + gateways[id, segment_id])))
        for id, segment_id, physical_network, vlan_id in tx.all(on_wires)
    ]
    found.sort(key=lambda network: (network.physical_network, network.vlan_id or 0))
    return found

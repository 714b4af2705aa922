"""What an empty cloud begins with: what its security groups begin with, and the external network `public`."""

from __future__ import annotations

import ipaddress

from sqlalchemy import select

from deuteron.model.identity import DEFAULT_DOMAIN
from deuteron.model.network import NETWORK, RBAC_POLICY, SUBNET
from deuteron.model.scalars import NetworkId, SubnetId
from deuteron.model.settings import Settings
from deuteron.net.mechanisms import Segment
from deuteron.rules.identity.projects import ids_named
from deuteron.rules.network import addresses, group_defaults, segments, steps
from deuteron.rules.network.kinds import ZONE, add, new_id
from deuteron.store.database import Tx
from deuteron.store.network_tables import networks

NETWORK_NAME = "public"
SUBNET_NAME = "public-subnet"


def bootstrap(tx: Tx, settings: Settings) -> None:
    """Make the templates of rules and the external network, once: when no network is there yet.

    Identity was bootstrapped before.
    """
    group_defaults.bootstrap(tx)
    external = settings.external
    if external is None or tx.first(select(networks.c.id).limit(1)) is not None:
        return
    project_id = next(iter(ids_named(tx, "admin", DEFAULT_DOMAIN)), "")
    segment = Segment("flat", external.physical_network)
    network_id, subnet_id = NetworkId(new_id()), SubnetId(new_id())
    segments.put(tx, network_id, segment, 0, {})
    network = add(
        tx,
        NETWORK,
        {
            "id": network_id,
            "name": NETWORK_NAME,
            "project_id": project_id,
            "admin_state_up": True,
            "mtu": segments.mtu_of(settings, [segment]),
            "status": "ACTIVE",
            "subnets": [subnet_id],
            "shared": False,
            "availability_zone_hints": [],
            "availability_zones": [ZONE],
            "router:external": True,
            "description": "",
            "port_security_enabled": True,
            "is_default": True,
            "ha": False,
            "l2_adjacency": True,
            "dns_domain": "",
            "provider:network_type": "flat",
            "provider:physical_network": external.physical_network,
        },
    )
    add(
        tx,
        RBAC_POLICY,
        {
            "project_id": project_id,
            "object_type": "network",
            "object_id": network_id,
            "target_tenant": "*",
            "action": "access_as_external",
        },
    )
    prefix = ipaddress.ip_network(external.cidr)
    low, high = external.pool
    subnet = add(
        tx,
        SUBNET,
        {
            "id": subnet_id,
            "name": SUBNET_NAME,
            "project_id": project_id,
            "network_id": network_id,
            "ip_version": prefix.version,
            "enable_dhcp": False,
            "gateway_ip": external.gateway,
            "cidr": str(prefix),
            "allocation_pools": [{"start": low, "end": high}],
            "host_routes": [],
            "dns_nameservers": [],
            "description": "",
            "router:external": True,
            "service_types": [],
            "dns_publish_fixed_ip": False,
        },
    )
    addresses.set_pools(tx, subnet_id, [(ipaddress.ip_address(low), ipaddress.ip_address(high))])
    steps.made(tx, settings, "network", network)
    steps.made(tx, settings, "subnet", subnet)

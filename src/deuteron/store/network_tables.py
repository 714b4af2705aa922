"""Tables of the network service.

One table for each declaration, with nested values as JSON in the row, so that a list is one query. The side
tables hold what must be unique or be found from the other end; the rules that write a row keep them in step
in the same transaction.

`number` is an IP address as 32 hexadecimal digits: it sorts as the address does, for both families.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, Column, Index, Table, Text, UniqueConstraint

from deuteron.model.network import (
    ADDRESS_SCOPE,
    FLOATINGIP,
    NETWORK,
    PORT,
    RBAC_POLICY,
    RESOURCES,
    ROUTER,
    SECURITY_GROUP,
    SECURITY_GROUP_RULE,
    SEGMENT,
    SUBNET,
    SUBNETPOOL,
)
from deuteron.model.resource import Resource, RowT
from deuteron.store.schema import Json, TableOf, metadata, table_for

TABLES: dict[str, TableOf[Any]] = {resource.name: table_for(resource) for resource in RESOURCES}
"""Of each declaration."""


def table_of(resource: Resource[RowT]) -> TableOf[RowT]:
    return TABLES[resource.name]


networks = table_of(NETWORK)
subnets = table_of(SUBNET)
ports = table_of(PORT)
routers = table_of(ROUTER)
floatingips = table_of(FLOATINGIP)
floatingips.append_constraint(UniqueConstraint("port_id", "fixed_ip_address", "floating_network_id"))
security_groups = table_of(SECURITY_GROUP)
security_group_rules = table_of(SECURITY_GROUP_RULE)
security_group_rules.append_constraint(UniqueConstraint("security_group_id", "signature"))
subnetpools = table_of(SUBNETPOOL)
address_scopes = table_of(ADDRESS_SCOPE)
rbac_policies = table_of(RBAC_POLICY)

ip_allocations = Table(
    "network_ip_allocations",
    metadata,
    Column("subnet_id", Text, primary_key=True),
    Column("number", Text, primary_key=True),
    Column("ip_address", Text, nullable=False, index=True),
    Column("port_id", Text, nullable=False, index=True),
    Column("network_id", Text, nullable=False),
    Index("ix_network_ip_allocations_address", "network_id", "ip_address"),
)
"""Who holds which address."""

ip_pools = Table(
    "network_ip_pools",
    metadata,
    Column("subnet_id", Text, primary_key=True),
    Column("first", Text, primary_key=True),
    Column("last", Text, nullable=False),
    Column("hint", Text, nullable=False),
)
"""Allocation pools. Every address of the pool below `hint` is taken, so the lowest free one is found from there."""

segments = table_of(SEGMENT)

security_group_ports = Table(
    "network_security_group_ports",
    metadata,
    Column("security_group_id", Text, primary_key=True),
    Column("port_id", Text, primary_key=True),
    Index("ix_network_security_group_ports_port", "port_id"),
)
"""Which ports use which group."""

default_groups = Table(
    "network_default_groups",
    metadata,
    Column("project_id", Text, primary_key=True),
    Column("security_group_id", Text, nullable=False, index=True),
)
"""The default group of each project."""

auto_allocated_topologies = Table(
    "network_auto_allocated_topologies",
    metadata,
    Column("project_id", Text, primary_key=True),
    Column("network_id", Text, nullable=False, index=True),
    Column("router_id", Text, nullable=False),
)
"""The network, with its router, that was made for a project that asked for one."""

quotas = Table(
    "network_quotas",
    metadata,
    Column("project_id", Text, primary_key=True),
    Column("resource", Text, primary_key=True),
    Column("limit", BigInteger, nullable=False),
)
"""Limits that differ from the defaults."""

dhcp_hosts = Table(
    "network_dhcp_hosts",
    metadata,
    Column("network_id", Text, primary_key=True),
    Column("host", Text, primary_key=True),
    Index("ix_network_dhcp_hosts_host", "host"),
)
"""Which hosts serve the DHCP of which network."""

ha_networks = Table(
    "network_ha_networks",
    metadata,
    Column("project_id", Text, primary_key=True),
    Column("network_id", Text, nullable=False),
)
"""The network on which the routers of a project that run on several hosts give signs of life."""

ha_routers = Table(
    "network_ha_routers",
    metadata,
    Column("router_id", Text, primary_key=True),
    Column("network_id", Text, nullable=False),
    Column("vr_id", BigInteger, nullable=False),
    UniqueConstraint("network_id", "vr_id"),
)
"""Those routers, each with its virtual router id there (RFC 5798 section 5.2.3)."""

ha_hosts = Table(
    "network_ha_hosts",
    metadata,
    Column("router_id", Text, primary_key=True),
    Column("host", Text, primary_key=True),
    Column("port_id", Text, nullable=False),
    Column("state", Text, nullable=False),
    Index("ix_network_ha_hosts_host", "host"),
)
"""Their hosts, the port of each on that network, and what it last said of itself: active or standby."""

dvr_host_macs = Table(
    "network_dvr_host_macs",
    metadata,
    Column("host", Text, primary_key=True),
    Column("mac_address", Text, nullable=False),
    UniqueConstraint("mac_address"),
)
"""The MAC with which a host sends to others what its distributed routers have routed."""

trunk_ports = Table(
    "network_trunk_ports",
    metadata,
    Column("port_id", Text, primary_key=True),
    Column("trunk_id", Text, nullable=False),
    Column("parent_id", Text, nullable=False),
    Column("segmentation_id", BigInteger, nullable=False),
    UniqueConstraint("trunk_id", "segmentation_id"),
)
"""Which port is in which trunk: its subports, and with segmentation id 0 its parent."""

port_bindings = Table(
    "network_port_bindings",
    metadata,
    Column("port_id", Text, primary_key=True),
    Column("host", Text, primary_key=True),
    Column("vnic_type", Text, nullable=False),
    Column("profile", Json, nullable=False),
    Column("vif_type", Text, nullable=False),
    Column("vif_details", Json, nullable=False),
)
"""How ports would be plugged in on hosts where they are not: their inactive bindings."""

steps = Table(
    "network_steps",
    metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("mechanism", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("object_id", Text, nullable=False),
    Column("attributes", Json, nullable=False),
)
"""What mechanisms are still to be told of committed transactions, in the order of `number`."""

Index("ix_network_ports_owner", ports.c["device_owner"])
Index("ix_network_floatingips_floating_port", floatingips.c["floating_port_id"])

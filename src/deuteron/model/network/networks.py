"""Networks, subnets, and where subnets come from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from deuteron.model.codecs import Anything, Boolean, Cidr, Integer, IpAddress, ListOf, Object, OneOf, Text, Uuid
from deuteron.model.network import dns
from deuteron.model.network.codecs import (
    MAX_HOST_ROUTES,
    MAX_PREFIXES,
    NAME_LENGTH,
    Choice,
    Routes,
    ServiceTypes,
)
from deuteron.model.network.shared import (
    ADMIN,
    ADMIN_STATE,
    DESCRIPTION,
    ID,
    NAME,
    PROJECT_ID,
    READ,
    SHARED,
    STANDARD,
    STATUS,
    TENANT_ID,
    WRITE,
    ZONE_HINTS,
    ZONES,
)
from deuteron.model.network.subnet_codecs import AddressPools, NameServers, SubnetPrefix
from deuteron.model.resource import REQUIRED, Attribute, Resource

if TYPE_CHECKING:
    from deuteron.model.network.rows import AddressScopeRow, NetworkRow, SubnetPoolRow, SubnetRow

MAX_SEGMENTS: Final = 64
"""Of one network in one request. Neutron has no bound."""
MAX_SCOPES = 0xFFFF - 0x400
"""How many address scopes there are at most: routers tell them by 16 bits, from 0x400 on, which is none."""

# fmt: off
SEGMENT: Final = Object({
    "provider:network_type": Text(32),
    "provider:physical_network": Text(64, nullable=True),
    "provider:segmentation_id": Integer(nullable=True),
})

NETWORK: Resource[NetworkRow] = Resource(
    service="network",
    name="network",
    collection="networks",
    missing=("NetworkNotFound", "Network {} could not be found."),
    used_by=(("port", "network_id"),),
    description="An isolated layer 2 segment.",
    attributes=(
        ID,
        NAME,
        PROJECT_ID,
        TENANT_ID,
        ADMIN_STATE,
        Attribute("mtu", Integer(minimum=0), "Largest IP packet in bytes; 0 asks for the computed one.", default=0,
                  create=True, update=True),
        STATUS,
        Attribute("subnets", ListOf(Uuid()), "Its subnets.", default=[], filter=False, sort=False,
                  refers_to="subnet"),
        SHARED,
        ZONE_HINTS,
        ZONES,
        Attribute("ipv4_address_scope", Uuid(nullable=True), "Its IPv4 address scope.", refers_to="address_scope",
                  filter=False, sort=False),
        Attribute("ipv6_address_scope", Uuid(nullable=True), "Its IPv6 address scope.", refers_to="address_scope",
                  filter=False, sort=False),
        Attribute("router:external", Boolean(), "Whether it leads outside: floating IPs come from it.", default=False,
                  create=True, update=True, create_rule=ADMIN, update_rule=ADMIN, column="router_external",
                  sort=False),
        DESCRIPTION,
        Attribute("port_security_enabled", Boolean(), "The default for its ports.", default=True, create=True,
                  update=True, filter=False, sort=False),
        Attribute("is_default", Boolean(), "Whether it is the default external network.", default=False, create=True,
                  update=True, create_rule=ADMIN, update_rule=ADMIN, sort=False),
        Attribute("l2_adjacency", Boolean(), "Whether frames reach all its ports: its subnets are on no segments.",
                  filter=False, sort=False),
        Attribute("ha", Boolean(), "Whether it is for the routers of a project that run on several hosts.",
                  default=False, create=True, read=False, filter=False, sort=False),
        *dns.OF_NETWORK,
        *STANDARD,
        Attribute("provider:network_type", Text(32), "flat, local, vlan, vxlan, gre or geneve.",
                  create=True, update=True, create_rule=ADMIN, update_rule=ADMIN, read_rule=ADMIN,
                  row_type="NetworkType", nullable=True, sort=False),
        Attribute("provider:physical_network", Text(64), "Which physical network carries it.",
                  create=True, update=True, create_rule=ADMIN, update_rule=ADMIN, read_rule=ADMIN, nullable=True,
                  sort=False),
        Attribute("provider:segmentation_id", Integer(), "VLAN tag or tunnel id.", create=True,
                  update=True, create_rule=ADMIN, update_rule=ADMIN, read_rule=ADMIN, nullable=True,
                  sort=False),
        Attribute("segments", ListOf(SEGMENT, MAX_SEGMENTS), "The provider attributes of each of its segments, where "
                  "it has several; another way to say those of its only one.", create=True, update=True,
                  create_rule=ADMIN, update_rule=ADMIN, read_rule=ADMIN, stored=False, filter=False, sort=False),
    ),
    hidden=(
        Attribute("lans", Anything(), "Its segments in their order; none where it has one, which its provider "
                  "attributes say.", row_type="Sequence[Lan]", nullable=True),
    ),
    indexes=(("project_id",), ("name",), ("shared",), ("router:external", "id")),
    rules={
        "create": WRITE,
        "get": f"{READ} or rule:service_api or rule:shared or rule:external or rule:context_is_advsvc",
        "get:tags": f"{READ} or rule:shared or rule:external or rule:context_is_advsvc",
        "update": WRITE,
        "delete": WRITE,
    },
    quota=100,
)

SUBNET: Resource[SubnetRow] = Resource(
    service="network",
    name="subnet",
    collection="subnets",
    missing=("SubnetNotFound", "Subnet {} could not be found."),
    made_at_once=True,
    description="A block of addresses on a network.",
    attributes=(
        ID,
        NAME,
        PROJECT_ID,
        TENANT_ID,
        Attribute("network_id", Uuid(), "Its network.", default=REQUIRED, create=True, refers_to="network"),
        Attribute("ip_version", Choice((4, 6)), "4 or 6.", default=REQUIRED, create=True),
        Attribute("subnetpool_id", Uuid(nullable=True), "The pool its prefix came from.", create=True,
                  refers_to="subnetpool"),
        Attribute("enable_dhcp", Boolean(), "Whether DHCP serves it.", default=True, create=True, update=True),
        Attribute("ipv6_ra_mode", OneOf(("dhcpv6-stateful", "dhcpv6-stateless", "slaac", None)),
                  "How routers advertise it.", create=True),
        Attribute("ipv6_address_mode", OneOf(("dhcpv6-stateful", "dhcpv6-stateless", "slaac", None)),
                  "How guests get their addresses.", create=True),
        Attribute("gateway_ip", IpAddress(nullable=True), "The gateway; the first address unless told.", create=True,
                  update=True),
        Attribute("cidr", SubnetPrefix(), "Its prefix; host bits are cut off.", create=True, nullable=False),
        Attribute("allocation_pools", AddressPools(), "Ranges that addresses are taken from.", create=True, update=True,
                  filter=False, sort=False, nullable=False),
        Attribute("host_routes", Routes(MAX_HOST_ROUTES), "Routes that DHCP announces.", default=[], create=True,
                  update=True, filter=False, sort=False),
        Attribute("dns_nameservers", NameServers(), "DNS servers that DHCP announces.", default=[], create=True,
                  update=True, filter=False, sort=False),
        DESCRIPTION,
        Attribute("router:external", Boolean(), "Whether its network leads outside.", column="router_external",
                  sort=False),
        Attribute("service_types", ServiceTypes(), "Device owners it is kept for.", default=[], create=True,
                  update=True, filter=False, sort=False),
        *dns.OF_SUBNET,
        *STANDARD,
        Attribute("prefixlen", Integer(0, 128), "Length of a prefix to take from the pool.", create=True, read=False,
                  stored=False),
        Attribute("use_default_subnetpool", Boolean(), "Whether to take it from the default pool.", default=False,
                  create=True, read=False, stored=False),
    ),
    indexes=(("network_id",), ("project_id",), ("name",), ("subnetpool_id",)),
    rules={
        "create": "rule:admin_or_net_owner_member",
        "get": (
        f"{READ} or rule:shared or rule:external_network or rule:admin_or_net_owner_reader or rule:service_api"
    ),
        "get:tags": f"{READ} or rule:shared or rule:external_network or rule:admin_or_net_owner_reader",
        "update": f"{WRITE} or rule:admin_or_net_owner_member",
        "delete": f"{WRITE} or rule:admin_or_net_owner_member",
    },
    quota=100,
)

SUBNETPOOL: Resource[SubnetPoolRow] = Resource(
    service="network",
    name="subnetpool",
    collection="subnetpools",
    missing=("SubnetPoolNotFound", "Subnet pool {} could not be found."),
    made_at_once=True,
    used_by=(("subnet", "subnetpool_id"),),
    description="Prefixes that subnets are taken from.",
    attributes=(
        ID,
        Attribute("name", Text(NAME_LENGTH, pattern=r"[\s\S]*\S[\s\S]*"), "A name, not blank.", default=REQUIRED,
                  create=True, update=True),
        PROJECT_ID,
        TENANT_ID,
        Attribute("prefixes", ListOf(Cidr(), MAX_PREFIXES, unique=True), "What there is to give.", default=REQUIRED,
                  create=True, update=True, filter=False, sort=False),
        Attribute("default_prefixlen", Integer(0), "Prefix length of a subnet unless told.", create=True, update=True),
        Attribute("min_prefixlen", Integer(0), "Shortest prefix a subnet may ask for.", create=True, update=True),
        Attribute("max_prefixlen", Integer(0), "Longest prefix a subnet may ask for.", create=True, update=True),
        Attribute("default_quota", Integer(0), "How much of it one project may take.", create=True,
                  update=True, nullable=True),
        Attribute("ip_version", Integer(), "4 or 6."),
        Attribute("address_scope_id", Uuid(nullable=True), "Its address scope.", create=True, update=True,
                  refers_to="address_scope"),
        Attribute("shared", Boolean(), "Whether every project may use it.", default=False, create=True,
                  create_rule=ADMIN, sort=False),
        Attribute("is_default", Boolean(), "Whether it is used when a subnet asks for the default.", default=False,
                  create=True, update=True, create_rule=ADMIN, update_rule=ADMIN),
        DESCRIPTION,
        *STANDARD,
    ),
    indexes=(("project_id",), ("shared",), ("address_scope_id",), ("is_default",)),
    rules={
        "create": WRITE,
        "get": f"{READ} or rule:shared",
        "update": WRITE,
        "delete": WRITE,
    },
    quota=100,
    followed=False,
)

ADDRESS_SCOPE: Resource[AddressScopeRow] = Resource(
    service="network",
    name="address_scope",
    collection="address-scopes",
    missing=("AddressScopeNotFound", "Address scope {} could not be found"),
    used_by=(("subnetpool", "address_scope_id"),),
    description="Prefixes that do not overlap.",
    attributes=(
        ID,
        Attribute("name", Text(NAME_LENGTH), "A name.", default="", create=True, update=True),
        PROJECT_ID,
        TENANT_ID,
        Attribute("shared", Boolean(), "Whether every project may use it.", default=False, create=True, update=True,
                  create_rule=ADMIN, update_rule=ADMIN, sort=False),
        Attribute("ip_version", Choice((4, 6)), "4 or 6.", default=REQUIRED, create=True),
    ),
    hidden=(
        Attribute("number", Integer(1, MAX_SCOPES), "What routers mark its packets with."),
    ),
    indexes=(("project_id",), ("shared",), ("number",)),
    rules={
        "create": WRITE,
        "get": f"{READ} or rule:shared",
        "update": WRITE,
        "delete": WRITE,
    },
    followed=False,
)

"""Routers and floating IPs."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from deuteron.model.codecs import Anything, Boolean, IpAddress, Text, Uuid
from deuteron.model.network import dns
from deuteron.model.network.codecs import MAX_ROUTES, GatewayInfo, Routes, Scalar
from deuteron.model.network.shared import (
    ADMIN,
    ADMIN_STATE,
    DESCRIPTION,
    ID,
    NAME,
    OWN_MANAGER,
    PROJECT_ID,
    READ,
    STANDARD,
    STATUS,
    TENANT_ID,
    WRITE,
    ZONE_HINTS,
    ZONES,
)
from deuteron.model.resource import REQUIRED, Attribute, Resource

if TYPE_CHECKING:
    from deuteron.model.network.rows import FloatingIpRow, RouterRow

# fmt: off
ROUTER: Resource[RouterRow] = Resource(
    service="network",
    name="router",
    collection="routers",
    missing=("RouterNotFound", "Router {} could not be found"),
    description="A router between subnets and to the outside.",
    attributes=(
        ID,
        NAME,
        PROJECT_ID,
        TENANT_ID,
        ADMIN_STATE,
        replace(STATUS, filter=False),
        Attribute("external_gateway_info", GatewayInfo(), "Its way outside.", create=True, update=True, filter=False,
                  sort=False),
        DESCRIPTION,
        ZONES,
        Attribute("distributed", Boolean(nullable=True), "Whether it routes on all hosts of its networks.", create=True,
                  update=True, create_rule=ADMIN, update_rule=ADMIN, read_rule=ADMIN, nullable=False, filter=False,
                  sort=False),
        Attribute("ha", Boolean(nullable=True), "Whether it runs on several hosts.", create=True,
                  update=True, create_rule=ADMIN, update_rule=ADMIN, read_rule=ADMIN, nullable=False, filter=False,
                  sort=False),
        replace(ZONE_HINTS, sort=False),
        Attribute("routes", Routes(MAX_ROUTES), "Further routes.", default=[], update=True, filter=False, sort=False),
        Attribute("flavor_id", Scalar(), "Its flavor.", create=True, filter=False, refers_to="network_flavor",
                  judged_late=(object,)),
        *STANDARD,
    ),
    hidden=(
        Attribute("host", Text(nullable=True),
                  "The network host that runs it, or where it is active; none until it has an interface or a gateway."),
        Attribute("gateway_port_id", Text(nullable=True), "Its port outside.", refers_to="port"),
        Attribute("gateway_network_id", Text(nullable=True), "The network of that port.", refers_to="network"),
        Attribute("qos_policy_id", Text(nullable=True), "The policy of what it sends under its own address.",
                  refers_to="qos_policy"),
    ),
    indexes=(("project_id",), ("name",), ("host",), ("gateway_network_id",), ("qos_policy_id",), ("flavor_id",)),
    rules={
        "create": WRITE,
        "get": READ,
        "update": WRITE,
        "delete": WRITE,
        "create:external_gateway_info:enable_snat": "rule:admin_only",
        "create:external_gateway_info:external_fixed_ips": "rule:admin_only",
        "update:external_gateway_info:enable_snat": "rule:admin_only",
        "update:external_gateway_info:external_fixed_ips": "rule:admin_only",
    },
    quota=10,
)

FLOATINGIP: Resource[FloatingIpRow] = Resource(
    service="network",
    name="floatingip",
    collection="floatingips",
    missing=("FloatingIPNotFound", "Floating IP {} could not be found"),
    made_at_once=True,
    description="An address outside that leads to an address inside.",
    attributes=(
        ID,
        TENANT_ID,
        PROJECT_ID,
        Attribute("floating_ip_address", IpAddress(nullable=True), "The address outside.", create=True,
                  create_rule=OWN_MANAGER, nullable=False),
        Attribute("floating_network_id", Uuid(), "The external network.", default=REQUIRED, create=True,
                  refers_to="network"),
        Attribute("router_id", Uuid(nullable=True), "The router that translates; the one between unless told.",
                  create=True, update=True, create_rule=WRITE, update_rule=WRITE, refers_to="router"),
        Attribute("port_id", Uuid(nullable=True), "The port inside.", create=True, update=True,
                  refers_to="port", sort=False),
        Attribute("fixed_ip_address", IpAddress(nullable=True), "The address inside.", create=True, update=True),
        STATUS,
        DESCRIPTION,
        Attribute("port_details", Anything(), "The port inside, in short.", stored=False, filter=False, sort=False),
        *dns.OF_FLOATINGIP,
        *STANDARD,
        Attribute("subnet_id", Uuid(nullable=True), "The external subnet to take the address from.", create=True,
                  read=False, stored=False),
    ),
    hidden=(
        Attribute("floating_port_id", Text(), "The port on the external network that holds the address.",
                  refers_to="port"),
    ),
    indexes=(("project_id",), ("port_id",), ("router_id",), ("floating_network_id",), ("floating_ip_address",)),
    rules={
        "create": WRITE,
        "get": READ,
        "update": WRITE,
        "delete": WRITE,
    },
    quota=50,
)

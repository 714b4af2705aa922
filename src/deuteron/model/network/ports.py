"""Ports, and who may own them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from deuteron.model.codecs import Boolean, ListOf, MacAddress, Object, OneOf, Text, Uuid
from deuteron.model.network import dns
from deuteron.model.network.codecs import FixedIps
from deuteron.model.network.port_codecs import AddressPairs, DhcpOptions
from deuteron.model.network.shared import (
    ADMIN_OR_SERVICE,
    ADMIN_STATE,
    DESCRIPTION,
    ID,
    NAME,
    PORT_WIRING,
    PROJECT_ID,
    READ,
    SERVICE,
    STANDARD,
    STATUS,
    TAGS,
    TENANT_ID,
    WRITE,
)
from deuteron.model.resource import REQUIRED, Attribute, Resource

if TYPE_CHECKING:
    from deuteron.model.network.rows import PortRow

# fmt: off
VNIC_TYPES: Final = ("normal", "direct", "direct-physical", "macvtap", "baremetal", "virtio-forwarder", "vdpa",
                     "smart-nic", "remote-managed", "accelerator-direct", "accelerator-direct-physical")
NUMA_POLICIES: Final = ("required", "preferred", "legacy", "socket")

PORT: Resource[PortRow] = Resource(
    service="network",
    name="port",
    collection="ports",
    missing=("PortNotFound", "Port {} could not be found."),
    description="A place on a network where something is plugged in.",
    attributes=(
        ID,
        NAME,
        Attribute("network_id", Uuid(), "Its network.", default=REQUIRED, create=True, refers_to="network"),
        PROJECT_ID,
        TENANT_ID,
        Attribute("mac_address", MacAddress(nullable=True), "Its MAC address; made unless given.", create=True,
                  update=True, create_rule=PORT_WIRING,
                  update_rule=f"{ADMIN_OR_SERVICE} or (role:manager and rule:network_owner)",
                  nullable=False),
        ADMIN_STATE,
        STATUS,
        Attribute("device_id", Text(255), "What is plugged in.", default="", create=True, update=True),
        Attribute("device_owner", Text(255), "What kind of thing is plugged in.", default="", create=True,
                  update=True),
        Attribute("fixed_ips", FixedIps(), "Its addresses.", create=True, update=True, sort=False),
        Attribute("allowed_address_pairs", AddressPairs(), "Further addresses it may send from.",
                  default=[], create=True, update=True, create_rule=PORT_WIRING, update_rule=PORT_WIRING,
                  filter=False, sort=False, nullable=False),
        Attribute("extra_dhcp_opts", DhcpOptions(), "Options DHCP adds for it.", default=[],
                  create=True, update=True, filter=False, sort=False, nullable=False),
        Attribute("security_groups", ListOf(Uuid(), unique=True, nullable=True),
                  "Its groups; the default group unless told.", create=True, update=True, sort=False,
                  refers_to="security_group", nullable=False),
        DESCRIPTION,
        Attribute("binding:vnic_type", OneOf(VNIC_TYPES), "How it is to be plugged.", default="normal", create=True,
                  update=True, filter=False, sort=False),
        Attribute("binding:profile", Object({}, nullable=True), "Words for the mechanism; who promises it what.",
                  judged_late=(dict,), default={}, create=True, update=True, create_rule=SERVICE, update_rule=SERVICE,
                  read_rule=ADMIN_OR_SERVICE,
                  filter=False, sort=False, nullable=False),
        Attribute("binding:host_id", Text(255, nullable=True), "The host where it is plugged.", default="",
                  create=True, update=True, create_rule=ADMIN_OR_SERVICE, update_rule=ADMIN_OR_SERVICE,
                  read_rule=ADMIN_OR_SERVICE, nullable=False, sort=False),
        Attribute("binding:vif_type", Text(64), "How it was plugged: ovs, unbound or binding_failed.",
                  read_rule=ADMIN_OR_SERVICE, filter=False, sort=False),
        Attribute("binding:vif_details", Object({}, open=True), "What the plugging needs to know.",
                  read_rule=ADMIN_OR_SERVICE, default={}, filter=False, sort=False),
        Attribute("port_security_enabled", Boolean(), "Whether groups and anti-spoofing apply.", create=True,
                  update=True, create_rule=PORT_WIRING, update_rule=PORT_WIRING, filter=False, sort=False),
        Attribute("device_profile", Text(255, nullable=True), "The accelerator that it is to have: none has any here.",
                  create=True, filter=False, sort=False),
        Attribute("numa_affinity_policy", OneOf((*NUMA_POLICIES, None)), "How near to its guest's memory it is to be.",
                  create=True, update=True, filter=False, sort=False),
        Attribute("ip_allocation", Text(16), "When it got its addresses: immediate, deferred or none."),
        *dns.OF_PORT,
        *(replace(each, create=True, codec=TAGS) if each.name == "tags" else each for each in STANDARD),
    ),
    hidden=(
        Attribute("binding_refusal", Text(nullable=True), "Why the last binding failed."),
        Attribute("promised", Object({}, nullable=True), "What its host promises it, and who there (`promises`)."),
    ),
    # With the id behind it, a page of one network's ports comes in order without sorting them all.
    indexes=(
        ("network_id", "id"),
        ("project_id", "id"),
        ("device_id",),
        ("binding:host_id", "device_owner", "network_id"),
        ("name", "id"),
        ("mac_address",),
    ),
    unique=(("network_id", "mac_address"),),
    rules={
        # Neutron lets anybody who sees a shared network make ports on it, readers too; here one who may write.
        "create": f"{PORT_WIRING} or (role:member and rule:shared)",
        "get": f"{READ} or rule:service_api or rule:admin_or_net_owner_reader",
        "update": f"{WRITE} or rule:service_api",
        "delete": (
        "rule:admin_only or rule:service_api or (not rule:used_by_another_service "
        f"and ({WRITE} or rule:admin_or_net_owner_member))"
    ),
        "create:device_id": f"{WRITE} or rule:service_api",
        "create:tags": f"{WRITE} or rule:context_is_advsvc",
        "get:tags": f"{READ} or rule:context_is_advsvc or rule:admin_or_net_owner_reader",
        "update:tags": f"{WRITE} or rule:context_is_advsvc",
        "delete:tags": f"{WRITE} or rule:context_is_advsvc or rule:admin_or_net_owner_member",
        "create:device_owner": f"not rule:network_device or {PORT_WIRING}",
        "create:fixed_ips": f"{PORT_WIRING} or rule:shared",
        "create:fixed_ips:ip_address": PORT_WIRING,
        "create:fixed_ips:subnet_id": f"{PORT_WIRING} or rule:shared",
        "create:binding:vnic_type": f"{WRITE} or rule:service_api",
        "update:device_id": f"{WRITE} or rule:service_api",
        "update:device_owner": f"not rule:network_device or {PORT_WIRING}",
        "update:fixed_ips": PORT_WIRING,
        "update:fixed_ips:ip_address": PORT_WIRING,
        "update:fixed_ips:subnet_id": f"{PORT_WIRING} or rule:shared",
        "update:binding:vnic_type": f"{WRITE} or rule:service_api",
    },
    quota=500,
)

DHCP: Final = "network:dhcp"
ROUTER_INTERFACE: Final = "network:router_interface"
HA_ROUTER_INTERFACE: Final = "network:ha_router_replicated_interface"
"""The same of a router that runs on several hosts."""
DVR_INTERFACE: Final = "network:router_interface_distributed"
"""The same of one that runs wherever its networks are."""
ROUTER_INTERFACES: Final = (ROUTER_INTERFACE, HA_ROUTER_INTERFACE, DVR_INTERFACE)
ROUTER_SNAT: Final = "network:router_centralized_snat"
"""Where such a router takes what leaves by its gateway: one for each interface, on the host that has the gateway."""
AGENT_GATEWAY: Final = "network:floatingip_agent_gateway"
"""By which a host answers outside for the floating IPs of its own ports: one for each external network."""
DISTRIBUTED_VIF: Final = "distributed"
"""How a port is plugged in that is on several hosts and bound on none."""
HA_PORT: Final = "network:router_ha_interface"
"""Where such a router gives signs of life to the others: one of each of its hosts."""
ROUTER_GATEWAY: Final = "network:router_gateway"
FLOATING: Final = "network:floatingip"
COMPUTE_PREFIX: Final = "compute:"

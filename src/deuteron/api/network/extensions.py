"""What of Neutron's extensions is really here; clients decide by this list what they may ask for."""

from __future__ import annotations

from typing import Final

from deuteron.api.call import Call, Reply
from deuteron.api.network import faults
from deuteron.store.database import Tx

_UPDATED: Final = "2026-01-01T00:00:00-00:00"

EXTENSIONS: Final[dict[str, tuple[str, str]]] = {
    "agent": ("agent", "The hosts of the cloud as agents."),
    "allowed-address-pairs": ("Allowed Address Pairs", "Further addresses a port may send from."),
    "availability_zone": ("Availability Zone", "Zones where networks and routers are served."),
    "binding": ("Port Binding", "Where and how a port is plugged."),
    "default-subnetpools": ("Default Subnetpools", "Subnets from the default pool of prefixes."),
    "empty-string-filtering": ("Empty String Filtering Extension", "Filters for empty values."),
    "ext-gw-mode": ("Neutron L3 Configurable external gateway mode", "SNAT of a router can be turned off."),
    "external-net": ("Neutron external network", "Networks that lead outside."),
    "extra_dhcp_opt": ("Neutron Extra DHCP options", "DHCP options of single ports."),
    "extraroute": ("Neutron Extra Route", "Further routes of a router."),
    "extraroute-atomic": ("Atomically add/remove extra routes", "Routes added and taken away one by one."),
    "filter-validation": ("Filter parameters validation", "An unknown filter is refused."),
    "fip-port-details": ("Floating IP Port Details Extension", "A floating IP shows the port inside."),
    "net-mtu": ("Network MTU", "The MTU of a network."),
    "net-mtu-writable": ("Network MTU (writable)", "The MTU of a network can be set."),
    "network-ip-availability": ("Network IP Availability", "How full a network is."),
    "network-ip-availability-details": ("Network IP Availability details", "How full its pools are."),
    "network_availability_zone": ("Network Availability Zone", "Zones of a network."),
    "pagination": ("Pagination support", "Lists in pages."),
    "port-mac-override": ("Port MAC address override", "A port's MAC address can be set while it is unbound."),
    "port-security": ("Port Security", "Filters of a port can be turned off."),
    "port-security-groups-filtering": ("Port filtering on security groups", "Ports of a security group."),
    "project-id": ("project_id field enabled", "Owners are named project_id."),
    "provider": ("Provider Network", "What carries a network."),
    "quota-check-limit": ("Quota engine limit check", "A limit below what is used is refused."),
    "quota_details": ("Quota details management support", "What of a quota is used."),
    "quotas": ("Quota management support", "Limits of a project."),
    "rbac-address-scope": ("Add address_scope type to RBAC", "Address scopes shared with single projects."),
    "rbac-policies": ("RBAC Policies", "Networks shared with single projects."),
    "rbac-security-groups": ("Add security_group type to network RBAC", "Groups shared with single projects."),
    "rbac-subnetpool": ("Add subnetpool type to RBAC", "Subnet pools shared with single projects."),
    "revision-if-match": ("If-Match constraints based on revision_number", "Writes that expect a revision."),
    "router": ("Neutron L3 Router", "Routers between networks and to the outside, floating IPs."),
    "router_availability_zone": ("Router Availability Zone", "Zones of a router."),
    "security-group": ("security-group", "Rules for what may reach and leave ports."),
    "security-groups-normalized-cidr": ("Normalized CIDR field for security group rules", "Prefixes as they apply."),
    "security-groups-rules-belongs-to-default-sg": ("Rules of the default group", "Whether a rule is in it."),
    "service-type": ("Neutron Service Type Management", "Who provides routers."),
    "sorting": ("Sorting support", "Lists in any order."),
    "standard-attr-description": ("standard-attr-description", "Descriptions."),
    "standard-attr-revisions": ("Resource revision numbers", "Revisions."),
    "standard-attr-tag": ("Tag support for resources with standard attribute", "Tags."),
    "standard-attr-timestamp": ("Resource timestamps", "Times of creation and change."),
    "stateful-security-group": ("Stateful security group", "Groups that do not track connections."),
    "subnet-external-network": ("Subnet belongs to an external network", "Whether a subnet is outside."),
    "subnet-service-types": ("Subnet service types", "Subnets kept for some device owners."),
    "subnet_allocation": ("Subnet Allocation", "Subnets from pools of prefixes."),
    "tag-creation": ("Tags creation", "Several tags added at once."),
}
"""Alias, name, what it is. An alias comes here when what it stands for works, and not before."""


def list_extensions(call: Call, tx: Tx) -> Reply:
    """GET /extensions"""
    return Reply(200, {"extensions": [_extension(alias) for alias in EXTENSIONS]})


def show_extension(call: Call, tx: Tx) -> Reply:
    """GET /extensions/{alias}"""
    alias = call.params["alias"]
    if alias not in EXTENSIONS:
        raise faults.missing("HTTPNotFound", f"Extension with alias {alias} does not exist")
    return Reply(200, {"extension": _extension(alias)})


def _extension(alias: str) -> dict[str, object]:
    name, description = EXTENSIONS[alias]
    return {"name": name, "alias": alias, "description": description, "updated": _UPDATED, "links": []}

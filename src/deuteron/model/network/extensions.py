"""What of Neutron's extensions is really here, beside those of single resources, which their modules declare."""

from __future__ import annotations

from typing import Final

from deuteron.model.resource import Extension

EXTENSIONS: Final[dict[str, Extension]] = {
    "address-scope": Extension(
        "Address scope",
        "Routers do not carry packets from one address scope to another, and do no SNAT within one.",
        "2015-07-26T10:00:00-00:00",
    ),
    "aap-reject-multicast": Extension(
        "Allowed address pairs reject multicast extension",
        "A multicast address is no allowed address pair.",
        "2026-04-01T00:00:00-00:00",
    ),
    "agent": Extension("agent", "The hosts of the cloud as agents.", "2013-02-03T10:00:00-00:00"),
    "agent-resources-synced": Extension(
        "Agent's Resource View Synced to Placement",
        "Whether placement knows the resources of an agent; here none tells it any.",
        "2018-12-19T00:00:00-00:00",
    ),
    "agent_sort_key": Extension("Agents Sort Key", "Agents in any order.", "2013-02-03T10:00:00-00:00"),
    "allowed-address-pairs": Extension(
        "Allowed Address Pairs",
        "Further addresses a port may send from.",
        "2013-07-23T10:00:00-00:00",
    ),
    "auto-allocated-topology": Extension(
        "Auto Allocated Topology Services",
        "A network behind a router, made for a project that asks for one.",
        "2016-01-01T00:00:00-00:00",
    ),
    "availability_zone": Extension(
        "Availability Zone",
        "Zones where networks and routers are served.",
        "2015-01-01T10:00:00-00:00",
    ),
    "availability_zone_filter": Extension(
        "Availability Zone Filter Extension", "Zones found by what they are.", "2018-06-22T10:00:00-00:00"
    ),
    "binding": Extension("Port Binding", "Where and how a port is plugged.", "2014-02-03T10:00:00-00:00"),
    "binding-extended": Extension(
        "Port Bindings Extended",
        "Where a port may be plugged in next.",
        "2017-07-17T10:00:00-00:00",
    ),
    "tag-ports-during-bulk-creation": Extension(
        "Tag Ports During Bulk Creation", "Ports are made with tags, one or several.", "2019-12-29T19:00:00-00:00"
    ),
    "default-subnetpools": Extension(
        "Default Subnetpools",
        "Subnets from the default pool of prefixes.",
        "2016-02-18T18:00:00-00:00",
    ),
    "deuteron-trace": Extension(
        "Deuteron trace",
        "Where a packet between two objects passes, and what stops it; no extension of Neutron's.",
        "2026-11-23T00:00:00-00:00",
    ),
    "dhcp_agent_scheduler": Extension(
        "DHCP Agent Scheduler", "Which hosts serve the DHCP of a network.", "2013-02-07T10:00:00-00:00"
    ),
    "dvr": Extension(
        "Distributed Virtual Router",
        "Whether a router is meant to run on every host.",
        "2014-06-1T10:00:00-00:00",
    ),
    "empty-string-filtering": Extension(
        "Empty String Filtering Extension",
        "Filters for empty values.",
        "2018-05-01T10:00:00-00:00",
    ),
    "ext-gw-mode": Extension(
        "Neutron L3 Configurable external gateway mode",
        "SNAT of a router can be turned off.",
        "2013-03-28T10:00:00-00:00",
    ),
    "external-net": Extension("Neutron external network", "Networks that lead outside.", "2013-01-14T10:00:00-00:00"),
    "extra_dhcp_opt": Extension(
        "Neutron Extra DHCP options", "DHCP options of single ports.", "2013-03-17T12:00:00-00:00"
    ),
    "extraroute": Extension("Neutron Extra Route", "Further routes of a router.", "2013-02-01T10:00:00-00:00"),
    "extraroute-atomic": Extension(
        "Atomically add/remove extra routes",
        "Routes added and taken away one by one.",
        "2019-07-10T00:00:00+00:00",
    ),
    "filter-validation": Extension(
        "Filter parameters validation", "An unknown filter is refused.", "2018-07-04T10:00:00-00:00"
    ),
    "fip-port-details": Extension(
        "Floating IP Port Details Extension",
        "A floating IP shows the port inside.",
        "2018-04-09T10:00:00-00:00",
    ),
    "floating-ip-router-writable": Extension(
        "Floating IP Router (writable)", "A floating IP's router, as it is asked for.", "2026-08-05T00:00:00-00:00"
    ),
    "floatingip-pools": Extension(
        "Floating IP Pools Extension", "Where floating IPs get their addresses.", "2018-03-21T10:00:00-00:00"
    ),
    "multi-provider": Extension(
        "Multi Provider Network", "A network of several segments.", "2013-06-27T10:00:00-00:00"
    ),
    "network_ha": Extension(
        "Network HA creation flag", "Networks for routers on several hosts.", "2023-04-27T10:00:00-00:00"
    ),
    "port-device-profile": Extension(
        "Port device profile", "The accelerator that a port is to have.", "2020-12-17T10:00:00-00:00"
    ),
    "port-numa-affinity-policy": Extension(
        "Port NUMA affinity policy", "How near to its guest's memory a port is to be.", "2020-07-08T10:00:00-00:00"
    ),
    "port-numa-affinity-policy-socket": Extension(
        'Port NUMA affinity policy "socket"', "In the same socket.", "2024-02-09T10:00:00-00:00"
    ),
    "ip-substring-filtering": Extension(
        "IP address substring filtering",
        "Ports by a part of their address.",
        "2017-11-28T09:00:00-00:00",
    ),
    "l3-ha": Extension("HA Router extension", "Whether a router runs on several hosts.", "2014-04-26T00:00:00-00:00"),
    "l3-port-ip-change-not-allowed": Extension(
        "Prevent L3 router ports IP address change extension",
        "The IPv4 addresses of a router interface stay.",
        "2018-10-09T10:00:00-00:00",
    ),
    "l3_agent_scheduler": Extension("L3 Agent Scheduler", "Which host runs a router.", "2013-02-07T10:00:00-00:00"),
    "net-mtu": Extension("Network MTU", "The MTU of a network.", "2015-03-25T10:00:00-00:00"),
    "net-mtu-writable": Extension(
        "Network MTU (writable)", "The MTU of a network can be set.", "2017-07-12T00:00:00-00:00"
    ),
    "network-ip-availability": Extension(
        "Network IP Availability", "How full a network is.", "2015-09-24T00:00:00-00:00"
    ),
    "network-ip-availability-details": Extension(
        "Network IP Availability Details Extension",
        "How full its pools are.",
        "2025-10-31T00:00:00-00:00",
    ),
    "network_availability_zone": Extension(
        "Network Availability Zone", "Zones of a network.", "2015-01-01T10:00:00-00:00"
    ),
    "pagination": Extension("Pagination support", "Lists in pages.", "2016-06-12T00:00:00-00:00"),
    "port-mac-address-regenerate": Extension(
        "Neutron Port MAC address regenerate",
        "A null makes a port a new MAC address.",
        "2018-05-03T10:00:00-00:00",
    ),
    "port-mac-override": Extension(
        "Neutron Port MAC address override",
        "A port's MAC address can be set while it is unbound.",
        "2022-03-18T10:00:00-00:00",
    ),
    "port-security": Extension("Port Security", "Filters of a port can be turned off.", "2012-07-23T10:00:00-00:00"),
    "port-security-groups-filtering": Extension(
        "Port filtering on security groups",
        "Ports of a security group.",
        "2018-01-09T09:00:00-00:00",
    ),
    "project-id": Extension("project_id field enabled", "Owners are named project_id.", "2016-09-09T09:09:09-09:09"),
    "provider": Extension("Provider Network", "What carries a network.", "2012-09-07T10:00:00-00:00"),
    "quota-check-limit": Extension(
        "Quota engine limit check",
        "A limit below what is used is refused.",
        "2021-09-08T16:00:00-00:00",
    ),
    "quota-check-limit-default": Extension(
        "Quota engine limit check by default",
        "A limit below what is used is refused unless it is forced.",
        "2024-08-21T16:00:00-00:00",
    ),
    "quota_details": Extension(
        "Quota details management support", "What of a quota is used.", "2017-02-10T10:00:00-00:00"
    ),
    "quotas": Extension("Quota management support", "Limits of a project.", "2012-07-29T10:00:00-00:00"),
    "rbac-address-scope": Extension(
        "Add address_scope type to RBAC",
        "Address scopes shared with single projects.",
        "2020-02-12T00:00:00-00:00",
    ),
    "rbac-policies": Extension("RBAC Policies", "Networks shared with single projects.", "2015-06-17T12:15:12-00:00"),
    "rbac-security-groups": Extension(
        "Add security_group type to network RBAC",
        "Groups shared with single projects.",
        "2019-02-14T00:00:00-00:00",
    ),
    "rbac-subnetpool": Extension(
        "Add subnetpool type to RBAC",
        "Subnet pools shared with single projects.",
        "2020-02-05T00:00:00-00:00",
    ),
    "revision-if-match": Extension(
        "If-Match constraints based on revision_number",
        "Writes that expect a revision.",
        "2016-12-11T00:00:00-00:00",
    ),
    "router": Extension(
        "Neutron L3 Router",
        "Routers between networks and to the outside, floating IPs.",
        "2012-07-20T10:00:00-00:00",
    ),
    "router-admin-state-down-before-update": Extension(
        "Enforce Router's Admin State Down Before Update Extension",
        "A router becomes distributed, or is it no longer, while it is down.",
        "2019-07-02T15:56:00",
    ),
    "router_availability_zone": Extension(
        "Router Availability Zone", "Zones of a router.", "2015-01-01T10:00:00-00:00"
    ),
    "security-group": Extension(
        "security-group", "Rules for what may reach and leave ports.", "2012-10-05T10:00:00-00:00"
    ),
    "security-groups-normalized-cidr": Extension(
        "Normalized CIDR field for security group rules",
        "Prefixes as they apply.",
        "2020-07-28T10:00:00-00:00",
    ),
    "security-groups-rules-belongs-to-default-sg": Extension(
        "Security group rule belongs to the project's default security group",
        "Whether a rule is in it.",
        "2023-05-23T10:00:00-00:00",
    ),
    "security-groups-shared-filtering": Extension(
        "Security group filtering on the shared field",
        "Groups that another project shares.",
        "2021-10-05T09:00:00-00:00",
    ),
    "service-type": Extension("Neutron Service Type Management", "Who provides routers.", "2013-01-20T00:00:00-00:00"),
    "sorting": Extension("Sorting support", "Lists in any order.", "2016-06-12T00:00:00-00:00"),
    "standard-attr-description": Extension("standard-attr-description", "Descriptions.", "2016-02-10T10:00:00-00:00"),
    "standard-attr-revisions": Extension("Resource revision numbers", "Revisions.", "2016-04-11T10:00:00-00:00"),
    "standard-attr-timestamp": Extension(
        "Resource timestamps", "Times of creation and change.", "2016-09-12T10:00:00-00:00"
    ),
    "stateful-security-group": Extension(
        "Stateful security group",
        "Groups that do not track connections.",
        "2019-11-26T09:00:00-00:00",
    ),
    "subnet-external-network": Extension(
        "Subnet belongs to an external network",
        "Whether a subnet is outside.",
        "2024-02-05T18:00:00-00:00",
    ),
    "subnet-service-types": Extension(
        "Subnet service types",
        "Subnets kept for some device owners.",
        "2016-03-15T18:00:00-00:00",
    ),
    "subnet_allocation": Extension("Subnet Allocation", "Subnets from pools of prefixes.", "2015-03-30T10:00:00-00:00"),
    "subnet_onboard": Extension("Subnet Onboard", "A pool takes in subnets.", "2018-12-18T09:00:00-00:00"),
    "subnetpool-prefix-ops": Extension(
        "Subnet Pool Prefix Operations", "Prefixes added to a pool and taken away.", "2019-02-08T10:00:00-00:00"
    ),
    "tag-creation": Extension("Tag creation extension", "Several tags added at once.", "2024-23-07T10:00:00-00:00"),
}
"""Alias; name, what it is here, when Neutron last changed it. An alias comes here when what it stands for works, not
before.

Source: neutron-lib, neutron_lib/api/definitions/*.py (`ALIAS`, `NAME`, `UPDATED_TIMESTAMP`).
"""

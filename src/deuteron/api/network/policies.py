"""Neutron's policy rules with their defaults, and the `field:` check that Neutron's policy files use.

The rules of resources and of their attributes come from the declarations; what stands here are those of actions and
of what is no resource, and the names that they use.

Source: neutron 29.0.0, neutron/conf/policies/*.py and neutron/policy.py (`FieldCheck`); tests/unit/personas/ compares
each rule with it.
"""

from __future__ import annotations

import re
from typing import Any

from oslo_policy import policy as oslo

from deuteron.model.network import RESOURCES
from deuteron.model.resource import policies_of


class FieldCheck(oslo.Check):  # type: ignore[misc]  # oslo.policy has no types
    """`field:networks:shared=True`: compares an attribute of the target; `~regex` matches instead."""

    def __init__(self, kind: str, match: str) -> None:
        super().__init__(kind, match)
        _, _, assignment = match.partition(":")
        self._field, _, wanted = assignment.partition("=")
        self._regex = re.compile(wanted[1:]) if wanted.startswith("~") else None
        self._wanted = wanted

    def __call__(self, target: Any, creds: Any, enforcer: Any, current_rule: Any = None) -> bool:
        value = target.get(self._field)
        if value is None:
            return False
        if self._regex is not None:
            return self._regex.match(str(value)) is not None
        return str(value) == self._wanted


oslo.register("field", FieldCheck)

_WRITE = "rule:admin_or_project_member"

POLICIES: dict[str, str] = {
    "network_owner": "project_id:%(network:project_id)s",
    "admin_or_net_owner_member": "rule:admin_only or (role:member and rule:network_owner)",
    "admin_or_net_owner_reader": "rule:admin_only or (role:reader and rule:network_owner)",
    "service_api": "role:service",
    "context_is_advsvc": "role:advsvc",
    "shared": "field:networks:shared=True",
    "external": "field:networks:router:external=True",
    "external_network": "field:subnets:router:external=True",
    "get_fabric": "rule:admin_only",
    "get_port_binding": "rule:admin_only or rule:service_api",
    "create_port_binding": "rule:service_api",
    "delete_port_binding": "rule:service_api",
    "activate": "rule:service_api",
    "network_device": "field:port:device_owner=~^network:",
    "used_by_another_service": (
        "field:port:device_owner=~^compute: or field:port:device_owner=~^baremetal: "
        "or field:port:device_owner=~^manila:"
    ),
    "ext_parent_owner": "project_id:%(ext_parent:project_id)s",
    "sg_owner": "project_id:%(security_group:project_id)s",
    "add_router_interface": _WRITE,
    "remove_router_interface": _WRITE,
    "add_extraroutes": _WRITE,
    "remove_extraroutes": _WRITE,
    "add_addresses": _WRITE,
    "remove_addresses": _WRITE,
    "add_prefixes": _WRITE,
    "remove_prefixes": _WRITE,
    "onboard_network_subnets": _WRITE,
    "get_auto_allocated_topology": "rule:admin_or_project_reader",
    "delete_auto_allocated_topology": _WRITE,
    "add_subports": _WRITE,
    "remove_subports": _WRITE,
    "get_subports": "rule:admin_or_project_reader",
    # the cloud itself
    "get_quota": "rule:admin_only or (role:manager and project_id:%(project_id)s)",
    "update_quota": "rule:admin_only",
    "delete_quota": "rule:admin_only",
    "get_agent": "rule:admin_only",
    "update_agent": "rule:admin_only",
    "delete_agent": "rule:admin_only",
    "get_floatingip_pool": "rule:admin_or_project_reader",
    "get_network_ip_availability": "rule:admin_only or rule:service_api",
    "create_dhcp-network": "rule:admin_only",
    "delete_dhcp-network": "rule:admin_only",
    "create_l3-router": "rule:admin_only",
    "delete_l3-router": "rule:admin_only",
    "get_dhcp-agents": "rule:admin_only",
    "get_dhcp-networks": "rule:admin_only",
    "get_l3-agents": "rule:admin_only",
    "get_l3-routers": "rule:admin_only",
    "get_availability_zone": "role:reader",
    "get_service_provider": "role:reader",
    "get_rule_type": "role:reader",
    "create_flavor_service_profile": "rule:admin_only",
    "delete_flavor_service_profile": "rule:admin_only",
}

for _resource in RESOURCES:
    POLICIES |= policies_of(_resource)

# Neutron names rules of the tags of these only; tags of others are written by who changes what has them.
for _name in ["floatingip", "network", "policy", "port", "router", "security_group", "subnet", "subnetpool", "trunk"]:
    for _verb, _as in (("create", "update"), ("get", "get"), ("update", "update"), ("delete", "update")):
        POLICIES.setdefault(f"{_verb}_{_name}:tags", f"rule:{_as}_{_name}")

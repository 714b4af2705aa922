"""Neutron's policy rules with their defaults, and the `field:` check that Neutron's policy files use.

The rules of single attributes come from the declarations (`create_rule` of `binding:host_id` in `port` is
`create_port:binding:host_id`); what stands here are the rules of whole resources and of actions.

Source: neutron 29.0.0, neutron/conf/policies/*.py and neutron/policy.py (`FieldCheck`); tests/unit/personas/ compares
each rule with it.
"""

from __future__ import annotations

import re
from typing import Any

from oslo_policy import policy as oslo

from deuteron.model.network import PORT_WIRING, RESOURCES


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

_READ = "rule:admin_or_project_reader"
_WRITE = "rule:admin_or_project_member"
_WIRE = PORT_WIRING

POLICIES: dict[str, str] = {
    "network_owner": "project_id:%(network:project_id)s",
    "admin_or_net_owner_member": "rule:admin_only or (role:member and rule:network_owner)",
    "admin_or_net_owner_reader": "rule:admin_only or (role:reader and rule:network_owner)",
    "service_api": "role:service",
    "context_is_advsvc": "role:advsvc",
    "shared": "field:networks:shared=True",
    "external": "field:networks:router:external=True",
    "external_network": "field:subnets:router:external=True",
    "network_device": "field:port:device_owner=~^network:",
    "used_by_another_service": (
        "field:port:device_owner=~^compute: or field:port:device_owner=~^baremetal: "
        "or field:port:device_owner=~^manila:"
    ),
    "sg_owner": "project_id:%(security_group:project_id)s",
    # networks
    "create_network": _WRITE,
    "get_network": f"{_READ} or rule:service_api or rule:shared or rule:external or rule:context_is_advsvc",
    "update_network": _WRITE,
    "delete_network": _WRITE,
    # subnets
    "create_subnet": "rule:admin_or_net_owner_member",
    "get_subnet": (
        f"{_READ} or rule:shared or rule:external_network or rule:admin_or_net_owner_reader or rule:service_api"
    ),
    "update_subnet": f"{_WRITE} or rule:admin_or_net_owner_member",
    "delete_subnet": f"{_WRITE} or rule:admin_or_net_owner_member",
    # ports
    # Neutron lets anybody who sees a shared network make ports on it, readers too; here one who may write.
    "create_port": f"{_WIRE} or (role:member and rule:shared)",
    "create_port:device_id": f"{_WRITE} or rule:service_api",
    "create_port:device_owner": f"not rule:network_device or {_WIRE}",
    "create_port:fixed_ips": f"{_WIRE} or rule:shared",
    "create_port:fixed_ips:ip_address": _WIRE,
    "create_port:fixed_ips:subnet_id": f"{_WIRE} or rule:shared",
    "create_port:binding:vnic_type": f"{_WRITE} or rule:service_api",
    "get_port": f"{_READ} or rule:service_api or rule:admin_or_net_owner_reader",
    "update_port": f"{_WRITE} or rule:service_api",
    "update_port:device_id": f"{_WRITE} or rule:service_api",
    "update_port:device_owner": f"not rule:network_device or {_WIRE}",
    "update_port:fixed_ips": _WIRE,
    "update_port:fixed_ips:ip_address": _WIRE,
    "update_port:fixed_ips:subnet_id": f"{_WIRE} or rule:shared",
    "update_port:binding:vnic_type": f"{_WRITE} or rule:service_api",
    "delete_port": (
        "rule:admin_only or rule:service_api or (not rule:used_by_another_service "
        f"and ({_WRITE} or rule:admin_or_net_owner_member))"
    ),
    # routers
    "create_router": _WRITE,
    "create_router:external_gateway_info:enable_snat": "rule:admin_only",
    "create_router:external_gateway_info:external_fixed_ips": "rule:admin_only",
    "get_router": _READ,
    "update_router": _WRITE,
    "update_router:external_gateway_info:enable_snat": "rule:admin_only",
    "update_router:external_gateway_info:external_fixed_ips": "rule:admin_only",
    "delete_router": _WRITE,
    "add_router_interface": _WRITE,
    "remove_router_interface": _WRITE,
    "add_extraroutes": _WRITE,
    "remove_extraroutes": _WRITE,
    # floating IPs
    "create_floatingip": _WRITE,
    "get_floatingip": _READ,
    "update_floatingip": _WRITE,
    "delete_floatingip": _WRITE,
    # security groups
    "create_security_group": _WRITE,
    "get_security_group": f"{_READ} or rule:shared",
    "update_security_group": _WRITE,
    "delete_security_group": _WRITE,
    "create_security_group_rule": "rule:admin_only or (role:member and rule:sg_owner)",
    "get_security_group_rule": "rule:admin_only or (role:reader and rule:sg_owner)",
    "delete_security_group_rule": "rule:admin_only or (role:member and rule:sg_owner)",
    # pools, scopes, sharing
    "create_subnetpool": _WRITE,
    "get_subnetpool": f"{_READ} or rule:shared",
    "update_subnetpool": _WRITE,
    "delete_subnetpool": _WRITE,
    "create_address_scope": _WRITE,
    "get_address_scope": f"{_READ} or rule:shared",
    "update_address_scope": _WRITE,
    "delete_address_scope": _WRITE,
    "create_rbac_policy": _WRITE,
    "create_rbac_policy:target_tenant": "rule:admin_only or not field:rbac_policy:target_tenant=*",
    "get_rbac_policy": _READ,
    "update_rbac_policy": _WRITE,
    "update_rbac_policy:target_tenant": "rule:admin_only or not field:rbac_policy:target_tenant=*",
    "delete_rbac_policy": _WRITE,
    # the cloud itself
    "get_quota": "rule:admin_only or (role:manager and project_id:%(project_id)s)",
    "update_quota": "rule:admin_only",
    "delete_quota": "rule:admin_only",
    "get_agent": "rule:admin_only",
    "update_agent": "rule:admin_only",
    "delete_agent": "rule:admin_only",
    "get_network_ip_availability": "rule:admin_only or rule:service_api",
    "get_dhcp-agents": "rule:admin_only",
    "get_dhcp-networks": "rule:admin_only",
    "get_l3-agents": "rule:admin_only",
    "get_l3-routers": "rule:admin_only",
    "get_availability_zone": "role:reader",
    "get_service_provider": "role:reader",
}

for _resource in RESOURCES:
    for _attribute in _resource.attributes:
        for _action, _rule in (
            ("create", _attribute.create_rule),
            ("update", _attribute.update_rule),
            ("get", _attribute.read_rule),
        ):
            if _rule is not None:
                POLICIES.setdefault(f"{_action}_{_resource.name}:{_attribute.name}", _rule)

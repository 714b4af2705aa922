"""What a new port says before anybody has given it addresses, groups or a host."""

from __future__ import annotations

from deuteron.model.network.rows import NetworkRow
from deuteron.model.scalars import Mac, PortId, ProjectId
from deuteron.rules.network import bindings, dhcp_options, port_security
from deuteron.store.query import Values


def defaults(
    values: Values, network: NetworkRow, port_id: PortId, project_id: ProjectId, owner: str, mac: Mac
) -> Values:
    """The values of a port of which `values` are asked; what they do not say is as Neutron has it."""
    secured = values.get("port_security_enabled")
    if owner.startswith("network:"):
        # Neutron trusts its own ports, whatever is asked: no filter between a router or DHCP and the network.
        secured = False
    elif secured is None:
        secured = bool(network["port_security_enabled"])
    return {
        "id": port_id,
        "name": values.get("name") or "",
        "network_id": network["id"],
        "project_id": project_id,
        "mac_address": mac,
        "admin_state_up": values.get("admin_state_up", True),
        "device_id": values.get("device_id") or "",
        "device_owner": owner,
        "allowed_address_pairs": port_security.address_pairs(values.get("allowed_address_pairs"), mac),
        "extra_dhcp_opts": dhcp_options.merged([], values.get("extra_dhcp_opts") or []),
        "description": values.get("description") or "",
        "binding:vnic_type": values.get("binding:vnic_type") or "normal",
        "binding:profile": values.get("binding:profile") or {},
        "port_security_enabled": secured,
        "qos_policy_id": values.get("qos_policy_id"),
        "device_profile": values.get("device_profile") or None,
        "numa_affinity_policy": values.get("numa_affinity_policy"),
        "dns_name": "",
        "dns_domain": "",
        "tags": sorted(values.get("tags") or ()),
        **bindings.UNBOUND,
        "status": values.get("status", "DOWN"),
    }

"""In which order Neutron looks at the attributes of a body: of several that are wrong, the first is told.

It is that in which definitions, and then extensions, name them; answers list them in another. Kinds that are not here
are looked at in the order of their answers.

Source: what Neutron 29 holds in `neutron_lib.api.attributes.RESOURCES` with ML2, Open vSwitch and its service plugins.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from deuteron.model.resource import Attribute, Resource

_ORDERS: Final[Mapping[str, str]] = {
    "network": """
        name admin_state_up project_id shared router:external segments mtu availability_zone_hints ha
        port_security_enabled provider:network_type provider:physical_network provider:segmentation_id qos_policy_id
        is_default dns_domain description
    """,
    "subnet": """
        name ip_version network_id subnetpool_id prefixlen cidr gateway_ip allocation_pools dns_nameservers
        host_routes project_id enable_dhcp ipv6_ra_mode ipv6_address_mode service_types use_default_subnetpool
        dns_publish_fixed_ip description
    """,
    "port": """
        name network_id admin_state_up mac_address fixed_ips device_id device_owner project_id allowed_address_pairs
        extra_dhcp_opts device_profile numa_affinity_policy binding:vnic_type binding:host_id binding:profile
        port_security_enabled qos_policy_id tags dns_name dns_domain description security_groups
    """,
    "router": """
        name admin_state_up project_id external_gateway_info ha enable_ndp_proxy flavor_id availability_zone_hints
        distributed routes description
    """,
    "floatingip": """
        floating_ip_address subnet_id floating_network_id router_id port_id fixed_ip_address project_id
        qos_policy_id dns_name dns_domain description
    """,
    "security_group": """
        description name project_id stateful
    """,
    "security_group_rule": """
        description security_group_id remote_group_id direction protocol port_range_min port_range_max ethertype
        remote_ip_prefix project_id remote_address_group_id
    """,
    "subnetpool": """
        name project_id prefixes default_quota default_prefixlen min_prefixlen max_prefixlen is_default shared
        address_scope_id description
    """,
    "rbac_policy": """
        object_type object_id target_tenant project_id action
    """,
    "address_group": """
        description name project_id addresses
    """,
    "bandwidth_limit_rule": """
        max_kbps direction max_burst_kbps
    """,
    "metering_label": """
        name description project_id shared
    """,
    "metering_label_rule": """
        metering_label_id direction excluded remote_ip_prefix project_id source_ip_prefix destination_ip_prefix
    """,
    "network_flavor": """
        name description service_type service_profiles enabled
    """,
    "trunk": """
        admin_state_up name project_id port_id sub_ports description
    """,
    "port_forwarding": """
        project_id external_port internal_port internal_ip_address protocol internal_port_id external_port_range
        internal_port_range description
    """,
    "conntrack_helper": """
        project_id protocol port helper
    """,
    "default_security_group_rule": """
        project_id description remote_group_id remote_address_group_id direction protocol port_range_min port_range_max
        ethertype remote_ip_prefix used_in_default_sg used_in_non_default_sg
    """,
    "segment": """
        description project_id network_id physical_network network_type segmentation_id name
    """,
    "service_profile": """
        description driver metainfo enabled
    """,
}


def looked_at(resource: Resource[Any]) -> Sequence[Attribute]:
    """The attributes in that order; those that Neutron has not come last."""
    place = {name: number for number, name in enumerate(_ORDERS.get(resource.name, "").split())}
    return sorted(resource.attributes, key=lambda attribute: place.get(attribute.name, len(place)))

"""A good body for each route that takes one: what the mutations begin with. `$kind` is the id of such an object.

What must be new each time is `$unique` (a name), `$number`, `$mac`, `$uuid`, and `$n` in `10.$n.0/24`: a body that is
refused because the one before it was accepted reaches nothing.
"""

from __future__ import annotations

from typing import Any

from deuteron.api.call import Route, Service
from tests.fuzz import placements, volumes

_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAaQ34mPI08pmY0wkHd0KHq638Gb6dpC8Lk01EEBCcIk"
_PORT = {
    "network_id": "$network",
    "name": "x",
    "admin_state_up": True,
    "fixed_ips": [{"subnet_id": "$subnet"}],
    "mac_address": "$mac",
    "security_groups": ["$security_group"],
    "device_id": "d",
    "device_owner": "o",
    "tags": ["red"],
    "allowed_address_pairs": [{"ip_address": "10.0.0.9", "mac_address": "fa:16:3e:11:22:34"}],
    "extra_dhcp_opts": [{"opt_name": "mtu", "opt_value": "1400", "ip_version": 4}],
    "port_security_enabled": True,
    "binding:host_id": "h1",
    "binding:profile": {},
    "binding:vnic_type": "normal",
    "description": "",
    "dns_name": "web.a",
    "dns_domain": "<project_id>.example.",
}
_SUBNET = {
    "network_id": "$network",
    "ip_version": 4,
    "cidr": "10.$n.0/24",
    "gateway_ip": "10.$n.1",
    "enable_dhcp": True,
    "allocation_pools": [{"start": "10.$n.10", "end": "10.$n.20"}],
    "dns_nameservers": ["8.8.8.8"],
    "host_routes": [{"destination": "10.8.0.0/16", "nexthop": "10.$n.5"}],
    "name": "x",
    "dns_publish_fixed_ip": True,
}
_SUBNET6 = {
    "network_id": "$network",
    "ip_version": 6,
    "cidr": "fd00:9::/64",
    "ipv6_ra_mode": "slaac",
    "ipv6_address_mode": "slaac",
}
_NETWORK = {
    "name": "x",
    "admin_state_up": True,
    "shared": False,
    "mtu": 1400,
    "router:external": False,
    "description": "",
    "provider:network_type": "vxlan",
    "provider:segmentation_id": "$number",
    "port_security_enabled": True,
    "availability_zone_hints": ["nova"],
    "is_default": False,
    "dns_domain": "a.example.",
}
_ROUTER = {
    "name": "x",
    "admin_state_up": True,
    "external_gateway_info": {
        "network_id": "$public",
        "enable_snat": True,
        "external_fixed_ips": [{"subnet_id": "$public_subnet", "ip_address": "172.24.4.50"}],
    },
}
_ROUTE = {"destination": "10.7.0.0/16", "nexthop": "172.24.4.1"}
_RULE = {
    "security_group_id": "$security_group",
    "direction": "ingress",
    "ethertype": "IPv4",
    "protocol": "tcp",
    "port_range_min": "$number",
    "port_range_max": 65535,
    "remote_ip_prefix": "10.0.0.0/8",
}
_FILE = {"path": "/etc/motd", "contents": "aGVsbG8="}
"""Of microversions before 2.57."""
_SERVER = {
    "name": "x",
    "flavorRef": "42",
    "imageRef": "$image",
    "networks": [{"uuid": "$network"}],
    "metadata": {"a": "b"},
    "security_groups": [{"name": "default"}],
    "user_data": "aGVsbG8=",
    "key_name": "$keypair",
    "min_count": 1,
    "max_count": 2,
    "availability_zone": "nova",
    "config_drive": False,
    "OS-DCF:diskConfig": "AUTO",
    "tags": ["t"],
    "description": "d",
    "accessIPv4": "1.2.3.4",
    "adminPass": "x",
    "hostname": "h",
    "block_device_mapping_v2": [
        {
            "uuid": "$image",
            "source_type": "image",
            "destination_type": "local",
            "boot_index": 0,
            "delete_on_termination": True,
        },
        {
            "source_type": "blank",
            "destination_type": "volume",
            "boot_index": -1,
            "volume_size": 1,
            "device_name": "/dev/vdb",
            "disk_bus": "virtio",
            "device_type": "disk",
            "volume_type": "__DEFAULT__",
            "tag": "t",
            "delete_on_termination": True,
        },
    ],
}
_ACTIONS: list[Any] = [
    {"reboot": {"type": "SOFT"}},
    {"os-stop": None},
    {"os-start": None},
    {"pause": None},
    {"unpause": None},
    {"suspend": None},
    {"resume": None},
    {"lock": {"locked_reason": "x"}},
    {"unlock": None},
    {"os-getConsoleOutput": {"length": 5}},
    {"addSecurityGroup": {"name": "default"}},
    {"removeSecurityGroup": {"name": "default"}},
    {"rebuild": {"imageRef": "$image", "name": "y", "metadata": {}}},
    {"rebuild": {"imageRef": "$image", "personality": [_FILE]}},
    {"os-resetState": {"state": "active"}},
    {"resize": {"flavorRef": "1"}},
    {"createImage": {"name": "x", "metadata": {}}},
    {"createBackup": {"name": "x", "backup_type": "daily", "rotation": 1, "metadata": {}}},
    {"changePassword": {"adminPass": "x"}},
    {"addFloatingIp": {"address": "1.2.3.4", "fixed_address": "10.0.0.2"}},
    {"removeFloatingIp": {"address": "1.2.3.4"}},
    {"forceDelete": None},
    {"restore": None},
    {"migrate": {"host": "h1"}},
    {"os-migrateLive": {"host": None, "block_migration": "auto"}},
    {"shelve": None},
    {"shelveOffload": None},
    {"evacuate": {"host": "h1", "onSharedStorage": False, "adminPass": "x"}},
    {"unshelve": None},
    {"unshelve": {"availability_zone": "nova", "host": "h1"}},
    {"rescue": {"adminPass": "x"}},
    {"rescue": {"rescue_image_ref": "$image"}},
    {"unrescue": None},
    {"confirmResize": None},
    {"revertResize": None},
    {"addFixedIp": {"networkId": "$network"}},
    {"removeFixedIp": {"address": "10.0.0.2"}},
    {"os-getVNCConsole": {"type": "novnc"}},
    {"injectNetworkInfo": None},
    {"trigger_crash_dump": None},
]
_USER = {
    "name": "$unique",
    "domain_id": "default",
    "default_project_id": "$project",
    "enabled": True,
    "email": "a@b",
    "description": "d",
    "options": {"ignore_password_expiry": True},
    "extra": 1,
}
_PROJECT = {
    "name": "$unique",
    "domain_id": "default",
    "parent_id": "default",
    "enabled": True,
    "tags": ["a"],
    "is_domain": False,
}
_AUTH = {
    "auth": {
        "identity": {
            "methods": ["password"],
            "password": {"user": {"name": "demo", "domain": {"id": "default"}, "password": "demo-secret"}},
        },
        "scope": {"project": {"name": "demo", "domain": {"id": "default"}}},
    }
}
_TOKEN = {"auth": {"identity": {"methods": ["token"], "token": {"id": "x"}}, "scope": {"system": {"all": True}}}}
_OPTIONS = {
    "identity": {"driver": "ldap", "list_limit": 9},
    "ldap": {"url": "ldap://h", "password": "p", "use_tls": True},
}
_APPLICATION = {
    "auth": {
        "identity": {
            "methods": ["application_credential"],
            "application_credential": {"id": "x", "secret": "y", "user": {"id": "z"}},
        }
    }
}
_SEGMENTS = [
    {"provider:network_type": "vxlan", "provider:physical_network": None, "provider:segmentation_id": 7},
    {"provider:network_type": "vlan", "provider:physical_network": "physnet1", "provider:segmentation_id": 8},
]
_N, _C, _I, _G = "/v2.0", "/v2.1", "/v3", "/v2"
_METADEF: dict[str, Any] = {
    "namespace": "$unique",
    "display_name": "x",
    "description": "y",
    "visibility": "public",
    "protected": False,
    "owner": "$project",
    "properties": {
        "p": {
            "title": "t", "type": "string", "description": "d", "operators": ["<or>"], "required": ["a"], "minimum": 0,
            "maximum": 9, "maxLength": 9, "minLength": 0, "pattern": "^x", "enum": ["a"], "readonly": False,
            "default": 5, "items": {"type": "string", "enum": ["a"]}, "maxItems": 5, "minItems": 0, "uniqueItems": True,
            "additionalItems": False,
        }
    },
    "objects": [
        {"name": "o", "description": "d", "required": ["q"], "properties": {"q": {"title": "t", "type": "array"}}}
    ],
    "tags": [{"name": "t"}],
    "resource_type_associations": [{"name": "OS::Nova::Server", "prefix": "x:", "properties_target": "metadata"}],
}  # fmt: skip
BODIES: dict[tuple[str, str], list[Any]] = {
    ("POST", _N + "/networks"): [
        {"network": _NETWORK},
        {"networks": [_NETWORK, {"name": "y", "ha": True}]},
        {"network": {"segments": _SEGMENTS}},
    ],
    ("PUT", _N + "/networks/{id}"): [{"network": {"name": "y", "mtu": 1300, "shared": True, "admin_state_up": False}}],
    ("POST", _N + "/subnets"): [
        {"subnet": _SUBNET},
        {"subnet": _SUBNET6},
        {"subnet": {"network_id": "$pool_network", "subnetpool_id": "$subnetpool", "ip_version": 4, "prefixlen": 26}},
        {"subnets": [_SUBNET, _SUBNET6]},
    ],
    ("PUT", _N + "/subnets/{id}"): [
        {
            "subnet": {
                "name": "y",
                "gateway_ip": None,
                "enable_dhcp": False,
                "dns_nameservers": ["1.1.1.1"],
                "allocation_pools": [{"start": "10.0.0.10", "end": "10.0.0.200"}],
                "host_routes": [],
            }
        }
    ],
    ("POST", _N + "/ports"): [
        {"port": _PORT},
        {"ports": [_PORT, {"network_id": "$network", "device_profile": "x", "numa_affinity_policy": "socket"}]},
        {"port": {"network_id": "$network"}},
    ],
    ("PUT", _N + "/ports/{id}"): [
        {"port": {name: _PORT[name] for name in _PORT if name not in ("network_id", "tags")}}
    ],
    ("POST", _N + "/routers"): [{"router": _ROUTER}, {"router": {"name": "y", "flavor_id": "$network_flavor"}}],
    ("PUT", _N + "/routers/{id}"): [
        {"router": _ROUTER},
        {"router": {"routes": [_ROUTE]}},
        {"router": {"external_gateway_info": {"network_id": "$public", "qos_policy_id": "$qos_policy"}}},
    ],
    ("PUT", _N + "/routers/{id}/add_router_interface"): [{"subnet_id": "$subnet"}, {"port_id": "$port"}],
    ("PUT", _N + "/routers/{id}/remove_router_interface"): [{"subnet_id": "$subnet"}, {"port_id": "$port"}],
    ("PUT", _N + "/routers/{id}/add_extraroutes"): [{"router": {"routes": [_ROUTE]}}],
    ("PUT", _N + "/routers/{id}/remove_extraroutes"): [{"router": {"routes": [_ROUTE]}}],
    ("POST", _N + "/floatingips"): [
        {"floatingip": {"floating_network_id": "$public"}},
        {
            "floatingip": {
                "floating_network_id": "$public",
                "port_id": "$port",
                "fixed_ip_address": "10.0.0.2",
                "floating_ip_address": "172.24.4.60",
                "router_id": "$router",
                "dns_name": "a",
                "dns_domain": "b.",
                "description": "x",
            }
        },
    ],
    ("PUT", _N + "/floatingips/{id}"): [
        {"floatingip": {"port_id": "$port", "router_id": None, "description": "y"}},
        {"floatingip": {"qos_policy_id": "$qos_policy"}},
    ],
    ("POST", _N + "/floatingips/{parent}/port_forwardings"): [
        {
            "port_forwarding": {
                "internal_port_id": "$port",
                "internal_ip_address": "10.0.0.2",
                "protocol": "tcp",
                "external_port": 80,
                "internal_port": 8080,
                "description": "x",
            }
        },
        {
            "port_forwarding": {
                "internal_port_id": "$port",
                "internal_ip_address": "10.0.0.2",
                "protocol": "udp",
                "external_port_range": "100:110",
                "internal_port_range": "200:210",
            }
        },
    ],
    ("PUT", _N + "/floatingips/{parent}/port_forwardings/{id}"): [
        {"port_forwarding": {"external_port": 81, "internal_port_range": "8081", "protocol": "sctp"}},
    ],
    ("POST", _N + "/ndp_proxies"): [
        {"ndp_proxy": {"router_id": "$six_router", "port_id": "$six_port", "name": "x", "description": "y"}},
        {"ndp_proxy": {"router_id": "$router", "port_id": "$port", "ip_address": "fd00::5", "name": "x"}},
    ],
    ("PUT", _N + "/ndp_proxies/{id}"): [{"ndp_proxy": {"name": "y", "description": "z"}}],
    ("POST", _N + "/local_ips"): [
        {"local_ip": {"network_id": "$network", "ip_mode": "passthrough", "name": "x", "description": "y"}},
        {"local_ips": [{"local_port_id": "$subport"}, {"network_id": "$network", "local_ip_address": "10.$n"}]},
    ],
    ("PUT", _N + "/local_ips/{id}"): [{"local_ip": {"name": "y", "description": "z"}}],
    ("POST", _N + "/local_ips/{parent}/port_associations"): [
        {"port_association": {"fixed_port_id": "$port", "fixed_ip": "$port_address"}},
    ],
    ("POST", _N + "/routers/{parent}/conntrack_helpers"): [
        {"conntrack_helper": {"protocol": "udp", "port": 69, "helper": "tftp"}},
    ],
    ("PUT", _N + "/routers/{parent}/conntrack_helpers/{id}"): [
        {"conntrack_helper": {"protocol": "tcp", "port": 21, "helper": "ftp"}},
    ],
    ("POST", _N + "/security-groups"): [{"security_group": {"name": "x", "description": "y", "stateful": True}}],
    ("PUT", _N + "/security-groups/{id}"): [{"security_group": {"name": "z", "description": "y"}}],
    ("POST", _N + "/security-group-rules"): [
        {"security_group_rule": _RULE},
        {"security_group_rules": [_RULE, {**_RULE, "protocol": "icmp", "port_range_min": 8, "port_range_max": 0}]},
    ],
    ("POST", _N + "/subnetpools"): [
        {
            "subnetpool": {
                "name": "x",
                "prefixes": ["10.128.0.0/16"],
                "default_prefixlen": 24,
                "min_prefixlen": 20,
                "max_prefixlen": 30,
                "shared": False,
                "address_scope_id": None,
                "default_quota": 3,
            }
        }
    ],
    ("PUT", _N + "/subnetpools/{id}"): [
        {"subnetpool": {"prefixes": ["10.64.0.0/11"], "max_prefixlen": 29, "name": "y"}}
    ],
    ("PUT", _N + "/subnetpools/{id}/add_prefixes"): [{"prefixes": ["10.64.0.0/24", "10.$n.0/24"]}],
    ("PUT", _N + "/subnetpools/{id}/remove_prefixes"): [{"prefixes": ["10.64.0.0/24"]}],
    ("PUT", _N + "/subnetpools/{id}/onboard_network_subnets"): [{"network_id": "$network"}],
    ("POST", _N + "/address-scopes"): [{"address_scope": {"name": "x", "ip_version": 4, "shared": False}}],
    ("PUT", _N + "/address-scopes/{id}"): [{"address_scope": {"name": "y", "shared": True}}],
    ("POST", _N + "/address-groups"): [
        {"address_group": {"name": "x", "description": "y", "addresses": ["10.0.0.0/8", "fd00::/8"]}}
    ],
    ("PUT", _N + "/address-groups/{id}"): [{"address_group": {"name": "y", "description": "z"}}],
    ("PUT", _N + "/address-groups/{id}/add_addresses"): [{"addresses": ["192.0.2.0/24"]}],
    ("PUT", _N + "/address-groups/{id}/remove_addresses"): [{"addresses": ["192.0.2.0/24"]}],
    ("POST", _N + "/rbac-policies"): [
        {
            "rbac_policy": {
                "object_type": "network",
                "object_id": "$network",
                "action": "access_as_shared",
                "target_tenant": "$uuid",
            }
        }
    ],
    ("PUT", _N + "/rbac-policies/{id}"): [{"rbac_policy": {"target_tenant": "$project"}}],
    ("POST", _N + "/qos/policies"): [{"policy": {"name": "x", "shared": False, "is_default": False}}],
    ("PUT", _N + "/qos/policies/{id}"): [{"policy": {"name": "y", "description": "z"}}],
    ("POST", _N + "/qos/policies/{parent}/bandwidth_limit_rules"): [
        {"bandwidth_limit_rule": {"max_kbps": "$number", "max_burst_kbps": 5, "direction": "ingress"}},
        {"bandwidth_limit_rules": [{"max_kbps": 50}, {"max_kbps": 60, "direction": "ingress"}]},
    ],
    ("PUT", _N + "/qos/policies/{parent}/bandwidth_limit_rules/{id}"): [
        {"bandwidth_limit_rule": {"max_kbps": 70, "direction": "egress"}}
    ],
    ("PUT", _N + "/qos/alias_bandwidth_limit_rules/{id}"): [{"alias_bandwidth_limit_rule": {"max_kbps": 70}}],
    ("POST", _N + "/qos/policies/{parent}/dscp_marking_rules"): [{"dscp_marking_rule": {"dscp_mark": 26}}],
    ("PUT", _N + "/qos/policies/{parent}/dscp_marking_rules/{id}"): [{"dscp_marking_rule": {"dscp_mark": 8}}],
    ("PUT", _N + "/qos/alias_dscp_marking_rules/{id}"): [{"alias_dscp_marking_rule": {"dscp_mark": 8}}],
    ("POST", _N + "/qos/policies/{parent}/packet_rate_limit_rules"): [
        {"packet_rate_limit_rule": {"max_kpps": "$number", "max_burst_kpps": 5, "direction": "ingress"}},
        {"packet_rate_limit_rules": [{"max_kpps": 50}, {"max_kpps": 60, "direction": "ingress"}]},
    ],
    ("PUT", _N + "/qos/policies/{parent}/packet_rate_limit_rules/{id}"): [
        {"packet_rate_limit_rule": {"max_kpps": 70, "direction": "egress"}}
    ],
    ("POST", _N + "/qos/policies/{parent}/minimum_bandwidth_rules"): [
        {"minimum_bandwidth_rule": {"min_kbps": 4, "direction": "ingress"}},
        {"minimum_bandwidth_rules": [{"min_kbps": 5}, {"min_kbps": 6, "direction": "ingress"}]},
    ],
    ("PUT", _N + "/qos/policies/{parent}/minimum_bandwidth_rules/{id}"): [
        {"minimum_bandwidth_rule": {"min_kbps": 7, "direction": "egress"}}
    ],
    ("PUT", _N + "/qos/alias_minimum_bandwidth_rules/{id}"): [{"alias_minimum_bandwidth_rule": {"min_kbps": 7}}],
    ("POST", _N + "/qos/policies/{parent}/minimum_packet_rate_rules"): [
        {"minimum_packet_rate_rule": {"min_kpps": "$number", "direction": "any"}},
        {"minimum_packet_rate_rules": [{"min_kpps": 5}, {"min_kpps": 6, "direction": "ingress"}]},
    ],
    ("PUT", _N + "/qos/policies/{parent}/minimum_packet_rate_rules/{id}"): [
        {"minimum_packet_rate_rule": {"min_kpps": 7, "direction": "egress"}}
    ],
    ("PUT", _N + "/qos/alias_minimum_packet_rate_rules/{id}"): [{"alias_minimum_packet_rate_rule": {"min_kpps": 7}}],
    ("POST", _N + "/metering/metering-labels"): [{"metering_label": {"name": "x", "description": "y", "shared": True}}],
    ("POST", _N + "/metering/metering-label-rules"): [
        {
            "metering_label_rule": {
                "metering_label_id": "$metering_label",
                "direction": "ingress",
                "source_ip_prefix": "10.0.0.0/8",
                "destination_ip_prefix": "10.1.0.0/16",
                "excluded": True,
            }
        },
        {
            "metering_label_rule": {
                "metering_label_id": "$metering_label",
                "direction": "egress",
                "remote_ip_prefix": "10.0.0.0/8",
            }
        },
    ],
    ("POST", _N + "/default-security-group-rules"): [
        {
            "default_security_group_rule": {
                "direction": "ingress",
                "protocol": "tcp",
                "port_range_min": "$number",
                "port_range_max": 65535,
                "remote_group_id": "PARENT",
                "used_in_default_sg": False,
                "used_in_non_default_sg": False,
            }
        }
    ],
    ("POST", _N + "/security-groups-default-statefulness"): [
        {"security_groups_default_statefulness": {"project_id": "$uuid", "stateful": True}}
    ],
    ("PUT", _N + "/security-groups-default-statefulness/{id}"): [
        {"security_groups_default_statefulness": {"stateful": False}}
    ],
    ("POST", _N + "/flavors"): [
        {"flavor": {"service_type": "L3_ROUTER_NAT", "name": "x", "description": "y", "enabled": True}}
    ],
    ("PUT", _N + "/flavors/{id}"): [{"flavor": {"name": "x", "description": "y", "enabled": False}}],
    ("POST", _N + "/flavors/{id}/service_profiles"): [{"service_profile": {"id": "$service_profile"}}],
    ("POST", _N + "/service_profiles"): [
        {
            "service_profile": {
                "driver": "neutron.services.l3_router.service_providers.single_node.SingleNodeDriver",
                "metainfo": "x",
                "description": "y",
                "enabled": True,
            }
        }
    ],
    ("PUT", _N + "/service_profiles/{id}"): [{"service_profile": {"description": "y", "metainfo": "x"}}],
    ("POST", _N + "/log/logs"): [
        {"log": {"resource_type": "security_group", "resource_id": "$security_group", "event": "DROP", "name": "x"}},
        {"log": {"resource_type": "security_group", "target_id": "$port", "enabled": False, "description": "y"}},
    ],
    ("PUT", _N + "/log/logs/{id}"): [{"log": {"name": "y", "description": "z", "enabled": False}}],
    ("POST", _N + "/trunks"): [
        {
            "trunk": {
                "port_id": "$port",
                "name": "x",
                "description": "y",
                "admin_state_up": True,
                "sub_ports": [{"port_id": "$subport", "segmentation_type": "vlan", "segmentation_id": 5}],
            }
        },
        {"trunk": {"port_id": "$port", "sub_ports": [{"port_id": "$subport", "segmentation_type": "inherit"}]}},
    ],
    ("PUT", _N + "/trunks/{id}"): [{"trunk": {"name": "y", "description": "z", "admin_state_up": False}}],
    ("PUT", _N + "/trunks/{id}/add_subports"): [
        {"sub_ports": [{"port_id": "$subport", "segmentation_type": "vlan", "segmentation_id": "6"}]}
    ],
    ("PUT", _N + "/trunks/{id}/remove_subports"): [{"sub_ports": [{"port_id": "$subport"}]}],
    ("POST", _N + "/segments"): [
        {"segment": {"network_id": "$network", "network_type": "vxlan", "name": "x", "description": "y"}},
        {
            "segment": {
                "network_id": "$network",
                "network_type": "vlan",
                "physical_network": "physnet1",
                "segmentation_id": 7,
            }
        },
    ],
    ("PUT", _N + "/segments/{id}"): [{"segment": {"name": "y", "description": "z"}}],
    ("POST", _N + "/ports/{id}/bindings"): [{"binding": {"host": "h1", "vnic_type": "normal", "profile": {}}}],
    ("PUT", _N + "/quotas/{project}"): [{"quota": {"network": 5, "port": -1, "security_group_rule": 9}}],
    ("PUT", _N + "/agents/{id}"): [{"agent": {"admin_state_up": True, "description": "x"}}],
    ("POST", _N + "/agents/{id}/dhcp-networks"): [{"network_id": "$network"}],
    ("POST", _N + "/agents/{id}/l3-routers"): [{"router_id": "$router"}],
    ("POST", _C + "/servers"): [
        {"server": _SERVER},
        {"server": {"name": "y", "flavorRef": "42", "imageRef": "$image", "networks": "none"}},
        {"server": {"name": "y", "flavorRef": "42", "imageRef": "$image", "personality": [_FILE]}},
        {
            "server": {"name": "y", "flavorRef": "42", "imageRef": "$image", "networks": "auto"},
            "os:scheduler_hints": {"group": "$server_group"},
        },
        {"server": {"name": "y", "flavorRef": "42", "imageRef": "$image", "networks": [{"port": "$port"}]}},
    ],
    ("PUT", _C + "/servers/{id}"): [
        {"server": {"name": "y", "description": "z", "accessIPv4": "1.2.3.4", "hostname": "a"}}
    ],
    ("POST", _C + "/servers/{id}/action"): _ACTIONS,
    ("POST", _C + "/servers/{id}/metadata"): [{"metadata": {"a": "b"}}],
    ("PUT", _C + "/servers/{id}/metadata"): [{"metadata": {"a": "b"}}],
    ("PUT", _C + "/servers/{id}/metadata/{key}"): [{"meta": {"a": "b"}}, {"meta": {"x": "b"}}],
    ("POST", _C + "/images/{id}/metadata"): [{"metadata": {"a": "b"}}],
    ("PUT", _C + "/images/{id}/metadata"): [{"metadata": {"a": "b"}}],
    ("PUT", _C + "/images/{id}/metadata/{key}"): [{"meta": {"a": "b"}}],
    ("PUT", _C + "/servers/{id}/tags"): [{"tags": ["a", "b"]}],
    ("POST", _C + "/servers/{id}/os-interface"): [
        {"interfaceAttachment": {"net_id": "$network", "fixed_ips": [{"ip_address": "10.0.0.77"}]}},
        {"interfaceAttachment": {"port_id": "$port"}},
        {"interfaceAttachment": {}},
    ],
    ("POST", _C + "/servers/{id}/os-volume_attachments"): [
        {"volumeAttachment": {"volumeId": "$volume", "device": "/dev/vdb", "tag": "t", "delete_on_termination": True}}
    ],
    ("PUT", _C + "/servers/{id}/os-volume_attachments/{volume}"): [
        {"volumeAttachment": {"volumeId": "$volume", "delete_on_termination": False}}
    ],
    ("POST", _C + "/servers/{id}/migrations/{migration}/action"): [{"force_complete": None}],
    ("POST", _C + "/servers/{id}/remote-consoles"): [
        {"remote_console": {"protocol": "vnc", "type": "novnc"}},
        {"remote_console": {"protocol": "spice", "type": "spice-direct"}},
    ],
    ("POST", _C + "/servers/{id}/shares"): [{"share": {"share_id": "$uuid", "tag": "t"}}],
    ("POST", _C + "/flavors"): [
        {
            "flavor": {
                "name": "x",
                "ram": 64,
                "vcpus": 1,
                "disk": 1,
                "id": "auto",
                "swap": 0,
                "rxtx_factor": 1.0,
                "OS-FLV-EXT-DATA:ephemeral": 0,
                "os-flavor-access:is_public": True,
                "description": "x",
            }
        }
    ],
    ("PUT", _C + "/flavors/{id}"): [{"flavor": {"description": "y"}}],
    ("POST", _C + "/flavors/{id}/action"): [
        {"addTenantAccess": {"tenant": "$project"}},
        {"removeTenantAccess": {"tenant": "$project"}},
    ],
    ("POST", _C + "/flavors/{id}/os-extra_specs"): [{"extra_specs": {"hw:cpu_policy": "shared"}}],
    ("PUT", _C + "/flavors/{id}/os-extra_specs/{key}"): [{"a": "b"}],
    ("POST", _C + "/os-keypairs"): [
        {"keypair": {"name": "$unique", "type": "ssh", "user_id": "$user", "public_key": _KEY}},
        {"keypair": {"name": "$unique"}},
    ],
    ("POST", _C + "/os-server-external-events"): [
        {"events": [{"name": "network-vif-deleted", "server_uuid": "$server", "status": "completed", "tag": "x"}]}
    ],
    ("POST", _C + "/os-server-groups"): [
        {"server_group": {"name": "x", "policies": ["affinity"]}},
        {"server_group": {"name": "x", "policy": "anti-affinity", "rules": {"max_server_per_host": 1}}},
    ],
    ("PUT", _C + "/os-services/{id}"): [
        {"status": "enabled"},
        {"status": "disabled", "disabled_reason": "x", "forced_down": False},
        {"host": "h1", "binary": "nova-compute"},
    ],
    ("POST", _C + "/os-aggregates"): [{"aggregate": {"name": "$unique", "availability_zone": "$unique"}}],
    ("PUT", _C + "/os-aggregates/{id}"): [
        {"aggregate": {"name": "$unique"}},
        {"aggregate": {"availability_zone": "z"}},
    ],
    ("POST", _C + "/os-aggregates/{id}/action"): [
        {"add_host": {"host": "h1"}},
        {"remove_host": {"host": "h1"}},
        {"set_metadata": {"metadata": {"a": "b", "c": None}}},
    ],
    ("POST", _C + "/os-aggregates/{id}/images"): [{"cache": [{"id": "$image"}]}, {"cache": [{"id": "$uuid"}]}],
    ("PUT", _C + "/os-hosts/{id}"): [{"status": "disable"}],
    ("PUT", _C + "/os-quota-class-sets/{id}"): [{"quota_class_set": {"instances": 500, "cores": -1, "ram": -1}}],
    ("PUT", _C + "/os-quota-sets/{id}"): [{"quota_set": {"instances": 5, "cores": -1, "force": True}}],
    ("POST", _C + "/os-volumes"): [
        {"volume": {"size": 1, "display_name": "x", "metadata": {"a": "b"}, "availability_zone": "nova"}}
    ],
    ("POST", _C + "/os-floating-ips"): [{"pool": "public"}, {}],
    ("POST", _C + "/os-snapshots"): [{"snapshot": {"volume_id": "$volume", "force": True, "display_name": "x"}}],
    ("POST", _C + "/os-security-groups"): [{"security_group": {"name": "x", "description": "y"}}],
    ("PUT", _C + "/os-security-groups/{id}"): [{"security_group": {"name": "x", "description": "y"}}],
    ("POST", _C + "/os-security-group-rules"): [
        {
            "security_group_rule": {
                "parent_group_id": "$security_group",
                "ip_protocol": "tcp",
                "from_port": 1,
                "to_port": 2,
                "cidr": "10.0.0.0/8",
                "group_id": None,
            }
        }
    ],
    ("POST", _G + "/images"): [
        {
            "name": "x",
            "disk_format": "qcow2",
            "container_format": "bare",
            "visibility": "private",
            "min_disk": 1,
            "min_ram": 1,
            "protected": False,
            "tags": ["a"],
            "id": "$uuid",
            "own": "property",
        }
    ],
    ("PATCH", _G + "/images/{id}"): [
        [{"op": "replace", "path": "/name", "value": "y"}],
        [{"op": "add", "path": "/x", "value": "y"}],
        [{"op": "add", "path": "/tags/-", "value": "t"}, {"op": "remove", "path": "/tags/0"}],
        [{"op": "replace", "path": "/visibility", "value": "shared"}],
        [{"op": "replace", "path": "/min_ram", "value": 5}],
    ],
    ("POST", _G + "/images/{id}/import"): [
        {"method": {"name": "glance-direct"}, "all_stores": False, "all_stores_must_succeed": True},
        {"method": {"name": "web-download", "uri": "http://127.0.0.1/disk"}},
        {"method": {"name": "copy-image"}, "stores": ["slow"], "all_stores_must_succeed": False},
    ],
    ("POST", _G + "/tasks"): [
        {
            "type": "import",
            "input": {"import_from": "http://127.0.0.1/", "import_from_format": "qcow2", "image_properties": {}},
        }
    ],
    ("POST", _G + "/metadefs/namespaces"): [_METADEF],
    ("PUT", _G + "/metadefs/namespaces/{namespace}"): [
        {"namespace": "$unique", "visibility": "public", "protected": False},
    ],
    ("POST", _G + "/metadefs/namespaces/{namespace}/objects"): _METADEF["objects"],
    ("PUT", _G + "/metadefs/namespaces/{namespace}/objects/{name}"): _METADEF["objects"],
    ("POST", _G + "/metadefs/namespaces/{namespace}/properties"): [{"name": "p", **_METADEF["properties"]["p"]}],
    ("PUT", _G + "/metadefs/namespaces/{namespace}/properties/{name}"): [{"name": "p", "title": "t", "type": "array"}],
    ("POST", _G + "/metadefs/namespaces/{namespace}/tags"): [{"tags": [{"name": "t"}]}],
    ("PUT", _G + "/metadefs/namespaces/{namespace}/tags/{name}"): [{"name": "u"}],
    ("POST", _G + "/metadefs/namespaces/{namespace}/resource_types"): _METADEF["resource_type_associations"],
    ("POST", _G + "/images/{id}/members"): [{"member": "$project"}],
    ("PUT", _G + "/images/{id}/members/{member_id}"): [{"status": "accepted"}],
    ("POST", _I + "/auth/tokens"): [_AUTH, _TOKEN, _APPLICATION],
    ("POST", _I + "/users"): [{"user": _USER}],
    ("PATCH", _I + "/users/{id}"): [{"user": _USER}],
    ("POST", _I + "/users/{id}/password"): [{"user": {"original_password": "x", "password": "y"}}],
    ("POST", _I + "/users/{user_id}/application_credentials"): [
        {
            "application_credential": {
                "name": "x",
                "description": "d",
                "expires_at": "2030-01-01T00:00:00",
                "roles": [{"name": "member"}],
                "unrestricted": False,
                "secret": "s",
                "access_rules": [{"path": "/v2.1/servers", "method": "GET", "service": "compute"}],
            }
        }
    ],
    ("POST", _I + "/OS-EP-FILTER/endpoint_groups"): [
        {"endpoint_group": {"name": "$unique", "description": "d", "filters": {"interface": "public"}}}
    ],
    ("PATCH", _I + "/OS-EP-FILTER/endpoint_groups/{id}"): [
        {"endpoint_group": {"name": "$unique", "filters": {"region_id": "RegionOne", "service_id": "$service"}}}
    ],
    ("POST", _I + "/registered_limits"): [
        {
            "registered_limits": [
                {
                    "service_id": "$service",
                    "region_id": "RegionOne",
                    "resource_name": "$unique",
                    "default_limit": 5,
                    "description": "d",
                }
            ]
        }
    ],
    ("PATCH", _I + "/registered_limits/{id}"): [{"registered_limit": {"default_limit": 6, "description": "e"}}],
    ("POST", _I + "/limits"): [
        {
            "limits": [
                {
                    "service_id": "$service",
                    "region_id": None,
                    "resource_name": "fuzzed",
                    "resource_limit": 5,
                    "project_id": "$project",
                    "domain_id": None,
                    "description": "d",
                }
            ]
        }
    ],
    ("PATCH", _I + "/limits/{id}"): [{"limit": {"resource_limit": 6, "description": "e"}}],
    ("POST", _I + "/users/{user_id}/credentials/OS-EC2"): [{"tenant_id": "$project"}],
    ("POST", _I + "/ec2tokens"): [
        {
            "credentials": {
                "access": "x",
                "signature": "y",
                "host": "h:80",
                "verb": "GET",
                "path": "/",
                "params": {"SignatureVersion": "2", "Timestamp": "2030-01-01T00:00:00Z"},
                "headers": {},
                "body_hash": "z",
            }
        }
    ],
    ("POST", _I + "/s3tokens"): [{"credentials": {"access": "x", "signature": "y", "token": "QVdTNA=="}}],
    ("POST", _I + "/OS-TRUST/trusts"): [
        {
            "trust": {
                "trustor_user_id": "$user",
                "trustee_user_id": "$user",
                "project_id": "$project",
                "impersonation": True,
                "remaining_uses": 3,
                "expires_at": "2030-01-01T00:00:00Z",
                "allow_redelegation": False,
                "redelegation_count": 0,
                "roles": [{"name": "member"}],
            }
        }
    ],
    ("POST", _I + "/projects"): [{"project": _PROJECT}],
    ("PATCH", _I + "/projects/{id}"): [{"project": {"name": "y", "description": "z", "options": {}, "tags": ["a"]}}],
    ("PUT", _I + "/projects/{id}/tags"): [{"tags": ["a", "b"]}],
    ("POST", _I + "/domains"): [{"domain": {"name": "$unique", "description": "y", "enabled": True, "options": {}}}],
    ("PATCH", _I + "/domains/{id}"): [{"domain": {"name": "$unique", "enabled": False}}],
    ("PUT", _I + "/domains/{id}/config"): [{"config": _OPTIONS}],
    ("PATCH", _I + "/domains/{id}/config"): [{"config": _OPTIONS}],
    ("PATCH", _I + "/domains/{id}/config/{group}"): [{"config": {"identity": {"list_limit": 5}}}],
    ("PATCH", _I + "/domains/{id}/config/{group}/{option}"): [{"config": {"driver": "sql"}}],
    ("POST", _I + "/groups"): [{"group": {"name": "$unique", "domain_id": "default", "description": "y"}}],
    ("PATCH", _I + "/groups/{id}"): [{"group": {"name": "$unique"}}],
    ("POST", _I + "/roles"): [{"role": {"name": "$unique", "domain_id": None, "description": "y", "options": {}}}],
    ("PATCH", _I + "/roles/{id}"): [{"role": {"name": "$unique", "options": {"immutable": False}}}],
    ("POST", _I + "/regions"): [{"region": {"id": "$unique", "description": "y", "parent_region_id": None}}],
    ("PUT", _I + "/regions/{id}"): [{"region": {"description": "y"}}],
    ("PATCH", _I + "/regions/{id}"): [{"region": {"description": "y", "parent_region_id": "RegionOne"}}],
    ("POST", _I + "/services"): [{"service": {"type": "t", "name": "x", "description": "y", "enabled": True}}],
    ("PATCH", _I + "/services/{id}"): [{"service": {"type": "t2", "enabled": False}}],
    ("POST", _I + "/endpoints"): [
        {"endpoint": {"interface": "public", "region_id": "RegionOne", "url": "http://x", "service_id": "$service"}}
    ],
    ("PATCH", _I + "/endpoints/{id}"): [{"endpoint": {"url": "http://y", "interface": "admin", "enabled": False}}],
    ("POST", _I + "/credentials"): [
        {"credential": {"type": "cert", "blob": "x", "user_id": "$user", "project_id": "$project"}}
    ],
    ("PATCH", _I + "/credentials/{id}"): [{"credential": {"blob": "y", "type": "totp"}}],
}
BODIES |= volumes.BODIES | placements.BODIES

_PREFIXES = {"v2.0": "/network", "v2.1": "/compute", "v3": "/identity", "v2": "/image", "volume": "", "placement": ""}


def path_of(service: Service, route: Route) -> str:
    """The route's path as `BODIES` has it.

    Nova's first API has the routes of its second, which has servers under a second path, and Block Storage has the same
    below a project's id.
    """
    if service.name == "compute":
        return route.path.replace("/v2/", "/v2.1/", 1).replace("/os-volumes_boot", "/servers", 1)
    if service.name == "placement":
        return service.prefix + route.path
    if service.name == "volume":
        return service.prefix + route.path.replace("/v3/{project_id}/", "/v3/", 1)
    return route.path


def with_prefix(path: str) -> str:
    """A path of `BODIES` with the prefix of its service, which those of Block Storage and Placement have already."""
    return _PREFIXES[path.split("/")[1]] + path

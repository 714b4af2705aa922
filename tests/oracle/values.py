"""What generated requests are made of: values for the attributes of each kind, good and odd."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from tests.oracle.both import Ref
from tests.unit.api_network.harness import ADMIN, DEMO, OTHER, ZERO

_SHARED = ("security_group", "subnetpool", "address_scope", "address_group", "qos_policy")
USERS = st.sampled_from(["admin", "admin", "admin", "demo", "demo", "demo", "manager", "manager", "reader", "other"])
NAMES = st.sampled_from(["", "a", "b", "a", "web", "ü", "x" * 255, "%"])
ODD = (None, "", "abc", -1, 0, 1, 7, 1.5, True, "true", [], {}, ["a"], {"a": 1}, [None], "x" * 256, ZERO, "10.0.0.1")
_ODD = st.sampled_from(ODD)
BOOLEANS = st.sampled_from([True, False, True, False, "true", "False", 0, "1"])
ADDRESSES = st.sampled_from(
    [
        "10.0.0.1",
        "10.0.0.5",
        "10.0.0.7",
        "10.0.0.255",
        "10.0.0.0",
        "10.0.1.4",
        "10.0.1.1",
        "192.0.2.9",
        "fd00::5",
        "172.24.4.20",
    ]
)
PREFIXES = st.sampled_from(
    [
        "10.0.0.0/24",
        "10.0.1.0/24",
        "10.0.0.0/24",
        "10.0.1.0/28",
        "10.0.0.128/25",
        "fd00::/64",
        "fd00:1::/64",
        "172.24.4.0/24",
        "10.0.0.0/31",
        "10.0.2.7/24",
    ]
)
_MACS = st.sampled_from(
    ["fa:16:3e:00:00:01", "fa:16:3e:00:00:02", "FA:16:3E:00:00:03", "fa:16:3e:00:00", "ff:ff:ff:ff:ff:ff"]
)
PROJECTS = st.sampled_from([ADMIN, DEMO, OTHER])
TAGS = st.sampled_from(["red", "blue", "a b", "x" * 255, "x" * 256, "", "a,b"])


def refs(kind: str) -> SearchStrategy[Any]:
    return st.builds(Ref, st.just(kind), st.integers(0, 3))


def mostly(good: SearchStrategy[Any]) -> SearchStrategy[Any]:
    """A good value five times of six."""
    return st.integers(0, 5).flatmap(lambda dice: _ODD if dice == 5 else good)


def some(values: dict[str, SearchStrategy[Any]], always: tuple[str, ...] = ()) -> SearchStrategy[dict[str, Any]]:
    """A few of these attributes; of those that are always there, one is missing now and then."""

    def drawn(names: list[str]) -> SearchStrategy[dict[str, Any]]:
        return st.fixed_dictionaries({name: mostly(values[name]) for name in names})

    rest = [name for name in values if name not in always]
    optional = st.lists(st.sampled_from(rest), max_size=3, unique=True) if rest else st.just([])
    kept = st.integers(0, 15).map(lambda dice: list(always[1:] if dice == 15 else always))
    return st.tuples(kept, optional).map(lambda pair: pair[0] + pair[1]).flatmap(drawn)


_FIXED_IP = st.one_of(
    st.fixed_dictionaries({"ip_address": ADDRESSES}),
    st.fixed_dictionaries({"subnet_id": refs("subnet")}),
    st.fixed_dictionaries({"subnet_id": refs("subnet"), "ip_address": ADDRESSES}),
    st.just({}),
)
_POOLS = st.sampled_from(
    [
        [{"start": "10.0.0.10", "end": "10.0.0.20"}],
        [{"start": "10.0.0.20", "end": "10.0.0.10"}],
        [{"start": "10.0.0.10", "end": "10.0.0.20"}, {"start": "10.0.0.15", "end": "10.0.0.30"}],
        [{"start": "10.0.1.2", "end": "10.0.1.9"}],
        [{"start": "10.0.0.1", "end": "10.0.0.20"}],
        [{"start": "fd00::10", "end": "fd00::20"}],
        [{"start": "10.0.0.10"}],
        [],
    ]
)
ROUTES = st.lists(
    st.fixed_dictionaries(
        {
            "destination": st.sampled_from(["10.9.0.0/24", "10.8.0.0/16", "0.0.0.0/0", "10.0.0.3", "fd01::/64"]),
            "nexthop": ADDRESSES,
        }
    ),
    max_size=2,
)
GATEWAY = st.one_of(
    st.fixed_dictionaries({"network_id": refs("network")}),
    st.fixed_dictionaries({"network_id": refs("network"), "enable_snat": BOOLEANS}),
    st.fixed_dictionaries({"network_id": refs("network"), "external_fixed_ips": st.lists(_FIXED_IP, max_size=2)}),
    st.sampled_from([None, {}, {"enable_snat": False}]),
)
_PAIRS = st.lists(
    st.one_of(
        st.fixed_dictionaries(
            {"ip_address": st.sampled_from(["10.0.0.9", "10.1.0.0/16", "fd00::9", "224.0.0.1", "x"])}
        ),
        st.fixed_dictionaries({"ip_address": ADDRESSES, "mac_address": _MACS}),
        st.fixed_dictionaries({"mac_address": _MACS}),
    ),
    max_size=2,
)
_OPTIONS = st.lists(
    st.fixed_dictionaries(
        {
            "opt_name": st.sampled_from(["bootfile-name", "mtu", "nosuch", "", "42"]),
            "opt_value": st.sampled_from(["a", "", None, "1500", 3]),
        },
        optional={"ip_version": st.sampled_from([4, 6, 5, "4"])},
    ),
    max_size=2,
)

_STANDARD = {
    "name": NAMES,
    "description": NAMES,
    "project_id": PROJECTS,
    "tenant_id": PROJECTS,
    "nosuch": st.just(1),
    "id": st.just(ZERO),
}
GROUP_ADDRESSES = st.sampled_from(
    ["10.0.0.0/24", "10.0.0.1", "10.0.0.1/32", "10.0.0.7/24", "fd00::/64", "fd00::1", "x"]
)
_DNS_NAMES = st.sampled_from(
    [
        "web",
        "Web",
        "a.b",
        "web.cloud.example.",
        "web.elsewhere.",
        "web.",
        "a_b",
        "a.1",
        "-a",
        "a..b",
        "<user_id>",
        "x" * 64,
    ]
)
_DNS_DOMAINS = st.sampled_from(["a.example.", "A.Example.", "<project_id>.b.", "a.example", "a_b.", "7.", ".", "a.7."])
_POLICY = st.one_of(st.none(), refs("qos_policy"))
SUB_PORTS = st.lists(
    st.fixed_dictionaries(
        {"port_id": refs("port")},
        optional={
            "segmentation_type": st.sampled_from(["vlan", "vlan", "vlan", "inherit", "vxlan", ""]),
            "segmentation_id": st.sampled_from([101, 102, 101, 5, "7", 0, 4095]),
        },
    ),
    max_size=2,
)
_SINGLE_NODE = "neutron.services.l3_router.service_providers.single_node.SingleNodeDriver"
_PROVIDED = {
    "network_type": st.sampled_from(["vlan", "vlan", "vxlan", "flat", "local", "gre", "nosuch", ""]),
    "physical_network": st.sampled_from(["physnet1", "physnet1", "public", "nosuch", ""]),
    "segmentation_id": st.sampled_from([1001, 1002, 1003, 5, "7", 4095, 0, 5000]),
}
_SEGMENTS = st.lists(
    st.fixed_dictionaries({}, optional={f"provider:{name}": values for name, values in _PROVIDED.items()}), max_size=3
)
ATTRIBUTES: dict[str, dict[str, SearchStrategy[Any]]] = {
    "network": {
        **_STANDARD,
        "admin_state_up": BOOLEANS,
        "shared": BOOLEANS,
        "router:external": st.sampled_from([True, True, False]),
        "mtu": st.sampled_from([0, 1280, 1400, 1450, 1500, 9000, 67, "1300"]),
        "port_security_enabled": BOOLEANS,
        "provider:network_type": st.sampled_from(["vlan", "vxlan", "flat", "local", "gre", "nosuch", ""]),
        "provider:physical_network": st.sampled_from(["physnet1", "public", "nosuch", ""]),
        "provider:segmentation_id": st.sampled_from([1001, 5, "7", 4095, 0, 5000]),
        "segments": _SEGMENTS,
        "availability_zone_hints": st.sampled_from([[], ["nova"], ["nosuch"]]),
        "is_default": BOOLEANS,
        "qos_policy_id": _POLICY,
        "dns_domain": _DNS_DOMAINS,
    },
    "subnet": {
        **_STANDARD,
        "network_id": refs("network"),
        "ip_version": st.sampled_from([4, 4, 4, 6, "4", 5]),
        "cidr": PREFIXES,
        "gateway_ip": st.one_of(st.none(), ADDRESSES),
        "allocation_pools": _POOLS,
        "dns_nameservers": st.lists(ADDRESSES, max_size=3),
        "host_routes": ROUTES,
        "enable_dhcp": BOOLEANS,
        "ipv6_ra_mode": st.sampled_from(["slaac", "dhcpv6-stateful", "dhcpv6-stateless", "nosuch"]),
        "ipv6_address_mode": st.sampled_from(["slaac", "dhcpv6-stateful", "dhcpv6-stateless"]),
        "service_types": st.sampled_from(
            [[], ["compute:nova"], ["network:router_gateway"], ["nosuch"], ["compute:nova", "compute:nova"]]
        ),
        "subnetpool_id": refs("subnetpool"),
        "prefixlen": st.sampled_from([24, 26, 30, 64, 8]),
        "use_default_subnetpool": BOOLEANS,
        "dns_publish_fixed_ip": BOOLEANS,
        "segment_id": st.one_of(st.none(), refs("segment"), refs("segment")),
    },
    "subnetpool": {
        **_STANDARD,
        "prefixes": st.lists(
            st.sampled_from(["10.0.0.0/16", "10.1.0.0/16", "10.0.0.0/24", "fd00::/48", "x"]), max_size=2
        ),
        "default_prefixlen": st.sampled_from([24, 26, "28", 64, 8]),
        "min_prefixlen": st.sampled_from([8, 24, 28, "16"]),
        "max_prefixlen": st.sampled_from([24, 28, 32, "30"]),
        "default_quota": st.sampled_from([0, 256, 1000]),
        "shared": BOOLEANS,
        "is_default": BOOLEANS,
        "address_scope_id": st.one_of(st.none(), refs("address_scope")),
    },
    "address_scope": {
        "name": NAMES,
        "project_id": PROJECTS,
        "ip_version": st.sampled_from([4, 6, "4", 5]),
        "shared": BOOLEANS,
        "nosuch": st.just(1),
    },
    "port": {
        **_STANDARD,
        "network_id": refs("network"),
        "admin_state_up": BOOLEANS,
        "mac_address": _MACS,
        "fixed_ips": st.lists(_FIXED_IP, max_size=2),
        "device_id": st.one_of(st.sampled_from(["", "vm1", "vm2"]), refs("router")),
        "device_owner": st.sampled_from(
            ["", "compute:nova", "network:router_interface", "network:dhcp", "network:floatingip"]
        ),
        "security_groups": st.lists(refs("security_group"), max_size=2),
        "port_security_enabled": BOOLEANS,
        "allowed_address_pairs": _PAIRS,
        "extra_dhcp_opts": _OPTIONS,
        "binding:host_id": st.sampled_from(["aio", "", "aio"]),
        "binding:vnic_type": st.sampled_from(["normal", "normal", "nosuch"]),
        "binding:profile": st.sampled_from([{}, None, {"a": 1}, {"trusted": "true"}]),
        "qos_policy_id": _POLICY,
        "device_profile": st.sampled_from(["", "gpu", None]),
        "numa_affinity_policy": st.sampled_from([None, "required", "preferred", "legacy", "socket", "nosuch"]),
        "dns_name": _DNS_NAMES,
        "dns_domain": _DNS_DOMAINS,
        "dns_assignment": st.just([]),
        "tags": st.lists(TAGS, max_size=3),
        "ip_allocation": st.just("immediate"),
        "resource_request": st.just({}),
    },
    "router": {
        **_STANDARD,
        "admin_state_up": BOOLEANS,
        "external_gateway_info": GATEWAY,
        "routes": ROUTES,
        "availability_zone_hints": st.sampled_from([[], ["nova"], ["nosuch"]]),
        "distributed": st.sampled_from([False, None]),
        "ha": st.sampled_from([False, None]),
        "flavor_id": refs("flavor"),
        "enable_ndp_proxy": BOOLEANS,
    },
    "floatingip": {
        "description": NAMES,
        "project_id": PROJECTS,
        "floating_network_id": refs("network"),
        "port_id": st.one_of(st.none(), refs("port")),
        "fixed_ip_address": ADDRESSES,
        "floating_ip_address": ADDRESSES,
        "subnet_id": refs("subnet"),
        "router_id": refs("router"),
        "dns_name": _DNS_NAMES,
        "dns_domain": _DNS_DOMAINS,
        "nosuch": st.just(1),
    },
    "port_forwarding": {
        "description": NAMES,
        "internal_port_id": refs("port"),
        "internal_ip_address": ADDRESSES,
        "internal_port": st.sampled_from([22, 80, "443", 0, 65535]),
        "external_port": st.sampled_from([22, 80, 2222, "443", 0, 65536]),
        "protocol": st.sampled_from(["tcp", "udp", "TCP", "icmp", "sctp"]),
        "internal_port_range": st.sampled_from(["22", "22:25", "x"]),
        "external_port_range": st.sampled_from(["22", "22:25", "25:22"]),
        "nosuch": st.just(1),
    },
    "security_group": {**_STANDARD, "stateful": BOOLEANS},
    "security_group_rule": {
        "description": NAMES,
        "project_id": PROJECTS,
        "security_group_id": refs("security_group"),
        "direction": st.sampled_from(["ingress", "egress", "Ingress", "both"]),
        "ethertype": st.sampled_from(["IPv4", "IPv6", "ipv4", "IP"]),
        "protocol": st.sampled_from(
            ["tcp", "udp", "icmp", "icmpv6", "ipv6-icmp", 6, "17", "TCP", "any", "255", 256, "sctp", "vrrp", "nosuch"]
        ),
        "port_range_min": st.sampled_from([0, 1, 22, 80, "443", 65535, 65536]),
        "port_range_max": st.sampled_from([0, 1, 22, 80, "443", 65535]),
        "remote_ip_prefix": st.one_of(PREFIXES, st.sampled_from(["0.0.0.0/0", "::/0", "10.0.0.1"])),
        "remote_group_id": refs("security_group"),
        "remote_address_group_id": refs("address_group"),
    },
    "rbac_policy": {
        "object_type": st.sampled_from(["network", "network", *_SHARED, "nosuch"]),
        "object_id": st.one_of(*(refs(kind) for kind in ("network", *_SHARED))),
        "action": st.sampled_from(["access_as_shared", "access_as_shared", "access_as_external", "nosuch"]),
        "target_tenant": st.sampled_from([DEMO, OTHER, "*", ""]),
        "project_id": PROJECTS,
    },
    "address_group": {
        **_STANDARD,
        "addresses": st.lists(GROUP_ADDRESSES, max_size=3),
        "shared": BOOLEANS,
    },
    "qos_policy": {**_STANDARD, "shared": BOOLEANS, "is_default": BOOLEANS, "rules": st.just([])},
    "bandwidth_limit_rule": {
        "max_kbps": st.sampled_from([0, 100, 2000, "300", 2**31 - 1, 2**31]),
        "max_burst_kbps": st.sampled_from([0, 10, 2**31 - 1]),
        "direction": st.sampled_from(["egress", "ingress", "both"]),
        "tenant_id": PROJECTS,
        "qos_policy_id": refs("qos_policy"),
        "nosuch": st.just(1),
    },
    "dscp_marking_rule": {
        "dscp_mark": st.sampled_from([0, 8, 10, "26", 56, 7, 64]),
        "project_id": PROJECTS,
        "nosuch": st.just(1),
    },
    "minimum_bandwidth_rule": {
        "min_kbps": st.sampled_from([0, 100, 2000, "300", 2**31]),
        "direction": st.sampled_from(["egress", "ingress", "any"]),
        "nosuch": st.just(1),
    },
    "minimum_packet_rate_rule": {
        "min_kpps": st.sampled_from([0, 1, 20, "3", 2**31]),
        "direction": st.sampled_from(["egress", "ingress", "any"]),
        "project_id": PROJECTS,
    },
    "packet_rate_limit_rule": {
        "max_kpps": st.sampled_from([0, 1, 20, "3", 2**31 - 1, 2**31]),
        "max_burst_kpps": st.sampled_from([0, 10, 2**31 - 1]),
        "direction": st.sampled_from(["egress", "ingress", "any"]),
        "tenant_id": PROJECTS,
        "nosuch": st.just(1),
    },
    "metering_label": {
        "name": NAMES,
        "description": NAMES,
        "project_id": PROJECTS,
        "tenant_id": PROJECTS,
        "shared": BOOLEANS,
        "nosuch": st.just(1),
    },
    "metering_label_rule": {
        "metering_label_id": refs("metering_label"),
        "direction": st.sampled_from(["ingress", "egress", "both"]),
        "remote_ip_prefix": st.one_of(PREFIXES, st.sampled_from(["0.0.0.0/0", "10.0.0.1"])),
        "source_ip_prefix": PREFIXES,
        "destination_ip_prefix": PREFIXES,
        "excluded": BOOLEANS,
        "project_id": PROJECTS,
        "nosuch": st.just(1),
    },
    "default_security_group_rule": {
        "description": NAMES,
        "direction": st.sampled_from(["ingress", "egress", "both"]),
        "ethertype": st.sampled_from(["IPv4", "IPv6", "IP"]),
        "protocol": st.sampled_from(["tcp", "udp", "icmp", 6, "nosuch"]),
        "port_range_min": st.sampled_from([1, 22, 80, "443"]),
        "port_range_max": st.sampled_from([1, 22, 80, "443"]),
        "remote_ip_prefix": PREFIXES,
        "remote_group_id": st.just("PARENT"),
        "used_in_default_sg": BOOLEANS,
        "used_in_non_default_sg": BOOLEANS,
    },
    "flavor": {
        "name": NAMES,
        "description": NAMES,
        "service_type": st.sampled_from(["L3_ROUTER_NAT", "L3_ROUTER_NAT", "nosuch"]),
        "enabled": BOOLEANS,
        "service_profiles": st.lists(refs("service_profile"), max_size=1),
        "nosuch": st.just(1),
    },
    "log": {
        "name": NAMES,
        "description": NAMES,
        "project_id": PROJECTS,
        "tenant_id": PROJECTS,
        "resource_type": st.sampled_from(["security_group", "security_group", "snat", ""]),
        "resource_id": refs("security_group"),
        "target_id": refs("port"),
        "event": st.sampled_from(["ALL", "DROP", "ACCEPT", "accept"]),
        "enabled": BOOLEANS,
        "nosuch": st.just(1),
    },
    "service_profile": {
        "description": NAMES,
        "driver": st.sampled_from(["", _SINGLE_NODE, "nosuch"]),
        "metainfo": st.sampled_from(["", "{}", "x"]),
        "enabled": BOOLEANS,
        "nosuch": st.just(1),
    },
    "trunk": {
        **_STANDARD,
        "admin_state_up": BOOLEANS,
        "port_id": refs("port"),
        "sub_ports": SUB_PORTS,
        "status": st.just("ACTIVE"),
    },
    "conntrack_helper": {
        "project_id": PROJECTS,
        "protocol": st.sampled_from(["tcp", "udp", "TCP", "icmp", "nosuch"]),
        "port": st.sampled_from([21, 69, "21", 0, 65535, 65536]),
        "helper": st.sampled_from(["ftp", "tftp", "sip", "nosuch"]),
        "nosuch": st.just(1),
    },
    "ndp_proxy": {
        "name": NAMES,
        "description": NAMES,
        "project_id": PROJECTS,
        "router_id": refs("router"),
        "port_id": refs("port"),
        "ip_address": st.sampled_from(["fd00::5", "fd00::6", "10.0.0.5", "fd00::"]),
        "nosuch": st.just(1),
    },
    "local_ip": {
        "name": NAMES,
        "description": NAMES,
        "project_id": PROJECTS,
        "local_port_id": refs("port"),
        "network_id": refs("network"),
        "local_ip_address": ADDRESSES,
        "ip_mode": st.sampled_from(["translate", "passthrough", "nosuch"]),
        "nosuch": st.just(1),
    },
    "segment": {
        "name": NAMES,
        "description": NAMES,
        "project_id": PROJECTS,
        "network_id": refs("network"),
        **_PROVIDED,
        "nosuch": st.just(1),
    },
}
ALWAYS = {
    "network": (),
    "subnet": ("ip_version", "network_id", "cidr"),
    "subnetpool": ("name", "prefixes"),
    "address_scope": ("ip_version", "name"),
    "port": ("network_id",),
    "router": (),
    "floatingip": ("floating_network_id",),
    "port_forwarding": ("protocol", "internal_port_id", "internal_ip_address", "internal_port", "external_port"),
    "security_group": ("name",),
    "security_group_rule": ("direction", "security_group_id"),
    "rbac_policy": ("object_type", "object_id", "action", "target_tenant"),
    "address_group": ("name",),
    "qos_policy": ("name",),
    "bandwidth_limit_rule": ("max_kbps",),
    "dscp_marking_rule": ("dscp_mark",),
    "packet_rate_limit_rule": ("max_kpps",),
    "minimum_bandwidth_rule": ("min_kbps",),
    "minimum_packet_rate_rule": ("min_kpps",),
    "metering_label": ("name",),
    "metering_label_rule": ("metering_label_id", "direction"),
    "default_security_group_rule": ("direction", "used_in_default_sg"),
    "flavor": ("service_type",),
    "service_profile": ("driver",),
    "log": ("resource_type",),
    "trunk": ("port_id",),
    "conntrack_helper": ("protocol", "port", "helper"),
    "ndp_proxy": ("router_id", "port_id"),
    "local_ip": ("network_id",),
    "segment": ("network_id", "network_type", "physical_network"),
}

FILTERS = {
    "network": [
        "shared=true",
        "router:external=True",
        "admin_state_up=0",
        "status=ACTIVE",
        "mtu=1400",
        "shared=x",
        "provider:network_type=vlan",
    ],
    "subnet": [
        "ip_version=4",
        "cidr=10.0.0.0/24",
        "enable_dhcp=true",
        "gateway_ip=10.0.0.1",
        "ip_version=x",
        "shared=false",
    ],
    "subnetpool": ["shared=true", "is_default=false", "ip_version=4", "default_prefixlen=24"],
    "address_scope": ["ip_version=4", "shared=false"],
    "port": [
        "device_owner=compute:nova",
        "device_id=vm1",
        "status=DOWN",
        "fixed_ips=ip_address%3D10.0.0.5",
        "fixed_ips=ip_address_substr%3D10.0",
        "mac_address=fa:16:3e:00:00:01",
        "admin_state_up=true",
        "binding:host_id=aio",
        "fixed_ips=nosuch%3D1",
        "device_owner=network:router_interface&device_owner=compute:nova",
    ],
    "router": ["admin_state_up=true", "status=ACTIVE"],
    "floatingip": ["status=DOWN", "floating_ip_address=10.0.0.5", "port_id=", "fixed_ip_address=10.0.0.5"],
    "port_forwarding": ["protocol=tcp", "external_port=22", "internal_port_id=x", "internal_ip_address=10.0.0.5"],
    "security_group": ["stateful=true", "shared=false", "name=default"],
    "security_group_rule": ["direction=ingress", "ethertype=IPv4", "protocol=tcp", "port_range_min=22", "direction=x"],
    "rbac_policy": ["action=access_as_shared", "object_type=network", "target_tenant=*"],
    "address_group": ["name=a", "shared=true", "addresses=10.0.0.1"],
    "qos_policy": ["shared=true", "is_default=true", "is_default=x", "rules=1"],
    "bandwidth_limit_rule": ["max_kbps=100", "direction=egress", "max_kbps=x", "qos_policy_id=x"],
    "dscp_marking_rule": ["dscp_mark=26", "dscp_mark=x"],
    "minimum_bandwidth_rule": ["min_kbps=100", "direction=ingress", "min_kbps=x"],
    "minimum_packet_rate_rule": ["min_kpps=20", "direction=any"],
    "packet_rate_limit_rule": ["max_kpps=20", "direction=egress", "max_kpps=x"],
    "metering_label": ["shared=true", "shared=x"],
    "metering_label_rule": ["direction=ingress", "excluded=false", "remote_ip_prefix=10.0.0.0/24"],
    "default_security_group_rule": ["direction=ingress", "used_in_default_sg=true", "protocol=tcp", "id=x"],
    "flavor": ["service_type=L3_ROUTER_NAT", "enabled=true", "service_profiles=x"],
    "service_profile": ["driver=nosuch", "enabled=true", "metainfo=x"],
    "log": ["event=DROP", "enabled=false", "resource_type=security_group", "enabled=x", "target_id="],
    "trunk": ["status=DOWN", "port_id=x", "admin_state_up=true", "sub_ports=x"],
    "conntrack_helper": ["protocol=tcp", "helper=ftp", "port=21", "port=x", "router_id=x"],
    "ndp_proxy": ["name=a", "router_id=x", "ip_address=fd00::5"],
    "local_ip": ["name=a", "local_port_id=x", "local_ip_address=10.0.0.5", "ip_mode=translate", "ip_mode=x"],
    "segment": ["network_type=vlan", "physical_network=physnet1", "segmentation_id=1001", "network_id=x", "name=a"],
}

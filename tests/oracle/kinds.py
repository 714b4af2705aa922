"""The kinds of the Network API that generated requests are about."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Kind:
    """Where objects of it are, and what bodies call one and several. `alias`: where one is without its parent."""

    path: str
    member: str
    plural: str
    parent: str = ""
    alias: str = ""
    alias_member: str = ""


def _plain(path: str, member: str) -> Kind:
    return Kind(path, member, path.rpartition("/")[2].replace("-", "_"))


def _rule(name: str) -> Kind:
    path, alias = f"qos/policies/{{}}/{name}s", f"qos/alias_{name}s"
    return Kind(path, name, f"{name}s", "qos_policy", alias, f"alias_{name}")


KINDS = {
    "network": _plain("networks", "network"),
    "subnet": _plain("subnets", "subnet"),
    "subnetpool": _plain("subnetpools", "subnetpool"),
    "address_scope": _plain("address-scopes", "address_scope"),
    "port": _plain("ports", "port"),
    "router": _plain("routers", "router"),
    "floatingip": _plain("floatingips", "floatingip"),
    "port_forwarding": Kind("floatingips/{}/port_forwardings", "port_forwarding", "port_forwardings", "floatingip"),
    "security_group": _plain("security-groups", "security_group"),
    "security_group_rule": _plain("security-group-rules", "security_group_rule"),
    "rbac_policy": _plain("rbac-policies", "rbac_policy"),
    "address_group": _plain("address-groups", "address_group"),
    "qos_policy": _plain("qos/policies", "policy"),
    "bandwidth_limit_rule": _rule("bandwidth_limit_rule"),
    "dscp_marking_rule": _rule("dscp_marking_rule"),
    "minimum_bandwidth_rule": _rule("minimum_bandwidth_rule"),
    "minimum_packet_rate_rule": _rule("minimum_packet_rate_rule"),
    "packet_rate_limit_rule": Kind(
        "qos/policies/{}/packet_rate_limit_rules", "packet_rate_limit_rule", "packet_rate_limit_rules", "qos_policy"
    ),
    "metering_label": _plain("metering/metering-labels", "metering_label"),
    "metering_label_rule": _plain("metering/metering-label-rules", "metering_label_rule"),
    "default_security_group_rule": _plain("default-security-group-rules", "default_security_group_rule"),
    "flavor": _plain("flavors", "flavor"),
    "service_profile": _plain("service_profiles", "service_profile"),
    "log": _plain("log/logs", "log"),
    "trunk": _plain("trunks", "trunk"),
    "conntrack_helper": Kind("routers/{}/conntrack_helpers", "conntrack_helper", "conntrack_helpers", "router"),
    "ndp_proxy": _plain("ndp_proxies", "ndp_proxy"),
    "local_ip": _plain("local_ips", "local_ip"),
    "segment": _plain("segments", "segment"),
}

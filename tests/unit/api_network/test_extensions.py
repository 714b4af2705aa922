"""The list of extensions promises what is there, and what is there is promised.

Each alias is one of Neutron's, or begins with `deuteron-`; with it come the attributes, routes and behaviours that its
definition in neutron-lib has. What belongs to no extension is Neutron's core, or stands in `UNLISTED` with the reason.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from deuteron.api.network.extensions import EXTENSIONS
from deuteron.api.network.service import NetworkService
from deuteron.model.intent import Hello
from deuteron.model.network import RESOURCES
from deuteron.rules.hosts import registry
from tests.unit.api_network.harness import DEMO, HOST, Client
from tests.unit.api_network.test_port_forwardings import World

CORE = {
    "network": "id name project_id tenant_id admin_state_up status subnets shared",
    "subnet": "id name project_id tenant_id network_id ip_version enable_dhcp ipv6_ra_mode ipv6_address_mode "
    "gateway_ip cidr allocation_pools host_routes dns_nameservers",
    "port": "id name network_id project_id tenant_id mac_address admin_state_up status device_id device_owner "
    "fixed_ips",
    "subnetpool": "id name project_id tenant_id prefixes default_prefixlen min_prefixlen max_prefixlen default_quota "
    "ip_version shared",
}
ROUTER = "id name project_id tenant_id admin_state_up status external_gateway_info"
FLOATING = (
    "id tenant_id project_id floating_ip_address floating_network_id router_id port_id fixed_ip_address "
    "status subnet_id"
)
GROUP = "id name tenant_id project_id description security_group_rules"
RULE = (
    "id project_id tenant_id security_group_id ethertype direction protocol port_range_min port_range_max "
    "remote_ip_prefix remote_group_id"
)
STANDARD = (
    *("network", "subnet", "port", "router", "floatingip", "subnetpool", "security_group", "security_group_rule"),
    "qos_policy",
    "trunk",
)

ATTRIBUTES: dict[str, dict[str, str]] = {
    "address-scope": {
        "address_scope": "id name project_id tenant_id shared ip_version",
        "network": "ipv4_address_scope ipv6_address_scope",
        "subnetpool": "address_scope_id",
    },
    "allowed-address-pairs": {"port": "allowed_address_pairs"},
    "availability_zone": {},
    "binding": {
        "port": "binding:vnic_type binding:host_id binding:profile binding:vif_type binding:vif_details",
    },
    "default-subnetpools": {"subnetpool": "is_default", "subnet": "use_default_subnetpool"},
    "dns-domain-ports": {"port": "dns_domain"},
    "dns-integration": {
        "port": "dns_name dns_assignment",
        "network": "dns_domain",
        "floatingip": "dns_name dns_domain",
    },
    "dvr": {"router": "distributed"},
    "external-net": {"network": "router:external"},
    "extra_dhcp_opt": {"port": "extra_dhcp_opts"},
    "extraroute": {"router": "routes"},
    "expose-l3-conntrack-helper": {"router": "conntrack_helpers"},
    "expose-port-forwarding-in-fip": {"floatingip": "port_forwardings"},
    "fip-port-details": {"floatingip": "port_details"},
    "flavors": {
        "network_flavor": "id name description service_type enabled service_profiles",
        "service_profile": "id description driver enabled metainfo",
    },
    "l3-flavors": {"router": "flavor_id"},
    "floating-ip-port-forwarding": {
        "port_forwarding": "id external_port internal_port internal_ip_address protocol internal_port_id floatingip_id "
        "project_id tenant_id",
    },
    "floating-ip-port-forwarding-description": {"port_forwarding": "description"},
    "floating-ip-port-forwarding-port-ranges": {"port_forwarding": "external_port_range internal_port_range"},
    "l3-conntrack-helper": {"conntrack_helper": "id protocol port helper router_id project_id tenant_id"},
    "l3-ext-ndp-proxy": {"router": "enable_ndp_proxy"},
    "ip_allocation": {"port": "ip_allocation"},
    "l2_adjacency": {"network": "l2_adjacency"},
    "l3-ha": {"router": "ha"},
    "l3-ndp-proxy": {"ndp_proxy": "id name project_id tenant_id router_id port_id ip_address description"},
    "local_ip": {
        "local_ip": "id name description project_id tenant_id local_port_id network_id local_ip_address ip_mode",
        "local_ip_association": "id local_ip_id local_ip_address fixed_port_id fixed_ip host project_id tenant_id",
    },
    "logging": {
        "log": "id name project_id tenant_id resource_type resource_id event target_id enabled",
    },
    "metering": {
        "metering_label": "id name project_id tenant_id description shared",
        "metering_label_rule": "id metering_label_id direction excluded remote_ip_prefix project_id tenant_id",
    },
    "metering_source_and_destination_fields": {"metering_label_rule": "source_ip_prefix destination_ip_prefix"},
    "auto-allocated-topology": {"network": "is_default"},
    "multi-provider": {"network": "segments"},
    "net-mtu": {"network": "mtu"},
    "network_availability_zone": {"network": "availability_zone_hints availability_zones"},
    "network_ha": {"network": "ha"},
    "port-device-profile": {"port": "device_profile"},
    "port-numa-affinity-policy": {"port": "numa_affinity_policy"},
    "port-security": {"network": "port_security_enabled", "port": "port_security_enabled"},
    "port-resource-request": {"port": "resource_request"},
    "provider": {"network": "provider:network_type provider:physical_network provider:segmentation_id"},
    "qos": {
        "qos_policy": "id name project_id tenant_id shared rules",
        "bandwidth_limit_rule": "id qos_policy_id max_kbps max_burst_kbps",
        "dscp_marking_rule": "id qos_policy_id dscp_mark",
        "minimum_bandwidth_rule": "id qos_policy_id min_kbps direction",
        "network": "qos_policy_id",
        "port": "qos_policy_id",
    },
    "qos-bw-limit-direction": {"bandwidth_limit_rule": "direction"},
    "qos-default": {"qos_policy": "is_default"},
    "qos-fip": {"floatingip": "qos_policy_id"},
    "qos-port-network-policy": {"port": "qos_network_policy_id"},
    "qos-pps-minimum": {"minimum_packet_rate_rule": "id qos_policy_id min_kpps direction"},
    "qos-pps": {"packet_rate_limit_rule": "id qos_policy_id max_kpps max_burst_kpps direction"},
    "security-groups-remote-address-group": {"security_group_rule": "remote_address_group_id"},
    "rbac-policies": {"rbac_policy": "id project_id tenant_id object_type object_id target_tenant action"},
    "router": {"router": ROUTER, "floatingip": FLOATING},
    "router_availability_zone": {"router": "availability_zone_hints availability_zones"},
    "security-group": {"security_group": GROUP, "security_group_rule": RULE, "port": "security_groups"},
    "address-group": {"address_group": "id name project_id tenant_id addresses shared"},
    "security-groups-default-rules": {
        "default_security_group_rule": "id project_id tenant_id ethertype direction protocol port_range_min "
        "port_range_max remote_ip_prefix remote_address_group_id remote_group_id description used_in_default_sg "
        "used_in_non_default_sg",
    },
    "security-groups-default-statefulness": {"security_groups_default_statefulness": "id project_id stateful"},
    "security-groups-normalized-cidr": {"security_group_rule": "normalized_cidr"},
    "security-groups-rules-belongs-to-default-sg": {"security_group_rule": "belongs_to_default_sg"},
    "security-groups-shared-filtering": {"security_group": "shared"},
    "standard-attr-description": dict.fromkeys((*STANDARD, "address_group", "log"), "description"),
    "standard-attr-revisions": dict.fromkeys(
        (*STANDARD, "address_group", "ndp_proxy", "local_ip", "log"), "revision_number"
    ),
    "standard-attr-tag": dict.fromkeys(STANDARD, "tags"),
    "standard-attr-timestamp": dict.fromkeys(
        (*STANDARD, "address_group", "ndp_proxy", "local_ip", "log"), "created_at updated_at"
    ),
    "segment": {
        "segment": "id network_id name network_type physical_network segmentation_id project_id tenant_id",
        "subnet": "segment_id",
    },
    "standard-attr-segment": {"segment": "description created_at updated_at revision_number"},
    "stateful-security-group": {"security_group": "stateful"},
    "subnet-dns-publish-fixed-ip": {"subnet": "dns_publish_fixed_ip"},
    "trunk": {"trunk": "id name project_id tenant_id admin_state_up status port_id sub_ports"},
    "trunk-details": {"port": "trunk_details"},
    "subnet-external-network": {"subnet": "router:external"},
    "subnet-service-types": {"subnet": "service_types"},
    "subnet_allocation": {"subnet": "subnetpool_id prefixlen"},
}

CRUD = ("GET /{}", "POST /{}", "GET /{}/{{id}}", "PUT /{}/{{id}}", "DELETE /{}/{{id}}")
TAGS = ("GET /{}/{{id}}/tags", "PUT /{}/{{id}}/tags", "DELETE /{}/{{id}}/tags")
TAG = ("GET /{}/{{id}}/tags/{{tag}}", "PUT /{}/{{id}}/tags/{{tag}}", "DELETE /{}/{{id}}/tags/{{tag}}")
TAGGED_PATHS = (
    *("networks", "subnets", "ports", "routers", "floatingips", "subnetpools"),
    *("security-groups", "security-group-rules", "policies", "trunks"),
)
QOS_RULES = ("bandwidth_limit_rules", "dscp_marking_rules", "minimum_bandwidth_rules")


def crud(*collections: str) -> set[str]:
    return {each.replace("{}", name).replace("{{id}}", "{id}") for name in collections for each in CRUD}


CORE_ROUTES = {
    "GET /",
    "GET /extensions",
    "GET /extensions/{alias}",
    *crud("networks", "subnets", "ports", "subnetpools"),
}
ROUTES: dict[str, set[str]] = {
    "address-scope": crud("address-scopes"),
    "agent": {"GET /agents", "GET /agents/{id}", "PUT /agents/{id}", "DELETE /agents/{id}"},
    "auto-allocated-topology": {
        "GET /auto-allocated-topology/{project}",
        "DELETE /auto-allocated-topology/{project}",
    },
    "availability_zone": {"GET /availability_zones"},
    "deuteron-trace": {"GET /fabric", "GET /trace"},
    "binding-extended": {
        "GET /ports/{id}/bindings",
        "POST /ports/{id}/bindings",
        "GET /ports/{id}/bindings/{host}",
        "DELETE /ports/{id}/bindings/{host}",
        "PUT /ports/{id}/bindings/{host}/activate",
    },
    "dhcp_agent_scheduler": {
        "GET /agents/{id}/dhcp-networks",
        "POST /agents/{id}/dhcp-networks",
        "DELETE /agents/{id}/dhcp-networks/{network}",
        "GET /networks/{id}/dhcp-agents",
    },
    "extraroute-atomic": {"PUT /routers/{id}/add_extraroutes", "PUT /routers/{id}/remove_extraroutes"},
    "l3_agent_scheduler": {
        "GET /agents/{id}/l3-routers",
        "POST /agents/{id}/l3-routers",
        "DELETE /agents/{id}/l3-routers/{router}",
        "GET /routers/{id}/l3-agents",
    },
    "flavors": {
        *crud("flavors", "service_profiles"),
        "POST /flavors/{id}/service_profiles",
        "DELETE /flavors/{id}/service_profiles/{profile}",
    },
    "floating-ip-port-forwarding": crud("floatingips/{parent}/port_forwardings"),
    "floatingip-pools": {"GET /floatingip_pools"},
    "l3-conntrack-helper": crud("routers/{parent}/conntrack_helpers"),
    "l3-ndp-proxy": crud("ndp_proxies"),
    "local_ip": {
        *crud("local_ips"),
        *(each for each in crud("local_ips/{parent}/port_associations") if not each.startswith("PUT")),
    },
    "logging": {*crud("log/logs"), "GET /log/loggable-resources"},
    "metering": {
        each
        for each in crud("metering/metering-labels", "metering/metering-label-rules")
        if not each.startswith("PUT")  # which Neutron answers with 501
    },
    "network-ip-availability": {"GET /network-ip-availabilities", "GET /network-ip-availabilities/{id}"},
    "qos": {
        *crud("qos/policies", *(f"qos/policies/{{parent}}/{name}" for name in QOS_RULES)),
        "GET /qos/rule-types",
    },
    "qos-pps-minimum": crud("qos/policies/{parent}/minimum_packet_rate_rules"),
    "qos-pps-minimum-rule-alias": {
        f"{verb} /qos/alias_minimum_packet_rate_rules/{{id}}" for verb in ("GET", "PUT", "DELETE")
    },
    "qos-pps": crud("qos/policies/{parent}/packet_rate_limit_rules"),
    "qos-rule-type-details": {"GET /qos/rule-types/{type}"},
    "qos-rules-alias": {f"{verb} /qos/alias_{name}/{{id}}" for name in QOS_RULES for verb in ("GET", "PUT", "DELETE")},
    "quota_details": {"GET /quotas/{project}/details", "GET /quotas/{project}/details.json"},
    "quotas": {
        "GET /quotas",
        "GET /quotas/tenant",
        "GET /quotas/project",
        "GET /quotas/{project}",
        "GET /quotas/{project}/default",
        "PUT /quotas/{project}",
        "DELETE /quotas/{project}",
    },
    "address-group": {
        *crud("address-groups"),
        "PUT /address-groups/{id}/add_addresses",
        "PUT /address-groups/{id}/remove_addresses",
    },
    "rbac-policies": crud("rbac-policies"),
    "router": {
        *crud("routers", "floatingips"),
        "PUT /routers/{id}/add_router_interface",
        "PUT /routers/{id}/remove_router_interface",
    },
    "segment": crud("segments"),
    "security-group": crud("security-groups", "security-group-rules") - {"PUT /security-group-rules/{id}"},
    "security-groups-default-rules": crud("default-security-group-rules") - {"PUT /default-security-group-rules/{id}"},
    "security-groups-default-statefulness": crud("security-groups-default-statefulness"),
    "service-type": {"GET /service-providers"},
    "standard-attr-tag": {each.format(name) for name in TAGGED_PATHS for each in (*TAGS, *TAG)},
    "subnet_onboard": {"PUT /subnetpools/{id}/onboard_network_subnets"},
    "subnetpool-prefix-ops": {"PUT /subnetpools/{id}/add_prefixes", "PUT /subnetpools/{id}/remove_prefixes"},
    "trunk": {
        *crud("trunks"),
        "PUT /trunks/{id}/add_subports",
        "PUT /trunks/{id}/remove_subports",
        "GET /trunks/{id}/get_subports",
    },
    "tag-creation": {f"POST /{name}/{{id}}/tags" for name in TAGGED_PATHS},
}

UNLISTED: dict[str, str] = {}


def _body(client: Client, path: str, body: Any, method: str = "PUT") -> int:
    return client.call(method, path, body).status


def _aap(client: Client) -> bool:
    port = client.port(client.network()["id"])["id"]
    pairs = [{"ip_address": "224.0.0.9"}]
    return _body(client, f"/v2.0/ports/{port}", {"port": {"allowed_address_pairs": pairs}}) == 400


def _empty(client: Client) -> bool:
    client.network(name="")
    return [each["name"] for each in client.get("/v2.0/networks?name=")["networks"]] == [""]


def _agents(client: Client, query: str) -> list[dict[str, Any]]:
    for name in ("b", "a"):
        hello = Hello(name, ("network",), 1, 1, 1, mechanism_drivers=("openvswitch",))
        client.cloud.database.write(partial(registry.greet, hello=hello))
    found: list[dict[str, Any]] = client.get(f"/v2.0/agents?{query}")["agents"]
    return found


def _agents_in_order(client: Client) -> bool:
    hosts = [each["host"] for each in _agents(client, "sort_key=host&sort_dir=asc")]
    return hosts == sorted(hosts) and set(hosts) == {"a", "b"}


def _zones(client: Client) -> bool:
    found = client.get("/v2.0/availability_zones?resource=router")["availability_zones"]
    return [each["resource"] for each in found] == ["router"]


def _snat(client: Client) -> bool:
    public = client.get("/v2.0/networks?name=public")["networks"][0]["id"]
    info = {"network_id": public, "enable_snat": False}
    router = client.post("/v2.0/routers", {"router": {"external_gateway_info": info}})["router"]
    return router["external_gateway_info"]["enable_snat"] is False


def _substring(client: Client) -> bool:
    network = client.network()["id"]
    client.subnet(network, "10.0.0.0/24")
    made = client.port(network)["id"]
    found = client.get("/v2.0/ports?fixed_ips=ip_address_substr=10.0.0.2")["ports"]
    return made in [each["id"] for each in found]


def _asked_router(client: Client) -> bool:
    outside = client.get("/v2.0/networks?name=public")["networks"][0]["id"]
    network = client.network()["id"]
    client.subnet(network, "10.0.0.0/24")
    router = client.post("/v2.0/routers", {"router": {"external_gateway_info": {"network_id": outside}}}, "demo")
    id = router["router"]["id"]
    body = {"floating_network_id": outside, "port_id": client.port(network)["id"], "router_id": id}
    return bool(client.post("/v2.0/floatingips", {"floatingip": body}, "demo")["floatingip"]["router_id"] == id)


def _interface(client: Client) -> bool:
    subnet = client.subnet(client.network()["id"], "10.0.0.0/24")["id"]
    router = client.post("/v2.0/routers", {"router": {}}, "demo")["router"]["id"]
    port = client.put(f"/v2.0/routers/{router}/add_router_interface", {"subnet_id": subnet}, "demo")["port_id"]
    return _body(client, f"/v2.0/ports/{port}", {"port": {"fixed_ips": [{"ip_address": "10.0.0.9"}]}}) == 400


def _routed(client: Client) -> tuple[str, dict[str, Any]]:
    """A network and its subnet, which came to its segment."""
    vlan = {"provider:network_type": "vlan", "provider:physical_network": "physnet1"}
    network = client.network("admin", **vlan)["id"]
    subnet = client.subnet(network, "10.0.0.0/24", "admin")["id"]
    (only,) = client.get(f"/v2.0/segments?network_id={network}")["segments"]
    body = {"subnet": {"segment_id": only["id"]}}
    return network, client.put(f"/v2.0/subnets/{subnet}", body)["subnet"]


def _peer_routes(client: Client) -> bool:
    network, subnet = _routed(client)
    wanted = {"network_id": network, "network_type": "vlan", "physical_network": "physnet1"}
    other = client.post("/v2.0/segments", {"segment": wanted})["segment"]["id"]
    client.subnet(network, "10.0.1.0/24", "admin", segment_id=other)
    told = client.get(f"/v2.0/subnets/{subnet['id']}")["subnet"]["host_routes"]
    return bool(told == [{"destination": "10.0.1.0/24", "nexthop": "10.0.0.1"}])


def _mtu(client: Client) -> bool:
    network = client.network()["id"]
    return client.put(f"/v2.0/networks/{network}", {"network": {"mtu": 1300}})["network"]["mtu"] == 1300


def _details(client: Client) -> bool:
    network = client.network()["id"]
    found = client.get(f"/v2.0/network-ip-availabilities/{network}")["network_ip_availability"]
    return "ip_availability_details" in found


def _pages(client: Client) -> bool:
    for _ in range(2):
        client.network()
    page = client.get("/v2.0/networks?limit=1")
    return len(page["networks"]) == 1 and page["networks_links"][0]["rel"] == "next"


def _socket(client: Client) -> bool:
    port = client.port(client.network()["id"], numa_affinity_policy="socket")
    return bool(port["numa_affinity_policy"] == "socket")


def _keyword(client: Client) -> bool:
    return bool(client.network(dns_domain="<user_id>.b.")["dns_domain"] == "<user_id>.b.")


def _own_mac(client: Client) -> bool:
    port = client.port(client.network()["id"])["id"]
    wanted = "fa:16:3e:00:00:09"
    found = client.put(f"/v2.0/ports/{port}", {"port": {"mac_address": wanted}})["port"]["mac_address"]
    client.put(f"/v2.0/ports/{port}", {"port": {"binding:host_id": HOST}})
    return bool(found == wanted) and _body(client, f"/v2.0/ports/{port}", {"port": {"mac_address": None}}) == 409


def _new_mac(client: Client) -> bool:
    port = client.port(client.network()["id"])
    body = {"port": {"mac_address": None}}
    return bool(client.put(f"/v2.0/ports/{port['id']}", body)["port"]["mac_address"] != port["mac_address"])


def _by_group(client: Client) -> bool:
    port = client.port(client.network()["id"])
    found = client.get(f"/v2.0/ports?security_groups={port['security_groups'][0]}")["ports"]
    return [each["id"] for each in found] == [port["id"]]


def _limit(client: Client) -> bool:
    client.network()
    return _body(client, f"/v2.0/quotas/{DEMO}", {"quota": {"network": 0, "check_limit": True}}) == 400


def _limit_unasked(client: Client) -> bool:
    client.network()
    asked = [_body(client, f"/v2.0/quotas/{DEMO}", {"quota": {"network": 0, **word}}) for word in ({}, {"force": True})]
    return asked == [400, 200]


def _down_first(client: Client) -> bool:
    router = client.post("/v2.0/routers", {"router": {}})["router"]["id"]
    return _body(client, f"/v2.0/routers/{router}", {"router": {"distributed": True, "admin_state_up": False}}) == 400


def _shared(kind: str, **values: Any) -> Callable[[Client], bool]:
    """Whether an object that is shared with a project is what that project's lists show as shared."""
    path = f"/v2.0/{kind.replace('_', '-') if kind != 'subnetpool' else kind}s"

    def holds(client: Client) -> bool:
        id = client.post(path, {kind: {"name": "x", **values}})[kind]["id"]
        policy = {"object_type": kind, "object_id": id, "target_tenant": DEMO, "action": "access_as_shared"}
        client.post("/v2.0/rbac-policies", {"rbac_policy": policy})
        collection = path.removeprefix("/v2.0/").replace("-", "_")
        found, rest = (client.get(f"{path}?shared={word}", "demo")[collection] for word in ("true", "false"))
        return [(each["id"], each["shared"]) for each in found] == [(id, True)] and not any(e["shared"] for e in rest)

    return holds


def _addresses_shared(client: Client) -> bool:
    id = client.post("/v2.0/address-groups", {"address_group": {"name": "a"}}, "other")["address_group"]["id"]
    policy = {"object_type": "address_group", "object_id": id, "target_tenant": DEMO, "action": "access_as_shared"}
    client.post("/v2.0/rbac-policies", {"rbac_policy": policy}, "other")
    return client.call("GET", f"/v2.0/address-groups/{id}", user="demo").status == 200


def _match(client: Client) -> bool:
    network = client.network()["id"]
    stale = {"if-match": "revision_number=999"}
    return client.call("PUT", f"/v2.0/networks/{network}", {"network": {}}, headers=stale).status == 412


def _sorted(client: Client) -> bool:
    for name in ("b", "a"):
        client.network(name=name)
    names = [each["name"] for each in client.get("/v2.0/networks?sort_key=name&sort_dir=desc")["networks"]]
    return names == sorted(names, reverse=True)


def _forwarding_named(client: Client) -> bool:
    world = World(client)
    made = world.forward()
    (shown,) = world.shown()["port_forwardings"]
    return (shown["id"], shown["internal_port_id"]) == (made["id"], made["internal_port_id"])


def _rule_types(client: Client) -> bool:
    every, acting = (client.get(f"/v2.0/qos/rule-types?{name}=true") for name in ("all_rules", "all_supported"))
    return bool(every["rule_types"]) and all(each in every["rule_types"] for each in acting["rule_types"])


def _least_received(client: Client) -> bool:
    policy = client.post("/v2.0/qos/policies", {"policy": {"name": "q"}})["policy"]["id"]
    body = {"minimum_bandwidth_rule": {"min_kbps": 5, "direction": "ingress"}}
    made = client.post(f"/v2.0/qos/policies/{policy}/minimum_bandwidth_rules", body)["minimum_bandwidth_rule"]
    return bool(made["direction"] == "ingress")


def _groups_of_requests(client: Client) -> bool:
    policy = client.post("/v2.0/qos/policies", {"policy": {"name": "q"}})["policy"]["id"]
    body = {"minimum_packet_rate_rule": {"min_kpps": 5}}
    client.post(f"/v2.0/qos/policies/{policy}/minimum_packet_rate_rules", body)
    port = client.port(client.network()["id"], "admin", qos_policy_id=policy)
    return port["resource_request"].keys() == {"request_groups", "same_subtree"}


def _gateway_policy(client: Client) -> bool:
    network = client.network("admin", **{"router:external": True})["id"]
    client.subnet(network, "203.0.113.0/24", user="admin")
    policy = client.post("/v2.0/qos/policies", {"policy": {"name": "q"}})["policy"]["id"]
    gateway = {"network_id": network, "qos_policy_id": policy}
    router = client.post("/v2.0/routers", {"router": {"external_gateway_info": gateway}})["router"]
    return bool(router["external_gateway_info"]["qos_policy_id"] == policy)


def _tagged(client: Client) -> bool:
    network = client.network()["id"]
    bodies = [{"network_id": network, "tags": ["b", "a"]}, {"network_id": network}]
    made = [client.post("/v2.0/ports", {"port": bodies[0]}, "demo")["port"]]
    made += client.post("/v2.0/ports", {"ports": bodies}, "demo")["ports"]
    found = client.get("/v2.0/ports?tags=a,b", "demo")["ports"]
    twice = {"port": {"network_id": network, "tags": ["a", "a"]}}
    refused = [client.call("POST", "/v2.0/ports", {"port": {**bodies[0], "tags": odd}}).status for odd in (None, "a")]
    return (
        [each["tags"] for each in made] == [["a", "b"], ["a", "b"], []]
        and {each["id"] for each in found} == {each["id"] for each in made[:2]}
        and client.call("POST", "/v2.0/ports", twice).status == 400
        and refused == [400, 400]
    )


BEHAVIOURS: dict[str, Callable[[Client], bool]] = {
    "aap-reject-multicast": _aap,
    "agent-resources-synced": lambda client: {each["resources_synced"] for each in _agents(client, "")} == {None},
    "agent_sort_key": _agents_in_order,
    "availability_zone_filter": _zones,
    "empty-string-filtering": _empty,
    "ext-gw-mode": _snat,
    "floating-ip-router-writable": _asked_router,
    "floating-ip-port-forwarding-detail": _forwarding_named,
    "filter-validation": lambda client: client.call("GET", "/v2.0/networks?colour=red").status == 400,
    "ip-substring-filtering": _substring,
    "l3-port-ip-change-not-allowed": _interface,
    "dns-integration-domain-keywords": _keyword,
    "net-mtu-writable": _mtu,
    "network-ip-availability-details": _details,
    "pagination": _pages,
    "port-numa-affinity-policy-socket": _socket,
    "port-mac-address-regenerate": _new_mac,
    "port-mac-override": _own_mac,
    "port-security-groups-filtering": _by_group,
    "project-id": lambda client: client.network(user="admin", project_id=DEMO)["tenant_id"] == DEMO,
    "port-resource-request-groups": _groups_of_requests,
    "qos-bw-minimum-ingress": _least_received,
    "qos-gateway-ip": _gateway_policy,
    "qos-rule-type-filter": _rule_types,
    "quota-check-limit": _limit,
    "quota-check-limit-default": _limit_unasked,
    "rbac-address-group": _addresses_shared,
    "rbac-address-scope": _shared("address_scope", ip_version=4),
    "rbac-security-groups": _shared("security_group"),
    "rbac-subnetpool": _shared("subnetpool", prefixes=["10.0.0.0/8"]),
    "revision-if-match": _match,
    "router-admin-state-down-before-update": _down_first,
    "security-groups-shared-filtering": _shared("security_group"),
    "segments-peer-subnet-host-routes": _peer_routes,
    "sorting": _sorted,
    "tag-ports-during-bulk-creation": _tagged,
    "subnet-segmentid-writable": lambda client: _routed(client)[1]["segment_id"] is not None,
}


def _named(promised: dict[str, str]) -> set[str]:
    return {f"{resource}.{name}" for resource, names in promised.items() for name in names.split()}


def test_each_alias_promises_something_that_is_held_here() -> None:
    assert EXTENSIONS.keys() == ATTRIBUTES.keys() | ROUTES.keys() | BEHAVIOURS.keys()


def test_attributes_are_those_of_the_core_and_of_the_extensions_listed() -> None:
    declared = {f"{resource.name}.{attribute.name}" for resource in RESOURCES for attribute in resource.attributes}
    promised = _named(CORE).union(*(_named(attributes) for attributes in ATTRIBUTES.values()))
    unlisted = {each for each in UNLISTED if " /" not in each}
    assert declared == promised | unlisted
    assert not promised & unlisted


def test_routes_are_those_of_the_core_and_of_the_extensions_listed() -> None:
    there = {f"{route.method} {route.path.removeprefix('/v2.0')}" for route in NetworkService().routes()}
    promised = CORE_ROUTES.union(*ROUTES.values())
    assert {each if each[-1] != " " else f"{each}/" for each in there} == promised | {e for e in UNLISTED if " /" in e}


@pytest.mark.parametrize("alias", BEHAVIOURS)
def test_a_behaviour_that_an_extension_promises_is_there(client: Client, alias: str) -> None:
    assert BEHAVIOURS[alias](client)


def test_an_extension_shows_neutrons_name_and_time(client: Client) -> None:
    (shown,) = [each for each in client.get("/v2.0/extensions")["extensions"] if each["alias"] == "net-mtu"]
    assert (shown["name"], shown["updated"]) == ("Network MTU", "2015-03-25T10:00:00-00:00")
    assert client.get("/v2.0/extensions/net-mtu")["extension"] == shown
    assert client.call("GET", "/v2.0/extensions/bgp").status == 404

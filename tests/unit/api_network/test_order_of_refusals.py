"""Which of several wrongs is told first, and what is no wrong at all: as generated requests to Neutron 29 showed."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.api_network.harness import OTHER, ZERO, Client

LONG_TAG = "x" * 256


def refusal(client: Client, method: str, path: str, body: Any = None, user: str = "admin") -> tuple[int, str]:
    answer = client.call(method, path, body, user)
    return answer.status, answer.error["type"] if answer.status >= 400 else ""


@pytest.mark.parametrize("collection", ["networks", "ports", "routers", "qos/policies", "security-groups"])
def test_every_key_of_an_order_has_a_direction(client: Client, collection: str) -> None:
    assert refusal(client, "GET", f"/v2.0/{collection}?sort_key=id") == (400, "HTTPBadRequest")
    assert refusal(client, "GET", f"/v2.0/{collection}?sort_dir=asc") == (400, "HTTPBadRequest")
    assert refusal(client, "GET", f"/v2.0/{collection}?sort_key=&sort_dir=") == (200, "")


def test_the_last_limit_counts(client: Client) -> None:
    assert refusal(client, "GET", "/v2.0/address-groups?limit=1000&limit=-1") == (400, "BadRequest")
    assert refusal(client, "GET", "/v2.0/address-groups?limit=-1&limit=0") == (200, "")


@pytest.mark.parametrize(
    ("collection", "told"), [("networks", "BadRequest"), ("subnets", "BadRequest"), ("routers", "HTTPBadRequest")]
)
def test_core_kinds_look_at_pages_before_the_order(client: Client, collection: str, told: str) -> None:
    assert refusal(client, "GET", f"/v2.0/{collection}?limit=x&sort_key=nosuch&sort_dir=asc") == (400, told)


@pytest.mark.parametrize("query", ["nosuch=1", "limit=x", "sort_key=name"])
def test_a_query_of_one_is_looked_at_for_core_kinds_alone(client: Client, query: str) -> None:
    network_id, router_id = client.network()["id"], client.post("/v2.0/routers", {"router": {}})["router"]["id"]
    assert refusal(client, "GET", f"/v2.0/networks/{network_id}?{query}")[0] == 400
    assert refusal(client, "GET", f"/v2.0/networks/{ZERO}?{query}")[0] == 400
    assert refusal(client, "GET", f"/v2.0/routers/{router_id}?{query}")[0] == 200
    assert refusal(client, "GET", f"/v2.0/routers/{ZERO}?{query}") == (404, "RouterNotFound")


def test_a_field_without_a_name_is_one_of_core_kinds_alone(client: Client) -> None:
    network_id, router_id = client.network()["id"], client.post("/v2.0/routers", {"router": {}})["router"]["id"]
    assert client.get(f"/v2.0/networks/{network_id}?fields=") == {"network": {}}
    assert client.get("/v2.0/networks?name=net&fields=") == {"networks": [{}]}
    assert client.get(f"/v2.0/routers/{router_id}?fields=")["router"]["id"] == router_id


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_a_tag_that_is_too_long_is_told_before_what_it_was_for(client: Client, method: str) -> None:
    assert refusal(client, method, f"/v2.0/networks/{ZERO}/tags/{LONG_TAG}") == (400, "InvalidInput")


@pytest.mark.parametrize("collection", ["security-group-rules", "default-security-group-rules"])
@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("protocol=nosuch", "SecurityGroupRuleInvalidProtocol"),
        ("protocol=256", "SecurityGroupRuleInvalidProtocol"),
        ("protocol=", "SecurityGroupRuleInvalidProtocol"),
        ("ethertype=x", "SecurityGroupRuleInvalidEtherType"),
        ("remote_ip_prefix=1", "InvalidCIDR"),
        ("port_range_min=65536", "SecurityGroupInvalidPortValue"),
        ("port_range_max=", "SecurityGroupInvalidPortValue"),
    ],
)
def test_rules_are_not_filtered_by_what_no_rule_has(client: Client, collection: str, query: str, told: str) -> None:
    assert refusal(client, "GET", f"/v2.0/{collection}?{query}") == (400, told)


def test_rules_are_found_by_what_they_have_however_it_is_written(client: Client) -> None:
    group = client.post("/v2.0/security-groups", {"security_group": {"name": "g"}})["security_group"]
    rule = {"security_group_id": group["id"], "direction": "ingress", "protocol": "tcp", "remote_ip_prefix": "10.0.0.1"}
    ports = {"port_range_min": 22, "port_range_max": 23}
    made = client.post("/v2.0/security-group-rules", {"security_group_rule": rule | ports})
    wanted = [made["security_group_rule"]["id"]]
    for query in ("protocol=TCP", "ethertype=ipv4&protocol=tcp", "remote_ip_prefix=10.0.0.1", "port_range_min=22"):
        found = client.get(f"/v2.0/security-group-rules?security_group_id={group['id']}&{query}")
        assert [each["id"] for each in found["security_group_rules"]] == wanted, query
    anything = client.get(f"/v2.0/security-group-rules?security_group_id={group['id']}&protocol=any")
    assert {each["protocol"] for each in anything["security_group_rules"]} == {None}


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("port", {"binding:profile": None}),
        ("port", {"binding:profile": {}}),
        ("port", {"binding:host_id": ""}),
        ("router", {"ha": None}),
        ("router", {"distributed": None}),
    ],
)
def test_what_needs_a_role_needs_it_for_null_too(client: Client, kind: str, values: dict[str, Any]) -> None:
    if kind == "port":
        values = {**values, "network_id": client.network()["id"]}
    assert refusal(client, "POST", f"/v2.0/{kind}s", {kind: values}, "demo") == (403, "PolicyNotAuthorized")


def test_a_network_says_of_which_address_scopes_its_subnets_are(client: Client) -> None:
    scopes = {}
    network_id = client.network()["id"]
    for version, prefix, length in ((4, "10.0.0.0/16", 24), (6, "fd00::/48", 64)):
        scope = client.post("/v2.0/address-scopes", {"address_scope": {"name": "s", "ip_version": version}}, "demo")
        scopes[version] = scope["address_scope"]["id"]
        pool = {"name": "p", "prefixes": [prefix], "address_scope_id": scopes[version], "default_prefixlen": length}
        pool_id = client.post("/v2.0/subnetpools", {"subnetpool": pool}, "demo")["subnetpool"]["id"]
        subnet = {"network_id": network_id, "subnetpool_id": pool_id, "ip_version": version}
        client.post("/v2.0/subnets", {"subnet": subnet}, "demo")
    other = client.network(name="other")
    shown = client.get(f"/v2.0/networks/{network_id}", "demo")["network"]
    listed = {each["id"]: each for each in client.get("/v2.0/networks", "demo")["networks"]}
    for found in (shown, listed[network_id]):
        assert (found["ipv4_address_scope"], found["ipv6_address_scope"]) == (scopes[4], scopes[6])
    assert listed[other["id"]]["ipv4_address_scope"] is None


def test_values_are_told_before_what_they_were_for(client: Client) -> None:
    flavor = {"flavor": {"service_type": "nosuch"}}
    assert refusal(client, "POST", "/v2.0/flavors", flavor, "manager") == (400, "InvalidServiceType")
    target = {"rbac_policy": {"target_tenant": "nosuch"}}
    assert refusal(client, "PUT", f"/v2.0/rbac-policies/{ZERO}", target) == (400, "InvalidInput")
    assert refusal(client, "PUT", f"/v2.0/agents/{ZERO}", {"agent": {"nosuch": 1}}) == (400, "HTTPBadRequest")
    assert refusal(client, "PUT", f"/v2.0/agents/{ZERO}", {"agent": {"admin_state_up": "x"}}) == (400, "InvalidInput")
    rules = f"/v2.0/qos/policies/{ZERO}/dscp_marking_rules"
    assert refusal(client, "GET", f"{rules}?nosuch=1") == (400, "HTTPBadRequest")
    assert refusal(client, "GET", rules) == (404, "QosPolicyNotFound")


def test_what_is_wrong_by_itself_is_told_before_what_is_not_there(client: Client) -> None:
    types = {"network_id": ZERO, "cidr": "10.0.0.0/24", "ip_version": 4, "service_types": ["nosuch"]}
    assert refusal(client, "POST", "/v2.0/subnets", {"subnet": types}) == (400, "InvalidSubnetServiceType")
    for values, told in (
        ({"ethertype": "IP"}, "SecurityGroupRuleInvalidEtherType"),
        ({"protocol": "nosuch"}, "SecurityGroupRuleInvalidProtocol"),
        ({"port_range_min": 65536}, "SecurityGroupInvalidPortValue"),
        ({"remote_ip_prefix": ["a"]}, "InvalidCIDR"),
        ({"remote_ip_prefix": "abc"}, "InvalidCIDR"),
        ({"remote_ip_prefix": -1}, "InvalidCIDR"),
    ):
        rule = {"security_group_rule": {"security_group_id": ZERO, "direction": "ingress", **values}}
        assert refusal(client, "POST", "/v2.0/security-group-rules", rule) == (400, told)


def test_who_may_make_no_rule_of_any_policy_is_told_so_first(client: Client) -> None:
    rules, rule = f"/v2.0/qos/policies/{ZERO}/dscp_marking_rules", {"dscp_marking_rule": {"dscp_mark": 26}}
    assert refusal(client, "POST", rules, rule, "demo") == (403, "PolicyNotAuthorized")
    assert refusal(client, "POST", rules, rule, "manager") == (404, "QosPolicyNotFound")


def test_a_profile_that_a_flavor_does_not_have_is_told_before_who_may_take_it(client: Client) -> None:
    path = f"/v2.0/flavors/{ZERO}/service_profiles/{ZERO}"
    assert refusal(client, "DELETE", path, None, "manager") == (404, "FlavorServiceProfileBindingNotFound")


def test_how_full_networks_are_is_an_empty_list_to_others(client: Client) -> None:
    network_id = client.network()["id"]
    assert client.get("/v2.0/network-ip-availabilities", "demo") == {"network_ip_availabilities": []}
    assert refusal(client, "GET", "/v2.0/network-ip-availabilities?nosuch=1", None, "demo")[0] == 400
    path = f"/v2.0/network-ip-availabilities/{network_id}"
    assert refusal(client, "GET", path, None, "demo") == (404, "HTTPNotFound")
    assert client.get(path)["network_ip_availability"]["network_id"] == network_id


def test_of_several_wrongs_that_is_told_which_neutron_looks_at_first(client: Client) -> None:
    network = client.network()["id"]
    for values, told in (
        ({"admin_state_up": "x", "device_id": 1}, "InvalidInput"),
        ({"binding:vnic_type": "nosuch", "port_security_enabled": "x"}, "HTTPBadRequest"),
        ({"port_security_enabled": "x", "binding:vnic_type": "nosuch"}, "HTTPBadRequest"),
    ):
        port = client.port(network)["id"]
        assert refusal(client, "POST", "/v2.0/ports", {"port": {"network_id": network, **values}}) == (400, told)
        assert refusal(client, "PUT", f"/v2.0/ports/{port}", {"port": values}) == (400, told)
    policy = {"object_type": "nosuch", "object_id": "x", "target_tenant": "*", "action": "access_as_shared"}
    assert refusal(client, "POST", "/v2.0/rbac-policies", {"rbac_policy": policy}) == (400, "InvalidInput")
    policy |= {"object_type": " Network "}
    assert refusal(client, "POST", "/v2.0/rbac-policies", {"rbac_policy": policy}) == (400, "HTTPBadRequest")


def test_policies_are_not_filtered_by_what_cannot_be_shared(client: Client) -> None:
    client.network("admin", shared=True)
    assert refusal(client, "GET", "/v2.0/rbac-policies?object_type=nosuch") == (400, "InvalidInput")
    assert refusal(client, "GET", "/v2.0/rbac-policies?object_type=network&object_type=") == (400, "InvalidInput")
    found = client.get("/v2.0/rbac-policies?object_type=NETWORK&action=access_as_shared")["rbac_policies"]
    assert [each["object_type"] for each in found] == ["network"]


@pytest.mark.parametrize("body", [{}, {"nosuch": 1}])
def test_core_kinds_look_for_the_object_before_they_refuse_a_body_without_it(
    client: Client, body: dict[str, Any]
) -> None:
    network = client.network("admin", shared=True)["id"]
    assert refusal(client, "PUT", f"/v2.0/networks/{ZERO}", body) == (404, "NetworkNotFound")
    assert refusal(client, "PUT", f"/v2.0/networks/{network}", body, "demo") == (403, "PolicyNotAuthorized")
    assert refusal(client, "PUT", f"/v2.0/networks/{network}", body) == (400, "HTTPBadRequest")
    assert refusal(client, "PUT", f"/v2.0/networks/{ZERO}", {"network": None}) == (400, "HTTPBadRequest")
    for path in ("networks", f"routers/{ZERO}", f"qos/policies/{ZERO}", f"floatingips/{ZERO}/port_forwardings/{ZERO}"):
        method = "POST" if path == "networks" else "PUT"
        assert refusal(client, method, f"/v2.0/{path}", body) == (400, "HTTPBadRequest")


@pytest.mark.parametrize("parts", ["routers/{}/conntrack_helpers", "floatingips/{}/port_forwardings"])
def test_parts_are_filtered_by_protocols_alone(client: Client, parts: str) -> None:
    router = client.post("/v2.0/routers", {"router": {}})["router"]["id"]
    outside = client.network("admin", **{"router:external": True})["id"]
    client.subnet(outside, "172.24.4.0/24", "admin")
    floating = client.post("/v2.0/floatingips", {"floatingip": {"floating_network_id": outside}})["floatingip"]["id"]
    path = "/v2.0/" + parts.format(router if "routers" in parts else floating)
    for protocol in ("nosuch", "256", ""):
        assert refusal(client, "GET", f"{path}?protocol={protocol}") == (400, "InvalidInput")
    assert refusal(client, "GET", f"{path}?protocol=TCP&protocol=6") == (200, "")


@pytest.mark.parametrize(
    ("protocol", "told"),
    [("nosuch", "InvalidInput"), (6, "InvalidInput"), (True, "InvalidInput"), ("TCP", "HTTPBadRequest"),
     ("vrrp", "HTTPBadRequest"), (None, "HTTPBadRequest")],
)  # fmt: skip
def test_a_protocol_that_is_none_is_told_from_one_that_a_kind_does_not_know(
    client: Client, protocol: object, told: str
) -> None:
    helper = {"protocol": protocol, "port": 21, "helper": "ftp"}
    made = {"conntrack_helper": helper}
    assert refusal(client, "POST", f"/v2.0/routers/{ZERO}/conntrack_helpers", made) == (400, told)
    forwarding = {"protocol": protocol, "internal_port_id": ZERO, "internal_ip_address": "10.0.0.5"}
    body = {"port_forwarding": {**forwarding, "internal_port": 22, "external_port": 22}}
    assert refusal(client, "POST", f"/v2.0/floatingips/{ZERO}/port_forwardings", body) == (400, told)


@pytest.mark.parametrize(("port", "told"), [("x", "InvalidInput"), ([], "InvalidInput"), (0, "HTTPBadRequest")])
def test_a_port_that_is_no_number_is_told_from_one_that_is_none(client: Client, port: object, told: str) -> None:
    helper = {"conntrack_helper": {"protocol": "tcp", "port": port, "helper": "ftp"}}
    assert refusal(client, "POST", f"/v2.0/routers/{ZERO}/conntrack_helpers", helper) == (400, told)


@pytest.mark.parametrize("name", ["external_port", "internal_port"])
@pytest.mark.parametrize("port", ["x", "", [], 0])
def test_a_forwarded_port_need_not_be_and_so_is_looked_at_as_it_is(client: Client, name: str, port: object) -> None:
    forwarding = {"protocol": "tcp", "internal_port_id": ZERO, "internal_ip_address": "10.0.0.5"}
    body = {"port_forwarding": {**forwarding, "external_port": 2222, "internal_port": 22, name: port}}
    path = f"/v2.0/floatingips/{ZERO}/port_forwardings"
    assert refusal(client, "POST", path, body) == (400, "HTTPBadRequest")
    assert refusal(client, "PUT", f"{path}/{ZERO}", {"port_forwarding": {name: port}}) == (400, "HTTPBadRequest")


def test_a_number_that_is_none_finds_no_revision_and_no_forwarding(client: Client) -> None:
    client.network()
    assert client.get("/v2.0/networks?revision_number=x") == {"networks": []}
    assert client.get("/v2.0/networks?revision_number=x&revision_number=1&name=net")["networks"] != []


def test_what_a_caller_may_not_read_is_not_there_for_changes_either(client: Client) -> None:
    profile = {"service_profile": {"description": "p", "metainfo": "{}"}}
    made = client.post("/v2.0/service_profiles", profile)["service_profile"]["id"]
    one = f"/v2.0/service_profiles/{made}"
    for user in ("demo", "manager", "other"):
        assert refusal(client, "PUT", one, {"service_profile": {}}, user)[0] == 404
        assert refusal(client, "DELETE", one, None, user)[0] == 404
    assert client.get(one)["service_profile"]["id"] == made


@pytest.mark.parametrize("collection", ["dscp_marking_rules", "bandwidth_limit_rules"])
def test_kinds_of_extensions_look_at_the_order_before_pages(client: Client, collection: str) -> None:
    policy = client.post("/v2.0/qos/policies", {"policy": {"name": "p"}})["policy"]["id"]
    rules = f"/v2.0/qos/policies/{policy}/{collection}"
    assert refusal(client, "GET", f"{rules}?sort_key=nosuch&sort_dir=asc&limit=x") == (400, "HTTPBadRequest")
    assert refusal(client, "GET", f"{rules}?limit=x") == (400, "BadRequest")


def test_fields_of_types_of_rules_are_those_that_are_asked_for(client: Client) -> None:
    assert client.get("/v2.0/qos/rule-types?fields=type") == client.get("/v2.0/qos/rule-types")
    assert set(map(str, client.get("/v2.0/qos/rule-types?fields=name")["rule_types"])) == {"{}"}


def test_an_address_that_says_neither_subnet_nor_address_is_refused_as_input(client: Client) -> None:
    network = client.network()["id"]
    client.subnet(network, "10.0.0.0/24")
    wanted = {"network_id": network, "fixed_ips": [{}]}
    assert refusal(client, "POST", "/v2.0/ports", {"port": wanted}) == (400, "InvalidInput")
    wanted["network_id"] = ZERO
    assert refusal(client, "POST", "/v2.0/ports", {"port": wanted}) == (404, "NetworkNotFound")
    port = client.post("/v2.0/ports", {"port": {"network_id": network}})["port"]["id"]
    assert refusal(client, "PUT", f"/v2.0/ports/{port}", {"port": {"fixed_ips": [{}]}}) == (400, "InvalidInput")


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"protocol": "x" * 256}, "SecurityGroupRuleInvalidProtocol"),
        ({"ethertype": "x" * 256}, "SecurityGroupRuleInvalidEtherType"),
        ({"ethertype": [None]}, "SecurityGroupRuleInvalidEtherType"),
    ],
)
def test_what_is_no_text_to_read_is_refused_as_what_it_should_be(
    client: Client, values: dict[str, Any], told: str
) -> None:
    group = client.post("/v2.0/security-groups", {"security_group": {"name": "g"}})["security_group"]["id"]
    rule = {"security_group_rule": {"security_group_id": group, "direction": "ingress", **values}}
    assert refusal(client, "POST", "/v2.0/security-group-rules", rule) == (400, told)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v2.0/routers", {"router": {"flavor_id": {"a": 1}, "distributed": False}}),
        ("/v2.0/service_profiles", {"service_profile": {"metainfo": {"a": 1}}}),
    ],
)
def test_who_may_not_is_told_so_before_what_is_wrong_with_a_value_that_nothing_looks_at(
    client: Client, path: str, body: dict[str, Any]
) -> None:
    assert refusal(client, "POST", path, body, "demo") == (403, "PolicyNotAuthorized")
    assert refusal(client, "POST", path, body) == (400, "HTTPBadRequest")


def test_who_asks_for_the_groups_of_another_project_makes_none(client: Client) -> None:
    client.get("/v2.0/security-groups?project_id=x", "demo")
    client.get("/v2.0/security-group-rules?tenant_id=x", "demo")
    assert len(client.get("/v2.0/security-groups?name=default")["security_groups"]) == 1  # the administrator's


def test_a_project_has_its_default_group_from_its_first_port_on_whoever_made_it(client: Client) -> None:
    network = client.network()["id"]
    subnet = client.subnet(network, "10.0.0.0/24")["id"]
    router = client.post("/v2.0/routers", {"router": {}}, "other")["router"]["id"]
    client.put(f"/v2.0/routers/{router}/add_router_interface", {"subnet_id": subnet})
    found = client.get("/v2.0/security-groups?name=default")["security_groups"]
    assert OTHER in {group["project_id"] for group in found}


def test_who_would_change_the_provider_is_told_so_before_that_there_is_no_policy(client: Client) -> None:
    network = client.network()["id"]
    wanted = {"provider:physical_network": "nosuch", "qos_policy_id": ZERO}
    assert refusal(client, "PUT", f"/v2.0/networks/{network}", {"network": wanted}) == (400, "InvalidInput")


def test_zones_are_looked_for_when_a_network_has_its_segments(client: Client) -> None:
    body = {"availability_zone_hints": ["nosuch"], "segments": [{}, {}]}
    assert refusal(client, "POST", "/v2.0/networks", {"network": body}) == (400, "InvalidInput")
    del body["segments"]
    assert refusal(client, "POST", "/v2.0/networks", {"network": body}) == (404, "AvailabilityZoneNotFound")


def test_no_segments_beside_provider_attributes_are_a_list_of_segments(client: Client) -> None:
    wanted = {"provider:network_type": "vlan", "segments": []}
    assert refusal(client, "POST", "/v2.0/networks", {"network": wanted}) == (
        400,
        "SegmentsSetInConjunctionWithProviders",
    )


def test_a_route_that_is_added_twice_at_once_is_one(client: Client) -> None:
    network = client.network()["id"]
    subnet = client.subnet(network, "10.0.0.0/24")["id"]
    router = client.post("/v2.0/routers", {"router": {}}, "demo")["router"]["id"]
    client.put(f"/v2.0/routers/{router}/add_router_interface", {"subnet_id": subnet}, "demo")
    route = {"destination": "10.9.0.0/24", "nexthop": "10.0.0.7"}
    path = f"/v2.0/routers/{router}/add_extraroutes"
    for _ in range(2):
        assert client.put(path, {"router": {"routes": [route, route]}}, "demo")["router"]["routes"] == [route]


@pytest.mark.parametrize("nothing", ["", [], {}, 0, False, None])
def test_nothing_of_any_kind_is_no_prefix_of_a_rule(client: Client, nothing: object) -> None:
    group = client.post("/v2.0/security-groups", {"security_group": {"name": "g"}})["security_group"]
    rule = {"security_group_id": group["id"], "direction": "ingress", "remote_ip_prefix": nothing}
    made = client.post("/v2.0/security-group-rules", {"security_group_rule": rule})["security_group_rule"]
    assert made["remote_ip_prefix"] is None


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"protocol": "tcp", "port_range_max": 22}, "SecurityGroupInvalidPortRange"),
        ({"port_range_min": 22, "port_range_max": 22}, "SecurityGroupProtocolRequiredWithPorts"),
        ({"protocol": "icmp", "port_range_max": 2}, "SecurityGroupMissingIcmpType"),
        ({"remote_ip_prefix": "fd00::/64"}, "SecurityGroupRuleParameterConflict"),
        ({}, "SecurityGroupNotFound"),
    ],
)
def test_an_administrator_is_told_what_is_wrong_with_a_rule_before_that_there_is_no_group(
    client: Client, values: dict[str, Any], told: str
) -> None:
    rule = {"security_group_rule": {"security_group_id": ZERO, "direction": "ingress", **values}}
    assert refusal(client, "POST", "/v2.0/security-group-rules", rule)[1] == told
    assert refusal(client, "POST", "/v2.0/security-group-rules", rule, "demo") == (404, "SecurityGroupNotFound")


@pytest.mark.parametrize("cidr", ["abc", "", "10", "10.0/16", "10.0.0.0/33", " 10.0.0.0/24", "x" * 256])
def test_what_is_no_prefix_is_told_before_the_network_and_what_comes_after_it(client: Client, cidr: str) -> None:
    network = client.network("admin")["id"]
    subnet = {"ip_version": 4, "cidr": cidr, "gateway_ip": "x", "dns_nameservers": ["x"]}
    for network_id in (network, ZERO):
        for user in ("demo", "reader", "admin"):
            body = {"subnet": {**subnet, "network_id": network_id}}
            assert refusal(client, "POST", "/v2.0/subnets", body, user) == (400, "InvalidInput")


def test_nothing_of_another_kind_is_no_servers_and_the_pools_that_a_subnet_has_by_itself(client: Client) -> None:
    network = client.network()["id"]
    nothing = [("dns_nameservers", {}), ("dns_nameservers", "")]
    nothing += [("allocation_pools", each) for each in ({}, "", [], None)]
    for number, (name, value) in enumerate(nothing):
        made = client.subnet(network, f"10.0.{number}.0/24", **{name: value})
        assert made["dns_nameservers"] == []
        assert made["allocation_pools"] == [{"start": f"10.0.{number}.2", "end": f"10.0.{number}.254"}]
        if name == "allocation_pools":
            changed = client.put(f"/v2.0/subnets/{made['id']}", {"subnet": {name: value}})["subnet"]
            assert changed[name] == []


PAIRS = [
    ("x", "HTTPBadRequest"),
    (["x"], "HTTPBadRequest"),
    ([{"ip_address": "x"}], "HTTPBadRequest"),
    ([{"ip_address": "224.0.0.1"}], "HTTPBadRequest"),
    ([{"ip_address": "10.0.0.9", "mac_address": "x"}], "HTTPBadRequest"),
    ([{"ip_address": "10.0.0.9", "nosuch": 1}], "HTTPBadRequest"),
    ([{}], "AllowedAddressPairsMissingIP"),
    ([{"ip_address": "10.0.0.9"}, {"ip_address": "10.0.0.9"}], "DuplicateAddressPairInRequest"),
]
OPTIONS = [
    "x",
    ["x"],
    [{"opt_name": "mtu"}],
    [{"opt_name": "", "opt_value": "a"}],
    [{"opt_name": "mtu", "opt_value": " "}],
    [{"opt_name": "mtu", "opt_value": 3}],
    [{"opt_name": "mtu", "opt_value": "1500", "ip_version": 5}],
]


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        *(("allowed_address_pairs", pairs, told) for pairs, told in PAIRS),
        *(("extra_dhcp_opts", options, "InvalidInput") for options in OPTIONS),
    ],
)
def test_what_a_port_may_send_and_is_told_is_looked_at_before_where_it_is(
    client: Client, name: str, value: object, told: str
) -> None:
    network = client.network("admin")["id"]
    for network_id, user in ((network, "admin"), (ZERO, "admin"), (network, "demo"), (ZERO, "reader")):
        port = {"port": {"network_id": network_id, name: value}}
        assert refusal(client, "POST", "/v2.0/ports", port, user) == (400, told)
    assert refusal(client, "PUT", f"/v2.0/ports/{ZERO}", {"port": {name: value}}) == (400, told)


def test_a_router_among_the_options_of_dhcp_may_be_none(client: Client) -> None:
    options = [{"opt_name": "router", "opt_value": "", "ip_version": 4}]
    assert client.port(client.network()["id"], extra_dhcp_opts=options)["extra_dhcp_opts"] == options


def test_who_may_not_say_a_profile_is_told_so_before_what_is_in_it(client: Client) -> None:
    network = client.network()["id"]
    port = client.port(network)["id"]
    body = {"port": {"network_id": network, "binding:profile": {"a": 1}}}
    change = {"port": {"binding:profile": {"a": 1}}}
    for user in ("demo", "reader", "manager", "admin"):
        assert refusal(client, "POST", "/v2.0/ports", body, user) == (403, "PolicyNotAuthorized")
        assert refusal(client, "PUT", f"/v2.0/ports/{port}", change, user) == (403, "PolicyNotAuthorized")
    assert refusal(client, "POST", "/v2.0/ports", body, "service") == (400, "HTTPBadRequest")
    assert refusal(client, "PUT", f"/v2.0/ports/{port}", change, "service") == (400, "HTTPBadRequest")
    body["port"]["binding:profile"] = "abc"  # type: ignore[assignment]  # what is no object at all is told first
    assert refusal(client, "POST", "/v2.0/ports", body, "demo") == (400, "HTTPBadRequest")


@pytest.mark.parametrize("prefix", ["abc", {"a": 1}, [], True, 7])
def test_who_may_make_no_metering_rule_is_told_so_before_what_is_no_prefix(client: Client, prefix: object) -> None:
    rule = {"metering_label_id": ZERO, "direction": "egress", "source_ip_prefix": prefix}
    body = {"metering_label_rule": rule}
    assert refusal(client, "POST", "/v2.0/metering/metering-label-rules", body, "demo") == (403, "PolicyNotAuthorized")
    assert refusal(client, "POST", "/v2.0/metering/metering-label-rules", body) == (400, "HTTPBadRequest")


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"helper": "nosuch"}, "ConntrackHelperNotAllowed"),
        ({"helper": 1}, "ConntrackHelperNotAllowed"),
        ({"helper": []}, "ConntrackHelperNotAllowed"),
        ({"protocol": "udp"}, "InvalidProtocolForHelper"),
    ],
)
def test_what_helps_with_nothing_is_told_to_who_may_ask_for_it(
    client: Client, values: dict[str, Any], told: str
) -> None:
    router = client.post("/v2.0/routers", {"router": {}}, "demo")["router"]["id"]
    body = {"conntrack_helper": {"protocol": "tcp", "port": 21, "helper": "ftp", **values}}
    path = "/v2.0/routers/{}/conntrack_helpers"
    assert refusal(client, "POST", path.format(router), body, "demo") == (400, told)
    assert refusal(client, "POST", path.format(router), body, "reader") == (403, "PolicyNotAuthorized")
    assert refusal(client, "POST", path.format(ZERO), body, "demo") == (404, "RouterNotFound")
    assert refusal(client, "POST", path.format(ZERO), body) == (400, told)
    assert refusal(client, "PUT", f"{path.format(router)}/{ZERO}", body, "demo") == (404, "ConntrackHelperNotFound")


def test_kinds_that_plugins_cut_are_looked_for_before_a_body_without_one_is_refused(client: Client) -> None:
    rules = f"qos/policies/{ZERO}"
    for path, told in (
        ("local_ips", "LocalIPNotFound"),
        ("ndp_proxies", "NDPProxyNotFound"),
        (f"{rules}/minimum_packet_rate_rules", "QosPolicyNotFound"),
        (f"{rules}/packet_rate_limit_rules", "QosPolicyNotFound"),
    ):
        assert refusal(client, "PUT", f"/v2.0/{path}/{ZERO}", {"nosuch": 1}) == (404, told)


def test_another_project_is_told_before_who_may_plug_ports_in(client: Client) -> None:
    body = {"binding": {"host": "far", "project_id": OTHER}}
    assert refusal(client, "POST", f"/v2.0/ports/{ZERO}/bindings", body, "reader") == (400, "HTTPBadRequest")
    assert refusal(client, "POST", f"/v2.0/ports/{ZERO}/bindings", body) == (403, "PolicyNotAuthorized")


@pytest.mark.parametrize(
    "collection", ["networks", "subnets", "subnetpools", "address-scopes", "qos/policies", "security-groups"]
)
def test_every_value_of_a_filter_by_sharing_is_one(client: Client, collection: str) -> None:
    for query in ("shared=x", "shared=true&shared=x", "shared=x&shared=true"):
        assert refusal(client, "GET", f"/v2.0/{collection}?{query}") == (400, "InvalidInput")


@pytest.mark.parametrize(("query", "told"), [("x=1", "HTTPBadRequest"), ("limit=x", "BadRequest"), ("fields=id", "")])
def test_a_query_of_a_rule_by_its_alias_is_looked_at_as_that_of_a_list(client: Client, query: str, told: str) -> None:
    path = f"/v2.0/qos/alias_bandwidth_limit_rules/{ZERO}?{query}"
    expected = (400, told) if told else (404, "QosRuleNotFound")
    assert refusal(client, "GET", path) == refusal(client, "GET", path, None, "reader") == expected


@pytest.mark.parametrize("port", ["x", "", [], {}, [None], "true"])
@pytest.mark.parametrize("name", ["port_range_min", "port_range_max"])
def test_what_is_no_port_of_a_rule_has_a_name_of_its_own(client: Client, name: str, port: object) -> None:
    said = {"direction": "ingress", name: port}
    rule = {"security_group_rule": {"security_group_id": ZERO, **said}}
    template = {"default_security_group_rule": {"used_in_default_sg": True, "used_in_non_default_sg": True, **said}}
    for path, body in (("security-group-rules", rule), ("default-security-group-rules", template)):
        assert refusal(client, "POST", f"/v2.0/{path}", body, "demo") == (400, "SecurityGroupInvalidPortValue")


@pytest.mark.parametrize("kind", ["network", "security_group", "subnetpool"])
def test_how_something_is_shared_is_asked_once_it_is_the_callers_to_share(client: Client, kind: str) -> None:
    own = client.network()["id"] if kind == "network" else ZERO
    policy = {"object_type": kind, "object_id": own, "action": "nosuch", "target_tenant": OTHER}
    told = "InvalidActionForType" if kind == "network" else "RbacPolicyNotFound"
    assert refusal(client, "POST", "/v2.0/rbac-policies", {"rbac_policy": policy}, "demo")[1] == told
    told = "InvalidActionForType" if kind != "subnetpool" else "RbacPolicyNotFound"
    assert refusal(client, "POST", "/v2.0/rbac-policies", {"rbac_policy": policy})[1] == told
    policy["object_id"] = client.network("other")["id"] if kind == "network" else ZERO
    assert refusal(client, "POST", "/v2.0/rbac-policies", {"rbac_policy": policy}, "demo")[1] == "RbacPolicyNotFound"


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"ipv6_ra_mode": "slaac"}, "InvalidInput"),
        ({"gateway_ip": "fd00::1"}, "InvalidInput"),
        ({"gateway_ip": "10.0.0.0"}, "InvalidInput"),
        ({"dns_nameservers": ["fd00::1"]}, "InvalidInput"),
        ({"cidr": "10.0.0.0/31"}, "InvalidInput"),
        ({"prefixlen": 24}, "BadRequest"),
        ({"use_default_subnetpool": True}, "BadRequest"),
        ({}, "NetworkNotFound"),
    ],
)
def test_what_is_wrong_with_a_subnet_by_itself_is_told_before_its_network_and_its_pool(
    client: Client, values: dict[str, Any], told: str
) -> None:
    subnet = {"ip_version": 4, "cidr": "10.0.0.0/24", "subnetpool_id": ZERO, **values}
    assert refusal(client, "POST", "/v2.0/subnets", {"subnet": {**subnet, "network_id": ZERO}})[1] == told
    here = {**subnet, "network_id": client.network()["id"]}
    told = told if values else "SubnetPoolNotFound"
    assert refusal(client, "POST", "/v2.0/subnets", {"subnet": here}, "demo")[1] == told


def test_the_pools_of_a_subnet_are_looked_at_before_its_neighbours_and_where_they_come_from(client: Client) -> None:
    network = client.network()["id"]
    client.subnet(network, "10.0.0.0/24")
    scope = {"name": "p", "prefixes": ["10.0.0.0/16"], "default_prefixlen": 26}
    pool = client.post("/v2.0/subnetpools", {"subnetpool": scope}, "demo")["subnetpool"]["id"]
    crossed = [{"start": "10.0.0.20", "end": "10.0.0.10"}]
    subnet = {"network_id": network, "ip_version": 4, "cidr": "10.0.0.0/25", "allocation_pools": crossed}
    assert refusal(client, "POST", "/v2.0/subnets", {"subnet": subnet}, "demo") == (400, "InvalidAllocationPool")
    subnet["subnetpool_id"] = pool
    assert refusal(client, "POST", "/v2.0/subnets", {"subnet": subnet}, "demo") == (400, "InvalidAllocationPool")
    del subnet["allocation_pools"]
    assert refusal(client, "POST", "/v2.0/subnets", {"subnet": subnet}, "demo") == (400, "InvalidInput")
    subnet["cidr"] = "10.0.1.0/24"
    told = "NetworkSubnetPoolAffinityError"
    assert refusal(client, "POST", "/v2.0/subnets", {"subnet": subnet}, "demo") == (400, told)
    del subnet["cidr"]
    body = {"subnet": {**subnet, "network_id": client.network()["id"], "gateway_ip": "10.0.0.0"}}
    assert refusal(client, "POST", "/v2.0/subnets", body, "demo") == (409, "IpamValueInvalid")
    for pools in ([], None, crossed):
        body = {"subnet": {**subnet, "allocation_pools": pools}}
        assert refusal(client, "POST", "/v2.0/subnets", body, "demo") == (400, "BadRequest")


def test_of_several_wrongs_of_a_rule_the_protocol_ports_and_ethertype_are_told_before_the_prefix(
    client: Client,
) -> None:
    wrongs = [
        ("protocol", "nosuch", "SecurityGroupRuleInvalidProtocol"),
        ("port_range_min", "x", "SecurityGroupInvalidPortValue"),
        ("port_range_max", 65536, "SecurityGroupInvalidPortValue"),
        ("ethertype", "IP", "SecurityGroupRuleInvalidEtherType"),
        ("remote_ip_prefix", "x", "InvalidCIDR"),
    ]
    for first, (_, _, named) in enumerate(wrongs):
        values = {name: value for name, value, _ in wrongs[first:]}
        rule = {"security_group_id": ZERO, "direction": "ingress", **values}
        template = {"direction": "ingress", "used_in_default_sg": True, "used_in_non_default_sg": True, **values}
        for path, body in (
            ("security-group-rules", {"security_group_rule": rule}),
            ("default-security-group-rules", {"default_security_group_rule": template}),
        ):
            assert refusal(client, "POST", f"/v2.0/{path}", body, "reader") == (400, named)


def test_no_tag_in_a_list_of_segments_is_any_and_a_word_is_none(client: Client) -> None:
    vlan = {"provider:network_type": "vlan", "provider:physical_network": "physnet1"}
    made = client.network("admin", segments=[{**vlan, "provider:segmentation_id": 0}])
    assert made["provider:segmentation_id"] > 0
    for user in ("admin", "demo"):
        body = {"network": {"segments": [{**vlan, "provider:segmentation_id": "x"}]}}
        assert refusal(client, "POST", "/v2.0/networks", body, user) == (400, "InvalidInput")
    body = {"network": {**vlan, "provider:segmentation_id": 0}}
    assert refusal(client, "POST", "/v2.0/networks", body) == (400, "InvalidInput")


@pytest.mark.parametrize(
    ("collection", "told"),
    [("subnetpools", "BadRequest"), ("address-scopes", "BadRequest"), ("networks", "HTTPBadRequest")],
)
def test_nothing_is_sorted_by_who_shares_it(client: Client, collection: str, told: str) -> None:
    assert refusal(client, "GET", f"/v2.0/{collection}?sort_key=shared&sort_dir=asc") == (400, told)


def test_a_port_of_the_cloud_keeps_its_mac_address(client: Client) -> None:
    port = client.port(client.network()["id"], "admin")
    moved = {"mac_address": "fa:16:3e:00:00:01"}
    for changed in ({**moved, "device_owner": "network:floatingip"}, {**moved, "device_owner": "network:dhcp"}):
        told = refusal(client, "PUT", f"/v2.0/ports/{port['id']}", {"port": changed})
        assert told == (409, "UnsupportedPortDeviceOwner")
    same = {"mac_address": port["mac_address"], "device_owner": "network:floatingip"}
    assert client.put(f"/v2.0/ports/{port['id']}", {"port": same})["port"]["mac_address"] == port["mac_address"]
    assert refusal(client, "PUT", f"/v2.0/ports/{port['id']}", {"port": moved}) == (409, "UnsupportedPortDeviceOwner")

"""Rules of security groups as Neutron takes them: what is the same, what contradicts itself, whose groups are meant."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.api_network.harness import ADMIN, OTHER, ZERO, Answer, Client


def group(client: Client, user: str = "demo", **values: Any) -> str:
    body = {"security_group": {"name": "g", **values}}
    return str(client.post("/v2.0/security-groups", body, user)["security_group"]["id"])


def rule(client: Client, group_id: str, user: str = "demo", **values: Any) -> Answer:
    body = {"security_group_id": group_id, "direction": "ingress", **values}
    return client.call("POST", "/v2.0/security-group-rules", {"security_group_rule": body}, user)


def test_a_port_has_groups_with_states_or_without_but_not_both(client: Client) -> None:
    tracked, stateless, other = group(client), group(client, stateful=False), group(client, stateful=False)
    network = client.network()
    body = {"port": {"network_id": network["id"], "security_groups": [tracked, stateless]}}
    refused = client.call("POST", "/v2.0/ports", body, "demo")
    assert (refused.status, refused.error["type"]) == (409, "SecurityGroupConflict")
    port = client.port(network["id"], security_groups=[stateless, other])
    path = f"/v2.0/ports/{port['id']}"
    refused = client.call("PUT", path, {"port": {"security_groups": [stateless, tracked]}}, "demo")
    assert (refused.status, refused.error["type"]) == (409, "SecurityGroupConflict")
    client.put(path, {"port": {"security_groups": [tracked]}}, "demo")


@pytest.mark.parametrize("name", ("41", "43", "44", "58", "59", "60", "ipv6-encap", "ipv6-frag", "ipv6-icmp", "icmpv6",
                                  "ipv6-nonxt", "ipv6-opts", "ipv6-route", "IPv6-ICMP"))  # fmt: skip
def test_a_protocol_of_ipv6_is_none_of_ipv4(client: Client, name: str) -> None:
    own = group(client)
    refused = rule(client, own, protocol=name)
    assert (refused.status, refused.error["type"]) == (400, "SecurityGroupEthertypeConflictWithProtocol")
    assert rule(client, own, protocol=name, ethertype="IPv6").status == 201


@pytest.mark.parametrize(
    ("given", "kept"), (("icmp", "ipv6-icmp"), ("icmpv6", "ipv6-icmp"), ("1", "58"), (1, "58"), ("TCP", "tcp"))
)
def test_icmp_of_ipv6_has_its_own_name(client: Client, given: Any, kept: str) -> None:
    made = rule(client, group(client), protocol=given, ethertype="ipv6")
    assert made.body["security_group_rule"]["protocol"] == kept


@pytest.mark.parametrize(
    ("first", "second", "same"),
    (
        ({"protocol": "tcp"}, {"protocol": "6"}, True),
        ({"protocol": "tcp"}, {"protocol": "tcp", "port_range_min": 1, "port_range_max": 65535}, True),
        ({"protocol": "any"}, {}, True),
        ({}, {"remote_ip_prefix": "0.0.0.0/0"}, True),
        ({"remote_ip_prefix": "10.0.0.1"}, {"remote_ip_prefix": "10.0.0.1/32"}, True),
        ({"remote_ip_prefix": "10.0.0.1/24"}, {"remote_ip_prefix": "10.0.0.0/24"}, False),
        ({"ethertype": "IPv6"}, {"ethertype": "IPv6", "remote_ip_prefix": "::/0"}, True),
        ({"ethertype": "IPv6", "protocol": "icmp"}, {"ethertype": "IPv6", "protocol": "58"}, True),
        ({}, {"direction": "egress", "protocol": "tcp"}, False),
        ({}, {"description": "another"}, True),
    ),
)
def test_what_says_the_same_is_the_same_rule(
    client: Client, first: dict[str, Any], second: dict[str, Any], same: bool
) -> None:
    own = group(client)
    made = rule(client, own, **first).body["security_group_rule"]["id"]
    again = rule(client, own, **second)
    assert again.status == (409 if same else 201), again.raw
    if same:
        assert again.error["type"] == "SecurityGroupRuleExists"
        assert made in again.error["message"]


@pytest.mark.parametrize(
    ("values", "status", "type"),
    (
        ({"protocol": "tcp", "port_range_min": 0, "port_range_max": 5}, 400, "SecurityGroupInvalidPortValue"),
        ({"protocol": "icmp", "port_range_min": 70000}, 400, "SecurityGroupInvalidPortValue"),
        ({"protocol": "icmp", "port_range_min": 300}, 400, "SecurityGroupInvalidIcmpValue"),
        ({"protocol": "-1"}, 400, "SecurityGroupRuleInvalidProtocol"),
        ({"remote_group_id": ZERO}, 404, "SecurityGroupNotFound"),
        ({"remote_group_id": "web"}, 404, "SecurityGroupNotFound"),
        ({"security_group_id": "web"}, 404, "SecurityGroupNotFound"),
    ),
)
def test_what_is_wrong_with_a_rule_has_neutrons_name(
    client: Client, values: dict[str, Any], status: int, type: str
) -> None:
    refused = (
        rule(client, **{"group_id": group(client), **values})
        if "security_group_id" not in values
        else client.call(
            "POST", "/v2.0/security-group-rules", {"security_group_rule": {"direction": "ingress", **values}}, "demo"
        )
    )
    assert (refused.status, refused.error["type"]) == (status, type)


def test_a_rule_names_a_group_that_is_shared_and_keeps_it_shared(client: Client) -> None:
    shared = group(client)
    own = group(client, "other")
    assert rule(client, own, "other", remote_group_id=shared).status == 404
    policy = {
        "object_type": "security_group",
        "object_id": shared,
        "target_tenant": OTHER,
        "action": "access_as_shared",
    }
    made = client.post("/v2.0/rbac-policies", {"rbac_policy": policy}, "demo")["rbac_policy"]["id"]
    named = rule(client, own, "other", remote_group_id=shared)
    assert named.status == 201
    refused = client.call("DELETE", f"/v2.0/rbac-policies/{made}", user="demo")
    assert (refused.status, refused.error["type"]) == (409, "RbacPolicyInUse")
    assert rule(client, shared, "other").status == 403, "it is used, not owned"
    client.delete(f"/v2.0/security-group-rules/{named.body['security_group_rule']['id']}", "other")
    client.delete(f"/v2.0/rbac-policies/{made}", "demo")


@pytest.mark.parametrize("collection", ("security-groups", "security-group-rules"))
def test_a_list_of_a_projects_groups_has_its_default_group(client: Client, collection: str) -> None:
    name = collection.replace("-", "_")
    for filtered in ("project_id", "tenant_id"):
        project = f"{filtered[0]}{'0' * 31}"
        assert client.get(f"/v2.0/{collection}?{filtered}={project}", "demo")[name] == []
        groups = client.get(f"/v2.0/security-groups?project_id={project}&name=none", "demo")["security_groups"]
        assert groups == []
        found = client.get(f"/v2.0/{collection}?{filtered}={project}")[name]
        assert {item["project_id"] for item in found} == {project}
        assert len(found) == (1 if collection == "security-groups" else 4)
    assert len(client.get(f"/v2.0/{collection}?project_id={ADMIN}")[name]) == len(found)

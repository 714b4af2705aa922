"""What Neutron's own tests of its API found to differ, and was mended (`tests/tempest`, `--plugin`)."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.api_network.harness import ADMIN, DEMO, OTHER, ZERO, Client

EVERYBODY = "*"
BODIES: dict[str, tuple[str, dict[str, Any]]] = {
    "address_group": ("address-groups", {"name": "g"}),
    "address_scope": ("address-scopes", {"name": "s", "ip_version": 4}),
    "subnetpool": ("subnetpools", {"name": "p", "prefixes": ["10.0.0.0/8"]}),
    "security_group": ("security-groups", {"name": "g"}),
    "network": ("networks", {"name": "n"}),
    "policy": ("qos/policies", {"name": "q"}),
}
"""Kinds that may be shared, by their names in bodies: where they are, and one of them."""


def made(client: Client, kind: str, **values: Any) -> str:
    path, body = BODIES[kind]
    found: str = client.post(f"/v2.0/{path}", {kind: {**body, **values}})[kind]["id"]
    return found


def share(client: Client, kind: str, id: str, target: str) -> str:
    policy = {
        "object_type": "qos_policy" if kind == "policy" else kind,
        "object_id": id,
        "action": "access_as_shared",
        "target_tenant": target,
    }
    found: str = client.post("/v2.0/rbac-policies", {"rbac_policy": policy})["rbac_policy"]["id"]
    return found


def refusal(client: Client, method: str, path: str, body: Any = None, user: str = "demo") -> tuple[int, str]:
    answer = client.call(method, path, body, user)
    return answer.status, answer.error["type"]


@pytest.mark.parametrize(
    "path",
    [
        "security-groups",
        "floatingip_pools",
        "qos/rule-types",
        "metering/metering-labels",
        "service_profiles",
        "network-ip-availabilities",
        "default-security-group-rules",
    ],
)
def test_a_collection_is_found_with_dashes_and_with_underscores(client: Client, path: str) -> None:
    found = client.get(f"/v2.0/{path}")
    assert client.get(f"/v2.0/{path.replace('-', '_')}") == found
    assert client.get(f"/v2.0/{path.replace('_', '-')}") == found


def test_what_is_in_a_collection_is_found_so_too_and_actions_are_not(client: Client) -> None:
    group = made(client, "security_group")
    client.put(f"/v2.0/security_groups/{group}", {"security_group": {"name": "other"}})
    client.call("PUT", f"/v2.0/security_groups/{group}/tags/red")
    found = client.get(f"/v2.0/security-groups/{group}")["security_group"]
    assert (found["name"], found["tags"]) == ("other", ["red"])
    router = client.post("/v2.0/routers", {"router": {"name": "r"}})["router"]["id"]
    assert client.get(f"/v2.0/routers/{router}/conntrack-helpers") == {"conntrack_helpers": []}
    assert refusal(client, "PUT", f"/v2.0/routers/{router}/add-router-interface", {}) == (404, "HTTPNotFound")


def test_a_subnet_is_kept_for_owners_of_ones_own(client: Client) -> None:
    network = client.network()["id"]
    body = {"network_id": network, "ip_version": 4, "cidr": "10.1.0.0/24", "service_types": ["test:one"]}
    subnet = client.post("/v2.0/subnets", {"subnet": body}, "demo")["subnet"]
    client.subnet(network, "10.2.0.0/24", service_types=["compute:"])
    port = {"network_id": network, "device_owner": "test:one"}
    (address,) = client.post("/v2.0/ports", {"port": port}, "demo")["port"]["fixed_ips"]
    assert address["subnet_id"] == subnet["id"]
    body = {**body, "cidr": "10.3.0.0/24", "service_types": ["nothing"]}
    assert refusal(client, "POST", "/v2.0/subnets", {"subnet": body}) == (400, "InvalidSubnetServiceType")


@pytest.mark.parametrize("kind", BODIES)
def test_what_is_shared_with_a_project_it_does_not_share_further(client: Client, kind: str) -> None:
    id = made(client, kind)
    share(client, kind, id, DEMO)
    object_type = "qos_policy" if kind == "policy" else kind
    policy = {"object_type": object_type, "object_id": id, "action": "access_as_shared", "target_tenant": OTHER}
    body = {"rbac_policy": policy}
    assert refusal(client, "POST", "/v2.0/rbac-policies", body) == (400, "InvalidInput")
    assert refusal(client, "POST", "/v2.0/rbac-policies", body, "other") == (404, "RbacPolicyNotFound")


@pytest.mark.parametrize("kind", BODIES)
@pytest.mark.parametrize("target", [DEMO, EVERYBODY])
def test_who_is_shared_an_object_does_not_change_it(client: Client, kind: str, target: str) -> None:
    id = made(client, kind)
    share(client, kind, id, target)
    path = f"/v2.0/{BODIES[kind][0]}/{id}"
    is_hidden = kind in ("address_group", "policy")
    changed = refusal(client, "PUT", path, {kind: {"name": "mine"}})
    assert changed == ((404, "HTTPNotFound") if is_hidden else (403, "PolicyNotAuthorized"))
    assert refusal(client, "DELETE", path) == (403, "PolicyNotAuthorized")
    assert client.get(path)[kind]["name"] == BODIES[kind][1]["name"]


@pytest.mark.parametrize("kind", ["network", "port"])
def test_a_policy_of_another_project_is_not_taken_away(client: Client, kind: str) -> None:
    network = client.network()["id"]
    port = client.post("/v2.0/ports", {"port": {"network_id": network}}, "demo")["port"]["id"]
    path = f"/v2.0/networks/{network}" if kind == "network" else f"/v2.0/ports/{port}"
    policy = made(client, "policy")
    client.put(path, {kind: {"qos_policy_id": policy}})
    for wanted in (None, policy):
        refused = refusal(client, "PUT", path, {kind: {"qos_policy_id": wanted}})
        assert refused == (403, "PolicyRemoveAuthorizationError")
    assert client.put(path, {kind: {"name": "other"}}, "demo")[kind]["qos_policy_id"] == policy
    share(client, "policy", policy, DEMO)
    assert client.put(path, {kind: {"qos_policy_id": None}}, "demo")[kind]["qos_policy_id"] is None


def test_a_policy_in_use_is_not_hidden_from_who_uses_it(client: Client) -> None:
    policy = made(client, "policy", shared=True)
    path = f"/v2.0/qos/policies/{policy}"
    network = client.network("admin", qos_policy_id=policy)["id"]  # its owner's, which counts too
    assert refusal(client, "PUT", path, {"policy": {"shared": False}}, "admin") == (409, "RbacPolicyInUse")
    (shared,) = client.get(f"/v2.0/rbac-policies?object_id={policy}")["rbac_policies"]
    assert refusal(client, "DELETE", f"/v2.0/rbac-policies/{shared['id']}", None, "admin") == (409, "RbacPolicyInUse")
    client.delete(f"/v2.0/networks/{network}")
    assert client.put(path, {"policy": {"shared": False}})["policy"]["shared"] is False


def test_a_network_is_hidden_while_its_owner_alone_uses_it(client: Client) -> None:
    network = client.network("admin", shared=True)["id"]
    client.post("/v2.0/ports", {"port": {"network_id": network}})
    changed = client.put(f"/v2.0/networks/{network}", {"network": {"shared": False}})
    assert changed["network"]["shared"] is False


@pytest.mark.parametrize("kind", BODIES)
def test_a_marker_that_is_not_there_begins_anew(client: Client, kind: str) -> None:
    made(client, kind)
    path = f"/v2.0/{BODIES[kind][0]}"
    first = client.call("GET", f"{path}?limit=1&marker={ZERO}")
    if kind == "network":
        assert (first.status, first.error["type"]) == (404, "NetworkNotFound")
    else:
        collection = BODIES[kind][0].rpartition("/")[2].replace("-", "_")
        assert first.body[collection] == client.get(f"{path}?limit=1")[collection]


def test_a_floating_ip_comes_from_a_network_that_its_project_sees(client: Client) -> None:
    hidden = client.network("admin")["id"]
    body = {"floatingip": {"floating_network_id": hidden}}
    assert refusal(client, "POST", "/v2.0/floatingips", body) == (404, "NetworkNotFound")
    own = {"floatingip": {"floating_network_id": client.network()["id"]}}
    assert refusal(client, "POST", "/v2.0/floatingips", own) == (400, "BadRequest")


def test_a_floating_ip_does_not_lead_to_the_port_of_another_project(client: Client) -> None:
    (public,) = client.get("/v2.0/networks?name=public")["networks"]
    body = {"floatingip": {"floating_network_id": public["id"]}}
    floating = client.post("/v2.0/floatingips", body, "demo")["floatingip"]["id"]
    network = client.network()["id"]
    client.subnet(network, "10.4.0.0/24")
    guest = client.post("/v2.0/ports", {"port": {"network_id": network, "project_id": OTHER}})["port"]["id"]
    elsewhere = client.network("other")["id"]
    unseen = client.post("/v2.0/ports", {"port": {"network_id": elsewhere}}, "other")["port"]["id"]
    path = f"/v2.0/floatingips/{floating}"
    assert refusal(client, "PUT", path, {"floatingip": {"port_id": guest}}) == (400, "BadRequest")
    assert refusal(client, "PUT", path, {"floatingip": {"port_id": unseen}}) == (404, "PortNotFound")


def test_flavors_are_of_any_service_that_is_here(client: Client) -> None:
    for service in ("FLAVORS", "METERING", "L3_ROUTER_NAT"):
        body = {"flavor": {"name": "f", "service_type": service}}
        assert client.post("/v2.0/flavors", body)["flavor"]["service_type"] == service
    body = {"flavor": {"name": "f", "service_type": "VPN"}}
    assert refusal(client, "POST", "/v2.0/flavors", body, "admin") == (400, "InvalidServiceType")


def test_the_first_templates_of_rules_say_what_they_are(client: Client) -> None:
    found = client.get("/v2.0/default-security-group-rules")["default_security_group_rules"]
    said = {(each["direction"], each["description"]) for each in found}
    assert said == {(way, f"Legacy default SG rule for {way} traffic") for way in ("egress", "ingress")}
    group = client.get(f"/v2.0/security-groups?project_id={ADMIN}")["security_groups"][0]
    assert {rule["description"] for rule in group["security_group_rules"]} == {""}

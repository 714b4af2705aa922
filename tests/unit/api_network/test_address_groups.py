"""Address groups, as Neutron 29 answered the same requests."""

from __future__ import annotations

from typing import Any

import pytest

from deuteron.model.network import MAX_GROUP_ADDRESSES
from tests.unit.api_network.harness import DEMO, OTHER, ZERO, Answer, Client

GROUPS = "/v2.0/address-groups"


def group(client: Client, *addresses: Any, user: str = "demo") -> dict[str, Any]:
    body = {"address_group": {"name": "a", "addresses": list(addresses)}}
    made: dict[str, Any] = client.post(GROUPS, body, user)["address_group"]
    return made


def change(client: Client, id: str, verb: str, addresses: Any, user: str = "demo") -> Answer:
    return client.call("PUT", f"{GROUPS}/{id}/{verb}_addresses", {"addresses": addresses}, user)


def security_group(client: Client) -> str:
    return str(client.post("/v2.0/security-groups", {"security_group": {"name": "g"}}, "demo")["security_group"]["id"])


def rule(client: Client, group_id: str, **values: Any) -> Answer:
    wanted = {"security_group_id": group_id, "direction": "ingress", **values}
    return client.call("POST", "/v2.0/security-group-rules", {"security_group_rule": wanted}, "demo")


def said(answer: Answer) -> tuple[int, str]:
    return answer.status, answer.error["type"]


def test_addresses_come_and_go_in_one_way_of_writing_them(client: Client) -> None:
    made = group(client, "10.0.0.5/24", "FD00::1/64", "10.0.0.9/24")
    assert made.items() >= {
        "name": "a", "project_id": DEMO, "tenant_id": DEMO, "description": "", "revision_number": 1,
        "addresses": ["10.0.0.0/24", "fd00::/64"],
    }.items()  # fmt: skip
    assert "shared" not in made and "tags" not in made
    id = made["id"]
    added = change(client, id, "add", ["10.0.0.1", "10.3.0.0/24", "10.3.0.7/24"])
    assert added.body["address_group"]["addresses"] == ["10.0.0.0/24", "fd00::/64", "10.0.0.1/32", "10.3.0.0/24"]
    left = change(client, id, "remove", ["10.0.0.77/24", "10.0.0.1/32"]).body["address_group"]
    assert left["addresses"] == ["fd00::/64", "10.3.0.0/24"]
    assert left["revision_number"] == 3
    assert change(client, id, "add", []).body["address_group"] == left, "nothing was said"
    assert client.get(f"{GROUPS}/{id}", "reader")["address_group"] == left
    changed = client.put(f"{GROUPS}/{id}", {"address_group": {"name": "b", "description": "d"}}, "demo")
    assert changed["address_group"]["name"] == "b"
    assert client.post(GROUPS, {"address_group": {"addresses": None}})["address_group"]["revision_number"] == 0
    client.delete(f"{GROUPS}/{id}", "demo")
    assert said(client.call("GET", f"{GROUPS}/{id}")) == (404, "AddressGroupNotFound")


@pytest.mark.parametrize(
    ("verb", "addresses", "refusal"),
    [
        ("add", ["10.9.0.0/24", "10.0.0.0/24"], (400, "AddressesAlreadyExist")),
        ("remove", ["10.0.0.0/24", "10.9.0.0/24"], (404, "AddressesNotFound")),
        ("add", ["10.9.0.0/24", "x"], (400, "AddrFormatError")),
        ("remove", ["10.0.0.0/24", 5], (400, "AddrFormatError")),
        ("add", None, (400, "HTTPBadRequest")),
        ("add", "10.0.0.0/8", (400, "HTTPBadRequest")),
    ],
)
def test_a_change_is_made_whole_or_not_at_all(
    client: Client, verb: str, addresses: Any, refusal: tuple[int, str]
) -> None:
    made = group(client, "10.0.0.0/24")
    assert said(change(client, made["id"], verb, addresses)) == refusal
    assert client.get(f"{GROUPS}/{made['id']}")["address_group"] == made


def test_a_body_says_addresses_and_nothing_else(client: Client) -> None:
    path = f"{GROUPS}/{group(client)['id']}"
    for body in ({}, {"address_group": {"addresses": []}}, {"addresses": ["10.0.0.0/8"], "more": 1}):
        assert said(client.call("PUT", f"{path}/add_addresses", body)) == (400, "HTTPBadRequest"), body
    for body in ({"addresses": ["10.0.0.0/8"]}, {"shared": True}):
        assert said(client.call("PUT", path, {"address_group": body})) == (400, "HTTPBadRequest"), body


@pytest.mark.parametrize(
    "addresses", [["10.0.0.1"], ["x"], "10.0.0.0/8", ["10.0.0.0/255.0.0.0"], ["10.0.0.0/33"], [5], ["10.0.0.0/8"] * 2]
)
def test_a_new_group_takes_prefixes_alone(client: Client, addresses: Any) -> None:
    answer = client.call("POST", GROUPS, {"address_group": {"addresses": addresses}})
    assert said(answer) == (400, "HTTPBadRequest")
    assert answer.error["message"].startswith("Invalid input for addresses. Reason: ")


def test_a_group_holds_so_many_addresses_and_no_more(client: Client) -> None:
    many = [f"10.{number // 250}.{number % 250}.0/24" for number in range(MAX_GROUP_ADDRESSES)]
    made = group(client, *many)["id"]
    refused = change(client, made, "add", ["192.0.2.0/24"])
    assert said(refused) == (400, "HTTPBadRequest") and str(MAX_GROUP_ADDRESSES) in refused.error["message"]
    assert change(client, made, "remove", many).body["address_group"]["addresses"] == []


def test_groups_are_found_and_sorted_by_what_neutron_takes(client: Client) -> None:
    made = group(client, "10.0.0.0/8")["id"]
    for query in ("name=a", f"project_id={DEMO}", "description=", "revision_number=1", "sort_key=name&sort_dir=asc"):
        assert client.get(f"{GROUPS}?fields=id&{query}", "demo")["address_groups"] == [{"id": made}], query
    for query in ("addresses=10.0.0.0/8", "shared=true", "tags=x", "sort_key=addresses&sort_dir=asc", "colour=red"):
        assert said(client.call("GET", f"{GROUPS}?{query}")) == (400, "HTTPBadRequest"), query
    both = client.post(GROUPS, {"address_groups": [{"name": "x"}, {"name": "y", "addresses": ["fd00::/8"]}]}, "demo")
    assert [each["addresses"] for each in both["address_groups"]] == [[], ["fd00::/8"]]


def test_a_rule_names_a_group_that_its_project_may_use_and_keeps_it(client: Client) -> None:
    made, within = group(client, "10.0.0.0/8")["id"], security_group(client)
    for wrong in (ZERO, "web"):
        assert said(rule(client, within, remote_address_group_id=wrong)) == (404, "AddressGroupNotFound")
    both = rule(client, within, remote_address_group_id=made, remote_ip_prefix="10.0.0.0/8")
    assert said(both) == (400, "SecurityGroupMultipleRemoteEntites")
    first = rule(client, within, remote_address_group_id=made).body["security_group_rule"]
    assert (first["remote_address_group_id"], first["remote_group_id"]) == (made, None)
    assert said(rule(client, within, remote_address_group_id=made)) == (409, "SecurityGroupRuleExists")
    other = group(client, "10.0.0.0/8")["id"]
    assert rule(client, within, remote_address_group_id=other).status == 201, "another group, another rule"
    found = client.get(f"/v2.0/security-group-rules?remote_address_group_id={made}&fields=id")
    assert found["security_group_rules"] == [{"id": first["id"]}]
    assert said(client.call("DELETE", f"{GROUPS}/{made}", user="demo")) == (409, "AddressGroupInUse")
    client.delete(f"/v2.0/security-group-rules/{first['id']}", "demo")
    client.delete(f"{GROUPS}/{made}", "demo")


def test_a_group_is_used_by_the_projects_it_is_shared_with_and_changed_by_its_own(client: Client) -> None:
    made, within = group(client, user="other")["id"], security_group(client)
    assert said(rule(client, within, remote_address_group_id=made)) == (404, "AddressGroupNotFound")
    assert said(change(client, made, "add", ["10.0.0.0/8"])) == (404, "AddressGroupNotFound")
    shared = {"object_type": "address_group", "object_id": made, "target_tenant": DEMO, "action": "access_as_shared"}
    policy = client.post("/v2.0/rbac-policies", {"rbac_policy": shared}, "other")["rbac_policy"]["id"]
    used = rule(client, within, remote_address_group_id=made).body["security_group_rule"]["id"]
    assert said(change(client, made, "add", ["10.0.0.0/8"])) == (403, "PolicyNotAuthorized")
    assert change(client, made, "add", ["10.0.0.0/8"], "reader").status == 403
    assert client.call("PUT", f"{GROUPS}/{made}", {"address_group": {"name": "z"}}, "demo").status == 404
    assert client.call("DELETE", f"{GROUPS}/{made}", user="demo").status == 403
    assert said(client.call("DELETE", f"/v2.0/rbac-policies/{policy}", user="other")) == (409, "RbacPolicyInUse")
    client.delete(f"/v2.0/security-group-rules/{used}", "demo")
    client.delete(f"/v2.0/rbac-policies/{policy}", "other")
    assert client.call("GET", f"{GROUPS}/{made}", user="demo").status == 404
    everybody = client.post("/v2.0/rbac-policies", {"rbac_policy": {**shared, "target_tenant": "*"}}, "admin")
    assert client.get(f"{GROUPS}/{made}", "demo")["address_group"]["project_id"] == OTHER
    client.delete(f"/v2.0/rbac-policies/{everybody['rbac_policy']['id']}")


def test_a_project_has_at_most_as_many_groups_as_rules_that_could_name_them(client: Client) -> None:
    client.put(f"/v2.0/quotas/{DEMO}", {"quota": {"security_group_rule": 1}})
    group(client)
    refused = client.call("POST", GROUPS, {"address_group": {"name": "b"}}, "demo")
    assert said(refused) == (409, "OverQuota")

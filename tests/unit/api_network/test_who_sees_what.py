"""Projects do not see, count, change or guess each other's objects."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest

from tests.unit.api_network.harness import DEMO, OTHER, ZERO, Client, caller

COLLECTIONS = (
    "networks", "subnets", "ports", "routers", "floatingips", "security-groups", "security-group-rules", "subnetpools",
    "address-scopes", "rbac-policies",
)  # fmt: skip


@pytest.fixture
def built(client: Client) -> dict[str, str]:
    """One object of each kind that belongs to demo."""
    network = client.network()
    subnet = client.subnet(network["id"], "10.0.0.0/24")
    port = client.port(network["id"])
    (public,) = client.get("/v2.0/networks?name=public")["networks"]
    made: dict[str, Any] = {"networks": network, "subnets": subnet, "ports": port}
    for collection, name, body in (
        ("routers", "router", {"name": "r"}),
        ("floatingips", "floatingip", {"floating_network_id": public["id"]}),
        ("security-groups", "security_group", {"name": "g"}),
        ("subnetpools", "subnetpool", {"name": "p", "prefixes": ["10.9.0.0/16"], "min_prefixlen": 24}),
        ("address-scopes", "address_scope", {"name": "s", "ip_version": 4}),
    ):
        made[collection] = client.post(f"/v2.0/{collection}", {name: body}, "demo")[name]
    made["security-group-rules"] = made["security-groups"]["security_group_rules"][0]
    policy = {
        "object_type": "security_group",
        "object_id": made["security-groups"]["id"],
        "target_tenant": "f" * 32,
        "action": "access_as_shared",
    }
    made["rbac-policies"] = client.post("/v2.0/rbac-policies", {"rbac_policy": policy}, "demo")["rbac_policy"]
    return {collection: item["id"] for collection, item in made.items()}


@pytest.mark.parametrize("collection", COLLECTIONS)
def test_another_project_finds_nothing(client: Client, built: dict[str, str], collection: str) -> None:
    id = built[collection]
    name = collection.replace("-", "_")
    single = {"rbac_policies": "rbac_policy"}.get(name, name[:-1])
    listed = client.get(f"/v2.0/{collection}", "other")[name]
    assert id not in [item["id"] for item in listed]
    assert client.get(f"/v2.0/{collection}?id={id}", "other")[name] == []
    assert client.get(f"/v2.0/{collection}?project_id={DEMO}", "other")[name] == []
    assert client.call("GET", f"/v2.0/{collection}/{id}", user="other").status == 404
    assert client.call("DELETE", f"/v2.0/{collection}/{id}", user="other").status == 404
    if single not in ("security_group_rule",):
        change = {"target_tenant": "e" * 32} if single == "rbac_policy" else {"description": "mine"}
        if single == "address_scope":
            change = {"name": "mine"}
        assert client.call("PUT", f"/v2.0/{collection}/{id}", {single: change}, "other").status == 404
    behind = client.call("GET", f"/v2.0/{collection}?marker={id}&limit=1", user="other")
    nowhere = client.call("GET", f"/v2.0/{collection}?marker={ZERO}&limit=1", user="other")
    assert (behind.status, behind.status == 200 and behind.body[name]) == (
        nowhere.status,
        nowhere.status == 200 and nowhere.body[name],
    )
    assert client.call("GET", f"/v2.0/{collection}/{id}", user="demo").status == 200


@pytest.mark.parametrize("collection", COLLECTIONS)
def test_a_reader_reads_and_changes_nothing(client: Client, built: dict[str, str], collection: str) -> None:
    id = built[collection]
    assert client.call("GET", f"/v2.0/{collection}/{id}", user="reader").status == 200
    assert client.call("DELETE", f"/v2.0/{collection}/{id}", user="reader").status == 403


def test_what_only_admins_see_can_neither_be_read_nor_asked_for(client: Client) -> None:
    client.network()
    (mine,) = client.get("/v2.0/networks?name=net", "demo")["networks"]
    assert not [name for name in mine if name.startswith("provider:")]
    assert client.get("/v2.0/networks?provider:segmentation_id=1", "demo")["networks"] == []
    assert len(client.get("/v2.0/networks?provider:segmentation_id=1")["networks"]) == 1
    assert (
        client.call("GET", "/v2.0/networks?sort_key=provider:segmentation_id&sort_dir=asc", user="demo").status == 400
    )


def test_an_external_network_is_seen_with_its_subnets_and_joined_through_a_router_alone(client: Client) -> None:
    (public,) = client.get("/v2.0/networks?router:external=true", "demo")["networks"]
    for user in ("demo", "reader", "other"):
        (subnet,) = client.get("/v2.0/subnets", user)["subnets"]
        assert (subnet["network_id"], subnet["router:external"]) == (public["id"], True)
        assert client.get(f"/v2.0/subnets/{subnet['id']}", user)["subnet"] == subnet
    refused = client.call("POST", "/v2.0/ports", {"port": {"network_id": public["id"]}}, "demo")
    assert (refused.status, refused.error["message"]) == (403, "rule:create_port is disallowed by policy")
    path = f"/v2.0/subnets/{subnet['id']}"
    assert client.call("PUT", path, {"subnet": {"name": "mine"}}, "demo").status == 403
    assert client.call("DELETE", path, user="demo").status == 403
    router = client.post("/v2.0/routers", {"router": {"name": "r"}}, "demo")["router"]["id"]
    joined = client.call("PUT", f"/v2.0/routers/{router}/add_router_interface", {"subnet_id": subnet["id"]}, "demo")
    assert (joined.status, joined.error["type"]) == (400, "BadRequest")
    client.put(f"/v2.0/networks/{public['id']}", {"network": {"router:external": False}})
    assert client.get("/v2.0/subnets", "demo")["subnets"] == []


def test_shared_filters_by_what_another_project_shares_with_the_caller(client: Client) -> None:
    """As Neutron 29 answers: what everybody has, and what the caller's project has been given, but not what it gave."""
    everybodys = client.network("admin", name="everybodys", shared=True)
    given = client.network("other", name="given")
    own = client.network("demo", name="own")
    for number, (network, user) in enumerate(((everybodys, "admin"), (given, "other"), (own, "demo"))):
        client.subnet(network["id"], f"10.{number}.0.0/24", user, name=network["name"])
    policy = {"object_type": "network", "object_id": given["id"], "target_tenant": DEMO, "action": "access_as_shared"}
    client.post("/v2.0/rbac-policies", {"rbac_policy": policy}, "other")
    public = "public"
    for user, shared, others in (
        ("demo", {"everybodys", "given"}, {"own", public}),
        ("other", {"everybodys"}, {"given", public}),
        ("admin", {"everybodys"}, {"given", "own", public}),
    ):
        for collection, at_most in (("networks", shared | others), ("subnets", (shared | others))):
            for value, names in (("True", shared), ("false", others), ("true&shared=false", shared)):
                found = client.get(f"/v2.0/{collection}?shared={value}", user)[collection]
                expected = {name for name in names & at_most if collection == "networks" or name != public}
                named = {each["name"] for each in found} - {"public-subnet"}
                assert named == expected, (user, collection, value)
    odd = client.call("GET", "/v2.0/subnets?shared=perhaps", user="demo")
    assert (odd.status, odd.error["type"]) == (400, "InvalidInput")


def test_a_project_uses_a_network_that_is_shared_with_it_alone(client: Client) -> None:
    network = client.network("other")
    subnet = client.subnet(network["id"], "10.0.0.0/24", "other")
    policy = {"object_type": "network", "object_id": network["id"], "target_tenant": DEMO, "action": "access_as_shared"}
    assert client.call("POST", "/v2.0/ports", {"port": {"network_id": network["id"]}}, "demo").status == 404
    client.post("/v2.0/rbac-policies", {"rbac_policy": policy}, "other")
    port = client.port(network["id"], fixed_ips=[{"subnet_id": subnet["id"]}])
    assert port["fixed_ips"][0]["subnet_id"] == subnet["id"]
    assert client.call("POST", "/v2.0/ports", {"port": {"network_id": network["id"]}}, "reader").status == 403


def test_a_shared_network_is_used_by_all_and_changed_by_its_owner(client: Client) -> None:
    network = client.network("admin", shared=True)
    subnet = client.subnet(network["id"], "10.0.0.0/24", "admin")
    assert client.get(f"/v2.0/subnets/{subnet['id']}", "demo")["subnet"]["cidr"] == "10.0.0.0/24"
    port = client.port(network["id"])
    assert port["fixed_ips"][0]["ip_address"] == "10.0.0.2"
    assert client.call("PUT", f"/v2.0/networks/{network['id']}", {"network": {"name": "x"}}, "demo").status == 403
    wanted = {"subnet": {"network_id": network["id"], "cidr": "10.1.0.0/24", "ip_version": 4}}
    assert client.call("POST", "/v2.0/subnets", wanted, "demo").status == 403
    forged = {"port": {"network_id": network["id"], "mac_address": "fa:16:3e:00:00:01"}}
    assert client.call("POST", "/v2.0/ports", forged, "demo").status == 403
    trusted = {"port": {"network_id": network["id"], "port_security_enabled": False}}
    assert client.call("POST", "/v2.0/ports", trusted, "demo").status == 403
    dhcp = {"port": {"network_id": network["id"], "device_owner": "network:dhcp"}}
    assert client.call("POST", "/v2.0/ports", dhcp, "demo").status == 403
    unshare = client.call("PUT", f"/v2.0/networks/{network['id']}", {"network": {"shared": False}})
    assert (unshare.status, unshare.error["type"]) == (409, "InvalidSharedSetting")


def test_a_network_can_be_shared_with_one_project(client: Client) -> None:
    network = client.network()
    client.subnet(network["id"], "10.0.0.0/24")
    policy = {
        "object_type": "network",
        "object_id": network["id"],
        "target_tenant": OTHER,
        "action": "access_as_shared",
    }
    made = client.post("/v2.0/rbac-policies", {"rbac_policy": policy}, "demo")["rbac_policy"]
    assert client.get(f"/v2.0/networks/{network['id']}", "other")["network"]["shared"] is True
    assert client.get(f"/v2.0/networks/{network['id']}", "demo")["network"]["shared"] is False
    port = client.port(network["id"], "other")
    assert port["fixed_ips"][0]["ip_address"] == "10.0.0.2"
    again = client.call("POST", "/v2.0/rbac-policies", {"rbac_policy": policy}, "demo")
    assert (again.status, again.error["type"]) == (409, "DuplicateRbacPolicy")
    assert client.call("DELETE", f"/v2.0/rbac-policies/{made['id']}", user="demo").error["type"] == "RbacPolicyInUse"
    client.delete(f"/v2.0/ports/{port['id']}", "other")
    client.delete(f"/v2.0/rbac-policies/{made['id']}", "demo")
    assert client.call("GET", f"/v2.0/networks/{network['id']}", user="other").status == 404


def test_an_owner_of_a_network_sees_the_ports_of_others_on_it(client: Client) -> None:
    network = client.network()
    port = client.port(network["id"], "admin")
    assert client.get(f"/v2.0/ports/{port['id']}", "demo")["port"]["id"] == port["id"]
    client.delete(f"/v2.0/ports/{port['id']}", "demo")


def test_what_rules_may_ask_of_a_caller_is_in_the_key_of_what_is_remembered() -> None:
    """An operator's rule may name any of the credentials: two callers that differ there are two callers."""
    one = caller("a" * 32, "member")
    assert {"user_id", "project_id", "roles"} <= {each.name for each in fields(one)}
    for each in fields(one):
        value: Any = frozenset({"admin"}) if each.name == "roles" else ("x",) if each.name == "audit_ids" else "other"
        other = replace(one, **{each.name: value})
        assert (one.credentials() == other.credentials()) == (one.identity == other.identity), each.name

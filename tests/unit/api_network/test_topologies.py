"""Networks that are made for a project that asks for one, as Neutron 29 answered the same requests."""

from __future__ import annotations

from typing import Any

from tests.unit.api_network.harness import ADMIN, DEMO, OTHER, ZERO, Answer, Client

PATH = "/v2.0/auto-allocated-topology"
KINDS = ("networks", "subnets", "routers", "ports")


def pools(client: Client, **values: Any) -> None:
    for name, prefix, length in (("d4", "10.128.0.0/16", 24), ("d6", "fd00:1::/48", 64)):
        body = {"name": name, "prefixes": [prefix], "default_prefixlen": length, "shared": True, "is_default": True}
        client.post("/v2.0/subnetpools", {"subnetpool": {**body, **values}})


def ask(client: Client, project: str = DEMO, query: str = "", user: str = "demo") -> Answer:
    return client.call("GET", f"{PATH}/{project}{query}", user=user)


def made(answer: Answer) -> dict[str, Any]:
    assert answer.status == 200, answer.text
    found: dict[str, Any] = answer.body["auto_allocated_topology"]
    return found


def said(answer: Answer) -> tuple[int, str]:
    return answer.status, answer.error["type"]


def there(client: Client) -> dict[str, list[Any]]:
    return {kind: client.get(f"/v2.0/{kind}")[kind] for kind in KINDS}


def test_a_project_that_asks_gets_a_network_behind_a_router(client: Client) -> None:
    pools(client)
    found = made(ask(client, user="reader"))
    assert found == {"id": found["id"], "project_id": DEMO, "tenant_id": DEMO}
    assert made(ask(client)) == made(ask(client, "None")) == made(ask(client, user="admin")) == found
    (network,) = client.get("/v2.0/networks?name=auto_allocated_network", "demo")["networks"]
    assert (network["id"], network["admin_state_up"], network["shared"]) == (found["id"], True, False)
    subnets = client.get(f"/v2.0/subnets?network_id={network['id']}", "demo")["subnets"]
    assert {(each["name"], each["cidr"]) for each in subnets} == {
        ("auto_allocated_subnet_v4", "10.128.0.0/24"), ("auto_allocated_subnet_v6", "fd00:1::/64"),
    }  # fmt: skip
    (router,) = client.get("/v2.0/routers", "demo")["routers"]
    public = client.get("/v2.0/networks?name=public")["networks"][0]["id"]
    assert (router["name"], router["external_gateway_info"]["network_id"]) == ("auto_allocated_router", public)
    inside = client.get(f"/v2.0/ports?device_id={router['id']}&network_id={network['id']}")["ports"]
    attached = {fixed["subnet_id"] for port in inside for fixed in port["fixed_ips"]}
    assert attached == {each["id"] for each in subnets}
    others = made(ask(client, OTHER, user="other"))
    assert (others["project_id"], others["id"] != found["id"]) == (OTHER, True)
    assert made(ask(client, "None", user="admin"))["project_id"] == ADMIN


def test_a_topology_is_for_its_project_and_for_administrators(client: Client) -> None:
    pools(client)
    for user in ("demo", "reader", "manager"):
        assert said(ask(client, OTHER, user=user)) == (403, "NotAuthorized")
        assert said(client.call("DELETE", f"{PATH}/{OTHER}", user=user)) == (403, "NotAuthorized")
    made(ask(client))
    assert said(client.call("DELETE", f"{PATH}/{DEMO}", user="reader")) == (403, "PolicyNotAuthorized")
    assert made(ask(client, OTHER, user="admin"))["project_id"] == OTHER
    assert len(client.get("/v2.0/networks?name=auto_allocated_network", "other")["networks"]) == 1


def test_a_dry_run_says_whether_it_could_be_made(client: Client) -> None:
    before = there(client)
    assert said(ask(client, query="?fields=dry-run")) == (409, "AutoAllocationFailure")
    refused = ask(client, query="?fields=dry-run").error["message"]
    assert refused == "Deployment error: No default subnetpools defined."
    pools(client)
    for query in ("?fields=dry-run", "?fields=dry-run&fields=id"):
        assert made(ask(client, query=query)) == {"id": "dry-run=pass", "project_id": DEMO}
    for query in ("?fields=id", "?fields=x"):
        unknown = ask(client, query=query)
        assert said(unknown) == (400, "BadRequest")
        assert unknown.error["message"] == "Bad auto_allocate request: Unrecognized field."
    assert there(client) == before


def test_what_the_cloud_lacks_is_told_and_nothing_is_left(client: Client) -> None:
    before = there(client)

    def refused(words: str) -> None:
        failed = ask(client)
        assert said(failed) == (409, "AutoAllocationFailure")
        assert failed.error["message"] == f"Deployment error: {words}."
        assert there(client) == before

    refused("Unable to provide project private network")
    pools(client, shared=False)
    refused("Unable to provide project private network")
    for each in client.get("/v2.0/subnetpools")["subnetpools"]:
        client.delete(f"/v2.0/subnetpools/{each['id']}")
    pools(client)
    client.put(f"/v2.0/quotas/{DEMO}", {"quota": {"router": 0}})
    assert said(ask(client)) == (409, "OverQuota")
    assert there(client) == before
    client.put(f"/v2.0/quotas/{DEMO}", {"quota": {"router": -1}})
    public = client.get("/v2.0/networks?name=public")["networks"][0]["id"]
    client.put(f"/v2.0/networks/{public}", {"network": {"is_default": False}})
    before = there(client)
    refused("No default router:external network")
    client.put(f"/v2.0/networks/{public}", {"network": {"is_default": True}})
    made(ask(client))


def test_a_topology_goes_whole_or_stays_whole(client: Client) -> None:
    pools(client)
    network = made(ask(client))["id"]
    port = client.port(network)["id"]
    kept = there(client)
    assert said(client.call("DELETE", f"{PATH}/{DEMO}", user="demo")) == (409, "NetworkInUse")
    assert there(client) == kept
    client.delete(f"/v2.0/ports/{port}")
    client.delete(f"{PATH}/{DEMO}", "demo")
    left = there(client)
    assert [each["name"] for each in left["networks"]] == ["public"]
    assert left["routers"] == left["ports"] == []
    for project in (DEMO, "None"):
        client.delete(f"{PATH}/{project}", "demo")
    client.delete(f"{PATH}/{ZERO}", "admin")
    assert made(ask(client))["id"] != network


def test_a_topology_is_made_anew_when_its_network_was_deleted_and_goes_without_its_router(client: Client) -> None:
    pools(client)
    first = made(ask(client))["id"]
    (router,) = client.get("/v2.0/routers")["routers"]
    for port in client.get(f"/v2.0/ports?network_id={first}&device_id={router['id']}")["ports"]:
        client.put(f"/v2.0/routers/{router['id']}/remove_router_interface", {"port_id": port["id"]})
    client.delete(f"/v2.0/networks/{first}", "demo")
    second = made(ask(client))["id"]
    assert second != first
    (_, other) = sorted(client.get("/v2.0/routers")["routers"], key=lambda each: each["id"] != router["id"])
    for port in client.get(f"/v2.0/ports?network_id={second}&device_id={other['id']}")["ports"]:
        client.put(f"/v2.0/routers/{other['id']}/remove_router_interface", {"port_id": port["id"]})
    client.delete(f"/v2.0/routers/{other['id']}", "demo")
    client.delete(f"{PATH}/{DEMO}", "demo")
    assert client.call("GET", f"/v2.0/networks/{second}").status == 404


def test_what_is_not_there_and_could_not_be_made_is_not_deleted(client: Client) -> None:
    assert said(client.call("DELETE", f"{PATH}/{DEMO}", user="demo")) == (409, "AutoAllocationFailure")
    assert said(client.call("DELETE", f"{PATH}/{DEMO}", user="reader")) == (403, "PolicyNotAuthorized")
    pools(client)
    assert client.call("DELETE", f"{PATH}/{DEMO}", user="demo").status == 204


def test_of_what_is_made_to_be_deleted_the_default_group_of_its_project_stays(client: Client) -> None:
    pools(client)
    client.delete(f"{PATH}/{OTHER}", "admin")
    groups = client.get("/v2.0/security-groups")["security_groups"]  # a filter by the project would make one
    assert [each["name"] for each in groups if each["project_id"] == OTHER] == ["default"]
    assert client.get("/v2.0/networks?name=auto_allocated_network")["networks"] == []

"""What generated comparisons with the real Neutron found to differ, and was mended (`tests/oracle`)."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

import pytest

from tests.spec.steps import filled
from tests.unit.api_network.harness import ADMIN, DEMO, OTHER, ZERO, Client


def router_with_a_subnet(client: Client) -> str:
    subnet = client.subnet(client.network()["id"], "10.0.0.0/24")
    router: str = client.post("/v2.0/routers", {"router": {"name": "r"}}, "demo")["router"]["id"]
    client.put(f"/v2.0/routers/{router}/add_router_interface", {"subnet_id": subnet["id"]}, "demo")
    return router


@pytest.mark.parametrize("user", ["admin", "demo"])
@pytest.mark.parametrize("action", ["add_extraroutes", "remove_extraroutes"])
def test_changed_routes_are_answered_with_the_router_as_it_is_shown(client: Client, action: str, user: str) -> None:
    router = router_with_a_subnet(client)
    routes = {"router": {"routes": [{"destination": "10.9.0.0/16", "nexthop": "10.0.0.9"}]}}
    answer = client.put(f"/v2.0/routers/{router}/{action}", routes, user)
    assert answer == client.get(f"/v2.0/routers/{router}", user)


def test_routes_to_take_away_need_not_be_routes(client: Client) -> None:
    router = router_with_a_subnet(client)
    route = {"destination": "10.9.0.0/16", "nexthop": "10.0.0.9"}
    client.put(f"/v2.0/routers/{router}/add_extraroutes", {"router": {"routes": [route]}}, "demo")
    for other in ({"destination": "10.9.0.1", "nexthop": "10.0.0.9"}, {"destination": "x", "nexthop": "y"}):
        left = client.put(f"/v2.0/routers/{router}/remove_extraroutes", {"router": {"routes": [other]}}, "demo")
        assert left["router"]["routes"] == [route]


def test_an_interface_of_another_subnet_is_a_mistake_and_no_conflict(client: Client) -> None:
    router = router_with_a_subnet(client)
    other = client.subnet(client.network()["id"], "10.1.0.0/24")["id"]
    (port,) = client.get(f"/v2.0/ports?device_id={router}")["ports"]
    body = {"port_id": port["id"], "subnet_id": other}
    answer = client.call("PUT", f"/v2.0/routers/{router}/remove_router_interface", body, "demo")
    assert (answer.status, answer.error["type"]) == (400, "SubnetMismatchForPort")


SHARE = {"object_type": "network", "object_id": "$network", "action": "access_as_shared", "target_tenant": OTHER}
REFUSED: list[tuple[str, str, str, Any, int, str]] = [
    ("demo", "GET", f"/v2.0/quotas/{ADMIN}/details", None, 403, "AdminRequired"),
    ("demo", "GET", "/v2.0/networks/$network?nosuch=1", None, 400, "HTTPBadRequest"),
    ("demo", "GET", f"/v2.0/ports/{ZERO}?nosuch=1", None, 400, "HTTPBadRequest"),
    ("admin", "GET", f"/v2.0/ndp_proxies/{ZERO}?nosuch=1", None, 400, "HTTPBadRequest"),
    ("admin", "GET", "/v2.0/ndp_proxies?sort_key=id&limit=-1", None, 400, "BadRequest"),
    ("admin", "GET", f"/v2.0/local_ips/{ZERO}?limit=-1", None, 400, "BadRequest"),
    *(
        ("admin", "GET", f"/v2.0/qos/policies/{ZERO}/{rules}?sort_key=id&limit=-1", None, 400, "BadRequest")
        for rules in ("minimum_packet_rate_rules", "packet_rate_limit_rules", f"packet_rate_limit_rules/{ZERO}")
    ),
    (
        "demo",
        "POST",
        "/v2.0/subnetpools",
        {"subnetpool": {"name": "p", "prefixes": ["fd00::/48", "fd00::/48"], "is_default": True}},
        400,
        "HTTPBadRequest",
    ),
    ("demo", "POST", "/v2.0/subnetpools", {"subnetpool": {"name": " ", "prefixes": []}}, 400, "HTTPBadRequest"),
    ("demo", "PUT", "/v2.0/routers/$router/add_router_interface", {"nosuch": 1}, 400, "BadRequest"),
    ("demo", "PUT", "/v2.0/routers/$router/add_router_interface", {"port_id": None}, 400, "BadRequest"),
    ("demo", "PUT", "/v2.0/routers/$router/remove_router_interface", {"subnet_id": 1}, 400, "BadRequest"),
    (
        "demo",
        "POST",
        "/v2.0/ports",
        {"port": {"network_id": "$network", "security_groups": [ZERO, ZERO]}},
        400,
        "HTTPBadRequest",
    ),
    ("demo", "PUT", f"/v2.0/ports/{ZERO}", {"port": {"security_groups": [ZERO, ZERO]}}, 400, "HTTPBadRequest"),
    ("demo", "PUT", f"/v2.0/ports/{ZERO}/tags", {"tags": ["a", "a"]}, 400, "InvalidInput"),
    ("demo", "POST", f"/v2.0/ports/{ZERO}/tags", {"tags": ["a", "a"]}, 400, "InvalidInput"),
    ("demo", "PUT", f"/v2.0/ports/{ZERO}/tags/{'x' * 256}", None, 400, "InvalidInput"),
    (
        "demo",
        "POST",
        "/v2.0/subnets",
        {"subnet": {"network_id": "$network", "subnetpool_id": ZERO, "ip_version": 4, "cidr": "fd00::/64"}},
        400,
        "InvalidInput",
    ),
    *(
        (
            "demo",
            "POST",
            "/v2.0/subnets",
            {"subnet": {"network_id": ZERO, "ip_version": 4, "cidr": "10.0.0.0/24", "allocation_pools": pools}},
            400,
            told,
        )
        for pools, told in (
            ("x", "InvalidInput"),
            (7, "InvalidInput"),
            ({"a": 1}, "InvalidInput"),
            ([1], "InvalidInput"),
            ([{"start": "10.0.0.9"}], "HTTPBadRequest"),
            ([{"start": "10.0.0.9", "end": 1}], "HTTPBadRequest"),
        )
    ),
    (
        "demo",
        "POST",
        "/v2.0/ports",
        {"port": {"network_id": "$network", "mac_address": "ff:ff:ff:ff:ff:ff"}},
        400,
        "HTTPBadRequest",
    ),
    ("admin", "PUT", f"/v2.0/quotas/{DEMO}", {"quota": {"network": None}}, 400, "InvalidInput"),
    ("admin", "PUT", f"/v2.0/quotas/{DEMO}", {"quota": {"tenant_id": DEMO}}, 400, "HTTPBadRequest"),
    ("demo", "GET", "/v2.0/networks?sort_key=created_at&sort_dir=asc", None, 400, "HTTPBadRequest"),
    ("demo", "GET", "/v2.0/ports?updated_at=x", None, 400, "HTTPBadRequest"),
    ("demo", "GET", "/v2.0/rbac-policies?sort_key=action&sort_dir=asc", None, 400, "HTTPBadRequest"),
    ("demo", "GET", "/v2.0/security-group-rules?tags=red", None, 400, "HTTPBadRequest"),
    ("demo", "GET", "/v2.0/subnets?cidr=x", None, 400, "InvalidInput"),
    ("demo", "GET", "/v2.0/ports?fixed_ips=x", None, 400, "InvalidInput"),
    ("demo", "POST", "/v2.0/rbac-policies", {"rbac_policy": {**SHARE, "target_tenant": 7}}, 400, "InvalidInput"),
    ("demo", "POST", "/v2.0/rbac-policies", {"rbac_policy": {**SHARE, "action": "x"}}, 400, "InvalidActionForType"),
    (
        "demo",
        "POST",
        "/v2.0/subnets",
        {"subnet": {"network_id": "$network", "ip_version": 4, "cidr": "fd00::/64", "service_types": ["x"]}},
        400,
        "InvalidSubnetServiceType",
    ),
    ("admin", "PUT", f"/v2.0/quotas/{DEMO}", {"quota": {"network": 0}}, 400, "HTTPBadRequest"),
]
"""Who, what, with which body; status and type of the error. `$network` and the like are of demo."""


@pytest.mark.parametrize(("user", "method", "path", "body", "status", "kind"), REFUSED)
def test_a_refusal_is_of_the_same_kind(
    client: Client, user: str, method: str, path: str, body: Any, status: int, kind: str
) -> None:
    names = {"network": client.network()["id"]}
    names["router"] = client.post("/v2.0/routers", {"router": {}}, "demo")["router"]["id"]
    answer = client.call(method, filled(path, names), filled(body, names), user)
    assert (answer.status, answer.error["type"]) == (status, kind), answer.text


def test_a_marker_begins_a_page_and_a_list_without_a_limit_is_whole(client: Client) -> None:
    client.network()
    whole = client.get("/v2.0/networks")
    assert len(whole["networks"]) == 2
    for marker in (ZERO, whole["networks"][0]["id"]):
        assert client.get(f"/v2.0/networks?marker={marker}") == whole
    assert client.call("GET", f"/v2.0/networks?marker={ZERO}&limit=1").status == 404


@pytest.mark.parametrize(
    ("query", "found"),
    [("tags=", 0), ("tags=red,", 0), ("tags-any=,red", 1), ("not-tags=", 1), ("not-tags-any=", 1), ("tags=red", 1)],
)
def test_an_empty_tag_is_a_tag_that_may_be_there(client: Client, query: str, found: int) -> None:
    path = f"/v2.0/networks/{client.network()['id']}/tags"
    assert client.call("POST", path, {"tags": ["red"]}, "demo").status == 200
    assert len(client.get(f"/v2.0/networks?{query}", "demo")["networks"]) == found + (query.startswith("not-"))
    client.put(path, {"tags": [""]}, "demo")
    assert len(client.get("/v2.0/networks?tags=", "demo")["networks"]) == 1


def test_an_empty_filter_finds_what_is_empty_and_a_number_out_of_range_nothing(client: Client) -> None:
    client.subnet(client.network()["id"], "10.0.0.0/24")
    assert client.get("/v2.0/subnets?subnetpool_id=")["subnets"] == []
    assert len(client.get("/v2.0/subnets?name=")["subnets"]) == 1
    assert client.get("/v2.0/subnetpools?default_quota=-1")["subnetpools"] == []


def test_a_subnet_of_another_project_is_not_seen_on_an_own_network_that_nobody_shares(client: Client) -> None:
    network = client.network()["id"]
    router = client.post("/v2.0/routers", {"router": {}}, "demo")["router"]["id"]
    subnet = client.subnet(network, "10.0.0.0/24", "admin")["id"]
    assert client.get(f"/v2.0/subnets?network_id={network}", "demo") == {"subnets": []}
    body = {"subnet_id": subnet}
    for method, path, sent in (
        ("GET", f"/v2.0/subnets/{subnet}", None),
        ("PUT", f"/v2.0/routers/{router}/add_router_interface", body),
    ):
        answer = client.call(method, path, sent, "demo")
        assert (answer.status, answer.error["type"]) == (404, "SubnetNotFound")
    assert client.get(f"/v2.0/networks/{network}", "demo")["network"]["subnets"] == [subnet]
    client.put(f"/v2.0/networks/{network}", {"network": {"shared": True}})
    assert client.get(f"/v2.0/subnets?network_id={network}&fields=id", "demo") == {"subnets": [{"id": subnet}]}


def test_the_project_of_an_interface_is_that_of_its_port(client: Client) -> None:
    subnet = client.subnet(client.network()["id"], "10.0.0.0/24")
    router = client.post("/v2.0/routers", {"router": {}})["router"]["id"]
    port = client.port(subnet["network_id"])["id"]
    for action in ("add_router_interface", "remove_router_interface"):
        answer = client.put(f"/v2.0/routers/{router}/{action}", {"port_id": port})
        assert answer["project_id"] == DEMO, action
    for action in ("add_router_interface", "remove_router_interface"):
        answer = client.put(f"/v2.0/routers/{router}/{action}", {"subnet_id": subnet["id"]})
        assert answer["project_id"] == ADMIN, action


def test_a_port_that_somebody_makes_for_a_floating_ip_is_plugged_nowhere_as_any_other(client: Client) -> None:
    port = client.port(client.network()["id"], "admin", device_owner="network:floatingip")
    assert port["status"] == "DOWN"


@pytest.mark.parametrize("query", ["fields=name", "fields=type", "fields="])
def test_what_can_be_logged_is_told_whatever_fields_are_asked_for(client: Client, query: str) -> None:
    found = client.get(f"/v2.0/log/loggable-resources?{query}")
    assert found == {"loggable_resources": [{"type": "security_group"}]}


def test_who_shares_what_is_there_already_has_the_policy_but_of_networks(client: Client) -> None:
    scope = client.post("/v2.0/address-scopes", {"address_scope": {"name": "s", "ip_version": 4}}, "demo")
    client.put(f"/v2.0/address-scopes/{scope['address_scope']['id']}", {"address_scope": {"shared": True}})
    policy = client.post("/v2.0/qos/policies", {"policy": {"name": "q", "project_id": DEMO}})
    client.put(f"/v2.0/qos/policies/{policy['policy']['id']}", {"policy": {"shared": True}})
    client.put(f"/v2.0/networks/{client.network()['id']}", {"network": {"shared": True}})
    found = client.get("/v2.0/rbac-policies?action=access_as_shared")["rbac_policies"]
    owners = {each["object_type"]: each["project_id"] for each in found}
    assert owners == {"address_scope": ADMIN, "qos_policy": ADMIN, "network": DEMO}


@pytest.mark.parametrize(
    ("cidr", "gateway"),
    [("fd00::/64", "fd00::"), ("fd00::/126", "fd00::"), ("fd00::/127", "fd00::"), ("10.0.0.0/24", "10.0.0.1")],
)
def test_the_gateway_of_a_subnet_that_names_none_follows_from_its_prefix(
    client: Client, cidr: str, gateway: str
) -> None:
    subnet = client.subnet(client.network()["id"], cidr, enable_dhcp=False)
    assert subnet["gateway_ip"] == gateway
    (pool,) = subnet["allocation_pools"]
    assert int(ip_address(pool["start"])) == int(ip_address(gateway)) + 1


@pytest.mark.parametrize("nothing", [0, "", False, [], {}, None])
def test_nothing_of_any_kind_is_no_way_outside(client: Client, nothing: object) -> None:
    router = client.post("/v2.0/routers", {"router": {"external_gateway_info": nothing}}, "demo")["router"]
    assert router["external_gateway_info"] is None
    changed = client.put(f"/v2.0/routers/{router['id']}", {"router": {"external_gateway_info": nothing}}, "demo")
    assert changed["router"]["external_gateway_info"] is None

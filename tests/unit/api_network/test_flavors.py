"""Flavors, their profiles and the routers of a flavor, as Neutron 29 answered the same requests."""

from __future__ import annotations

from typing import Any

import pytest

from deuteron.rules.network.flavors import PROVIDERS
from tests.unit.api_network.harness import DEMO, ZERO, Answer, Client

FLAVORS, PROFILES, ROUTERS = "/v2.0/flavors", "/v2.0/service_profiles", "/v2.0/routers"
DRIVERS = {each.name: each.driver for each in PROVIDERS}


def flavor(client: Client, **values: Any) -> dict[str, Any]:
    made: dict[str, Any] = client.post(FLAVORS, {"flavor": {"service_type": "L3_ROUTER_NAT", **values}})["flavor"]
    return made


def profile(client: Client, **values: Any) -> dict[str, Any]:
    made: dict[str, Any] = client.post(PROFILES, {"service_profile": values})["service_profile"]
    return made


def associate(client: Client, flavor_id: str, profile_id: str) -> Answer:
    return client.call("POST", f"{FLAVORS}/{flavor_id}/service_profiles", {"service_profile": {"id": profile_id}})


def flavor_of(client: Client, provider: str, **values: Any) -> str:
    """The id of a flavor whose one profile is of the provider."""
    made: str = flavor(client)["id"]
    assert associate(client, made, profile(client, driver=DRIVERS[provider], **values)["id"]).status == 201
    return made


def route(client: Client, user: str = "admin", **values: Any) -> Answer:
    return client.call("POST", ROUTERS, {"router": values}, user)


def said(answer: Answer) -> tuple[int, str]:
    return answer.status, answer.error["type"]


def test_a_flavor_is_for_administrators_to_make_and_for_all_to_see(client: Client) -> None:
    made = flavor(client, name="f", description="d")
    assert made == {
        "id": made["id"], "name": "f", "description": "d", "service_type": "L3_ROUTER_NAT", "enabled": True,
        "service_profiles": [],
    }  # fmt: skip
    path = f"{FLAVORS}/{made['id']}"
    for user in ("demo", "reader", "other"):
        assert client.get(path, user)["flavor"] == made
        assert [each["id"] for each in client.get(FLAVORS, user)["flavors"]] == [made["id"]]
    body = {"flavor": {"service_type": "L3_ROUTER_NAT"}}
    assert said(client.call("POST", FLAVORS, body, "manager")) == (403, "PolicyNotAuthorized")
    for verb in ("PUT", "DELETE"):
        refused = client.call(verb, path, {"flavor": {"name": "x"}} if verb == "PUT" else None, "demo")
        assert said(refused) == (403, "PolicyNotAuthorized")
    changed = client.put(path, {"flavor": {"name": "g", "enabled": False, "service_profiles": []}})["flavor"]
    assert changed == {**made, "name": "g", "enabled": False}
    assert client.put(path, {"flavor": {"enabled": None}})["flavor"]["enabled"] is True
    client.delete(path)
    gone = client.call("GET", path)
    assert (said(gone), gone.error["message"]) == (
        (404, "FlavorNotFound"), f"Flavor {made['id']} could not be found."
    )  # fmt: skip


@pytest.mark.parametrize(
    ("body", "type_", "words"),
    [
        ({"service_type": None}, "InvalidServiceType", "Invalid service type: None."),
        ({"service_type": "x"}, "InvalidServiceType", "Invalid service type: x."),
        ({"service_type": 5}, "InvalidServiceType", "Invalid service type: 5."),
        ({"service_type": "VPN"}, "InvalidServiceType", "VPN"),
        ({"name": None}, "HTTPBadRequest", "'None' is not a valid string"),
        ({"description": "x" * 1025}, "HTTPBadRequest", "description"),
        ({"enabled": "x"}, "InvalidInput", "'x' cannot be converted to boolean"),
        ({"service_profiles": None}, "HTTPBadRequest", "Invalid input for service_profiles. Reason: 'None' is not"),
        ({"service_profiles": ["x"]}, "HTTPBadRequest", "'x' is not a valid UUID"),
        ({"service_profiles": [ZERO]}, "HTTPBadRequest", "associated by POST"),
        ({"project_id": DEMO}, "HTTPBadRequest", "project_id"),
    ],
)
def test_a_flavor_that_makes_no_sense_is_refused(client: Client, body: Any, type_: str, words: str) -> None:
    refused = client.call("POST", FLAVORS, {"flavor": {"service_type": "L3_ROUTER_NAT", **body}})
    assert said(refused) == (400, type_), refused.raw
    assert words in refused.error["message"]


def test_flavors_are_made_one_by_one_and_of_a_service(client: Client) -> None:
    assert said(client.call("POST", FLAVORS, {"flavor": {}})) == (400, "HTTPBadRequest")
    several = client.call("POST", FLAVORS, {"flavors": [{"service_type": "L3_ROUTER_NAT"}]})
    assert said(several) == (400, "HTTPBadRequest")
    made = flavor(client)["id"]
    for name, value in (("service_type", "L3_ROUTER_NAT"), ("service_profiles", [ZERO])):
        assert client.call("PUT", f"{FLAVORS}/{made}", {"flavor": {name: value}}).status == 400


def test_flavors_and_profiles_are_found(client: Client) -> None:
    a, b = flavor(client, name="a")["id"], flavor(client, name="b", enabled=False, description=None)["id"]
    for query, found in (
        ("name=a", [a]), ("enabled=false", [b]), ("service_type=L3_ROUTER_NAT", [a, b]), ("description=", [a]),
    ):  # fmt: skip
        listed = client.get(f"{FLAVORS}?fields=id&{query}")["flavors"]
        assert sorted(each["id"] for each in listed) == sorted(found), query
    ordered = client.get(f"{FLAVORS}?sort_key=name&sort_dir=desc&limit=1")["flavors"]
    assert [each["id"] for each in ordered] == [b]
    x, y = profile(client, driver=DRIVERS["ha"])["id"], profile(client, metainfo="m", enabled=False)["id"]
    for query, found in ((f"driver={DRIVERS['ha']}", [x]), ("enabled=false", [y])):
        assert [each["id"] for each in client.get(f"{PROFILES}?{query}")["service_profiles"]] == found
    for path in (
        f"{FLAVORS}?service_profiles=x", f"{FLAVORS}?sort_key=service_profiles&sort_dir=asc", f"{PROFILES}?metainfo=m",
    ):  # fmt: skip
        assert said(client.call("GET", path)) == (400, "HTTPBadRequest"), path


def test_a_profile_is_for_administrators_and_names_a_driver_that_is_there(client: Client) -> None:
    made = profile(client, driver=DRIVERS["ha"], metainfo="m", description=None)
    assert made == {
        "id": made["id"], "description": None, "driver": DRIVERS["ha"], "enabled": True, "metainfo": "m",
    }  # fmt: skip
    path = f"{PROFILES}/{made['id']}"
    assert client.get(PROFILES, "demo") == {"service_profiles": []}
    assert made["id"] not in client.call("GET", f"{PROFILES}?limit=1", user="demo").text
    for verb in ("GET", "PUT", "DELETE"):
        refused = client.call(verb, path, {"service_profile": {}} if verb == "PUT" else None, "demo")
        assert refused.status in (403, 404)
    for body, expected in (
        ({}, (400, "ServiceProfileEmpty")), ({"metainfo": None}, (400, "ServiceProfileEmpty")),
        ({"driver": "x"}, (404, "ServiceProfileDriverNotFound")), ({"driver": None}, (400, "HTTPBadRequest")),
        ({"metainfo": {"a": 1}}, (400, "HTTPBadRequest")), ({"metainfo": "x" * 4097}, (400, "HTTPBadRequest")),
    ):  # fmt: skip
        assert said(client.call("POST", PROFILES, {"service_profile": body})) == expected, body
    refused = client.call("PUT", path, {"service_profile": {"driver": "x"}})
    assert said(refused) == (404, "ServiceProfileDriverNotFound")
    assert refused.error["message"] == "Service Profile driver x could not be found."
    assert client.put(path, {"service_profile": {"driver": ""}})["service_profile"]["driver"] == ""
    client.delete(path)
    assert said(client.call("GET", path)) == (404, "ServiceProfileNotFound")


def test_profiles_are_associated_with_flavors(client: Client) -> None:
    f = flavor(client)["id"]
    ids = [profile(client, metainfo=name)["id"] for name in "ab"]
    for id in ids:
        answer = associate(client, f, id)
        assert (answer.status, answer.body) == (201, {"service_profile": {"id": f}}), "the flavor's, as Neutron says"
    assert client.get(f"{FLAVORS}/{f}", "demo")["flavor"]["service_profiles"] == sorted(ids)
    again = associate(client, f, ids[0])
    assert said(again) == (409, "FlavorServiceProfileBindingExists")
    assert again.error["message"] == f"Service Profile {ids[0]} is already associated with flavor {f}."
    assert said(associate(client, f, ZERO)) == (404, "ServiceProfileNotFound")
    assert said(associate(client, ZERO, ids[0])) == (404, "FlavorNotFound")
    path = f"{FLAVORS}/{f}/service_profiles"
    for body in ({}, {"service_profile": {}}, {"service_profile": {"id": "x"}}, {"service_profile": {"id": f, "a": 1}}):
        assert said(client.call("POST", path, body)) == (400, "HTTPBadRequest")
    assert said(client.call("POST", path, {"service_profile": {"id": f}}, "demo")) == (403, "PolicyNotAuthorized")
    assert said(client.call("DELETE", f"{path}/{ids[0]}", user="demo")) == (403, "PolicyNotAuthorized")
    for verb, body in (("PUT", {"service_profile": {"description": "x"}}), ("DELETE", None)):
        used = client.call(verb, f"{PROFILES}/{ids[0]}", body)
        assert said(used) == (409, "ServiceProfileInUse")
        assert used.error["message"] == f"Service Profile {ids[0]} is used by some service instance."
    client.delete(f"{path}/{ids[0]}")
    for other in (ids[0], "x"):
        gone = client.call("DELETE", f"{path}/{other}")
        assert said(gone) == (404, "FlavorServiceProfileBindingNotFound")
        assert gone.error["message"] == f"Service Profile {other} is not associated with flavor {f}."
    client.delete(f"{PROFILES}/{ids[0]}")
    client.delete(f"{FLAVORS}/{f}")
    client.delete(f"{PROFILES}/{ids[1]}")


@pytest.mark.parametrize(
    ("provider", "takes", "refuses"),
    [
        ("single_node", {"ha": False, "distributed": False}, {"ha": True}),
        ("ha", {"ha": True}, {"ha": False}),
        ("ha", {}, {"ha": True, "distributed": True}),
        ("dvr", {"distributed": True}, {"distributed": True, "ha": True}),
        ("dvr", {"distributed": None}, {"distributed": False}),
    ],
)
def test_a_router_of_a_flavor_is_of_its_provider_s_kind(
    client: Client, provider: str, takes: dict[str, Any], refuses: dict[str, Any]
) -> None:
    id = flavor_of(client, provider)
    made = route(client, flavor_id=id, **takes).body["router"]
    assert made["flavor_id"] == id
    assert {name: made[name] for name in takes} == {name: bool(value) for name, value in takes.items()}
    refused = route(client, flavor_id=id, **refuses)
    assert said(refused) == (400, "InvalidInput")
    assert f"Provider {provider} does not support " in refused.error["message"]
    assert client.get(f"{ROUTERS}/{made['id']}")["router"]["flavor_id"] == id
    body = {"router": {"flavor_id": None}}
    assert said(client.call("PUT", f"{ROUTERS}/{made['id']}", body)) == (400, "HTTPBadRequest")
    used = client.call("DELETE", f"{FLAVORS}/{id}")
    assert said(used) == (409, "FlavorInUse")
    assert used.error["message"] == f"Flavor {id} is used by some service instance."
    client.delete(f"{ROUTERS}/{made['id']}")
    client.delete(f"{FLAVORS}/{id}")


def test_a_router_of_a_flavor_stays_of_its_kind(client: Client) -> None:
    id = flavor_of(client, "single_node")
    path = f"{ROUTERS}/{route(client, 'demo', flavor_id=id).body['router']['id']}"
    (used,) = client.get(f"{FLAVORS}/{id}")["flavor"]["service_profiles"]
    for _ in range(2):
        for body in ({"ha": True, "admin_state_up": False}, {"distributed": True}):
            refused = client.call("PUT", path, {"router": body})
            assert said(refused) == (400, "InvalidInput")
            assert "on a router associated with a flavor is not supported" in refused.error["message"]
        assert client.put(path, {"router": {"ha": False, "name": "z"}})["router"]["name"] == "z"
        # The second time without a profile, which takes nothing from the routers that are there.
        client.call("DELETE", f"{FLAVORS}/{id}/service_profiles/{used}")


def test_a_flavor_that_leads_nowhere_makes_no_router(client: Client) -> None:
    for wrong in (ZERO, "x", 5, None):
        refused = route(client, "demo", flavor_id=wrong)
        assert said(refused) == (404, "FlavorNotFound")
        assert refused.error["message"] == f"Flavor {wrong} could not be found."
    id = flavor(client)["id"]
    assert said(route(client, "demo", flavor_id=id)) == (404, "FlavorServiceProfileBindingNotFound")
    assert associate(client, id, profile(client, metainfo="m")["id"]).status == 201
    assert said(route(client, "demo", flavor_id=id)) == (404, "ServiceProfileDriverNotFound")
    off = flavor_of(client, "single_node", enabled=False)
    assert said(route(client, "demo", flavor_id=off)) == (409, "ServiceProfileDisabled")
    assert client.get(f"{ROUTERS}?fields=id")["routers"] == []


def test_routers_are_sorted_by_flavor_and_not_found_by_it(client: Client) -> None:
    id = flavor_of(client, "single_node")
    plain, of = route(client).body["router"]["id"], route(client, flavor_id=id).body["router"]["id"]
    listed = client.get(f"{ROUTERS}?sort_key=flavor_id&sort_dir=desc")["routers"]
    assert [each["id"] for each in listed] == [of, plain]
    assert said(client.call("GET", f"{ROUTERS}?flavor_id={id}")) == (400, "HTTPBadRequest")

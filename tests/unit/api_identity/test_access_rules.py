"""Access rules: what an application credential is limited to, and that each service keeps it to that."""

from __future__ import annotations

import time
from typing import Any

import pytest

from deuteron.rules.identity.access_rules import MOST_PATH, matches
from deuteron.store import query
from deuteron.store.identity_tables import access_rules
from tests.unit.api_identity.harness import Answer, Kit

V3 = "/identity/v3"
IMAGES = {"service": "image", "method": "GET", "path": "/v2/images"}


def me(kit: Kit) -> str:
    return str(kit.login("demo", project="demo").json["token"]["user"]["id"])


def make(kit: Kit, name: str = "c", **values: Any) -> Answer:
    body = {"application_credential": {"name": name, **values}}
    return kit.as_user("demo", "demo").request("POST", f"{V3}/users/{me(kit)}/application_credentials", body)


def program(kit: Kit, **values: Any) -> Kit:
    """A client with a token of a new application credential."""
    made = make(kit, **values).json["application_credential"]
    given = {"id": made["id"], "secret": made["secret"]}
    auth = {"identity": {"methods": ["application_credential"], "application_credential": given}}
    answer = kit.request("POST", f"{V3}/auth/tokens", {"auth": auth})
    assert answer.status == 201, answer.text
    return Kit(kit.cloud, kit.app, answer.headers["x-subject-token"])


@pytest.mark.parametrize(
    ("pattern", "path", "fits"),
    [
        ("/v2.1/servers", "/v2.1/servers", True),
        ("/v2.1/servers", "/v2.1/servers/", True),
        ("/v2.1/servers/", "/v2.1/servers", True),
        ("/v2.1/servers", "/v2.1/servers/x", False),
        ("/v2.1/servers", "/v2.1/server", False),
        ("/v2.1/servers/*", "/v2.1/servers/x", True),
        ("/v2.1/servers/*", "/v2.1/servers", False),
        ("/v2.1/servers/*", "/v2.1/servers/x/y", False),
        ("/v2.1/servers/{id}/ips", "/v2.1/servers/x/ips", True),
        ("/v2.1/servers/{id}/ips", "/v2.1/servers/x/y/ips", False),
        ("/v2.1/**", "/v2.1/servers/x/y", True),
        ("/v2.1**", "/v2.1", True),
        ("/v2.1/**/ips", "/v2.1/servers/x/ips", True),
        ("/v2.1/**/ips", "/v2.1/servers/x/ips/y", False),
        ("/v2.1/s*s", "/v2.1/servers", True),
        ("/v2.1/s*rs", "/v2.1/servers/x", False),
        ("/**", "/", True),
        ("/", "/", True),
        ("/v2.1", "/v2x1", False),
        ("/a**b**c", "/a/b/x/b/c", True),
        ("/****a", "/xa", True),
    ],
)
def test_a_path_looks_like_a_pattern_or_not(pattern: str, path: str, fits: bool) -> None:
    assert matches(pattern, path) is fits


def test_a_pattern_of_many_stars_takes_no_longer_than_the_path_is() -> None:
    pattern = "/" + "**a" * 70 + "b"
    started = time.process_time()
    assert not matches(pattern, "/" + "a" * (MOST_PATH - 1))
    assert not matches(pattern, "/" + "a" * 100_000), "longer ones are not looked at"
    assert time.process_time() - started < 0.5, "as a regular expression it takes for ever"


def test_a_program_does_what_its_rules_say_and_nothing_else(kit: Kit) -> None:
    mine = program(kit, access_rules=[IMAGES, {"service": "identity", "method": "GET", "path": "/v3/users/*"}])

    assert mine.request("GET", "/image/v2/images").status == 200
    assert mine.request("GET", f"{V3}/users/{me(kit)}").status == 200
    for method, path in (
        ("POST", "/image/v2/images"),
        ("HEAD", "/image/v2/images"),
        ("GET", "/image/v2/images/x"),
        ("GET", "/image/v2/schemas/image"),
        ("GET", f"{V3}/users/{me(kit)}/projects"),
        ("GET", f"{V3}/auth/catalog"),
    ):
        answer = mine.request(method, path)
        assert answer.status == 401, (method, path)
    assert "do not allow GET /v3/auth/catalog of identity" in answer.json["error"]["message"]


def test_a_rule_may_name_the_place_of_the_service(kit: Kit) -> None:
    mine = program(kit, access_rules=[{**IMAGES, "path": "/image/v2/**"}])
    assert mine.request("GET", "/image/v2/images").status == 200
    assert mine.request("POST", "/image/v2/images", {}).status == 401


def test_slashes_that_lead_to_the_same_path_say_nothing(kit: Kit) -> None:
    mine = program(kit, access_rules=[{"service": "identity", "method": "GET", "path": "/v3/auth/catalog"}])
    assert mine.request("GET", "/identity//v3/auth//catalog/").status == 200
    assert mine.request("GET", "/identity//v3/auth//projects/").status == 401


def test_whose_it_is_a_token_may_always_be_asked_by_who_looks_at_its_rules(kit: Kit) -> None:
    mine = program(kit, access_rules=[IMAGES])
    subject = {"x-subject-token": mine.token or ""}
    asked = {**subject, "openstack-identity-access-rules": "1.0"}

    answer = mine.request("GET", f"{V3}/auth/tokens", headers=asked)
    assert answer.status == 200
    (rule,) = answer.json["token"]["application_credential"]["access_rules"]
    assert {**IMAGES, "id": rule["id"]} == rule
    for said in ("", "0.9", "nan", "-1"):
        headers = {**subject, "openstack-identity-access-rules": said}
        assert kit.as_user().request("GET", f"{V3}/auth/tokens", headers=headers).status == 404, (
            "it would do everything"
        )
    assert kit.as_user().request("GET", f"{V3}/auth/tokens", headers=asked).status == 200


def test_rules_are_listed_shown_and_deleted_when_nothing_names_them(kit: Kit) -> None:
    demo = kit.as_user("demo", "demo")
    own = f"{V3}/users/{me(kit)}/access_rules"
    first = make(kit, "one", access_rules=[IMAGES]).json["application_credential"]
    second = make(kit, "two", access_rules=[IMAGES, {"id": first["access_rules"][0]["id"]}]).json
    rule = first["access_rules"][0]
    assert second["application_credential"]["access_rules"] == [rule], "one that is there is not made again"

    (listed,) = demo.request("GET", own).json["access_rules"]
    assert listed == {**rule, "links": {"self": f"http://cloud.test:5000{own}/{rule['id']}"}}
    assert demo.request("GET", f"{own}/{rule['id']}").json["access_rule"] == listed
    assert demo.request("GET", f"{own}?service=compute").json["access_rules"] == []
    refused = demo.request("DELETE", f"{own}/{rule['id']}")
    assert (refused.status, refused.json["error"]["message"]) == (403, "May not delete access rule in use")
    base = f"{V3}/users/{me(kit)}/application_credentials"
    for made in (first, second["application_credential"]):
        assert (
            made["access_rules"]
            == demo.request("GET", f"{base}/{made['id']}").json["application_credential"]["access_rules"]
        )
        assert demo.request("DELETE", f"{base}/{made['id']}").status == 204
    assert demo.request("DELETE", f"{own}/{rule['id']}").status == 204
    gone = demo.request("GET", f"{own}/{rule['id']}")
    assert (gone.status, gone.json["error"]["message"]) == (404, f"Could not find Access Rule: {rule['id']}.")


def test_no_rules_are_no_limit_and_are_not_shown(kit: Kit) -> None:
    for number, rules in enumerate((None, [])):
        made = make(kit, f"n{number}", access_rules=rules).json["application_credential"]
        assert "access_rules" not in made
    assert program(kit, name="free").request("GET", "/image/v2/images").status == 200


@pytest.mark.parametrize(
    "rule",
    [
        {"service": "image", "method": "GET"},
        {"service": "image", "method": "OPTIONS", "path": "/"},
        {"service": "image", "method": "GET", "path": "v2"},
        {"service": "image", "method": "GET", "path": "/" + "x" * 225},
        {"service": "a b", "method": "GET", "path": "/"},
        {**IMAGES, "more": 1},
        "GET",
    ],
)
def test_a_rule_that_means_nothing_is_refused(kit: Kit, rule: Any) -> None:
    assert make(kit, access_rules=[rule]).status == 400


def test_a_rule_of_another_user_is_not_there(kit: Kit) -> None:
    rule = make(kit, access_rules=[IMAGES]).json["application_credential"]["access_rules"][0]
    admin, admins = kit.as_user(), kit.login().json["token"]["user"]["id"]
    base = f"{V3}/users/{admins}"
    body = {"application_credential": {"name": "mine", "access_rules": [{"id": rule["id"]}]}}
    assert admin.request("POST", f"{base}/application_credentials", body).status == 404
    assert admin.request("GET", f"{base}/access_rules/{rule['id']}").status == 404
    assert kit.as_user("demo", "demo").request("GET", f"{base}/access_rules").status == 403


def test_with_its_user_go_its_rules(kit: Kit) -> None:
    make(kit, access_rules=[IMAGES])
    assert kit.as_user().request("DELETE", f"{V3}/users/{me(kit)}").status == 204
    with kit.cloud.database.read() as tx:
        assert query.rows(tx, access_rules) == []

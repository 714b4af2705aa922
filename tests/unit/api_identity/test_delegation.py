"""What a token of an application credential may do with whatever one can log in with: as Keystone, next to nothing.

The routes come from the route table: a new one that makes, shows or removes something to log in with fails here.
"""

from __future__ import annotations

import re
from typing import Any

import pytest

from deuteron.api import identity
from tests.unit.api_identity.harness import Answer, Kit

LOGINS = re.compile(r"credentials|auth/tokens|trust|oauth|ec2|s3tokens", re.IGNORECASE)
OWN = "/users/{user_id}/application_credentials"
NEW = {"application_credential": {"name": "child"}}
TRUST = {"trust": {"trustor_user_id": "{me}", "trustee_user_id": "{me}", "impersonation": True, "roles": []}}
SECRET = {"credential": {"type": "cert", "blob": "x"}}

ALLOWED: dict[str, tuple[Any, bool, bool]] = {
    f"GET {OWN}": (None, True, True),
    f"POST {OWN}": (NEW, True, False),
    f"GET {OWN}/{{id}}": (None, True, True),
    f"DELETE {OWN}/{{id}}": (None, True, False),
    "GET /credentials/{id}": (None, False, False),
    "POST /credentials": (SECRET, False, False),
    "PATCH /credentials/{id}": ({"credential": {"blob": "y"}}, False, False),
    "DELETE /credentials/{id}": (None, False, False),
    "GET /users/{user_id}/credentials/OS-EC2": (None, False, False),
    "POST /users/{user_id}/credentials/OS-EC2": ({"tenant_id": "x"}, False, False),
    "GET /users/{user_id}/credentials/OS-EC2/{access}": (None, False, False),
    "DELETE /users/{user_id}/credentials/OS-EC2/{access}": (None, False, False),
    "GET /OS-TRUST/trusts": (None, False, False),
    "POST /OS-TRUST/trusts": (TRUST, False, False),
    "GET /OS-TRUST/trusts/{id}": (None, False, False),
    "DELETE /OS-TRUST/trusts/{id}": (None, False, False),
    "GET /OS-TRUST/trusts/{id}/roles": (None, False, False),
    "GET /OS-TRUST/trusts/{id}/roles/{role_id}": (None, False, False),
    "GET /auth/tokens": (None, True, True),
    "DELETE /auth/tokens": (None, True, True),
}
"""Route: body, and whether an unrestricted and a restricted application credential may. Two more have tests below."""


def test_every_route_that_has_to_do_with_logging_in_is_here() -> None:
    there = {
        f"{route.method} {route.path.removeprefix('/v3')}"
        for route in identity.SERVICE().routes()
        if LOGINS.search(route.path)
    }
    # What is signed is looked at for administrators and services, and makes tokens of others.
    assert there == {*ALLOWED, "GET /credentials", "POST /auth/tokens", "POST /ec2tokens", "POST /s3tokens"}


def login_with(kit: Kit, person: Kit, user_id: str, **values: Any) -> tuple[dict[str, Any], Kit]:
    path = f"/identity/v3/users/{user_id}/application_credentials"
    made = person.request("POST", path, {"application_credential": values}).json["application_credential"]
    given = {"id": made["id"], "secret": made["secret"]}
    auth = {"identity": {"methods": ["application_credential"], "application_credential": given}}
    answer = kit.request("POST", "/identity/v3/auth/tokens", {"auth": auth})
    assert answer.status == 201, answer.text
    return made, Kit(kit.cloud, kit.app, answer.headers["x-subject-token"])


@pytest.mark.parametrize("who", ["admin", "demo"])
@pytest.mark.parametrize("unrestricted", [True, False], ids=["unrestricted", "restricted"])
@pytest.mark.parametrize("route", ALLOWED)
def test_an_application_credential_manages_what_keystone_lets_it(
    kit: Kit, route: str, unrestricted: bool, who: str
) -> None:
    person = kit.as_user(who, who)
    user_id = kit.login(who, project=who).json["token"]["user"]["id"]
    made, holder = login_with(kit, person, user_id, name="c", unrestricted=unrestricted)
    body, free, bound = ALLOWED[route]
    method, _, path = route.partition(" ")
    id = made["id"]
    if path.startswith("/credentials"):
        secret = {"credential": {**SECRET["credential"], "user_id": user_id}}
        id = person.request("POST", "/identity/v3/credentials", secret).json["credential"]["id"]
    role_id = access = "none"
    if "OS-EC2" in path:
        project = kit.login(who, project=who).json["token"]["project"]["id"]
        base = f"/identity/v3/users/{user_id}/credentials/OS-EC2"
        access = person.request("POST", base, {"tenant_id": project}).json["credential"]["access"]
    if path.startswith("/OS-TRUST"):
        project = kit.login(who, project=who).json["token"]["project"]["id"]
        trust = {**TRUST["trust"], "trustor_user_id": user_id, "trustee_user_id": user_id, "project_id": project}
        trust["roles"] = [{"name": "member"}]
        given = person.request("POST", "/identity/v3/OS-TRUST/trusts", {"trust": trust}).json["trust"]
        id, role_id = given["id"], given["roles"][0]["id"]
        body = body and {"trust": trust}
        path += f"?trustor_user_id={user_id}" if path.endswith("/trusts") and method == "GET" else ""
    headers = {"x-subject-token": holder.token or ""}

    target = "/identity/v3" + path.format(user_id=user_id, id=id, role_id=role_id, access=access)
    answer = holder.request(method, target, body, headers=headers)

    assert (answer.status < 300) == (free if unrestricted else bound), answer.text
    assert answer.status < 300 or answer.status == 403


def test_whose_an_application_credential_is_does_not_depend_on_the_path(kit: Kit) -> None:
    admin, demo = kit.as_user(), kit.as_user("demo", "demo")
    ids = {name: kit.login(name, project=name).json["token"]["user"]["id"] for name in ("admin", "demo")}
    paths = {name: f"/identity/v3/users/{id}/application_credentials" for name, id in ids.items()}
    hers = admin.request("POST", paths["admin"], NEW).json["application_credential"]["id"]
    his = demo.request("POST", paths["demo"], NEW).json["application_credential"]["id"]
    for method in ("GET", "DELETE"):
        for path in (paths["demo"], paths["admin"]):
            assert demo.request(method, f"{path}/{hers}").status == 403, "it is another's below whatever path"
        assert demo.request(method, f"{paths['demo']}/none").status == 404
        assert demo.request(method, f"{paths['admin']}/none").status == 403
    assert demo.request("GET", f"{paths['admin']}/{his}").json["application_credential"]["user_id"] == ids["demo"]
    assert admin.request("GET", f"{paths['admin']}/{his}").json["application_credential"]["user_id"] == ids["demo"]
    assert demo.request("DELETE", f"{paths['demo']}/{his}").status == 204


@pytest.mark.parametrize("unrestricted", [True, False], ids=["unrestricted", "restricted"])
def test_an_application_credential_is_shown_no_credentials(kit: Kit, unrestricted: bool) -> None:
    person = kit.as_user()
    user_id = kit.login().json["token"]["user"]["id"]
    person.request("POST", "/identity/v3/credentials", SECRET)
    _, holder = login_with(kit, person, user_id, name="c", unrestricted=unrestricted)

    assert len(person.request("GET", "/identity/v3/credentials").json["credentials"]) == 1
    assert holder.request("GET", "/identity/v3/credentials").json["credentials"] == []


def exchange(kit: Kit, token: str, scope: Any) -> Answer:
    auth = {"identity": {"methods": ["token"], "token": {"id": token}}, "scope": scope}
    return kit.request("POST", "/identity/v3/auth/tokens", {"auth": auth})


@pytest.mark.parametrize("scope", [None, "unscoped", {"system": {"all": True}}], ids=["none", "unscoped", "system"])
def test_a_token_of_an_application_credential_is_not_exchanged(kit: Kit, scope: Any) -> None:
    user_id = kit.login().json["token"]["user"]["id"]
    _, holder = login_with(kit, kit.as_user(), user_id, name="c", unrestricted=True)

    assert exchange(kit, holder.token or "", scope).status == 403


def test_a_token_of_the_system_is_not_exchanged_for_one_of_a_project(kit: Kit) -> None:
    token = kit.login(scope={"system": {"all": True}}).headers["x-subject-token"]

    assert exchange(kit, token, {"project": {"name": "admin", "domain": {"id": "default"}}}).status == 403
    assert exchange(kit, token, {"domain": {"id": "default"}}).status == 403
    assert exchange(kit, token, {"system": {"all": True}}).status == 201

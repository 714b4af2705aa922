"""Identity v3 as a client sees it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from deuteron.rules.identity.passwords import hash_password, verify_password
from tests.unit.api_identity.harness import Kit, make_kit


def make_user(admin: Kit, name: str, **values: Any) -> dict[str, Any]:
    answer = admin.request(
        "POST", "/identity/v3/users", {"user": {"name": name, "password": f"{name}-secret", **values}}
    )
    assert answer.status == 201, answer.text
    user: dict[str, Any] = answer.json["user"]
    return user


def role_id(admin: Kit, name: str) -> str:
    return str(admin.request("GET", f"/identity/v3/roles?name={name}").json["roles"][0]["id"])


def project_id(admin: Kit, name: str) -> str:
    return str(admin.request("GET", f"/identity/v3/projects?name={name}").json["projects"][0]["id"])


def test_the_versions_are_300_and_the_version_is_200_without_a_token(kit: Kit) -> None:
    versions, version = kit.request("GET", "/identity"), kit.request("GET", "/identity/v3")

    assert versions.status == 300
    assert versions.json["versions"]["values"][0]["links"][0]["href"] == "http://cloud.test:5000/identity/v3/"
    assert version.json["version"]["status"] == "stable"


def test_the_catalog_names_each_service_as_the_caller_reached_it(kit: Kit) -> None:
    catalog = kit.login().json["token"]["catalog"]

    urls = {entry["type"]: {e["interface"]: e["url"] for e in entry["endpoints"]} for entry in catalog}
    assert urls["network"] == dict.fromkeys(("public", "internal", "admin"), "http://cloud.test:5000/network")
    assert urls["compute"]["public"] == "http://cloud.test:5000/compute/v2.1"
    assert {entry["type"]: entry["name"] for entry in catalog} == {
        "identity": "keystone",
        "network": "neutron",
        "compute": "nova",
        "image": "glance",
        "block-storage": "cinder",
        "placement": "placement",
        "volumev3": "cinderv3",
    }
    assert urls["volumev3"]["public"].endswith(f"/volume/v3/{kit.login().json['token']['project']['id']}")


def test_a_token_without_a_catalog_is_had_by_asking(kit: Kit) -> None:
    admin = kit.as_user()

    shown = admin.request("GET", "/identity/v3/auth/tokens?nocatalog", headers={"x-subject-token": admin.token or ""})

    assert "catalog" not in shown.json["token"]
    assert shown.headers["x-subject-token"] == admin.token


@pytest.mark.parametrize(
    ("scope", "shows"),
    [
        ({"project": {"name": "admin", "domain": {"id": "default"}}}, "project"),
        ({"system": {"all": True}}, "system"),
        ({"unscoped": {}}, None),
    ],
    ids=["project", "system", "unscoped"],
)
def test_a_token_shows_its_scope(kit: Kit, scope: dict[str, Any], shows: str | None) -> None:
    token = kit.login("admin", scope=scope).json["token"]

    assert {"project", "system", "domain"} & set(token) == ({shows} if shows else set())
    assert ("roles" in token) == (shows is not None)


@pytest.mark.parametrize(
    ("user", "password", "project"),
    [("admin", "wrong", "admin"), ("nobody", "x", "admin"), ("demo", "demo-secret", "admin"), ("demo", "", "nowhere")],
    ids=["wrong password", "no such user", "no role there", "no such project"],
)
def test_every_failed_login_gets_the_same_answer(kit: Kit, user: str, password: str, project: str) -> None:
    answer = kit.login(user, password, project)

    assert answer.status == 401
    assert answer.json == {
        "error": {
            "code": 401,
            "message": "The request you have made requires authentication.",
            "title": "Unauthorized",
        }
    }
    assert answer.headers["www-authenticate"] == 'Keystone uri="http://cloud.test:5000/identity"'


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not json",
        b"[]",
        b'{"auth": 1}',
        b'{"auth": {}}',
        b'{"auth": {"identity": {"methods": []}}}',
        b'{"auth": {"identity": {"methods": ["password"]}}}',
        b'{"auth": {"identity": {"methods": ["password"], "password": {"user": {"name": "admin"}}}}}',
        b'{"auth": {"identity": {"methods": ["password"], "password": {"user": {"name": 1, "password": "x"}}}}}',
        b'{"auth": {"identity": {"methods": ["token"], "token": {}}}}',
    ],
)
def test_a_login_that_is_not_one_is_a_bad_request(kit: Kit, body: bytes) -> None:
    answer = kit.request("POST", "/identity/v3/auth/tokens", body)

    assert answer.status == 400
    assert answer.json["error"]["title"] == "Bad Request"


def test_a_token_makes_another_that_does_not_live_longer(kit: Kit) -> None:
    first = kit.login("demo", scope={"unscoped": {}})
    auth = {
        "identity": {"methods": ["token"], "token": {"id": first.headers["x-subject-token"]}},
        "scope": {"project": {"name": "demo", "domain": {"id": "default"}}},
    }

    second = kit.request("POST", "/identity/v3/auth/tokens", {"auth": auth})

    assert second.status == 201
    token, parent = second.json["token"], first.json["token"]
    assert token["expires_at"] == parent["expires_at"]
    assert token["audit_ids"][1] == parent["audit_ids"][0]
    assert set(token["methods"]) == {"password", "token"}


def test_a_user_changes_its_password_and_its_tokens_end(kit: Kit) -> None:
    demo = kit.as_user("demo", "demo")
    path = "/identity/v3/users/" + kit.login("demo", project="demo").json["token"]["user"]["id"] + "/password"

    wrong = kit.request("POST", path, {"user": {"original_password": "no", "password": "new"}})
    done = kit.request("POST", path, {"user": {"original_password": "demo-secret", "password": "new"}})

    assert (wrong.status, done.status) == (401, 204)
    assert demo.request("GET", "/identity/v3/auth/projects").status == 401
    again = {"identity": {"methods": ["token"], "token": {"id": demo.token}}}
    assert kit.request("POST", "/identity/v3/auth/tokens", {"auth": again}).status == 404
    assert kit.login("demo", project="demo").status == 401
    assert kit.login("demo", "new", "demo").status == 201


def test_users_projects_and_roles_from_creation_to_deletion(kit: Kit) -> None:
    admin = kit.as_user()
    made = admin.request("POST", "/identity/v3/projects", {"project": {"name": "p1", "description": "d", "cost": "42"}})
    project = made.json["project"]
    user = make_user(admin, "u1", email="u1@example.org")
    grant = f"/identity/v3/projects/{project['id']}/users/{user['id']}/roles/{role_id(admin, 'reader')}"

    assert project["cost"] == "42"
    assert (project["domain_id"], project["parent_id"]) == ("default", "default")
    assert user["email"] == "u1@example.org" and "password" not in user
    assert kit.login("u1", project="p1").status == 401
    assert admin.request("PUT", grant).status == 204
    assert admin.request("HEAD", grant).status == 204
    assert kit.login("u1", project="p1").status == 201
    names = admin.request("GET", f"/identity/v3/role_assignments?user.id={user['id']}&include_names").json
    assert names["role_assignments"][0]["scope"]["project"]["name"] == "p1"
    own = kit.as_user("u1", "p1")
    assert [p["name"] for p in own.request("GET", f"/identity/v3/users/{user['id']}/projects").json["projects"]] == [
        "p1"
    ]
    assert own.request("GET", f"/identity/v3/users/{user['id']}").status == 200
    assert admin.request("DELETE", grant).status == 204
    assert admin.request("DELETE", grant).status == 404
    assert admin.request("DELETE", f"/identity/v3/projects/{project['id']}").status == 204
    assert admin.request("DELETE", f"/identity/v3/users/{user['id']}").status == 204
    assert admin.request("GET", f"/identity/v3/users/{user['id']}").status == 404


def test_a_name_is_taken_once_in_a_domain(kit: Kit) -> None:
    admin = kit.as_user()

    answer = admin.request("POST", "/identity/v3/projects", {"project": {"name": "demo"}})

    assert answer.status == 409
    assert "Duplicate entry found with name demo at domain ID default" in answer.json["error"]["message"]


@pytest.mark.parametrize(
    ("collection", "name"),
    [("users", "user"), ("projects", "project"), ("roles", "role"), ("domains", "domain"), ("groups", "group")],
)
def test_names_must_be_texts_that_say_something(kit: Kit, collection: str, name: str) -> None:
    admin = kit.as_user()

    for value in ("", "   ", None, 5, "x" * 300):
        assert admin.request("POST", f"/identity/v3/{collection}", {name: {"name": value}}).status == 400, value
    assert admin.request("POST", f"/identity/v3/{collection}", {name: {}}).status == 400


def test_groups_give_their_roles_to_their_users(kit: Kit) -> None:
    admin = kit.as_user()
    user = make_user(admin, "u1")
    group = admin.request("POST", "/identity/v3/groups", {"group": {"name": "g"}}).json["group"]
    demo = project_id(admin, "demo")
    admin.request("PUT", f"/identity/v3/projects/{demo}/groups/{group['id']}/roles/{role_id(admin, 'member')}")
    assert kit.login("u1", project="demo").status == 401

    admin.request("PUT", f"/identity/v3/groups/{group['id']}/users/{user['id']}")

    assert kit.login("u1", project="demo").status == 201
    found = admin.request("GET", f"/identity/v3/role_assignments?effective&user.id={user['id']}").json
    assert {entry["scope"]["project"]["id"] for entry in found["role_assignments"]} == {demo}
    assert len(found["role_assignments"]) == 2  # member and the reader that it implies


def test_role_inferences_list_what_each_role_implies(kit: Kit) -> None:
    found = kit.as_user().request("GET", "/identity/v3/role_inferences").json["role_inferences"]

    names = {item["prior_role"]["name"]: {role["name"] for role in item["implies"]} for item in found}
    assert (names["admin"], names["manager"], names["member"]) == ({"manager"}, {"member"}, {"reader"})


def test_inherited_roles_count_on_the_projects_of_a_domain(kit: Kit) -> None:
    admin = kit.as_user()
    user = make_user(admin, "u1")
    grant = f"/domains/default/users/{user['id']}/roles/{role_id(admin, 'reader')}/inherited_to_projects"

    assert admin.request("PUT", "/identity/v3/OS-INHERIT" + grant).status == 204

    assert kit.login("u1", project="demo").status == 201
    assert kit.login("u1", scope={"domain": {"id": "default"}}).status == 401


def test_a_project_that_acts_as_a_domain_goes_as_a_domain(kit: Kit) -> None:
    admin = kit.as_user()
    body = {"name": "acts", "is_domain": True}
    made = admin.request("POST", "/identity/v3/projects", {"project": body}).json["project"]
    path = f"/identity/v3/projects/{made['id']}"
    within = {"project": {"name": "within", "domain_id": made["id"]}}
    inner = admin.request("POST", "/identity/v3/projects", within).json["project"]["id"]
    assert admin.request("DELETE", path).status == 403, "it is enabled"
    assert admin.request("PATCH", path, {"project": {"enabled": False}}).status == 200
    assert admin.request("DELETE", path).status == 204
    for gone in (path, f"/identity/v3/domains/{made['id']}", f"/identity/v3/projects/{inner}"):
        assert admin.request("GET", gone).status == 404
    assert admin.request("DELETE", "/identity/v3/projects/default").status == 403


def test_a_domain_is_disabled_before_it_is_deleted_with_all_in_it(kit: Kit) -> None:
    admin = kit.as_user()
    domain = admin.request("POST", "/identity/v3/domains", {"domain": {"name": "d1"}}).json["domain"]
    path = f"/identity/v3/domains/{domain['id']}"
    user = make_user(admin, "u1", domain_id=domain["id"])

    assert admin.request("DELETE", path).status == 403
    assert admin.request("PATCH", path, {"domain": {"enabled": False}}).status == 200
    assert admin.request("DELETE", path).status == 204
    assert admin.request("GET", f"/identity/v3/users/{user['id']}").status == 404


def test_lists_filter_by_value_and_by_part_and_are_cut_by_limit(kit: Kit) -> None:
    admin = kit.as_user()
    for number in range(3):
        make_user(admin, f"user%{number}", enabled=number != 0)

    def names(query: str) -> list[str]:
        return [user["name"] for user in admin.request("GET", f"/identity/v3/users?{query}").json["users"]]

    assert names("name=user%251") == ["user%1"]
    assert names("name__startswith=user") == ["user%0", "user%1", "user%2"]
    assert names("name__icontains=SER%25") == ["user%0", "user%1", "user%2"]
    assert names("enabled=false") == ["user%0"]
    cut = admin.request("GET", "/identity/v3/users?limit=2").json
    assert cut["truncated"] is True and len(cut["users"]) == 2
    rest = admin.request("GET", cut["links"]["next"].removeprefix("http://cloud.test:5000")).json
    assert len(rest["users"]) == 2


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/users"),
        ("POST", "/users"),
        ("GET", "/projects"),
        ("POST", "/projects"),
        ("GET", "/roles"),
        ("GET", "/domains"),
        ("GET", "/services"),
        ("DELETE", "/users/{admin}"),
        ("PATCH", "/users/{admin}"),
        ("GET", "/users/{admin}/application_credentials"),
        ("POST", "/users/{admin}/application_credentials"),
        ("PUT", "/system/users/{demo}/roles/{role}"),
    ],
)
def test_an_ordinary_user_administers_nothing(kit: Kit, method: str, path: str) -> None:
    admin, demo = kit.as_user(), kit.as_user("demo", "demo")
    ids = {user["name"]: user["id"] for user in admin.request("GET", "/identity/v3/users").json["users"]}
    url = "/identity/v3" + path.format(**ids, role=role_id(admin, "admin"))

    answer = demo.request(method, url, {"user": {}, "project": {}, "application_credential": {}})

    assert answer.status == 403
    assert answer.json["error"]["message"].startswith("You are not authorized to perform the requested action")


def test_an_application_credential_acts_with_some_roles_of_its_maker(kit: Kit) -> None:
    admin, demo = kit.as_user(), kit.as_user("demo", "demo")
    me = kit.login("demo", project="demo").json["token"]["user"]["id"]
    base = f"/identity/v3/users/{me}/application_credentials"
    body = {"application_credential": {"name": "ci", "roles": [{"name": "reader"}]}}
    made = demo.request("POST", base, body).json["application_credential"]
    given = {"id": made["id"], "secret": made["secret"]}
    auth = {"identity": {"methods": ["application_credential"], "application_credential": given}}

    answer = kit.request("POST", "/identity/v3/auth/tokens", {"auth": auth})

    assert [role["name"] for role in answer.json["token"]["roles"]] == ["reader"]
    assert answer.json["token"]["application_credential"]["restricted"] is True
    assert "secret" not in demo.request("GET", f"{base}/{made['id']}").json["application_credential"]
    own = Kit(kit.cloud, kit.app, answer.headers["x-subject-token"])
    assert own.request("POST", base, {"application_credential": {"name": "more"}}).status == 403
    assert admin.request("DELETE", f"{base}/{made['id']}").status == 204
    assert own.request("GET", "/identity/v3/auth/projects").status == 401
    assert kit.request("POST", "/identity/v3/auth/tokens", {"auth": auth}).status == 401


def test_an_application_credential_cannot_have_roles_its_maker_lacks(kit: Kit) -> None:
    demo = kit.as_user("demo", "demo")
    me = kit.login("demo", project="demo").json["token"]["user"]["id"]
    body = {"application_credential": {"name": "ci", "roles": [{"name": "admin"}]}}

    answer = demo.request("POST", f"/identity/v3/users/{me}/application_credentials", body)

    assert answer.status == 400


def test_starting_again_changes_nothing_but_the_passwords_the_settings_changed(tmp_path: Path) -> None:
    first = make_kit(tmp_path)
    admin = first.as_user()
    before = [admin.request("GET", f"/identity/v3/{name}").json for name in ("users", "projects", "roles", "endpoints")]
    first.cloud.database.close()

    again = make_kit(tmp_path)
    admin = again.as_user()
    after = [admin.request("GET", f"/identity/v3/{name}").json for name in ("users", "projects", "roles", "endpoints")]
    again.cloud.database.close()
    changed = make_kit(tmp_path, demo_password="fresh")

    assert before == after
    assert changed.login("demo", "demo-secret", "demo").status == 401
    assert changed.login("demo", "fresh", "demo").status == 201
    changed.cloud.database.close()


def test_endpoints_services_and_regions_can_be_administered(kit: Kit) -> None:
    admin = kit.as_user()
    service = admin.request("POST", "/identity/v3/services", {"service": {"type": "dns", "name": "designate"}}).json[
        "service"
    ]
    body = {
        "endpoint": {
            "service_id": service["id"],
            "interface": "public",
            "region": "Two",
            "url": "http://h/$(project_id)s",
        }
    }

    endpoint = admin.request("POST", "/identity/v3/endpoints", body).json["endpoint"]

    assert admin.request("GET", "/identity/v3/regions/Two").status == 200
    token = kit.login().json["token"]
    urls = [entry["endpoints"][0]["url"] for entry in token["catalog"] if entry["type"] == "dns"]
    assert urls == [f"http://h/{token['project']['id']}"]
    assert admin.request("DELETE", f"/identity/v3/endpoints/{endpoint['id']}").status == 204
    assert admin.request("DELETE", "/identity/v3/regions/Two").status == 204


def test_a_stored_password_is_salted_and_says_how_it_was_made() -> None:
    first, second = hash_password("same"), hash_password("same")

    assert first != second
    assert first.startswith("scrypt$14$8$1$")
    assert verify_password("same", first) and not verify_password("other", first)
    assert not verify_password("same", "plain") and not verify_password("same", None)

"""Roles of domains give what they imply and are no roles themselves; the roles that personas have are always there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.unit.api_identity.harness import Answer, Kit, make_kit

V3 = "/identity/v3"


def make(admin: Kit, collection: str, kind: str, **values: Any) -> str:
    answer = admin.request("POST", f"{V3}/{collection}", {kind: values})
    assert answer.status == 201, answer.text
    return str(answer.json[kind]["id"])


class World:
    """A domain with a project, a user and a role named `admin`; another domain beside it."""

    def __init__(self, kit: Kit) -> None:
        self.kit, self.admin = kit, kit.as_user()
        self.domain, self.other = (make(self.admin, "domains", "domain", name=name) for name in ("one", "two"))
        self.project = make(self.admin, "projects", "project", name="p", domain_id=self.domain)
        self.elsewhere = make(self.admin, "projects", "project", name="p", domain_id=self.other)
        self.user = make(self.admin, "users", "user", name="u", domain_id=self.domain, password="secret")
        self.role = make(self.admin, "roles", "role", name="admin", domain_id=self.domain)
        listed = self.admin.request("GET", f"{V3}/roles").json["roles"]
        self.roles = {role["name"]: role["id"] for role in listed}

    def grant(self, place: str, role: str) -> Answer:
        return self.admin.request("PUT", f"{V3}/{place}/users/{self.user}/roles/{role}")

    def imply(self, prior: str, implied: str) -> Answer:
        return self.admin.request("PUT", f"{V3}/roles/{prior}/implies/{implied}")

    def login(self, scope: Any) -> Answer:
        user = {"user": {"id": self.user, "password": "secret"}}
        auth = {"identity": {"methods": ["password"], "password": user}, "scope": scope}
        return self.kit.request("POST", f"{V3}/auth/tokens", {"auth": auth}, token="")


@pytest.fixture
def world(kit: Kit) -> World:
    return World(kit)


def names(answer: Answer) -> list[str]:
    assert answer.status == 201, answer.text
    return sorted(role["name"] for role in answer.json["token"]["roles"])


def test_a_role_of_a_domain_is_in_no_token_and_what_it_implies_is(world: World) -> None:
    scope = {"project": {"id": world.project}}
    assert world.grant(f"projects/{world.project}", world.role).status == 204
    assert world.login(scope).status == 401, "it is no role by itself"
    listed = f"{V3}/users/{world.user}/projects"
    assert world.admin.request("GET", listed).json["projects"] == []

    assert world.imply(world.role, world.roles["member"]).status == 201

    assert names(world.login(scope)) == ["member", "reader"]
    person = Kit(world.kit.cloud, world.kit.app, world.login(scope).headers["x-subject-token"])
    assert person.request("GET", f"{V3}/users").status == 403
    assert person.request("DELETE", f"{V3}/users/{world.user}").status == 403
    assert [each["id"] for each in world.admin.request("GET", listed).json["projects"]] == [world.project]


@pytest.mark.parametrize("place", ["projects", "domains"])
def test_effective_assignments_show_what_tokens_carry(world: World, place: str) -> None:
    id = world.project if place == "projects" else world.domain
    world.grant(f"{place}/{id}", world.role)
    world.imply(world.role, world.roles["reader"])

    asked = f"{V3}/role_assignments?effective&include_names&user.id={world.user}"
    found = world.admin.request("GET", asked).json["role_assignments"]
    stored = world.admin.request("GET", f"{V3}/role_assignments?user.id={world.user}").json["role_assignments"]

    assert [each["role"]["name"] for each in found] == ["reader"]
    assert found[0]["links"]["assignment"].endswith(f"/{place}/{id}/users/{world.user}/roles/{world.role}")
    assert [each["role"]["id"] for each in stored] == [world.role]
    assert names(world.login({place[:-1]: {"id": id}})) == ["reader"]


def test_an_application_credential_has_no_role_of_a_domain(world: World) -> None:
    world.grant(f"projects/{world.project}", world.role)
    world.imply(world.role, world.roles["reader"])
    token = world.login({"project": {"id": world.project}}).headers["x-subject-token"]
    path = f"{V3}/users/{world.user}/application_credentials"

    for wanted in ({"id": world.role}, {"name": "admin"}):
        body = {"application_credential": {"name": "c", "roles": [wanted]}}
        assert world.kit.request("POST", path, body, token=token).status == 400


def test_a_role_of_a_domain_stays_in_it(world: World) -> None:
    for place in (f"projects/{world.elsewhere}", f"domains/{world.other}"):
        assert world.grant(place, world.role).status == 403, place
        inherited = f"{V3}/OS-INHERIT/{place}/users/{world.user}/roles/{world.role}/inherited_to_projects"
        assert world.admin.request("PUT", inherited).status == 403, place
    assert world.grant("system", world.role).status == 400
    assert world.grant(f"domains/{world.domain}", world.role).status == 204


def test_nothing_global_implies_a_role_of_a_domain_and_nothing_implies_admin(world: World) -> None:
    assert world.imply(world.roles["reader"], world.role).status == 403
    assert world.imply(world.roles["reader"], world.roles["admin"]).status == 403
    assert world.imply(world.role, world.roles["admin"]).status == 403


def test_roles_of_domains_are_listed_for_their_domain_only(world: World) -> None:
    listed = world.admin.request("GET", f"{V3}/roles").json["roles"]
    own = world.admin.request("GET", f"{V3}/roles?domain_id={world.domain}").json["roles"]

    assert world.role not in {role["id"] for role in listed}
    assert [role["id"] for role in own] == [world.role]


def test_a_cloud_of_before_gets_the_roles_and_what_they_imply_at_its_next_start(tmp_path: Path) -> None:
    first = make_kit(tmp_path)
    admin = first.as_user()
    for name in ("manager", "service"):
        (role,) = admin.request("GET", f"{V3}/roles?name={name}").json["roles"]
        assert admin.request("DELETE", f"{V3}/roles/{role['id']}").status == 204
    first.cloud.database.close()

    again = make_kit(tmp_path)
    admin = again.as_user()
    roles = {role["id"]: role["name"] for role in admin.request("GET", f"{V3}/roles").json["roles"]}
    rules = admin.request("GET", f"{V3}/role_inferences").json["role_inferences"]
    again.cloud.database.close()

    assert sorted(roles.values()) == ["admin", "manager", "member", "reader", "service"]
    implied = {(rule["prior_role"]["name"], each["name"]) for rule in rules for each in rule["implies"]}
    assert {("admin", "manager"), ("manager", "member"), ("member", "reader")} <= implied

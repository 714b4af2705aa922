"""Filters, flags and states that Keystone knows act here too, or are refused: none is passed over in silence."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.api_identity.harness import Answer, Kit

V3 = "/identity/v3"


class World:
    """A domain with a project, one below it and one below that; a user who reads the middle one; a group."""

    def __init__(self, kit: Kit) -> None:
        self.kit, self.admin = kit, kit.as_user()
        self.roles = {role["name"]: role["id"] for role in self.get("roles")["roles"]}
        self.domain = self.make("domains", "domain", name="d")
        self.top = self.make("projects", "project", name="top", domain_id=self.domain)
        self.middle = self.make("projects", "project", name="middle", parent_id=self.top)
        self.leaf = self.make("projects", "project", name="leaf", parent_id=self.middle)
        self.user = self.make("users", "user", name="u", domain_id=self.domain, password="secret")
        self.group = self.make("groups", "group", name="g", domain_id=self.domain)
        self.ask("PUT", f"groups/{self.group}/users/{self.user}")
        self.ask("PUT", f"projects/{self.middle}/users/{self.user}/roles/{self.roles['reader']}")
        self.ask("PUT", f"projects/{self.leaf}/groups/{self.group}/roles/{self.roles['member']}")
        inherited = f"users/{self.user}/roles/{self.roles['manager']}/inherited_to_projects"
        self.ask("PUT", f"OS-INHERIT/projects/{self.middle}/{inherited}")

    def ask(self, method: str, path: str, body: Any = None) -> Answer:
        return self.admin.request(method, f"{V3}/{path}", body)

    def get(self, path: str) -> Any:
        answer = self.ask("GET", path)
        assert answer.status == 200, answer.text
        return answer.json

    def make(self, collection: str, kind: str, **values: Any) -> str:
        answer = self.ask("POST", collection, {kind: values})
        assert answer.status == 201, answer.text
        return str(answer.json[kind]["id"])

    def close(self, kind: str, id: str, *, closed: bool = True) -> int:
        return self.ask("PATCH", f"{kind}s/{id}", {kind: {"enabled": not closed}}).status

    def assignments(self, query: str) -> set[tuple[str, str, str]]:
        """Who has which role where, by name."""
        named = {self.user: "u", self.group: "g", self.top: "top", self.middle: "middle", self.leaf: "leaf"}
        roles = {id: name for name, id in self.roles.items()}
        return {
            (
                named[each.get("user", each.get("group"))["id"]],
                roles[each["role"]["id"]],
                named[each["scope"]["project"]["id"]],
            )
            for each in self.get(f"role_assignments?{query}")["role_assignments"]
        }


@pytest.fixture
def world(kit: Kit) -> World:
    return World(kit)


def test_assignments_of_a_project_come_with_its_subtree_when_asked(world: World) -> None:
    middle = f"scope.project.id={world.middle}"

    assert world.assignments(middle) == {("u", "reader", "middle"), ("u", "manager", "middle")}
    assert world.assignments(f"{middle}&include_subtree") == {
        ("u", "reader", "middle"),
        ("u", "manager", "middle"),
        ("g", "member", "leaf"),
    }
    assert world.assignments(f"{middle}&include_subtree=0") == world.assignments(middle)
    assert world.assignments(f"{middle}&include_subtree&effective") == {
        ("u", "reader", "middle"),
        ("u", "member", "leaf"),
        ("u", "reader", "leaf"),
        ("u", "manager", "leaf"),
    }


def test_inherited_assignments_are_told_apart_also_when_they_count(world: World) -> None:
    which = f"user.id={world.user}&scope.OS-INHERIT:inherited_to=projects"
    spread = {("u", role, "leaf") for role in ("manager", "member", "reader")}

    assert world.assignments(which) == {("u", "manager", "middle")}
    assert world.assignments(f"{which}&effective") == spread
    (manager,) = [
        each
        for each in world.get(f"role_assignments?effective&{which}")["role_assignments"]
        if each["role"]["id"] == world.roles["manager"]
    ]
    assert manager["scope"]["OS-INHERIT:inherited_to"] == "projects"
    place = f"/OS-INHERIT/projects/{world.middle}/users/{world.user}/roles/{world.roles['manager']}"
    assert manager["links"]["assignment"].endswith(f"{place}/inherited_to_projects")


def test_an_assignment_of_a_group_names_the_membership_it_comes_by(world: World) -> None:
    asked = f"role_assignments?effective&user.id={world.user}&role.id={world.roles['member']}"
    (direct,) = [each for each in world.get(asked)["role_assignments"] if "membership" in each["links"]]

    assert direct["links"]["membership"].endswith(f"/groups/{world.group}/users/{world.user}")
    assert f"/projects/{world.leaf}/groups/{world.group}/roles/" in direct["links"]["assignment"]


@pytest.mark.parametrize(
    "query",
    [
        "include_subtree",
        "scope.project.id=a&scope.domain.id=b",
        "scope.project.id=a&scope.system=all",
        "scope.domain.id=a&scope.system=all",
        "user.id=a&group.id=b",
        "effective&group.id=a",
        "effective&scope.domain.id=a&scope.OS-INHERIT:inherited_to=projects",
    ],
)
def test_filters_of_assignments_that_exclude_each_other_are_refused(world: World, query: str) -> None:
    assert world.ask("GET", f"role_assignments?{query}").status == 400


def test_the_region_of_an_endpoint_changes_by_its_old_name_too(world: World) -> None:
    service = world.make("services", "service", name="s", type="t")
    endpoint = world.make("endpoints", "endpoint", service_id=service, interface="public", url="http://h", region="One")

    changed = world.ask("PATCH", f"endpoints/{endpoint}", {"endpoint": {"region": "Two"}}).json["endpoint"]

    assert (changed["region"], changed["region_id"]) == ("Two", "Two")
    assert world.get("regions/Two")["region"]["id"] == "Two"
    assert [each["id"] for each in world.get("endpoints?region_id=Two")["endpoints"]] == [endpoint]
    assert world.ask("PATCH", f"endpoints/{endpoint}", {"endpoint": {"region_id": "nowhere"}}).status == 400


def test_a_region_goes_with_those_in_it_unless_endpoints_are_there(world: World) -> None:
    world.make("regions", "region", id="north")
    world.make("regions", "region", id="north-1", parent_region_id="north")
    service = world.make("services", "service", name="s", type="t")
    place = {"interface": "public", "url": "http://h", "region_id": "north-1"}
    endpoint = world.make("endpoints", "endpoint", service_id=service, **place)

    assert [each["id"] for each in world.get("regions?parent_region_id=north")["regions"]] == ["north-1"]
    assert world.ask("GET", "regions?parent=north").status == 400
    assert world.ask("DELETE", "regions/north").status == 403
    world.ask("DELETE", f"endpoints/{endpoint}")
    assert world.ask("DELETE", "regions/north").status == 204
    assert world.ask("GET", "regions/north-1").status == 404


def test_an_implied_role_is_checked_without_a_body_and_shown_with_its_link(world: World) -> None:
    rule = f"roles/{world.roles['member']}/implies/{world.roles['reader']}"
    other = f"roles/{world.roles['reader']}/implies/{world.roles['member']}"

    assert (world.ask("HEAD", rule).status, world.ask("HEAD", other).status) == (204, 404)
    assert world.get(rule)["links"]["self"].endswith(f"/v3/{rule}")


def test_a_branch_with_a_disabled_project_takes_no_new_one_and_is_opened_from_the_top(world: World) -> None:
    assert world.close("project", world.top) == 403, "its subtree is open"
    for project in (world.leaf, world.middle, world.top):
        assert world.close("project", project) == 200
    for parent in (world.middle, world.leaf):
        assert world.ask("POST", "projects", {"project": {"name": "new", "parent_id": parent}}).status == 400
    assert world.close("project", world.leaf, closed=False) == 403
    for project in (world.top, world.middle, world.leaf):
        assert world.close("project", project, closed=False) == 200


def test_a_disabled_domain_closes_what_is_in_it(world: World) -> None:
    def login(scope: Any) -> int:
        user = {"user": {"id": world.user, "password": "secret"}}
        auth = {"identity": {"methods": ["password"], "password": user}, "scope": scope}
        return world.kit.request("POST", f"{V3}/auth/tokens", {"auth": auth}, token="").status

    scopes = ({"project": {"id": world.middle}}, "unscoped")
    assert [login(scope) for scope in scopes] == [201, 201]
    assert world.close("domain", world.domain) == 200

    assert [login(scope) for scope in scopes] == [401, 401]
    assert world.ask("POST", "projects", {"project": {"name": "new", "domain_id": world.domain}}).status == 400
    assert world.close("domain", world.domain, closed=False) == 200
    assert [login(scope) for scope in scopes] == [201, 201]


def test_a_project_shows_of_its_tree_what_the_caller_has_a_role_on(world: World) -> None:
    user = {"user": {"id": world.user, "password": "secret"}}
    scope = {"project": {"id": world.middle}}
    auth = {"identity": {"methods": ["password"], "password": user}, "scope": scope}
    token = world.kit.request("POST", f"{V3}/auth/tokens", {"auth": auth}, token="").headers["x-subject-token"]

    def shown(query: str) -> Any:
        return world.kit.request("GET", f"{V3}/projects/{world.middle}?{query}", token=token).json["project"]

    assert shown("parents_as_list")["parents"] == [], "it has no role above"
    assert [each["project"]["name"] for each in shown("subtree_as_list")["subtree"]] == ["leaf"]
    assert shown("parents_as_ids")["parents"] == {world.top: {world.domain: None}}
    assert "parents" not in shown("parents_as_list=0") and "subtree" not in shown("subtree_as_ids=false")


@pytest.mark.parametrize("query", ["parents_as_list&parents_as_ids", "subtree_as_list&subtree_as_ids"])
def test_views_of_a_project_that_cannot_be_given_are_refused(world: World, query: str) -> None:
    assert world.ask("GET", f"projects/{world.middle}?{query}").status == 400


def test_users_are_found_by_every_filter_that_keystone_has(world: World) -> None:
    def names(query: str) -> list[str]:
        return [user["name"] for user in world.get(f"users?{query}")["users"]]

    assert names(f"domain_id={world.domain}") == ["u"]
    for nobody in ("idp_id=x", "protocol_id=x", "unique_id=x", "password_expires_at=lt:2030-01-01T00:00:00Z"):
        assert names(nobody) == [], nobody
    assert world.ask("GET", "users?password_expires_at=soon").status == 400
    everybody = names("sort_key=name")
    assert everybody == sorted(everybody) and names("sort_key=name&sort_dir=desc") == everybody[::-1]
    for wrong in ("sort_key=password", "sort_key=nothing", "sort_dir=up"):
        assert world.ask("GET", f"users?{wrong}").status == 400


def test_who_may_not_is_told_what_is_not_there_where_keystone_looks_first(world: World) -> None:
    """Source: keystone/common/rbac_enforcer/enforcer.py `_extract_member_target_data`."""
    reader = world.kit.as_user("demo", "demo")
    service = world.make("services", "service", type="t", name="t")
    registered = {"service_id": service, "resource_name": "r", "default_limit": 1}
    world.ask("POST", "registered_limits", {"registered_limits": [registered]})
    one = {"service_id": service, "resource_name": "r", "resource_limit": 1, "project_id": world.top}
    limit = world.ask("POST", "limits", {"limits": [one]}).json["limits"][0]["id"]
    of_domain = world.make("roles", "role", name="of the domain", domain_id=world.domain)
    body = {kind: {"description": "d"} for kind in ("role", "domain", "limit")}
    for method, collection, ids in (
        ("GET", "roles", (world.roles["admin"], of_domain)),
        ("PATCH", "roles", (world.roles["admin"], of_domain)),
        ("DELETE", "roles", (world.roles["admin"], of_domain)),
        ("DELETE", "groups", (world.group,)),
        ("PATCH", "domains", (world.domain,)),
        ("DELETE", "domains", (world.domain,)),
        ("PATCH", "limits", (limit,)),
        ("DELETE", "limits", (limit,)),
    ):
        given = body if method == "PATCH" else None
        for id in ids:
            assert reader.request(method, f"{V3}/{collection}/{id}", given).status == 403, f"{method} {collection}"
        assert reader.request(method, f"{V3}/{collection}/{'0' * 32}", given).status == 404, f"{method} {collection}"
    for method, collection in (("GET", "groups"), ("GET", "domains"), ("GET", "users"), ("DELETE", "users")):
        assert reader.request(method, f"{V3}/{collection}/{'0' * 32}").status == 403, f"{method} {collection}"

"""Unified limits: registered ones, those of projects and domains, their models, and a service that obeys them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from deuteron.api.settings import read_operator
from tests.unit.api_identity.harness import Answer, Kit, make_kit

V3 = "/identity/v3"
REGISTERED, LIMITS = f"{V3}/registered_limits", f"{V3}/limits"


class Limits:
    def __init__(self, kit: Kit) -> None:
        self.kit = kit
        self.admin = kit.as_user()
        self.service = self.admin.request("GET", f"{V3}/services?type=image").json["services"][0]["id"]
        self.project = kit.login("demo", project="demo").json["token"]["project"]["id"]

    def register(self, name: str = "image_count_total", most: int = 5, **values: Any) -> Answer:
        one = {"service_id": self.service, "resource_name": name, "default_limit": most, **values}
        return self.admin.request("POST", REGISTERED, {"registered_limits": [one]})

    def limit(self, most: int, name: str = "image_count_total", **values: Any) -> Answer:
        whose = {} if {"project_id", "domain_id"} & values.keys() else {"project_id": self.project}
        one = {"service_id": self.service, "resource_name": name, "resource_limit": most, **whose, **values}
        return self.admin.request("POST", LIMITS, {"limits": [one]})


@pytest.fixture
def limits(kit: Kit) -> Limits:
    return Limits(kit)


def test_registered_limits_are_made_changed_and_deleted(limits: Limits) -> None:
    made = limits.register(description="d", region_id="RegionOne")
    assert made.status == 201
    (one,) = made.json["registered_limits"]
    path = f"{REGISTERED}/{one['id']}"
    assert one == {
        "id": one["id"], "service_id": limits.service, "region_id": "RegionOne", "resource_name": "image_count_total",
        "default_limit": 5, "description": "d", "links": {"self": f"http://cloud.test:5000{path}"},
    }  # fmt: skip
    assert limits.register(region_id="RegionOne").status == 409
    assert limits.register().status == 201, "of all regions is another"
    demo = limits.kit.as_user("demo", "demo")
    assert demo.request("GET", path).json["registered_limit"] == one
    assert len(demo.request("GET", f"{REGISTERED}?region_id=RegionOne").json["registered_limits"]) == 1
    assert demo.request("PATCH", path, {"registered_limit": {"default_limit": 6}}).status == 403
    changed = limits.admin.request("PATCH", path, {"registered_limit": {"default_limit": 0}})
    assert (changed.status, changed.json["registered_limit"]["default_limit"]) == (200, 0)
    assert limits.admin.request("DELETE", path).status == 204
    gone = limits.admin.request("GET", path)
    assert (gone.status, gone.json["error"]["message"]) == (404, f"Could not find registered limit for {one['id']}.")


def test_a_limit_is_instead_of_a_registered_one(limits: Limits) -> None:
    lost = limits.limit(3)
    assert (lost.status, "no corresponding registered limit" in lost.text) == (403, True)
    registered = limits.register().json["registered_limits"][0]["id"]
    made = limits.limit(3)
    assert made.status == 201
    (one,) = made.json["limits"]
    path = f"{LIMITS}/{one['id']}"
    assert (one["project_id"], one["domain_id"], one["resource_limit"]) == (limits.project, None, 3)
    assert limits.limit(4).status == 409
    for method, body in (("DELETE", None), ("PATCH", {"registered_limit": {"default_limit": 6}})):
        refused = limits.admin.request(method, f"{REGISTERED}/{registered}", body)
        assert refused.status == 403 and "project limits associated" in refused.text
    assert limits.admin.request("PATCH", path, {"limit": {"resource_limit": 0}}).json["limit"]["resource_limit"] == 0
    assert limits.admin.request("PATCH", path, {"limit": {"project_id": "x"}}).status == 400
    assert limits.admin.request("DELETE", path).status == 204
    assert limits.admin.request("GET", path).status == 404


def test_a_project_sees_its_own_limits(limits: Limits) -> None:
    limits.register()
    mine = limits.limit(3).json["limits"][0]["id"]
    admins = limits.kit.login().json["token"]["project"]["id"]
    others = limits.limit(4, project_id=admins).json["limits"][0]["id"]
    domains = limits.limit(9, domain_id="default").json["limits"][0]
    assert (domains["project_id"], domains["domain_id"]) == (None, "default")
    demo = limits.kit.as_user("demo", "demo")
    assert [each["id"] for each in demo.request("GET", LIMITS).json["limits"]] == [mine]
    assert demo.request("GET", f"{LIMITS}/{mine}").status == 200
    assert demo.request("GET", f"{LIMITS}/{others}").status == demo.request("GET", f"{LIMITS}/x").status == 403
    assert len(limits.admin.request("GET", LIMITS).json["limits"]) == 3
    found = limits.admin.request("GET", f"{LIMITS}?project_id={limits.project}").json["limits"]
    assert [each["id"] for each in found] == [mine]
    with_limits = limits.admin.request("GET", f"{V3}/projects/default?subtree_as_list&include_limits").json
    held = {each["project"]["name"]: len(each["project"]["limits"]) for each in with_limits["project"]["subtree"]}
    assert held["demo"] == held["admin"] == 1
    assert limits.admin.request("DELETE", f"{V3}/projects/{limits.project}").status == 204
    assert limits.admin.request("GET", f"{LIMITS}/{mine}").status == 404


def test_images_are_counted_against_the_limits(limits: Limits) -> None:
    demo = limits.kit.as_user("demo", "demo")
    limits.register(most=0)
    refused = demo.request("POST", "/image/v2/images", {"name": "x"})
    assert (refused.status, "over limit of 0" in refused.text) == (413, True)
    limits.limit(1)
    assert demo.request("POST", "/image/v2/images", {"name": "x"}).status == 201
    assert demo.request("POST", "/image/v2/images", {"name": "y"}).status == 413
    usage = demo.request("GET", "/image/v2/info/usage").json["usage"]["image_count_total"]
    assert usage == {"usage": 1, "limit": 1}
    limits.register(most=9, region_id="RegionOne")
    assert demo.request("POST", "/image/v2/images", {"name": "y"}).status == 201, (
        "what is said of the region counts first"
    )


@pytest.mark.parametrize(
    "values",
    [
        {"service_id": "x"},
        {"region_id": "x"},
        {"default_limit": -2},
        {"default_limit": "5"},
        {"default_limit": 2**31},
        {"resource_name": ""},
        {"more": 1},
    ],
)
def test_a_registered_limit_that_means_nothing_is_refused(limits: Limits, values: Any) -> None:
    assert limits.register(**values).status == 400
    both = [{"service_id": limits.service, "resource_name": "a", "default_limit": 1}, {"resource_name": "b"}]
    assert limits.admin.request("POST", REGISTERED, {"registered_limits": both}).status == 400
    assert limits.admin.request("GET", REGISTERED).json["registered_limits"] == [], "all or none"


def test_a_limit_that_means_nothing_is_refused(limits: Limits) -> None:
    limits.register()
    for values in ({"project_id": "x"}, {"domain_id": "x"}, {"project_id": limits.project, "domain_id": "default"},
                   {"project_id": None}, {"more": 1}):  # fmt: skip
        assert limits.limit(1, **values).status == 400, values
    for body in ({}, {"limits": []}, {"limits": [7]}, {"limits": "x"}, {"limits": [{}] * 201}):
        assert limits.admin.request("POST", LIMITS, body).status == 400


def test_the_model_is_flat_unless_told(limits: Limits) -> None:
    assert limits.kit.as_user("demo", "demo").request("GET", f"{LIMITS}/model").json["model"]["name"] == "flat"
    limits.register(most=5)
    assert limits.limit(50).status == 201


def test_with_two_levels_a_project_has_no_more_than_its_domain(tmp_path: Path) -> None:
    (tmp_path / "operator.toml").write_text('[identity]\nunified_limit_enforcement_model = "strict_two_level"\n')
    limits = Limits(make_kit(tmp_path, operator=read_operator(tmp_path)))
    assert limits.admin.request("GET", f"{LIMITS}/model").json["model"]["name"] == "strict_two_level"
    limits.register(most=5)
    refused = limits.limit(6)
    assert refused.status == 403 and "doesn't satisfy current hierarchy model" in refused.text
    assert limits.admin.request("GET", LIMITS).json["limits"] == []
    domain = limits.limit(10, domain_id="default").json["limits"][0]["id"]
    mine = limits.limit(6).json["limits"][0]["id"]
    for id, most, status in ((mine, 11, 403), (mine, -1, 403), (mine, 10, 200), (domain, 9, 403), (domain, 20, 200)):
        assert limits.admin.request("PATCH", f"{LIMITS}/{id}", {"limit": {"resource_limit": most}}).status == status
    below = {"project": {"name": "below", "parent_id": limits.project}}
    assert limits.admin.request("POST", f"{V3}/projects", below).status == 403
    beside = {"project": {"name": "beside", "parent_id": "default"}}
    assert limits.admin.request("POST", f"{V3}/projects", beside).status == 201
    limits.kit.cloud.database.close()

"""Which endpoints projects are shown: those that are named for them, else all."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.api_identity.harness import Kit

V3 = "/identity/v3"
FILTERS = f"{V3}/OS-EP-FILTER"
GROUPS = f"{FILTERS}/endpoint_groups"


class Filters:
    def __init__(self, kit: Kit) -> None:
        self.kit = kit
        self.admin = kit.as_user()
        self.project = kit.login("demo", project="demo").json["token"]["project"]["id"]
        found = self.admin.request("GET", f"{V3}/endpoints?interface=public").json["endpoints"]
        kinds = {each["id"]: each["type"] for each in self.admin.request("GET", f"{V3}/services").json["services"]}
        self.endpoints = {kinds[each["service_id"]]: each for each in found}

    def shown(self, user: str = "demo") -> dict[str, set[str]]:
        """What the catalog has, by type of service: interfaces."""
        found = self.kit.login(user, project=user).json["token"]["catalog"]
        return {each["type"]: {one["interface"] for one in each["endpoints"]} for each in found}

    def group(self, **filters: Any) -> str:
        body = {"endpoint_group": {"name": "g", "filters": filters}}
        answer = self.admin.request("POST", GROUPS, body)
        assert answer.status == 201, answer.text
        return str(answer.json["endpoint_group"]["id"])


@pytest.fixture
def filters(kit: Kit) -> Filters:
    return Filters(kit)


def test_a_project_is_shown_the_endpoints_that_are_named_for_it(filters: Filters) -> None:
    every = filters.shown()
    assert {"identity", "image"} <= every.keys()
    image = filters.endpoints["image"]["id"]
    one = f"{FILTERS}/projects/{filters.project}/endpoints/{image}"
    assert filters.admin.request("GET", one).status == 404
    assert filters.admin.request("PUT", one).status == 204
    assert filters.admin.request("PUT", one).status == 409
    assert filters.admin.request("GET", one).status == filters.admin.request("HEAD", one).status == 204
    assert filters.shown() == {"image": {"public"}}
    assert (
        filters.kit.as_user("demo", "demo").request("GET", f"{V3}/auth/catalog").json["catalog"][0]["type"] == "image"
    )
    assert filters.shown("admin") == every, "another project's is as it was"
    listed = filters.admin.request("GET", f"{FILTERS}/projects/{filters.project}/endpoints").json["endpoints"]
    assert [each["id"] for each in listed] == [image]
    projects = filters.admin.request("GET", f"{FILTERS}/endpoints/{image}/projects").json["projects"]
    assert [each["name"] for each in projects] == ["demo"]
    assert filters.admin.request("DELETE", one).status == 204
    assert filters.admin.request("DELETE", one).status == 404
    assert filters.shown() == every
    assert filters.admin.request("PUT", one).status == 204
    assert filters.admin.request("DELETE", f"{V3}/endpoints/{image}").status == 204
    assert "identity" in filters.shown(), "with the endpoint went the filter"


def test_a_project_is_shown_the_endpoints_of_its_groups(filters: Filters) -> None:
    every = filters.shown()
    group = filters.group(interface="internal", region_id="RegionOne")
    one = f"{GROUPS}/{group}/projects/{filters.project}"
    assert filters.admin.request("GET", one).status == 404
    assert filters.admin.request("PUT", one).status == 204
    assert filters.admin.request("PUT", one).status == 409
    shown = filters.admin.request("GET", one).json["project_endpoint_group"]
    assert shown == {
        "endpoint_group_id": group, "project_id": filters.project, "links": {"self": f"http://cloud.test:5000{one}"},
    }  # fmt: skip
    assert filters.shown() == {kind: {"internal"} for kind in every}
    mine = filters.admin.request("GET", f"{FILTERS}/projects/{filters.project}/endpoint_groups").json
    assert [each["id"] for each in mine["endpoint_groups"]] == [group]
    (listed,) = filters.admin.request("GET", GROUPS).json["endpoint_groups"]
    assert listed == filters.admin.request("GET", f"{GROUPS}/{group}").json["endpoint_group"]
    assert len(filters.admin.request("GET", f"{GROUPS}/{group}/endpoints").json["endpoints"]) == len(every)
    assert len(filters.admin.request("GET", f"{GROUPS}/{group}/projects").json["projects"]) == 1
    image = filters.endpoints["image"]["service_id"]
    change = {"endpoint_group": {"filters": {"service_id": image}}}
    assert filters.admin.request("PATCH", f"{GROUPS}/{group}", change).json["endpoint_group"]["filters"] == {
        "service_id": image
    }
    assert filters.shown().keys() == {"image"}
    change = {"endpoint_group": {"filters": {}}}
    changed = filters.admin.request("PATCH", f"{GROUPS}/{group}", change)
    assert (changed.status, changed.json["endpoint_group"]["filters"]) == (200, {})
    assert filters.shown() == every, "it filters nothing any more"
    assert filters.admin.request("DELETE", one).status == 204
    assert filters.shown() == every
    assert filters.admin.request("PUT", one).status == 204
    assert filters.admin.request("DELETE", f"{GROUPS}/{group}").status == 204
    assert filters.shown() == every
    gone = filters.admin.request("GET", f"{GROUPS}/{group}")
    assert (gone.status, gone.json["error"]["message"]) == (404, f"Could not find Endpoint Group: {group}.")


@pytest.mark.parametrize("filters", [{}, {"colour": "red"}, {"interface": "red"}, {"service_id": 7}, "public", None])
def test_a_group_that_filters_nothing_is_refused(kit: Kit, filters: Any) -> None:
    body = {"endpoint_group": {"name": "g", "filters": filters}}
    assert kit.as_user().request("POST", GROUPS, body).status == 400
    named = {"endpoint_group": {"name": "g", "filters": {"interface": "public"}, "more": 1}}
    assert kit.as_user().request("POST", GROUPS, named).status == 400


def test_what_is_not_there_is_filtered_for_nobody(filters: Filters) -> None:
    image, group = filters.endpoints["image"]["id"], filters.group(interface="public")
    for path in (f"projects/x/endpoints/{image}", f"projects/{filters.project}/endpoints/x",
                 f"endpoint_groups/{group}/projects/x", f"endpoint_groups/x/projects/{filters.project}"):  # fmt: skip
        assert filters.admin.request("PUT", f"{FILTERS}/{path}").status == 404, path
    assert filters.kit.as_user("demo", "demo").request("GET", GROUPS).status == 403

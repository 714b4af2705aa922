"""What lists of the identity service find, and that the database finds it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import event

from tests.unit.api_identity.harness import Answer, Kit, make_kit


@pytest.fixture(scope="module")
def admin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kit]:
    """A cloud with four more projects, with and without tags. No test changes them."""
    kit = make_kit(tmp_path_factory.mktemp("lists"))
    admin = kit.as_user()
    for name, tags in (("p1", ["red"]), ("p2", ["red", "blue"]), ("p3", ['x"red']), ("p4", None)):
        body = {"name": name, "parent_id": "default", **({} if tags is None else {"tags": tags})}
        assert admin.request("POST", "/identity/v3/projects", {"project": body}).status == 201
    yield admin
    kit.cloud.database.close()


def listed(admin: Kit, query: str) -> Answer:
    return admin.request("GET", f"/identity/v3/projects?name__startswith=p&{query}")


def names(answer: Answer) -> list[str]:
    assert answer.status == 200, answer.text
    return [project["name"] for project in answer.json["projects"]]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("tags=red", ["p1", "p2"]),
        ("tags=red,blue", ["p2"]),
        ("tags-any=red,blue", ["p1", "p2"]),
        ("not-tags=red", ["p3", "p4"]),
        ("not-tags=red,blue", ["p1", "p3", "p4"]),
        ("not-tags-any=red,blue", ["p3", "p4"]),
        ("tags=x%22red", ["p3"]),
        ("tags=", []),
        ("name__icontains=P1", ["p1"]),
        ("name__contains=P1", []),
        ("name__endswith=4", ["p4"]),
        ("enabled=false", []),
        ("enabled", ["p1", "p2", "p3", "p4"]),
        ("is_domain=maybe", []),
        ("colour=red", ["p1", "p2", "p3", "p4"]),
        ("description=%00", []),
        ("description__contains=%00", []),
        ("tags=red%00", []),
        ("not-tags=red%00", ["p1", "p2", "p3", "p4"]),
        ("sort_dir=desc", ["p4", "p3", "p2", "p1"]),
        ("sort_key=description&sort_dir=desc", ["p1", "p2", "p3", "p4"]),
    ],
)
def test_a_list_finds_what_its_query_names(admin: Kit, query: str, found: list[str]) -> None:
    assert names(listed(admin, query)) == found


@pytest.mark.parametrize("order", ["", "sort_dir=desc", "sort_key=description", "sort_key=id&sort_dir=desc"])
def test_pages_put_together_are_the_whole_list(admin: Kit, order: str) -> None:
    whole, seen, query = names(listed(admin, order)), [], f"limit=3&{order}"
    for _ in range(3):
        answer = listed(admin, query)
        seen += names(answer)
        if "truncated" not in answer.json:
            break
        query = answer.json["links"]["next"].partition("&")[2]

    assert seen == whole
    assert len(whole) == 4


def test_a_link_asks_for_what_the_query_asked(admin: Kit) -> None:
    first = listed(admin, "tags-any=blue%26limit%3D0%23,red&limit=1")
    onward = first.json["links"]["next"].partition("/identity/")[2]

    assert (names(first), names(admin.request("GET", f"/identity/{onward}"))) == (["p1"], ["p2"])


def test_a_page_is_cut_after_its_filters(admin: Kit) -> None:
    first = listed(admin, "not-tags=red&limit=1")

    assert (names(first), first.json["truncated"]) == (["p3"], True)
    assert "truncated" not in listed(admin, "not-tags=red&limit=2").json


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("sort_dir=up&marker=x&limit=x", "sort_dir"),
        ("sort_key=colour&marker=x&limit=x", "sort_key"),
        ("marker=x&limit=x", "Marker x could not be found"),
        ("marker=x%00&limit=x", "could not be found"),
        ("limit=x", "limit"),
    ],
)
def test_a_query_is_refused_for_its_order_then_its_marker_then_its_limit(admin: Kit, query: str, said: str) -> None:
    answer = listed(admin, query)

    assert answer.status == 400
    assert said in answer.json["error"]["message"]


@pytest.mark.parametrize("collection", ["projects", "users", "groups", "roles", "services", "endpoints", "credentials"])
def test_a_page_reads_no_more_rows_than_it_shows_and_one(admin: Kit, collection: str) -> None:
    said: list[tuple[str, Any]] = []
    listen = lambda connection, cursor, statement, parameters, *rest: said.append((statement, parameters))  # noqa: E731
    event.listen(admin.cloud.database.engine, "before_cursor_execute", listen)
    try:
        answer = admin.request("GET", f"/identity/v3/{collection}?limit=2&id__contains=a")
    finally:
        event.remove(admin.cloud.database.engine, "before_cursor_execute", listen)

    assert answer.status == 200
    asked = [(text, values) for text, values in said if f"FROM identity_{collection}" in text and "ORDER BY" in text]
    assert len(asked) == 1
    assert "LIMIT" in asked[0][0]
    assert 3 in asked[0][1]


def test_a_project_is_given_no_tag_twice(kit: Kit) -> None:
    admin = kit.as_user()
    made = admin.request("POST", "/identity/v3/projects", {"project": {"name": "twice", "tags": ["red"]}})
    tags = f"/identity/v3/projects/{made.json['project']['id']}/tags"
    assert admin.request("PUT", f"{tags}/blue", None).status == 201
    refused = admin.request("PUT", f"{tags}/red", None)
    assert (refused.status, "red" in refused.text) == (400, True)
    assert admin.request("PUT", tags, {"tags": ["a", "a"]}).status == 400
    assert admin.request("GET", tags).json["tags"] == ["red", "blue"]

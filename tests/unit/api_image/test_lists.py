"""What a list of images finds, and that the database finds it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import event

from tests.unit.api_identity.harness import Kit, make_kit
from tests.unit.api_image.test_images import make, names, upload


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kit]:
    """Three images: one with data, one with odd words, one with neither. No test changes them."""
    kit = make_kit(tmp_path_factory.mktemp("shelf"))
    demo = kit.as_user("demo", "demo")
    full = make(demo, "full", os_distro="debian", min_ram=5)
    assert upload(demo, full["id"], b"x" * 1000).status == 204
    make(demo, "odd", tags=['x"red', "back\\slash"], **{'k"ey': 'v"al', 'a"b': "c", "plain": '","os_distro":"debian'})
    make(demo, "bare", min_ram=20, tags=["red"], container_format=None)
    yield demo
    kit.cloud.database.close()


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("os_distro=debian", ["full"]),
        ("os_distro=neq:debian", []),
        ("k%22ey=v%22al", ["odd"]),
        ("b=c", []),
        ("nothing=", []),
        ("self=%2Fv2", []),
        ("tag=red", ["bare"]),
        ("tag=x%22red", ["odd"]),
        ("tag=back%5Cslash", ["odd"]),
        ("tag=red&tag=blue", []),
        ("size=1000", ["full"]),
        ("size=neq:1000", ["bare", "odd"]),
        ("size=gte:1001", []),
        ("size=99999999999999999999999", []),
        ("virtual_size=1000", ["full"]),
        ("virtual_size=big", []),
        ("min_ram=in:5,20", ["bare", "full"]),
        ("min_ram=gt:5", ["bare"]),
        ("container_format=neq:bare", ["bare"]),
        ("container_format=in:bare", ["full", "odd"]),
        ("container_format=", []),
        ('name=in:"full",bare', ["bare", "full"]),
        ("name=in:", []),
        ("name=gt:bare&name=lte:odd", ["full", "odd"]),
        ("status=queued", ["bare", "odd"]),
        ("protected=true", []),
        ("os_hidden=true", []),
        ("owner=nobody", []),
        ("created_at=gt:2001-01-31T12:00:00Z", ["bare", "full", "odd"]),
        ("created_at=in:2001-01-31T12:00:00Z", []),
        ("name=%00", []),
        ("name=in:full%00,bare", ["bare"]),
        ("name=neq:%00", ["bare", "full", "odd"]),
        ("os_distro=debian%00", []),
        ("os%00distro=debian", []),
        ("tag=red%00", []),
    ],
)
def test_a_filter_finds_what_it_names_and_nothing_else(shelf: Kit, query: str, found: list[str]) -> None:
    assert names(shelf, f"{query}&sort=name:asc") == found


def test_times_are_compared_by_the_second_that_answers_show(shelf: Kit) -> None:
    made = shelf.request("GET", "/image/v2/images?name=odd").json["images"][0]["created_at"]

    assert "odd" in names(shelf, f"created_at={made}")
    assert "odd" in names(shelf, f"created_at=in:{made}")
    assert "odd" not in names(shelf, f"created_at=gt:{made}")
    assert "odd" in names(shelf, f"created_at=gte:{made}")


@pytest.mark.parametrize("order", ["sort=min_ram:asc", "sort=size:desc,name:asc", "sort_key=tags", "sort_key=name"])
def test_pages_of_any_order_put_together_are_the_whole_list(shelf: Kit, order: str) -> None:
    if order == "sort_key=tags":
        assert shelf.request("GET", f"/image/v2/images?{order}").status == 400
        return
    whole, seen, where = names(shelf, order), [], f"/image/v2/images?limit=1&{order}"
    for _ in range(4):
        page: dict[str, Any] = shelf.request("GET", where).json
        seen += [image["name"] for image in page["images"]]
        if "next" not in page:
            break
        where = "/image" + page["next"]

    assert seen == whole
    assert len(whole) == 3


def test_equal_keys_leave_the_newest_first(shelf: Kit) -> None:
    assert names(shelf, "sort=visibility:asc") == ["bare", "odd", "full"]


def test_a_marker_outside_of_the_list_is_refused(shelf: Kit) -> None:
    odd = shelf.request("GET", "/image/v2/images?name=odd").json["images"][0]["id"]

    assert shelf.request("GET", f"/image/v2/images?name=full&marker={odd}").status == 400
    assert shelf.request("GET", "/image/v2/images?marker=11111111-2222-4333-8444-555555555555").status == 404


def test_a_page_reads_no_more_rows_than_it_shows_and_one(shelf: Kit) -> None:
    said: list[tuple[str, Any]] = []
    listen = lambda connection, cursor, statement, parameters, *rest: said.append((statement, parameters))  # noqa: E731
    event.listen(shelf.cloud.database.engine, "before_cursor_execute", listen)
    try:
        shelf.request("GET", "/image/v2/images?limit=1&os_distro=debian&tag=x&sort=size:asc")
    finally:
        event.remove(shelf.cloud.database.engine, "before_cursor_execute", listen)

    asked = [(text, values) for text, values in said if "FROM image_images" in text]
    assert len(asked) == 1
    assert "LIMIT" in asked[0][0]
    assert 2 in asked[0][1]

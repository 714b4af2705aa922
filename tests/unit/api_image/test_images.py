"""Image v2 as a client sees it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from deuteron.api.settings import BadOperatorFile, read_operator
from deuteron.model.errors import Conflict, NotFound
from deuteron.rules.image.data import open_image
from deuteron.store import query
from deuteron.store.image_tables import images
from tests.unit.api_identity.harness import Answer, Kit, make_kit
from tests.unit.api_image.test_inspect import qcow2

OCTETS = {"content-type": "application/octet-stream"}
PATCH = {"content-type": "application/openstack-images-v2.1-json-patch"}


def make(client: Kit, name: str = "i", **values: Any) -> dict[str, Any]:
    body = {"name": name, "disk_format": "raw", "container_format": "bare", **values}
    answer = client.request("POST", "/image/v2/images", body)
    assert answer.status == 201, answer.text
    image: dict[str, Any] = answer.json
    return image


def upload(client: Kit, image_id: str, data: bytes, **how: Any) -> Answer:
    return client.request("PUT", f"/image/v2/images/{image_id}/file", data, headers=OCTETS, **how)


def names(client: Kit, query: str = "") -> list[str]:
    answer = client.request("GET", f"/image/v2/images?{query}")
    assert answer.status == 200, answer.text
    return [image["name"] for image in answer.json["images"]]


def files(kit: Kit) -> list[str]:
    return sorted(os.listdir(Path(kit.cloud.settings.state_dir) / "images"))


@contextmanager
def kit_with(tmp_path: Path, operator: str) -> Iterator[Kit]:
    """A cloud whose operator wrote this `operator.toml`."""
    (tmp_path / "operator.toml").write_text(operator)
    kit = make_kit(tmp_path, operator=read_operator(tmp_path))
    try:
        yield kit
    finally:
        kit.cloud.database.close()


def test_the_versions_are_300_at_the_root_and_200_below(kit: Kit) -> None:
    root, below = kit.request("GET", "/image"), kit.request("GET", "/image/versions")

    assert (root.status, below.status) == (300, 200)
    assert root.json["versions"][0]["status"] == "CURRENT"
    assert root.json["versions"][0]["links"] == [{"rel": "self", "href": "http://cloud.test:5000/image/v2/"}]


def test_an_image_from_creation_to_deletion(kit: Kit, demo: Kit) -> None:
    data = os.urandom(3_000_000)
    image = make(demo, "cirros", tags=["b"], os_distro="debian")
    path = f"/image/v2/images/{image['id']}"

    assert (image["status"], image["visibility"], image["size"]) == ("queued", "shared", None)
    assert image["os_distro"] == "debian"
    assert demo.request("GET", path + "/file").status == 204
    assert upload(demo, image["id"], b"", pieces=[data[:10], data[10:2_000_000], data[2_000_000:]]).status == 204
    shown = demo.request("GET", path).json
    assert (shown["status"], shown["size"], shown["virtual_size"]) == ("active", len(data), len(data))
    assert shown["checksum"] == hashlib.md5(data).hexdigest()
    assert (shown["os_hash_algo"], shown["os_hash_value"]) == ("sha512", hashlib.sha512(data).hexdigest())
    got = demo.request("GET", path + "/file")
    assert got.body == data
    assert (got.headers["content-md5"], got.headers["content-length"]) == (shown["checksum"], str(len(data)))
    assert upload(demo, image["id"], b"again").status == 409
    with kit.cloud.database.read() as tx:
        (where,), size, digest = open_image(kit.cloud.settings, tx, image["id"])
    assert (where.read_bytes(), size, digest) == (data, len(data), hashlib.sha256(data).hexdigest())
    assert demo.request("DELETE", path).status == 204
    assert demo.request("GET", path).status == 404
    assert files(kit) == []


@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [("bytes=0-9", 0, 9), ("bytes=90-", 90, 99), ("bytes=-5", 95, 99), ("bytes=98-500", 98, 99)],
)
def test_a_range_of_the_data_can_be_read(demo: Kit, asked: str, first: int, last: int) -> None:
    data = os.urandom(100)
    image = make(demo)
    upload(demo, image["id"], data)

    got = demo.request("GET", f"/image/v2/images/{image['id']}/file", headers={"range": asked})

    assert (got.status, got.body) == (206, data[first : last + 1])
    assert got.headers["content-range"] == f"bytes {first}-{last}/100"


def test_a_range_beyond_the_end_is_416(demo: Kit) -> None:
    image = make(demo)
    upload(demo, image["id"], b"x" * 100)

    got = demo.request("GET", f"/image/v2/images/{image['id']}/file", headers={"range": "bytes=100-"})

    assert got.status == 416


def test_a_refused_upload_leaves_nothing_and_can_be_tried_again(kit: Kit, demo: Kit) -> None:
    image = make(demo, disk_format="qcow2")
    path = f"/image/v2/images/{image['id']}"

    refused = upload(demo, image["id"], qcow2(backing=b"/etc/passwd"))

    assert refused.status == 415
    assert "backing file" in refused.text
    assert files(kit) == []
    assert demo.request("GET", path).json["status"] == "queued"
    assert upload(demo, image["id"], qcow2()).status == 204
    assert demo.request("GET", path).json["virtual_size"] == 1024 * 1024


def test_an_upload_that_breaks_off_leaves_nothing(kit: Kit, demo: Kit) -> None:
    image = make(demo)

    answer = upload(demo, image["id"], b"", pieces=[b"x" * 2_000_000], hang_up=True)

    assert answer.status == 400
    assert files(kit) == []
    assert demo.request("GET", f"/image/v2/images/{image['id']}").json["status"] == "queued"


def test_a_full_disk_is_413_and_leaves_nothing(kit: Kit, demo: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    image = make(demo)
    monkeypatch.setattr("deuteron.api.image.sink.RESERVE_BYTES", 1 << 62)

    answer = upload(demo, image["id"], b"x" * 100)

    assert answer.status == 413
    assert "storage media is full" in answer.text
    assert files(kit) == []
    assert demo.request("GET", f"/image/v2/images/{image['id']}").json["status"] == "queued"


@pytest.mark.parametrize(
    ("values", "headers", "status"),
    [
        ({"disk_format": None}, OCTETS, 400),
        ({"container_format": None}, OCTETS, 400),
        ({}, {"content-type": "application/json"}, 415),
        ({}, {}, 415),
    ],
)
def test_data_need_formats_and_the_right_media_type(
    demo: Kit, values: dict[str, Any], headers: dict[str, str], status: int
) -> None:
    image = make(demo, **values)

    answer = demo.request("PUT", f"/image/v2/images/{image['id']}/file", b"x", headers=headers)

    assert answer.status == status


def test_what_a_crash_left_is_swept_at_the_next_start(tmp_path: Path) -> None:
    first = make_kit(tmp_path)
    demo = first.as_user("demo", "demo")
    kept, broken = make(demo, "kept"), make(demo, "broken")
    upload(demo, kept["id"], b"data")
    first.write(lambda tx: query.change(tx, images, broken["id"], {"status": "saving"}))
    (tmp_path / "images" / f".upload-{broken['id']}-1").write_bytes(b"half")
    (tmp_path / "images" / broken["id"]).write_bytes(b"half")
    first.cloud.database.close()

    again = make_kit(tmp_path)

    demo = again.as_user("demo", "demo")
    assert files(again) == [kept["id"]]
    assert demo.request("GET", f"/image/v2/images/{broken['id']}").json["status"] == "queued"
    assert demo.request("GET", f"/image/v2/images/{kept['id']}/file").body == b"data"
    again.cloud.database.close()


def test_what_a_container_holds_is_not_inspected_and_not_given_to_hosts(kit: Kit, demo: Kit) -> None:
    image = make(demo, disk_format="vmdk", container_format="ova")

    assert upload(demo, image["id"], b"some archive").status == 204

    with kit.cloud.database.read() as tx, pytest.raises(Conflict):
        open_image(kit.cloud.settings, tx, image["id"])


def test_an_image_without_data_is_not_given_to_hosts(kit: Kit, demo: Kit) -> None:
    image = make(demo)

    with kit.cloud.database.read() as tx, pytest.raises(NotFound):
        open_image(kit.cloud.settings, tx, image["id"])


def test_a_patch_of_either_kind_changes_an_image(demo: Kit) -> None:
    image = make(demo, a="1")
    path = f"/image/v2/images/{image['id']}"
    new = [
        {"op": "replace", "path": "/name", "value": "n"},
        {"op": "add", "path": "/b", "value": "2"},
        {"op": "remove", "path": "/a"},
        {"op": "add", "path": "/tags/-", "value": "t"},
        {"op": "replace", "path": "/min_ram", "value": 64},
    ]
    old = [{"replace": "/name", "value": "older"}, {"add": "/c~1d", "value": "3"}]

    first = demo.request("PATCH", path, new, headers=PATCH)
    second = demo.request("PATCH", path, old, headers={"content-type": PATCH["content-type"].replace("2.1", "2.0")})

    assert first.status == second.status == 200
    assert (first.json["name"], first.json["b"], first.json["tags"], first.json["min_ram"]) == ("n", "2", ["t"], 64)
    assert "a" not in first.json
    assert (second.json["name"], second.json["c/d"]) == ("older", "3")


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"op": "replace", "path": "/status", "value": "active"}, 403),
        ({"op": "replace", "path": "/id", "value": "x"}, 403),
        ({"op": "replace", "path": "/owner", "value": "x"}, 403),
        ({"op": "add", "path": "/locations", "value": []}, 403),
        ({"op": "remove", "path": "/name"}, 403),
        ({"op": "replace", "path": "/visibility", "value": "public"}, 403),
        ({"op": "replace", "path": "/visibility", "value": "seen"}, 400),
        ({"op": "replace", "path": "/nothing", "value": "x"}, 409),
        ({"op": "remove", "path": "/nothing"}, 409),
        ({"op": "add", "path": "/p", "value": 5}, 400),
        ({"op": "add", "path": "p", "value": "5"}, 400),
        ({"op": "add", "path": "/p/q", "value": "5"}, 400),
        ({"op": "move", "path": "/p", "from": "/q"}, 400),
        ({"op": "add", "path": "/p"}, 400),
        ({"op": "replace", "path": "/min_disk", "value": -1}, 400),
        ({"op": "replace", "path": "/protected", "value": "yes"}, 400),
        ("nonsense", 400),
    ],
    ids=str,
)
def test_a_patch_that_cannot_be_is_refused_whole(demo: Kit, change: Any, status: int) -> None:
    image = make(demo)
    path = f"/image/v2/images/{image['id']}"

    answer = demo.request(
        "PATCH", path, [{"op": "replace", "path": "/name", "value": "changed"}, change], headers=PATCH
    )

    assert answer.status == status, answer.text
    assert demo.request("GET", path).json == image


def test_a_patch_of_another_media_type_is_415(demo: Kit) -> None:
    image = make(demo)

    answer = demo.request("PATCH", f"/image/v2/images/{image['id']}", [], headers={"content-type": "application/json"})

    assert answer.status == 415


def test_a_protected_image_stays(demo: Kit) -> None:
    image = make(demo, protected=True)

    answer = demo.request("DELETE", f"/image/v2/images/{image['id']}")

    assert answer.status == 403
    assert "protected" in answer.text


@pytest.mark.parametrize(
    ("values", "status"),
    [
        ({"visibility": "public"}, 403),
        ({"visibility": "seen"}, 400),
        ({"owner": "somebody"}, 403),
        ({"status": "active"}, 403),
        ({"checksum": "x"}, 403),
        ({"disk_format": "floppy"}, 400),
        ({"container_format": "box"}, 400),
        ({"min_disk": -1}, 400),
        ({"min_ram": "x"}, 400),
        ({"id": "x"}, 400),
        ({"id": "../../../../etc/passwd"}, 400),
        ({"name": "x" * 256}, 400),
        ({"tags": "x"}, 400),
        ({"tags": ["x" * 256]}, 400),
        ({"any": {"nested": 1}}, 400),
        ({f"p{n}": "x" for n in range(129)}, 413),
    ],
    ids=lambda value: str(value)[:40],
)
def test_an_image_that_cannot_be_is_not_made(demo: Kit, values: dict[str, Any], status: int) -> None:
    answer = demo.request("POST", "/image/v2/images", values)

    assert answer.status == status, answer.text
    assert names(demo) == []


def test_an_id_may_be_chosen_once(demo: Kit) -> None:
    chosen = "11111111-2222-4333-8444-555555555555"

    assert make(demo, id=chosen)["id"] == chosen
    assert demo.request("POST", "/image/v2/images", {"id": chosen}).status == 409


def test_who_sees_which_image(kit: Kit, admin: Kit, demo: Kit) -> None:
    for visibility in ("public", "private", "shared", "community"):
        make(admin, visibility, visibility=visibility)
    own = make(demo, "own", visibility="private")
    ids = {
        image["name"]: image["id"] for image in admin.request("GET", "/image/v2/images?visibility=all").json["images"]
    }

    seen = {name: demo.request("GET", f"/image/v2/images/{id}").status for name, id in ids.items()}

    assert seen == {"public": 200, "private": 404, "shared": 404, "community": 200, "own": 200}
    assert names(demo) == ["own", "public"]
    assert names(demo, "visibility=community") == ["community"]
    assert set(names(admin)) == {"own", "public", "private", "shared", "community"}
    assert demo.request("DELETE", f"/image/v2/images/{ids['public']}").status == 403
    assert demo.request("DELETE", f"/image/v2/images/{ids['private']}").status == 404
    assert admin.request("DELETE", f"/image/v2/images/{own['id']}").status == 204


def test_a_shared_image_is_seen_by_its_members_and_listed_once_accepted(kit: Kit, admin: Kit, demo: Kit) -> None:
    project = kit.login("demo", project="demo").json["token"]["project"]["id"]
    image = make(admin, "shared")
    base = f"/image/v2/images/{image['id']}"

    added = admin.request("POST", base + "/members", {"member": project})

    assert (added.status, added.json["status"]) == (200, "pending")
    assert admin.request("POST", base + "/members", {"member": project}).status == 409
    assert demo.request("GET", base).status == 200
    assert names(demo) == []
    assert demo.request("PUT", f"{base}/members/{project}", {"status": "accepted"}).json["status"] == "accepted"
    assert names(demo) == ["shared"]
    assert demo.request("DELETE", f"{base}/members/{project}").status == 403
    assert admin.request("DELETE", f"{base}/members/{project}").status == 204
    assert demo.request("GET", base).status == 404


def test_only_shared_images_have_members(admin: Kit) -> None:
    image = make(admin, visibility="private")

    assert admin.request("POST", f"/image/v2/images/{image['id']}/members", {"member": "p"}).status == 403


def test_a_deactivated_image_gives_its_data_to_administrators_only(admin: Kit, demo: Kit) -> None:
    image = make(demo)
    upload(demo, image["id"], b"data")
    base = f"/image/v2/images/{image['id']}"

    assert demo.request("POST", base + "/actions/deactivate").status == 204
    assert demo.request("GET", base + "/file").status == 403
    assert admin.request("GET", base + "/file").body == b"data"
    assert demo.request("POST", base + "/actions/reactivate").status == 204
    assert demo.request("GET", base + "/file").body == b"data"


def test_lists_are_filtered_sorted_and_paged(demo: Kit) -> None:
    for number, name in enumerate(("a", "b", "c", "d")):
        image = make(demo, name, tags=[f"t{number % 2}"], os_distro="x" if number == 1 else "y", min_ram=number)
        upload(demo, image["id"], b"x" * (number + 1))

    assert names(demo) == ["d", "c", "b", "a"]
    assert names(demo, "sort=name:asc") == ["a", "b", "c", "d"]
    assert names(demo, "sort_key=min_ram&sort_dir=asc") == ["a", "b", "c", "d"]
    assert names(demo, "tag=t1") == ["d", "b"]
    assert names(demo, "os_distro=x") == ["b"]
    assert names(demo, "name=in:a,b&sort=name:asc") == ["a", "b"]
    assert names(demo, "size_min=2&size_max=3") == ["c", "b"]
    assert names(demo, "status=queued") == []
    assert names(demo, "created_at=gt:2000-01-01T00:00:00Z") == ["d", "c", "b", "a"]
    page = demo.request("GET", "/image/v2/images?limit=3&sort=name:asc").json
    assert page["first"] == "/v2/images?limit=3&sort=name%3Aasc"
    rest = demo.request("GET", "/image" + page["next"]).json
    assert [image["name"] for image in page["images"] + rest["images"]] == ["a", "b", "c", "d"]
    assert "next" not in rest


@pytest.mark.parametrize(
    "query",
    ["limit=-1", "limit=x", "marker=x", "sort_key=colour", "sort_dir=up", "visibility=x", "size_min=x", "status=x"],
)
def test_a_list_that_cannot_be_is_a_bad_request(demo: Kit, query: str) -> None:
    assert demo.request("GET", f"/image/v2/images?{query}").status == 400


def test_tags_come_and_go(demo: Kit) -> None:
    image = make(demo)
    path = f"/image/v2/images/{image['id']}/tags/blue"

    assert demo.request("DELETE", path).status == 404
    assert demo.request("PUT", path).status == 204
    assert demo.request("GET", f"/image/v2/images/{image['id']}").json["tags"] == ["blue"]
    assert demo.request("DELETE", path).status == 204


def test_errors_come_as_a_page_or_as_json_or_as_text(demo: Kit) -> None:
    path = "/image/v2/images/11111111-2222-4333-8444-555555555555"

    page = demo.request("GET", path)
    data = demo.request("GET", path, headers={"accept": "application/json"})
    text = demo.request("GET", path, headers={"accept": "text/plain"})

    assert page.headers["content-type"] == "text/html; charset=UTF-8"
    assert "<h1>404 Not Found</h1>\n  No image found with ID 1111" in page.text
    assert data.json["code"] == "404 Not Found" and data.json["message"].startswith("No image found")
    assert text.text.startswith("404 Not Found\n\nNo image found")


def test_without_a_token_it_is_401_as_the_middleware_says_it(kit: Kit) -> None:
    answer = kit.request("GET", "/image/v2/images")

    assert answer.status == 401
    assert answer.json["error"]["code"] == 401
    assert answer.headers["www-authenticate"] == 'Keystone uri="http://cloud.test:5000/identity"'


def test_schemas_and_discovery_say_what_is_there(demo: Kit) -> None:
    schema = demo.request("GET", "/image/v2/schemas/image").json

    assert schema["properties"]["status"]["readOnly"] is True
    assert schema["additionalProperties"] == {"type": "string"}
    assert demo.request("GET", "/image/v2/schemas/images").json["name"] == "images"
    assert demo.request("GET", "/image/v2/schemas/members").status == 200
    offered = demo.request("GET", "/image/v2/info/import").json["import-methods"]["value"]
    made = demo.request("POST", "/image/v2/images", {"name": "i"})
    assert {name.lower(): text for name, text in made.headers.items()}["openstack-image-import-methods"] == ",".join(
        offered
    )
    assert demo.request("GET", "/image/v2/schemas/task").json["properties"]["input"]["type"]
    assert "input" not in str(demo.request("GET", "/image/v2/schemas/tasks").json)
    assert demo.request("GET", "/image/v2/info/stores").status == 404


def test_what_glance_keeps_for_itself_is_reserved(kit: Kit, demo: Kit) -> None:
    body = {"name": "i", "disk_format": "raw", "container_format": "bare", "os_glance_anything": "x"}
    assert demo.request("POST", "/image/v2/images", body).status == 403
    image = make(demo)
    for verb in ("add", "replace", "remove"):
        patch = [{"op": verb, "path": "/os_glance_importing_to_stores", "value": "x"}]
        answer = demo.request("PATCH", f"/image/v2/images/{image['id']}", patch, headers=PATCH)
        assert (answer.status, "is reserved" in answer.text) == (403, True)


def test_a_project_has_only_so_many_images_and_so_much_data(tmp_path: Path) -> None:
    with kit_with(tmp_path, "[image]\nimage_count_total = 3\nimage_size_total = 1\n") as kit:
        demo, admin = kit.as_user("demo", "demo"), kit.as_user()
        first, second = make(demo), make(demo)
        assert upload(demo, first["id"], b"x").status == 204
        answer = upload(demo, second["id"], b"x")
        assert (answer.status, "image_size_total is over limit of 1" in answer.text) == (413, True)
        assert demo.request("GET", f"/image/v2/images/{second['id']}").json["status"] == "queued"
        make(demo)
        body = {"name": "i", "disk_format": "raw", "container_format": "bare"}
        answer = demo.request("POST", "/image/v2/images", body)
        assert (answer.status, "image_count_total is over limit of 3" in answer.text) == (413, True)
        assert admin.request("POST", "/image/v2/images", body).status == 201


def test_uploads_at_once_are_counted(tmp_path: Path) -> None:
    with kit_with(tmp_path, "[image]\nimage_count_uploading = 0\n") as kit:
        demo = kit.as_user("demo", "demo")
        answer = upload(demo, make(demo)["id"], b"x")
        assert (answer.status, "image_count_uploading" in answer.text) == (413, True)


def test_an_operator_may_take_data_of_another_format_than_declared_which_cannot_be_booted(tmp_path: Path) -> None:
    with kit_with(tmp_path, "[image]\nrequire_image_format_match = false\n") as kit:
        demo = kit.as_user("demo", "demo")
        image = make(demo)
        assert upload(demo, image["id"], qcow2()).status == 204
        assert demo.request("GET", f"/image/v2/images/{image['id']}").json["status"] == "active"
        with kit.cloud.database.read() as tx, pytest.raises(Conflict):
            open_image(kit.cloud.settings, tx, image["id"])
        backed = make(demo, disk_format="qcow2")
        assert upload(demo, backed["id"], qcow2(backing=b"/etc/passwd")).status == 415


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[image]\nimage_count = 3\n", "image_count"),
        ("[image]\nimage_count_total = 'x'\n", "image_count_total"),
        ("[network]\ndns_domain = 'a_b'\n", "network.dns_domain"),
        ('[network]\ndns_domain = "a.b\\n"\n', "network.dns_domain"),
        ("[network]\ndns_domain = 'a..b'\n", "network.dns_domain"),
        ("[", ""),
    ],
)
def test_what_an_operator_sets_wrong_is_named(tmp_path: Path, text: str, named: str) -> None:
    (tmp_path / "operator.toml").write_text(text)
    with pytest.raises(BadOperatorFile, match=f"operator.toml.*{named}"):
        read_operator(tmp_path)

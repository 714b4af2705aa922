"""Metadata definitions, as a client sees them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from deuteron.rules.image import standard
from tests.unit.api_identity.harness import Answer, Kit, make_kit

PATH = "/image/v2/metadefs/namespaces"
COLOUR = {"title": "Colour", "type": "string", "enum": ["red", "blue"], "default": "red"}
WHOLE = {
    "namespace": "Our::Words",
    "display_name": "Our words",
    "description": "What we say of disks.",
    "visibility": "public",
    "properties": {"colour": COLOUR},
    "objects": [{"name": "shape", "description": "Its form.", "properties": {"corners": {**COLOUR, "type": "integer"}},
                 "required": ["corners"]}],
    "tags": [{"name": "large"}, {"name": "small"}],
    "resource_type_associations": [{"name": "OS::Cinder::Volume", "prefix": "our:", "properties_target": "image"}],
}  # fmt: skip


def create(client: Kit, **values: Any) -> Answer:
    return client.request("POST", PATH, {**WHOLE, **values})


def get(client: Kit, path: str) -> Any:
    answer = client.request("GET", path)
    assert answer.status == 200, answer.text
    return answer.json


def test_a_namespace_from_creation_to_deletion(admin: Kit, demo: Kit) -> None:
    made = create(admin)

    assert made.status == 201, made.text
    assert made.headers["location"].endswith("/image/v2/metadefs/namespaces/Our::Words")
    assert {name: made.json[name] for name in WHOLE} == WHOLE
    shown = get(demo, f"{PATH}/Our::Words")
    assert (shown["protected"], shown["self"]) == (False, "/v2/metadefs/namespaces/Our::Words")
    assert shown["properties"] == {"colour": COLOUR}
    assert shown["tags"] == [{"name": "large"}, {"name": "small"}]
    assert shown["objects"][0]["self"] == "/v2/metadefs/namespaces/Our::Words/objects/shape"
    assert shown["objects"][0]["required"] == ["corners"]
    (linked,) = shown["resource_type_associations"]
    assert (linked["name"], linked["prefix"], linked["properties_target"]) == ("OS::Cinder::Volume", "our:", "image")
    prefixed = get(demo, f"{PATH}/Our::Words?resource_type=OS::Cinder::Volume")
    assert list(prefixed["properties"]) == ["our:colour"]
    assert (list(prefixed["objects"][0]["properties"]), prefixed["objects"][0]["required"]) == (
        ["our:corners"],
        ["our:corners"],
    )
    assert create(admin).status == 409

    changed = admin.request("PUT", f"{PATH}/Our::Words", {"namespace": "Ours", "visibility": "private"})
    assert (changed.json["namespace"], "description" in changed.json) == ("Ours", False)
    assert demo.request("GET", f"{PATH}/Ours").status == 404
    assert get(admin, f"{PATH}/Ours")["properties"] == {"colour": COLOUR}
    assert admin.request("PUT", f"{PATH}/Ours", {"namespace": "OS::Compute::Quota"}).status == 409
    assert admin.request("DELETE", f"{PATH}/Ours").status == 204
    assert admin.request("GET", f"{PATH}/Ours").status == 404
    assert create(admin).status == 201


def test_objects_come_and_go(admin: Kit, demo: Kit) -> None:
    create(admin)
    path = f"{PATH}/Our::Words/objects"
    body = {"name": "size", "description": "How large.", "properties": {"gib": {"title": "GiB", "type": "integer"}}}

    made = admin.request("POST", path, body)

    assert (made.status, made.json["schema"]) == (201, "/v2/schemas/metadefs/object")
    assert admin.request("POST", path, body).status == 409
    assert {each["name"] for each in get(demo, path)["objects"]} == {"shape", "size"}
    assert get(demo, f"{path}/size")["properties"]["gib"]["title"] == "GiB"
    assert admin.request("PUT", f"{path}/size", {"name": "shape"}).status == 409
    assert admin.request("PUT", f"{path}/size", {"name": "weight"}).json["name"] == "weight"
    assert demo.request("GET", f"{path}/size").status == 404
    assert admin.request("DELETE", f"{path}/weight").status == 204
    assert admin.request("DELETE", path).status == 204
    assert get(demo, path) == {"objects": [], "schema": "/v2/schemas/metadefs/objects"}


def test_properties_come_and_go(admin: Kit, demo: Kit) -> None:
    create(admin)
    path = f"{PATH}/Our::Words/properties"
    body = {"name": "shade", "title": "Shade", "type": "number", "minimum": 0, "maximum": 9, "operators": ["<or>"]}

    assert admin.request("POST", path, body).json == body
    assert admin.request("POST", path, body).status == 409
    assert set(get(demo, path)["properties"]) == {"shade", "colour"}
    assert get(demo, f"{path}/shade") == body
    assert get(demo, f"{path}/our:shade?resource_type=OS::Cinder::Volume") == body
    assert demo.request("GET", f"{path}/shade?resource_type=OS::Cinder::Volume").status == 404
    assert demo.request("GET", f"{path}/shade?resource_type=Nothing").status == 404
    assert admin.request("PUT", f"{path}/shade", {**body, "name": "tone"}).json["name"] == "tone"
    assert admin.request("DELETE", f"{path}/tone").status == 204
    assert admin.request("DELETE", f"{path}/tone").status == 404
    assert admin.request("DELETE", path).status == 204
    assert get(demo, path) == {"properties": {}}


def test_tags_come_and_go(admin: Kit, demo: Kit) -> None:
    create(admin)
    path = f"{PATH}/Our::Words/tags"

    def named(query: str = "") -> list[str]:
        return [tag["name"] for tag in get(demo, path + query)["tags"]]

    assert admin.request("POST", f"{path}/huge").json["name"] == "huge"
    assert admin.request("POST", f"{path}/huge").status == 409
    assert admin.request("POST", f"{path}/{'x' * 81}").status == 400
    assert get(demo, f"{path}/huge")["name"] == "huge"
    assert admin.request("PUT", f"{path}/huge", {"name": "giant"}).json["name"] == "giant"
    assert named("?sort_key=name&sort_dir=asc") == ["giant", "large", "small"]
    assert named("?sort_key=name&sort_dir=desc&limit=1&marker=small") == ["large"]
    more = admin.request("POST", path, {"tags": [{"name": "odd"}]}, headers={"x-openstack-append": "True"})
    assert (more.status, more.json) == (201, {"tags": [{"name": "odd"}]})
    assert len(named()) == 4
    assert admin.request("POST", path, {"tags": [{"name": "a"}, {"name": "a"}]}).status == 409
    assert len(named()) == 4
    admin.request("POST", path, {"tags": [{"name": "a"}, {"name": "b"}]})
    assert named() == ["a", "b"]
    assert admin.request("DELETE", f"{path}/a").status == 204
    assert admin.request("DELETE", path).status == 204
    assert named() == []
    for wrong in ("limit=-1", "limit=x", "sort_dir=up", "sort_key=colour"):
        assert demo.request("GET", f"{path}?{wrong}").status == 400
    assert demo.request("GET", f"{path}?marker=none").status == 404


def test_namespaces_are_associated_with_types_of_resources(admin: Kit, demo: Kit) -> None:
    create(admin)
    path = f"{PATH}/Our::Words/resource_types"

    made = admin.request("POST", path, {"name": "Our::Disk", "prefix": "d_"})

    assert (made.status, made.json["prefix"]) == (201, "d_")
    assert admin.request("POST", path, {"name": "Our::Disk"}).status == 409
    linked = {each["name"] for each in get(demo, path)["resource_type_associations"]}
    assert linked == {"Our::Disk", "OS::Cinder::Volume"}
    types = [each["name"] for each in get(demo, "/image/v2/metadefs/resource_types")["resource_types"]]
    assert {"Our::Disk", "OS::Glance::Image", "OS::Nova::Flavor"} <= set(types)
    found = get(demo, f"{PATH}?resource_types=Our::Disk,Nothing")["namespaces"]
    assert [each["namespace"] for each in found] == ["Our::Words"]
    assert admin.request("DELETE", f"{path}/Our::Disk").status == 204
    assert admin.request("DELETE", f"{path}/Our::Disk").status == 404
    assert "Our::Disk" in [each["name"] for each in get(demo, "/image/v2/metadefs/resource_types")["resource_types"]]


def test_what_is_protected_stays(admin: Kit) -> None:
    create(admin, protected=True)
    one = f"{PATH}/Our::Words"

    for what in ("", "/objects", "/objects/shape", "/properties", "/properties/colour", "/tags", "/tags/large",
                 "/resource_types/OS::Cinder::Volume"):  # fmt: skip
        answer = admin.request("DELETE", one + what)
        assert (answer.status, "is protected and cannot be deleted" in answer.text) == (403, True), what
    shown = get(admin, one)
    assert {name: len(shown[name]) for name in ("objects", "properties", "tags")} == {
        "objects": 1,
        "properties": 1,
        "tags": 2,
    }


def test_a_private_namespace_is_not_there_for_others(admin: Kit, demo: Kit) -> None:
    create(admin, visibility="private")
    one = f"{PATH}/Our::Words"

    for path in ("", "/objects", "/objects/shape", "/properties", "/properties/colour", "/tags", "/tags/large",
                 "/resource_types"):  # fmt: skip
        assert demo.request("GET", one + path).status == 404, path
        assert demo.request("DELETE", one + path).status in (404, 405), path
    assert "Our::Words" not in [each["namespace"] for each in get(demo, f"{PATH}?limit=1000")["namespaces"]]
    project = get(demo, "/identity/v3/auth/projects")["projects"][0]["id"]
    create(admin, namespace="Yours", visibility="private", owner=project)
    assert get(demo, f"{PATH}/Yours")["owner"] == project
    for method, path in (("POST", PATH), ("PUT", f"{PATH}/Yours"), ("DELETE", f"{PATH}/Yours")):
        body = None if method == "DELETE" else {"namespace": "x"}
        assert demo.request(method, path, body).status == 403


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ([], 400),
        ({}, 400),
        ({"namespace": ""}, 400),
        ({"namespace": "x" * 81}, 400),
        ({"namespace": 5}, 400),
        ({"namespace": "x", "visibility": "shared"}, 400),
        ({"namespace": "x", "protected": "yes"}, 400),
        ({"namespace": "x", "colour": "red"}, 400),
        ({"namespace": "x", "self": "/"}, 403),
        ({"namespace": "x", "created_at": "now"}, 403),
        ({"namespace": "x", "properties": {"p": {}}}, 400),
        ({"namespace": "x", "properties": {"p": 5}}, 400),
        ({"namespace": "x", "properties": {"": COLOUR}}, 400),
        ({"namespace": "x", "properties": {"p": {**COLOUR, "type": "colour"}}}, 400),
        ({"namespace": "x", "properties": {"p": {**COLOUR, "minimum": "one"}}}, 400),
        ({"namespace": "x", "objects": [{}]}, 400),
        ({"namespace": "x", "objects": [{"name": "o", "properties": {"p": {"title": "t"}}}]}, 400),
        ({"namespace": "x", "objects": [{"name": "o"}, {"name": "o"}]}, 409),
        ({"namespace": "x", "tags": [{"name": "t"}, {"name": "t"}]}, 409),
        ({"namespace": "x", "tags": ["t"]}, 400),
        ({"namespace": "x", "resource_type_associations": [{"prefix": "p"}]}, 400),
    ],
)
def test_what_cannot_be_is_refused_whole(admin: Kit, body: Any, status: int) -> None:
    answer = admin.request("POST", PATH, body)

    assert answer.status == status, answer.text
    assert admin.request("GET", f"{PATH}/x").status == 404


def test_a_new_cloud_has_openstacks_standard_namespaces(admin: Kit, demo: Kit) -> None:
    seen: list[str] = []
    path = f"{PATH}?limit=20&sort_key=namespace&sort_dir=asc"
    while path:
        page = get(admin, path)
        seen += [each["namespace"] for each in page["namespaces"]]
        path = "/image" + page["next"] if "next" in page else ""

    documents = {each.namespace: each for each in standard.documents()}
    assert (len(documents), seen) == (32, sorted(documents))
    quota = get(demo, f"{PATH}/OS::Compute::Quota")
    assert (quota["protected"], quota["visibility"], quota["owner"]) == (True, "public", "admin")
    for name, document in documents.items():
        shown = get(admin, f"{PATH}/{name}")
        assert demo.request("GET", f"{PATH}/{name}").status == (200 if document.visibility == "public" else 404)
        assert shown.get("properties", {}) == document.properties
        objects = {each["name"]: each for each in shown.get("objects", ())}
        for item in document.objects:
            assert {key: objects[str(item["name"])][key] for key in item} == item


def test_what_an_administrator_deletes_of_them_stays_away(tmp_path: Path) -> None:
    kit = make_kit(tmp_path)
    admin = kit.as_user()
    open_ = {"namespace": "OS::Compute::Quota", "visibility": "public", "protected": False}
    assert admin.request("PUT", f"{PATH}/OS::Compute::Quota", open_).status == 200
    assert admin.request("DELETE", f"{PATH}/OS::Compute::Quota").status == 204
    kit.cloud.database.close()

    again = make_kit(tmp_path)

    assert again.as_user().request("GET", f"{PATH}/OS::Compute::Quota").status == 404
    again.cloud.database.close()


@pytest.mark.parametrize("name", ["namespace", "object", "property", "resource_type", "tag"])
def test_schemas_say_what_definitions_are(demo: Kit, name: str) -> None:
    one = get(demo, f"/image/v2/schemas/metadefs/{name}")
    plural = {"property": "properties"}.get(name, f"{name}s")
    several = get(demo, f"/image/v2/schemas/metadefs/{plural}")

    assert one["name"] == {"resource_type": "resource_type_association"}.get(name, name)
    assert several["name"] in several["properties"]
    if name != "property":
        assert one["properties"]["created_at"] == {"type": "string", "readOnly": True}
    assert ("namespace" if name == "namespace" else "name") in one["required"]


@pytest.mark.parametrize(
    ("path", "key"),
    [
        ("metadefs/namespaces", ""),
        ("metadefs/namespaces/Our::Words", ""),
        ("metadefs/namespaces/Our::Words/objects", ""),
        ("metadefs/namespaces/Our::Words/objects/shape", ""),
        ("metadefs/namespaces/Our::Words/properties", "metadefs/properties"),
        ("metadefs/namespaces/Our::Words/properties/colour", "metadefs/property"),
        ("metadefs/namespaces/Our::Words/resource_types", "metadefs/resource_types"),
        ("metadefs/namespaces/Our::Words/tags", "metadefs/tags"),
        ("metadefs/namespaces/Our::Words/tags/large", "metadefs/tag"),
        ("images", ""),
        ("images/{image}", ""),
    ],
)
def test_what_is_shown_is_what_its_schema_says(admin: Kit, path: str, key: str) -> None:
    """Glance's own client compares: what its schema does not know it takes for no definition at all."""
    create(admin)
    body = {
        "name": "disk",
        "disk_format": "raw",
        "container_format": "bare",
        "os_distro": "debian",
        "our:colour": "red",
    }
    image = admin.request("POST", "/image/v2/images", body).json["id"]

    shown = get(admin, "/image/v2/" + path.format(image=image))

    where = f"/v2/schemas/{key}" if key else shown["schema"]
    jsonschema_rs.validate(get(admin, f"/image{where}"), shown)

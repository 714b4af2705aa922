"""Staging, imports and their tasks, as a client sees them."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import pytest

from deuteron.model.errors import Forbidden
from deuteron.rules.image import images as rules
from deuteron.store import query
from deuteron.store.image_tables import images, tasks
from tests.clouds import wait_for
from tests.unit.api_identity.harness import Answer, Kit, make_kit
from tests.unit.api_image.test_images import OCTETS, PATCH, files, kit_with, make, upload
from tests.unit.api_image.test_inspect import qcow2

DIRECT = {"method": {"name": "glance-direct"}}


def stage(client: Kit, image_id: str, data: bytes, **how: Any) -> Answer:
    return client.request("PUT", f"/image/v2/images/{image_id}/stage", data, headers=OCTETS, **how)


def bring(client: Kit, image_id: str, body: Any = None) -> Answer:
    return client.request("POST", f"/image/v2/images/{image_id}/import", DIRECT if body is None else body)


def show(client: Kit, image_id: str) -> dict[str, Any]:
    shown: dict[str, Any] = client.request("GET", f"/image/v2/images/{image_id}").json
    return shown


def tasks_of(client: Kit, image_id: str) -> list[dict[str, Any]]:
    answer = client.request("GET", f"/image/v2/images/{image_id}/tasks")
    assert answer.status == 200, answer.text
    found: list[dict[str, Any]] = answer.json["tasks"]
    return found


def done(client: Kit, image_id: str) -> dict[str, Any]:
    """The image's newest task, once it is done."""
    return wait_for(  # type: ignore[no-any-return]  # what it looks at
        "a task that is done",
        lambda: tasks_of(client, image_id)[-1],
        lambda task: task["status"] in ("success", "failure"),
    )


def test_staged_data_become_an_images_by_import(kit: Kit, demo: Kit) -> None:
    data = os.urandom(3_000_000)
    image = make(demo)

    assert stage(demo, image["id"], b"", pieces=[data[:10], data[10:]]).status == 204
    staged = show(demo, image["id"])
    assert (staged["status"], staged["size"], staged["checksum"]) == ("uploading", len(data), None)
    assert demo.request("GET", f"/image/v2/images/{image['id']}/file").status == 204
    everywhere = {**DIRECT, "all_stores": True, "all_stores_must_succeed": True}
    answer = bring(demo, image["id"], everywhere)

    assert (answer.status, answer.body) == (202, b"")
    task = done(demo, image["id"])
    assert (task["status"], task["type"], task["result"]) == ("success", "api_image_import", {"image_id": image["id"]})
    assert task["input"] == {"image_id": image["id"], "import_req": everywhere, "backend": [None]}
    shown = show(demo, image["id"])
    assert (shown["status"], shown["size"], shown["virtual_size"]) == ("active", len(data), len(data))
    assert shown["os_hash_value"] == hashlib.sha512(data).hexdigest()
    assert "os_glance_import_task" not in shown
    assert demo.request("GET", f"/image/v2/images/{image['id']}/file").body == data
    wait_for("no staged file", lambda: files(kit) == [image["id"]])
    assert bring(demo, image["id"]).status == 409


def test_what_is_staged_is_inspected_as_an_upload_is(kit: Kit, demo: Kit) -> None:
    image = make(demo, disk_format="qcow2")
    stage(demo, image["id"], qcow2(backing=b"/etc/passwd"))

    assert bring(demo, image["id"]).status == 202

    task = done(demo, image["id"])
    assert (task["status"], "backing file" in task["message"]) == ("failure", True)
    shown = show(demo, image["id"])
    assert (shown["status"], shown["size"], shown.get("os_glance_import_task")) == ("queued", None, None)
    assert files(kit) == []
    stage(demo, image["id"], qcow2())
    bring(demo, image["id"])
    assert done(demo, image["id"])["status"] == "success"


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ([], "requires a 'method' field"),
        ({}, "requires a 'method' field"),
        ({"method": "glance-direct"}, "requires a 'method' field"),
        ({"method": {}}, "requires a 'name' field"),
        ({"method": {"name": "teleport"}}, "Unknown import method name"),
        ({"method": {"name": ["glance-direct"]}}, "Unknown import method name"),
        ({**DIRECT, "all_stores": "yes"}, "must be boolean"),
        ({**DIRECT, "stores": ["slow"]}, "multi backend"),
        ({**DIRECT, "all_stores_must_succeed": False}, "enabled_backends"),
    ],
)
def test_an_import_that_cannot_be_is_refused(demo: Kit, body: Any, says: str) -> None:
    image = make(demo)
    stage(demo, image["id"], b"data")

    answer = bring(demo, image["id"], body)

    assert answer.status == 400, answer.text
    assert says in answer.text.replace("&#x27;", "'")
    assert show(demo, image["id"])["status"] == "uploading"
    assert tasks_of(demo, image["id"]) == []


def test_an_image_is_imported_in_its_states_only(demo: Kit) -> None:
    queued, whole, formless = make(demo), make(demo), make(demo, disk_format=None)
    upload(demo, whole["id"], b"data")

    assert "needs to be staged" in bring(demo, queued["id"]).text
    assert bring(demo, whole["id"]).status == 409
    assert stage(demo, whole["id"], b"data").status == 409
    assert stage(demo, formless["id"], b"data").status == 204
    assert stage(demo, formless["id"], b"data").status == 409
    assert upload(demo, formless["id"], b"data").status == 409
    refused = bring(demo, formless["id"])
    assert (refused.status, "needs to be set before import" in refused.text) == (409, True)
    patch = [{"op": "replace", "path": "/disk_format", "value": "raw"}]
    assert demo.request("PATCH", f"/image/v2/images/{formless['id']}", patch, headers=PATCH).status == 403


def test_staging_that_breaks_off_leaves_nothing(kit: Kit, demo: Kit) -> None:
    image = make(demo)

    assert stage(demo, image["id"], b"", pieces=[b"x" * 2_000_000], hang_up=True).status == 400

    assert (files(kit), show(demo, image["id"])["status"]) == ([], "queued")
    assert demo.request("PUT", f"/image/v2/images/{image['id']}/stage", b"x").status == 415


def test_what_is_staged_goes_with_its_image(kit: Kit, demo: Kit) -> None:
    image = make(demo)
    stage(demo, image["id"], b"data")

    assert demo.request("DELETE", f"/image/v2/images/{image['id']}").status == 204

    assert files(kit) == []


def test_a_crash_in_the_middle_leaves_what_was_staged_and_nothing_else(tmp_path: Path) -> None:
    first = make_kit(tmp_path)
    demo = first.as_user("demo", "demo")
    staged, half, lost = make(demo, "staged"), make(demo, "half"), make(demo, "lost")
    for image in (staged, lost):
        stage(demo, image["id"], b"data")
    bring(demo, staged["id"])
    assert done(demo, staged["id"])["status"] == "success"
    first.cloud.stop_jobs()
    # As it was in the midst of it: imported under both names, and not acknowledged.
    folder = tmp_path / "images"
    os.link(folder / staged["id"], folder / f".staged-{staged['id']}")
    task_id = tasks_of(demo, staged["id"])[0]["id"]
    notes = {"os_glance_import_task": task_id, "os_glance_importing_to_stores": ""}
    under_way = {"status": "processing", "expires_at": None, "result": None}
    first.write(lambda tx: query.change(tx, images, staged["id"], {"status": "importing", "properties": notes}))
    first.write(lambda tx: query.change(tx, tasks, task_id, under_way))
    first.write(lambda tx: query.change(tx, images, half["id"], {"status": "uploading"}))
    (folder / f".staged-{half['id']}").write_bytes(b"not acknowledged")
    (folder / f".upload-{half['id']}-1").write_bytes(b"half")
    (folder / f".staged-{lost['id']}").unlink()
    first.cloud.database.close()

    again = make_kit(tmp_path)

    demo = again.as_user("demo", "demo")
    assert files(again) == [f".staged-{staged['id']}"]
    states = {name: show(demo, image["id"])["status"] for name, image in (("half", half), ("lost", lost))}
    assert (states, show(demo, staged["id"])["status"]) == ({"half": "queued", "lost": "queued"}, "uploading")
    assert "os_glance_import_task" not in show(demo, staged["id"])
    (task,) = tasks_of(demo, staged["id"])
    assert (task["status"], "was stopped" in task["message"]) == ("failure", True)
    assert bring(demo, staged["id"]).status == 202
    assert done(demo, staged["id"])["status"] == "success"
    assert demo.request("GET", f"/image/v2/images/{staged['id']}/file").body == b"data"
    again.cloud.database.close()


def test_administrators_list_tasks_and_projects_see_those_of_their_images(kit: Kit, admin: Kit, demo: Kit) -> None:
    made = [make(demo, str(number), visibility="private") for number in range(3)]
    for image in made:
        stage(demo, image["id"], b"data")
        bring(demo, image["id"])
        done(demo, image["id"])
    path = "/image/v2/tasks"

    page = admin.request("GET", f"{path}?limit=2").json
    rest = admin.request("GET", "/image" + page["next"]).json["tasks"]

    assert [task["image_id"] for task in page["tasks"] + rest] == [image["id"] for image in reversed(made)]
    assert page["first"] == "/v2/tasks?limit=2"
    assert not {"input", "message", "result"} & page["tasks"][0].keys()
    (task,) = tasks_of(demo, made[0]["id"])
    one = admin.request("GET", f"{path}/{task['id']}").json
    assert (one["input"]["import_req"], one["self"]) == (DIRECT, f"/v2/tasks/{task['id']}")
    assert one["expires_at"] > one["updated_at"]
    for query_ in ("status=success&limit=9", f"image_id={made[0]['id']}", f"owner={task['owner']}"):
        assert task["id"] in admin.request("GET", f"{path}?{query_}").text
    assert admin.request("GET", f"{path}?status=pending").json["tasks"] == []
    oldest = admin.request("GET", f"{path}?sort_key=created_at&sort_dir=asc&limit=1").json["tasks"][0]
    assert oldest["id"] == task["id"]
    for wrong in ("status=x", "type=x", "marker=x", f"marker={made[0]['id']}", "limit=-1", "limit=x", "sort_dir=up",
                  "sort_key=colour"):  # fmt: skip
        assert admin.request("GET", f"{path}?{wrong}").status == 400, wrong
    assert admin.request("GET", f"{path}/{made[0]['id']}").status == 404
    refused = admin.request("DELETE", f"{path}/{task['id']}")
    assert (refused.status, refused.headers["allow"]) == (405, "GET")
    for method, where in (("GET", path), ("GET", f"{path}/{task['id']}"), ("DELETE", f"{path}/{task['id']}")):
        assert demo.request(method, where).status == 403


def test_a_reader_of_an_image_does_not_see_its_owners_tasks(admin: Kit, demo: Kit) -> None:
    image = make(admin, visibility="public")
    stage(admin, image["id"], b"data")
    bring(admin, image["id"])
    done(admin, image["id"])

    assert tasks_of(demo, image["id"]) == []
    assert demo.request("GET", f"/image/v2/images/{'0' * 8}-0000-0000-0000-{'0' * 12}/tasks").status == 404


def test_a_task_expires(kit: Kit, admin: Kit) -> None:
    image = make(admin)
    stage(admin, image["id"], b"data")
    bring(admin, image["id"])
    task = done(admin, image["id"])
    past = {"expires_at": "2020-01-01T00:00:00.000000"}

    kit.write(lambda tx: query.change(tx, tasks, task["id"], past))

    assert tasks_of(admin, image["id"]) == []
    assert admin.request("GET", "/image/v2/tasks").json["tasks"] == []
    assert admin.request("GET", f"/image/v2/tasks/{task['id']}").status == 404
    other = make(admin)
    stage(admin, other["id"], b"data")
    bring(admin, other["id"])
    with kit.cloud.database.read() as tx:
        assert query.row_by_id(tx, tasks, task["id"]) is None
    done(admin, other["id"])


def test_what_a_project_stages_and_imports_is_limited(tmp_path: Path) -> None:
    limits = "[image]\nimage_stage_total = 2\nimage_size_total = 1\nimage_count_uploading = 2\n"
    with kit_with(tmp_path, limits) as kit:
        demo = kit.as_user("demo", "demo")
        first, second, third = make(demo), make(demo), make(demo)
        size = {"content-length": str(3 << 20)}
        answer = demo.request("PUT", f"/image/v2/images/{first['id']}/stage", b"x", headers={**OCTETS, **size})
        assert (answer.status, "image_stage_total is over limit of 2" in answer.text) == (413, True)
        assert stage(demo, first["id"], b"x" * (2 << 20)).status == 204
        assert stage(demo, second["id"], b"x").status == 204
        answer = stage(demo, third["id"], b"x")
        assert (answer.status, "image_count_uploading is over limit of 2" in answer.text) == (413, True)

        used = demo.request("GET", "/image/v2/info/usage").json["usage"]
        bring(demo, first["id"])
        task = done(demo, first["id"])

        assert used == {
            "image_size_total": {"usage": 0, "limit": 1},
            "image_stage_total": {"usage": 2, "limit": 2},
            "image_count_total": {"usage": 3, "limit": 500},
            "image_count_uploading": {"usage": 2, "limit": 2},
        }
        assert (task["status"], "image_size_total is over limit of 1" in task["message"]) == ("failure", True)
        assert show(demo, first["id"])["status"] == "queued"
        bring(demo, second["id"])
        assert done(demo, second["id"])["status"] == "success"


def test_a_method_that_an_operator_switched_off_is_not_there(tmp_path: Path) -> None:
    with kit_with(tmp_path, "[image]\nenabled_import_methods = []\n") as kit:
        demo = kit.as_user("demo", "demo")
        answer = demo.request("POST", "/image/v2/images", {"disk_format": "raw", "container_format": "bare"})
        assert "openstack-image-import-methods" not in {name.lower() for name in answer.headers}
        assert stage(demo, answer.json["id"], b"x").status == 404
        assert bring(demo, answer.json["id"]).status == 400
        assert demo.request("GET", "/image/v2/info/import").json["import-methods"]["value"] == []


def test_whoever_sets_all_properties_leaves_the_notes_of_an_import(kit: Kit, demo: Kit) -> None:
    """The Compute API does, for clients of old microversions."""
    image = make(demo, a="1")
    notes = {"os_glance_import_task": "t", "os_glance_failed_import": ""}
    kit.write(lambda tx: query.change(tx, images, image["id"], {"properties": {"a": "1", **notes}}))

    def set_all(properties: dict[str, str]) -> None:
        kit.write(lambda tx: rules.set_properties(tx, rules.find(tx, image["id"]), properties))

    set_all({"b": "2"})
    set_all({"c": "3", "os_glance_import_task": "t"})
    for wrong in ({"os_glance_import_task": "other"}, {"os_glance_anything": "x"}):
        with pytest.raises(Forbidden, match="is reserved"):
            set_all(wrong)

    shown = show(demo, image["id"])
    assert {name: shown.get(name) for name in ("a", "b", "c", *notes)} == {"a": None, "b": None, "c": "3", **notes}

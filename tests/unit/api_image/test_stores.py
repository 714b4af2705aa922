"""Several stores of images: which there are, how data come to them, where they are read from, and how they go."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deuteron.api.settings import BadOperatorFile, read_operator
from deuteron.rules.image.data import open_image
from deuteron.rules.image.stores import open_first
from deuteron.store import query
from deuteron.store.image_tables import images, tasks
from tests.clouds import wait_for
from tests.unit.api_identity.harness import Answer, Kit, make_kit
from tests.unit.api_image.test_images import OCTETS, PATCH, kit_with, make, upload
from tests.unit.api_image.test_imports import DIRECT, bring, done, show, stage, tasks_of

STORES = """
[image]
default_backend = "fast"
[image.stores.fast]
store_description = "solid state"
weight = 5
[image.stores.slow]
filesystem_store_datadir = "disks"
[image.stores.far]
filesystem_store_datadir = "far"
weight = 9
"""
DATA = b"some data of an image" * 1000


@pytest.fixture
def kit(tmp_path: Path) -> Iterator[Kit]:
    with kit_with(tmp_path, STORES) as made:
        yield made


@pytest.fixture
def admin(kit: Kit) -> Kit:
    return kit.as_user()


@pytest.fixture
def demo(kit: Kit) -> Kit:
    return kit.as_user("demo", "demo")


def copy(client: Kit, image_id: str, **how: Any) -> Answer:
    return bring(client, image_id, {"method": {"name": "copy-image"}, **how})


def take_out(client: Kit, store: str, image_id: str) -> Answer:
    return client.request("DELETE", f"/image/v2/stores/{store}/{image_id}")


def kept(kit: Kit) -> dict[str, list[str]]:
    """What lies in each folder."""
    api = Path(kit.cloud.settings.state_dir)
    folders = {"fast": api / "images", "slow": api / "image-stores" / "disks", "far": api / "image-stores" / "far"}
    return {name: sorted(os.listdir(folder)) for name, folder in folders.items() if folder.is_dir()}


def lose(kit: Kit, folder: str) -> Path:
    """A disk that is not there any more."""
    lost = Path(kit.cloud.settings.state_dir) / "image-stores" / folder
    lost.rename(lost.with_name(f"{folder}-lost"))
    return lost


def whole(client: Kit, **values: Any) -> str:
    image_id: str = make(client, **values)["id"]
    assert upload(client, image_id, DATA).status == 204
    return image_id


def data_of(client: Kit, image_id: str, query_: str = "") -> Answer:
    return client.request("GET", f"/image/v2/images/{image_id}/file{query_}")


def test_stores_are_listed_and_administrators_see_what_they_are_made_of(kit: Kit, admin: Kit, demo: Kit) -> None:
    listed = [{"id": "fast", "description": "solid state", "default": "true"}, {"id": "slow"}, {"id": "far"}]
    assert demo.request("GET", "/image/v2/info/stores").json == {"stores": listed}
    assert demo.request("GET", "/image/v2/info/stores/detail").status == 403
    first, second, _ = admin.request("GET", "/image/v2/info/stores/detail").json["stores"]
    assert (first["id"], first["type"], first["weight"], first["default"]) == ("fast", "file", 5, "true")
    folder = Path(kit.cloud.settings.state_dir) / "image-stores" / "disks"
    assert second["properties"] == {"data_dir": str(folder), "chunk_size": 65536, "thin_provisioning": False}
    methods = ["glance-direct", "web-download", "copy-image"]
    assert demo.request("GET", "/image/v2/info/import").json["import-methods"]["value"] == methods
    made = demo.request("POST", "/image/v2/images", {"name": "i"})
    named = {name.lower(): text for name, text in made.headers.items()}
    assert named["openstack-image-store-ids"] == "fast,slow,far"
    assert named["openstack-image-import-methods"] == ",".join(methods)
    assert demo.request("GET", "/image/versions").json["versions"][0]["id"] == "v2.15"


def test_a_cloud_without_stores_says_so(tmp_path: Path) -> None:
    with kit_with(tmp_path, "") as kit:
        demo, admin = kit.as_user("demo", "demo"), kit.as_user()
        image_id = make(demo)["id"]
        for path in ("/image/v2/info/stores", "/image/v2/info/stores/detail"):
            answer = admin.request("GET", path)
            assert (answer.status, "Multi backend is not supported" in answer.text) == (404, True)
        assert take_out(admin, "fast", image_id).status == 404
        header = {**OCTETS, "x-image-meta-store": "fast"}
        assert demo.request("PUT", f"/image/v2/images/{image_id}/file", b"x", headers=header).status == 400
        assert "copy-image" not in demo.request("GET", "/image/v2/info/import").json["import-methods"]["value"]
        upload(demo, image_id, b"x")
        assert "stores" not in show(demo, image_id)
        assert copy(admin, image_id).status == 400
        assert data_of(demo, image_id, "?prefer=fast").status == 400


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ("[image.stores.a]\nfilesystem_store_datadir = 'x'", "no filesystem_store_datadir"),
        ("[image.stores.a]\n[image.stores.b]", "no filesystem_store_datadir"),
        (
            "[image.stores.a]\n[image.stores.b]\nfilesystem_store_datadir = 'x'\n"
            "[image.stores.c]\nfilesystem_store_datadir = 'x'",
            "the same",
        ),
        ("[image]\ndefault_backend = 'b'\n[image.stores.a]", "default_backend is no store"),
        ("[image.stores.os_glance_x]", "os_glance_"),
        ("[image.stores.a]\n[image.stores.b]\nfilesystem_store_datadir = '../images'", "filesystem_store_datadir"),
        ("[image.stores.a]\n[image.stores.b]\nfilesystem_store_datadir = '/srv'", "filesystem_store_datadir"),
        ("[image.stores.'a,b']", "regex"),
    ],
)
def test_stores_that_cannot_be_keep_the_api_from_starting(tmp_path: Path, written: str, says: str) -> None:
    (tmp_path / "operator.toml").write_text(written)

    with pytest.raises(BadOperatorFile, match=says):
        read_operator(tmp_path)


def test_data_go_to_the_default_store_or_to_the_one_that_is_named(kit: Kit, demo: Kit) -> None:
    plain, named, wrong = (make(demo)["id"] for _ in range(3))

    assert upload(demo, plain, DATA).status == 204
    header = {**OCTETS, "X-Image-Meta-Store": "slow"}
    assert demo.request("PUT", f"/image/v2/images/{named}/file", DATA, headers=header).status == 204
    header = {**OCTETS, "X-Image-Meta-Store": "none"}
    refused = demo.request("PUT", f"/image/v2/images/{wrong}/file", DATA, headers=header)

    assert (refused.status, "Store for identifier none not found" in refused.text) == (400, True)
    assert [show(demo, each).get("stores") for each in (plain, named, wrong)] == ["fast", "slow", None]
    assert kept(kit) == {"fast": [plain], "slow": [named], "far": []}
    assert data_of(demo, named).body == DATA
    listed = {each["id"]: each.get("stores") for each in demo.request("GET", "/image/v2/images").json["images"]}
    assert listed == {plain: "fast", named: "slow", wrong: None}
    patch = [{"op": "replace", "path": "/stores", "value": "far"}]
    assert demo.request("PATCH", f"/image/v2/images/{plain}", patch, headers=PATCH).status == 403
    assert demo.request("POST", "/image/v2/images", {"stores": "far"}).status == 403
    assert demo.request("DELETE", f"/image/v2/images/{named}").status == 204
    wait_for("no data", lambda: kept(kit) == {"fast": [plain], "slow": [], "far": []})


def test_an_upload_to_a_store_that_breaks_off_leaves_nothing(kit: Kit, demo: Kit) -> None:
    image_id = make(demo)["id"]
    path, header = f"/image/v2/images/{image_id}/file", {**OCTETS, "x-image-meta-store": "slow"}

    answer = demo.request("PUT", path, headers=header, pieces=[b"x" * 2_000_000], hang_up=True)

    assert answer.status == 400
    assert (kept(kit)["slow"], show(demo, image_id)["status"]) == ([], "queued")


def test_an_image_is_copied_to_stores_and_read_from_the_heaviest(kit: Kit, admin: Kit, demo: Kit) -> None:
    image_id = whole(demo)

    assert copy(admin, image_id, stores=["slow", "far", "slow"]).status == 202

    task = done(admin, image_id)
    assert (task["status"], task["input"]["backend"]) == ("success", ["slow", "far"])
    shown = show(demo, image_id)
    assert (shown["status"], shown["stores"]) == ("active", "fast,slow,far")
    assert (shown["os_glance_importing_to_stores"], shown["os_glance_failed_import"]) == ("", "")
    assert "os_glance_import_task" not in shown
    assert kept(kit) == {name: [image_id] for name in ("fast", "slow", "far")}
    with kit.cloud.database.read() as tx:
        paths, size, digest = open_image(kit.cloud.settings, tx, image_id)
    assert [path.parent.name for path in paths] == ["far", "images", "disks"]
    assert (size, digest) == (len(DATA), hashlib.sha256(DATA).hexdigest())
    again = copy(admin, image_id, stores=["slow"])
    assert (again.status, "already present at store &#x27;slow&#x27;" in again.text) == (400, True)
    assert copy(admin, image_id, all_stores=True).status == 202
    assert len(tasks_of(admin, image_id)) == 1
    # A copy that is gone, and one that is cut short: the next store is read.
    paths[0].unlink()
    paths[1].write_bytes(b"short")
    assert data_of(demo, image_id).body == DATA
    opened = open_first(paths, size)
    assert opened is not None
    with opened:
        assert opened.name == str(paths[2])


def test_a_download_may_prefer_a_store(kit: Kit, admin: Kit, demo: Kit) -> None:
    image_id = whole(demo)
    copy(admin, image_id, stores=["slow"])
    assert done(admin, image_id)["status"] == "success"
    other = bytes(reversed(DATA))
    (Path(kit.cloud.settings.state_dir) / "image-stores" / "disks" / image_id).write_bytes(other)

    assert data_of(demo, image_id).body == DATA
    assert data_of(demo, image_id, "?prefer=far,slow").body == other
    refused = data_of(demo, image_id, "?prefer=none")
    assert (refused.status, "is not configured" in refused.text) == (400, True)


def test_only_administrators_copy_and_only_what_is_whole(admin: Kit, demo: Kit) -> None:
    image_id, queued = whole(demo), make(demo)["id"]

    assert copy(demo, image_id, stores=["slow"]).status == 403
    assert copy(admin, queued, stores=["slow"]).status == 409
    assert copy(admin, image_id, stores=["none"]).status == 409
    assert copy(admin, image_id, stores=[["slow"]]).status == 409
    for wrong in ([], "slow", {"slow": 1}, ["slow"] * 65):
        assert copy(admin, image_id, stores=wrong).status == 400
    assert copy(admin, image_id, stores=["slow"], all_stores=True).status == 400
    header = {"x-image-meta-store": "slow"}
    both = {"method": {"name": "copy-image"}, "stores": ["slow"]}
    assert admin.request("POST", f"/image/v2/images/{image_id}/import", both, headers=header).status == 400
    assert tasks_of(admin, image_id) == []
    named = {"method": {"name": "copy-image"}}
    assert admin.request("POST", f"/image/v2/images/{image_id}/import", named, headers=header).status == 202
    assert done(admin, image_id)["status"] == "success"
    assert show(demo, image_id)["stores"] == "fast,slow"


def test_an_image_that_is_being_copied_is_not_copied_again(kit: Kit, admin: Kit, demo: Kit) -> None:
    image_id = whole(demo)
    notes = {"os_glance_import_task": "t", "os_glance_importing_to_stores": "slow"}
    kit.write(lambda tx: query.change(tx, images, image_id, {"properties": notes}))

    answer = copy(admin, image_id, stores=["far"])

    assert (answer.status, "Image has active task" in answer.text) == (409, True)


def test_what_is_staged_becomes_an_images_in_several_stores(kit: Kit, demo: Kit) -> None:
    image_id = make(demo)["id"]
    stage(demo, image_id, DATA)

    assert bring(demo, image_id, {**DIRECT, "all_stores": True}).status == 202

    assert done(demo, image_id)["status"] == "success"
    shown = show(demo, image_id)
    assert (shown["status"], shown["stores"], shown["checksum"]) == (
        "active", "fast,slow,far", hashlib.md5(DATA).hexdigest(),
    )  # fmt: skip
    wait_for("nothing staged", lambda: kept(kit) == {name: [image_id] for name in ("fast", "slow", "far")})
    used = demo.request("GET", "/image/v2/info/usage").json["usage"]
    assert used["image_size_total"]["usage"] == 3 * len(DATA) // 2**20


def test_data_in_several_stores_count_as_often(tmp_path: Path) -> None:
    with kit_with(tmp_path, STORES) as kit:
        demo, admin = kit.as_user("demo", "demo"), kit.as_user()
        image_id = make(demo)["id"]
        upload(demo, image_id, b"x" * 2**20)
        copy(admin, image_id, stores=["slow"])
        assert done(admin, image_id)["status"] == "success"

        assert demo.request("GET", "/image/v2/info/usage").json["usage"]["image_size_total"]["usage"] == 2


def test_an_import_that_must_reach_all_stores_leaves_none_with_data(kit: Kit, demo: Kit) -> None:
    image_id = make(demo)["id"]
    stage(demo, image_id, DATA)
    lose(kit, "far")

    bring(demo, image_id, {**DIRECT, "stores": ["slow", "far", "fast"]})

    assert done(demo, image_id)["status"] == "failure"
    shown = show(demo, image_id)
    assert (shown["status"], shown["size"], shown.get("stores")) == ("queued", None, None)
    assert (shown["os_glance_importing_to_stores"], shown["os_glance_failed_import"]) == ("", "far")
    assert kept(kit) == {"fast": [], "slow": []}


def test_an_import_that_need_not_reach_all_stores_takes_those_that_it_reaches(kit: Kit, demo: Kit) -> None:
    image_id = make(demo)["id"]
    stage(demo, image_id, DATA)
    lose(kit, "far")

    bring(demo, image_id, {**DIRECT, "stores": ["far", "slow", "fast"], "all_stores_must_succeed": False})

    assert done(demo, image_id)["status"] == "success"
    shown = show(demo, image_id)
    assert (shown["status"], shown["stores"]) == ("active", "slow,fast")
    assert (shown["os_glance_importing_to_stores"], shown["os_glance_failed_import"]) == ("", "far")
    assert data_of(demo, image_id).body == DATA


def test_an_import_that_reaches_no_store_fails(kit: Kit, demo: Kit) -> None:
    image_id = make(demo)["id"]
    stage(demo, image_id, DATA)
    lose(kit, "far")

    bring(demo, image_id, {**DIRECT, "stores": ["far"], "all_stores_must_succeed": False})

    task = done(demo, image_id)
    assert (task["status"], task["message"]) == ("failure", "None of the uploads finished!")
    shown = show(demo, image_id)
    assert (shown["status"], shown["os_glance_failed_import"]) == ("queued", "far")


def test_a_copy_that_fails_leaves_the_image_as_it_was(kit: Kit, admin: Kit, demo: Kit) -> None:
    image_id = whole(demo)
    lost = lose(kit, "far")

    copy(admin, image_id, stores=["slow", "far"])

    assert done(admin, image_id)["status"] == "failure"
    shown = show(demo, image_id)
    assert (shown["status"], shown["stores"], shown["os_glance_failed_import"]) == ("active", "fast", "far")
    assert kept(kit) == {"fast": [image_id], "slow": []}
    copy(admin, image_id, all_stores=True, all_stores_must_succeed=False)
    wait_for("both tasks", lambda: [each["status"] for each in tasks_of(admin, image_id)] == ["failure", "success"])
    assert (show(demo, image_id)["stores"], show(demo, image_id)["os_glance_failed_import"]) == ("fast,slow", "far")
    lost.mkdir()
    copy(admin, image_id, all_stores=True)
    wait_for("far", lambda: show(demo, image_id)["stores"] == "fast,slow,far")
    assert show(demo, image_id)["os_glance_failed_import"] == ""


def test_damaged_data_are_not_copied(kit: Kit, admin: Kit, demo: Kit) -> None:
    image_id = whole(demo)
    (Path(kit.cloud.settings.state_dir) / "images" / image_id).write_bytes(bytes(len(DATA)))

    copy(admin, image_id, stores=["slow"])

    task = done(admin, image_id)
    assert (task["status"], "not found in any configured store" in task["message"]) == ("failure", True)
    assert (kept(kit)["slow"], show(demo, image_id)["stores"]) == ([], "fast")


def test_a_store_is_rid_of_its_copy_but_not_of_the_last(kit: Kit, admin: Kit, demo: Kit) -> None:
    image_id, queued = whole(demo), make(demo)["id"]
    unknown = "0" * 8 + "-0000-0000-0000-" + "0" * 12

    last = take_out(admin, "fast", image_id)
    assert (last.status, "only store containing it" in last.text) == (403, True)
    copy(admin, image_id, stores=["slow"])
    done(admin, image_id)
    assert take_out(admin, "none", image_id).status == 409
    assert take_out(admin, "far", image_id).status == 404
    assert take_out(admin, "fast", unknown).status == 404
    assert take_out(admin, "fast", queued).status == 409
    assert take_out(demo, "fast", image_id).status == 403

    assert take_out(admin, "fast", image_id).status == 204

    assert (show(demo, image_id)["stores"], kept(kit)) == ("slow", {"fast": [], "slow": [image_id], "far": []})
    assert data_of(demo, image_id).body == DATA
    copy(admin, image_id, stores=["fast"])
    wait_for("the copy", lambda: show(demo, image_id)["stores"] == "slow,fast")
    assert demo.request("DELETE", f"/image/v2/images/{image_id}").status == 204
    wait_for("no data", lambda: kept(kit) == {"fast": [], "slow": [], "far": []})


def test_a_crash_in_the_middle_of_a_copy_loses_nothing(tmp_path: Path) -> None:
    with kit_with(tmp_path, STORES) as first:
        demo, admin = first.as_user("demo", "demo"), first.as_user()
        image_id = whole(demo)
        copy(admin, image_id, stores=["slow"])
        task = done(admin, image_id)
        first.cloud.stop_jobs()
        # As it was in the midst of the second of two stores: the first has it, and no row says so.
        notes = {"os_glance_import_task": task["id"], "os_glance_importing_to_stores": "far,slow"}
        under_way = {"status": "processing", "expires_at": None, "result": None}
        first.write(lambda tx: query.change(tx, images, image_id, {"folders": "", "properties": notes}))
        first.write(lambda tx: query.change(tx, tasks, task["id"], under_way))
        (tmp_path / "image-stores" / "far" / f".upload-{image_id}-1").write_bytes(b"half")

    with kit_with(tmp_path, STORES) as again:
        demo, admin = again.as_user("demo", "demo"), again.as_user()
        shown = show(demo, image_id)
        assert (shown["status"], shown["stores"], shown.get("os_glance_import_task")) == ("active", "fast", None)
        assert (shown["os_glance_importing_to_stores"], shown["os_glance_failed_import"]) == ("", "far,slow")
        assert kept(again) == {"fast": [image_id], "slow": [], "far": []}
        assert tasks_of(admin, image_id)[0]["status"] == "failure"
        copy(admin, image_id, all_stores=True)
        wait_for("all stores", lambda: show(demo, image_id)["stores"] == "fast,slow,far")
        assert show(demo, image_id)["os_glance_failed_import"] == ""


def test_a_store_that_gets_another_name_keeps_its_images(tmp_path: Path) -> None:
    with kit_with(tmp_path, "") as before:
        demo = before.as_user("demo", "demo")
        image_id = whole(demo)

    with kit_with(tmp_path, STORES.replace("slow", "cold")) as kit:
        demo, admin = kit.as_user("demo", "demo"), kit.as_user()
        assert show(demo, image_id)["stores"] == "fast"
        copy(admin, image_id, stores=["cold"])
        wait_for("a copy", lambda: show(demo, image_id)["stores"] == "fast,cold")
        assert take_out(admin, "fast", image_id).status == 204
        kit.cloud.stop_jobs()

    with kit_with(tmp_path, STORES) as kit:
        demo = kit.as_user("demo", "demo")
        assert (show(demo, image_id)["stores"], data_of(demo, image_id).body) == ("slow", DATA)

    # Nobody is told where, but what is there is read, and goes with its image.
    with kit_with(tmp_path, "") as kit:
        demo = kit.as_user("demo", "demo")
        assert ("stores" in show(demo, image_id), data_of(demo, image_id).body) == (False, DATA)
        assert demo.request("DELETE", f"/image/v2/images/{image_id}").status == 204
        wait_for("no data", lambda: os.listdir(tmp_path / "image-stores" / "disks") == [])


def test_an_image_that_goes_while_it_is_copied_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "operator.toml").write_text(STORES)
    kit = make_kit(tmp_path, operator=read_operator(tmp_path))
    demo, admin = kit.as_user("demo", "demo"), kit.as_user()
    image_id = make(demo)["id"]
    upload(demo, image_id, os.urandom(30_000_000))

    copy(admin, image_id, stores=["slow", "far"])
    assert demo.request("DELETE", f"/image/v2/images/{image_id}").status == 204

    finished = ("success", "failure")
    wait_for(
        "the end of the task",
        lambda: all(each["status"] in finished for each in admin.request("GET", "/image/v2/tasks").json["tasks"]),
    )
    wait_for("no data", lambda: kept(kit) == {"fast": [], "slow": [], "far": []})
    kit.cloud.database.close()

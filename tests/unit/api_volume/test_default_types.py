"""The type of a project's volumes that name none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.unit.api_compute.harness import run, world
from tests.unit.api_volume.harness import Volumes
from tests.unit.api_volume.test_volumes import volume


async def made(admin: Volumes, name: str, **more: Any) -> str:
    return str((await admin.post("/types", {"volume_type": {"name": name, **more}}))["volume_type"]["id"])


def test_volumes_that_name_no_type_have_that_of_their_project(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            await w.agent()
            demo, admin = Volumes(w.demo, "3.62"), Volumes(w.admin, "3.62")
            project = w.demo.project_id
            path = f"/default-types/{project}"
            fast, slow = await made(admin, "fast"), await made(admin, "slow")
            assert (await admin.error("GET", path)) == (
                404, "itemNotFound", f"Default type for project {project} not found.",
            )  # fmt: skip
            assert (await admin.get("/default-types"))["default_types"] == []
            for named, found in ((fast, fast), ("slow", slow), ("fast", fast)):
                said = {"project_id": project, "volume_type_id": found}
                assert await admin.put(path, {"default_type": {"volume_type": named}}) == {"default_type": said}
                assert await admin.get(path) == {"default_type": said}
                assert (await admin.get("/default-types"))["default_types"] == [said]
            assert (await volume(demo))["volume_type"] == "fast"
            assert (await volume(demo, volume_type="slow"))["volume_type"] == "slow"
            assert (await demo.get("/types/default"))["volume_type"]["name"] == "fast"
            assert (await admin.get("/types/default"))["volume_type"]["name"] == "__DEFAULT__", "another project"

            unused = await made(admin, "unused")
            await admin.put(path, {"default_type": {"volume_type": unused}})
            assert (await admin.error("DELETE", f"/types/{unused}"))[0] == 400
            for _ in range(2):
                assert await admin.delete(path) == 204
            assert await admin.delete(f"/types/{unused}") == 202
            assert (await volume(demo))["volume_type"] == "__DEFAULT__"

    run(test())


def test_what_is_no_type_or_no_project_or_not_an_administrators_is_refused(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            demo, admin = Volumes(w.demo, "3.62"), Volumes(w.admin, "3.62")
            path, body = f"/default-types/{w.demo.project_id}", {"default_type": {"volume_type": "__DEFAULT__"}}
            wrong: tuple[Any, ...] = (
                {}, {"default_type": {}}, {"default_type": {"volume_type": "nowhere"}}, {"default_type": "x"},
                {"default_type": {"volume_type": ""}}, {"default_type": {"volume_type": "__DEFAULT__", "colour": 1}},
            )  # fmt: skip
            for each in wrong:
                assert (await admin.error("PUT", path, each))[0] == 400, each
            for method in ("GET", "PUT", "DELETE"):
                given = body if method == "PUT" else None
                assert (await admin.error(method, "/default-types/nowhere", given))[0] == 404
                assert (await demo.error(method, path, given))[0] == 403
                assert (await admin.error(method, path, given, version="3.61"))[0] == 404
            assert (await demo.error("GET", "/default-types"))[0] == 403
            # One that the project may not use helps nobody.
            closed = await made(admin, "closed", **{"os-volume-type-access:is_public": False})
            await admin.put(path, {"default_type": {"volume_type": closed}})
            assert (await demo.error("POST", "/volumes", {"volume": {"size": 1}}))[0] == 404

    run(test())

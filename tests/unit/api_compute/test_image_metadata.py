"""Images through the Compute API of old microversions: metadata is the image service's properties."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.unit.api_compute.harness import run, world

C = "/compute/v2.1"


def test_metadata_of_images_is_read_written_and_deleted_until_2_38(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            image = await w.demo.image(colour="blue")
            at = f"{C}/images/{image}/metadata"

            async def ask(method: str, path: str = "", body: Any = None, version: str = "2.38") -> tuple[int, Any]:
                answer = await w.demo.request(method, at + path, body, version=version)
                return answer.status, answer.json if answer.body else None

            assert await ask("GET") == (200, {"metadata": {"colour": "blue"}})
            assert await ask("POST", "", {"metadata": {"shape": "round"}}) == (
                200, {"metadata": {"colour": "blue", "shape": "round"}},
            )  # fmt: skip
            assert await ask("GET", "/shape") == (200, {"meta": {"shape": "round"}})
            assert await ask("PUT", "/shape", {"meta": {"shape": "flat"}}) == (200, {"meta": {"shape": "flat"}})
            assert (await ask("DELETE", "/colour"))[0] == 204
            assert (await ask("DELETE", "/colour"))[0] == 404
            assert (await w.demo.get(f"/image/v2/images/{image}"))["shape"] == "flat"
            assert "colour" not in await w.demo.get(f"/image/v2/images/{image}")
            assert await ask("PUT", "", {"metadata": {"a": "b"}}) == (200, {"metadata": {"a": "b"}})
            for path, body in (("/a", {"meta": {"b": "c"}}), ("/a", {"meta": {"a": "c", "b": "c"}}),
                               ("/a", {"meta": {"a": 5}}), ("", {"metadata": {"name": "stolen"}})):  # fmt: skip
                assert (await ask("PUT", path, body))[0] == 400, body
            for method in ("GET", "DELETE"):
                assert (await ask(method, "/a", version="2.39"))[0] == 404, "the path went with 2.39"
            assert await ask("GET") == (200, {"metadata": {"a": "b"}})

    run(test())


def test_what_is_anothers_is_not_changed_and_images_are_deleted_until_2_35(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            shown = await w.admin.image(visibility="public", colour="blue")
            hidden = await w.admin.image()
            for image, status in ((shown, 403), (hidden, 404)):
                at = f"{C}/images/{image}"
                assert (await w.demo.request("DELETE", f"{at}/metadata/colour")).status == (
                    status if image == shown else 404
                )
                put = await w.demo.request("PUT", f"{at}/metadata", {"metadata": {}})
                assert put.status == status
                assert (await w.demo.request("DELETE", at)).status == status
            assert (await w.demo.get(f"/image/v2/images/{shown}"))["colour"] == "blue"
            mine = await w.demo.image()
            assert (await w.demo.request("DELETE", f"{C}/images/{mine}", version="2.36")).status == 404
            assert (await w.demo.request("DELETE", f"{C}/images/{mine}", version="2.35")).status == 204
            assert (await w.demo.request("GET", f"/image/v2/images/{mine}")).status == 404

    run(test())

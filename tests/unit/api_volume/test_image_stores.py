"""Images of volumes go to the store that the type of the volume names."""

from __future__ import annotations

from pathlib import Path

from deuteron.model.settings import ImageOptions, ImageStore, Operator
from tests.unit.api_compute.harness import run, world
from tests.unit.api_volume.harness import Volumes

SPEC = "image_service:store_id"
STORES = {"fast": ImageStore(), "slow": ImageStore(filesystem_store_datadir="slow")}


def test_an_image_of_a_volume_goes_to_the_store_of_its_type(tmp_path: Path) -> None:
    async def test() -> None:
        options = ImageOptions(stores=STORES, default_backend="fast")
        async with world(tmp_path, operator=Operator(image=options)) as w:
            await w.agent(obedient=True)
            demo, admin = Volumes(w.demo, "3.5"), Volumes(w.admin)
            body = {"volume_type": {"name": "kept", "extra_specs": {SPEC: "slow"}}}
            kept = (await admin.post("/types", body))["volume_type"]["id"]
            for wanted, store in (("kept", "slow"), (None, "fast")):
                one = (await demo.post("/volumes", {"volume": {"size": 1, "volume_type": wanted}}))["volume"]["id"]
                await demo.until(f"/volumes/{one}", lambda found: found["status"] == "available")
                ask = {"os-volume_upload_image": {"image_name": "i", "disk_format": "raw", "container_format": "bare"}}
                image = (await demo.post(f"/volumes/{one}/action", ask))["os-volume_upload_image"]["image_id"]
                headers = {"authorization": "Bearer token-h1", "content-length": "4096"}
                target = f"/internal/volumes/{one}/images/{image}"
                given = await w.demo.request("PUT", target, b"\0" * 4096, headers=headers, unix=True)
                assert given.status == 204, given.body
                assert (await w.demo.get(f"/image/v2/images/{image}"))["stores"] == store

            specs = f"/types/{kept}/extra_specs"
            for method, path, wrong in (
                ("POST", "/types", {"volume_type": {"name": "n", "extra_specs": {SPEC: "none"}}}),
                ("POST", specs, {"extra_specs": {SPEC: "none"}}),
                ("PUT", f"{specs}/{SPEC}", {SPEC: "none"}),
            ):
                assert (await admin.error(method, path, wrong))[::2] == (404, "Store none not enabled in glance."), path

    run(test())

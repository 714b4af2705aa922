"""Data of volumes on their way to become images: taken from the host that keeps the volume, as its users asked."""

from __future__ import annotations

import asyncio

from deuteron.api.call import Call, Reply
from deuteron.api.image import files
from deuteron.hub.hub import host_of
from deuteron.model.errors import NotFound
from deuteron.model.volume import VOLUME
from deuteron.rules.image import data, images, stores
from deuteron.rules.image.data import Declared
from deuteron.rules.volume import kinds, reports, types
from deuteron.store.database import Tx

PATH = "/volumes/{id}/images/{image}"


async def answer(call: Call) -> Reply:
    """PUT: the data, in the format that was asked for. Asked again after it was done, nothing.

    Raises: NotFound unless such an image is to be made of a volume of the host; what an upload of an image raises.
    """
    volume_id, image_id = call.params["id"], call.params["image"]

    def begin(tx: Tx) -> Declared | None:
        host = host_of(call.settings, call.headers.get("authorization", ""))
        row = kinds.seen(tx, VOLUME, volume_id)
        asked = None if row is None or row["host"] != host else row["upload"]
        if row is None or asked is None or asked["image_id"] != image_id:
            raise NotFound(f"no image {image_id} is to be made of volume {volume_id} on host {host}")
        image = images.find(tx, image_id)
        if image["status"] == "active":
            reports.end_upload(tx, row)
            return None
        options = call.settings.operator.image
        # One that is not set any more leaves the default one.
        store = stores.named(options, types.specs_of(tx, row["volume_type_id"]).get(types.STORE_SPEC))
        return data.begin(tx, options, image, None if store is None else store.folder)

    def end(tx: Tx) -> None:
        row = kinds.seen(tx, VOLUME, volume_id)
        if row is not None and row["upload"] is not None and row["upload"]["image_id"] == image_id:
            reports.end_upload(tx, row)

    declared = await asyncio.wrap_future(call.store.submit(begin))
    if declared is not None:
        await files.take(call, declared, end)
    return Reply(204)

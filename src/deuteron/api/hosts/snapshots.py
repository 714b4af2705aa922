"""Images that hosts make of their servers, on their way into the Image service."""

from __future__ import annotations

import asyncio

from deuteron.api.call import Call, Reply
from deuteron.api.image import files
from deuteron.hub.hub import host_of
from deuteron.rules.compute import snapshots


async def take(call: Call) -> Reply:
    """PUT /internal/images/{id}/file: the disk of a server of the host; 204 also when nobody wants the image any more.

    Raises: NotFound when no server of the host is to become it; Conflict while another upload of it is under way; what
    `files.take` raises.
    """
    host = host_of(call.settings, call.headers.get("authorization", "")) or ""
    image_id = call.params["id"]
    declared = await asyncio.wrap_future(
        call.store.submit(lambda tx: snapshots.begin(tx, call.settings, host, image_id))
    )
    if declared is None:
        return Reply(204)
    await files.take(call, declared, lambda tx: snapshots.finish(tx, call.settings, host, image_id))
    return Reply(204)

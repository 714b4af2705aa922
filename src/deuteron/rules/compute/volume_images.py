"""Images of servers that boot from volumes: no data, but snapshots of the volumes, and how a server is made of them.

The snapshots are the volume service's own; who deletes the image deletes them apart, as with Nova.

Source: nova/compute/api.py `snapshot_volume_backed`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Final

import msgspec

from deuteron.model.caller import Caller
from deuteron.model.errors import BadRequest, Forbidden, TooLarge
from deuteron.model.settings import Settings
from deuteron.model.volume import VOLUME
from deuteron.rules.compute import block_devices, mappings
from deuteron.rules.compute.lifecycle import ServerRow
from deuteron.rules.image import data
from deuteron.rules.image import images as image_rules
from deuteron.rules.image.data import Received
from deuteron.rules.volume import kinds, snapshots
from deuteron.store.database import Tx

_ROOT_NAME: Final = "root_device_name"
_NOTHING: Final = Received(
    0, hashlib.md5(b"", usedforsecurity=False).hexdigest(), hashlib.sha256(b"").hexdigest(),
    hashlib.sha512(b"").hexdigest(),
)  # fmt: skip


def fill(tx: Tx, settings: Settings, caller: Caller, request_id: str, row: ServerRow, image_id: str) -> None:
    """Make the image, which has no data yet, one of the server's volumes.

    Raises: BadRequest for a volume in no state for it; Forbidden for a full quota of snapshots.
    """
    image = image_rules.find(tx, image_id)
    items: list[Mapping[str, object]] = []
    for held in block_devices.of_server(tx, row.id):
        if held.state == "detaching":
            continue
        volume = kinds.find(tx, VOLUME, held.volume_id)
        values: dict[str, object] = {
            "name": f"snapshot for {image['name']}"[:255],
            "description": volume["description"],
            "metadata": {},
        }
        try:
            made = snapshots.create(tx, caller, request_id, volume, values, forced=True)
        except TooLarge as error:
            raise Forbidden(error.message, type="OverQuota") from None
        items.append({
            "source_type": "snapshot",
            "destination_type": "volume",
            "snapshot_id": made["id"],
            "boot_index": 0 if held.is_root else None,
            "device_name": held.device,
            "device_type": mappings.DEVICE_TYPE,
            "disk_bus": mappings.BUS,
            "delete_on_termination": bool(held.delete_on_termination),
            "volume_size": volume["size"],
            "tag": held.tag,
        })  # fmt: skip
    properties = {
        **(image["properties"] or {}),
        _ROOT_NAME: "/dev/vda",
        mappings.MAPPINGS: msgspec.json.encode(items).decode(),
        mappings.IS_NEW: "True",
    }
    formats = {"disk_format": "raw", "container_format": "bare"}
    image = image_rules.change(tx, image, {**formats, "properties": properties})
    try:
        declared = data.begin(tx, settings.operator.image, image)
    except TooLarge as error:
        raise BadRequest(error.message, type="ImageBadRequest") from None
    data.finish(tx, declared, _NOTHING, None)

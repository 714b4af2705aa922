"""How a host reaches a volume, for who attaches by hand.

The driver `file` keeps a volume where it is: a host reaches those that it keeps itself.

Source: cinder/volume/manager.py `attachment_update`, `initialize_connection`; cinder/volume/api.py
`attachment_deletion_allowed`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from deuteron.model.codecs import quoted
from deuteron.model.errors import Conflict
from deuteron.model.settings import Settings
from deuteron.model.volume import ATTACHMENT, VOLUME
from deuteron.model.volume.rows import VolumeAttachmentRow, VolumeRow
from deuteron.rules.volume import attachments, faults, kinds, placement
from deuteron.store.database import Tx

MAX_BYTES: Final = 4096
"""Of what a host says of itself."""


def checked(connector: Mapping[str, object]) -> Mapping[str, object]:
    """What a host says of itself, as it may be kept. Raises: BadRequest."""
    for name in ("host", "mountpoint", "mode"):
        value = connector.get(name)
        if value is not None and (not isinstance(value, str) or len(value) > 255 or "\0" in value):
            raise faults.invalid(f"connector.{name}", value, "a text of at most 255 characters is expected")
    try:
        size = len(msgspec.json.encode(connector))
    except (UnicodeEncodeError, OverflowError):
        raise faults.invalid("connector", connector, "it holds a character that cannot be stored") from None
    if size > MAX_BYTES:
        raise faults.invalid("connector", quoted(connector), f"it is {size} bytes long, at most {MAX_BYTES} are kept")
    return connector


def connect(
    tx: Tx, settings: Settings, row: VolumeAttachmentRow, connector: Mapping[str, object]
) -> VolumeAttachmentRow:
    """Tell how the host reaches the volume. Raises: BadRequest for a host that does not, NotFound, Conflict."""
    refuse_if_served(row)
    volume = kinds.find(tx, VOLUME, row["volume_id"])
    if "error" in volume["status"]:
        raise Conflict(
            "Volume attachments can not be updated if the volume is in an error state. The Volume "
            f"{volume['id']} currently has a status of: {volume['status']}",
            type="ResourceConflict",
        )
    told = told_of(tx, settings, volume, connector)
    values: dict[str, object] = {
        "status": row["status"] if row["status"] == "attached" else "attaching",
        "connector": dict(connector),
        "connection_info": {**told, "attachment_id": row["id"]},
        "attached_host": connector.get("host"),
        "mountpoint": connector.get("mountpoint"),
        "attach_mode": "ro" if volume["is_readonly"] else connector.get("mode") or row["attach_mode"],
    }
    if volume["status"] == "reserved":
        kinds.change(tx, VOLUME, volume, {"status": "attaching"})
    return kinds.change(tx, ATTACHMENT, row, values)


def told_of(tx: Tx, settings: Settings, volume: VolumeRow, connector: Mapping[str, object]) -> dict[str, object]:
    """How the host that says so of itself reaches the volume. Raises: BadRequest."""
    host = connector.get("host")
    if volume["encryption_key_id"] is not None:
        raise faults.invalid_input(f"volume {volume['id']} is encrypted: servers of this cloud alone are given its key")
    placement.refuse_away(tx, settings, volume)
    service = placement.find(tx, settings, volume["host"], volume["backend"])
    if service is not None and service.backend.is_networked:
        raise faults.invalid_input(f"volume {volume['id']} is reached by servers of this cloud alone")
    if host != volume["host"]:
        raise faults.invalid_input(
            f"volume {volume['id']} is reached from the host that keeps it alone, which is not '{quoted(host)}'"
        )
    mode = "ro" if volume["is_readonly"] else connector.get("mode") or "rw"
    return {
        "driver_volume_type": "file",
        "volume_id": volume["id"],
        "access_mode": mode,
        "encrypted": False,
        "qos_specs": None,
        "discard": True,
        "data": {**_file(volume), "access_mode": mode},
    }


def _file(volume: VolumeRow) -> dict[str, str]:
    """As the driver `file` keeps it."""
    kind, form = ("raw", "raw") if volume["multiattach"] else ("volume", "qcow2")
    return {"name": f"{kind}-{volume['id']}", "format": form}


def refuse_if_served(row: VolumeAttachmentRow) -> None:
    """Raises: Conflict while a server of this cloud has the volume: its host would go on with it."""
    if row["is_served"]:
        raise Conflict(
            f"Detach volume from instance {row['instance']} using the Compute API", type="ConflictNovaUsingAttachment"
        )


def end(tx: Tx, volume: VolumeRow, attachment_id: str | None) -> None:
    """Let go of a volume that somebody attached by hand, which is well afterwards whatever it was called.

    Raises: BadRequest, NotFound, Conflict.
    """
    held = attachments.of_volume(tx, volume["id"])
    if attachment_id is not None:
        held = [row for row in held if row["id"] == attachment_id]
        if not held:
            raise faults.missing(ATTACHMENT, attachment_id)
    if len(held) > 1:
        raise faults.invalid_volume("Detach volume failed: More than one attachment, but no attachment_id provided.")
    for row in held:
        refuse_if_served(row)
        attachments.detached(tx, row["id"])
    volume = kinds.find(tx, VOLUME, volume["id"])
    if volume["task"] is None:
        kinds.change(tx, VOLUME, volume, {"status": attachments.status_by(tx, volume["id"])})

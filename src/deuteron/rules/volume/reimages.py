"""Volumes that are made anew of another image: what they hold is lost, and they stay the same volumes.

    available, error, reserved --begin--> downloading --host--> what it was by who has it;  or error, and empty
    in-use, of a server that is rebuilt: the same, once its guest has let the volume go (`free`)

What its host has of it by then is made anew from nothing, so that each step may be done again.

Source: cinder/volume/api.py `reimage`; cinder/volume/manager.py `reimage`.
"""

from __future__ import annotations

import uuid
from typing import Final

import msgspec

from deuteron.model.image_rows import ImageRow
from deuteron.model.intent import VolumeReport
from deuteron.model.volume import VOLUME
from deuteron.model.volume.rows import VolumeRow
from deuteron.rules.volume import attachments, faults, images, kinds, messages
from deuteron.store import query
from deuteron.store.database import Tx
from deuteron.store.volume_tables import volumes as table

TASK: Final = "reimage"
_STATES: Final = ("available", "error", "reserved")


def refuse(row: VolumeRow, *, reserved: bool) -> None:
    """Raises: BadRequest in no state for it; `reserved`, one that is kept for somebody may be meant."""
    if row["status"] not in _STATES:
        raise faults.invalid_volume(
            f"Volume {row['id']} status must be available, error or reserved to be made anew from an image, and is "
            f"{row['status']}"
        )
    if row["status"] == "reserved" and not reserved:
        raise faults.invalid_volume(f"Volume {row['id']} is reserved: reimage_reserved has to say that this is meant")


def begin(tx: Tx, request_id: str, row: VolumeRow, image: ImageRow, *, is_free: bool = True) -> VolumeRow:
    """Have it made of the image; unless it `is_free`, when `free` says so.

    Raises: BadRequest while something else is done with it.
    """
    faults.refuse_on_its_way(row)
    if row["encryption_key_id"] is not None:
        images.refuse_without_header(image, row["size"])
    if query.first(tx, table, table.c.source_volid == row["id"], table.c.task == "create") is not None:
        raise faults.invalid_volume(f"volume {row['id']} is being copied, and stays what it is until that is done")
    is_idle = row["task"] is None or has_failed(row)
    if not is_idle or row["host"] is None or row["move"] is not None:
        raise faults.invalid_volume(f"volume {row['id']} is busy, or was never made: it is {row['status']}")
    asked = {
        "id": str(uuid.uuid4()),
        "image_id": image["id"],
        "image": msgspec.to_builtins(images.reference(image)),
        "described": images.description(image),
        "is_free": is_free,
    }
    values = {"status": "downloading", "task": TASK, "reimage": asked, "request_id": request_id}
    return kinds.change(tx, VOLUME, row, values)


def has_failed(row: VolumeRow) -> bool:
    """Whether it could not be made, and holds nothing."""
    return row["task"] == TASK and bool((row["reimage"] or {}).get("has_failed", False))


def is_waiting(row: VolumeRow) -> bool:
    """Whether somebody has it whom it is to be taken from first."""
    return row["task"] == TASK and not (row["reimage"] or {}).get("is_free", False)


def free(tx: Tx, row: VolumeRow) -> None:
    """Nobody has it any more."""
    if is_waiting(row):
        kinds.change(tx, VOLUME, row, {"reimage": {**(row["reimage"] or {}), "is_free": True}})


def apply_report(tx: Tx, row: VolumeRow, report: VolumeReport) -> None:
    """What its host says of it."""
    asked = row["reimage"] or {"id": ""}
    if report.reimaged == asked["id"]:
        status = attachments.status_by(tx, row["id"])
        held = {"image": asked["image"], "image_metadata": asked["described"], "bootable": True}
        kinds.change(tx, VOLUME, row, {"status": status, "task": None, "reimage": None, **held})
    elif report.not_reimaged == asked["id"] and not has_failed(row):
        # Nobody is given what holds nothing: its task goes on until it is made of something.
        kinds.change(tx, VOLUME, row, {"status": "error", "reimage": {**asked, "has_failed": True}})
        messages.tell(tx, row["project_id"], messages.NOT_REIMAGED, row["id"], request_id=row["request_id"])

"""What is asked of volumes that are there: to grow, to become an image, to be called something else than they are.

Source: cinder/volume/api.py; cinder/api/contrib/volume_actions.py, admin_actions.py.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Final

from deuteron.model.codecs import quoted
from deuteron.model.errors import BadRequest, Conflict, NotFound
from deuteron.model.image import IMAGE
from deuteron.model.image_rows import ImageRow
from deuteron.model.intent import VolumeReport
from deuteron.model.settings import Settings
from deuteron.model.volume import SNAPSHOT, VOLUME
from deuteron.model.volume.rows import SnapshotRow, VolumeRow, VolumeTypeRow
from deuteron.rules.image import images
from deuteron.rules.volume import (
    attachments,
    connections,
    encryption,
    faults,
    kinds,
    loads,
    messages,
    moves,
    placement,
    types,
    volumes,
)
from deuteron.store.database import Tx

_TAKEN: Final = ("image_id", "image_name", "checksum", "size")
"""What the image that a volume was made of says of itself, and not of what is made of the volume."""


def extend(tx: Tx, request_id: str, row: VolumeRow, size: int, *, while_attached: bool = False) -> None:
    """`while_attached`, also where a server has it, which sees it larger at once.

    Raises: BadRequest for no larger size, and in no state for it; TooLarge for a quota.
    """
    faults.refuse_on_its_way(row)
    if row["status"] != "available" and not (while_attached and row["status"] == "in-use"):
        raise faults.invalid_volume(
            f"Volume {row['id']} status must be 'available' to extend, currently {row['status']}."
        )
    if row["encryption_key_id"] is not None and row["status"] == "in-use":
        raise faults.invalid_volume(
            f"volume {row['id']} is encrypted, and grows while no server has it. Detach it first."
        )
    if size <= row["size"]:
        raise faults.invalid_input(
            f"New size for extend must be greater than current size. (current: {row['size']}, extended: {size})."
        )
    more = size - row["size"]
    loads.check(tx, row["project_id"], row["volume_type_id"], "volumes", count=0, gib=more)
    loads.count(tx, row["project_id"], row["volume_type_id"], "volumes", 0, more)
    loads.count_on_service(tx, row["host"], row["backend"], more)
    values = {"status": "extending", "task": "extend", "new_size": size, "request_id": request_id}
    kinds.change(tx, VOLUME, row, values)


def upload(
    tx: Tx, settings: Settings, request_id: str, row: VolumeRow, image: Mapping[str, object]
) -> tuple[VolumeRow, ImageRow]:
    """Have an image made of the volume; `image` says its name, formats, visibility and whether it is protected.

    Raises: BadRequest for a volume in no state for it; TooLarge for a limit of the image service.
    """
    faults.refuse_on_its_way(row)
    if row["encryption_key_id"] is not None:
        raise faults.not_built("An image of an encrypted volume", "A snapshot of a server that boots from it is.")
    if row["status"] != "available":
        raise faults.invalid_volume(f"Volume {row['id']} status must be available, and is {row['status']}")
    blank = {name: each.default for name, each in IMAGE.by_name.items() if each.create}
    values = {**blank, **image, "owner": row["project_id"]}
    properties = {key: value for key, value in row["image_metadata"].items() if key not in (*_TAKEN, *IMAGE.by_name)}
    made = images.create(tx, settings.operator.image, values, properties)
    asked = {"image_id": made["id"], "disk_format": values["disk_format"], "before": row["status"]}
    row = kinds.change(
        tx, VOLUME, row, {"status": "uploading", "task": "upload", "upload": asked, "request_id": request_id}
    )
    return row, made


def retype(
    tx: Tx, settings: Settings, request_id: str, row: VolumeRow, kind: VolumeTypeRow, *, may_move: bool = False
) -> None:
    """Give it another type. It stays where it is, unless that is not what the type demands, and it `may_move` to
    another back end that is, of its host or else of another.

    Where nothing is, the volume keeps its type, and a message says so. Whether several servers may have it changes its
    data: its host says when that is done, and it has its old type until then.

    Raises: BadRequest for the type that it has, and in no state for it; TooLarge for a quota of the type.
    """
    faults.refuse_on_its_way(row)
    is_shared = types.is_multiattach(kind)
    if is_shared != row["multiattach"] and row["status"] != "available":
        raise faults.invalid_input(
            "Invalid volume_type passed, retypes affecting multiattach are only allowed on available volumes, the "
            f"specified volume however currently has a status of: {row['status']}."
        )
    if row["status"] != "available":
        raise faults.invalid_volume(
            f"Unable to update type due to incorrect status: '{row['status']}' on volume: {row['id']}. Volume status "
            "must be available."
        )
    if row["group_id"] is not None:
        raise faults.invalid_volume(f"Volume {row['id']} must not be part of a group to take another type.")
    if kind["id"] == row["volume_type_id"]:
        raise faults.invalid_input(f"New volume type is the one that volume {row['id']} has: {kind['name']}")
    if encryption.is_changed(tx, row["volume_type_id"], kind):
        raise faults.not_built(
            "A retype between types whose volumes are encrypted differently", "A new volume can be written by a server."
        )
    encryption.refuse_shared(kind, is_shared=is_shared)
    loads.check_type(tx, row["project_id"], kind["id"], count=1, gib=row["size"])
    if not placement.suits(tx, settings, row["host"], row["backend"], kind["extra_specs"]):
        if not may_move or not moves.retype(tx, settings, request_id, row, kind):
            messages.tell(tx, row["project_id"], messages.NO_BACKEND, row["id"], request_id=request_id)
        return
    if is_shared == row["multiattach"]:
        kinds.change(tx, VOLUME, row, moves.of_type(tx, row, kind["id"]))
        return
    asked = {**(row["move"] or {}), "type_id": kind["id"], "is_shared": is_shared}
    values = {"status": "retyping", "task": "retype", "move": asked, "request_id": request_id}
    kinds.change(tx, VOLUME, row, values)


def revert(tx: Tx, request_id: str, row: VolumeRow, snapshot_id: str | None) -> None:
    """Have the volume hold again what it held when its latest snapshot was made.

    Raises: BadRequest for another snapshot, or of another size; Conflict where one of the two is in no state for it.
    """
    below = sorted(volumes.snapshots_of(tx, row), key=lambda each: (each["created_at"], each["id"]))
    if not below:
        raise BadRequest(f"Volume {row['id']} doesn't have any snapshots.", type="HTTPBadRequest")
    latest = below[-1]
    if snapshot_id != latest["id"]:
        raise BadRequest(
            f"Specified snapshot {quoted(snapshot_id)} is None or not the latest one of volume {row['id']}.",
            type="HTTPBadRequest",
        )
    if row["size"] != latest["size"]:
        raise BadRequest(
            f"Can't revert volume {row['id']} to its latest snapshot {latest['id']}. The volume size must be equal to "
            "the snapshot size.",
            type="HTTPBadRequest",
        )
    attempt = f"Can't revert volume {row['id']} to its latest snapshot {latest['id']}."
    if row["status"] != "available":
        raise Conflict(f"Invalid volume: {attempt} Volume's status must be 'available'.", type="HTTPConflict")
    if latest["status"] != "available":
        raise Conflict(f"Invalid snapshot: {attempt} Snapshot's status must be 'available'.", type="HTTPConflict")
    kinds.change(tx, SNAPSHOT, latest, {"status": "restoring"})
    asked = {"id": str(uuid.uuid4()), "snapshot_id": latest["id"]}
    values = {"status": "reverting", "task": "revert", "revert": asked, "request_id": request_id}
    kinds.change(tx, VOLUME, row, values)


def reverted(tx: Tx, row: VolumeRow, report: VolumeReport) -> None:
    """Its host did it, or could not; what it then holds is what it held."""
    asked = (row["revert"] or {"id": ""})["id"]
    is_lost = report.not_reverted == asked or report.state == "error"
    if report.reverted != asked and not is_lost:
        return
    _let_go_of_snapshot(tx, row)
    status = "available" if report.reverted == asked else "error"
    kinds.change(tx, VOLUME, row, {"status": status, "task": None, "revert": None})
    if status == "error":
        messages.tell(tx, row["project_id"], messages.UNKNOWN, row["id"], request_id=row["request_id"])


def _let_go_of_snapshot(tx: Tx, row: VolumeRow) -> None:
    found = None if row["revert"] is None else kinds.seen(tx, SNAPSHOT, row["revert"]["snapshot_id"])
    if found is not None and found["status"] == "restoring":
        kinds.change(tx, SNAPSHOT, found, {"status": "available"})


def reset_status(tx: Tx, row: VolumeRow, status: str) -> VolumeRow:
    """Call it what an administrator says; what a server has stays in use. Raises: BadRequest, Conflict."""
    faults.refuse_on_its_way(row)
    if status in ("deleting", "error_deleting", "detaching"):
        raise BadRequest(f"Cannot reset-state to {status}", type="HTTPBadRequest")
    if row["task"] in ("manage", "unmanage"):
        raise faults.invalid_volume(f"Volume {row['id']} is {row['status']}, which has to end first.")
    held = attachments.of_volume(tx, row["id"])
    if status in ("available", "reserved", "attaching"):
        for each in held:
            connections.refuse_if_served(each)
    if status == "in-use" and not held:
        raise BadRequest(
            "Cannot reset-state to in-use because volume does not have any attachments.", type="HTTPBadRequest"
        )
    values = {
        "status": status,
        "task": None,
        "upload": None,
        "restore": None,
        "reimage": None,
        **_as_large_as_it_is(tx, row),
    }
    if row["task"] == "move":
        values |= moves.given_up(tx, row)
    elif row["task"] == "retype":
        values["move"] = moves.still_left(row)
    return kinds.change(tx, VOLUME, row, values)


def reset_migration(tx: Tx, row: VolumeRow, status: str | None) -> VolumeRow:
    """Call its migration what an administrator says. Raises: BadRequest while it is on its way."""
    if row["task"] == "move":
        raise faults.invalid_volume(f"Volume {row['id']} is on its way: its status is to be reset as well")
    return kinds.change(tx, VOLUME, row, {"migration_status": status})


def _as_large_as_it_is(tx: Tx, row: VolumeRow) -> dict[str, object]:
    give_back(tx, row)
    volumes.let_go_of_backup(tx, row)
    _let_go_of_snapshot(tx, row)
    return {"new_size": None, "revert": None}


def give_back(tx: Tx, row: VolumeRow) -> None:
    """It will not grow to what it was asked to."""
    if row["new_size"] is not None:
        less = row["size"] - row["new_size"]
        loads.count(tx, row["project_id"], row["volume_type_id"], "volumes", 0, less)
        loads.count_on_service(tx, row["host"], row["backend"], less)


def reset_snapshot_status(tx: Tx, row: SnapshotRow, status: str, progress: str | None = None) -> None:
    """Raises: BadRequest while it is taken in hand or given out of it."""
    if row["task"] in ("manage", "unmanage"):
        raise faults.invalid_snapshot(f"Snapshot {row['id']} is {row['status']}, which has to end first.")
    kinds.change(tx, SNAPSHOT, row, {"status": status, "task": None, "progress": progress or row["progress"]})


def set_image_metadata(tx: Tx, row: VolumeRow, given: Mapping[str, str]) -> dict[str, str]:
    merged = {**row["image_metadata"], **given}
    kinds.change(tx, VOLUME, row, {"image_metadata": merged})
    return merged


def unset_image_metadata(tx: Tx, row: VolumeRow, key: str) -> None:
    """Raises: NotFound."""
    if key not in row["image_metadata"]:
        raise NotFound(
            f"Glance metadata for volume/snapshot {row['id']} cannot be found.", type="GlanceMetadataNotFound"
        )
    left = {name: value for name, value in row["image_metadata"].items() if name != key}
    kinds.change(tx, VOLUME, row, {"image_metadata": left})

"""Snapshots: what volumes held at some time.

Source: cinder/volume/api.py `_create_snapshot`, `delete_snapshot`.
"""

from __future__ import annotations

from collections.abc import Mapping

from deuteron.model.caller import Caller
from deuteron.model.scalars import CLOUD
from deuteron.model.volume import SNAPSHOT
from deuteron.model.volume.rows import SnapshotRow, VolumeRow
from deuteron.rules.volume import faults, kinds, loads, volumes
from deuteron.store.database import Tx


def find(tx: Tx, caller: Caller, snapshot_id: str) -> SnapshotRow:
    """The snapshot, if the caller may see it. Raises: NotFound."""
    row = kinds.find(tx, SNAPSHOT, snapshot_id)
    if not volumes.is_seen(caller, row["project_id"]):
        raise faults.missing(SNAPSHOT, snapshot_id)
    return row


def create(
    tx: Tx, caller: Caller, request_id: str, volume: VolumeRow, values: Mapping[str, object], *, forced: bool = False
) -> SnapshotRow:
    """`forced`, also of a volume that a server has, which stands still meanwhile.

    Raises: BadRequest for a volume that is in no state for it; TooLarge for a quota.
    """
    return add(tx, caller, request_id, volume, {**values, "task": "create"}, is_lenient=forced)


def add(
    tx: Tx, caller: Caller, request_id: str, volume: VolumeRow, values: Mapping[str, object], *, is_lenient: bool
) -> SnapshotRow:
    """A row for a snapshot that its host makes, or takes in hand; with `is_lenient`, also of a volume that is in use.

    Raises: as `create`.
    """
    faults.refuse_on_its_way(volume)
    if volume["status"] != "available" and not (is_lenient and volume["status"] == "in-use"):
        raise faults.invalid_volume(
            f"The snapshot cannot be created when the volume is in {volume['status']} status: it has to be available."
        )
    project_id = caller.project_id or CLOUD
    loads.check(tx, project_id, volume["volume_type_id"], "snapshots", count=1, gib=volume["size"])
    loads.count(tx, project_id, volume["volume_type_id"], "snapshots", 1, volume["size"])
    return kinds.add(
        tx,
        SNAPSHOT,
        {
            **values,
            "volume_id": volume["id"],
            "status": "creating",
            "size": volume["size"],
            "user_id": caller.user_id,
            "project_id": project_id,
            "host": volume["host"],
            "backend": volume["backend"],
            "pool": volume["pool"],
            "volume_type_id": volume["volume_type_id"],
            "bootable": volume["bootable"],
            "image_metadata": dict(volume["image_metadata"]),
            "request_id": request_id,
        },
    )


def change(tx: Tx, row: SnapshotRow, values: Mapping[str, object]) -> SnapshotRow:
    return kinds.change(tx, SNAPSHOT, row, values)


def remove(tx: Tx, request_id: str, row: SnapshotRow, *, forced: bool = False) -> None:
    """Raises: BadRequest for one that is in no state for it."""
    is_part = row["group_snapshot_id"] is not None
    if is_part or (row["status"] not in ("available", "error") and not forced):
        raise faults.invalid_snapshot(
            f"Snapshot {row['id']} is {row['status']}. Snapshot status must be available or error and must not be part "
            "of a group."
        )
    volumes.remove_snapshot(tx, request_id, row)

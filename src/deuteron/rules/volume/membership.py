"""What becomes of a group, and of a snapshot of one, when one of its volumes or snapshots did what was asked.

A group that is made of another is there when all of its volumes are. A group snapshot is all of its snapshots: when one
cannot be made, none is good, and when the last one is gone, it is gone.
"""

from __future__ import annotations

from deuteron.model.volume import GROUP, GROUP_SNAPSHOT, SNAPSHOT
from deuteron.model.volume.rows import SnapshotRow, VolumeRow
from deuteron.rules.volume import kinds, loads
from deuteron.store import query
from deuteron.store.database import Tx
from deuteron.store.volume_tables import snapshots, volumes


def volume_settled(tx: Tx, row: VolumeRow) -> None:
    """A volume was made, or could not be."""
    group = None if row["group_id"] is None else kinds.seen(tx, GROUP, row["group_id"])
    if group is None or group["status"] != "creating":
        return
    states = {each["status"] for each in query.rows(tx, volumes, volumes.c.group_id == group["id"])}
    if "error" in states:
        kinds.change(tx, GROUP, group, {"status": "error"})
    elif states <= {"available"}:
        kinds.change(tx, GROUP, group, {"status": "available"})


def volume_gone(tx: Tx, row: VolumeRow) -> None:
    group = None if row["group_id"] is None else kinds.seen(tx, GROUP, row["group_id"])
    if group is None or group["status"] != "deleting":
        return
    if query.first(tx, volumes, volumes.c.group_id == group["id"]) is None:
        remove_group(tx, group["id"], group["project_id"])


def remove_group(tx: Tx, group_id: str, project_id: str) -> None:
    loads.count_groups(tx, project_id, -1)
    kinds.remove(tx, GROUP, group_id)


def snapshot_settled(tx: Tx, row: SnapshotRow) -> None:
    """A snapshot was made, or could not be."""
    whole = None if row["group_snapshot_id"] is None else kinds.seen(tx, GROUP_SNAPSHOT, row["group_snapshot_id"])
    if whole is None or whole["status"] not in ("creating", "error"):
        return
    parts = query.rows(tx, snapshots, snapshots.c.group_snapshot_id == whole["id"])
    states = {each["status"] for each in parts}
    if "error" in states:
        kinds.change(tx, GROUP_SNAPSHOT, whole, {"status": "error"})
        for each in parts:
            if each["status"] == "available":
                kinds.change(tx, SNAPSHOT, each, {"status": "error"})
    elif states <= {"available"} and whole["status"] == "creating":
        kinds.change(tx, GROUP_SNAPSHOT, whole, {"status": "available"})


def snapshot_gone(tx: Tx, row: SnapshotRow) -> None:
    whole = None if row["group_snapshot_id"] is None else kinds.seen(tx, GROUP_SNAPSHOT, row["group_snapshot_id"])
    if whole is None or whole["status"] != "deleting":
        return
    if query.first(tx, snapshots, snapshots.c.group_snapshot_id == whole["id"]) is None:
        kinds.remove(tx, GROUP_SNAPSHOT, whole["id"])

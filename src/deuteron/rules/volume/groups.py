"""Groups: volumes of one host that are saved and deleted together.

Source: cinder/group/api.py; cinder/volume/manager.py `create_group`, `update_group`, `create_group_snapshot`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from deuteron.model.caller import Caller
from deuteron.model.errors import BadRequest
from deuteron.model.scalars import CLOUD
from deuteron.model.settings import Settings
from deuteron.model.volume import GROUP, GROUP_SNAPSHOT, SNAPSHOT, VOLUME
from deuteron.model.volume.rows import GroupRow, GroupSnapshotRow, VolumeRow
from deuteron.model.volume.volumes import ZONE
from deuteron.rules.volume import faults, group_types, kinds, loads, membership, placement, snapshots, types, volumes
from deuteron.rules.volume.volumes import NewVolume
from deuteron.store import query
from deuteron.store import volume_tables as tables
from deuteron.store.database import Tx

MOST: Final = 100
"""Volumes of a group: a request about it is one transaction about all of them."""
_REMOVABLE: Final = ("available", "in-use", "error", "error_deleting")
_ADDABLE: Final = ("available", "in-use")


def find(tx: Tx, caller: Caller, group_id: str) -> GroupRow:
    """The group, if the caller may see it. Raises: NotFound."""
    row = kinds.find(tx, GROUP, group_id)
    if not volumes.is_seen(caller, row["project_id"]):
        raise faults.missing(GROUP, group_id)
    return row


def find_snapshot(tx: Tx, caller: Caller, snapshot_id: str) -> GroupSnapshotRow:
    """Raises: NotFound."""
    row = kinds.find(tx, GROUP_SNAPSHOT, snapshot_id)
    if not volumes.is_seen(caller, row["project_id"]):
        raise faults.missing(GROUP_SNAPSHOT, snapshot_id)
    return row


def volumes_of(tx: Tx, group_id: str) -> Sequence[VolumeRow]:
    return query.rows(tx, tables.volumes, tables.volumes.c.group_id == group_id)


def create(tx: Tx, settings: Settings, caller: Caller, values: Mapping[str, object]) -> GroupRow:
    """Raises: BadRequest, NotFound; TooLarge for a quota."""
    kind = group_types.wanted(tx, caller, str(values["group_type"]))
    asked = values["volume_types"]
    named = [str(each) for each in asked] if isinstance(asked, list | tuple) else []
    if not named or len(set(named)) != len(named):
        raise faults.invalid("volume_types", named, "one type at least is expected, and none of them twice")
    if values["availability_zone"] not in (None, ZONE):
        raise faults.invalid_input(f"Availability zone '{values['availability_zone']}' is invalid.")
    allowed = [types.wanted(tx, caller, each) for each in named]
    specs: dict[str, object] = dict(kind["group_specs"])
    for each in allowed:
        specs |= each["extra_specs"]
    chosen = placement.choose(tx, settings, 0, specs)
    return _add(
        tx,
        caller,
        {
            "name": values["name"],
            "description": values["description"],
            "status": "available" if chosen is not None else "error",
            "group_type": kind["id"],
            "volume_types": list(dict.fromkeys(each["id"] for each in allowed)),
            "host": None if chosen is None else chosen.host.name,
            "backend": None if chosen is None else chosen.backend.name,
            "pool": None if chosen is None else chosen.backend.pool_name,
        },
    )


def _add(tx: Tx, caller: Caller, values: Mapping[str, object]) -> GroupRow:
    project_id = caller.project_id or CLOUD
    loads.check_groups(tx, project_id)
    loads.count_groups(tx, project_id, 1)
    owner = {"project_id": project_id, "user_id": caller.user_id, "availability_zone": ZONE}
    return kinds.add(tx, GROUP, {**values, **owner})


def create_from(
    tx: Tx,
    settings: Settings,
    caller: Caller,
    request_id: str,
    source: GroupRow,
    snapshot: GroupSnapshotRow | None,
    values: Mapping[str, object],
) -> GroupRow:
    """A group of copies: of the volumes of a group, or of what a snapshot of it holds.

    Raises: BadRequest for an empty one, and in no state for it; TooLarge for a quota.
    """
    if snapshot is not None and snapshot["status"] != "available":
        raise invalid(f"Group snapshot {snapshot['id']} has to be available, and is {snapshot['status']}.")
    if source["status"] != "available" and snapshot is None:
        raise invalid(f"Source group {source['id']} has to be available, and is {source['status']}.")
    row = _add(
        tx,
        caller,
        {
            **values,
            "status": "creating",
            "group_type": source["group_type"],
            "volume_types": list(source["volume_types"]),
            "host": source["host"],
            "backend": source["backend"],
            "pool": source["pool"],
            "group_snapshot_id": None if snapshot is None else snapshot["id"],
            "source_group_id": source["id"] if snapshot is None else None,
        },
    )
    if snapshot is None:
        news = [NewVolume(None, source_id=each["id"]) for each in volumes_of(tx, source["id"])]
    else:
        parts = query.rows(tx, tables.snapshots, tables.snapshots.c.group_snapshot_id == snapshot["id"])
        news = [NewVolume(None, snapshot_id=each["id"]) for each in parts]
    if not news:
        raise invalid("Source is empty. No group will be created.")
    for new in news:
        made = volumes.create(tx, settings, caller, request_id, new)
        kinds.change(tx, VOLUME, made, {"group_id": row["id"]})
    return row


def require_for(tx: Tx, caller: Caller, group_id: str, asked_type: str | None) -> GroupRow:
    """The group that a new volume of this type may be in. Raises: NotFound, BadRequest."""
    row = find(tx, caller, group_id)
    kind = types.wanted(tx, caller, asked_type)
    if asked_type is None or kind["id"] not in row["volume_types"]:
        raise faults.invalid_input(
            f"Invalid volume_type provided: {asked_type} (requested type must be supported by this group)."
        )
    if row["status"] != "available":
        raise faults.invalid_input(f"group {group_id} has to be available, and is {row['status']}")
    if row["project_id"] != (caller.project_id or CLOUD):
        raise faults.invalid_input(f"group {group_id} is another project's")
    _refuse_full(tx, row, 1)
    return row


def update(
    tx: Tx, caller: Caller, row: GroupRow, values: Mapping[str, object], adding: Sequence[str], removing: Sequence[str]
) -> GroupRow:
    """Another name and description; volumes that come and go. Raises: BadRequest."""
    both = sorted(set(adding) & set(removing))
    if both:
        raise faults.invalid_volume(f"UUIDs {both} are in both add and remove volume list.")
    have = {each["id"]: each for each in volumes_of(tx, row["id"])}
    coming = [_addable(tx, caller, row, each) for each in adding if each not in have]
    going = [_removable(row, have.get(each), each) for each in removing]  # type: ignore[call-overload]  # ids are text
    changed = {name: value for name, value in values.items() if value is not None and value != dict(row)[name]}
    if not (changed or coming or going):
        raise invalid(
            f"Cannot update group {row['id']} because no valid name, description, add_volumes, or remove_volumes were "
            "provided."
        )
    if row["status"] != "available":
        raise invalid("Group status must be available.")
    _refuse_full(tx, row, len(coming))
    for each in coming:
        kinds.change(tx, VOLUME, each, {"group_id": row["id"]})
    for each in going:
        kinds.change(tx, VOLUME, each, {"group_id": None})
    return kinds.change(tx, GROUP, row, changed)


def _addable(tx: Tx, caller: Caller, row: GroupRow, volume_id: str) -> VolumeRow:
    attempt = f"Cannot add volume {volume_id[:80]} to group {row['id']} because"
    found = kinds.seen(tx, VOLUME, volume_id)
    if found is None or not volumes.is_seen(caller, found["project_id"]):
        raise faults.invalid_volume(f"{attempt} volume cannot be found.")
    if found["group_id"] is not None:
        raise faults.invalid_volume(f"{attempt} it is already in group {found['group_id']}.")
    if found["project_id"] != row["project_id"]:
        raise faults.invalid_volume(f"{attempt} they belong to different projects.")
    if found["volume_type_id"] not in row["volume_types"]:
        raise faults.invalid_volume(f"{attempt} volume type {found['volume_type_id']} is not supported by the group.")
    if found["status"] not in _ADDABLE:
        raise faults.invalid_volume(f"{attempt} it is {found['status']}, and has to be one of {', '.join(_ADDABLE)}.")
    if (found["host"], found["backend"]) != (row["host"], row["backend"]):
        raise faults.invalid_volume(f"{attempt} it is on another host, or kept by another back end of it.")
    return found


def _removable(row: GroupRow, found: VolumeRow | None, volume_id: str) -> VolumeRow:
    attempt = f"Cannot remove volume {volume_id[:80]} from group {row['id']} because"
    if found is None:
        raise faults.invalid_volume(f"{attempt} it is not in the group.")
    if found["status"] not in _REMOVABLE:
        raise faults.invalid_volume(f"{attempt} it is {found['status']}, and has to be one of {', '.join(_REMOVABLE)}.")
    return found


def _refuse_full(tx: Tx, row: GroupRow, more: int) -> None:
    have = query.count(tx, tables.volumes, tables.volumes.c.group_id == row["id"])
    if have + more > MOST:
        raise invalid(
            f"group {row['id']} has {have} volumes, and {more} more are too many: at most {MOST} are accepted"
        )


def remove(tx: Tx, request_id: str, row: GroupRow, *, with_volumes: bool) -> None:
    """Delete it, and its volumes when that is said. Raises: BadRequest."""
    if row["host"] is None:
        membership.remove_group(tx, row["id"], row["project_id"])
        return
    if not with_volumes and row["status"] not in ("available", "error"):
        raise invalid(f"Group status must be available or error, but current status is: {row['status']}")
    if query.first(tx, tables.group_snapshots, tables.group_snapshots.c.group_id == row["id"]) is not None:
        raise invalid("Group has existing snapshots.")
    have = volumes_of(tx, row["id"])
    if have and not with_volumes:
        raise invalid(f"Group {row['id']} still contains volumes. The delete-volumes flag is required to delete it.")
    for each in have:
        if volumes.snapshots_of(tx, each):
            raise invalid("Volume in group still has dependent snapshots.")
        if each["status"] == "in-use":
            raise invalid(f"Volume in group {row['id']} is attached. Need to detach first.")
    if not have:
        membership.remove_group(tx, row["id"], row["project_id"])
        return
    kinds.change(tx, GROUP, row, {"status": "deleting"})
    for each in have:
        volumes.end(tx, request_id, each)


def refuse_replication(tx: Tx, row: GroupRow) -> None:
    """Raises: BadRequest, always: what no back end has, no group has."""
    raise BadRequest(f"Invalid group type: Group {row['id']} is not a replication group type.", type="InvalidGroupType")


def reset_status(tx: Tx, row: GroupRow, status: str) -> None:
    kinds.change(tx, GROUP, row, {"status": status})


# --- snapshots --------------------------------------------------------------------------------------------------------


def create_snapshot(
    tx: Tx, caller: Caller, request_id: str, group: GroupRow, values: Mapping[str, object]
) -> GroupSnapshotRow:
    """Save all volumes of a group. Raises: BadRequest for an empty one or in no state for it; TooLarge."""
    if group["status"] != "available":
        raise invalid(f"Group {group['id']} has to be available, and is {group['status']}.")
    have = volumes_of(tx, group["id"])
    if not have:
        raise invalid("Group is empty. No group snapshot will be created.")
    row = kinds.add(
        tx,
        GROUP_SNAPSHOT,
        {
            **values,
            "group_id": group["id"],
            "group_type_id": group["group_type"],
            "status": "creating",
            "project_id": caller.project_id or CLOUD,
            "user_id": caller.user_id,
        },
    )
    described = {"name": values["name"], "description": values["description"], "metadata": {}}
    for each in have:
        made = snapshots.create(tx, caller, request_id, each, described)
        kinds.change(tx, SNAPSHOT, made, {"group_snapshot_id": row["id"]})
    return row


def remove_snapshot(tx: Tx, request_id: str, row: GroupSnapshotRow) -> None:
    """Raises: BadRequest for one that is in no state for it."""
    making = tables.groups.c.group_snapshot_id == row["id"], tables.groups.c.status == "creating"
    if row["status"] not in ("available", "error") or query.first(tx, tables.groups, *making) is not None:
        raise BadRequest(
            "Invalid GroupSnapshot: GroupSnapshot status must be available or error, and no Group can be currently "
            "using it as source for its creation.",
            type="InvalidGroupSnapshot",
        )
    parts = query.rows(tx, tables.snapshots, tables.snapshots.c.group_snapshot_id == row["id"])
    if not parts:
        kinds.remove(tx, GROUP_SNAPSHOT, row["id"])
        return
    kinds.change(tx, GROUP_SNAPSHOT, row, {"status": "deleting"})
    for each in parts:
        volumes.remove_snapshot(tx, request_id, each)


def reset_snapshot_status(tx: Tx, row: GroupSnapshotRow, status: str) -> None:
    kinds.change(tx, GROUP_SNAPSHOT, row, {"status": status})


def invalid(why: str) -> BadRequest:
    return BadRequest(f"Invalid Group: {why}", type="InvalidGroup")

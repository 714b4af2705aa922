"""Backups: what a volume held, kept by its host apart from it, to make volumes of again.

A row says what should be; the volume's host saves the data and says so (`backup_reports`). One that says what differs
from an earlier one needs that, which is not deleted before it.

Source: cinder/backup/api.py; cinder/backup/manager.py.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence

from sqlalchemy import select

from deuteron.model.caller import Caller
from deuteron.model.codecs import is_uuid
from deuteron.model.errors import NotFound
from deuteron.model.scalars import CLOUD
from deuteron.model.settings import Settings
from deuteron.model.volume import BACKUP, SNAPSHOT, VOLUME
from deuteron.model.volume.backups import IMPORTED, SERVICE
from deuteron.model.volume.rows import BackupRow, SnapshotRow, VolumeRow
from deuteron.model.volume.volumes import MAX_GIB, ZONE
from deuteron.rules.volume import faults, keys, kinds, loads, messages, placement, volumes
from deuteron.rules.volume.volumes import NewVolume
from deuteron.store import query
from deuteron.store.database import Tx
from deuteron.store.volume_tables import backups

CONTAINER = "volumebackups"
"""Of who names none. Source: cinder.conf backup_swift_container."""
MAX_RECORD = 64 * 1024


def find(tx: Tx, caller: Caller, backup_id: str) -> BackupRow:
    """The backup, if the caller may see it. Raises: NotFound."""
    row = kinds.find(tx, BACKUP, backup_id)
    if not volumes.is_seen(caller, row["project_id"]):
        raise faults.missing(BACKUP, backup_id)
    return row


def create(
    tx: Tx,
    settings: Settings,
    caller: Caller,
    request_id: str,
    volume: VolumeRow,
    snapshot: SnapshotRow | None,
    values: Mapping[str, object],
    *,
    incremental: bool,
    force: bool,
) -> BackupRow:
    """Save a volume, or what a snapshot of it holds; `incremental` is only what differs from the latest backup.

    Raises: BadRequest for what is in no state for it; TooLarge for a quota.
    """
    _refuse_busy(volume, snapshot, force=force)
    project_id = caller.project_id or CLOUD
    size = volume["size"] if snapshot is None else snapshot["size"]
    loads.check_backup(tx, project_id, size)
    parent = _latest(tx, project_id, volume, snapshot) if incremental else None
    key_id = volume["encryption_key_id"]
    loads.count_backup(tx, project_id, 1, size)
    zone = values.get("availability_zone")
    is_served = zone in (None, ZONE) and placement.is_backed_up(tx, settings, volume["host"])
    now = kinds.moment(tx.now)
    row = kinds.add(
        tx,
        BACKUP,
        {
            **values,
            "status": "creating" if is_served else "error",
            "size": size,
            "object_count": 0,
            "container": values.get("container") or CONTAINER,
            "fail_reason": None if is_served else "Service not found for creating backup.",
            "volume_id": volume["id"],
            "snapshot_id": None if snapshot is None else snapshot["id"],
            "data_timestamp": now if snapshot is None else snapshot["created_at"],
            "user_id": caller.user_id,
            "project_id": project_id,
            "host": volume["host"] if is_served else None,
            "backend": volume["backend"],
            "parent_id": None if parent is None else parent["id"],
            "encryption_key_id": keys.copy(tx, key_id) if key_id is not None else None,
            "volume_facts": _facts(volume),
            "task": "create" if is_served else None,
            "previous_status": volume["status"],
            "request_id": request_id,
        },
    )
    if not is_served:
        messages.tell(tx, project_id, messages.NO_BACKUP_SERVICE, row["id"], request_id=request_id, of="VOLUME_BACKUP")
    elif snapshot is None:
        kinds.change(tx, VOLUME, volume, {"status": "backing-up"})
    else:
        kinds.change(tx, SNAPSHOT, snapshot, {"status": "backing-up"})
    return row


def _refuse_busy(volume: VolumeRow, snapshot: SnapshotRow | None, *, force: bool) -> None:
    if snapshot is not None:
        if snapshot["volume_id"] != volume["id"]:
            raise faults.invalid_volume(
                f"Volume {volume['id']} does not match with snapshot.volume_id {snapshot['volume_id']}."
            )
        if snapshot["status"] != "available":
            raise faults.invalid_snapshot(
                f'Snapshot to be backed up must be available, but the current status is "{snapshot["status"]}".'
            )
    faults.refuse_on_its_way(volume)
    if snapshot is not None:
        return
    if volume["status"] not in ("available", "in-use"):
        raise faults.invalid_volume(
            f'Volume to be backed up must be available or in-use, but the current status is "{volume["status"]}".'
        )
    elif volume["status"] == "in-use" and not force:
        raise faults.invalid_volume("Backing up an in-use volume must use the force flag.")


def _latest(tx: Tx, project_id: str, volume: VolumeRow, snapshot: SnapshotRow | None) -> BackupRow:
    """What a new backup may say its difference from, where the volume is by now. Raises: BadRequest."""
    mine = (
        backups.c.volume_id == volume["id"],
        backups.c.project_id == project_id,
        backups.c.status == "available",
        backups.c.host == volume["host"],
    )
    found = [
        each
        for each in query.rows(tx, backups, *mine)
        if snapshot is None or each["data_timestamp"] < snapshot["created_at"]
    ]
    if not found:
        raise faults.invalid_backup("No backups available to do an incremental backup.")
    return max(found, key=lambda each: each["data_timestamp"])


def _facts(volume: VolumeRow) -> dict[str, object]:
    """What is given to a volume that gets the data."""
    return {
        "name": volume["name"],
        "description": volume["description"],
        "metadata": dict(volume["metadata"]),
        "image_metadata": dict(volume["image_metadata"]),
        "bootable": volume["bootable"],
        **({"volume_type_id": volume["volume_type_id"]} if volume["encryption_key_id"] is not None else {}),
    }


def with_dependents(tx: Tx, ids: Sequence[str]) -> frozenset[str]:
    """Those from which other backups say what differs."""
    return frozenset(tx.scalars(select(backups.c.parent_id).where(backups.c.parent_id.in_(ids)).distinct()))


def change(tx: Tx, row: BackupRow, values: Mapping[str, object]) -> BackupRow:
    return kinds.change(tx, BACKUP, row, values)


def remove(tx: Tx, request_id: str, row: BackupRow, *, forced: bool = False) -> None:
    """Raises: BadRequest for one that is in no state for it, or from which others say what differs."""
    if row["status"] not in ("available", "error") and not forced:
        raise faults.invalid_backup(f"Backup status must be available or error, and is {row['status']}")
    if with_dependents(tx, [row["id"]]):
        raise faults.invalid_backup("Incremental backups exist for this backup.")
    end_saving(tx, row)
    if row["host"] is None:
        finish_delete(tx, row)
    else:
        kinds.change(tx, BACKUP, row, {"status": "deleting", "task": "delete", "request_id": request_id})


def finish_delete(tx: Tx, row: BackupRow) -> None:
    """Nothing is left of it."""
    loads.count_backup(tx, row["project_id"], -1, -row["size"])
    kinds.remove(tx, BACKUP, row["id"])
    keys.forget(tx, row["encryption_key_id"])


def end_saving(tx: Tx, row: BackupRow) -> None:
    """What it is made of is again what it was, if it is still being saved."""
    if row["task"] != "create" or row["copy_of"] is not None:
        return
    if row["snapshot_id"] is not None:
        snapshot = kinds.seen(tx, SNAPSHOT, row["snapshot_id"])
        if snapshot is not None and snapshot["status"] == "backing-up":
            kinds.change(tx, SNAPSHOT, snapshot, {"status": "available"})
        return
    volume = kinds.seen(tx, VOLUME, row["volume_id"])
    if volume is not None and volume["status"] == "backing-up":
        kinds.change(tx, VOLUME, volume, {"status": row["previous_status"] or "available"})


def reset_status(tx: Tx, row: BackupRow, status: str) -> None:
    """Call it what an administrator says; one that is being saved is saved no more. Raises: BadRequest."""
    if row["task"] == "delete":
        raise faults.invalid_backup(f"cannot call backup {row['id']} {status}: it is being deleted")
    has_data = row["host"] is not None and row["task"] is None
    if status == "available" and not has_data:
        raise faults.invalid_backup(f"cannot call backup {row['id']} available: it has no data")
    end_saving(tx, row)
    kinds.change(tx, BACKUP, row, {"status": status, "task": None, **({} if has_data else {"host": None})})


def restore(
    tx: Tx, settings: Settings, caller: Caller, request_id: str, row: BackupRow, volume_id: str | None, name: str | None
) -> VolumeRow:
    """The volume that gets the data: the given one, or a new one.

    Raises: BadRequest for a backup or a volume in no state for it; NotFound; TooLarge for a quota.
    """
    if row["status"] != "available":
        raise faults.invalid_backup("Backup status must be available")
    if not placement.is_backed_up(tx, settings, row["host"]):
        raise NotFound(f"Service {placement.BACKUPS} could not be found.", type="ServiceNotFound")
    if volume_id is None:
        new = NewVolume(
            size=row["size"],
            name=name or f"restore_backup_{row['id']}",
            description="auto-created_from_restore_from_backup",
            backup_id=row["id"],
        )
        made = volumes.create(tx, settings, caller, request_id, new)
        if made["host"] is None:
            raise faults.invalid_volume(f"no volume can be made on the host of backup {row['id']}, {row['host']}")
        return made
    volume = volumes.find(tx, caller, volume_id)
    if volume["status"] != "available":
        raise faults.invalid_volume("Volume to be restored to must be available")
    if row["size"] > volume["size"]:
        raise faults.invalid_volume(
            f"volume size {volume['size']} is too small to restore backup of size {row['size']}."
        )
    if volume["host"] != row["host"]:
        raise faults.invalid_volume(
            f"Volume {volume_id} is on host {volume['host']}, backup {row['id']} on host {row['host']}: a backup is "
            "restored where it is. Without a volume a new one is made there."
        )
    _refuse_other_key(tx, row, volume)
    return volumes.restore(tx, request_id, volume, row["id"], is_new=False)


def _refuse_other_key(tx: Tx, row: BackupRow, volume: VolumeRow) -> None:
    """Raises: BadRequest for data that the volume's key does not open: its snapshots are of that one."""
    one, other = row["encryption_key_id"], volume["encryption_key_id"]
    if (one is None) is not (other is None):
        what = "not encrypted, and volume {} is" if one is None else "encrypted, and volume {} is not"
        raise faults.invalid_volume(f"backup {row['id']} is {what.format(volume['id'])}")
    if one is not None and other is not None and not keys.are_same(tx, one, other):
        raise faults.invalid_volume(
            f"backup {row['id']} is encrypted with another key than volume {volume['id']}: without a volume a new one "
            "is made of it"
        )


# --- records ----------------------------------------------------------------------------------------------------------


def record(row: BackupRow) -> str:
    """What another cloud, or this one after its rows were lost, needs to know of a backup whose data it has.

    Raises: BadRequest.
    """
    if row["status"] != "available":
        raise faults.invalid_backup(f"Backup status must be available and not {row['status']}.")
    if row["encryption_key_id"] is not None:
        raise faults.not_built("A record of an encrypted backup", "Its key does not leave the cloud.")
    said = {
        "id": row["id"],
        "size": row["size"],
        "display_name": row["name"],
        "display_description": row["description"],
        "container": row["container"],
        "object_count": row["object_count"],
        "service": SERVICE,
        "service_metadata": row["id"],
        "host": row["host"],
        "parent_id": row["parent_id"],
        "data_timestamp": row["data_timestamp"],
        "volume_id": row["volume_id"],
        "volume_facts": row["volume_facts"],
    }
    return base64.b64encode(json.dumps(said).encode()).decode()


def take_record(tx: Tx, settings: Settings, caller: Caller, request_id: str, service: str, text: str) -> BackupRow:
    """A backup of the data that a host has under the record's id. Raises: BadRequest; TooLarge for a quota."""
    if service != SERVICE:
        raise faults.invalid_input(f"backup service '{service}' is not known here, '{SERVICE}' is")
    said = _read(text)
    backup_id, size, data, parent_id = said["id"], said["size"], said["service_metadata"], said.get("parent_id")
    if kinds.seen(tx, BACKUP, str(backup_id)) is not None:
        raise faults.invalid_backup("Backup already exists in database.")
    known = {host.name for host in placement.hosts(tx, settings) if host.hello is not None}
    if said.get("host") not in known:
        raise faults.invalid_input(f"the record names host '{str(said.get('host'))[:80]}', which keeps no backups here")
    assert isinstance(size, int)
    project_id = caller.project_id or CLOUD
    loads.check_backup(tx, project_id, size)
    loads.count_backup(tx, project_id, 1, size)
    return kinds.add(
        tx,
        BACKUP,
        {
            "id": backup_id,
            "status": "creating",
            "size": size,
            "object_count": 0,
            "container": said.get("container"),
            "name": said.get("display_name"),
            "description": said.get("display_description"),
            "volume_id": IMPORTED,
            "data_timestamp": kinds.moment(tx.now),
            "metadata": {},
            "user_id": caller.user_id,
            "project_id": project_id,
            "host": said["host"],
            "parent_id": parent_id,
            "copy_of": data,
            "volume_facts": _checked_facts(said.get("volume_facts")),
            "task": "create",
            "request_id": request_id,
        },
    )


def _read(text: str) -> Mapping[str, object]:
    """Raises: BadRequest."""
    try:
        said = json.loads(base64.b64decode(text, validate=True)) if len(text) <= MAX_RECORD else None
    except (ValueError, RecursionError):
        said = None
    if not isinstance(said, dict):
        raise faults.invalid_input(
            f"Can't parse backup record: an object in JSON in base 64 is expected, of at most {MAX_RECORD} characters"
        )
    said.setdefault("service_metadata", said.get("id"))
    for name in ("id", "service_metadata", *(("parent_id",) if said.get("parent_id") is not None else ())):
        if not is_uuid(str(said.get(name))):
            raise faults.invalid_input(f"'{name}' of the backup record has to be a UUID")
        said[name] = str(said[name]).lower()
    size = said.get("size")
    if isinstance(size, bool) or not isinstance(size, int) or not 1 <= size <= MAX_GIB:
        raise faults.invalid_input(f"'size' of the backup record has to be from 1 to {MAX_GIB}")
    for name in ("container", "display_name", "display_description"):
        value = said.get(name)
        if value is not None and not _is_text(value):
            raise faults.invalid_input(f"'{name}' of the backup record has to be a text of at most 255 characters")
    return said


def _is_text(value: object) -> bool:
    return isinstance(value, str) and len(value) <= 255 and "\0" not in value and value.isprintable()


def _checked_facts(said: object) -> dict[str, object]:
    """Of what a record says of its volume, what has the shape that we give it."""
    given = said if isinstance(said, dict) else {}
    pairs = {}
    for name in ("metadata", "image_metadata"):
        found = given.get(name)
        items = found.items() if isinstance(found, dict) else ()
        pairs[name] = {key: value for key, value in items if _is_text(key) and _is_text(value)}
    texts = {name: given[name] for name in ("name", "description") if _is_text(given.get(name))}
    return {**pairs, **texts, "bootable": given.get("bootable") is True}

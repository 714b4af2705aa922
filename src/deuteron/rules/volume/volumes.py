"""Volumes: made, described and deleted.

A request writes what should be and what is being done (`task`); the volume's host does it and says so (`reports`). What
nobody could have asked differently is no refusal but a volume in error with a message: no back end has room.

Source: cinder/volume/api.py; cinder/volume/flows/api/create_volume.py.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import msgspec

from deuteron.model.caller import Caller
from deuteron.model.errors import BadRequest, NotFound
from deuteron.model.image_rows import ImageRow
from deuteron.model.scalars import CLOUD, ProjectId
from deuteron.model.settings import Settings
from deuteron.model.volume import BACKUP, SNAPSHOT, TRANSFER, VOLUME
from deuteron.model.volume.rows import BackupRow, GroupRow, SnapshotRow, VolumeRow, VolumeTypeRow
from deuteron.model.volume.volumes import ZONE
from deuteron.rules.volume import (
    attachments,
    encryption,
    faults,
    images,
    keys,
    kinds,
    loads,
    membership,
    messages,
    placement,
    types,
)
from deuteron.store import query
from deuteron.store.database import Tx
from deuteron.store.volume_tables import snapshots, transfers

DELETABLE: Final = ("available", "error", "error_restoring", "error_extending", "error_managing")


_NOT_DELETED: Final = (
    "Volume {} is {} and has {} snapshots. Volume status must be available or error or error_restoring or "
    "error_extending or error_managing and must not be migrating, attached, belong to a group, have snapshots, "
    "awaiting a transfer, or be disassociated from snapshots after volume transfer."
)


@dataclass(frozen=True)
class NewVolume:
    """What a request asks for. At most one of the four says what it is made of."""

    size: int | None
    name: str | None = None
    description: str | None = None
    volume_type: str | None = None
    zone: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    snapshot_id: str | None = None
    source_id: str | None = None
    image: str | None = None
    host: str | None = None
    """Where it has to be, for the server that it is made for."""
    backup_id: str | None = None
    group: GroupRow | None = None


class Place(NamedTuple):
    """Where a volume is: the columns of its row."""

    host: str | None = None
    backend: str | None = None
    pool: str | None = None


NOWHERE: Final = Place()


@dataclass(frozen=True)
class _Origin:
    """What the new volume takes from what it is made of."""

    size: int | None = None
    place: Place = NOWHERE
    type_id: str | None = None
    bootable: bool = False
    is_multiattach: bool = False
    image_metadata: Mapping[str, str] = field(default_factory=dict)
    key_id: str | None = None
    """Of its data, where they are encrypted."""


def find(tx: Tx, caller: Caller, volume_id: str) -> VolumeRow:
    """The volume, if the caller may see it. Raises: NotFound."""
    row = kinds.find(tx, VOLUME, volume_id)
    if row["project_id"] != caller.project_id and not caller.is_admin:
        raise faults.missing(VOLUME, volume_id)
    return row


def create(tx: Tx, settings: Settings, caller: Caller, request_id: str, new: NewVolume) -> VolumeRow:
    """Raises: BadRequest, NotFound; TooLarge for a quota."""
    given = [each for each in (new.snapshot_id, new.source_id, new.image, new.backup_id) if each is not None]
    if len(given) > 1:
        raise faults.invalid_input(
            "May specify only one of snapshot, source volume, image or backup when creating a volume."
        )
    origin = _origin(tx, caller, new)
    size = new.size if new.size is not None else origin.size
    if size is None:
        raise BadRequest("the size of the volume is missing: at least 1 GiB is expected", type="HTTPBadRequest")
    if origin.size is not None and size < origin.size:
        raise faults.invalid_input(f"Volume size '{size}'GB cannot be smaller than the {origin.size}GB of its origin.")
    if new.zone not in (None, ZONE):
        raise faults.invalid_input(f"Availability zone '{new.zone}' is invalid.")
    asked = types.wanted(tx, caller, new.volume_type) if new.volume_type else None
    image = None if new.image is None else images.usable(tx, caller, new.image, size)
    kind = asked or _type_of_origin(tx, caller, origin, image)
    key_bits = _key_bits(tx, kind, origin, new)
    if image is not None and key_bits is not None:
        images.refuse_without_header(image, size)
    project_id = caller.project_id or CLOUD
    loads.check(tx, project_id, kind["id"], "volumes", count=1, gib=size)
    place = _place(tx, settings, origin, size, kind["extra_specs"], new)
    host = place.host
    loads.count(tx, project_id, kind["id"], "volumes", 1, size)
    loads.count_on_service(tx, host, place.backend, size)
    row = kinds.add(
        tx,
        VOLUME,
        {
            "status": "creating" if host is not None else "error",
            "size": size,
            "availability_zone": ZONE,
            "name": new.name,
            "description": new.description,
            "snapshot_id": new.snapshot_id,
            "source_volid": new.source_id,
            "group_id": None if new.group is None else new.group["id"],
            "metadata": dict(new.metadata),
            "user_id": caller.user_id,
            "bootable": origin.bootable,
            "multiattach": types.is_multiattach(kind) or origin.is_multiattach,
            "volume_type_id": kind["id"],
            "project_id": project_id,
            **place._asdict(),
            "task": "create" if host is not None else None,
            "request_id": request_id,
            "encryption_key_id": None if key_bits is None else _key(tx, settings, origin),
            "key_bits": key_bits,
            **_of_image(image, origin),
        },
    )
    if host is None:
        messages.tell(tx, project_id, messages.NO_BACKEND, row["id"], request_id=request_id)
    elif new.backup_id is not None:
        row = restore(tx, request_id, row, new.backup_id, is_new=True)
    return row


def _type_of_origin(tx: Tx, caller: Caller, origin: _Origin, image: ImageRow | None) -> VolumeTypeRow:
    """That of the snapshot or volume that it is a copy of; else what its image names, by id or name; else the default.

    Raises: NotFound.
    Source: cinder/volume/flows/api/create_volume.py `_get_volume_type`.
    """
    if origin.type_id is not None:
        return types.find(tx, caller, origin.type_id)
    return types.wanted(tx, caller, None if image is None else images.volume_type(image))


def _key_bits(tx: Tx, kind: VolumeTypeRow, origin: _Origin, new: NewVolume) -> int | None:
    """How long the key of its cipher is; None where it is not encrypted.

    Raises: BadRequest for a type whose volumes nobody can encrypt, or are not what they are made of.
    """
    bits = encryption.key_bits(kind)
    encryption.refuse_shared(kind, is_shared=origin.is_multiattach)
    if new.backup_id is not None:
        if (bits is None) is not (origin.key_id is None):
            what = "not encrypted" if origin.key_id is None else "encrypted"
            raise faults.invalid_backup(f"backup {new.backup_id} is {what}: it makes volumes of a type that is, too")
    elif (new.snapshot_id or new.source_id) is not None and encryption.is_changed(tx, origin.type_id, kind):
        raise faults.invalid_input(
            f"Invalid volume_type provided: {kind['id']} (requested type is not compatible; recommend omitting the "
            "type argument)."
        )
    return bits


def _key(tx: Tx, settings: Settings, origin: _Origin) -> str:
    """A copy of encrypted data is read by the same secret. Raises: Unavailable."""
    return keys.make(tx, settings) if origin.key_id is None else keys.copy(tx, origin.key_id)


def restore(tx: Tx, request_id: str, row: VolumeRow, backup_id: str, *, is_new: bool) -> VolumeRow:
    """Have the volume, also one that its host has yet to make, get the data of a backup."""
    asked = {"id": str(uuid.uuid4()), "backup_id": backup_id, "is_new": is_new}
    kinds.change(tx, BACKUP, kinds.find(tx, BACKUP, backup_id), {"status": "restoring"})
    status = row["status"] if is_new else "restoring-backup"
    return kinds.change(
        tx, VOLUME, row, {"status": status, "task": "restore", "restore": asked, "request_id": request_id}
    )


def let_go_of_backup(tx: Tx, row: VolumeRow) -> BackupRow | None:
    """The volume has the data of its backup, or will not get them: the backup, if it is there, is what it was."""
    found = None if row["restore"] is None else kinds.seen(tx, BACKUP, row["restore"]["backup_id"])
    if found is not None and found["status"] == "restoring":
        return kinds.change(tx, BACKUP, found, {"status": "available"})
    return found


def _place(
    tx: Tx, settings: Settings, origin: _Origin, size: int, specs: Mapping[str, object], new: NewVolume
) -> Place:
    """Where it is made: a copy stands on what it is a copy of, and is where that is. All volumes of a group are where
    it is, which is what its types demand; the data of a backup are on its host, for any back end there.
    """
    place = NOWHERE if new.group is None else Place(new.group["host"], new.group["backend"], new.group["pool"])
    if origin.place.backend is not None:
        place = origin.place if new.group is None or origin.place == place else NOWHERE
        return place if placement.suits(tx, settings, place.host, place.backend, specs) else NOWHERE
    if new.group is not None:
        return place
    chosen = placement.choose(tx, settings, size, specs, new.host or origin.place.host)
    return NOWHERE if chosen is None else Place(chosen.host.name, chosen.backend.name, chosen.backend.pool_name)


def place_of(row: VolumeRow | SnapshotRow) -> Place:
    return Place(row["host"], row["backend"], row["pool"])


def _of_image(image: ImageRow | None, origin: _Origin) -> dict[str, object]:
    if image is None:
        return {"image": None, "image_metadata": dict(origin.image_metadata)}
    return {"image": msgspec.to_builtins(images.reference(image)), "image_metadata": images.description(image)}


def _origin(tx: Tx, caller: Caller, new: NewVolume) -> _Origin:
    """Raises: NotFound; BadRequest for what is in no state to be copied."""
    if new.snapshot_id is not None:
        snapshot = kinds.seen(tx, SNAPSHOT, new.snapshot_id)
        if snapshot is None or not is_seen(caller, snapshot["project_id"]):
            raise faults.missing(SNAPSHOT, new.snapshot_id)
        if snapshot["status"] != "available":
            raise faults.invalid_snapshot(
                f"Originating snapshot status must be one of available values, and is {snapshot['status']}"
            )
        held = kinds.find(tx, VOLUME, snapshot["volume_id"])
        return _Origin(
            snapshot["size"], place_of(snapshot), snapshot["volume_type_id"], snapshot["bootable"],
            image_metadata=snapshot["image_metadata"], key_id=held["encryption_key_id"],
        )  # fmt: skip
    if new.source_id is not None:
        source = find(tx, caller, new.source_id)
        faults.refuse_on_its_way(source)
        if source["status"] != "available":
            raise faults.invalid_volume(
                f"Unable to create a volume from an originating source volume that is {source['status']}: "
                "it has to be available"
            )
        return _Origin(
            source["size"],
            place_of(source),
            source["volume_type_id"],
            source["bootable"],
            source["multiattach"],
            source["image_metadata"],
            source["encryption_key_id"],
        )
    if new.backup_id is not None:
        backup = kinds.seen(tx, BACKUP, new.backup_id)
        if backup is None or not is_seen(caller, backup["project_id"]):
            raise faults.missing(BACKUP, new.backup_id)
        if backup["status"] != "available":
            raise faults.invalid_backup(f"Backup status must be available, and is {backup['status']}")
        key_id = backup["encryption_key_id"]
        type_id = None if key_id is None else (backup["volume_facts"] or {}).get("volume_type_id")
        return _Origin(backup["size"], Place(backup["host"]), type_id, key_id=key_id)
    return _Origin()


def is_seen(caller: Caller, project_id: ProjectId) -> bool:
    return project_id == caller.project_id or caller.is_admin


def change(tx: Tx, row: VolumeRow, values: Mapping[str, object]) -> VolumeRow:
    """What people say of it."""
    return kinds.change(tx, VOLUME, row, values)


def snapshots_of(tx: Tx, row: VolumeRow) -> Sequence[SnapshotRow]:
    return query.rows(tx, snapshots, snapshots.c.volume_id == row["id"])


def remove(tx: Tx, request_id: str, row: VolumeRow, *, cascade: bool, forced: bool) -> None:
    """Raises: BadRequest for a volume that is in no state for it, or (without `cascade`) has snapshots."""
    below = snapshots_of(tx, row)
    is_ready = row["status"] in DELETABLE or (forced and row["status"] != "in-use")
    is_ready = is_ready and not attachments.of_volume(tx, row["id"])
    if row["group_id"] is not None:
        raise faults.invalid_volume(_NOT_DELETED.format(row["id"], row["status"], len(below)))
    idle = all(
        each["group_snapshot_id"] is None
        and each["status"] in ("available", "error")
        and each["project_id"] == row["project_id"]
        for each in below
    )
    if not is_ready or (below and not (cascade and idle)):
        raise faults.invalid_volume(_NOT_DELETED.format(row["id"], row["status"], len(below)))
    for each in below:
        remove_snapshot(tx, request_id, each)
    end(tx, request_id, row)


def end(tx: Tx, request_id: str, row: VolumeRow) -> None:
    """Have nothing left of it, in whatever state it is; the disk of one that is not managed yet, or not any more, is
    not its own."""
    if row["host"] is None:
        finish_delete(tx, row)
    elif row["manage"] is not None or row["task"] == "unmanage":
        values = {"status": "error_managing_deleting", "task": "unmanage", "request_id": request_id}
        kinds.change(tx, VOLUME, row, values)
    else:
        kinds.change(tx, VOLUME, row, {"status": "deleting", "task": "delete", "request_id": request_id})


def finish_delete(tx: Tx, row: VolumeRow) -> None:
    """Nothing is left of it."""
    let_go_of_backup(tx, row)
    gib = row["new_size"] or row["size"]
    loads.count(tx, row["project_id"], row["volume_type_id"], "volumes", -1, -gib)
    loads.count_on_service(tx, row["host"], row["backend"], -gib)
    for transfer in query.rows(tx, transfers, transfers.c.volume_id == row["id"]):
        kinds.remove(tx, TRANSFER, transfer["id"])
    kinds.remove(tx, VOLUME, row["id"])
    keys.forget(tx, row["encryption_key_id"])
    membership.volume_gone(tx, row)


def remove_snapshot(tx: Tx, request_id: str, row: SnapshotRow) -> None:
    if row["host"] is None:
        finish_delete_snapshot(tx, row)
    elif row["manage"] is not None or row["task"] == "unmanage":
        kinds.change(tx, SNAPSHOT, row, {"status": "deleting", "task": "unmanage", "request_id": request_id})
    else:
        kinds.change(tx, SNAPSHOT, row, {"status": "deleting", "task": "delete", "request_id": request_id})


def finish_delete_snapshot(tx: Tx, row: SnapshotRow) -> None:
    loads.count(tx, row["project_id"], row["volume_type_id"], "snapshots", -1, -row["size"])
    kinds.remove(tx, SNAPSHOT, row["id"])
    membership.snapshot_gone(tx, row)


def item(metadata: Mapping[str, str], key: str, what: str, object_id: str) -> str:
    """One item of metadata. Raises: NotFound."""
    if key not in metadata:
        raise NotFound(f"{what} {object_id} has no metadata with key {key}.", type=f"{what}MetadataNotFound")
    return metadata[key]

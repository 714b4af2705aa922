"""Attachments: who has a volume, and what its status says of that.

    available -> reserved | attaching -> in-use -> detaching -> available
                         ^                                  -> in-use, of one that several may have, and others have
                         +---------------- in-use, of one that several may have

A volume that is still being made may be reserved already: it becomes `reserved` when it is there.

Source: cinder/volume/api.py `attachment_create`, `_attachment_reserve`, `attachment_delete`, `begin_detaching`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from deuteron.model.errors import ApiError
from deuteron.model.volume import ATTACHMENT, VOLUME
from deuteron.model.volume.rows import VolumeAttachmentRow, VolumeRow
from deuteron.rules.volume import faults, kinds
from deuteron.store import query
from deuteron.store.database import Tx
from deuteron.store.volume_tables import attachments


def of_volume(tx: Tx, volume_id: str) -> Sequence[VolumeAttachmentRow]:
    return query.rows(tx, attachments, attachments.c.volume_id == volume_id, order_by=(attachments.c.created_at,))


def of_volumes(tx: Tx, volume_ids: Iterable[str]) -> Mapping[str, list[VolumeAttachmentRow]]:
    """The attachments of several volumes, by volume."""
    found: dict[str, list[VolumeAttachmentRow]] = {}
    ids = list(volume_ids)
    if ids:
        for row in query.rows(tx, attachments, query.any_of(attachments.c.volume_id, ids)):
            found.setdefault(row["volume_id"], []).append(row)
    return found


def reserve(
    tx: Tx, row: VolumeRow, server_id: str | None, *, mode: str | None = None, unmade: bool = False, served: bool = True
) -> VolumeAttachmentRow:
    """Keep a volume for a server of this cloud, or for somebody else when not `served`.

    `unmade`, also one that is still being made. One that others have is kept when several may have it.

    Raises: BadRequest.
    """
    faults.refuse_on_its_way(row)
    if "error" in row["status"]:
        raise faults.invalid_volume(
            "Volume attachments can not be created if the volume is in an error state. The Volume "
            f"{row['id']} currently has a status of: {row['status']}"
        )
    if unmade and row["task"] == "create" and not of_volume(tx, row["id"]):
        pass
    elif row["status"] == "available" or (row["multiattach"] and row["status"] == "in-use"):
        kinds.change(tx, VOLUME, row, {"status": "reserved"})
    else:
        expected = "available, in-use or downloading" if row["multiattach"] else "available or downloading"
        raise faults.invalid_volume(
            f"Volume {row['id']} status must be {expected} to reserve, but the current status is {row['status']}."
        )
    values: dict[str, object] = {
        "volume_id": row["id"],
        "status": "reserved",
        "instance": server_id,
        "attach_mode": "ro" if row["is_readonly"] else mode,
        "connection_info": {},
        "is_served": served,
        "project_id": row["project_id"],
    }
    return kinds.add(tx, ATTACHMENT, values)


def attached(tx: Tx, attachment_id: str, host: str | None, device: str | None) -> None:
    """The server has it."""
    row = kinds.seen(tx, ATTACHMENT, attachment_id)
    volume = None if row is None else kinds.seen(tx, VOLUME, row["volume_id"])
    if row is None or volume is None:
        return
    values = {"status": "attached", "attached_at": row["attached_at"] or kinds.moment(tx.now)}
    kinds.change(tx, ATTACHMENT, row, {**values, "attached_host": host, "mountpoint": device})
    if volume["status"] in ("reserved", "attaching", "available"):
        kinds.change(tx, VOLUME, volume, {"status": "in-use"})


def begin_detaching(tx: Tx, row: VolumeRow) -> None:
    """Raises: BadRequest for a volume that nobody has."""
    if row["status"] != "in-use":
        raise faults.invalid_volume(
            "Unable to detach volume. Volume status must be 'in-use' and attach_status must be 'attached' to detach."
        )
    kinds.change(tx, VOLUME, row, {"status": "detaching"})


def roll_detaching(tx: Tx, row: VolumeRow) -> None:
    """It stays where it is."""
    if row["status"] == "detaching":
        kinds.change(tx, VOLUME, row, {"status": "in-use"})


def detached(tx: Tx, attachment_id: str) -> VolumeRow | None:
    """Nobody has it by this attachment any more; the volume as it is then."""
    row = kinds.seen(tx, ATTACHMENT, attachment_id)
    if row is None:
        return None
    kinds.remove(tx, ATTACHMENT, attachment_id)
    volume = kinds.seen(tx, VOLUME, row["volume_id"])
    if volume is None or volume["status"] not in ("reserved", "attaching", "in-use", "detaching"):
        return volume
    return kinds.change(tx, VOLUME, volume, {"status": status_by(tx, volume["id"])})


def status_by(tx: Tx, volume_id: str) -> str:
    """What a volume that is well is, by who has it."""
    states = {each["status"] for each in of_volume(tx, volume_id)}
    return "in-use" if "attached" in states else "reserved" if states else "available"


def refuse_if_held(tx: Tx, row: VolumeRow, error: ApiError) -> None:
    """Raises: the error, when somebody has the volume or is to have it."""
    if of_volume(tx, row["id"]):
        raise error

"""Volumes and snapshots as the Compute API showed and made them before 2.36.

Each answer is made of the volume service's rows, each change calls its own functions; who may, says its policy and
that of Compute.

Source: nova/api/openstack/compute/volumes.py, snapshots.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from deuteron.api.call import Call, Reply
from deuteron.api.compute import access
from deuteron.api.compute.bodies import Body, metadata, wrapped
from deuteron.api.compute.versions import only_until
from deuteron.api.compute.volumes import part
from deuteron.api.volume import access as volume_access
from deuteron.api.volume import lists
from deuteron.model.codecs import is_uuid, quoted
from deuteron.model.errors import Forbidden, NotFound, TooLarge
from deuteron.model.volume import SNAPSHOT, VOLUME
from deuteron.model.volume.rows import SnapshotRow, VolumeAttachmentRow, VolumeRow
from deuteron.rules.compute import mappings
from deuteron.rules.compute.faults import invalid
from deuteron.rules.volume import attachments, snapshots, types, volumes
from deuteron.rules.volume.volumes import NewVolume
from deuteron.store.database import Tx
from deuteron.store.query import Values

_LAST: Final = 35
_TEXTS: Final = ("display_name", "display_description")


def list_volumes(call: Call, tx: Tx) -> Reply:
    return _volumes(call, tx, "list")


def list_volumes_detail(call: Call, tx: Tx) -> Reply:
    return _volumes(call, tx, "detail")


def show_volume(call: Call, tx: Tx) -> Reply:
    _require(call, "show")
    row = _volume(call, tx, "volume:get")
    return Reply(200, {"volume": _shown(tx, [row])[0]})


def create_volume(call: Call, tx: Tx) -> Reply:
    only_until(call, _LAST)
    body = wrapped(call, "volume")
    body.only(("volume_type", "metadata", "snapshot_id", "availability_zone", *_TEXTS), ("size",))
    new = NewVolume(
        size=body.integer("size", least=1, most=mappings.MOST_SIZE),
        name=_text(body, "display_name"),
        description=_text(body, "display_description"),
        volume_type=_text(body, "volume_type"),
        zone=_text(body, "availability_zone"),
        metadata=metadata("metadata", body.raw.get("metadata", {})),
        snapshot_id=_text(body, "snapshot_id"),
    )
    _require(call, "create", "volume:create")
    try:
        row = volumes.create(tx, call.settings, call.caller, call.request_id, new)
    except TooLarge as error:
        raise Forbidden(error.message, type="OverQuota") from None
    location = f"{call.base_url}/compute/v2.1/os-volumes/{row['id']}"
    return Reply(200, {"volume": _shown(tx, [row])[0]}, {"location": location})


def remove_volume(call: Call, tx: Tx) -> Reply:
    _require(call, "delete")
    volumes.remove(tx, call.request_id, _volume(call, tx, "volume:delete"), cascade=False, forced=False)
    return Reply(202)


def list_snapshots(call: Call, tx: Tx) -> Reply:
    return _snapshots(call, tx, "snapshots:list")


def list_snapshots_detail(call: Call, tx: Tx) -> Reply:
    return _snapshots(call, tx, "snapshots:detail")


def show_snapshot(call: Call, tx: Tx) -> Reply:
    _require(call, "snapshots:show")
    return Reply(200, {"snapshot": _snapshot_shown(_snapshot(call, tx, "volume:get_snapshot"))})


def create_snapshot(call: Call, tx: Tx) -> Reply:
    only_until(call, _LAST)
    body = wrapped(call, "snapshot")
    body.only(("force", *_TEXTS), ("volume_id",))
    volume_id, forced = _text(body, "volume_id") or "", body.boolean("force")
    values: dict[str, object] = {
        "name": _text(body, "display_name"),
        "description": _text(body, "display_description"),
        "metadata": {},
    }
    _require(call, "snapshots:create", "volume:create_snapshot")
    volume = volumes.find(tx, call.caller, volume_id)
    volume_access.require(call, "volume:create_snapshot", volume["project_id"])
    try:
        row = snapshots.create(tx, call.caller, call.request_id, volume, values, forced=forced)
    except TooLarge as error:
        raise Forbidden(error.message, type="OverQuota") from None
    return Reply(200, {"snapshot": _snapshot_shown(row)})


def remove_snapshot(call: Call, tx: Tx) -> Reply:
    _require(call, "snapshots:delete")
    snapshots.remove(tx, call.request_id, _snapshot(call, tx, "volume:delete_snapshot"))
    return Reply(202)


def _require(call: Call, rule: str, of_volumes: str | None = None) -> None:
    only_until(call, _LAST)
    access.require(call, f"os-volumes:{rule}")
    if of_volumes is not None:
        volume_access.require(call, of_volumes)


def _text(body: Body, name: str) -> str | None:
    if name in body and body.raw[name] is None:
        raise invalid(name, None, "None is not of type 'string'")
    return body.text(name)


def _volume(call: Call, tx: Tx, rule: str) -> VolumeRow:
    row = volumes.find(tx, call.caller, call.params["id"]) if is_uuid(call.params["id"]) else None
    if row is None:
        raise NotFound(f"Volume {quoted(call.params['id'])} could not be found.", type="VolumeNotFound")
    volume_access.require(call, rule, row["project_id"])
    return row


def _snapshot(call: Call, tx: Tx, rule: str) -> SnapshotRow:
    row = snapshots.find(tx, call.caller, call.params["id"]) if is_uuid(call.params["id"]) else None
    if row is None:
        raise NotFound(f"Snapshot {quoted(call.params['id'])} could not be found.", type="SnapshotNotFound")
    volume_access.require(call, rule, row["project_id"])
    return row


def _volumes(call: Call, tx: Tx, rule: str) -> Reply:
    _require(call, rule, "volume:get_all")
    return Reply(200, {"volumes": _shown(tx, part(call, lists.own(call, tx, VOLUME)))})


def _snapshots(call: Call, tx: Tx, rule: str) -> Reply:
    _require(call, rule, "volume:get_all_snapshots")
    return Reply(200, {"snapshots": [_snapshot_shown(row) for row in part(call, lists.own(call, tx, SNAPSHOT))]})


def _shown(tx: Tx, rows: Sequence[VolumeRow | Values]) -> list[dict[str, Any]]:
    names, held = types.names(tx), attachments.of_volumes(tx, [row["id"] for row in rows])
    return [
        {
            "id": row["id"],
            "status": row["status"],
            "size": row["size"],
            "availabilityZone": row["availability_zone"],
            "createdAt": row["created_at"],
            "attachments": [_attachment(held.get(row["id"], ()))],
            "displayName": row["name"],
            "displayDescription": row["description"],
            "volumeType": names.get(row["volume_type_id"] or ""),
            "snapshotId": row["snapshot_id"],
            "metadata": dict(row["metadata"]),
        }
        for row in rows
    ]


def _attachment(held: Sequence[VolumeAttachmentRow]) -> dict[str, Any]:
    """Of the first server that has it; nothing where none does."""
    for each in held:
        if each["status"] == "attached":
            shown = {"id": each["volume_id"], "volumeId": each["volume_id"], "serverId": each["instance"]}
            return {**shown, "device": each["mountpoint"]} if each["mountpoint"] else shown
    return {}


def _snapshot_shown(row: SnapshotRow | Values) -> dict[str, Any]:
    return {
        "id": row["id"],
        "volumeId": row["volume_id"],
        "status": row["status"],
        "size": row["size"],
        "createdAt": row["created_at"],
        "displayName": row["name"],
        "displayDescription": row["description"],
    }

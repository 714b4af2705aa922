"""Volumes and snapshots as answers show them, by microversion and by who asks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from deuteron.api.call import Call
from deuteron.api.volume import access, lists
from deuteron.model.resource import Resource
from deuteron.model.volume import SNAPSHOT, VOLUME
from deuteron.model.volume.rows import SnapshotRow, VolumeAttachmentRow, VolumeRow
from deuteron.model.volume.volumes import ADMINISTRATORS, SINCE
from deuteron.rules.hosts import registry
from deuteron.rules.volume import placement

Rows = Mapping[str, Any]
_X: Final = "volume_extension:"
KEY_ID_SINCE: Final = 64
"""The microversion in which volumes and backups that are encrypted began to say the id of their key."""


def brief(call: Call, row: Rows) -> dict[str, Any]:
    return {"id": row["id"], "name": row["name"], "links": lists.links(call, f"volumes/{row['id']}")}


def volume(
    call: Call,
    row: VolumeRow | Rows,
    type_name: str | None,
    attachments: Sequence[VolumeAttachmentRow] = (),
    *,
    whole: bool = True,
) -> dict[str, Any]:
    """All of a volume; not `whole` as it is answered to who made or changed it."""
    values: dict[str, Any] = {**row, **_derived(call, row, type_name)}
    shown = _of(call, VOLUME, values)
    shown["bootable"] = str(bool(row["bootable"])).lower()
    shown["links"] = lists.links(call, f"volumes/{row['id']}")
    shown["attachments"] = [_attachment(call, each) for each in attachments if each["status"] == "attached"]
    if row["is_readonly"] is not None:
        shown["metadata"] = {**row["metadata"], "readonly": str(bool(row["is_readonly"]))}
    if call.version >= KEY_ID_SINCE and row["encryption_key_id"] is not None:
        shown["encryption_key_id"] = row["encryption_key_id"]
    if not whole:
        return shown
    project_id = row["project_id"]
    if access.allowed(call, f"{_X}volume_tenant_attribute", project_id):
        shown["os-vol-tenant-attr:tenant_id"] = project_id
    if access.allowed(call, f"{_X}volume_mig_status_attribute", project_id):
        shown |= {"os-vol-mig-status-attr:migstat": row["migration_status"], "os-vol-mig-status-attr:name_id": None}
    if access.allowed(call, f"{_X}volume_host_attribute", project_id):
        shown["os-vol-host-attr:host"] = placement.shown(row["host"], row["backend"], row["pool"])
    if row["image_metadata"] and access.allowed(call, f"{_X}volume_image_metadata:show", project_id):
        shown["volume_image_metadata"] = dict(row["image_metadata"])
    return shown


def _attachment(call: Call, row: VolumeAttachmentRow) -> dict[str, Any]:
    return {
        "id": row["volume_id"],
        "attachment_id": row["id"],
        "volume_id": row["volume_id"],
        "server_id": row["instance"],
        "host_name": row["attached_host"] if call.caller.is_admin else None,
        "device": row["mountpoint"],
        "attached_at": row["attached_at"],
    }


def _derived(call: Call, row: Rows | VolumeRow, type_name: str | None) -> dict[str, Any]:
    """What is not in the row."""
    return {
        "volume_type": type_name,
        "encrypted": row["encryption_key_id"] is not None,
        "replication_status": None,
        "consistencygroup_id": None,
        "attachments": [],
        "provider_id": None,
        # Before 3.69 nobody knew "no answer".
        "shared_targets": False,
        "service_uuid": None
        if row["host"] is None
        else registry.host_id(row["host"], placement.service_key(row["backend"])),
        "cluster_name": None,
        "consumes_quota": True,
    }


def _service_id(row: Rows | VolumeRow) -> str | None:
    return None if row["host"] is None else registry.host_id(row["host"], placement.service_key(row["backend"]))


def snapshot(call: Call, row: SnapshotRow | Rows, *, whole: bool = True) -> dict[str, Any]:
    shown = _of(call, SNAPSHOT, {**row, "consumes_quota": True})
    if whole and access.allowed(call, f"{_X}extended_snapshot_attributes", row["project_id"]):
        shown["os-extended-snapshot-attributes:project_id"] = row["project_id"]
        progress = row["progress"] or ("0%" if row["task"] == "create" else "100%")
        shown["os-extended-snapshot-attributes:progress"] = progress
    return shown


def brief_snapshot(call: Call, row: Rows) -> dict[str, Any]:
    names = ("id", "created_at", "updated_at", "name", "description", "volume_id", "status", "size", "metadata")
    return {name: row[name] for name in names}


def _of(call: Call, resource: Resource[Any], values: Rows) -> dict[str, Any]:
    """What the declaration shows to the caller in the request's microversion."""
    since = SINCE[resource.name]
    return {
        name: values[name]
        for name, attribute in resource.by_name.items()
        if attribute.read
        and call.version >= since.get(name, 0)
        and (name not in ADMINISTRATORS or call.caller.is_admin)
    }


def type_names(names: Mapping[str, str], rows: Sequence[Rows]) -> list[str | None]:
    return [names.get(row["volume_type_id"] or "") for row in rows]

"""Actions of volumes and of snapshots: one path, whose body names what is asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from deuteron.api.call import Call, Reply
from deuteron.api.microversions import NO_ROUTE
from deuteron.api.volume import access, bodies, snapshots, volumes
from deuteron.model.codecs import OneOf, Text, Uuid
from deuteron.model.errors import BadRequest, NotFound
from deuteron.model.image import CONTAINER_FORMATS, VISIBILITIES
from deuteron.model.volume import ATTACHMENT
from deuteron.model.volume.attachments import MODES
from deuteron.model.volume.codecs import Flag, Pairs
from deuteron.model.volume.rows import SnapshotRow, VolumeRow
from deuteron.model.volume.volumes import ATTACH_STATUSES, MIGRATION_STATUSES, SIZE, SNAPSHOT_STATUSES, STATUSES
from deuteron.rules.volume import (
    actions,
    attachments,
    connections,
    faults,
    images,
    kinds,
    manage,
    moves,
    placement,
    reimages,
    types,
)
from deuteron.rules.volume import snapshots as snapshot_rules
from deuteron.rules.volume import volumes as volume_rules
from deuteron.store.database import Tx

Body = Mapping[str, Any]
_X: Final = "volume_extension:"
_DISK_FORMATS: Final = ("raw", "vmdk", "vdi", "qcow2", "vhd", "vhdx", "ploop")
_PLACE: Final = Text(255, nullable=True)
_KEY: Final = Text(255, min_length=1)
_REIMAGES: Final = 68
_PROGRESS: Final = Text(4, pattern=r"(?:(?:[0-9]|[1-9][0-9]|100)%)?", nullable=True)
_IMAGE_METADATA: Final = Pairs(max_length=65535)


def act(call: Call, tx: Tx) -> Reply:
    """POST /volumes/{id}/action."""
    name = _named(call, {**ACTIONS, **NOT_BUILT})
    if name in NOT_BUILT:
        rule, what = NOT_BUILT[name]
        volumes.find(call, tx, rule)
        raise faults.not_built(what)
    rule, handler = ACTIONS[name]
    return handler(call, tx, volumes.find(call, tx, rule), _arguments(call, name))


def act_on_snapshot(call: Call, tx: Tx) -> Reply:
    """POST /snapshots/{id}/action."""
    name = _named(call, SNAPSHOT_ACTIONS)
    rule, handler = SNAPSHOT_ACTIONS[name]
    return handler(call, tx, snapshots.find(call, tx, rule), _arguments(call, name))


def _named(call: Call, known: Mapping[str, Any]) -> str:
    """The one action of the body. Raises: BadRequest."""
    body = bodies.document(call)
    names = list(body)
    if len(names) != 1 or names[0] not in known:
        said = ", ".join(names)[:80] or "none"
        raise BadRequest(
            f"There is no such action: {said}. Verify the request body and Content-Type header and try again.",
            type="HTTPBadRequest",
        )
    return names[0]


def _arguments(call: Call, name: str) -> Body:
    given = bodies.document(call)[name]
    if given is None:
        return {}
    return bodies.wrapped(call, name)


def _extend(call: Call, tx: Tx, row: VolumeRow, body: Body) -> Reply:
    bodies.refuse_others(body, ("new_size",), "os-extend")
    size = bodies.value("new_size", SIZE, body.get("new_size"))
    if size is None:
        raise faults.invalid("os-extend", body, "'new_size' is a required property")
    actions.extend(tx, call.request_id, row, size, while_attached=call.version >= 42)
    return Reply(202)


def _upload(call: Call, tx: Tx, row: VolumeRow, body: Body) -> Reply:
    """Make an image of the volume; from 3.1 on a body may say who sees it."""
    names = ("image_name", "force", "disk_format", "container_format")
    more = ("visibility", "protected") if call.version >= 1 else ()
    bodies.refuse_others(body, (*names, *more), "os-volume_upload_image")
    bodies.value("force", Flag(), body.get("force", False))
    image = {
        "name": bodies.value("image_name", _KEY, body.get("image_name")),
        "disk_format": bodies.value("disk_format", OneOf(_DISK_FORMATS), body.get("disk_format", "raw")),
        "container_format": bodies.value(
            "container_format", OneOf(CONTAINER_FORMATS), body.get("container_format") or "bare"
        ),
        "visibility": bodies.value("visibility", OneOf(VISIBILITIES), body.get("visibility", "private")),
        "protected": bodies.value("protected", Flag(), body.get("protected", False)),
    }
    if image["visibility"] == "public":
        access.require(call, f"{_X}volume_actions:upload_public", row["project_id"])
    row, made = actions.upload(tx, call.settings, call.request_id, row, image)
    kind = types.find(tx, call.caller, row["volume_type_id"] or "")
    shown = {
        "id": row["id"],
        "updated_at": row["updated_at"],
        "status": "uploading",
        "display_description": row["description"],
        "size": row["size"],
        "volume_type": {name: kind[name] for name in ("id", "name", "is_public", "description", "extra_specs")},
        "image_id": made["id"],
        "image_name": image["name"],
        "disk_format": image["disk_format"],
        "container_format": image["container_format"],
        **({name: image[name] for name in more}),
    }
    return Reply(202, {"os-volume_upload_image": shown})


def _set_readonly(call: Call, tx: Tx, row: VolumeRow, body: Body) -> Reply:
    bodies.refuse_others(body, ("readonly",), "os-update_readonly_flag")
    wanted = bodies.value("readonly", Flag(), body.get("readonly"))
    if row["status"] != "available":
        raise faults.invalid_volume(f"Volume {row['id']} status must be available to update readonly flag.")
    volume_rules.change(tx, row, {"is_readonly": wanted})
    return Reply(202)


def _set_bootable(call: Call, tx: Tx, row: VolumeRow, body: Body) -> Reply:
    bodies.refuse_others(body, ("bootable",), "os-set_bootable")
    volume_rules.change(tx, row, {"bootable": bodies.value("bootable", Flag(), body.get("bootable"))})
    return Reply(200)


def _set_image_metadata(call: Call, tx: Tx, row: VolumeRow, body: Body) -> Reply:
    bodies.refuse_others(body, ("metadata",), "os-set_image_metadata")
    given = bodies.value("metadata", _IMAGE_METADATA, body.get("metadata"))
    return Reply(200, {"metadata": actions.set_image_metadata(tx, row, given)})


def _show_image_metadata(call: Call, tx: Tx, row: VolumeRow, body: Body) -> Reply:
    return Reply(200, {"metadata": dict(row["image_metadata"])})


def _unset_image_metadata(call: Call, tx: Tx, row: VolumeRow, body: Body) -> Reply:
    bodies.refuse_others(body, ("key",), "os-unset_image_metadata")
    actions.unset_image_metadata(tx, row, bodies.value("key", _KEY, body.get("key")))
    return Reply(200)


def _retype(call: Call, tx: Tx, row: VolumeRow, body: Body) -> Reply:
    bodies.refuse_others(body, ("new_type", "migration_policy"), "os-retype")
    policy = bodies.value("migration_policy", OneOf(("on-demand", "never", None)), body.get("migration_policy"))
    kind = types.wanted(tx, call.caller, bodies.value("new_type", _KEY, body.get("new_type")))
    if types.is_multiattach(kind) and not row["multiattach"]:
        access.require(call, "volume:multiattach", row["project_id"])
    actions.retype(tx, call.settings, call.request_id, row, kind, may_move=policy == "on-demand")
    return Reply(202)


def _reset_status(call: Call, tx: Tx, row: VolumeRow, body: Body) -> Reply:
    bodies.refuse_others(body, ("status", "attach_status", "migration_status"), "os-reset_status")
    status, moving = body.get("status"), body.get("migration_status")
    if moving is not None:
        moving = moving.lower() if isinstance(moving, str) else moving
        moving = bodies.value("migration_status", OneOf(MIGRATION_STATUSES), moving)
    held = body.get("attach_status")
    if held is not None:
        held = bodies.value("attach_status", OneOf(ATTACH_STATUSES), held.lower() if isinstance(held, str) else held)
    if status is None and held is None and "migration_status" not in body:
        raise BadRequest(
            "Must specify 'status', 'attach_status' or 'migration_status' for update.", type="HTTPBadRequest"
        )
    if status is not None:
        wanted = status.lower() if isinstance(status, str) else status
        row = actions.reset_status(tx, row, bodies.value("status", OneOf(STATUSES), wanted))
    if moving is not None:
        row = actions.reset_migration(tx, row, None if moving == "none" else moving)
    if held == "detached":
        for each in attachments.of_volume(tx, row["id"]):
            connections.refuse_if_served(each)
            kinds.remove(tx, ATTACHMENT, each["id"])
    return Reply(202)


def _reimage(call: Call, tx: Tx, row: VolumeRow, body: Body) -> Reply:
    """From 3.68 on. Raises: BadRequest."""
    if call.version < _REIMAGES:
        raise BadRequest(
            "There is no such action: os-reimage. Verify the request body and Content-Type header and try again.",
            type="HTTPBadRequest",
        )
    bodies.refuse_others(body, ("image_id", "reimage_reserved"), "os-reimage")
    if "image_id" not in body:
        raise faults.invalid("os-reimage", body, "'image_id' is a required property")
    image_id = bodies.value("image_id", Uuid(), body["image_id"])
    reserved = bodies.value("reimage_reserved", Flag(), body.get("reimage_reserved", False))
    if reserved and row["status"] == "reserved":
        access.require(call, "volume:reimage_reserved", row["project_id"])
    reimages.refuse(row, reserved=reserved)
    reimages.begin(tx, call.request_id, row, images.usable(tx, call.caller, image_id, row["size"]))
    return Reply(202)


def _reserve(call: Call, tx: Tx, row: VolumeRow, body: Body) -> Reply:
    if row["status"] != "available":
        raise faults.invalid_volume(f"Volume status must be available to reserve, but the status is {row['status']}.")
    volume_rules.change(tx, row, {"status": "attaching"})
    return Reply(202)


def _unreserve(call: Call, tx: Tx, row: VolumeRow, body: Body) -> Reply:
    if row["status"] == "attaching":
        volume_rules.change(tx, row, {"status": attachments.status_by(tx, row["id"])})
    return Reply(202)


def _begin_detaching(call: Call, tx: Tx, row: VolumeRow, body: Body) -> Reply:
    _refuse_served(tx, row)
    attachments.begin_detaching(tx, row)
    return Reply(202)


def _roll_detaching(call: Call, tx: Tx, row: VolumeRow, body: Body) -> Reply:
    _refuse_served(tx, row)
    attachments.roll_detaching(tx, row)
    return Reply(202)


def _attach(call: Call, tx: Tx, row: VolumeRow, body: Body) -> Reply:
    """Somebody has the volume who attached it by hand."""
    bodies.refuse_others(body, ("instance_uuid", "mountpoint", "host_name", "mode"), "os-attach")
    if "mountpoint" not in body:
        raise faults.invalid("os-attach", body, "'mountpoint' is a required property")
    device = bodies.value("mountpoint", _KEY, body["mountpoint"])
    instance = bodies.value("instance_uuid", Uuid(), body["instance_uuid"]) if "instance_uuid" in body else None
    host = bodies.value("host_name", _KEY, body["host_name"]) if "host_name" in body else None
    mode = bodies.value("mode", OneOf(MODES), body.get("mode", "rw"))
    if instance is None and host is None:
        raise faults.invalid("os-attach", body, "'instance_uuid' or 'host_name' is required")
    if row["is_readonly"] and mode != "ro":
        raise faults.invalid_volume(f"Invalid attaching mode '{mode}' for volume {row['id']}.")
    if row["status"] == "attaching" and not attachments.of_volume(tx, row["id"]):
        row = volume_rules.change(tx, row, {"status": "available"})
    made = attachments.reserve(tx, row, instance, mode=mode, served=False)
    attachments.attached(tx, made["id"], host, device)
    return Reply(202)


def _detach(call: Call, tx: Tx, row: VolumeRow, body: Body) -> Reply:
    bodies.refuse_others(body, ("attachment_id", "connector"), "os-detach")
    wanted = body.get("attachment_id")
    connections.end(tx, row, None if wanted is None else bodies.value("attachment_id", Uuid(), wanted))
    return Reply(202)


def _initialize(call: Call, tx: Tx, row: VolumeRow, body: Body) -> Reply:
    told = connections.told_of(tx, call.settings, row, _connector(body))
    return Reply(200, {"connection_info": {**told, "enforce_multipath": False}})


def _terminate(call: Call, tx: Tx, row: VolumeRow, body: Body) -> Reply:
    """Nothing was made for the connection, so that nothing is to be ended."""
    connections.told_of(tx, call.settings, row, _connector(body))
    return Reply(202)


def _connector(body: Body) -> Mapping[str, Any]:
    bodies.refuse_others(body, ("connector",), "body")
    found = body.get("connector")
    if not isinstance(found, dict):
        raise faults.invalid("connector", found, "an object is expected that tells of a host")
    return connections.checked(found)


def _refuse_served(tx: Tx, row: VolumeRow) -> None:
    for each in attachments.of_volume(tx, row["id"]):
        connections.refuse_if_served(each)


def _migrate(call: Call, tx: Tx, row: VolumeRow, body: Body) -> Reply:
    """A volume is locked on its way whatever `lock_volume` says, and copied whatever `force_host_copy` does."""
    names = ("host", "force_host_copy", "lock_volume", *(("cluster",) if call.version >= 16 else ()))
    bodies.refuse_others(body, names, "os-migrate_volume")
    for name in ("force_host_copy", "lock_volume"):
        bodies.value(name, Flag(), body.get(name, False))
    host, cluster = (bodies.value(name, _PLACE, body.get(name)) for name in ("host", "cluster"))
    if bool(host) == bool(cluster):
        why = "One and only one of cluster and host must be set." if call.version >= 16 else "Host field is missing."
        raise faults.invalid_input(why)
    moves.migrate(tx, call.settings, call.request_id, row, host or cluster)
    return Reply(202)


def _complete_migration(call: Call, tx: Tx, row: VolumeRow, body: Body) -> Reply:
    bodies.refuse_others(body, ("new_volume", "error"), "os-migrate_volume_completion")
    if "new_volume" not in body:
        raise faults.invalid("os-migrate_volume_completion", body, "'new_volume' is a required property")
    error = body.get("error")
    if error is not None and not isinstance(error, str | bool):
        raise faults.invalid("error", error, "a text, a boolean or null is expected")
    other = volume_rules.find(tx, call.caller, bodies.value("new_volume", Uuid(), body["new_volume"]))
    return Reply(200, {"save_volume_id": moves.complete(tx, row, other)})


def _revert(call: Call, tx: Tx, row: VolumeRow, body: Body) -> Reply:
    """From 3.40 on."""
    if call.version < 40:
        raise NotFound(NO_ROUTE, type="HTTPNotFound")
    wanted = body.get("snapshot_id")
    if wanted is not None and not isinstance(wanted, str):
        raise faults.invalid("revert.snapshot_id", wanted, "a text or null is expected")
    actions.revert(tx, call.request_id, row, wanted)
    return Reply(202)


def _unmanage(call: Call, tx: Tx, row: VolumeRow, body: Body) -> Reply:
    bodies.refuse_others(body, (), "os-unmanage")
    access.require(call, "volume:delete", row["project_id"])
    manage.let_volume_go(tx, call.request_id, row)
    return Reply(202)


def _unmanage_snapshot(call: Call, tx: Tx, row: SnapshotRow, body: Body) -> Reply:
    bodies.refuse_others(body, (), "os-unmanage")
    access.require(call, "volume:delete_snapshot", row["project_id"])
    manage.let_snapshot_go(tx, call.request_id, row)
    return Reply(202)


def _force_delete(call: Call, tx: Tx, row: VolumeRow, body: Body) -> Reply:
    placement.refuse_frozen(tx, call.settings, row)
    volume_rules.remove(tx, call.request_id, row, cascade=False, forced=True)
    return Reply(202)


def _reset_snapshot_status(call: Call, tx: Tx, row: SnapshotRow, body: Body) -> Reply:
    bodies.refuse_others(body, ("status",), "os-reset_status")
    status = body.get("status")
    wanted = status.lower() if isinstance(status, str) else status
    actions.reset_snapshot_status(tx, row, bodies.value("status", OneOf(SNAPSHOT_STATUSES), wanted))
    return Reply(202)


def _update_snapshot_status(call: Call, tx: Tx, row: SnapshotRow, body: Body) -> Reply:
    """What a compute service says of a snapshot that it makes or removes itself."""
    bodies.refuse_others(body, ("status", "progress"), "os-update_snapshot_status")
    allowed = {"creating": ("creating", "available", "error"), "deleting": ("deleting", "error_deleting")}
    status = bodies.value("status", OneOf(SNAPSHOT_STATUSES), body.get("status"))
    if status not in allowed.get(row["status"], ()):
        raise BadRequest(
            f"Snapshot status {row['status']} not allowed for update_snapshot_status to {status}",
            type="HTTPBadRequest",
        )
    progress = bodies.value("progress", _PROGRESS, body.get("progress"))
    actions.reset_snapshot_status(tx, row, status, progress)
    return Reply(202)


def _force_delete_snapshot(call: Call, tx: Tx, row: SnapshotRow, body: Body) -> Reply:
    placement.refuse_frozen(tx, call.settings, row)
    snapshot_rules.remove(tx, call.request_id, row, forced=True)
    return Reply(202)


ACTIONS: Final[Mapping[str, tuple[str, Callable[[Call, Tx, VolumeRow, Body], Reply]]]] = {
    "os-extend": ("volume:extend", _extend),
    "os-volume_upload_image": (f"{_X}volume_actions:upload_image", _upload),
    "os-update_readonly_flag": ("volume:update_readonly_flag", _set_readonly),
    "os-set_bootable": ("volume:update", _set_bootable),
    "os-set_image_metadata": (f"{_X}volume_image_metadata:set", _set_image_metadata),
    "os-show_image_metadata": (f"{_X}volume_image_metadata:show", _show_image_metadata),
    "os-unset_image_metadata": (f"{_X}volume_image_metadata:remove", _unset_image_metadata),
    "os-retype": ("volume:retype", _retype),
    "os-reimage": ("volume:reimage", _reimage),
    "os-reset_status": (f"{_X}volume_admin_actions:reset_status", _reset_status),
    "os-force_delete": (f"{_X}volume_admin_actions:force_delete", _force_delete),
    "os-unmanage": (f"{_X}volume_unmanage", _unmanage),
    "revert": ("volume:revert_to_snapshot", _revert),
    "os-migrate_volume": (f"{_X}volume_admin_actions:migrate_volume", _migrate),
    "os-migrate_volume_completion": (f"{_X}volume_admin_actions:migrate_volume_completion", _complete_migration),
    "os-reserve": (f"{_X}volume_actions:reserve", _reserve),
    "os-unreserve": (f"{_X}volume_actions:unreserve", _unreserve),
    "os-begin_detaching": (f"{_X}volume_actions:begin_detaching", _begin_detaching),
    "os-roll_detaching": (f"{_X}volume_actions:roll_detaching", _roll_detaching),
    "os-attach": (f"{_X}volume_actions:attach", _attach),
    "os-detach": (f"{_X}volume_actions:detach", _detach),
    "os-force_detach": (f"{_X}volume_admin_actions:force_detach", _detach),
    "os-initialize_connection": (f"{_X}volume_actions:initialize_connection", _initialize),
    "os-terminate_connection": (f"{_X}volume_actions:terminate_connection", _terminate),
}
"""Each action with the rule that it asks."""
NOT_BUILT: Final[Mapping[str, tuple[str, str]]] = {
    "os-extend_volume_completion": (
        f"{_X}volume_admin_actions:extend_volume_completion",
        "Ending the extension of a volume by another service, for none has a part in it,",
    ),
}
"""What Cinder does and this cloud does not (yet), in words; it is refused to who might ask."""
SNAPSHOT_ACTIONS: Final[Mapping[str, tuple[str, Callable[[Call, Tx, SnapshotRow, Body], Reply]]]] = {
    "os-reset_status": (f"{_X}snapshot_admin_actions:reset_status", _reset_snapshot_status),
    "os-update_snapshot_status": (
        "snapshot_extension:snapshot_actions:update_snapshot_status",
        _update_snapshot_status,
    ),
    "os-force_delete": (f"{_X}snapshot_admin_actions:force_delete", _force_delete_snapshot),
    "os-unmanage": ("snapshot_extension:snapshot_unmanage", _unmanage_snapshot),
}

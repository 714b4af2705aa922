"""Images and backups of servers: asked for, made by the server's host, and given to the Image service.

    createImage  -> an image that is queued, `snapshot` in the server's row, task image_snapshot_pending
    its host     -> copies the disk (task image_snapshot), sends it (`begin`, task image_uploading)
    `finish`     -> the image is active, the row's `snapshot` is empty, the task is over; old backups go

The row says what is wanted until the image is whole, so a crash of host or API at any point is one more beginning. An
image that its owner deletes meanwhile is not made; one of a server that is deleted meanwhile goes with it.

Source: nova/compute/api.py `snapshot`, `backup`; nova/compute/utils.py `create_image`; nova/compute/manager.py
`_rotate_backups`; nova/virt/libvirt/driver.py `_create_snapshot_metadata`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec
from sqlalchemy import select

from deuteron.model.caller import Caller
from deuteron.model.compute import POWER_NOSTATE, Inherited, PendingImage
from deuteron.model.errors import ApiError, BadRequest, Conflict, Forbidden, NotFound, TooLarge
from deuteron.model.intent import ImageRef
from deuteron.model.settings import Settings
from deuteron.rules.compute import block_devices, guests, history, images, lifecycle, moves, volume_images
from deuteron.rules.compute.lifecycle import ServerRow
from deuteron.rules.compute.states import require_state
from deuteron.rules.image import attributes, data, members
from deuteron.rules.image import images as image_rules
from deuteron.rules.image.data import Declared
from deuteron.rules.image.stores import WITH_DATA
from deuteron.store.compute_tables import servers
from deuteron.store.database import Tx

TASKS: Final = ("image_snapshot_pending", "image_snapshot", "image_backup", "image_uploading", "shelving")
"""What is being done to a server while an image is made of it. No report of its power ends them."""
_STATES: Final = ("active", "stopped", "paused", "suspended")
_NOT_INHERITED: Final = frozenset({
    "cache_in_nova", "bittorrent", "cinder_encryption_key_id", "cinder_encryption_key_deletion_policy", "img_signature",
    "img_signature_hash_method", "img_signature_key_type", "img_signature_certificate_uuid",
})  # fmt: skip
_NOT_INHERITED_BEGIN: Final = "os_glance"


def create_image(
    tx: Tx, settings: Settings, caller: Caller, request_id: str, row: ServerRow, name: str, extra: Mapping[str, str]
) -> str:
    """The id of the image that will be made of the server. Raises: Conflict, Forbidden, BadRequest."""
    require_state(row, "createImage", _STATES)
    _refuse_unquiet(tx, row)
    image_id = _image_row(tx, settings, caller, row, name, "snapshot", extra)
    if block_devices.root_of(tx, row.id) is not None:
        history.begin(tx, caller, request_id, row.id, "createImage", row.host)
        volume_images.fill(tx, settings, caller, request_id, row, image_id)
        history.finish(tx, row.id)
        return image_id
    _ask(tx, caller, request_id, row, "createImage", PendingImage(image_id), "image_snapshot_pending")
    return image_id


def _refuse_unquiet(tx: Tx, row: ServerRow) -> None:
    """Raises: Conflict for a running guest whose file systems have to be frozen by its agent, and are not.

    That is one whose image says of no agent, and one whose disk is a volume: what is made of it are snapshots of its
    volumes, one after the other, for which guests stand still and are asked nothing.
    """
    if row.vm_state != "active" or not guests.must_quiesce(row):
        return
    if not guests.has_agent(row):
        raise Conflict("QEMU guest agent is not enabled", type="QemuGuestAgentNotEnabled")
    if block_devices.root_of(tx, row.id) is not None:
        raise Conflict(
            "Failed to quiesce instance: its image says os_require_quiesce, and its disk is a volume, of which guests "
            "are not asked to freeze what they have; stop the server first",
            type="InstanceQuiesceFailed",
        )


def create_backup(
    tx: Tx,
    settings: Settings,
    caller: Caller,
    request_id: str,
    row: ServerRow,
    name: str,
    extra: Mapping[str, str],
    backup_type: str,
    rotation: int,
) -> str:
    """As `create_image`; of the backups of this type the newest `rotation` are kept. Raises: Conflict, …"""
    require_state(row, "createBackup", _STATES)
    _refuse_unquiet(tx, row)
    if block_devices.root_of(tx, row.id) is not None:
        raise BadRequest("Backup is not supported for volume-backed instances.", type="InvalidRequest")
    image_id = _image_row(tx, settings, caller, row, name, "backup", {**extra, "backup_type": backup_type})
    _ask(tx, caller, request_id, row, "createBackup", PendingImage(image_id, backup_type, rotation), "image_backup")
    return image_id


def image_to_shelve(tx: Tx, settings: Settings, caller: Caller, row: ServerRow) -> str:
    """The id of an image that will be the server's disk. Raises: Forbidden, BadRequest."""
    return _image_row(tx, settings, caller, row, f"{row.name[:240]}-shelved", "snapshot", {})


def begin(tx: Tx, settings: Settings, host: str, image_id: str) -> Declared | None:
    """The host is about to send the image; None when nobody wants it any more.

    Raises: NotFound when no server of the host is to become it; Conflict while another upload of it is under way.
    """
    row = _server_of(tx, host, image_id)
    if row is None:
        raise NotFound(f"no server of host {host} is to become image {image_id}")
    try:
        image = image_rules.find(tx, image_id)
    except NotFound:
        _end(tx, row, "the image was deleted")
        return None
    if image["status"] in WITH_DATA:
        _end(tx, row, None)
        return None
    properties = {
        **(image["properties"] or {}),
        "image_location": "snapshot",
        "image_state": "available",
        "owner_id": row.project_id,
    }
    inherited = _inherited(row)
    formats = {"disk_format": "qcow2", "container_format": inherited.container_format}
    image = image_rules.change(tx, image, {**formats, "properties": properties})
    if row.task_state in TASKS and row.task_state not in ("image_uploading", "shelving"):
        lifecycle.set_server(tx, row.id, task_state="image_uploading")
    try:
        return data.begin(tx, settings.operator.image, image)
    except TooLarge as error:
        give_up(tx, row, error.message)
        return None


def finish(tx: Tx, settings: Settings, host: str, image_id: str) -> None:
    """The image is whole; old backups make room for it."""
    row = _server_of(tx, host, image_id)
    if row is None:
        return
    pending = _pending(row)
    _end(tx, row, None)
    if row.shelved is not None and row.shelved["image_id"] == image_id:
        moves.leave(tx, settings, row)
        lifecycle.set_server(tx, row.id, vm_state="shelved_offloaded", power_state=POWER_NOSTATE)
    elif pending.rotation is not None:
        _rotate(tx, row.id, pending, pending.rotation)


def give_up(tx: Tx, row: ServerRow, why: str) -> None:
    """The image cannot be made: it goes, and the server is as it was."""
    images.drop_pending(tx, row.snapshot)
    _end(tx, row, why)


def _ask(
    tx: Tx, caller: Caller, request_id: str, row: ServerRow, action: str, pending: PendingImage, task_state: str
) -> None:
    history.begin(tx, caller, request_id, row.id, action, row.host)
    lifecycle.set_server(tx, row.id, snapshot=msgspec.to_builtins(pending), task_state=task_state)


def _image_row(
    tx: Tx, settings: Settings, caller: Caller, row: ServerRow, name: str, kind: str, extra: Mapping[str, str]
) -> str:
    """A new image without data. Raises: Forbidden for a full quota of images; BadRequest for too many properties."""
    images.drop_pending(tx, row.snapshot)  # one that a reset state left behind
    inherited = _inherited(row)
    kept = {
        name: value
        for name, value in inherited.properties.items()
        if name not in _NOT_INHERITED and not name.startswith(_NOT_INHERITED_BEGIN)
    }
    is_own = caller.project_id == row.project_id
    properties = {**kept, "instance_uuid": row.id, "user_id": caller.user_id, "image_type": kind, **extra}
    if not is_own:
        properties["instance_owner"] = row.project_id
    for key, stored in (("kernel_id", row.kernel), ("ramdisk_id", row.ramdisk)):
        if stored is not None:
            properties[key] = msgspec.convert(stored, ImageRef).id
    values: dict[str, object] = {
        "id": None,
        "name": name,
        "owner": caller.project_id,
        "visibility": "private" if is_own else "shared",
        "min_ram": inherited.min_ram,
        "min_disk": inherited.min_disk,
        "disk_format": None,
        "container_format": None,
        "protected": False,
        "os_hidden": False,
        "tags": [],
    }
    try:
        attributes.refuse_many_properties(properties)
        image = image_rules.create(tx, settings.operator.image, values, properties)
    except TooLarge as error:
        raise Forbidden(error.message, type="ImageQuotaExceeded") from None
    except ApiError as error:
        raise BadRequest(error.message, type="ImageBadRequest") from None
    if not is_own:
        members.add(tx, image, row.project_id)
    return image["id"]


def _rotate(tx: Tx, server_id: str, pending: PendingImage, rotation: int) -> None:
    """Delete the oldest backups of the type; a protected one stays, as in Nova."""
    owner = image_rules.find(tx, pending.image_id)["owner"]
    same = {"instance_uuid": server_id, "image_type": "backup", "backup_type": pending.backup_type or ""}
    for image in image_rules.with_properties(tx, owner, same)[rotation:]:
        if not image["protected"]:
            image_rules.remove(tx, image)


def _server_of(tx: Tx, host: str, image_id: str) -> ServerRow | None:
    """The server on the host of which the image is made."""
    made = servers.c["snapshot"].is_not(None)
    for row in tx.all(select(servers).where(servers.c["host"] == host, made, servers.c["task_state"] != "deleting")):
        if _pending(row).image_id == image_id:
            return row
    return None


def _end(tx: Tx, row: ServerRow, failure: str | None) -> None:
    values: dict[str, object] = {"task_state": None} if row.task_state in TASKS else {}
    if failure is not None and row.shelved is not None and row.host is not None:
        # It could not be shelved, and goes on as before.
        values |= {"shelved": None, "power": row.shelved["power"]}
    lifecycle.set_server(tx, row.id, snapshot=None, **values)
    history.finish(tx, row.id, failure)


def _pending(row: ServerRow) -> PendingImage:
    return msgspec.convert(row.snapshot, PendingImage)


def _inherited(row: ServerRow) -> Inherited:
    return Inherited() if row.inherited is None else msgspec.convert(row.inherited, Inherited)

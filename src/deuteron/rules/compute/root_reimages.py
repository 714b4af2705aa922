"""Servers whose root volume is made anew of another image: rebuilt, since 2.93.

    asked   -> the volume's task is reimage; its server is off on its host, and has the root volume no more
    its host says so -> the volume is free, and its host makes it anew (`rules.volume.reimages`)
    made    -> the server has it again, and starts

Source: nova/compute/manager.py `_rebuild_volume_backed_instance`.
"""

from __future__ import annotations

from sqlalchemy import select

from deuteron.model.caller import Caller
from deuteron.model.compute import Flavor
from deuteron.model.errors import BadRequest
from deuteron.model.intent import ServerReport, VolumeReport
from deuteron.model.volume import VOLUME
from deuteron.model.volume.rows import VolumeRow
from deuteron.rules.compute import block_devices, images, lifecycle
from deuteron.rules.compute.images import Bootable
from deuteron.rules.compute.lifecycle import ServerRow
from deuteron.rules.volume import attachments, kinds, reimages
from deuteron.rules.volume import images as volume_images
from deuteron.store.compute_tables import servers
from deuteron.store.database import Tx


def begin(tx: Tx, caller: Caller, request_id: str, root: VolumeRow, flavor: Flavor, image_id: str) -> Bootable:
    """Have the root volume made of the image; what a server that boots from it has of that.

    Raises: BadRequest for an image that does not fit, or may not be had, and for a volume that others have as well.
    """
    image = volume_images.usable(tx, caller, image_id, root["size"])
    made = images.of_volume(tx, caller, volume_images.description(image), flavor, root["size"])
    if len(attachments.of_volume(tx, root["id"])) > 1:
        raise BadRequest(
            f"Invalid volume: volume {root['id']} is also another server's, and cannot be made anew from an image",
            type="InvalidVolume",
        )
    reimages.begin(tx, request_id, root, image, is_free=False)
    return made


def is_under_way(tx: Tx, row: ServerRow, report: ServerReport) -> bool:
    """Whether its root volume is made anew, before which nothing else is said of the server; it is freed here."""
    root = block_devices.root_of(tx, row.id)
    if root is None or root["task"] != reimages.TASK:
        return False
    is_off = report.state in ("shutdown", "absent") and report.build_generation >= row.build_generation
    if is_off and root["id"] not in (*report.volumes, *report.held):
        reimages.free(tx, root)
    return report.state != "error"


def heard(tx: Tx, host: str, report: VolumeReport) -> None:
    """What a host says of a volume that it makes anew, also for the server that boots from it."""
    row = kinds.seen(tx, VOLUME, report.id)
    if row is None or row["host"] != host or row["task"] != reimages.TASK:
        return
    reimages.apply_report(tx, row, report)
    now = kinds.seen(tx, VOLUME, report.id)
    has_failed = now is not None and reimages.has_failed(now) and not reimages.has_failed(row)
    for each in block_devices.of_volume(tx, report.id):
        tx.changed("server", each.server_id)
        server = tx.first(select(servers).where(servers.c["id"] == each.server_id))
        if has_failed and each.is_root and server is not None:
            why = report.fault or "its host could not say why"
            lifecycle.fail(tx, each.server_id, f"Failed to make root volume {report.id} anew from an image: {why}")

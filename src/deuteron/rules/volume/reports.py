"""What hosts say of their volumes and snapshots, written into the rows that users see.

Invariants:
- Applying the same report twice changes nothing the second time.
- A report ends a `task` and says nothing else: what an administrator called the volume since stays.
"""

from __future__ import annotations

from collections.abc import Iterable

from deuteron.model.intent import SnapshotReport, VolumeReport
from deuteron.model.settings import Settings
from deuteron.model.volume import SNAPSHOT, VOLUME
from deuteron.model.volume.rows import VolumeRow
from deuteron.rules.volume import (
    actions,
    attachments,
    backup_reports,
    kinds,
    manage,
    membership,
    messages,
    moves,
    reimages,
    travels,
    volumes,
)
from deuteron.rules.volume.messages import Event
from deuteron.store.database import Tx


def of_volume(tx: Tx, host: str, report: VolumeReport) -> None:
    """Record what is true of a volume on `host`; of one that is not there any more, nothing."""
    row = kinds.seen(tx, VOLUME, report.id)
    if row is None or host not in (row["host"], row["other_host"]):
        return
    if moves.is_left(row, host, report):
        row = kinds.change(tx, VOLUME, row, moves.after_leaving(row))
    if (row["host"] != host and row["task"] != "move") or row["task"] in (travels.TASK, reimages.TASK):
        return
    if row["task"] in ("manage", "unmanage"):
        manage.of_volume(tx, row, report)
    elif row["task"] is None:
        if report.state == "error" and row["status"] == "available":
            kinds.change(tx, VOLUME, row, {"status": "error"})
            messages.tell(tx, row["project_id"], messages.UNKNOWN, row["id"])
    elif row["task"] == "create":
        _created(tx, row, report)
    elif row["task"] == "extend":
        _extended(tx, row, report)
    elif row["task"] == "move":
        moves.of_report(tx, row, host, report)
    elif row["task"] == "revert":
        actions.reverted(tx, row, report)
    elif row["task"] == "retype":
        _retyped(tx, row, report)
    elif row["task"] == "restore":
        backup_reports.of_restore(tx, row, report)
    elif row["task"] == "upload" and report.not_uploaded == (row["upload"] or {}).get("image_id"):
        end_upload(tx, row)
        _tell(tx, row, messages.NOT_UPLOADED)


def _created(tx: Tx, row: VolumeRow, report: VolumeReport) -> None:
    if report.state == "ready":
        is_bootable = row["bootable"] or row["image"] is not None
        status = attachments.status_by(tx, row["id"])
        made = kinds.change(tx, VOLUME, row, {"status": status, "task": None, "bootable": is_bootable})
        membership.volume_settled(tx, made)
    elif report.state == "error":
        if row["status"] != "error":
            lost = kinds.change(tx, VOLUME, row, {"status": "error"})
            _tell(tx, row, messages.NOT_CREATED)
            membership.volume_settled(tx, lost)
    elif row["image"] is not None and row["status"] == "creating":
        kinds.change(tx, VOLUME, row, {"status": "downloading"})


def _extended(tx: Tx, row: VolumeRow, report: VolumeReport) -> None:
    wanted = row["new_size"] or row["size"]
    if report.size_gib >= wanted:
        status = attachments.status_by(tx, row["id"])
        kinds.change(tx, VOLUME, row, {"status": status, "task": None, "size": wanted, "new_size": None})
    elif report.state == "error":
        actions.give_back(tx, row)
        kinds.change(tx, VOLUME, row, {"status": "error_extending", "task": None, "new_size": None})
        _tell(tx, row, messages.NOT_EXTENDED)


def _retyped(tx: Tx, row: VolumeRow, report: VolumeReport) -> None:
    """What several servers may have at once is kept in another way; a host that could not goes on trying."""
    if report.state == "ready" and moves.retyped(tx, row, is_shared=bool(report.is_shared)):
        return
    if report.state == "error" and row["status"] != "error":
        kinds.change(tx, VOLUME, row, {"status": "error"})
        _tell(tx, row, messages.UNKNOWN)


def end_upload(tx: Tx, row: VolumeRow) -> None:
    """The image was made, or will not be: the volume is what it was."""
    before = (row["upload"] or {}).get("before", "available")
    kinds.change(tx, VOLUME, row, {"status": before, "task": None, "upload": None})


def of_snapshot(tx: Tx, host: str, report: SnapshotReport) -> None:
    row = kinds.seen(tx, SNAPSHOT, report.id)
    if row is None or row["host"] != host:
        return
    if row["task"] in ("manage", "unmanage"):
        manage.of_snapshot(tx, row, report)
    if row["task"] != "create":
        return
    if report.state == "ready":
        made = kinds.change(tx, SNAPSHOT, row, {"status": "available", "task": None})
        membership.snapshot_settled(tx, made)
    elif report.state == "error" and row["status"] != "error":
        lost = kinds.change(tx, SNAPSHOT, row, {"status": "error"})
        membership.snapshot_settled(tx, lost)
        messages.tell(
            tx, row["project_id"], messages.NO_SNAPSHOT, row["id"], request_id=row["request_id"], of="VOLUME_SNAPSHOT"
        )


def finish_volumes(tx: Tx, settings: Settings, ids: Iterable[str], host: str | None = None) -> None:
    """Nothing is left of these on their host: their rows go. Others are left alone."""
    for id in ids:
        row = kinds.seen(tx, VOLUME, id)
        if row is not None and row["task"] == "delete" and host is not None and moves.is_at_two(tx, row, host):
            continue
        if row is not None and row["task"] == "delete" and row["host"] == host:
            volumes.finish_delete(tx, row)


def finish_snapshots(tx: Tx, settings: Settings, ids: Iterable[str], host: str | None = None) -> None:
    for id in ids:
        row = kinds.seen(tx, SNAPSHOT, id)
        if row is not None and row["task"] == "delete" and row["host"] == host:
            volumes.finish_delete_snapshot(tx, row)


def _tell(tx: Tx, row: VolumeRow, event: Event) -> None:
    messages.tell(tx, row["project_id"], event, row["id"], request_id=row["request_id"])

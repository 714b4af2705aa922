"""What hosts say of backups and of volumes that are made of them, written into the rows that users see."""

from __future__ import annotations

from collections.abc import Iterable

from deuteron.model.intent import BackupReport, VolumeReport
from deuteron.model.settings import Settings
from deuteron.model.volume import BACKUP, VOLUME
from deuteron.model.volume.rows import BackupRow, VolumeRow
from deuteron.rules.volume import backups, kinds, messages, volumes
from deuteron.store.database import Tx

_OF = "VOLUME_BACKUP"


def of_backup(tx: Tx, host: str, report: BackupReport) -> None:
    row = kinds.seen(tx, BACKUP, report.id)
    if row is None or row["host"] != host:
        return
    if row["task"] is None:
        if report.state == "error" and row["status"] == "available":
            kinds.change(tx, BACKUP, row, {"status": "error", "fail_reason": report.fault})
    elif row["task"] == "create" and report.state == "ready":
        backups.end_saving(tx, row)
        kinds.change(tx, BACKUP, row, {"status": "available", "task": None, "object_count": 1})
    elif row["task"] == "create" and report.state == "error":
        # Tried again later it would hold what the volume holds then.
        backups.end_saving(tx, row)
        kinds.change(tx, BACKUP, row, {"status": "error", "task": None, "host": None, "fail_reason": report.fault})
        messages.tell(tx, row["project_id"], messages.NOT_BACKED_UP, row["id"], request_id=row["request_id"], of=_OF)


def finish_backups(tx: Tx, settings: Settings, ids: Iterable[str], host: str | None = None) -> None:
    """Nothing is left of these on their host: their rows go. Others are left alone."""
    for id in ids:
        row = kinds.seen(tx, BACKUP, id)
        if row is not None and row["task"] == "delete" and row["host"] == host:
            backups.finish_delete(tx, row)


def of_restore(tx: Tx, row: VolumeRow, report: VolumeReport) -> None:
    """What became of a volume that is to get the data of a backup."""
    asked = row["restore"] or {}
    if report.restored == asked["id"]:
        backup = volumes.let_go_of_backup(tx, row)
        kinds.change(tx, VOLUME, row, {"status": "available", "task": None, "restore": None, **_facts(row, backup)})
    elif report.state == "error" or report.not_restored == asked["id"]:
        volumes.let_go_of_backup(tx, row)
        kinds.change(tx, VOLUME, row, {"status": "error_restoring", "task": None, "restore": None})
        messages.tell(
            tx, row["project_id"], messages.NOT_RESTORED, asked["backup_id"], request_id=row["request_id"], of=_OF
        )
    elif asked["is_new"] and row["status"] == "creating" and report.state == "ready":
        kinds.change(tx, VOLUME, row, {"status": "restoring-backup"})


def _facts(row: VolumeRow, backup: BackupRow | None) -> dict[str, object]:
    """What the volume takes of what the saved one said of itself. A name only when nobody gave it one."""
    facts = {} if backup is None else backup["volume_facts"] or {}
    taken: dict[str, object] = {
        "metadata": {**row["metadata"], **facts.get("metadata", {})},
        "image_metadata": {**row["image_metadata"], **facts.get("image_metadata", {})},
        "bootable": bool(row["bootable"] or facts.get("bootable")),
    }
    if facts.get("name") and (row["name"] or "restore_backup_").startswith("restore_backup_"):
        taken |= {"name": facts["name"], "description": facts.get("description")}
    return taken

"""Volumes go to another host, where one host alone reaches what it keeps.

They go as a volume does that is migrated by itself (`moves`), with task travel: nobody has the volume, or its server is
off and has let it go. It stays in use, and what cannot be had is not given up: it is tried again, as its server waits.

One whose guest runs goes with it (`accompany`): the other host makes an empty one, into which QEMU copies what the
guest has written, and writes meanwhile, as it does of the server's own disks. It is the other host's in the transaction
that makes the guest so (`moves.arrived`), and where that does not come the other host removes what it has (`stay`).

Source: cinder/volume/api.py `migrate_volume`, for what may not go.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Final

from deuteron.model.errors import BadRequest
from deuteron.model.intent import VolumeReport
from deuteron.model.settings import Settings
from deuteron.model.volume import VOLUME
from deuteron.model.volume.rows import VolumeRow
from deuteron.rules.volume import attachments, faults, kinds, messages, moves, placement, types, volumes
from deuteron.store import query
from deuteron.store.database import Tx
from deuteron.store.volume_tables import backups
from deuteron.store.volume_tables import volumes as table

TASK: Final = faults.TRAVEL


def why_not(tx: Tx, row: VolumeRow) -> str | None:
    """Why the volume cannot go to another host; None when it can."""
    if row["task"] not in (None, TASK):
        return f"it is {row['status']}"
    if "error" in row["status"]:
        return f"it is in {row['status']}"
    if len(attachments.of_volume(tx, row["id"])) > 1:
        return "several servers have it"
    if volumes.snapshots_of(tx, row):
        return "it has snapshots"
    if query.first(tx, backups, backups.c.volume_id == row["id"]) is not None:
        return "it has backups, which its host keeps"
    if row["group_id"] is not None:
        return "it is in a group"
    if query.first(tx, table, table.c.source_volid == row["id"], table.c.task == "create") is not None:
        return "it is being copied"
    if row["move"] is not None and row["task"] != TASK:
        return "it was moved, and something of it is still to be removed"
    return None


def hosts(tx: Tx, settings: Settings, row: VolumeRow, *, is_near: bool = False) -> frozenset[str]:
    """The hosts with a back end that could keep it, which is what its type demands; `is_near`, on their own disks."""
    return placement.able(tx, settings, row["size"], types.specs_of(tx, row["volume_type_id"]), is_near=is_near)


def accompanies(row: VolumeRow) -> bool:
    """Whether it is copied while its guest runs, and goes to another host with it."""
    return row["task"] == TASK and bool((row["move"] or {}).get("is_live"))


def why_not_with_guest(tx: Tx, settings: Settings, row: VolumeRow, host: str) -> str | None:
    """Why the volume cannot be copied to the host while its guest runs; None when it can, or is already."""
    if accompanies(row) and row["other_host"] == host:
        return None
    why = why_not(tx, row)
    if why is None and row["encryption_key_id"] is not None:
        why = "it is encrypted"
    if why is None and _near(tx, settings, row, host) is None:
        why = "no back end there has room for it"
    return None if why is None else f"volume {row['id']} cannot come along: {why}"


def accompany(tx: Tx, settings: Settings, row: VolumeRow, host: str) -> None:
    """Have the host make an empty volume, into which it is copied while its guest runs. Idempotent.

    `why_not_with_guest` has said that it can be.
    """
    if accompanies(row) and row["other_host"] == host:
        return
    chosen = _near(tx, settings, row, host)
    assert chosen is not None  # it was there a moment ago
    asked = {
        "id": str(uuid.uuid4()),
        "to_host": host,
        "to": chosen.backend.name,
        "pool": chosen.backend.pool_name,
        "type_id": row["volume_type_id"],
        "is_shared": row["multiattach"],
        "is_live": True,
    }
    values = {"task": TASK, "migration_status": "migrating", "move": asked, "other_host": host}
    kinds.change(tx, VOLUME, row, values)


def _near(tx: Tx, settings: Settings, row: VolumeRow, host: str) -> placement.Service | None:
    specs = types.specs_of(tx, row["volume_type_id"])
    return placement.choose(tx, settings, row["size"], specs, host, is_near=True)


def stay(tx: Tx, row: VolumeRow) -> None:
    """Its guest does not go, so neither does it: nothing is to be left of it on the host that it was to go to."""
    _stay(tx, row)


def begin(tx: Tx, settings: Settings, row: VolumeRow, host: str) -> None:
    """Have the host keep it, which is one of `hosts`, or keeps it already. Raises: BadRequest where it cannot."""
    if row["host"] == host:
        _stay(tx, row)
        return
    why = why_not(tx, row)
    chosen = placement.choose(tx, settings, row["size"], types.specs_of(tx, row["volume_type_id"]), host)
    if chosen is None:
        why = why or "no back end there has room for it"
    if why is not None or chosen is None:
        raise BadRequest(
            f"Invalid volume: volume {row['id']} cannot go to host {host}: {why}",
            type="InvalidVolume",
        )
    if row["task"] == TASK:
        # What the host has that it was to go to is no volume of its any more, and goes.
        tx.changed("volume_move", _asked(row)["id"], deleted=True)
    asked = {
        "id": str(uuid.uuid4()),
        "to_host": host,
        "to": chosen.backend.name,
        "pool": chosen.backend.pool_name,
        "type_id": row["volume_type_id"],
        "is_shared": row["multiattach"],
    }
    values = {"task": TASK, "migration_status": "migrating", "move": asked, "other_host": None}
    kinds.change(tx, VOLUME, row, values)


def _stay(tx: Tx, row: VolumeRow) -> None:
    """It was to go elsewhere, where nothing is to be left of it."""
    if row["task"] == TASK:
        kinds.change(tx, VOLUME, row, {"task": None, **moves.given_up(tx, row), "migration_status": None})


def apply_report(tx: Tx, host: str, row: VolumeRow, report: VolumeReport) -> str | None:
    """What one of the two hosts says of the volume; why it cannot go, if it says so."""
    if row["task"] != TASK or host not in (row["host"], row["other_host"]):
        return None
    move_id = _asked(row)["id"]
    if move_id == (report.not_given if host == row["host"] else report.not_taken):
        if row["migration_status"] != "error":
            kinds.change(tx, VOLUME, row, {"migration_status": "error"})
            messages.tell(tx, row["project_id"], messages.UNKNOWN, row["id"], request_id=row["request_id"])
        return f"volume {row['id']} cannot come along: {report.fault or 'its host could not say why'}"
    if host == row["other_host"] and report.taken == move_id:
        moves.arrived(tx, row)
    return None


def _asked(row: VolumeRow) -> Mapping[str, str]:
    return row["move"] or {}

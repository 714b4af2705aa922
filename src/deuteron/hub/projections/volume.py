"""Volumes, snapshots and backups, on the host that keeps them, until they are to be deleted."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Set
from typing import Any

import msgspec
from sqlalchemy import Table, or_, select

from deuteron.hub.projections.contract import Made, OnHost, Place, Reading, Touched, pairs, whole
from deuteron.model.intent import (
    VOLUME_DRIVER,
    ImageRef,
    IntentBackup,
    IntentSnapshot,
    IntentVolume,
    VolumeMove,
    VolumeReimage,
    VolumeRestore,
    VolumeRevert,
    VolumeUpload,
)
from deuteron.model.volume.rows import BackupRow, SnapshotRow, VolumeRow
from deuteron.rules.volume import manage, moves, reimages, travels
from deuteron.store.database import Tx
from deuteron.store.volume_tables import backups, snapshots, volumes


def _present_in(table: Table) -> Any:
    def present(tx: Tx, host: str) -> Iterable[str]:
        return tx.scalars(select(table.c.id).where(table.c.host == host))

    return present


def _places_in(table: Table) -> Any:
    def places(tx: Tx, ids: Collection[str]) -> Iterable[Place]:
        return [(host, id) for id, host in pairs(tx, table.c.id, table.c.host, ids).items() if host]

    return places


def _touched(kind: str) -> Any:
    def dirty(touched: Touched) -> Set[str]:
        return touched.of(kind)

    return dirty


def _build_volumes(reading: Reading, places: Collection[Place]) -> Iterator[tuple[str, Made]]:
    asked = set(places)
    statement = select(volumes)
    found = whole(reading.tx, volumes, lambda chunk: statement.where(volumes.c.id.in_(chunk)), {id for _, id in asked})
    for row in found:
        host, other = row["host"], row["other_host"]
        if row["task"] == "delete":
            continue
        if host is not None and (host, row["id"]) in asked:
            yield host, Made(_volume(row))
        if other is not None and (other, row["id"]) in asked:
            yield other, Made(_elsewhere(row))


def _elsewhere(row: VolumeRow) -> IntentVolume:
    """On the host that it comes to, or that it left."""
    asked = row["move"] or {}
    if moves.is_coming(row):
        there = (asked.get("to", VOLUME_DRIVER), bool(asked.get("is_shared")))
        if travels.accompanies(row):  # an empty one, which is written from outside
            return IntentVolume(row["id"], row["size"], backend=there[0], is_shared=there[1])
        return IntentVolume(row["id"], row["size"], backend=there[0], is_shared=there[1], take=asked.get("id"))
    return IntentVolume(row["id"], row["size"], backend=asked.get("left", VOLUME_DRIVER), is_elsewhere=True)


def _present_volumes(tx: Tx, host: str) -> Iterable[str]:
    return tx.scalars(select(volumes.c.id).where(or_(volumes.c.host == host, volumes.c.other_host == host)))


def _places_of_volumes(tx: Tx, ids: Collection[str]) -> Iterable[Place]:
    for column in (volumes.c.host, volumes.c.other_host):
        for id, host in pairs(tx, volumes.c.id, column, ids).items():
            if host:
                yield host, id


def _volume(row: VolumeRow) -> IntentVolume:
    upload, reimage = row["upload"], _reimage(row)
    return IntentVolume(
        id=row["id"],
        size_gib=row["new_size"] or row["size"],
        image=None if row["image"] is None else msgspec.convert(row["image"], ImageRef),
        snapshot_id=row["snapshot_id"],
        source_id=row["source_volid"],
        upload=None if upload is None else VolumeUpload(upload["image_id"], upload["disk_format"]),
        restore=_restore(row),
        revert=None if row["revert"] is None else VolumeRevert(row["revert"]["id"], row["revert"]["snapshot_id"]),
        backend=row["backend"] or VOLUME_DRIVER,
        is_shared=moves.is_to_be_shared(row),
        move=_move(row),
        left=None if "left_host" in (row["move"] or {}) else (row["move"] or {}).get("left"),
        give=_give(row),
        manage=row["manage"],
        is_let_go=manage.is_let_go(row),
        reimage=reimage,
        is_made=_is_made(row) and reimage is None,
        key_bits=row["key_bits"],
    )


def _is_made(row: VolumeRow) -> bool:
    return row["task"] not in ("create", "manage") and not (row["restore"] or {}).get("is_new", False)


def _restore(row: VolumeRow) -> VolumeRestore | None:
    asked = row["restore"]
    return None if asked is None else VolumeRestore(asked["id"], asked["backup_id"])


def _reimage(row: VolumeRow) -> VolumeReimage | None:
    asked = row["reimage"]
    if asked is None or reimages.is_waiting(row) or reimages.has_failed(row):
        return None
    return VolumeReimage(asked["id"], msgspec.convert(asked["image"], ImageRef))


def _move(row: VolumeRow) -> VolumeMove | None:
    asked = row["move"] or {}
    is_near = "to" in asked and "to_host" not in asked
    return VolumeMove(asked["id"], asked["to"], asked["is_shared"]) if is_near else None


def _give(row: VolumeRow) -> str | None:
    """The move by which it goes to another host, as long as that has to wait for it."""
    asked = row["move"] or {}
    return asked["id"] if "to_host" in asked and row["other_host"] is None else None


def _build_snapshots(reading: Reading, places: Collection[Place]) -> Iterator[tuple[str, Made]]:
    asked = set(places)
    statement = select(snapshots)
    found: Iterator[SnapshotRow] = whole(
        reading.tx, snapshots, lambda chunk: statement.where(snapshots.c.id.in_(chunk)), {id for _, id in asked}
    )
    for row in found:
        host = row["host"]
        if host is not None and (host, row["id"]) in asked and row["task"] != "delete":
            yield host, Made(_snapshot(row))


def _snapshot(row: SnapshotRow) -> IntentSnapshot:
    is_made = row["task"] not in ("create", "manage")
    return IntentSnapshot(
        row["id"], row["volume_id"], row["backend"] or VOLUME_DRIVER, is_made, row["manage"], manage.is_let_go(row)
    )


def _build_backups(reading: Reading, places: Collection[Place]) -> Iterator[tuple[str, Made]]:
    asked = set(places)
    statement = select(backups)
    found: Iterator[BackupRow] = whole(
        reading.tx, backups, lambda chunk: statement.where(backups.c.id.in_(chunk)), {id for _, id in asked}
    )
    for row in found:
        host = row["host"]
        if host is not None and (host, row["id"]) in asked and row["task"] != "delete":
            origin = (row["volume_id"], row["snapshot_id"], row["parent_id"], row["copy_of"])
            kept_by = row["backend"] or VOLUME_DRIVER
            yield host, Made(IntentBackup(row["id"], *origin, backend=kept_by, is_made=row["task"] != "create"))


VOLUMES = OnHost("volume", _touched("volume"), _build_volumes, _present_volumes, _places_of_volumes)
SNAPSHOTS = OnHost(
    "volume_snapshot", _touched("volume_snapshot"), _build_snapshots, _present_in(snapshots), _places_in(snapshots)
)
BACKUPS = OnHost("backup", _touched("backup"), _build_backups, _present_in(backups), _places_in(backups))

"""Volumes and snapshots that a back end had already: taken in hand, and given out of it.

What a host hears of neither is deleted there, so who is given out of hand stays in what its host should have, as one
that is to be let go: the row ends when the host said that the disk is nobody's. A crash in between does nothing but
make it say so once more.

What could not be managed stays a row in error that its host is told to let go, whatever it had done for it; to delete
such a row does not touch the disk.

Source: cinder/volume/flows/api/manage_existing.py, flows/manager/manage_existing.py; cinder/volume/api.py `delete`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from sqlalchemy import ColumnElement, Table

from deuteron.model.caller import Caller
from deuteron.model.errors import BadRequest, NotFound, TooLarge, Unavailable
from deuteron.model.intent import SnapshotReport, Unmanaged, VolumeReport
from deuteron.model.scalars import CLOUD
from deuteron.model.settings import Settings
from deuteron.model.volume import SNAPSHOT, VOLUME
from deuteron.model.volume.rows import SnapshotRow, VolumeRow, VolumeTypeRow
from deuteron.model.volume.volumes import ZONE
from deuteron.rules.volume import attachments, faults, kinds, loads, messages, placement, snapshots, types, volumes
from deuteron.rules.volume.placement import Service
from deuteron.store import query
from deuteron.store.database import Tx
from deuteron.store.volume_tables import snapshots as snapshots_table
from deuteron.store.volume_tables import volumes as volumes_table

FAILED: Final = "error_managing"


@dataclass(frozen=True)
class Managed:
    """What a request asks to be taken in hand. `name` None is a reference that no driver has a disk for."""

    name: str | None
    title: str | None = None
    description: str | None = None
    zone: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    bootable: bool = False


def service(tx: Tx, settings: Settings, named: str) -> Service:
    """The service that is called HOST@BACKEND or HOST@BACKEND#POOL.

    Raises: NotFound; Unavailable for one that is disabled or down.
    """
    name = named.partition("#")[0]
    found = next((each for each in placement.services(tx, settings) if named in (each.name, each.pool)), None)
    if found is None:
        raise NotFound(f"Service {placement.BINARY} could not be found on host {name}.", type="ServiceNotFound")
    if found.is_disabled or not found.is_up:
        why = "is disabled" if found.is_disabled else "is down"
        raise Unavailable(f"Service is unavailable at this time: {found.name} {why}.")
    return found


def volume(
    tx: Tx,
    caller: Caller,
    settings: Settings,
    request_id: str,
    service: Service,
    kind: VolumeTypeRow,
    new: Managed,
    found: Unmanaged | None,
) -> VolumeRow:
    """`found` is what the back end has under the name, None for nothing: then the volume is in error, as it is when
    the project may not have so many GiB, or the back end is not what the type demands.

    Raises: BadRequest for what is managed already; TooLarge for one volume too many.
    """
    if kind["encryption"] is not None:
        raise faults.invalid_input(f"volumes of type {kind['id']} are encrypted, and what is managed is not")
    if new.zone not in (None, ZONE):
        raise faults.invalid_input(f"Availability zone '{new.zone}' is invalid.")
    if new.name is not None and (_is_volume(tx, new.name) or _is_asked_for(tx, service, new.name)):
        raise faults.invalid_volume("Unable to manage existing volume. The volume is already managed")
    project_id = caller.project_id or CLOUD
    loads.check(tx, project_id, kind["id"], "volumes", count=1, gib=0)
    event, size = messages.UNKNOWN, 0
    is_fitting = placement.suits(tx, settings, service.host.name, service.backend.name, kind["extra_specs"])
    if not is_fitting:
        event = messages.NO_BACKEND
    elif found is not None and found.reason is None and _has_room(tx, project_id, kind, found):
        size = found.size_gib
    loads.count(tx, project_id, kind["id"], "volumes", 1, size)
    loads.count_on_service(tx, service.host.name, service.backend.name, size)
    row = kinds.add(
        tx,
        VOLUME,
        {
            "status": "managing" if size else FAILED,
            "size": size,
            "availability_zone": ZONE,
            "name": new.title,
            "description": new.description,
            "metadata": dict(new.metadata),
            "user_id": caller.user_id,
            "bootable": new.bootable,
            "multiattach": types.is_multiattach(kind),
            "volume_type_id": kind["id"],
            "project_id": project_id,
            "host": service.host.name,
            "backend": service.backend.name,
            "pool": service.backend.pool_name,
            "image_metadata": {},
            "manage": new.name or "",
            "task": "manage" if size else None,
            "request_id": request_id,
        },
    )
    if not size:
        messages.tell(tx, project_id, event, row["id"], request_id=request_id)
    return row


def snapshot(
    tx: Tx,
    caller: Caller,
    settings: Settings,
    request_id: str,
    volume: VolumeRow,
    new: Managed,
) -> SnapshotRow:
    """Raises: BadRequest for a volume that is in no state for it; TooLarge for a quota; Unavailable for its service."""
    found = placement.find(tx, settings, volume["host"], volume["backend"])
    if found is None or found.is_disabled or not found.is_up:
        raise Unavailable("Service is unavailable at this time.")
    values = {
        "name": new.title,
        "description": new.description,
        "metadata": dict(new.metadata),
        "manage": new.name or "",
        "task": "manage",
    }
    return snapshots.add(tx, caller, request_id, volume, values, is_lenient=True)


def let_volume_go(tx: Tx, request_id: str, row: VolumeRow) -> None:
    """Raises: BadRequest for a volume that is in no state for it."""
    if row["encryption_key_id"] is not None:
        raise BadRequest("Unmanaging encrypted volumes is not supported.", type="Invalid")
    is_ready = row["status"] in volumes.DELETABLE and row["move"] is None and row["task"] is None
    if not is_ready or attachments.of_volume(tx, row["id"]) or row["group_id"] or volumes.snapshots_of(tx, row):
        raise faults.invalid_volume(
            f"Volume {row['id']} is {row['status']}. Volume status must be available or error or error_restoring or "
            "error_extending or error_managing and must not be migrating, attached, belong to a group, have snapshots, "
            "awaiting a transfer, or be disassociated from snapshots after volume transfer."
        )
    if row["host"] is None:
        volumes.finish_delete(tx, row)
    else:
        kinds.change(tx, VOLUME, row, {"status": "unmanaging", "task": "unmanage", "request_id": request_id})


def let_snapshot_go(tx: Tx, request_id: str, row: SnapshotRow) -> None:
    """Raises: BadRequest for a snapshot that is in no state for it."""
    if row["status"] not in ("available", "error") or row["group_snapshot_id"] is not None:
        raise faults.invalid_snapshot(
            f"Snapshot {row['id']} is {row['status']}. Snapshot status must be available or error and must not be part "
            "of a group."
        )
    if row["host"] is None:
        volumes.finish_delete_snapshot(tx, row)
    else:
        kinds.change(tx, SNAPSHOT, row, {"status": "unmanaging", "task": "unmanage", "request_id": request_id})


def is_let_go(row: VolumeRow | SnapshotRow) -> bool:
    """Whether its host is to let it go: it was asked to, or could not make a volume of what it found."""
    return row["task"] == "unmanage" or (row["manage"] is not None and row["task"] is None)


def of_volume(tx: Tx, row: VolumeRow, report: VolumeReport) -> None:
    """Its host managed it, could not, or has let it go."""
    if row["task"] == "unmanage":
        if report.is_let_go:
            volumes.finish_delete(tx, row)
    elif report.state == "ready" and report.size_gib:
        more = report.size_gib - row["size"]
        loads.count(tx, row["project_id"], row["volume_type_id"], "volumes", 0, more)
        loads.count_on_service(tx, row["host"], row["backend"], more)
        values = {"status": "available", "task": None, "manage": None, "size": report.size_gib}
        kinds.change(tx, VOLUME, row, values)
    elif report.state == "error":
        kinds.change(tx, VOLUME, row, {"status": FAILED, "task": None})
        messages.tell(tx, row["project_id"], messages.UNKNOWN, row["id"], request_id=row["request_id"])


def of_snapshot(tx: Tx, row: SnapshotRow, report: SnapshotReport) -> None:
    """The same of a snapshot."""
    if row["task"] == "unmanage":
        if report.is_let_go:
            volumes.finish_delete_snapshot(tx, row)
    elif report.state == "ready":
        kinds.change(tx, SNAPSHOT, row, {"status": "available", "task": None, "manage": None})
    elif report.state == "error":
        kinds.change(tx, SNAPSHOT, row, {"status": "error", "task": None})
        messages.tell(
            tx, row["project_id"], messages.NO_SNAPSHOT, row["id"], request_id=row["request_id"], of="VOLUME_SNAPSHOT"
        )


def kept(tx: Tx, service: Service) -> Sequence[VolumeRow]:
    """The volumes that a service has in hand."""
    table = volumes_table
    return query.rows(tx, table, *_on(table, service), table.c.manage.is_(None))


def kept_snapshots(tx: Tx, service: Service) -> Sequence[SnapshotRow]:
    table = snapshots_table
    return query.rows(tx, table, *_on(table, service), table.c.manage.is_(None))


def _on(table: Table, service: Service) -> tuple[ColumnElement[bool], ...]:
    return (table.c.host == service.host.name, table.c.backend == service.backend.name)


def _is_volume(tx: Tx, name: str) -> bool:
    try:
        return kinds.seen(tx, VOLUME, str(UUID(name.removeprefix("volume-")))) is not None
    except ValueError:
        return False


def _is_asked_for(tx: Tx, service: Service, name: str) -> bool:
    table = volumes_table
    return query.first(tx, table, *_on(table, service), table.c.manage == name, table.c.task == "manage") is not None


def _has_room(tx: Tx, project_id: str, kind: VolumeTypeRow, found: Unmanaged) -> bool:
    try:
        loads.check(tx, project_id, kind["id"], "volumes", count=1, gib=found.size_gib)
    except TooLarge:
        return False
    return True

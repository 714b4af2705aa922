"""The requests about backups of volumes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from deuteron.api.call import Call, Reply
from deuteron.api.volume import access, bodies, filters, lists, views
from deuteron.model.codecs import OneOf, Text, Uuid
from deuteron.model.errors import BadRequest
from deuteron.model.volume import BACKUP
from deuteron.model.volume.backups import SERVICE, SINCE, STATUSES
from deuteron.model.volume.rows import BackupRow
from deuteron.rules.volume import backups, snapshots, volumes
from deuteron.rules.volume.faults import invalid
from deuteron.store import volume_tables
from deuteron.store.database import Tx

_SERVICE: Final = Text(255)
_RECORD: Final = Text(backups.MAX_RECORD, min_length=1)
_RESTORED: Final = Uuid(nullable=True)
_NAME: Final = Text(255, nullable=True)
_LATER: Final = {"metadata": 43, "availability_zone": 51}
"""What bodies may say from a microversion on."""
_ADMIN: Final = "volume_extension:backup_admin_actions:"


def list_brief(call: Call, tx: Tx) -> Reply:
    rows, more = _list(call, tx, "backups")
    return Reply(200, {"backups": [_brief(call, row) for row in rows], **more})


def list_detail(call: Call, tx: Tx) -> Reply:
    rows, more = _list(call, tx, "backups/detail")
    used = backups.with_dependents(tx, [row["id"] for row in rows])
    return Reply(200, {"backups": [_shown(call, row, row["id"] in used) for row in rows], **more})


def show(call: Call, tx: Tx) -> Reply:
    row = _find(call, tx, "backup:get")
    return Reply(200, {"backup": _shown(call, row, bool(backups.with_dependents(tx, [row["id"]])))})


def create(call: Call, tx: Tx) -> Reply:
    access.require(call, "backup:create")
    values = bodies.created(BACKUP, _known(call, bodies.wrapped(call, "backup")))
    volume = volumes.find(tx, call.caller, values.pop("volume_id"))
    access.require(call, "backup:create", volume["project_id"])
    snapshot_id = values.pop("snapshot_id")
    snapshot = None if snapshot_id is None else snapshots.find(tx, call.caller, snapshot_id)
    how = {name: values.pop(name) for name in ("incremental", "force")}
    row = backups.create(
        tx, call.settings, call.caller, call.request_id, volume, snapshot, _stripped(values),
        incremental=how["incremental"], force=how["force"],
    )  # fmt: skip
    return Reply(202, {"backup": _brief(call, row)})


def update(call: Call, tx: Tx) -> Reply:
    row = _find(call, tx, "backup:update")
    body = bodies.document(call)
    if body == {"backup": None}:
        raise BadRequest("Missing required element 'backup' in request body.", type="HTTPBadRequest")
    values = bodies.updated(BACKUP, _known(call, bodies.wrapped(call, "backup")))
    return Reply(200, {"backup": _brief(call, backups.change(tx, row, _stripped(values)))})


def remove(call: Call, tx: Tx) -> Reply:
    backups.remove(tx, call.request_id, _find(call, tx, "backup:delete"))
    return Reply(202)


def restore(call: Call, tx: Tx) -> Reply:
    row = _find(call, tx, "backup:restore")
    body = bodies.document(call)
    given = {} if body == {"restore": None} else bodies.wrapped(call, "restore")
    bodies.refuse_others(given, ("name", "volume_id"), "restore")
    volume_id = bodies.value("volume_id", _RESTORED, given.get("volume_id"))
    name = bodies.value("name", _NAME, given.get("name"))
    volume = backups.restore(tx, call.settings, call.caller, call.request_id, row, volume_id, name)
    told = {"backup_id": row["id"], "volume_id": volume["id"], "volume_name": volume["name"]}
    return Reply(202, {"restore": told})


def export_record(call: Call, tx: Tx) -> Reply:
    row = _find(call, tx, "backup:export-import")
    return Reply(200, {"backup-record": {"backup_service": SERVICE, "backup_url": backups.record(row)}})


def import_record(call: Call, tx: Tx) -> Reply:
    access.require(call, "backup:backup-import")
    given = bodies.wrapped(call, "backup-record")
    bodies.refuse_others(given, ("backup_service", "backup_url"), "backup-record")
    service = bodies.value("backup_service", _SERVICE, given.get("backup_service"))
    text = bodies.value("backup_url", _RECORD, given.get("backup_url"))
    row = backups.take_record(tx, call.settings, call.caller, call.request_id, service, text)
    return Reply(201, {"backup": _brief(call, row)})


def act(call: Call, tx: Tx) -> Reply:
    """POST /backups/{id}/action: what administrators may."""
    body = bodies.document(call)
    if list(body) == ["os-reset_status"]:
        row = _find(call, tx, f"{_ADMIN}reset_status")
        given = bodies.wrapped(call, "os-reset_status")
        bodies.refuse_others(given, ("status",), "os-reset_status")
        status = given.get("status")
        wanted = status.lower() if isinstance(status, str) else status
        backups.reset_status(tx, row, bodies.value("status", OneOf(STATUSES), wanted))
    elif list(body) == ["os-force_delete"]:
        backups.remove(tx, call.request_id, _find(call, tx, f"{_ADMIN}force_delete"), forced=True)
    else:
        said = ", ".join(body)[:80] or "none"
        raise BadRequest(f"There is no such action: {said}.", type="HTTPBadRequest")
    return Reply(202)


def _known(call: Call, body: Mapping[str, Any]) -> Mapping[str, Any]:
    """The body, without what came in a later microversion. Raises: BadRequest."""
    early = [name for name, since in _LATER.items() if name in body and call.version < since]
    if early:
        raise invalid("backup", body, f"Additional properties are not allowed ('{early[0]}' was unexpected)")
    return body


def _find(call: Call, tx: Tx, rule: str) -> BackupRow:
    """The backup of the path, for a caller that may do `rule` with it. Raises: NotFound, Forbidden."""
    row = backups.find(tx, call.caller, call.params["id"])
    access.require(call, rule, row["project_id"])
    return row


def _list(call: Call, tx: Tx, path: str) -> tuple[Sequence[Mapping[str, Any]], dict[str, Any]]:
    access.require(call, "backup:get_all")
    known, special = filters.known(call, BACKUP), filters.special(call, BACKUP)
    conditions = lists.of_projects(call, volume_tables.backups)
    rows, more = lists.page(call, tx, BACKUP, path, conditions, known=known, special=special)
    return rows, {**more, **lists.counted(call, tx, BACKUP, conditions, known, special)}


def _brief(call: Call, row: BackupRow | Mapping[str, Any]) -> dict[str, Any]:
    return {"id": row["id"], "name": row["name"], "links": lists.links(call, f"backups/{row['id']}")}


def _shown(call: Call, row: BackupRow | Mapping[str, Any], is_needed: bool) -> dict[str, Any]:
    values = {**row, "is_incremental": row["parent_id"] is not None, "has_dependent_backups": is_needed}
    shown = {
        name: values[name]
        for name, attribute in BACKUP.by_name.items()
        if attribute.read and call.version >= SINCE.get(name, 0)
    }
    shown["links"] = lists.links(call, f"backups/{row['id']}")
    if call.version >= views.KEY_ID_SINCE and row["encryption_key_id"] is not None:
        shown["encryption_key_id"] = row["encryption_key_id"]
    if access.allowed(call, "backup:backup_project_attribute", row["project_id"]):
        if call.version >= 18:
            shown["os-backup-project-attr:project_id"] = row["project_id"]
        if call.version >= 56:
            shown["user_id"] = row["user_id"]
    return shown


def _stripped(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: value.strip() if name in ("name", "description") and value is not None else value
        for name, value in values.items()
    }

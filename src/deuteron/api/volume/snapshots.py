"""The requests about snapshots of volumes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from deuteron.api.call import Call, Reply
from deuteron.api.volume import access, bodies, filters, lists, views
from deuteron.api.volume.volumes import METADATA, one_item
from deuteron.model.errors import BadRequest
from deuteron.model.volume import SNAPSHOT, VOLUME
from deuteron.model.volume.rows import SnapshotRow
from deuteron.rules.volume import faults, placement, snapshots, volumes
from deuteron.store import volume_tables
from deuteron.store.database import Tx


def list_brief(call: Call, tx: Tx) -> Reply:
    rows, more = _list(call, tx, "snapshots")
    return Reply(200, {"snapshots": [views.brief_snapshot(call, row) for row in rows], **more})


def list_detail(call: Call, tx: Tx) -> Reply:
    rows, more = _list(call, tx, "snapshots/detail")
    return Reply(200, {"snapshots": [views.snapshot(call, row) for row in rows], **more})


def show(call: Call, tx: Tx) -> Reply:
    return Reply(200, {"snapshot": views.snapshot(call, find(call, tx, "volume:get_snapshot"))})


def create(call: Call, tx: Tx) -> Reply:
    access.require(call, "volume:create_snapshot")
    body = bodies.wrapped(call, "snapshot")
    if body.get("volume_id", "") is None:
        raise faults.missing(VOLUME, "None")
    values = bodies.created(SNAPSHOT, body)
    forced, older = values.pop("force"), values.pop("display_name")
    if call.version >= 66 and forced is False:
        raise BadRequest(
            "Since microversion 3.66 'force' is no part of this request; true is passed over.", type="HTTPBadRequest"
        )
    volume = volumes.find(tx, call.caller, values.pop("volume_id"))
    access.require(call, "volume:create_snapshot", volume["project_id"])
    values["name"] = _stripped(values["name"] if values["name"] is not None else older)
    values["description"] = _stripped(values["description"])
    placement.refuse_frozen(tx, call.settings, volume)
    forced = bool(forced) or call.version >= 66
    row = snapshots.create(tx, call.caller, call.request_id, volume, values, forced=forced)
    return Reply(202, {"snapshot": views.snapshot(call, row, whole=False)})


def update(call: Call, tx: Tx) -> Reply:
    row = find(call, tx, "volume:update_snapshot")
    body = bodies.wrapped(call, "snapshot")
    if not body:
        raise faults.invalid("snapshot", body, "it names nothing that is to be changed")
    values = bodies.updated(SNAPSHOT, body)
    for older, name in (("display_name", "name"), ("display_description", "description")):
        if older in values:
            given = values.pop(older)
            values.setdefault(name, given)
    row = snapshots.change(tx, row, {name: _stripped(value) for name, value in values.items()})
    return Reply(200, {"snapshot": views.snapshot(call, row, whole=False)})


def remove(call: Call, tx: Tx) -> Reply:
    row = find(call, tx, "volume:delete_snapshot")
    placement.refuse_frozen(tx, call.settings, row)
    snapshots.remove(tx, call.request_id, row)
    return Reply(202)


def list_metadata(call: Call, tx: Tx) -> Reply:
    return Reply(200, {"metadata": dict(find(call, tx, "volume:get_snapshot_metadata")["metadata"])})


def merge_metadata(call: Call, tx: Tx) -> Reply:
    row = find(call, tx, "volume:update_snapshot_metadata")
    given = bodies.value("metadata", METADATA, bodies.wrapped(call, "metadata"))
    row = snapshots.change(tx, row, {"metadata": {**row["metadata"], **given}})
    return Reply(200, {"metadata": dict(row["metadata"])})


def replace_metadata(call: Call, tx: Tx) -> Reply:
    row = find(call, tx, "volume:update_snapshot_metadata")
    given = bodies.value("metadata", METADATA, bodies.wrapped(call, "metadata"))
    snapshots.change(tx, row, {"metadata": given})
    return Reply(200, {"metadata": given})


def show_metadata(call: Call, tx: Tx) -> Reply:
    row, key = find(call, tx, "volume:get_snapshot_metadata"), call.params["key"]
    return Reply(200, {"meta": {key: volumes.item(row["metadata"], key, "Snapshot", row["id"])}})


def set_metadata(call: Call, tx: Tx) -> Reply:
    row = find(call, tx, "volume:update_snapshot_metadata")
    given = one_item(call)
    snapshots.change(tx, row, {"metadata": {**row["metadata"], **given}})
    return Reply(200, {"meta": given})


def remove_metadata(call: Call, tx: Tx) -> Reply:
    row, key = find(call, tx, "volume:delete_snapshot_metadata"), call.params["key"]
    volumes.item(row["metadata"], key, "Snapshot", row["id"])
    snapshots.change(tx, row, {"metadata": {name: value for name, value in row["metadata"].items() if name != key}})
    return Reply(200)


def find(call: Call, tx: Tx, rule: str) -> SnapshotRow:
    """The snapshot of the path, for a caller that may do `rule` with it. Raises: NotFound, Forbidden."""
    row = snapshots.find(tx, call.caller, call.params["id"])
    access.require(call, rule, row["project_id"])
    return row


def _list(call: Call, tx: Tx, path: str) -> tuple[Sequence[Mapping[str, Any]], dict[str, Any]]:
    access.require(call, "volume:get_all_snapshots")
    known, special = filters.known(call, SNAPSHOT), filters.special(call, SNAPSHOT)
    conditions = lists.of_projects(call, volume_tables.snapshots)
    rows, more = lists.page(
        call, tx, SNAPSHOT, path, conditions, known=known, special=special, keys={"display_name": "name"}
    )
    return rows, {**more, **lists.counted(call, tx, SNAPSHOT, conditions, known, special)}


def _stripped(text: str | None) -> str | None:
    return None if text is None else text.strip()

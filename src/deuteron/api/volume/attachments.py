"""The requests about attachments, since 3.27: a volume is kept for somebody, connected, in use, and let go.

Servers of this cloud come and go by Compute. Who attaches by hand is told on which host the volume is; from there alone
it can be reached.

Source: cinder/api/v3/attachments.py, cinder/api/schemas/attachments.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from deuteron.api.call import Call, Reply
from deuteron.api.volume import access, bodies, filters, lists
from deuteron.model.codecs import OneOf, Uuid, quoted
from deuteron.model.volume import ATTACHMENT
from deuteron.model.volume.attachments import MODES
from deuteron.model.volume.rows import VolumeAttachmentRow
from deuteron.rules.volume import attachments, connections, faults, kinds, volumes
from deuteron.store import volume_tables
from deuteron.store.database import Tx

_SUMMARY: Final = ("id", "status", "instance", "volume_id")


def list_brief(call: Call, tx: Tx) -> Reply:
    return Reply(200, {"attachments": [_brief(row) for row in _list(call, tx)]})


def list_detail(call: Call, tx: Tx) -> Reply:
    return Reply(200, {"attachments": [_whole(row) for row in _list(call, tx)]})


def show(call: Call, tx: Tx) -> Reply:
    return Reply(200, {"attachment": _whole(find(call, tx))})


def create(call: Call, tx: Tx) -> Reply:
    access.require(call, "volume:attachment_create")
    body = bodies.wrapped(call, "attachment")
    names = ["volume_uuid", "instance_uuid", "connector", *(["mode"] if call.version >= 54 else [])]
    bodies.refuse_others(body, names, "attachment")
    if "volume_uuid" not in body:
        raise faults.invalid("attachment", body, "'volume_uuid' is a required property")
    volume_id = bodies.value("volume_uuid", Uuid(), body["volume_uuid"])
    instance = bodies.value("instance_uuid", Uuid(), body["instance_uuid"]) if "instance_uuid" in body else None
    mode = bodies.value("mode", OneOf(MODES), body["mode"]) if "mode" in body else "null"
    connector = body.get("connector")
    if connector is not None:
        connector = _connector(connector)
    volume = volumes.find(tx, call.caller, volume_id)
    access.require(call, "volume:attachment_create", volume["project_id"])
    if volume["multiattach"] and volume["bootable"] and volume["status"] == "in-use":
        access.require(call, "volume:multiattach_bootable_volume", volume["project_id"])
    row = attachments.reserve(tx, volume, instance, mode=mode, served=False)
    if connector:
        row = connections.connect(tx, call.settings, row, connector)
    return Reply(200, {"attachment": _whole(row)})


def update(call: Call, tx: Tx) -> Reply:
    row = find(call, tx, "volume:attachment_update")
    body = bodies.wrapped(call, "attachment")
    bodies.refuse_others(body, ("connector",), "attachment")
    if not body.get("connector"):
        raise faults.invalid("connector", body.get("connector"), "an object is expected that tells of a host")
    return Reply(
        200, {"attachment": _whole(connections.connect(tx, call.settings, row, _connector(body["connector"])))}
    )


def remove(call: Call, tx: Tx) -> Reply:
    row = find(call, tx, "volume:attachment_delete")
    connections.refuse_if_served(row)
    attachments.detached(tx, row["id"])
    return Reply(200, {"attachments": [_brief(each) for each in attachments.of_volume(tx, row["volume_id"])]})


def act(call: Call, tx: Tx) -> Reply:
    """The one action, since 3.44: what was connected is in use."""
    row = find(call, tx, "volume:attachment_complete")
    bodies.refuse_others(bodies.document(call), ("os-complete",))
    if "os-complete" not in bodies.document(call):
        raise faults.invalid("body", bodies.document(call), "'os-complete' is a required property")
    attachments.attached(tx, row["id"], row["attached_host"], row["mountpoint"])
    return Reply(204)


def find(call: Call, tx: Tx, rule: str | None = None) -> VolumeAttachmentRow:
    """The attachment of the path, for a caller that may do `rule` with it, or with None look at it.

    Cinder has no rules for reading attachments: whoever is in the project may.

    Raises: NotFound, Forbidden.
    """
    row = kinds.find(tx, ATTACHMENT, call.params["id"])
    if not volumes.is_seen(call.caller, row["project_id"]):
        raise faults.missing(ATTACHMENT, call.params["id"])
    if rule is not None:
        access.require(call, rule, row["project_id"])
    elif row["project_id"] != call.caller.project_id:
        access.require(call, "volume:get", row["project_id"])
    return row


def _connector(raw: Any) -> Mapping[str, Any]:
    if not isinstance(raw, dict):
        raise faults.invalid("connector", raw, f"{quoted(raw)} is not of type 'object'")
    return connections.checked(raw)


def _list(call: Call, tx: Tx) -> Sequence[Mapping[str, Any]]:
    """Those of the caller's project, which need no rule; those of all projects are an administrator's to ask for."""
    if call.caller.project_id is None:
        access.require(call, "volume:get_all")
    known, special = filters.known(call, ATTACHMENT), filters.special(call, ATTACHMENT)
    conditions = lists.of_projects(call, volume_tables.attachments)
    rows, _ = lists.page(call, tx, ATTACHMENT, "attachments", conditions, known=known, special=special)
    return rows


def _brief(row: Mapping[str, Any] | VolumeAttachmentRow) -> dict[str, Any]:
    values: Mapping[str, Any] = row
    return {name: values[name] for name in _SUMMARY}


def _whole(row: Mapping[str, Any] | VolumeAttachmentRow) -> dict[str, Any]:
    return {
        **_brief(row),
        "attached_at": row["attached_at"] or "",
        "detached_at": "",
        "attach_mode": row["attach_mode"],
        "connection_info": row["connection_info"] or {},
    }

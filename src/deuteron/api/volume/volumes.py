"""The requests about volumes: themselves, their metadata, and sums over all of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy import ColumnElement, func, select

from deuteron.api.call import Call, Reply
from deuteron.api.volume import access, bodies, filters, lists, views
from deuteron.model.errors import BadRequest
from deuteron.model.volume import VOLUME
from deuteron.model.volume.codecs import Flag, Pairs
from deuteron.model.volume.rows import VolumeRow
from deuteron.rules.volume import attachments, faults, groups, placement, types, volumes
from deuteron.rules.volume.volumes import NewVolume
from deuteron.store import filters as store_filters
from deuteron.store import volume_tables
from deuteron.store.database import Tx

METADATA: Final = Pairs()
_NO_NULLS: Final = ("display_name", "display_description")


def list_brief(call: Call, tx: Tx) -> Reply:
    rows, more = _list(call, tx, "volumes")
    return Reply(200, {"volumes": [views.brief(call, row) for row in rows], **more})


def list_detail(call: Call, tx: Tx) -> Reply:
    rows, more = _list(call, tx, "volumes/detail")
    names = types.names(tx)
    held = attachments.of_volumes(tx, [row["id"] for row in rows])
    shown = [views.volume(call, row, names.get(row["volume_type_id"] or ""), held.get(row["id"], ())) for row in rows]
    return Reply(200, {"volumes": shown, **more})


def summary(call: Call, tx: Tx) -> Reply:
    """How many volumes and GiB there are; from 3.36 on, the metadata of all of them."""
    access.require(call, "volume:get_all")
    table = volume_tables.volumes
    wanted = _wanted(call)
    count, size = tx.all(select(func.count(), func.sum(table.c.size)).where(*wanted))[0]
    told: dict[str, Any] = {"total_count": count, "total_size": int(size or 0)}
    if call.version >= 36:
        values: dict[str, list[str]] = {}
        for metadata in tx.scalars(select(table.c.metadata).where(*wanted)):
            for key, value in (metadata or {}).items():
                found = values.setdefault(key, [])
                if value not in found:
                    found.append(value)
        told["metadata"] = values
    return Reply(200, {"volume-summary": told})


def show(call: Call, tx: Tx) -> Reply:
    return _answer(call, tx, 200, find(call, tx, "volume:get"), whole=True)


def create(call: Call, tx: Tx) -> Reply:
    access.require(call, "volume:create")
    body = bodies.wrapped(call, "volume", beside=("OS-SCH-HNT:scheduler_hints",))
    if body.get("size", 0) is None:
        body = {name: raw for name, raw in body.items() if name != "size"}
    if call.version < 53:
        # Names that nobody knows were passed over then, and clients send what older services knew.
        body = {name: raw for name, raw in body.items() if name in VOLUME.by_name and VOLUME.by_name[name].create}
    values = bodies.created(VOLUME, body)
    if values["multiattach"]:
        raise BadRequest(
            "multiattach parameter has been removed. The default behavior is to use multiattach enabled volume types. "
            "Contact your administrator to create a multiattach enabled volume type and use it to create multiattach "
            "volumes.",
            type="HTTPBadRequest",
        )
    if values["consistencygroup_id"] is not None:
        asked = values["consistencygroup_id"]
        raise BadRequest(f"'{asked}' is not there: volumes are put into groups by group_id, from microversion 3.13 on")
    group = None
    if values["group_id"] is not None:
        if call.version < 13:
            raise BadRequest(f"'{values['group_id']}': volumes are put into groups from microversion 3.13 on")
        group = groups.require_for(tx, call.caller, values["group_id"], values["volume_type"])
    if values["backup_id"] is not None and call.version < 47:
        raise BadRequest("A volume is made of a backup from microversion 3.47 on, or by restoring the backup.")
    image = values["imageRef"] or values["image_id"]
    if image is not None:
        access.require(call, "volume:create_from_image")
    new = NewVolume(
        size=values["size"],
        name=_stripped(values["name"] if "name" in body else values["display_name"]),
        description=_stripped(values["description"] if "description" in body else values["display_description"]),
        volume_type=values["volume_type"],
        zone=values["availability_zone"],
        metadata=values["metadata"],
        snapshot_id=values["snapshot_id"],
        source_id=values["source_volid"],
        image=image,
        backup_id=values["backup_id"],
        group=group,
    )
    row = volumes.create(tx, call.settings, call.caller, call.request_id, new)
    if row["multiattach"]:
        access.require(call, "volume:multiattach", row["project_id"])
    return _answer(call, tx, 202, row, whole=False)


def update(call: Call, tx: Tx) -> Reply:
    row = find(call, tx, "volume:update")
    body = bodies.wrapped(call, "volume")
    if not body and call.version >= 53:
        raise faults.invalid("volume", body, "it names nothing that is to be changed")
    values = bodies.updated(VOLUME, body)
    for older, name in (("display_name", "name"), ("display_description", "description")):
        if older in values:
            values.setdefault(name, values.pop(older))
            values.pop(older, None)
    for name in ("name", "description"):
        if name in values:
            values[name] = _stripped(values[name])
    return _answer(call, tx, 200, volumes.change(tx, row, values), whole=False)


def remove(call: Call, tx: Tx) -> Reply:
    row = find(call, tx, "volume:delete")
    cascade = bodies.value("cascade", Flag(), call.get("cascade", "false"))
    forced = call.version >= 23 and bodies.value("force", Flag(), call.get("force", "false"))
    if forced:
        access.require(call, "volume:force_delete", row["project_id"])
    placement.refuse_frozen(tx, call.settings, row)
    volumes.remove(tx, call.request_id, row, cascade=cascade, forced=forced)
    return Reply(202)


def list_metadata(call: Call, tx: Tx) -> Reply:
    row = find(call, tx, "volume:get_volume_metadata")
    body = {"metadata": dict(row["metadata"])}
    return Reply(200, body, {"etag": _etag(row)} if call.version >= 15 else {})


def merge_metadata(call: Call, tx: Tx) -> Reply:
    row = find(call, tx, "volume:create_volume_metadata")
    given = bodies.value("metadata", METADATA, bodies.wrapped(call, "metadata"))
    row = volumes.change(tx, row, {"metadata": {**row["metadata"], **given}})
    return Reply(200, {"metadata": dict(row["metadata"])})


def replace_metadata(call: Call, tx: Tx) -> Reply:
    row = find(call, tx, "volume:update_volume_metadata")
    if _is_outdated(call, row):
        return Reply(412)
    given = bodies.value("metadata", METADATA, bodies.wrapped(call, "metadata"))
    volumes.change(tx, row, {"metadata": given})
    return Reply(200, {"metadata": given})


def show_metadata(call: Call, tx: Tx) -> Reply:
    row, key = find(call, tx, "volume:get_volume_metadata"), call.params["key"]
    return Reply(200, {"meta": {key: volumes.item(row["metadata"], key, "Volume", row["id"])}})


def set_metadata(call: Call, tx: Tx) -> Reply:
    row = find(call, tx, "volume:update_volume_metadata")
    if _is_outdated(call, row):
        return Reply(412)
    given = one_item(call)
    volumes.change(tx, row, {"metadata": {**row["metadata"], **given}})
    return Reply(200, {"meta": given})


def remove_metadata(call: Call, tx: Tx) -> Reply:
    row, key = find(call, tx, "volume:delete_volume_metadata"), call.params["key"]
    volumes.item(row["metadata"], key, "Volume", row["id"])
    volumes.change(tx, row, {"metadata": {name: value for name, value in row["metadata"].items() if name != key}})
    return Reply(200)


def find(call: Call, tx: Tx, rule: str) -> VolumeRow:
    """The volume of the path, for a caller that may do `rule` with it. Raises: NotFound, Forbidden."""
    row = volumes.find(tx, call.caller, call.params["id"])
    access.require(call, rule, row["project_id"])
    return row


def one_item(call: Call) -> dict[str, str]:
    """The one item of metadata that a body gives under `meta`, of the path's key. Raises: BadRequest."""
    given: dict[str, str] = bodies.value("meta", METADATA, bodies.wrapped(call, "meta"))
    if call.params["key"] not in given:
        raise BadRequest("Request body and URI mismatch", type="HTTPBadRequest")
    if len(given) != 1:
        raise BadRequest("Request body contains too many items", type="HTTPBadRequest")
    return given


def _list(call: Call, tx: Tx, path: str) -> tuple[Sequence[Mapping[str, Any]], dict[str, Any]]:
    access.require(call, "volume:get_all")
    known, special = filters.known(call, VOLUME), filters.special(call, VOLUME)
    conditions = lists.of_projects(call, volume_tables.volumes)
    rows, more = lists.page(
        call, tx, VOLUME, path, conditions, known=known, special=special, keys={"display_name": "name"}
    )
    return rows, {**more, **lists.counted(call, tx, VOLUME, conditions, known, special)}


def _wanted(call: Call) -> list[ColumnElement[bool]]:
    pairs = [pair for pair in call.query if pair[0] in filters.known(call, VOLUME)]
    table = volume_tables.volumes
    conditions = store_filters.conditions(
        table, VOLUME.by_name, pairs, lists.FILTERS, special=filters.special(call, VOLUME)
    )
    return [*lists.of_projects(call, table), *conditions]


def _answer(call: Call, tx: Tx, status: int, row: VolumeRow, *, whole: bool) -> Reply:
    name = types.names(tx).get(row["volume_type_id"] or "")
    held = attachments.of_volume(tx, row["id"])
    return Reply(status, {"volume": views.volume(call, row, name, held, whole=whole)})


def _stripped(text: str | None) -> str | None:
    return None if text is None else text.strip()


def _etag(row: VolumeRow) -> str:
    # Nothing relies on it for safety: it says whether somebody changed the metadata meanwhile.
    said = json.dumps({"metadata": dict(row["metadata"])}).encode()
    return hashlib.md5(said, usedforsecurity=False).hexdigest()


def _is_outdated(call: Call, row: VolumeRow) -> bool:
    """Whether the metadata are other than the client last saw, if it says which those were."""
    wanted = call.headers.get("if-match")
    if wanted is None or call.version < 15 or wanted.strip() == "*":
        return False
    return _etag(row) not in [each.strip().strip('"') for each in wanted.split(",")]

"""The requests about groups of volumes, and about snapshots of groups."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from deuteron.api.call import Call, Reply
from deuteron.api.volume import access, bodies, filters, lists
from deuteron.model.codecs import OneOf, Text, Uuid
from deuteron.model.errors import BadRequest, NotFound
from deuteron.model.resource import Resource
from deuteron.model.volume import GROUP, GROUP_SNAPSHOT
from deuteron.model.volume.codecs import Flag
from deuteron.model.volume.groups import SINCE, STATUSES
from deuteron.model.volume.rows import GroupRow, GroupSnapshotRow
from deuteron.rules.volume import groups
from deuteron.rules.volume.faults import invalid
from deuteron.store import volume_tables
from deuteron.store.database import Tx

_NAME: Final = Text(255, nullable=True)
_IDS: Final = Text(groups.MOST * 40, nullable=True)
_ID: Final = Uuid()
_BACKEND: Final = Text(255, nullable=True)


def list_brief(call: Call, tx: Tx) -> Reply:
    rows, more = _list(call, tx, GROUP, "group:get_all", "groups", "group")
    return Reply(200, {"groups": [{"id": row["id"], "name": row["name"]} for row in rows], **more})


def list_detail(call: Call, tx: Tx) -> Reply:
    rows, more = _list(call, tx, GROUP, "group:get_all", "groups/detail", "group")
    return Reply(200, {"groups": [_shown(call, tx, row) for row in rows], **more})


def show(call: Call, tx: Tx) -> Reply:
    return Reply(200, {"group": _shown(call, tx, _find(call, tx, "group:get"))})


def create(call: Call, tx: Tx) -> Reply:
    access.require(call, "group:create")
    values = bodies.created(GROUP, bodies.wrapped(call, "group"))
    row = groups.create(tx, call.settings, call.caller, _stripped(values))
    return Reply(202, {"group": {"id": row["id"], "name": row["name"]}})


def create_from(call: Call, tx: Tx) -> Reply:
    """POST /groups/action: a group of copies of another's volumes, or of a snapshot of one."""
    access.require(call, "group:create")
    given = bodies.wrapped(call, "create-from-src")
    names = ("source_group_id", "group_snapshot_id")
    bodies.refuse_others(given, ("name", "description", *names), "create-from-src")
    which = [name for name in names if name in given]
    if len(which) != 1:
        raise invalid("create-from-src", given, f"one of {' and '.join(names)} is expected")
    source_id = bodies.value(which[0], _ID, given[which[0]])
    snapshot = None
    if which[0] == "group_snapshot_id":
        snapshot = groups.find_snapshot(tx, call.caller, source_id)
        access.require(call, "group:get_group_snapshot", snapshot["project_id"])
        source_id = snapshot["group_id"]
    source = groups.find(tx, call.caller, source_id)
    values = _stripped({name: bodies.value(name, _NAME, given.get(name)) for name in ("name", "description")})
    row = groups.create_from(tx, call.settings, call.caller, call.request_id, source, snapshot, values)
    return Reply(202, {"group": {"id": row["id"], "name": row["name"]}})


def update(call: Call, tx: Tx) -> Reply:
    row = _find(call, tx, "group:update")
    given = bodies.wrapped(call, "group")
    bodies.refuse_others(given, ("name", "description", "add_volumes", "remove_volumes"), "group")
    if not given:
        raise invalid("group", given, "it names nothing that is to be changed")
    values = _stripped({name: bodies.value(name, _NAME, given.get(name)) for name in ("name", "description")})
    coming, going = (_ids(name, given.get(name)) for name in ("add_volumes", "remove_volumes"))
    groups.update(tx, call.caller, row, values, coming, going)
    return Reply(202)


def _ids(name: str, raw: Any) -> list[str]:
    text = bodies.value(name, _IDS, raw) or ""
    return list(dict.fromkeys(each.strip() for each in text.strip(",").split(",") if each.strip()))


def act(call: Call, tx: Tx) -> Reply:
    """POST /groups/{id}/action."""
    name = _named(call, _ACTIONS)
    since, rule, handler = _ACTIONS[name]
    if call.version < since:
        raise NotFound("The resource could not be found.", type="HTTPNotFound")
    row = _find(call, tx, rule)
    handler(call, tx, row, bodies.wrapped(call, name))
    return Reply(202)


def _delete(call: Call, tx: Tx, row: GroupRow, given: Mapping[str, Any]) -> None:
    bodies.refuse_others(given, ("delete-volumes",), "delete")
    with_volumes = bodies.value("delete-volumes", Flag(), given.get("delete-volumes", False))
    groups.remove(tx, call.request_id, row, with_volumes=with_volumes)


def _reset(call: Call, tx: Tx, row: GroupRow, given: Mapping[str, Any]) -> None:
    groups.reset_status(tx, row, _status(given))


def _status(given: Mapping[str, Any]) -> str:
    bodies.refuse_others(given, ("status",), "reset_status")
    status = given.get("status")
    wanted = status.lower() if isinstance(status, str) else status
    found: str = bodies.value("status", OneOf(STATUSES), wanted)
    return found


def _replicate(call: Call, tx: Tx, row: GroupRow, given: Mapping[str, Any]) -> None:
    groups.refuse_replication(tx, row)


def _fail_over(call: Call, tx: Tx, row: GroupRow, given: Mapping[str, Any]) -> None:
    bodies.refuse_others(given, ("allow_attached_volume", "secondary_backend_id"), "failover_replication")
    bodies.value("allow_attached_volume", Flag(), given.get("allow_attached_volume", False))
    bodies.value("secondary_backend_id", _BACKEND, given.get("secondary_backend_id"))
    groups.refuse_replication(tx, row)


_ACTIONS: Final[Mapping[str, tuple[int, str, Callable[[Call, Tx, GroupRow, Mapping[str, Any]], None]]]] = {
    "delete": (13, "group:delete", _delete),
    "reset_status": (20, "group:reset_status", _reset),
    "enable_replication": (38, "group:enable_replication", _replicate),
    "disable_replication": (38, "group:disable_replication", _replicate),
    "failover_replication": (38, "group:failover_replication", _fail_over),
    "list_replication_targets": (38, "group:list_replication_targets", _replicate),
}
"""The microversion in which each came, who may, and what it does."""


# --- snapshots --------------------------------------------------------------------------------------------------------


def list_snapshots(call: Call, tx: Tx) -> Reply:
    rows, more = _list(call, tx, GROUP_SNAPSHOT, "group:get_all_group_snapshots", "group_snapshots", "group_snapshot")
    return Reply(200, {"group_snapshots": [{"id": row["id"], "name": row["name"]} for row in rows], **more})


def list_snapshots_detail(call: Call, tx: Tx) -> Reply:
    path = "group_snapshots/detail"
    rows, more = _list(call, tx, GROUP_SNAPSHOT, "group:get_all_group_snapshots", path, "group_snapshot")
    return Reply(200, {"group_snapshots": [_shown_snapshot(call, row) for row in rows], **more})


def show_snapshot(call: Call, tx: Tx) -> Reply:
    return Reply(200, {"group_snapshot": _shown_snapshot(call, _find_snapshot(call, tx, "group:get_group_snapshot"))})


def create_snapshot(call: Call, tx: Tx) -> Reply:
    access.require(call, "group:create_group_snapshot")
    values = bodies.created(GROUP_SNAPSHOT, bodies.wrapped(call, "group_snapshot"))
    group = groups.find(tx, call.caller, values.pop("group_id"))
    access.require(call, "group:create_group_snapshot", group["project_id"])
    row = groups.create_snapshot(tx, call.caller, call.request_id, group, _stripped(values))
    told = {name: row[name] for name in ("id", "name", "group_type_id")}
    return Reply(202, {"group_snapshot": told})


def remove_snapshot(call: Call, tx: Tx) -> Reply:
    groups.remove_snapshot(tx, call.request_id, _find_snapshot(call, tx, "group:delete_group_snapshot"))
    return Reply(202)


def act_on_snapshot(call: Call, tx: Tx) -> Reply:
    """POST /group_snapshots/{id}/action."""
    _named(call, ("reset_status",))
    row = _find_snapshot(call, tx, "group:reset_group_snapshot_status")
    groups.reset_snapshot_status(tx, row, _status(bodies.wrapped(call, "reset_status")))
    return Reply(202)


# --- of both ----------------------------------------------------------------------------------------------------------


def _named(call: Call, known: Sequence[str] | Mapping[str, Any]) -> str:
    """The one action of the body. Raises: BadRequest."""
    body = bodies.document(call)
    names = list(body)
    if len(names) != 1 or names[0] not in known:
        raise BadRequest(f"There is no such action: {', '.join(names)[:80] or 'none'}.", type="HTTPBadRequest")
    return names[0]


def _find(call: Call, tx: Tx, rule: str) -> GroupRow:
    """The group of the path, for a caller that may do `rule` with it. Raises: NotFound, Forbidden."""
    row = groups.find(tx, call.caller, call.params["id"])
    access.require(call, rule, row["project_id"])
    return row


def _find_snapshot(call: Call, tx: Tx, rule: str) -> GroupSnapshotRow:
    row = groups.find_snapshot(tx, call.caller, call.params["id"])
    access.require(call, rule, row["project_id"])
    return row


def _list(
    call: Call, tx: Tx, resource: Resource[Any], rule: str, path: str, links_name: str
) -> tuple[Sequence[Mapping[str, Any]], dict[str, Any]]:
    access.require(call, rule)
    known, special = filters.known(call, resource), filters.special(call, resource)
    conditions = lists.of_projects(call, volume_tables.table_of(resource))
    return lists.page(call, tx, resource, path, conditions, known=known, special=special, links_name=links_name)


def _shown(call: Call, tx: Tx, row: GroupRow | Mapping[str, Any]) -> dict[str, Any]:
    shown = _of(call, GROUP, {**row, "replication_status": "disabled"}, "group:group_project_attribute")
    if call.version >= 25 and bodies.value("list_volume", Flag(), call.get("list_volume", "false")):
        shown["volumes"] = [each["id"] for each in groups.volumes_of(tx, row["id"])]
    return shown


def _shown_snapshot(call: Call, row: GroupSnapshotRow | Mapping[str, Any]) -> dict[str, Any]:
    return _of(call, GROUP_SNAPSHOT, row, "group:group_snapshot_project_attribute")


def _of(call: Call, resource: Resource[Any], values: Mapping[str, Any], rule: str) -> dict[str, Any]:
    """What the declaration shows in the request's microversion, and whose it is to who may know."""
    since = SINCE[resource.name]
    return {
        name: values[name]
        for name, attribute in resource.by_name.items()
        if attribute.read
        and call.version >= since.get(name, 0)
        and (name != "project_id" or access.allowed(call, rule, values["project_id"]))
    }


def _stripped(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: value.strip() if name in ("name", "description") and value is not None else value
        for name, value in values.items()
    }

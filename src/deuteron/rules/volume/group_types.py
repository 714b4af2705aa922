"""Group types: made by administrators; projects see those that are public.

Source: cinder/volume/group_types.py; cinder/api/v3/group_types.py, group_specs.py.
"""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import ColumnElement

from deuteron.model.caller import Caller
from deuteron.model.errors import BadRequest, Conflict, NotFound
from deuteron.model.volume import GROUP_TYPE
from deuteron.model.volume.codecs import without_nulls
from deuteron.model.volume.groups import OF_CONSISTENCY_GROUPS
from deuteron.model.volume.rows import GroupTypeRow
from deuteron.rules.volume import faults, kinds
from deuteron.store import query
from deuteron.store.database import Tx
from deuteron.store.volume_tables import group_types, groups


def bootstrap(tx: Tx) -> None:
    """The type that groups of the older API had, as every Cinder has it."""
    if _named(tx, OF_CONSISTENCY_GROUPS) is None:
        specs = {"consistent_group_snapshot_enabled": "<is> True"}
        kinds.add(tx, GROUP_TYPE, {"name": OF_CONSISTENCY_GROUPS, "is_public": True, "group_specs": specs,
                                   "description": "Default group type for migrating cgsnapshot"})  # fmt: skip


def visible(caller: Caller) -> ColumnElement[bool] | None:
    """Which types the caller may see; None is all."""
    return None if caller.is_admin else group_types.c.is_public


def find(tx: Tx, caller: Caller, type_id: str) -> GroupTypeRow:
    """Raises: NotFound."""
    if type_id == "default":
        raise NotFound("Default group type can not be found.", type="HTTPNotFound")
    row = kinds.find(tx, GROUP_TYPE, type_id)
    if not (caller.is_admin or row["is_public"]):
        raise faults.missing(GROUP_TYPE, type_id)
    return row


def wanted(tx: Tx, caller: Caller, asked: str) -> GroupTypeRow:
    """The type that a request names by id or name. Raises: NotFound; BadRequest for that of the older API."""
    row = kinds.seen(tx, GROUP_TYPE, asked) or _named(tx, asked)
    if row is None or not (caller.is_admin or row["is_public"]):
        raise faults.missing(GROUP_TYPE, asked)
    if row["name"] == OF_CONSISTENCY_GROUPS:
        raise BadRequest(
            f"Group_type {row['id']} is reserved for migrating CGs to groups. Migrated group can only be operated by "
            "CG APIs.",
            type="HTTPBadRequest",
        )
    return row


def create(tx: Tx, values: Mapping[str, object]) -> GroupTypeRow:
    """Raises: Conflict for a name that is taken."""
    _refuse_taken(tx, str(values["name"]))
    specs = values["group_specs"]
    return kinds.add(tx, GROUP_TYPE, {**values, "group_specs": without_nulls(specs if isinstance(specs, dict) else {})})


def update(tx: Tx, row: GroupTypeRow, values: Mapping[str, object]) -> GroupTypeRow:
    """Raises: Conflict; BadRequest when nothing is to be changed."""
    given = {name: value for name, value in values.items() if value is not None}
    if not given:
        raise BadRequest("Specify group type name, description or a combination thereof.", type="HTTPBadRequest")
    if "name" in given and given["name"] != row["name"]:
        _refuse_taken(tx, str(given["name"]))
    return kinds.change(tx, GROUP_TYPE, row, given)


def remove(tx: Tx, row: GroupTypeRow) -> None:
    """Raises: BadRequest for one that groups have."""
    if query.first(tx, groups, groups.c.group_type == row["id"]) is not None:
        raise BadRequest("Target group type is still in use.", type="HTTPBadRequest")
    kinds.remove(tx, GROUP_TYPE, row["id"])


def set_specs(tx: Tx, row: GroupTypeRow, specs: Mapping[str, str | None]) -> None:
    merged: dict[str, str | None] = {**row["group_specs"], **specs}
    kinds.change(tx, GROUP_TYPE, row, {"group_specs": without_nulls(merged)})


def require_spec(row: GroupTypeRow, key: str) -> str:
    """The value of a spec. Raises: NotFound."""
    value = row["group_specs"].get(key)
    if value is None:
        raise NotFound(f"Group Type {row['id']} has no specs with key {key}.", type="GroupTypeSpecsNotFound")
    return str(value)


def remove_spec(tx: Tx, row: GroupTypeRow, key: str) -> None:
    """Raises: NotFound."""
    require_spec(row, key)
    left = {name: value for name, value in row["group_specs"].items() if name != key}
    kinds.change(tx, GROUP_TYPE, row, {"group_specs": left})


def _named(tx: Tx, name: str) -> GroupTypeRow | None:
    return query.first(tx, group_types, group_types.c.name == name)


def _refuse_taken(tx: Tx, name: str) -> None:
    if _named(tx, name) is not None:
        raise Conflict(f"Group Type {name} already exists.", type="GroupTypeExists")

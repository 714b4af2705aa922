"""Volume types: made by administrators, seen by the projects that may use them.

Source: cinder/volume/volume_types.py, cinder/api/contrib/types_extra_specs.py, volume_type_access.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from sqlalchemy import ColumnElement, or_, select

from deuteron.model.caller import Caller
from deuteron.model.errors import BadRequest, Conflict, NotFound
from deuteron.model.volume import VOLUME_TYPE
from deuteron.model.volume.codecs import without_nulls
from deuteron.model.volume.rows import VolumeTypeRow
from deuteron.model.volume.types import DEFAULT_TYPE
from deuteron.rules.volume import default_types, faults, kinds
from deuteron.store import query
from deuteron.store.database import Tx
from deuteron.store.expressions import has_word
from deuteron.store.volume_tables import volume_types, volumes

MULTIATTACH: Final = "<is> True"
"""What the extra spec `multiattach` says of a type whose volumes several servers may have at once.

Source: cinder/volume/api.py `_is_multiattach`."""
STORE_SPEC: Final = "image_service:store_id"
"""The store that images of volumes of a type go to; the default one without it."""
VISIBLE_SPECS: Final = ("RESKEY:availability_zones", "multiattach", "replication_enabled")
"""What everybody may read. Source: cinder/policies/type_extra_specs.py USER_VISIBLE_EXTRA_SPECS."""


def bootstrap(tx: Tx) -> None:
    """The type that volumes have who name none."""
    if named(tx, DEFAULT_TYPE) is None:
        _add(tx, {"name": DEFAULT_TYPE, "description": "Default Volume Type", "is_public": True, "extra_specs": {}})


def visible(caller: Caller) -> ColumnElement[bool] | None:
    """Which types the caller may see; None is all."""
    if caller.is_admin:
        return None
    return or_(volume_types.c.is_public, has_word(volume_types.c.projects, caller.project_id or ""))


def find(tx: Tx, caller: Caller, type_id: str) -> VolumeTypeRow:
    """The type, if the caller may see it. Raises: NotFound."""
    row = kinds.find(tx, VOLUME_TYPE, type_id)
    if not (caller.is_admin or row["is_public"] or caller.project_id in row["projects"]):
        raise faults.missing(VOLUME_TYPE, type_id)
    return row


def named(tx: Tx, name: str) -> VolumeTypeRow | None:
    return query.first(tx, volume_types, volume_types.c.name == name)


def names(tx: Tx) -> dict[str, str]:
    """The name of each type, by its id."""
    return {row.id: row.name for row in tx.all(select(volume_types.c.id, volume_types.c.name))}


def default(tx: Tx, caller: Caller) -> VolumeTypeRow:
    """The one of the caller's project, or else of all.

    Raises: NotFound when an administrator renamed that, or the project may not use the one that was set for it.
    """
    own = default_types.of_project(tx, caller.project_id)
    if own is not None:
        return find(tx, caller, own)
    row = named(tx, DEFAULT_TYPE)
    if row is None:
        raise NotFound("Default volume type can not be found.", type="VolumeTypeNotFound")
    return row


def wanted(tx: Tx, caller: Caller, asked: str | None) -> VolumeTypeRow:
    """The type that a request names by id or name, the default one for none. Raises: NotFound."""
    if not asked:
        return default(tx, caller)
    row = kinds.seen(tx, VOLUME_TYPE, asked) or named(tx, asked)
    if row is None or not (caller.is_admin or row["is_public"] or caller.project_id in row["projects"]):
        raise NotFound(f"Volume type with name {asked} could not be found.", type="VolumeTypeNotFoundByName")
    return row


def is_multiattach(row: VolumeTypeRow) -> bool:
    return row["extra_specs"].get("multiattach") == MULTIATTACH


def specs_of(tx: Tx, type_id: str | None) -> Mapping[str, object]:
    """What a type demands; nothing for one that is none."""
    row = None if type_id is None else kinds.seen(tx, VOLUME_TYPE, type_id)
    return {} if row is None else row["extra_specs"]


def create(tx: Tx, values: Mapping[str, object]) -> VolumeTypeRow:
    """Raises: Conflict for a name that is taken."""
    _refuse_taken(tx, str(values["name"]))
    specs = values["extra_specs"]
    return _add(tx, {**values, "extra_specs": without_nulls(specs if isinstance(specs, dict) else {})})


def _add(tx: Tx, values: Mapping[str, object]) -> VolumeTypeRow:
    return kinds.add(tx, VOLUME_TYPE, {"projects": [], **values})


def update(tx: Tx, row: VolumeTypeRow, values: Mapping[str, object]) -> VolumeTypeRow:
    """Raises: Conflict; BadRequest when nothing is to be changed."""
    given = {name: value for name, value in values.items() if value is not None}
    if not given:
        raise BadRequest("Specify volume type name, description, is_public or a combination thereof.")
    if "name" in given and given["name"] != row["name"]:
        _refuse_taken(tx, str(given["name"]))
    return kinds.change(tx, VOLUME_TYPE, row, given)


def remove(tx: Tx, row: VolumeTypeRow) -> None:
    """Raises: BadRequest for the default type, of a project too, and for one that volumes have."""
    if row["name"] == DEFAULT_TYPE or default_types.is_any(tx, row["id"]):
        raise BadRequest(
            f"The volume type {row['id']} is a default volume type and cannot be deleted.",
            type="VolumeTypeDefaultDeletionError",
        )
    refuse_used(tx, row, "Target volume type is still in use.")
    kinds.remove(tx, VOLUME_TYPE, row["id"])


def refuse_used(tx: Tx, row: VolumeTypeRow, message: str, *, type: str = "VolumeTypeInUse") -> None:
    """Raises: BadRequest while volumes have the type, or are to have it."""
    coming = query.rows(tx, volumes, volumes.c.task.in_(("move", "retype")))
    is_awaited = any((each["move"] or {}).get("type_id") == row["id"] for each in coming)
    if is_awaited or query.first(tx, volumes, volumes.c.volume_type_id == row["id"]) is not None:
        raise BadRequest(message, type=type)


def set_specs(tx: Tx, row: VolumeTypeRow, specs: Mapping[str, str | None]) -> VolumeTypeRow:
    """Add extra specs to those that are there, and change them. Raises: BadRequest while volumes have the type."""
    refuse_used(tx, row, "Volume Type is currently in use.")
    merged: dict[str, str | None] = {**row["extra_specs"], **specs}
    return kinds.change(tx, VOLUME_TYPE, row, {"extra_specs": without_nulls(merged)})


def require_spec(row: VolumeTypeRow, key: str) -> str:
    """The value of an extra spec. Raises: NotFound."""
    value = row["extra_specs"].get(key)
    if value is None:
        raise NotFound(
            f"Volume Type {row['id']} has no extra specs with key {key}.", type="VolumeTypeExtraSpecsNotFound"
        )
    return str(value)


def remove_spec(tx: Tx, row: VolumeTypeRow, key: str) -> None:
    """Raises: NotFound, BadRequest."""
    refuse_used(tx, row, "Volume Type is currently in use.")
    require_spec(row, key)
    left = {name: value for name, value in row["extra_specs"].items() if name != key}
    kinds.change(tx, VOLUME_TYPE, row, {"extra_specs": left})


def projects(row: VolumeTypeRow) -> Sequence[str]:
    """Who may use it beside administrators. Raises: NotFound for a public type."""
    if row["is_public"]:
        raise NotFound("Access list not available for public volume types.", type="VolumeTypeAccessNotFound")
    return list(row["projects"])


def add_project(tx: Tx, row: VolumeTypeRow, project_id: str) -> None:
    """Raises: BadRequest for a public type, Conflict for a project that may already."""
    _refuse_public(row)
    if project_id in row["projects"]:
        raise Conflict(
            f"Volume type access for {row['id']} / {project_id} combination already exists.",
            type="VolumeTypeAccessExists",
        )
    kinds.change(tx, VOLUME_TYPE, row, {"projects": [*row["projects"], project_id]})


def remove_project(tx: Tx, row: VolumeTypeRow, project_id: str) -> None:
    """Raises: BadRequest for a public type, NotFound for a project that may not."""
    _refuse_public(row)
    if project_id not in row["projects"]:
        raise NotFound(
            f"Volume type access not found for {row['id']} / {project_id} combination.",
            type="VolumeTypeAccessNotFound",
        )
    kinds.change(tx, VOLUME_TYPE, row, {"projects": [each for each in row["projects"] if each != project_id]})


def _refuse_public(row: VolumeTypeRow) -> None:
    if row["is_public"]:
        raise BadRequest(
            "Invalid volume type: Type access modification is not applicable to public volume type.",
            type="InvalidVolumeType",
        )


def _refuse_taken(tx: Tx, name: str) -> None:
    if named(tx, name) is not None:
        raise Conflict(f"Volume Type {name} already exists.", type="VolumeTypeExists")

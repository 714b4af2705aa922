"""The requests about default types of projects, since 3.62.

Source: cinder/api/v3/default_types.py, cinder/api/schemas/default_types.py, cinder/api/v3/views/default_types.py.
"""

from __future__ import annotations

from typing import Any, Final

from deuteron.api.call import Call, Reply
from deuteron.api.volume import access, bodies
from deuteron.model.codecs import Text
from deuteron.model.errors import BadRequest, NotFound
from deuteron.rules.identity import projects
from deuteron.rules.volume import default_types, faults, types
from deuteron.store.database import Tx

_X: Final = "volume_extension:default_"
_NAME: Final = Text(255, min_length=1)


def list_all(call: Call, tx: Tx) -> Reply:
    access.require(call, f"{_X}get_all")
    shown = [_shown(str(row.project_id), str(row.volume_type_id)) for row in default_types.all_of_them(tx)]
    return Reply(200, {"default_types": shown})


def show(call: Call, tx: Tx) -> Reply:
    project_id = _project(call, tx, "get")
    return Reply(200, {"default_type": _shown(project_id, default_types.find(tx, project_id))})


def put(call: Call, tx: Tx) -> Reply:
    project_id = _project(call, tx, "set_or_update")
    given = bodies.wrapped(call, "default_type")
    bodies.refuse_others(given, ("volume_type",), "default_type")
    if "volume_type" not in given:
        raise faults.invalid("default_type", given, "'volume_type' is a required property")
    try:
        found = types.wanted(tx, call.caller, bodies.value("volume_type", _NAME, given["volume_type"]))
    except NotFound as error:
        raise BadRequest(error.message, type="HTTPBadRequest") from None
    default_types.put(tx, project_id, found["id"])
    return Reply(200, {"default_type": _shown(project_id, found["id"])})


def unset(call: Call, tx: Tx) -> Reply:
    default_types.unset(tx, _project(call, tx, "unset"))
    return Reply(204)


def _project(call: Call, tx: Tx, rule: str) -> str:
    """The project of the path, for a caller that may. Raises: Forbidden, NotFound."""
    project_id = call.params["id"]
    access.require(call, f"{_X}{rule}", project_id)
    try:
        projects.find_project(tx, project_id)
    except NotFound:
        raise NotFound(f"Project with id {project_id} not found.", type="HTTPNotFound") from None
    return project_id


def _shown(project_id: str, type_id: str) -> dict[str, Any]:
    return {"project_id": project_id, "volume_type_id": type_id}

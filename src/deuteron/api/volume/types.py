"""The requests about volume types: themselves, their extra specs, and who may use them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import ColumnElement, and_, false, true

from deuteron.api.call import Call, Reply
from deuteron.api.volume import access, bodies, lists
from deuteron.model.codecs import Text, quoted
from deuteron.model.errors import BadRequest, NotFound
from deuteron.model.volume import VOLUME_TYPE
from deuteron.model.volume.rows import VolumeTypeRow
from deuteron.model.volume.types import SPECS
from deuteron.rules.image import stores
from deuteron.rules.volume import kinds, types
from deuteron.store.database import Tx
from deuteron.store.expressions import has_item
from deuteron.store.volume_tables import volume_types

_X: Final = "volume_extension:"
_PROJECT: Final = Text(255, min_length=1)


def list_all(call: Call, tx: Tx) -> Reply:
    access.require(call, f"{_X}type_get_all")
    seen = types.visible(call.caller)
    conditions = [] if seen is None else [seen]
    is_public = _is_public(call)
    if is_public is not None:
        conditions.append(volume_types.c.is_public == is_public)
    rows, further = lists.page(
        call, tx, VOLUME_TYPE, "types", conditions, known=(), special=_special(call), links_name="volume_type"
    )
    return Reply(200, {"volume_types": [_shown(call, row, "list") for row in rows], **further})


def show(call: Call, tx: Tx) -> Reply:
    """One by its id, or the one called `default`."""
    wanted = call.params["id"]
    access.require(call, f"{_X}type_get")
    row = types.default(tx, call.caller) if wanted == "default" else types.find(tx, call.caller, wanted)
    return Reply(200, {"volume_type": _shown(call, row, "show" if wanted != "default" else "default")})


def create(call: Call, tx: Tx) -> Reply:
    access.require(call, f"{_X}type_create")
    values = bodies.created(VOLUME_TYPE, bodies.wrapped(call, "volume_type"))
    _refuse_unknown_store(call, values["extra_specs"])
    values["is_public"] = values.pop("os-volume-type-access:is_public")
    return Reply(200, {"volume_type": _shown(call, types.create(tx, values), "create")})


def update(call: Call, tx: Tx) -> Reply:
    access.require(call, f"{_X}type_update")
    body = {name: raw for name, raw in bodies.wrapped(call, "volume_type").items() if raw is not None}
    values = bodies.updated(VOLUME_TYPE, body)
    row = types.update(tx, kinds.find(tx, VOLUME_TYPE, call.params["id"]), values)
    return Reply(200, {"volume_type": _shown(call, row, "update")})


def remove(call: Call, tx: Tx) -> Reply:
    access.require(call, f"{_X}type_delete")
    types.remove(tx, kinds.find(tx, VOLUME_TYPE, call.params["id"]))
    return Reply(202)


def act(call: Call, tx: Tx) -> Reply:
    """Let a project use a type that is not public, or not any more."""
    body = bodies.document(call)
    name = next(iter(body), "")
    if name not in ("addProjectAccess", "removeProjectAccess") or len(body) != 1:
        raise BadRequest(
            f"There is no such action: {name[:80]}. Verify the request body and Content-Type header and try again.",
            type="HTTPBadRequest",
        )
    access.require(call, f"{_X}volume_type_access:{name}")
    given = bodies.wrapped(call, name)
    bodies.refuse_others(given, ("project",), name)
    project_id = bodies.value("project", _PROJECT, given.get("project"))
    row = kinds.find(tx, VOLUME_TYPE, call.params["id"])
    (types.add_project if name == "addProjectAccess" else types.remove_project)(tx, row, project_id)
    return Reply(202)


def list_access(call: Call, tx: Tx) -> Reply:
    access.require(call, f"{_X}volume_type_access:get_all_for_type")
    row = kinds.find(tx, VOLUME_TYPE, call.params["id"])
    shown = [{"volume_type_id": row["id"], "project_id": project_id} for project_id in types.projects(row)]
    return Reply(200, {"volume_type_access": shown})


def list_specs(call: Call, tx: Tx) -> Reply:
    access.require(call, f"{_X}types_extra_specs:index")
    return Reply(200, {"extra_specs": _specs(call, types.find(tx, call.caller, call.params["id"]))})


def show_spec(call: Call, tx: Tx) -> Reply:
    access.require(call, f"{_X}types_extra_specs:show")
    row, key = types.find(tx, call.caller, call.params["id"]), call.params["key"]
    shown = {**row, "extra_specs": _specs(call, row)}
    return Reply(200, {key: types.require_spec(shown, key)})  # type: ignore[arg-type]  # the row with fewer of its specs


def create_specs(call: Call, tx: Tx) -> Reply:
    access.require(call, f"{_X}types_extra_specs:create")
    given = bodies.wrapped(call, "extra_specs")
    specs = bodies.value("extra_specs", SPECS, given)
    _refuse_unknown_store(call, specs)
    types.set_specs(tx, kinds.find(tx, VOLUME_TYPE, call.params["id"]), specs)
    return Reply(200, {"extra_specs": given})


def update_spec(call: Call, tx: Tx) -> Reply:
    access.require(call, f"{_X}types_extra_specs:update")
    given = bodies.value("body", SPECS, bodies.document(call))
    if list(given) != [call.params["key"]]:
        raise BadRequest("Request body and URI mismatch", type="HTTPBadRequest")
    _refuse_unknown_store(call, given)
    types.set_specs(tx, kinds.find(tx, VOLUME_TYPE, call.params["id"]), given)
    return Reply(200, given)


def _refuse_unknown_store(call: Call, specs: Any) -> None:
    """Raises: NotFound for a store of images that there is not, before the type is looked for."""
    name = (specs or {}).get(types.STORE_SPEC)
    if name is not None and stores.named(call.settings.operator.image, name) is None:
        raise NotFound(f"Store {quoted(name)} not enabled in glance.", type="GlanceStoreNotFound")


def remove_spec(call: Call, tx: Tx) -> Reply:
    access.require(call, f"{_X}types_extra_specs:delete")
    types.remove_spec(tx, kinds.find(tx, VOLUME_TYPE, call.params["id"]), call.params["key"])
    return Reply(202)


def _special(call: Call) -> Mapping[str, Callable[[Sequence[str]], ColumnElement[bool]]]:
    """The filter by extra specs, which came with 3.52; of those that the caller may not read it finds nothing."""
    if call.version < 52:
        return {}

    def of_specs(texts: Sequence[str]) -> ColumnElement[bool]:
        wanted = lists.pairs_of("extra_specs", texts[0])
        if not access.allowed(call, f"{_X}types_extra_specs:read_sensitive") and set(wanted) - {*types.VISIBLE_SPECS}:
            return false()
        return and_(true(), *(has_item(volume_types.c.extra_specs, key, value) for key, value in wanted.items()))

    return {"extra_specs": of_specs}


def _is_public(call: Call) -> bool | None:
    """Of which types an administrator asks: public ones, others, or (`None`) all; public ones unless told.

    Raises: BadRequest.
    """
    if not call.caller.is_admin:
        return None
    text = call.get("is_public")
    if text is None or text.lower() in ("true", "t", "yes", "y", "on", "1"):
        return True
    if text.lower() == "none":
        return None
    if text.lower() in ("false", "f", "no", "n", "off", "0"):
        return False
    raise BadRequest(f"Invalid is_public filter [{text[:80]}]", type="HTTPBadRequest")


def _specs(call: Call, row: Mapping[str, Any]) -> dict[str, str]:
    """What of its extra specs the caller may read."""
    if access.allowed(call, f"{_X}types_extra_specs:read_sensitive"):
        return dict(row["extra_specs"])
    return {key: value for key, value in row["extra_specs"].items() if key in types.VISIBLE_SPECS}


def _shown(call: Call, row: VolumeTypeRow | Mapping[str, Any], where: str) -> dict[str, Any]:
    shown: dict[str, Any] = {name: row[name] for name in ("id", "name", "is_public", "description")}
    if access.allowed(call, f"{_X}access_types_extra_specs"):
        shown["extra_specs"] = _specs(call, row)
    if where in ("list", "show", "default") and access.allowed(call, f"{_X}access_types_qos_specs_id"):
        shown["qos_specs_id"] = row["qos_specs_id"]
    if where in ("list", "show", "create") and access.allowed(call, f"{_X}volume_type_access"):
        shown["os-volume-type-access:is_public"] = row["is_public"]
    return shown

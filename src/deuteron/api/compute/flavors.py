"""Flavors as requests ask for them, with extra specs and access lists."""

from __future__ import annotations

import re
import uuid
from dataclasses import replace
from typing import Any, Final

from deuteron.api.call import Call, Reply
from deuteron.api.compute import access, extra_specs, paging, patterns, shapes
from deuteron.api.compute.bodies import Body, wrapped
from deuteron.api.compute.versions import only_from
from deuteron.model.codecs import quoted, whole_number
from deuteron.model.compute import FLAVOR
from deuteron.model.errors import BadRequest, Conflict, NotFound
from deuteron.rules.compute import flavors
from deuteron.rules.compute.faults import invalid
from deuteron.rules.compute.flavors import MAX_SPECS, NewFlavor, find
from deuteron.rules.compute.lifecycle import ServerRow
from deuteron.store import listing
from deuteron.store.compute_tables import flavors as table
from deuteron.store.database import Tx
from deuteron.store.listing import Listing
from deuteron.store.query import Order

_SPEC_KEY = re.compile(r"[a-zA-Z0-9\-_:. ]{1,255}")


def list_brief(call: Call, tx: Tx) -> Reply:
    return _list(call, tx, detail=False)


def list_detail(call: Call, tx: Tx) -> Reply:
    return _list(call, tx, detail=True)


def show(call: Call, tx: Tx) -> Reply:
    return Reply(200, {"flavor": _detail(call, find(tx, call.caller, call.params["id"]))})


def create(call: Call, tx: Tx) -> Reply:
    body = shapes.check(wrapped(call, "flavor"), shapes.FLAVOR, call.version)
    access.require(call, "os-flavor-manage:create")
    wanted = body.raw.get("id")
    flavor_id = str(uuid.uuid4()) if wanted in (None, "auto") else str(wanted)
    if not re.fullmatch(r"[a-zA-Z0-9\-_. ]{1,255}", flavor_id) or flavor_id != flavor_id.strip():
        raise invalid("id", wanted, f"'{wanted}' does not match '^(?! )[a-zA-Z0-9. _-]+(?<! )$'")
    new = NewFlavor(
        id=flavor_id,
        name=body.name(),
        vcpus=body.integer("vcpus", least=1, most=2**31 - 1),
        ram=body.integer("ram", least=1, most=2**31 - 1),
        disk=body.integer("disk", least=0, most=2**31 - 1),
        ephemeral=body.integer("OS-FLV-EXT-DATA:ephemeral", least=0, most=2**31 - 1),
        swap=0 if body.raw.get("swap") in (None, "") else body.integer("swap", least=0, most=2**31 - 1),
        is_public=body.boolean("os-flavor-access:is_public", True),
        description=body.text("description", most=65535),
        rxtx_factor=_factor(body.raw.get("rxtx_factor", 1.0)),
    )
    flavors.create(tx, new)
    return Reply(200, {"flavor": _detail(call, find(tx, call.caller, flavor_id))})


def _factor(factor: Any) -> str:
    """The share of bandwidth, kept and shown as in Nova, where only the Xen driver ever used it. Raises: BadRequest."""
    if isinstance(factor, bool) or not re.fullmatch(r"[0-9]{1,38}(\.[0-9]{1,38})?", str(factor)):
        raise invalid("rxtx_factor", factor, f"'{factor}' does not match '^[0-9]+(\\.[0-9]+)?$'")
    if not 0 < float(factor) <= 3.40282e38:
        raise invalid("rxtx_factor", factor, f"{factor} is not more than 0 and at most 3.40282e+38")
    return str(float(factor))


def update_description(call: Call, tx: Tx) -> Reply:
    only_from(call, 55)
    body = shapes.check(wrapped(call, "flavor"), shapes.FLAVOR_UPDATE, call.version)
    access.require(call, "os-flavor-manage:update")
    row = find(tx, call.caller, call.params["id"])
    flavors.describe(tx, row, body.text("description", most=65535))
    return Reply(200, {"flavor": _detail(call, find(tx, call.caller, row.id))})


def remove(call: Call, tx: Tx) -> Reply:
    access.require(call, "os-flavor-manage:delete")
    flavors.remove(tx, find(tx, call.caller, call.params["id"]))
    return Reply(202)


# --- extra specs ------------------------------------------------------------------------------------------------------


def list_specs(call: Call, tx: Tx) -> Reply:
    access.require(call, "os-flavor-extra-specs:index")
    return Reply(200, {"extra_specs": find(tx, call.caller, call.params["id"]).extra_specs or {}})


def show_spec(call: Call, tx: Tx) -> Reply:
    access.require(call, "os-flavor-extra-specs:show")
    row, key = find(tx, call.caller, call.params["id"]), call.params["key"]
    return Reply(200, {key: flavors.spec(row, key)})


def create_specs(call: Call, tx: Tx) -> Reply:
    given = _specs(call, "extra_specs", wrapped(call, "extra_specs").raw)
    access.require(call, "os-flavor-extra-specs:create")
    row = find(tx, call.caller, call.params["id"])
    flavors.add_specs(tx, row, given)
    return Reply(200, {"extra_specs": given})


def update_spec(call: Call, tx: Tx) -> Reply:
    access.require(call, "os-flavor-extra-specs:update")
    row, key = find(tx, call.caller, call.params["id"]), call.params["key"]
    given = _specs(call, "extra_specs", call.json())
    if set(given) != {key}:
        raise BadRequest("Request body and URI mismatch", type="HTTPBadRequest")
    flavors.add_specs(tx, row, given)
    return Reply(200, given)


def remove_spec(call: Call, tx: Tx) -> Reply:
    access.require(call, "os-flavor-extra-specs:delete")
    row, key = find(tx, call.caller, call.params["id"]), call.params["key"]
    flavors.remove_spec(tx, row, key)
    return Reply(200)


# --- access -----------------------------------------------------------------------------------------------------------


def list_access(call: Call, tx: Tx) -> Reply:
    access.require(call, "os-flavor-access")
    row = find(tx, call.caller, call.params["id"])
    if row.is_public:
        raise NotFound("Access list not available for public flavors.", type="FlavorAccess")
    return Reply(200, _access(row))


def act(call: Call, tx: Tx) -> Reply:
    """Grant or take a project's access to a flavor that is not public."""
    body = call.json()
    action = next(iter(body), "") if isinstance(body, dict) else ""
    if action not in ("addTenantAccess", "removeTenantAccess"):
        raise BadRequest(f"There is no such action: {action}", type="NoSuchAction")
    adds = action == "addTenantAccess"
    access.require(call, f"os-flavor-access:{'add' if adds else 'remove'}_tenant_access")
    project = Body(action, body[action]).only((), ("tenant",)).text("tenant", least=1)
    if project is None:
        raise invalid("tenant", None, "None is not of type 'string'")
    row = find(tx, call.caller, call.params["id"])
    if adds and row.is_public and call.version >= 7:
        raise Conflict("Can not add access to a public flavor.", type="FlavorAccess")
    (flavors.grant if adds else flavors.revoke)(tx, row, project)
    return Reply(200, _access(find(tx, call.caller, row.id)))


def _list(call: Call, tx: Tx, *, detail: bool) -> Reply:
    seen = flavors.visible(call.caller)
    conditions = [] if seen is None else [seen]
    public = call.get("is_public")
    if call.caller.is_admin and public is not None:
        if public.lower() in ("true", "1", "t", "yes"):
            conditions.append(table.c["is_public"])
        elif public.lower() in ("false", "0", "f", "no"):
            conditions.append(~table.c["is_public"])
        elif public.lower() != "none":
            raise BadRequest(f"Invalid is_public filter [{public}]", type="HTTPBadRequest")
    elif call.caller.is_admin:
        conditions.append(table.c["is_public"])
    for name, column in (("minRam", "ram"), ("minDisk", "disk")):
        text = call.get(name)
        if text is not None:
            number = whole_number(text.removeprefix("-"))
            if number is None:
                raise BadRequest(f"Invalid {name} filter [{text}]", type="HTTPBadRequest")
            conditions.append(table.c[column] >= (-number if text.startswith("-") else number))
    asked_name = call.get("name")
    if asked_name is not None:
        wanted = patterns.pattern("name", asked_name)
        conditions.append(patterns.regex(tx, "name", table.c["name"], wanted, conditions, patterns.Search()))
    asked = listing.read(call.query, _WORDS)
    by_id = [Order("id", asked.directions == ("desc",))]
    sorts_by = _column if call.version < 102 else _column_without_factor
    order = listing.order_of(asked, _WORDS, "flavors", sorts_by, last=by_id)
    where = "flavors/detail" if detail else "flavors"
    rows, links = paging.page(call, tx, Listing(table, conditions, order), "flavors", where)
    shown = [_detail(call, row) if detail else _brief(call, row) for row in rows]
    return Reply(200, {"flavors": shown, **links})


_WORDS: Final = replace(paging.WORDS, many_keys=False)
_COLUMNS: Final = {"": "id", "flavorid": "id", "memory_mb": "ram", "root_gb": "disk", "ephemeral_gb": "ephemeral"}


def _column(key: str) -> str | None:
    name = _COLUMNS.get(key, key)
    attribute = FLAVOR.attribute(name)
    return None if attribute is None or attribute.codec.column == "json" else name


def _column_without_factor(key: str) -> str | None:
    return None if key == "rxtx_factor" else _column(key)


def _brief(call: Call, row: ServerRow) -> dict[str, Any]:
    shown = {"id": row.id, "name": row.name, "links": paging.links(call, f"flavors/{row.id}")}
    return {**shown, "description": row.description} if call.version >= 55 else shown


def _detail(call: Call, row: ServerRow) -> dict[str, Any]:
    shown = {
        **_brief(call, row),
        "ram": row.ram,
        "disk": row.disk,
        "swap": row.swap if call.version >= 75 else row.swap or "",
        "OS-FLV-EXT-DATA:ephemeral": row.ephemeral,
        "OS-FLV-DISABLED:disabled": bool(row.disabled),
        "vcpus": row.vcpus,
        "os-flavor-access:is_public": bool(row.is_public),
        "rxtx_factor": float(row.rxtx_factor or 1.0),
    }
    if call.version >= 61:
        shown["extra_specs"] = row.extra_specs or {}
    if call.version >= 102:
        del shown["OS-FLV-DISABLED:disabled"], shown["rxtx_factor"]
    return shown


def _access(row: ServerRow) -> dict[str, Any]:
    return {"flavor_access": [{"flavor_id": row.id, "tenant_id": project} for project in row.projects or ()]}


def _specs(call: Call, path: str, raw: Any) -> dict[str, str]:
    if not isinstance(raw, dict):
        raise invalid(path, raw, f"{quoted(raw)} is not of type 'object'")
    if len(raw) > MAX_SPECS:
        raise invalid(path, raw, f"it has too many properties: {len(raw)}, at most {MAX_SPECS} are accepted")
    result = {}
    for key, value in raw.items():
        if not _SPEC_KEY.fullmatch(key):
            raise invalid(
                path, raw, f"'{quoted(key)}' does not match any of the regexes: '^[a-zA-Z0-9-_:. ]{{1,255}}$'"
            )
        if isinstance(value, bool) or not isinstance(value, str | int | float) or len(str(value)) > 255:
            raise invalid(f"{path}.{key}", value, f"{quoted(value)} is not of type 'string'")
        result[key] = str(value)
    if call.version >= 86:
        extra_specs.check(result)
    return result

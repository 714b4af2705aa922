"""Traits and resource classes by their names.

Source: placement/handlers/trait.py, resource_class.py.
"""

from __future__ import annotations

import re
from typing import Any

from sqlalchemy import select

from deuteron.api.call import Call, Reply
from deuteron.api.placement import access, shapes
from deuteron.api.placement.answers import PREFIX, dated, location, newest, require_accept, require_json
from deuteron.model.errors import BadRequest, Conflict
from deuteron.rules.placement import names
from deuteron.store.database import Tx
from deuteron.store.placement_tables import provider_traits


def list_traits(call: Call, tx: Tx) -> Reply:
    require_accept(call)
    access.require(call, "traits:list")
    query = shapes.read_query(call, shapes.TRAITS_QUERY)
    found = names.all_traits(tx)
    if "name" in query:
        operator, colon, value = query["name"].partition(":")
        if not colon:
            raise BadRequest(
                "Badly formatted name parameter. Expected name query string parameter in form: "
                f'?name=[in|startswith]:[name1,name2|prefix]. Got: "{query["name"][:200]}"'
            )
        if operator == "in":
            wanted = set(value.split(","))
            found = [name for name in found if name in wanted]
        elif operator == "startswith":
            found = [name for name in found if name.startswith(value)]
    if "associated" in query:
        wish = query["associated"].lower()
        if wish not in ("true", "false"):
            raise BadRequest('The query parameter "associated" only accepts "true" or "false"')
        had = set(tx.scalars(select(provider_traits.c.trait).distinct()))
        found = [name for name in found if (name in had) == (wish == "true")]
    custom = [name for name in found if name not in names.standard_traits()]
    changed = newest(tx, (names.trait_made(tx, name) for name in custom))
    return dated(call, {"traits": found}, changed)


def show_trait(call: Call, tx: Tx) -> Reply:
    access.require(call, "traits:show")
    made = names.trait_made(tx, call.params["name"])
    return dated(call, None, made or tx.now, 204)


def make_trait(call: Call, tx: Tx) -> Reply:
    access.require(call, "traits:update")
    name = call.params["name"]
    if not re.fullmatch(shapes.CUSTOM.strip("^$"), name) or len(name) > 255:
        raise BadRequest(
            "The trait is invalid. A valid trait must be no longer than 255 characters, start with the prefix "
            '"CUSTOM_" and use following characters: "A"-"Z", "0"-"9" and "_"'
        )
    is_new = names.make_trait(tx, name)
    where = location(call, f"/traits/{name}")
    return dated(call, None, names.trait_made(tx, name) or tx.now, 201 if is_new else 204, location=where)


def remove_trait(call: Call, tx: Tx) -> Reply:
    access.require(call, "traits:delete")
    names.remove_trait(tx, call.params["name"])
    return Reply(204)


# --- resource classes -------------------------------------------------------------------------------------------------


def list_classes(call: Call, tx: Tx) -> Reply:
    require_accept(call)
    access.require(call, "resource_classes:list")
    found = names.all_classes(tx)
    changed = newest(tx, (names.class_changed(tx, name) for name in found))
    return dated(call, {"resource_classes": [_class(name) for name in found]}, changed)


def show_class(call: Call, tx: Tx) -> Reply:
    require_accept(call)
    access.require(call, "resource_classes:show")
    name = call.params["name"]
    return dated(call, _class(name), names.class_changed(tx, name) or tx.now)


def create_class(call: Call, tx: Tx) -> Reply:
    require_json(call)
    access.require(call, "resource_classes:create")
    name = shapes.read(call, shapes.CLASS)["name"]
    if names.has_class(tx, name):
        raise Conflict(f"Conflicting resource class already exists: {name}")
    names.make_class(tx, name)
    return Reply(201, None, {"location": location(call, f"/resource_classes/{name}")})


def put_class(call: Call, tx: Tx) -> Reply:
    """Another name for it; from microversion 1.7 on, that there is such a class."""
    name = call.params["name"]
    if call.version < 7:
        require_json(call)
        access.require(call, "resource_classes:update")
        new = shapes.read(call, shapes.CLASS)["name"]
        names.rename_class(tx, name, new)
        return Reply(200, _class(new))
    access.require(call, "resource_classes:update")
    shapes.read_name(name)
    is_there = names.has_class(tx, name)
    if not is_there:
        names.make_class(tx, name)
    return Reply(204 if is_there else 201, None, {"location": location(call, f"/resource_classes/{name}")})


def remove_class(call: Call, tx: Tx) -> Reply:
    access.require(call, "resource_classes:delete")
    names.remove_class(tx, call.params["name"])
    return Reply(204)


def _class(name: str) -> dict[str, Any]:
    return {"name": name, "links": [{"rel": "self", "href": f"{PREFIX}/resource_classes/{name}"}]}

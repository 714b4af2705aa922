"""The requests about what is in a namespace of metadata definitions: objects, properties, tags, types of resources."""

from __future__ import annotations

from typing import Any, Final

from deuteron.api.call import Call, Mode, Reply, Route
from deuteron.api.image import metadefs as spaces
from deuteron.api.image.policies import require
from deuteron.model.errors import BadRequest, Forbidden, NotFound
from deuteron.model.image_rows import MetadefNamespaceRow, MetadefPartRow
from deuteron.model.metadefs import ASSOCIATION, NAMED_PROPERTY, OBJECT, TAG, TAGS
from deuteron.rules.image import metadefs
from deuteron.rules.image.metadefs import NewPart
from deuteron.store import listing
from deuteron.store.database import Tx
from deuteron.store.query import Order

_ONE: Final = spaces.PATH + "/{namespace}"
_TIMES: Final = ("created_at", "updated_at")
_TRUE: Final = ("1", "t", "true", "on", "y", "yes")
_ORDER: Final = (Order("created_at", descending=True),)


def routes() -> tuple[Route, ...]:
    write = Mode.WRITE
    return (
        Route("GET", _ONE + "/objects", _list_objects),
        Route("POST", _ONE + "/objects", _create_object, write),
        Route("DELETE", _ONE + "/objects", _delete_objects, write),
        Route("GET", _ONE + "/objects/{name}", _show_object),
        Route("PUT", _ONE + "/objects/{name}", _update_object, write),
        Route("DELETE", _ONE + "/objects/{name}", _delete_object, write),
        Route("GET", _ONE + "/properties", _list_properties),
        Route("POST", _ONE + "/properties", _create_property, write),
        Route("DELETE", _ONE + "/properties", _delete_properties, write),
        Route("GET", _ONE + "/properties/{name}", _show_property),
        Route("PUT", _ONE + "/properties/{name}", _update_property, write),
        Route("DELETE", _ONE + "/properties/{name}", _delete_property, write),
        Route("GET", _ONE + "/tags", _list_tags),
        Route("POST", _ONE + "/tags", _create_tags, write),
        Route("DELETE", _ONE + "/tags", _delete_tags, write),
        Route("GET", _ONE + "/tags/{name}", _show_tag),
        Route("POST", _ONE + "/tags/{name}", _create_tag, write),
        Route("PUT", _ONE + "/tags/{name}", _update_tag, write),
        Route("DELETE", _ONE + "/tags/{name}", _delete_tag, write),
        Route("GET", _ONE + "/resource_types", _list_associations),
        Route("POST", _ONE + "/resource_types", _associate, write),
        Route("DELETE", _ONE + "/resource_types/{name}", _dissociate, write),
    )


# --- objects ----------------------------------------------------------------------------------------------------------


def _list_objects(call: Call, tx: Tx) -> Reply:
    row = spaces.found(call, tx, "get_metadef_objects")
    found = [spaces.shown_object(row, part) for part in _page(call, tx, row, "object")]
    return Reply(200, {"objects": found, "schema": "/v2/schemas/metadefs/objects"})


def _create_object(call: Call, tx: Tx) -> Reply:
    row = spaces.found(call, tx, "add_metadef_object")
    new = _new_object(call)
    metadefs.add(tx, row, [new])
    made = spaces.shown_object(row, metadefs.part(tx, row, "object", new.name))
    return Reply(201, made, {"Location": f"{call.base_url}/image{made['self']}"})


def _show_object(call: Call, tx: Tx) -> Reply:
    row = spaces.found(call, tx, "get_metadef_object")
    return Reply(200, spaces.shown_object(row, _part(call, tx, row, "object")))


def _update_object(call: Call, tx: Tx) -> Reply:
    row = spaces.found(call, tx, "modify_metadef_object")
    old = _part(call, tx, row, "object")
    return Reply(200, spaces.shown_object(row, metadefs.change_part(tx, row, old, _new_object(call))))


def _delete_object(call: Call, tx: Tx) -> Reply:
    row = spaces.found(call, tx, "delete_metadef_object")
    metadefs.remove_part(tx, row, _part(call, tx, row, "object"))
    return Reply(204)


def _delete_objects(call: Call, tx: Tx) -> Reply:
    metadefs.remove_kind(tx, spaces.found(call, tx, "delete_metadef_namespace"), "object")
    return Reply(204)


def _new_object(call: Call) -> NewPart:
    body = spaces.decode(call, OBJECT, "object", ("self", "schema", *_TIMES))
    spaces.check_object(body)
    return spaces.new_part("object", body)


# --- properties -------------------------------------------------------------------------------------------------------


def _list_properties(call: Call, tx: Tx) -> Reply:
    row = spaces.found(call, tx, "get_metadef_properties")
    return Reply(200, {"properties": {part["name"]: part["body"] for part in metadefs.of_kind(tx, row, "property")}})


def _create_property(call: Call, tx: Tx) -> Reply:
    row = spaces.found(call, tx, "add_metadef_property")
    new = _new_property(call)
    metadefs.add(tx, row, [new])
    return Reply(201, {**new.body, "name": new.name})


def _show_property(call: Call, tx: Tx) -> Reply:
    """With `resource_type`, under the name that it has there.

    Raises: NotFound, also for a name without the prefix of that type of resources.
    """
    row = spaces.found(call, tx, "get_metadef_property")
    name, wanted = call.params["name"], call.get("resource_type")
    if wanted:
        require(call, "get_metadef_resource_type", spaces.target(row))
        prefix = metadefs.part(tx, row, "resource_type", wanted)["body"].get("prefix")
        if not prefix or not name.startswith(prefix):
            raise NotFound(
                f"Property {name} does not start with the expected resource type association prefix of '{prefix}'."
            )
        name = name[len(prefix) :]
    return Reply(200, _shown_property(metadefs.part(tx, row, "property", name)))


def _update_property(call: Call, tx: Tx) -> Reply:
    row = spaces.found(call, tx, "modify_metadef_property")
    old = _part(call, tx, row, "property")
    return Reply(200, _shown_property(metadefs.change_part(tx, row, old, _new_property(call))))


def _delete_property(call: Call, tx: Tx) -> Reply:
    row = spaces.found(call, tx, "remove_metadef_property")
    metadefs.remove_part(tx, row, _part(call, tx, row, "property"))
    return Reply(204)


def _delete_properties(call: Call, tx: Tx) -> Reply:
    metadefs.remove_kind(tx, spaces.found(call, tx, "delete_metadef_namespace"), "property")
    return Reply(204)


def _new_property(call: Call) -> NewPart:
    return spaces.new_part("property", spaces.decode(call, NAMED_PROPERTY, "property", _TIMES))


def _shown_property(part: MetadefPartRow) -> dict[str, Any]:
    return {**part["body"], "name": part["name"]}


# --- tags -------------------------------------------------------------------------------------------------------------


def _list_tags(call: Call, tx: Tx) -> Reply:
    row = spaces.found(call, tx, "get_metadef_tags")
    return Reply(200, {"tags": [{"name": part["name"]} for part in _page(call, tx, row, "tag")]})


def _create_tags(call: Call, tx: Tx) -> Reply:
    """All tags of the namespace from now on; with the header `X-Openstack-Append`, further ones."""
    row = spaces.found(call, tx, "add_metadef_tags")
    tags = spaces.decode(call, TAGS, "tags", _TIMES)["tags"]
    if call.headers.get("x-openstack-append", "").strip().lower() not in _TRUE:
        metadefs.clear(tx, row, "tag")
    metadefs.add(tx, row, [spaces.new_part("tag", tag) for tag in tags])
    return Reply(201, {"tags": tags})


def _create_tag(call: Call, tx: Tx) -> Reply:
    row = spaces.found(call, tx, "add_metadef_tag")
    name = spaces.named(TAG, "tag", {"name": call.params["name"]})["name"]
    metadefs.add(tx, row, [NewPart("tag", name, {})])
    return Reply(201, _shown_tag(metadefs.part(tx, row, "tag", name)))


def _show_tag(call: Call, tx: Tx) -> Reply:
    return Reply(200, _shown_tag(_part(call, tx, spaces.found(call, tx, "get_metadef_tag"), "tag")))


def _update_tag(call: Call, tx: Tx) -> Reply:
    row = spaces.found(call, tx, "modify_metadef_tag")
    old = _part(call, tx, row, "tag")
    new = spaces.new_part("tag", spaces.decode(call, TAG, "tag", _TIMES))
    return Reply(200, _shown_tag(metadefs.change_part(tx, row, old, new)))


def _delete_tag(call: Call, tx: Tx) -> Reply:
    row = spaces.found(call, tx, "delete_metadef_tag")
    metadefs.remove_part(tx, row, _part(call, tx, row, "tag"))
    return Reply(204)


def _delete_tags(call: Call, tx: Tx) -> Reply:
    row = spaces.found(call, tx, "delete_metadef_namespace")
    require(call, "delete_metadef_tags", spaces.target(row))
    metadefs.remove_kind(tx, row, "tag")
    return Reply(204)


def _shown_tag(part: MetadefPartRow) -> dict[str, Any]:
    return {"name": part["name"], **spaces.times(part)}


# --- types of resources -----------------------------------------------------------------------------------------------


def _list_associations(call: Call, tx: Tx) -> Reply:
    row = spaces.found(call, tx, "list_metadef_resource_types")
    if not call.policy.check(call.caller, "get_metadef_resource_type", spaces.target(row)):
        return Reply(200, {"resource_type_associations": []})
    linked = metadefs.of_kind(tx, row, "resource_type")
    return Reply(200, {"resource_type_associations": [spaces.shown_association(part) for part in linked]})


def _associate(call: Call, tx: Tx) -> Reply:
    row = spaces.found(call, tx, "add_metadef_resource_type_association")
    new = spaces.new_part("resource_type", spaces.decode(call, ASSOCIATION, "resource_type_association", _TIMES))
    metadefs.add(tx, row, [new])
    return Reply(201, spaces.shown_association(metadefs.part(tx, row, "resource_type", new.name)))


def _dissociate(call: Call, tx: Tx) -> Reply:
    row = spaces.found(call, tx, "remove_metadef_resource_type_association")
    try:
        old = _part(call, tx, row, "resource_type")
    except NotFound:
        raise NotFound(f"Failed to find resource type {call.params['name']} to delete") from None
    if row["protected"]:
        raise Forbidden(
            f"Metadata definition resource-type-association {old['name']} is protected and cannot be deleted.",
            type="Forbidden",
        )
    metadefs.remove_part(tx, row, old)
    return Reply(204)


def _part(call: Call, tx: Tx, row: MetadefNamespaceRow, kind: str) -> MetadefPartRow:
    return metadefs.part(tx, row, kind, call.params["name"])


def _page(call: Call, tx: Tx, row: MetadefNamespaceRow, kind: str) -> list[MetadefPartRow]:
    """The page of the parts of a kind that the query asks for. Raises: BadRequest, NotFound."""
    asked = listing.read(call.query, _WORDS)
    column = {"name": "name", "created_at": "created_at", "updated_at": "updated_at"}.get
    order = listing.order_of(asked, _WORDS, kind, column, default=_ORDER, last=(Order("name"),))
    items: list[Any] = list(metadefs.of_kind(tx, row, kind))
    found: list[Any] = listing.of_items(items, asked, _WORDS, order, "name").rows
    return found


_WORDS: Final = listing.Words(
    bad_limit=lambda text: BadRequest(f"limit param must be {'positive' if text.startswith('-') else 'an integer'}"),
    no_marker=lambda marker: NotFound(f"{marker} was not found."),
    bad_keys=lambda _, keys: BadRequest(f"Sort key supplied was not valid: {keys[0]}"),
    bad_directions=lambda given: BadRequest(f"Invalid sort direction: {listing.odd(given)[0]}"),
    direction="desc",
    turns_default=True,
    many_keys=False,
)

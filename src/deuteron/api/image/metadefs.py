"""The requests about namespaces of metadata definitions, whole; `metadef_parts` has those about what is in them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote, urlencode

from deuteron.api.call import Call, Reply
from deuteron.api.image.policies import require
from deuteron.api.links import page_from
from deuteron.model.codecs import Invalid, Object
from deuteron.model.errors import BadRequest, Forbidden
from deuteron.model.image_rows import MetadefNamespaceRow, MetadefPartRow
from deuteron.model.metadefs import ASSOCIATION, NAMESPACE, OBJECT, PROPERTY, TAG
from deuteron.rules.image import metadefs
from deuteron.rules.image.metadefs import NewPart
from deuteron.store import listing
from deuteron.store.database import Tx

PATH: Final = "/v2/metadefs/namespaces"
_ALONE: Final[tuple[str, ...]] = ("namespace", "display_name", "description", "visibility", "protected", "owner")
_READ_ONLY: Final = ("self", "schema", "created_at", "updated_at")
_LISTS: Final = {"resource_type_associations": ("resource_type", "add_metadef_resource_type_association"),
                 "objects": ("object", "add_metadef_object"), "tags": ("tag", "add_metadef_tag")}  # fmt: skip


def list_namespaces(call: Call, tx: Tx) -> Reply:
    """Newest first unless the query sorts otherwise, each with the types of resources that it is about."""
    about = {"project_id": call.caller.project_id}
    require(call, "get_metadef_namespaces", about)
    require(call, "list_metadef_resource_types", {**about, "visibility": None})
    page = metadefs.page(tx, call.caller, listing.read(call.query, metadefs.WORDS))
    linked = metadefs.associations(tx, page.rows)
    query = [(key, value) for key, value in call.query if key != "marker"]
    body: dict[str, Any] = {
        "namespaces": [
            {**_shown(row), **_some("resource_type_associations", _associations(linked.get(row["id"], [])))}
            for row in page.rows
        ],
        "first": PATH + (f"?{urlencode(query)}" if query else ""),
        "schema": "/v2/schemas/metadefs/namespaces",
    }
    if page.more:
        body["next"] = page_from(PATH, query, page.rows[-1]["namespace"])
    return Reply(200, body)


def create_namespace(call: Call, tx: Tx) -> Reply:
    """With its parts, or none of it."""
    require(call, "add_metadef_namespace", {"project_id": call.caller.project_id})
    body = decode(call, NAMESPACE, "namespace", _READ_ONLY)
    properties = {name: named(PROPERTY, "property", item) for name, item in body.get("properties", {}).items()}
    new = [NewPart("property", check_name(name), item) for name, item in properties.items()]
    if new:
        require(call, "add_metadef_property", {})
    for item in body.get("objects", ()):
        check_object(item)
    for key, (kind, rule) in _LISTS.items():
        if body.get(key):
            require(call, rule, {})
        new += [new_part(kind, item) for item in body.get(key, ())]
    values = {name: body[name] for name in _ALONE if name in body}
    row = metadefs.create(tx, {"owner": call.caller.project_id, **values}, new)
    given = {name: body[name] for name in (*_LISTS, "properties") if name in body}
    return Reply(201, {**_shown(row), **given}, {"Location": f"{call.base_url}/image{_href(row)}"})


def show_namespace(call: Call, tx: Tx) -> Reply:
    """With all that is in it. `resource_type` puts the prefix for it before the names of properties."""
    row = found(call, tx, "get_metadef_namespace")
    for rule in ("list_metadef_resource_types", "get_metadef_objects", "get_metadef_properties", "get_metadef_tags"):
        require(call, rule, target(row))
    linked = metadefs.of_kind(tx, row, "resource_type")
    wanted = call.get("resource_type")
    prefixes = [part["body"].get("prefix") for part in linked if wanted and part["name"] == wanted]
    prefix = (prefixes[0] if prefixes else None) or ""
    objects = [shown_object(row, part, prefix) for part in metadefs.of_kind(tx, row, "object")]
    properties = {prefix + part["name"]: part["body"] for part in metadefs.of_kind(tx, row, "property")}
    tags = [{"name": part["name"]} for part in metadefs.of_kind(tx, row, "tag")]
    body = {
        **_shown(row), **_some("objects", objects), **_some("properties", properties), **_some("tags", tags),
        **_some("resource_type_associations", _associations(linked)),
    }  # fmt: skip
    return Reply(200, body)


def update_namespace(call: Call, tx: Tx) -> Reply:
    """What the namespace is from now on: of itself alone, not of what is in it, as in Glance."""
    row = found(call, tx, "modify_metadef_namespace")
    body = decode(call, NAMESPACE, "namespace", _READ_ONLY)
    values = {name: body[name] for name in _ALONE if name in body}
    return Reply(200, _shown(metadefs.change(tx, row, {"owner": call.caller.project_id, **values})))


def delete_namespace(call: Call, tx: Tx) -> Reply:
    metadefs.remove(tx, found(call, tx, "delete_metadef_namespace"))
    return Reply(204)


def list_resource_types(call: Call, tx: Tx) -> Reply:
    require(call, "list_metadef_resource_types", {"project_id": call.caller.project_id, "visibility": None})
    types = [
        {"name": each.name, "created_at": time(each.created_at), "updated_at": time(each.updated_at)}
        for each in metadefs.known_types(tx)
    ]
    return Reply(200, {"resource_types": types})


# --- what the requests about parts need too ---------------------------------------------------------------------------


def found(call: Call, tx: Tx, rule: str) -> MetadefNamespaceRow:
    """The namespace of the path. Raises: NotFound; Forbidden unless the rule lets the caller."""
    row = metadefs.find(tx, call.caller, call.params["namespace"])
    require(call, rule, target(row))
    return row


def target(row: MetadefNamespaceRow) -> dict[str, Any]:
    """What policy rules about a namespace may ask of."""
    return {"project_id": row["owner"], "visibility": row["visibility"]}


def decode(call: Call, codec: Object, schema: str, read_only: tuple[str, ...]) -> dict[str, Any]:
    """The body. Raises: BadRequest; Forbidden for what the server alone says."""
    body = call.json()
    for name in read_only:
        if isinstance(body, dict) and name in body:
            raise Forbidden(f"Attribute '{name}' is read-only.", type="Forbidden")
    return named(codec, schema, body)


def named(codec: Object, schema: str, value: object) -> dict[str, Any]:
    """Raises: BadRequest."""
    try:
        decoded: dict[str, Any] = codec.decode(value)
    except Invalid as error:
        raise BadRequest(f"Provided object does not match schema '{schema}': {error.reason}") from None
    return decoded


def check_name(name: str) -> str:
    """Of a property, which a body has as a key. Raises: BadRequest."""
    named(TAG, "property", {"name": name})
    return name


def check_object(item: Mapping[str, Any]) -> None:
    """Raises: BadRequest for properties that an object cannot have."""
    named(OBJECT, "object", item)
    for name, value in item.get("properties", {}).items():
        check_name(name)
        named(PROPERTY, "property", value)


def new_part(kind: str, item: Mapping[str, Any]) -> NewPart:
    """Of an item that carries its name."""
    return NewPart(kind, item["name"], {key: value for key, value in item.items() if key != "name"})


def shown_object(row: MetadefNamespaceRow, part: MetadefPartRow, prefix: str = "") -> dict[str, Any]:
    body = dict(part["body"])
    if prefix and "properties" in body:
        body["properties"] = {prefix + name: value for name, value in body["properties"].items()}
    if prefix and body.get("required"):
        body["required"] = [prefix + name for name in body["required"]]
    where = f"{_href(row)}/objects/{quote(part['name'])}"
    return {"name": part["name"], **body, **times(part), "self": where, "schema": "/v2/schemas/metadefs/object"}


def shown_association(part: MetadefPartRow) -> dict[str, Any]:
    return {"name": part["name"], **named(ASSOCIATION, "association", {"name": part["name"], **part["body"]}),
            **times(part)}  # fmt: skip


def times(row: Mapping[str, Any] | MetadefPartRow | MetadefNamespaceRow) -> dict[str, str]:
    return {"created_at": time(row["created_at"]), "updated_at": time(row["updated_at"])}


def time(text: str) -> str:
    return text[:19] + "Z"


def _associations(linked: list[MetadefPartRow]) -> list[dict[str, Any]]:
    return [shown_association(part) for part in linked]


def _shown(row: MetadefNamespaceRow) -> dict[str, Any]:
    """The namespace alone; what is nothing is left out."""
    values: Mapping[str, Any] = row
    said = {name: values[name] for name in _ALONE if values[name] is not None}
    return {**said, **times(row), "self": _href(row), "schema": "/v2/schemas/metadefs/namespace"}


def _href(row: MetadefNamespaceRow) -> str:
    return f"{PATH}/{quote(row['namespace'], safe=':')}"


def _some(name: str, value: Any) -> dict[str, Any]:
    """What is empty is left out."""
    return {name: value} if value else {}

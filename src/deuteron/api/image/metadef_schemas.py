"""JSON schemas of metadata definitions, as clients read them: made from the declarations."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from deuteron.api.image.schemas import collection_schema
from deuteron.model.codecs import Object
from deuteron.model.metadefs import ASSOCIATION, NAMED_PROPERTY, NAMESPACE, OBJECT, PROPERTY, TAG

_OF_SERVER: Final = {"type": "string", "readOnly": True}
_TIMES: Final = ("created_at", "updated_at")
_LINKS: Final = ("self", "schema")


def _schema(name: str, codec: Object, of_server: tuple[str, ...] = ()) -> dict[str, Any]:
    made = codec.schema()
    held = {field: _open(of_field) for field, of_field in made["properties"].items()}
    properties = {**held, **dict.fromkeys(of_server, _OF_SERVER)}
    if codec in (NAMESPACE, OBJECT):
        properties["properties"] = {"type": "object", "additionalProperties": _open(PROPERTY.schema())}
    return {"name": name, "properties": properties, "required": made["required"], "additionalProperties": False}


def _open(schema: dict[str, Any]) -> dict[str, Any]:
    """Of what stands within another: it is shown with more than may be sent, with times and links, and a client that
    compares what is shown with the schema, as Glance's own does, is to take it. As in Glance's schemas."""
    opened = {name: value for name, value in schema.items() if value is not False or name != "additionalProperties"}
    if "items" in opened:
        opened["items"] = _open(opened["items"])
    if "properties" in opened:
        opened["properties"] = {name: _open(of_field) for name, of_field in opened["properties"].items()}
    return opened


def _properties() -> dict[str, Any]:
    """An object whose names are those of its properties."""
    listed = collection_schema("properties", {})
    of_one = _schema("property", PROPERTY)
    listed["properties"]["properties"] = {"type": "object", "additionalProperties": of_one}
    return listed


def _namespace() -> dict[str, Any]:
    return _schema("namespace", NAMESPACE, (*_TIMES, *_LINKS))


def _object() -> dict[str, Any]:
    return _schema("object", OBJECT, (*_TIMES, *_LINKS))


def _association() -> dict[str, Any]:
    return _schema("resource_type_association", ASSOCIATION, _TIMES)


def _tag() -> dict[str, Any]:
    return _schema("tag", TAG, _TIMES)


SCHEMAS: Final[Mapping[str, Callable[[], dict[str, Any]]]] = {
    "metadefs/namespace": _namespace,
    "metadefs/namespaces": lambda: collection_schema("namespaces", _namespace()),
    "metadefs/object": _object,
    "metadefs/objects": lambda: collection_schema("objects", _object()),
    "metadefs/property": lambda: _schema("property", NAMED_PROPERTY),
    "metadefs/properties": _properties,
    "metadefs/resource_type": _association,
    "metadefs/resource_types": lambda: collection_schema("resource_type_associations", _association()),
    "metadefs/tag": _tag,
    "metadefs/tags": lambda: collection_schema("tags", _tag()),
}
"""By what follows `/v2/schemas/`."""

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
    properties = {**made["properties"], **dict.fromkeys(of_server, _OF_SERVER)}
    if codec in (NAMESPACE, OBJECT):
        properties["properties"] = {"type": "object", "additionalProperties": PROPERTY.schema()}
    return {"name": name, "properties": properties, "required": made["required"], "additionalProperties": False}


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

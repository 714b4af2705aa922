"""Metadata definitions: what people may say of images, flavors, volumes and the like, in words that tools know.

A namespace holds properties, objects (which hold properties), tags, and the types of resources that it is about.

Source: Glance api-ref, "Metadata definitions"; glance/api/v2/metadef_*.py (schemas).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from deuteron.model.codecs import Anything, Boolean, Codec, Integer, ListOf, Object, OneOf, Text
from deuteron.model.resource import Attribute, Resource

if TYPE_CHECKING:
    from deuteron.model.image_rows import MetadefNamespaceRow, MetadefPartRow

PART_KINDS: Final = ("object", "property", "resource_type", "tag")
_NAME: Final = Text(max_length=80, min_length=1)
_LONG: Final = Text(max_length=None)
_TYPES: Final = OneOf(("array", "boolean", "integer", "number", "object", "string"))
_COUNT: Final = Integer(minimum=0, strict=True)
_NUMBER: Final = Integer(strict=True)
_FLAG: Final = Boolean(strict=True)
_WORDS: Final = ListOf(_LONG, unique=True)

_OF_PROPERTY: Final[Mapping[str, Codec]] = {
    "name": _NAME,
    "title": _LONG,
    "description": _LONG,
    "operators": ListOf(_LONG),
    "type": _TYPES,
    "required": _WORDS,
    "minimum": _NUMBER,
    "maximum": _NUMBER,
    "maxLength": _COUNT,
    "minLength": _COUNT,
    "pattern": _LONG,
    "enum": ListOf(Anything()),
    "readonly": _FLAG,
    "default": Anything(),
    "items": Object({"type": _TYPES, "enum": ListOf(Anything())}, required=("type",)),
    "maxItems": _COUNT,
    "minItems": _COUNT,
    "uniqueItems": _FLAG,
    "additionalItems": _FLAG,
}
NAMED_PROPERTY: Final = Object(_OF_PROPERTY, required=("type", "title", "name"))
PROPERTY: Final = Object(_OF_PROPERTY, required=("type", "title"))
"""As a namespace or an object holds it, under its name."""
OBJECT: Final = Object(
    {"name": _NAME, "description": _LONG, "required": _WORDS, "properties": Object({}, open=True)}, required=("name",)
)
TAG: Final = Object({"name": _NAME}, required=("name",))
TAGS: Final = Object({"tags": ListOf(TAG)}, required=("tags",))
ASSOCIATION: Final = Object(
    {"name": _NAME, "prefix": Text(max_length=80), "properties_target": Text(max_length=80)}, required=("name",)
)
NAMESPACE: Final = Object(
    {
        "namespace": _NAME,
        "display_name": Text(max_length=80),
        "description": Text(max_length=500),
        "visibility": OneOf(("public", "private")),
        "protected": _FLAG,
        "owner": Text(max_length=255),
        "resource_type_associations": ListOf(ASSOCIATION),
        "properties": Object({}, open=True),
        "objects": ListOf(OBJECT),
        "tags": ListOf(TAG),
    },
    required=("namespace",),
)

METADEF_NAMESPACE: Resource[MetadefNamespaceRow] = Resource(
    service="image",
    name="metadef_namespace",
    collection="metadef_namespaces",
    description="Words about resources, that belong together.",
    attributes=(
        Attribute("id", Text(), "What its parts name it by.", read=False),
        Attribute("namespace", _NAME, "The unique namespace text."),
        Attribute("display_name", Text(nullable=True), "The user friendly name for the namespace."),
        Attribute("description", Text(nullable=True), "Provides a user friendly description of the namespace."),
        Attribute("visibility", OneOf(("public", "private")), "Scope of namespace accessibility."),
        Attribute("protected", Boolean(), "If true, namespace will not be deletable."),
        Attribute("owner", Text(nullable=True), "Owner of the namespace.", refers_to="project"),
        Attribute("created_at", Text(), "Date and time of namespace creation"),
        Attribute("updated_at", Text(), "Date and time of the last namespace modification"),
    ),
    unique=(("namespace",),),
    indexes=(("owner",),),
    followed=False,
)

METADEF_PART: Resource[MetadefPartRow] = Resource(
    service="image",
    name="metadef_part",
    collection="metadef_parts",
    description="A property, an object, a tag or a type of resources of a namespace.",
    attributes=(
        Attribute("id", Text(), "The id."),
        Attribute("namespace_id", Text(), "The id of its namespace."),
        Attribute("kind", OneOf(PART_KINDS), "What it is."),
        Attribute("name", _NAME, "Its name, of which its namespace has one of a kind."),
        Attribute("body", Object({}, open=True), "What else is said of it."),
        Attribute("created_at", Text(), "When it was made."),
        Attribute("updated_at", Text(), "When it last changed."),
    ),
    unique=(("namespace_id", "kind", "name"),),
    indexes=(("kind", "name"),),
    followed=False,
)

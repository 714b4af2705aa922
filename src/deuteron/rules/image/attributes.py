"""What an image may be made of: attributes by the declaration, and properties, which are any other name with a text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from deuteron.model.codecs import quoted
from deuteron.model.errors import BadRequest, Forbidden, TooLarge
from deuteron.model.image import IMAGE, MAX_PROPERTIES, MAX_PROPERTY_LENGTH, MAX_TAGS
from deuteron.model.resource import BadAttribute
from deuteron.model.resource import decode_create as decode_declared

_SET_BY_SERVER = frozenset(
    {
        "status", "checksum", "os_hash_algo", "os_hash_value", "size", "virtual_size", "created_at", "updated_at",
        "self", "file", "schema", "direct_url",
    }
)  # fmt: skip
_OF_LISTS = frozenset({"first", "next"})
_RESERVED = frozenset({"deleted", "deleted_at", "is_public", "location", "locations", "stores"})
_RESERVED_PREFIX = "os_glance_"
"""Glance keeps its own notes in properties of such names."""
_NULLABLE = ("kernel_id", "ramdisk_id")
"""Properties whose null takes them away."""


def decode_create(body: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """The attributes and the properties of a create body. Raises: BadRequest, Forbidden, TooLarge."""
    known: dict[str, Any] = {}
    properties: dict[str, str] = {}
    if len(body) > MAX_PROPERTIES + len(IMAGE.attributes):
        raise _too_many("properties", len(body), MAX_PROPERTIES)
    for name, value in body.items():
        if name in _OF_LISTS:
            raise _read_only(name)
        refuse_kept(name)
        if name in IMAGE.by_name:
            if value is None and name == "id":
                continue
            known[name] = value
        else:
            _add_property(properties, name, value)
    refuse_many_properties(properties)
    if isinstance(known.get("tags"), list):
        refuse_many_tags(known["tags"])
    try:
        return decode_declared(IMAGE, known), properties
    except BadAttribute as error:
        raise BadRequest(f"{_MISMATCH}: {error.reason} ({error.attribute})") from None


def refuse_kept(name: str) -> None:
    """Raises: Forbidden for a name that the server keeps to itself."""
    if name in _SET_BY_SERVER:
        raise _read_only(name)
    if name in _RESERVED or name.startswith(_RESERVED_PREFIX):
        raise Forbidden(f"Attribute '{name}' is reserved.", type="Forbidden")


def refuse_many_properties(properties: Mapping[str, str]) -> None:
    """Raises: TooLarge."""
    if len(properties) > MAX_PROPERTIES:
        raise _too_many("properties", len(properties), MAX_PROPERTIES)


def refuse_many_tags(tags: list[Any]) -> None:
    """Raises: TooLarge."""
    if len(tags) > MAX_TAGS:
        raise _too_many("tags", len(tags), MAX_TAGS)


def set_property(properties: dict[str, str], name: str, value: Any) -> None:
    """Put a property among the others, or take it away when a null may. Raises: BadRequest."""
    if value is None and name in _NULLABLE:
        properties.pop(name, None)
        return
    if not isinstance(value, str) or not 0 < len(name) <= 255:
        raise _no_text(name, value)
    _refuse_long(name, value)
    properties[name] = value


def _add_property(properties: dict[str, str], name: str, value: Any) -> None:
    if not name or len(name) > 255:
        raise BadRequest(f"{_MISMATCH}: the property name '{name[:80]}' is not valid")
    set_property(properties, name, value)


_MISMATCH = "Provided object does not match schema 'image'"


def _no_text(name: str, value: Any) -> BadRequest:
    return BadRequest(f"{_MISMATCH}: {quoted(value)} is not of type 'string' (property {name})")


def _refuse_long(name: str, value: str) -> None:
    if len(value) > MAX_PROPERTY_LENGTH:
        raise BadRequest(
            f"{_MISMATCH}: the property {name} has {len(value)} characters, at most {MAX_PROPERTY_LENGTH} are accepted"
        )


def _read_only(name: str) -> Forbidden:
    return Forbidden(f"Attribute '{name}' is read-only.", type="Forbidden")


def _too_many(what: str, count: int, most: int) -> TooLarge:
    return TooLarge(
        f"The limit has been exceeded on the number of allowed image {what}. Attempted: {count}, Maximum: {most}"
    )

"""What an image may be made of: attributes by the declaration, and properties, which are any other name with a text."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from deuteron.model import resource
from deuteron.model.codecs import Invalid, quoted
from deuteron.model.errors import BadRequest, Forbidden, TooLarge
from deuteron.model.image import IMAGE, MAX_PROPERTIES, MAX_PROPERTY_LENGTH, MAX_TAGS
from deuteron.model.resource import Attribute, Words

_SET_BY_SERVER = frozenset(
    {
        "status", "checksum", "os_hash_algo", "os_hash_value", "size", "virtual_size", "created_at", "updated_at",
        "self", "file", "schema", "direct_url",
    }
)  # fmt: skip
_OF_LISTS = frozenset({"first", "next"})
_RESERVED = frozenset({"deleted", "deleted_at", "is_public", "location", "locations", "stores"})
RESERVED_PREFIX: Final = "os_glance_"
"""Glance keeps its own notes in properties of such names."""
_MISMATCH = "Provided object does not match schema 'image'"
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
    return resource.decode_create(IMAGE, known, CREATE_WORDS), properties


def refuse_kept(name: str) -> None:
    """Raises: Forbidden for a name that the server keeps to itself."""
    if name in _SET_BY_SERVER:
        raise _read_only(name)
    if name in _RESERVED or name.startswith(RESERVED_PREFIX):
        raise Forbidden(f"Attribute '{name}' is reserved.", type="Forbidden")


def refuse_many_properties(properties: Mapping[str, str]) -> None:
    """Raises: TooLarge. The server's own notes do not count."""
    count = sum(not name.startswith(RESERVED_PREFIX) for name in properties)
    if count > MAX_PROPERTIES:
        raise _too_many("properties", count, MAX_PROPERTIES)


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


def _words(invalid: Callable[[Attribute, Invalid], BadRequest]) -> Words:
    return Words(
        unknown=lambda verb, names: BadRequest(f"{_MISMATCH}: {', '.join(names)} is no attribute"),
        read_only=lambda verb, names: _read_only(", ".join(names)),
        missing=lambda name: BadRequest(f"{_MISMATCH}: '{name}' is a required property"),
        invalid=invalid,
    )


CREATE_WORDS = _words(lambda attribute, error: BadRequest(f"{_MISMATCH}: {error.reason} ({attribute.name})"))
PATCH_WORDS = _words(lambda attribute, error: BadRequest(f"Invalid value for {attribute.name}: {error.reason}"))
TAG_WORDS = _words(lambda attribute, error: BadRequest(f"Invalid image tag: {error.reason}"))
"""Glance's, which says something else in each place."""

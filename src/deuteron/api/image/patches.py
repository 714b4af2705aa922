"""JSON patches of images, in both media types of Glance.

application/openstack-images-v2.1-json-patch   [{"op": "replace", "path": "/name", "value": "x"}]
application/openstack-images-v2.0-json-patch   [{"replace": "/name", "value": "x"}]
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row

from deuteron.api.call import Call
from deuteron.model.codecs import Invalid, quoted, whole_number
from deuteron.model.errors import BadRequest, Conflict, Forbidden, TooLarge, Unsupported
from deuteron.model.image import IMAGE, MAX_CHANGES, MAX_PROPERTIES, MAX_PROPERTY_LENGTH, MAX_TAGS

MEDIA_TYPES = (
    "application/openstack-images-v2.1-json-patch",
    "application/openstack-images-v2.0-json-patch",
)
_VERBS = ("add", "replace", "remove")
_FIXED = frozenset(
    {
        "id", "status", "checksum", "os_hash_algo", "os_hash_value", "size", "virtual_size",
        "created_at", "updated_at", "self", "file", "schema", "direct_url",
    }
)  # fmt: skip
_RESERVED = frozenset({"deleted", "deleted_at", "is_public", "location", "locations", "stores"})
_RESERVED_PREFIX = "os_glance_"


@dataclass(frozen=True)
class Change:
    verb: str
    name: str
    rest: tuple[str, ...]
    """What follows the name in the path: the place in `tags`."""
    value: Any = None


def read_patch(call: Call) -> tuple[Change, ...]:
    """Raises: Unsupported for another media type; BadRequest; Forbidden for what cannot be changed."""
    media_type = call.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type not in MEDIA_TYPES:
        raise Unsupported(f"The media type {media_type!r} is not supported; accepted: {', '.join(MEDIA_TYPES)}")
    body = call.json()
    if not isinstance(body, list):
        raise BadRequest("Request body must be a JSON array of operation objects.")
    if len(body) > MAX_CHANGES:
        raise TooLarge(f"The patch has {len(body)} operations, at most {MAX_CHANGES} are accepted.")
    return tuple(_change(item, old_form=media_type == MEDIA_TYPES[1]) for item in body)


def apply(row: Row[Any], changes: tuple[Change, ...], *, is_admin: bool) -> tuple[dict[str, Any], dict[str, str]]:
    """The attributes that change, and the properties as they shall be.

    Raises: BadRequest, Forbidden, Conflict, TooLarge.
    """
    values: dict[str, Any] = {}
    properties: dict[str, str] = dict(row.properties)
    for change in changes:
        if change.name in IMAGE.by_name:
            _change_attribute(row, values, change, is_admin=is_admin)
        else:
            _change_property(properties, change)
    if len(properties) > MAX_PROPERTIES:
        raise TooLarge(
            "The limit has been exceeded on the number of allowed image properties. "
            f"Attempted: {len(properties)}, Maximum: {MAX_PROPERTIES}"
        )
    return values, properties


def _change(item: Any, *, old_form: bool) -> Change:
    if not isinstance(item, dict):
        raise BadRequest("Operations must be JSON objects.")
    if old_form:
        verbs = [verb for verb in _VERBS if verb in item]
        if len(verbs) != 1:
            raise BadRequest("Operation objects must contain exactly one member named add, remove or replace.")
        verb, path = verbs[0], item[verbs[0]]
    else:
        if "op" not in item or "path" not in item:
            raise BadRequest("Unable to find 'op' and 'path' in JSON Schema change")
        verb, path = item["op"], item["path"]
        if verb not in _VERBS:
            raise BadRequest(
                f"Invalid operation: `{quoted(verb)}`. It must be one of the following: {', '.join(_VERBS)}."
            )
    if verb != "remove" and "value" not in item:
        raise BadRequest(f"Operation `{verb}` requires a member named `value`.")
    if not isinstance(path, str) or not path.startswith("/") or path.endswith("/") or "//" in path:
        raise BadRequest(f'Pointer `{quoted(path)}` does not start with "/", or has an empty part.')
    parts = [part.replace("~1", "/").replace("~0", "~") for part in path[1:].split("/")]
    if len(parts) > 2 or (len(parts) == 2 and parts[0] != "tags"):
        raise BadRequest(f"Invalid JSON pointer for this resource: '{quoted(path)}'")
    if parts[0] in _FIXED:
        raise Forbidden(f"Attribute '{parts[0]}' is read-only.", type="Forbidden")
    if parts[0] in _RESERVED or parts[0].startswith(_RESERVED_PREFIX):
        raise Forbidden(f"Attribute '{parts[0]}' is reserved.", type="Forbidden")
    return Change(verb, parts[0], tuple(parts[1:]), item.get("value"))


def _change_attribute(row: Row[Any], values: dict[str, Any], change: Change, *, is_admin: bool) -> None:
    if change.name == "owner" and not is_admin:
        raise Forbidden("Owner can't be updated by non admin.", type="Forbidden")
    if change.name in ("disk_format", "container_format") and row.status != "queued":
        raise Forbidden(f"Attribute {change.name} can be only replaced for a queued image.", type="Forbidden")
    value = change.value
    if change.name == "tags" and change.rest:
        # Only what is new is looked at: each of many changes would look at all the tags again.
        if change.verb != "remove":
            _decode("tags", [value])
        tags = list(dict.fromkeys(_tags_at(list(values.get("tags", row.tags) or []), change)))
        if len(tags) > MAX_TAGS:
            raise TooLarge(
                "The limit has been exceeded on the number of allowed image tags. "
                f"Attempted: {len(tags)}, Maximum: {MAX_TAGS}"
            )
        values["tags"] = tags
        return
    if change.verb == "remove":
        if change.name != "tags":
            raise Forbidden(f"Property {change.name} may not be removed.", type="Forbidden")
        value = []
    value = _decode(change.name, value)
    values[change.name] = list(dict.fromkeys(value)) if change.name == "tags" else value


def _decode(name: str, value: Any) -> Any:
    try:
        return IMAGE.by_name[name].codec.decode(value)
    except Invalid as error:
        raise BadRequest(f"Invalid value for {name}: {error.reason}") from None


def _tags_at(tags: list[str], change: Change) -> list[Any]:
    place = change.rest[0]
    if change.verb == "add" and place == "-":
        return [*tags, change.value]
    at = whole_number(place)
    if at is None or at >= len(tags):
        raise BadRequest(f"Invalid position `{place}` in tags")
    if change.verb == "add":
        return [*tags[:at], change.value, *tags[at:]]
    if change.verb == "replace":
        return [*tags[:at], change.value, *tags[at + 1 :]]
    return [*tags[:at], *tags[at + 1 :]]


def _change_property(properties: dict[str, str], change: Change) -> None:
    if change.verb != "add" and change.name not in properties:
        raise Conflict(f"Property {change.name} does not exist.")
    if change.verb == "remove":
        del properties[change.name]
        return
    if change.value is None and change.name in ("kernel_id", "ramdisk_id"):
        properties.pop(change.name, None)
        return
    if not isinstance(change.value, str) or not 0 < len(change.name) <= 255:
        raise BadRequest(
            f"Provided object does not match schema 'image': {quoted(change.value)} is not of type 'string' "
            f"(property {change.name})"
        )
    refuse_long_property(change.name, change.value)
    properties[change.name] = change.value


def refuse_long_property(name: str, value: str) -> None:
    """Raises: BadRequest."""
    if len(value) > MAX_PROPERTY_LENGTH:
        raise BadRequest(
            f"Provided object does not match schema 'image': the property {name} has {len(value)} characters, at most "
            f"{MAX_PROPERTY_LENGTH} are accepted"
        )

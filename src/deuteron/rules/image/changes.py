"""The changes of a JSON patch, carried out on an image's description: whole or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from deuteron.model.codecs import whole_number
from deuteron.model.errors import BadRequest, Conflict, Forbidden
from deuteron.model.image import IMAGE
from deuteron.model.image_rows import ImageRow
from deuteron.model.resource import decode_value
from deuteron.rules.image import attributes


@dataclass(frozen=True)
class Change:
    verb: str
    """add, replace or remove."""
    name: str
    rest: tuple[str, ...]
    """What follows the name in the path: the place in `tags`."""
    value: Any = None


def apply(row: ImageRow, changes: Sequence[Change], *, is_admin: bool) -> tuple[dict[str, Any], dict[str, str]]:
    """The attributes that change, and the properties as they shall be.

    Raises: BadRequest, Forbidden, Conflict, TooLarge.
    """
    values: dict[str, Any] = {}
    properties: dict[str, str] = dict(row["properties"])
    for change in changes:
        if change.name in IMAGE.by_name:
            _change_attribute(row, values, change, is_admin=is_admin)
        else:
            _change_property(properties, change)
    attributes.refuse_many_properties(properties)
    return values, properties


def _change_attribute(row: ImageRow, values: dict[str, Any], change: Change, *, is_admin: bool) -> None:
    if change.name == "owner" and not is_admin:
        raise Forbidden("Owner can't be updated by non admin.", type="Forbidden")
    if change.name in ("disk_format", "container_format") and row["status"] != "queued":
        raise Forbidden(f"Attribute {change.name} can be only replaced for a queued image.", type="Forbidden")
    value = change.value
    if change.name == "tags" and change.rest:
        # Only what is new is looked at: each of many changes would look at all the tags again.
        if change.verb != "remove":
            _decode("tags", [value])
        tags = list(dict.fromkeys(_tags_at(list(values.get("tags", row["tags"]) or []), change)))
        attributes.refuse_many_tags(tags)
        values["tags"] = tags
        return
    if change.verb == "remove":
        if change.name != "tags":
            raise Forbidden(f"Property {change.name} may not be removed.", type="Forbidden")
        value = []
    value = _decode(change.name, value)
    values[change.name] = list(dict.fromkeys(value)) if change.name == "tags" else value


def _decode(name: str, value: Any) -> Any:
    return decode_value(IMAGE.by_name[name], value, attributes.PATCH_WORDS)


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
    attributes.set_property(properties, change.name, change.value)

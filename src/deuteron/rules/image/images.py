"""Images: their descriptions, who sees them, and how they change.

An image that the caller may not see does not exist for them. Other services find images here.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from sqlalchemy import delete, select

from deuteron.model.caller import Caller
from deuteron.model.codecs import quoted
from deuteron.model.errors import BadRequest, Conflict, Forbidden, NotFound
from deuteron.model.image import IMAGE
from deuteron.model.image_rows import ImageRow
from deuteron.model.resource import decode_value
from deuteron.model.settings import ImageOptions
from deuteron.rules.image import attributes, limits
from deuteron.store import query
from deuteron.store.database import Tx
from deuteron.store.expressions import text_field
from deuteron.store.image_tables import images, members


def find(tx: Tx, image_id: str) -> ImageRow:
    """The image, whoever asks. Raises: NotFound."""
    row = query.row_by_id(tx, images, image_id)
    if row is None:
        raise NotFound(f"No image found with ID {image_id}", type="NotFound")
    return row


def find_visible(tx: Tx, caller: Caller, image_id: str) -> ImageRow:
    """The image, if the caller may see it. Raises: NotFound."""
    row = seen(tx, caller, image_id)
    if row is None:
        raise NotFound(f"No image found with ID {image_id}", type="NotFound")
    return row


def seen(tx: Tx, caller: Caller, image_id: str) -> ImageRow | None:
    """The image, if it is there and the caller may see it."""
    row = query.row_by_id(tx, images, image_id)
    if row is None or caller.is_admin or row["visibility"] in ("public", "community"):
        return row
    if caller.project_id is not None:
        if row["owner"] == caller.project_id:
            return row
        if row["visibility"] == "shared" and _is_member(tx, image_id, caller.project_id):
            return row
    return None


def with_properties(tx: Tx, owner: str | None, properties: Mapping[str, str]) -> list[ImageRow]:
    """The images of the owner that have these properties, the newest first."""
    same = [text_field(images.c.properties, name) == value for name, value in properties.items()]
    return query.rows(tx, images, images.c.owner == owner, *same, order_by=(images.c.created_at.desc(),))


def refuse_foreign_owner(caller: Caller, owner: str | None) -> None:
    """Raises: Forbidden when the image would be another project's, and the caller is no administrator."""
    if owner != caller.project_id and not caller.is_admin:
        raise Forbidden(f"You are not permitted to create images owned by '{owner}'.", type="Forbidden")


def create(tx: Tx, options: ImageOptions, values: Mapping[str, Any], properties: Mapping[str, str]) -> ImageRow:
    """A new image without data. Raises: TooLarge for a limit of its owner; Conflict for an id that is taken."""
    limits.check_count(tx, options, values["owner"])
    id = values["id"] or str(uuid.uuid4())
    if query.row_by_id(tx, images, id) is not None:
        raise Conflict(f"Image ID {id} already exists!")
    now = moment(tx)
    made = {
        **values,
        "id": id,
        "status": "queued",
        "tags": list(dict.fromkeys(values["tags"] or [])),
        "created_at": now,
        "updated_at": now,
        "properties": dict(properties),
        "is_inspected": False,
    }
    query.add(tx, images, made)
    tx.changed("image", id)
    return find(tx, id)


def change(tx: Tx, row: ImageRow, values: Mapping[str, object]) -> ImageRow:
    """The image with the columns `values` set; nothing is written when all of them are so already."""
    present: Mapping[str, object] = row
    changed = {name: value for name, value in values.items() if value != present[name]}
    if not changed:
        return row
    changed["updated_at"] = moment(tx)
    query.change(tx, images, row["id"], changed)
    tx.changed("image", row["id"])
    return query.with_values(row, changed)


def set_properties(tx: Tx, row: ImageRow, properties: Mapping[str, str]) -> ImageRow:
    """Make `properties` all that the image has, beside the server's own notes, which stay.

    Raises: TooLarge; Forbidden for notes that are not so.
    """
    attributes.refuse_many_properties(properties)
    present = row["properties"]
    notes = {name: value for name, value in present.items() if name.startswith(attributes.RESERVED_PREFIX)}
    for name, value in properties.items():
        if name.startswith(attributes.RESERVED_PREFIX) and notes.get(name) != value:
            attributes.refuse_kept(name)
    return change(tx, row, {"properties": {**properties, **notes}})


def remove(tx: Tx, row: ImageRow) -> None:
    """Delete the image's rows; its file may go once this is durable. Raises: Forbidden for a protected one."""
    if row["protected"]:
        raise Forbidden(f"Image {row['id']} is protected and cannot be deleted.", type="Forbidden")
    tx.execute(delete(members).where(members.c.image_id == row["id"]))
    query.remove(tx, images, row["id"])
    tx.changed("image", row["id"], deleted=True)


def deactivate(tx: Tx, row: ImageRow) -> None:
    """Keep the data from all but administrators. Raises: Forbidden for an image without data."""
    _switch(tx, row, "deactivate", "active", "deactivated")


def reactivate(tx: Tx, row: ImageRow) -> None:
    """Raises: Forbidden for an image without data."""
    _switch(tx, row, "reactivate", "deactivated", "active")


def add_tag(tx: Tx, row: ImageRow, tag: str) -> None:
    """Raises: BadRequest for a tag that cannot be; TooLarge."""
    if len(tag) > 255:
        raise BadRequest(f"Invalid image tag value: {quoted(tag)} is longer than 255 characters")
    tags = list(row["tags"] or [])
    if tag not in tags:
        attributes.refuse_many_tags([*tags, tag])
        _set_tags(tx, row, [*tags, tag])


def remove_tag(tx: Tx, row: ImageRow, tag: str) -> None:
    """Raises: NotFound."""
    if tag not in (row["tags"] or []):
        raise NotFound(f"Tag {tag} of image {row['id']} could not be found.")
    _set_tags(tx, row, [item for item in row["tags"] if item != tag])


def moment(tx: Tx) -> str:
    """Now, as image rows store it: microseconds, so that images sort as they were made."""
    return tx.now.strftime("%Y-%m-%dT%H:%M:%S.%f")


def _is_member(tx: Tx, image_id: str, project_id: str) -> bool:
    found = select(members.c.image_id).where(members.c.image_id == image_id, members.c.member_id == project_id)
    return tx.first(found) is not None


def _switch(tx: Tx, row: ImageRow, verb: str, before: str, after: str) -> None:
    if row["status"] not in (before, after):
        raise Forbidden(f"Not allowed to {verb} image in status '{row['status']}'", type="Forbidden")
    change(tx, row, {"status": after})


def _set_tags(tx: Tx, row: ImageRow, tags: list[str]) -> None:
    decode_value(IMAGE.by_name["tags"], tags, attributes.TAG_WORDS)
    change(tx, row, {"tags": tags})

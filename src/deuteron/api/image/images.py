"""Images: their descriptions, who sees them, and how they change.

An image that the caller may not see does not exist for them (404). One they see but may not change is
refused by policy (403). Other services find images through `visible_image`.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

from sqlalchemy import Row, delete, or_, select, update

from deuteron.api.call import Call, Reply
from deuteron.api.image import filters, limits, patches
from deuteron.api.image.policies import require
from deuteron.model.caller import Caller
from deuteron.model.codecs import Invalid, quoted
from deuteron.model.errors import BadRequest, Conflict, Forbidden, NotFound, TooLarge
from deuteron.model.image import IMAGE, MAX_PROPERTIES, MAX_TAGS
from deuteron.model.resource import BadAttribute, decode_create
from deuteron.store.database import Tx
from deuteron.store.image_tables import images, members

DEFAULT_LIMIT = 25
MAX_LIMIT = 1000

READ_ONLY = frozenset(
    {
        "status",
        "checksum",
        "os_hash_algo",
        "os_hash_value",
        "size",
        "virtual_size",
        "created_at",
        "updated_at",
        "self",
        "file",
        "schema",
        "direct_url",
        "first",
        "next",
    }
)
RESERVED = frozenset({"deleted", "deleted_at", "is_public", "location", "locations", "stores"})
RESERVED_PREFIX = "os_glance_"
"""Glance keeps its own notes in properties of such names."""


def list_images(call: Call, tx: Tx) -> Reply:
    """Newest first unless the query sorts otherwise. `next` leads on when more than `limit` match."""
    require(call, "get_images", {"project_id": call.caller.project_id})
    wanted = filters.read_query(call)
    rows = [row for row in _candidates(tx, call.caller, wanted) if wanted.matches(shown_values(row))]
    rows = wanted.sorted(rows)
    if wanted.marker is not None:
        at = [number for number, row in enumerate(rows) if row.id == wanted.marker]
        if not at:
            visible_image(tx, call.caller, wanted.marker)
            raise BadRequest(f"Invalid marker. Image {wanted.marker} is not in the list")
        rows = rows[at[0] + 1 :]
    limit = min(DEFAULT_LIMIT if wanted.limit is None else wanted.limit, MAX_LIMIT)
    more = len(rows) > limit > 0
    rows = rows[:limit]
    query = [(key, value) for key, value in call.query if key != "marker"]
    body: dict[str, Any] = {
        "images": [shown(row) for row in rows],
        "first": "/v2/images" + (f"?{urlencode(query)}" if query else ""),
        "schema": "/v2/schemas/images",
    }
    if more:
        body["next"] = "/v2/images?" + urlencode([*query, ("marker", rows[-1].id)])
    return Reply(200, body)


def show_image(call: Call, tx: Tx) -> Reply:
    row = visible_image(tx, call.caller, call.params["id"])
    require(call, "get_image", target(call.caller, row))
    return Reply(200, shown(row))


def create_image(call: Call, tx: Tx) -> Reply:
    body = call.json()
    if not isinstance(body, dict):
        raise BadRequest("The request body is not a JSON object")
    values, properties = read_body(body)
    owner = values.get("owner")
    if owner is None:
        owner = values["owner"] = call.caller.project_id
    if owner != call.caller.project_id and not call.caller.is_admin:
        raise Forbidden(f"You are not permitted to create images owned by '{owner}'.", type="Forbidden")
    require(call, "add_image", {"project_id": owner, "owner": owner})
    _require_visibility(call, values["visibility"], {"project_id": owner})
    limits.check_count(tx, call.settings.operator.image, owner)
    id = values["id"] or str(uuid.uuid4())
    if tx.first(select(images.c.id).where(images.c.id == id)) is not None:
        raise Conflict(f"Image ID {id} already exists!")
    now = moment(tx)
    tx.insert(
        images,
        {
            **values,
            "id": id,
            "status": "queued",
            "tags": list(dict.fromkeys(values["tags"] or [])),
            "created_at": now,
            "updated_at": now,
            "properties": properties,
            "is_inspected": False,
        },
    )
    tx.changed("image", id)
    return Reply(201, shown(find(tx, id)), {"Location": f"{call.base_url}/image/v2/images/{id}"})


def read_body(body: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """The attributes and the properties of a create body. Raises: BadRequest, Forbidden, TooLarge."""
    known: dict[str, Any] = {}
    properties: dict[str, str] = {}
    if len(body) > MAX_PROPERTIES + len(IMAGE.attributes):
        raise TooLarge(
            f"The limit has been exceeded on the number of allowed image properties. "
            f"Attempted: {len(body)}, Maximum: {MAX_PROPERTIES}"
        )
    for name, value in body.items():
        if name in READ_ONLY:
            raise Forbidden(f"Attribute '{name}' is read-only.", type="Forbidden")
        if name in RESERVED or name.startswith(RESERVED_PREFIX):
            raise Forbidden(f"Attribute '{name}' is reserved.", type="Forbidden")
        if name in IMAGE.by_name:
            if value is None and name == "id":
                continue
            known[name] = value
        else:
            property_value = decode_property(name, value)
            if property_value is not None:
                properties[name] = property_value
    if len(properties) > MAX_PROPERTIES:
        raise TooLarge(
            f"The limit has been exceeded on the number of allowed image properties. "
            f"Attempted: {len(properties)}, Maximum: {MAX_PROPERTIES}"
        )
    if isinstance(known.get("tags"), list) and len(known["tags"]) > MAX_TAGS:
        raise TooLarge(
            f"The limit has been exceeded on the number of allowed image tags. "
            f"Attempted: {len(known['tags'])}, Maximum: {MAX_TAGS}"
        )
    try:
        return decode_create(IMAGE, known), properties
    except BadAttribute as error:
        raise BadRequest(f"Provided object does not match schema 'image': {error.reason} ({error.attribute})") from None


def decode_property(name: str, value: Any) -> str | None:
    """A property as it is stored; None for a null, which only some may have. Raises: BadRequest."""
    if not name or len(name) > 255:
        raise BadRequest(f"Provided object does not match schema 'image': the property name '{name[:80]}' is not valid")
    if value is None and name in ("kernel_id", "ramdisk_id"):
        return None
    if not isinstance(value, str):
        raise BadRequest(
            f"Provided object does not match schema 'image': {quoted(value)} is not of type 'string' (property {name})"
        )
    patches.refuse_long_property(name, value)
    return value


def patch_image(call: Call, tx: Tx) -> Reply:
    """A JSON patch of either media type, applied whole or not at all."""
    changes = patches.read_patch(call)
    row = visible_image(tx, call.caller, call.params["id"])
    require(call, "modify_image", target(call.caller, row))
    values, properties = patches.apply(row, changes, is_admin=call.caller.is_admin)
    if "visibility" in values and values["visibility"] != row.visibility:
        _require_visibility(call, values["visibility"], target(call.caller, row))
    changed = {name: value for name, value in values.items() if value != row._mapping[name]}
    if changed or properties != row.properties:
        changed |= {"properties": properties, "updated_at": moment(tx)}
        tx.execute(update(images).where(images.c.id == row.id).values(changed))
        tx.changed("image", row.id)
    return Reply(200, shown(find(tx, row.id)))


def set_properties(call: Call, tx: Tx, row: Row[Any], properties: dict[str, str]) -> None:
    """Make `properties` all that the image has. Raises: Forbidden, TooLarge."""
    require(call, "modify_image", target(call.caller, row))
    if len(properties) > MAX_PROPERTIES:
        raise TooLarge(
            "The limit has been exceeded on the number of allowed image properties. "
            f"Attempted: {len(properties)}, Maximum: {MAX_PROPERTIES}"
        )
    if properties != row.properties:
        values = {"properties": properties, "updated_at": moment(tx)}
        tx.execute(update(images).where(images.c.id == row.id).values(values))
        tx.changed("image", row.id)


def remove_image(call: Call, tx: Tx, image_id: str) -> str:
    """Delete the image's rows; the id, so that the caller removes the file once this is durable."""
    row = visible_image(tx, call.caller, image_id)
    require(call, "delete_image", target(call.caller, row))
    if row.protected:
        raise Forbidden(f"Image {row.id} is protected and cannot be deleted.", type="Forbidden")
    tx.execute(delete(members).where(members.c.image_id == row.id))
    tx.execute(delete(images).where(images.c.id == row.id))
    tx.changed("image", row.id, deleted=True)
    return str(row.id)


def deactivate(call: Call, tx: Tx) -> Reply:
    return _switch(call, tx, "deactivate", "active", "deactivated")


def reactivate(call: Call, tx: Tx) -> Reply:
    return _switch(call, tx, "reactivate", "deactivated", "active")


def add_tag(call: Call, tx: Tx) -> Reply:
    row = visible_image(tx, call.caller, call.params["id"])
    require(call, "modify_image", target(call.caller, row))
    tag = call.params["tag"]
    if len(tag) > 255:
        raise BadRequest(f"Invalid image tag value: {quoted(tag)} is longer than 255 characters")
    tags = list(row.tags or [])
    if tag not in tags:
        if len(tags) >= MAX_TAGS:
            raise TooLarge(
                "The limit has been exceeded on the number of allowed image tags. "
                f"Attempted: {len(tags) + 1}, Maximum: {MAX_TAGS}"
            )
        _set_tags(tx, row.id, [*tags, tag])
    return Reply(204)


def remove_tag(call: Call, tx: Tx) -> Reply:
    row = visible_image(tx, call.caller, call.params["id"])
    require(call, "modify_image", target(call.caller, row))
    tag = call.params["tag"]
    if tag not in (row.tags or []):
        raise NotFound(f"Tag {tag} of image {row.id} could not be found.")
    _set_tags(tx, row.id, [item for item in row.tags if item != tag])
    return Reply(204)


def find(tx: Tx, image_id: str) -> Row[Any]:
    """The image's row, whoever asks. Raises: NotFound."""
    row = tx.first(select(images).where(images.c.id == image_id))
    if row is None:
        raise NotFound(f"No image found with ID {image_id}", type="NotFound")
    return row


def visible_image(tx: Tx, caller: Caller, image_id: str) -> Row[Any]:
    """The image's row, if the caller may see it. Raises: NotFound."""
    row = find(tx, image_id)
    if caller.is_admin or row.visibility in ("public", "community"):
        return row
    if caller.project_id is not None:
        if row.owner == caller.project_id:
            return row
        if row.visibility == "shared" and _membership(tx, row.id, caller.project_id) is not None:
            return row
    raise NotFound(f"No image found with ID {image_id}", type="NotFound")


def target(caller: Caller, row: Row[Any]) -> dict[str, Any]:
    """What policy rules about an image may ask of. A member of a shared image is the caller, once it is seen."""
    is_member = row.visibility == "shared" and row.owner != caller.project_id
    return {
        "project_id": row.owner,
        "owner": row.owner,
        "visibility": row.visibility if row.visibility != "shared" or is_member else "private",
        "member_id": caller.project_id if is_member else None,
        "image_id": row.id,
    }


def shown(row: Row[Any]) -> dict[str, Any]:
    """The image as answers show it."""
    values = shown_values(row)
    return {
        **values,
        "self": f"/v2/images/{quote(row.id)}",
        "file": f"/v2/images/{quote(row.id)}/file",
        "schema": "/v2/schemas/image",
    }


def shown_values(row: Row[Any]) -> dict[str, Any]:
    """Attributes and properties in one mapping; what filters look at."""
    values = row._mapping
    result: dict[str, Any] = dict(values["properties"])
    for attribute in IMAGE.attributes:
        result[attribute.name] = values[attribute.name]
    result["tags"] = values["tags"] or []
    for name in ("created_at", "updated_at"):
        result[name] = values[name][:19] + "Z"
    return result


def moment(tx: Tx) -> str:
    """Now, as image rows store it: microseconds, so that images sort as they were made."""
    return tx.now.strftime("%Y-%m-%dT%H:%M:%S.%f")


def _membership(tx: Tx, image_id: str, project_id: str) -> Row[Any] | None:
    return tx.first(select(members).where(members.c.image_id == image_id, members.c.member_id == project_id))


def _candidates(tx: Tx, caller: Caller, wanted: filters.Wanted) -> list[Row[Any]]:
    """The rows among which the query chooses: all for an administrator, else own, public, community and shared ones."""
    statement = select(images).order_by(images.c.created_at.desc(), images.c.id.desc())
    shared = select(members.c.image_id).where(members.c.member_id == caller.project_id)
    if wanted.member_status != "all":
        shared = shared.where(members.c.status == wanted.member_status)
    if wanted.visibility is None:
        # Community images are listed only when asked for.
        public = images.c.visibility == "public"
    else:
        public = images.c.visibility.in_(("public", "community"))
        if wanted.visibility != "all":
            statement = statement.where(images.c.visibility == wanted.visibility)
    if not caller.is_admin:
        own = images.c.owner == caller.project_id
        statement = statement.where(or_(own, public, (images.c.visibility == "shared") & images.c.id.in_(shared)))
    elif wanted.visibility is None:
        own = images.c.owner == caller.project_id
        statement = statement.where(or_(own, images.c.visibility != "community"))
    if wanted.visibility == "shared" and wanted.asks_member_status:
        statement = statement.where(images.c.id.in_(shared))
    return list(tx.all(statement))


def _require_visibility(call: Call, visibility: str, about: dict[str, Any]) -> None:
    if visibility == "public":
        require(call, "publicize_image", about)
    if visibility == "community":
        require(call, "communitize_image", about)


def _switch(call: Call, tx: Tx, rule: str, before: str, after: str) -> Reply:
    row = visible_image(tx, call.caller, call.params["id"])
    require(call, rule, target(call.caller, row))
    if row.status == after:
        return Reply(204)
    if row.status != before:
        raise Forbidden(f"Not allowed to {rule} image in status '{row.status}'", type="Forbidden")
    tx.execute(update(images).where(images.c.id == row.id).values(status=after, updated_at=moment(tx)))
    tx.changed("image", row.id)
    return Reply(204)


def _set_tags(tx: Tx, image_id: str, tags: list[str]) -> None:
    try:
        IMAGE.by_name["tags"].codec.decode(tags)
    except Invalid as error:
        raise BadRequest(f"Invalid image tag: {error.reason}") from None
    tx.execute(update(images).where(images.c.id == image_id).values(tags=tags, updated_at=moment(tx)))
    tx.changed("image", image_id)

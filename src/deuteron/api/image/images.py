"""The requests about images: what a body and a path say, what policy asks of, and how an image is shown.

An image that the caller may not see does not exist for them (404). One they see but may not change is
refused by policy (403).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

import msgspec

from deuteron.api.call import Call, Reply
from deuteron.api.image import patches, stores
from deuteron.api.image.policies import require, target
from deuteron.api.image.queries import read_query
from deuteron.api.links import page_from
from deuteron.model.errors import BadRequest
from deuteron.model.image import IMAGE
from deuteron.model.image_rows import ImageRow
from deuteron.rules.image import attributes, changes, images, listing
from deuteron.rules.image.stores import names_of
from deuteron.store.database import Tx


def list_images(call: Call, tx: Tx) -> Reply:
    """Newest first unless the query sorts otherwise. `next` leads on when more than `limit` match."""
    require(call, "get_images", {"project_id": call.caller.project_id})
    page = listing.images_page(tx, call.caller, read_query(call))
    query = [(key, value) for key, value in call.query if key != "marker"]
    body: dict[str, Any] = {
        "images": [_shown(call, row) for row in page.rows],
        "first": "/v2/images" + (f"?{urlencode(query)}" if query else ""),
        "schema": "/v2/schemas/images",
    }
    if page.more:
        body["next"] = page_from("/v2/images", query, page.rows[-1]["id"])
    return Reply(200, body)


def show_image(call: Call, tx: Tx) -> Reply:
    return Reply(200, _shown(call, _find(call, tx, "get_image")))


def create_image(call: Call, tx: Tx) -> Reply:
    body = call.json()
    if not isinstance(body, dict):
        raise BadRequest("The request body is not a JSON object")
    row = make_image(call, tx, body)
    headers = {"Location": f"{call.base_url}/image/v2/images/{row['id']}"}
    methods = ",".join(stores.methods(call))
    if methods:
        headers["OpenStack-image-import-methods"] = methods
    options = call.settings.operator.image
    if options.stores:
        headers["OpenStack-image-store-ids"] = ",".join(options.stores)
    return Reply(201, _shown(call, row), headers)


def make_image(call: Call, tx: Tx, body: Mapping[str, Any]) -> ImageRow:
    """An image as the body says, without data. Raises: BadRequest, Forbidden, Conflict, TooLarge."""
    values, properties = attributes.decode_create(body)
    owner = values.get("owner")
    if owner is None:
        owner = values["owner"] = call.caller.project_id
    images.refuse_foreign_owner(call.caller, owner)
    require(call, "add_image", {"project_id": owner, "owner": owner})
    _require_visibility(call, values["visibility"], {"project_id": owner})
    return images.create(tx, call.settings.operator.image, values, properties)


def patch_image(call: Call, tx: Tx) -> Reply:
    """A JSON patch of either media type, applied whole or not at all."""
    wanted = patches.read_patch(call)
    row = _find(call, tx, "modify_image")
    values, properties = changes.apply(row, wanted, is_admin=call.caller.is_admin)
    if "visibility" in values and values["visibility"] != row["visibility"]:
        _require_visibility(call, values["visibility"], target(call.caller, row))
    return Reply(200, _shown(call, images.change(tx, row, {**values, "properties": properties})))


def deactivate(call: Call, tx: Tx) -> Reply:
    images.deactivate(tx, _find(call, tx, "deactivate"))
    return Reply(204)


def reactivate(call: Call, tx: Tx) -> Reply:
    images.reactivate(tx, _find(call, tx, "reactivate"))
    return Reply(204)


def add_tag(call: Call, tx: Tx) -> Reply:
    images.add_tag(tx, _find(call, tx, "modify_image"), call.params["tag"])
    return Reply(204)


def remove_tag(call: Call, tx: Tx) -> Reply:
    images.remove_tag(tx, _find(call, tx, "modify_image"), call.params["tag"])
    return Reply(204)


def _find(call: Call, tx: Tx, rule: str) -> ImageRow:
    """The image of the path. Raises: NotFound; Forbidden unless the rule lets the caller."""
    row = images.find_visible(tx, call.caller, call.params["id"])
    require(call, rule, target(call.caller, row))
    return row


def _require_visibility(call: Call, visibility: str, about: dict[str, Any]) -> None:
    if visibility == "public":
        require(call, "publicize_image", about)
    if visibility == "community":
        require(call, "communitize_image", about)


def _shown(call: Call, row: Mapping[str, Any]) -> dict[str, Any]:
    """The image as answers show it: attributes and properties in one object."""
    properties = row["properties"]
    # A row of a list has its nested values as text.
    shown: dict[str, Any] = msgspec.json.decode(properties) if isinstance(properties, msgspec.Raw) else dict(properties)
    for attribute in IMAGE.attributes:
        shown[attribute.name] = row[attribute.name]
    shown["tags"] = row["tags"] or []
    for name in ("created_at", "updated_at"):
        shown[name] = row[name][:19] + "Z"
    shown["self"] = f"/v2/images/{quote(row['id'])}"
    shown["file"] = f"/v2/images/{quote(row['id'])}/file"
    shown["schema"] = "/v2/schemas/image"
    held = names_of(call.settings.operator.image, row)
    if held:
        shown["stores"] = ",".join(held)
    return shown

"""Images as the Compute API changed them: their metadata until 2.38, their deletion until 2.35.

Each change calls the image service's own functions, with its policy.

Source: nova/api/openstack/compute/image_metadata.py, images.py.
"""

from __future__ import annotations

from deuteron.api.call import Call, Reply
from deuteron.api.compute import bodies
from deuteron.api.compute.bodies import wrapped
from deuteron.api.compute.versions import only_until
from deuteron.api.image import files
from deuteron.api.image.policies import require, target
from deuteron.model.errors import Forbidden, NotFound
from deuteron.model.image_rows import ImageRow
from deuteron.rules.compute import images
from deuteron.rules.image import images as image_rules
from deuteron.store.database import Tx

_LAST = 38


def index(call: Call, tx: Tx) -> Reply:
    only_until(call, _LAST)
    return Reply(200, {"metadata": _image(call, tx)["properties"] or {}})


def show(call: Call, tx: Tx) -> Reply:
    only_until(call, _LAST)
    properties, key = _image(call, tx)["properties"] or {}, call.params["key"]
    if key not in properties:
        raise NotFound("The resource could not be found.", type="HTTPNotFound")
    return Reply(200, {"meta": {key: properties[key]}})


def merge(call: Call, tx: Tx) -> Reply:
    only_until(call, _LAST)
    given = bodies.metadata("metadata", wrapped(call, "metadata").raw)
    row = _image(call, tx)
    return Reply(200, {"metadata": _set(call, tx, row, {**(row["properties"] or {}), **given})})


def replace(call: Call, tx: Tx) -> Reply:
    only_until(call, _LAST)
    given = bodies.metadata("metadata", wrapped(call, "metadata").raw)
    return Reply(200, {"metadata": _set(call, tx, _image(call, tx), given)})


def set_one(call: Call, tx: Tx) -> Reply:
    only_until(call, _LAST)
    given = bodies.one_item(call)
    row = _image(call, tx)
    _set(call, tx, row, {**(row["properties"] or {}), **given})
    return Reply(200, {"meta": given})


def remove(call: Call, tx: Tx) -> Reply:
    only_until(call, _LAST)
    row = _image(call, tx)
    properties = dict(row["properties"] or {})
    if properties.pop(call.params["key"], None) is None:
        raise NotFound("Invalid metadata key", type="HTTPNotFound")
    _set(call, tx, row, properties)
    return Reply(204)


async def remove_image(call: Call) -> Reply:
    """DELETE /images/{id}, until 2.35."""
    only_until(call, 35)
    try:
        return await files.delete(call)
    except NotFound:
        raise NotFound("Image not found.", type="HTTPNotFound") from None


def _image(call: Call, tx: Tx) -> ImageRow:
    try:
        row = image_rules.find_visible(tx, call.caller, call.params["id"])
        require(call, "get_image", target(call.caller, row))
    except (NotFound, Forbidden):
        raise NotFound("Image not found.", type="HTTPNotFound") from None
    return row


def _set(call: Call, tx: Tx, row: ImageRow, properties: dict[str, str]) -> dict[str, str]:
    images.check_metadata(tx, call.caller, properties)
    require(call, "modify_image", target(call.caller, row))
    image_rules.set_properties(tx, row, properties)
    return properties

"""JSON patches of images, in both media types of Glance.

application/openstack-images-v2.1-json-patch   [{"op": "replace", "path": "/name", "value": "x"}]
application/openstack-images-v2.0-json-patch   [{"replace": "/name", "value": "x"}]
"""

from __future__ import annotations

from typing import Any

from deuteron.api.call import Call
from deuteron.model.codecs import quoted
from deuteron.model.errors import BadRequest, Forbidden, TooLarge, Unsupported
from deuteron.model.image import MAX_CHANGES
from deuteron.rules.image import attributes
from deuteron.rules.image.changes import Change

MEDIA_TYPES = (
    "application/openstack-images-v2.1-json-patch",
    "application/openstack-images-v2.0-json-patch",
)
_VERBS = ("add", "replace", "remove")


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
    if parts[0] == "id":
        raise Forbidden("Attribute 'id' is read-only.", type="Forbidden")
    attributes.refuse_kept(parts[0])
    return Change(verb, parts[0], tuple(parts[1:]), item.get("value"))

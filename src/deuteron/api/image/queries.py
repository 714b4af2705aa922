"""What a list of images asks for beside filters and pages: the order in its new form, and whose images are seen.

Source: Glance api-ref, "List images": `sort=name:asc,size:desc`, `visibility`, `member_status`, `os_hidden`.
"""

from __future__ import annotations

from dataclasses import replace

from deuteron.api.call import Call
from deuteron.model.codecs import is_uuid
from deuteron.model.errors import BadRequest
from deuteron.model.image import MEMBER_STATUSES, VISIBILITIES
from deuteron.rules.image.listing import WORDS, Wanted, boolean
from deuteron.store import listing
from deuteron.store.listing import Asked


def read_query(call: Call) -> Wanted:
    """The query of `GET /v2/images`. Raises: BadRequest."""
    asked = listing.read(call.query, WORDS)
    order = None
    visibility = None
    member_status, asks_member_status = "accepted", False
    hidden = False
    for name, text in call.query:
        if name == "marker" and not is_uuid(text):
            raise BadRequest("Invalid marker format")
        if name == "sort":
            order = _order(asked, text)
        elif name == "visibility":
            if text not in (*VISIBILITIES, "all"):
                raise BadRequest(f"Invalid visibility value: {text}")
            visibility = text
        elif name == "member_status":
            if text not in (*MEMBER_STATUSES, "all"):
                raise BadRequest(f"Invalid status: {text}")
            member_status, asks_member_status = text, True
        elif name == "os_hidden":
            hidden = boolean(name, text)
    if order is not None:
        asked = replace(asked, keys=tuple(key for key, _ in order), directions=tuple(way for _, way in order))
    return Wanted(asked, visibility, member_status, asks_member_status, hidden)


def _order(asked: Asked, text: str) -> list[tuple[str, str]]:
    """Keys and directions of `sort=name:asc,size:desc`."""
    if asked.keys or asked.directions:
        raise BadRequest("Old and new sorting syntax cannot be combined")
    parts = [part.strip().partition(":") for part in text.split(",")]
    return [(key, direction or "desc") for key, _, direction in parts]

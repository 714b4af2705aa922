"""The requests about members of shared images."""

from __future__ import annotations

from typing import Any

from deuteron.api.call import Call, Reply
from deuteron.api.image.policies import require, target
from deuteron.model.errors import BadRequest
from deuteron.model.image_rows import ImageRow
from deuteron.model.scalars import ProjectId
from deuteron.rules.image import images, members
from deuteron.store.database import Tx


def list_members(call: Call, tx: Tx) -> Reply:
    """All for the owner; a member sees itself."""
    rows = members.members_of(tx, call.caller, _image(call, tx, "get_members"))
    return Reply(200, {"members": [_shown(row) for row in rows], "schema": "/v2/schemas/members"})


def show_member(call: Call, tx: Tx) -> Reply:
    image = _image(call, tx, "get_member")
    return Reply(200, _shown(members.find(tx, call.caller, image, ProjectId(call.params["member_id"]))))


def add_member(call: Call, tx: Tx) -> Reply:
    image = _image(call, tx, "add_member")
    body = call.json()
    member_id = body.get("member") if isinstance(body, dict) else None
    if not isinstance(member_id, str) or not 0 < len(member_id) <= 255:
        raise BadRequest("Member to be added not specified")
    return Reply(200, _shown(members.add(tx, image, ProjectId(member_id))))


def update_member(call: Call, tx: Tx) -> Reply:
    """The member itself, or an administrator, says what it thinks of the image."""
    image = _image(call, tx, "modify_member")
    body = call.json()
    status = body.get("status") if isinstance(body, dict) else None
    row = members.find(tx, call.caller, image, ProjectId(call.params["member_id"]))
    return Reply(200, _shown(members.change(tx, call.caller, row, status)))


def remove_member(call: Call, tx: Tx) -> Reply:
    image = _image(call, tx, "delete_member")
    members.remove(tx, members.find(tx, call.caller, image, ProjectId(call.params["member_id"])))
    return Reply(204)


def _image(call: Call, tx: Tx, rule: str) -> ImageRow:
    row = images.find_visible(tx, call.caller, call.params["id"])
    require(call, rule, target(call.caller, row))
    return row


def _shown(row: members.MemberRow) -> dict[str, Any]:
    return {
        "member_id": row["member_id"],
        "image_id": row["image_id"],
        "status": row["status"],
        "created_at": row["created_at"][:19] + "Z",
        "updated_at": row["updated_at"][:19] + "Z",
        "schema": "/v2/schemas/member",
    }

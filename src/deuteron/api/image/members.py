"""Members of shared images: projects that an owner lets use an image, and what they said to it."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Row, delete, select, update

from deuteron.api.call import Call, Reply
from deuteron.api.image.images import moment, target, visible_image
from deuteron.api.image.policies import require
from deuteron.model.errors import BadRequest, Conflict, Forbidden, NotFound
from deuteron.model.image import MEMBER_STATUSES
from deuteron.store.database import Tx
from deuteron.store.image_tables import members

MAX_MEMBERS = 128


def list_members(call: Call, tx: Tx) -> Reply:
    """All for the owner; a member sees itself."""
    image = visible_image(tx, call.caller, call.params["id"])
    require(call, "get_members", target(call.caller, image))
    if image.visibility != "shared" and not _owns(call, image):
        raise NotFound(f"No image found with ID {image.id}")
    statement = select(members).where(members.c.image_id == image.id).order_by(members.c.created_at)
    rows = tx.all(statement if _owns(call, image) else statement.where(members.c.member_id == call.caller.project_id))
    return Reply(200, {"members": [_shown(row) for row in rows], "schema": "/v2/schemas/members"})


def show_member(call: Call, tx: Tx) -> Reply:
    image = visible_image(tx, call.caller, call.params["id"])
    require(call, "get_member", target(call.caller, image))
    return Reply(200, _shown(_find(call, tx, image, call.params["member_id"])))


def add_member(call: Call, tx: Tx) -> Reply:
    image = visible_image(tx, call.caller, call.params["id"])
    require(call, "add_member", target(call.caller, image))
    body = call.json()
    member_id = body.get("member") if isinstance(body, dict) else None
    if not isinstance(member_id, str) or not 0 < len(member_id) <= 255:
        raise BadRequest("Member to be added not specified")
    if image.visibility != "shared":
        raise Forbidden("Only shared images have members.", type="Forbidden")
    known = tx.scalars(select(members.c.member_id).where(members.c.image_id == image.id))
    if member_id in known:
        raise Conflict(f"Member {member_id} is duplicated for image {image.id}")
    if len(known) >= MAX_MEMBERS:
        raise Conflict(f"The limit of {MAX_MEMBERS} members has been reached for image {image.id}")
    now = moment(tx)
    tx.insert(
        members,
        {"image_id": image.id, "member_id": member_id, "status": "pending", "created_at": now, "updated_at": now},
    )
    tx.changed("image", image.id)
    return Reply(200, _shown(_find(call, tx, image, member_id)))


def update_member(call: Call, tx: Tx) -> Reply:
    """The member itself, or an administrator, says what it thinks of the image."""
    image = visible_image(tx, call.caller, call.params["id"])
    require(call, "modify_member", target(call.caller, image))
    body = call.json()
    status = body.get("status") if isinstance(body, dict) else None
    row = _find(call, tx, image, call.params["member_id"])
    if status not in MEMBER_STATUSES:
        raise BadRequest(f"Status must be one of {', '.join(MEMBER_STATUSES)}, not {status!r}")
    if not call.caller.is_admin and row.member_id != call.caller.project_id:
        raise Forbidden("You are not permitted to modify the status of this image member.", type="Forbidden")
    tx.execute(
        update(members)
        .where(members.c.image_id == image.id, members.c.member_id == row.member_id)
        .values(status=status, updated_at=moment(tx))
    )
    tx.changed("image", image.id)
    return Reply(200, _shown(_find(call, tx, image, row.member_id)))


def remove_member(call: Call, tx: Tx) -> Reply:
    image = visible_image(tx, call.caller, call.params["id"])
    require(call, "delete_member", target(call.caller, image))
    row = _find(call, tx, image, call.params["member_id"])
    tx.execute(delete(members).where(members.c.image_id == image.id, members.c.member_id == row.member_id))
    tx.changed("image", image.id)
    return Reply(204)


def _owns(call: Call, image: Row[Any]) -> bool:
    return call.caller.is_admin or image.owner == call.caller.project_id


def _find(call: Call, tx: Tx, image: Row[Any], member_id: str) -> Row[Any]:
    row = tx.first(select(members).where(members.c.image_id == image.id, members.c.member_id == member_id))
    if row is None or not (_owns(call, image) or member_id == call.caller.project_id):
        raise NotFound(f"{member_id} not found in the member list of the image {image.id}.")
    return row


def _shown(row: Row[Any]) -> dict[str, Any]:
    return {
        "member_id": row.member_id,
        "image_id": row.image_id,
        "status": row.status,
        "created_at": row.created_at[:19] + "Z",
        "updated_at": row.updated_at[:19] + "Z",
        "schema": "/v2/schemas/member",
    }

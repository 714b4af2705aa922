"""Members of shared images: projects that an owner lets use an image, and what they said to it."""

from __future__ import annotations

from typing import Any, cast

from sqlalchemy import ColumnElement, Row, delete, select, update
from typing_extensions import ReadOnly, TypedDict

from deuteron.model.caller import Caller
from deuteron.model.errors import BadRequest, Conflict, Forbidden, NotFound
from deuteron.model.image import MEMBER_STATUSES
from deuteron.model.image_rows import ImageRow
from deuteron.model.scalars import ImageId, ProjectId
from deuteron.rules.image.images import moment
from deuteron.store import query
from deuteron.store.database import Tx
from deuteron.store.image_tables import members

MAX_MEMBERS = 128


class MemberRow(TypedDict):
    image_id: ReadOnly[ImageId]
    member_id: ReadOnly[ProjectId]
    status: ReadOnly[str]
    created_at: ReadOnly[str]
    updated_at: ReadOnly[str]


def members_of(tx: Tx, caller: Caller, image: ImageRow) -> list[MemberRow]:
    """All for the owner, the oldest first; a member sees itself. Raises: NotFound."""
    owns = _owns(caller, image)
    if image["visibility"] != "shared" and not owns:
        raise NotFound(f"No image found with ID {image['id']}")
    statement = select(members).where(members.c.image_id == image["id"]).order_by(members.c.created_at)
    rows = tx.all(statement if owns else statement.where(members.c.member_id == caller.project_id))
    return [_member(row) for row in rows]


def find(tx: Tx, caller: Caller, image: ImageRow, member_id: ProjectId) -> MemberRow:
    """Raises: NotFound, also for another project's membership of an image that is not the caller's."""
    row = tx.first(select(members).where(members.c.image_id == image["id"], members.c.member_id == member_id))
    if row is None or not (_owns(caller, image) or member_id == caller.project_id):
        raise NotFound(f"{member_id} not found in the member list of the image {image['id']}.")
    return _member(row)


def add(tx: Tx, image: ImageRow, member_id: ProjectId) -> MemberRow:
    """Raises: Forbidden for an image that is not shared; Conflict."""
    if image["visibility"] != "shared":
        raise Forbidden("Only shared images have members.", type="Forbidden")
    known = tx.scalars(select(members.c.member_id).where(members.c.image_id == image["id"]))
    if member_id in known:
        raise Conflict(f"Member {member_id} is duplicated for image {image['id']}")
    if len(known) >= MAX_MEMBERS:
        raise Conflict(f"The limit of {MAX_MEMBERS} members has been reached for image {image['id']}")
    now = moment(tx)
    made: MemberRow = {
        "image_id": image["id"],
        "member_id": member_id,
        "status": "pending",
        "created_at": now,
        "updated_at": now,
    }
    tx.insert(members, {**made})
    tx.changed("image", image["id"])
    return made


def change(tx: Tx, caller: Caller, row: MemberRow, status: object) -> MemberRow:
    """The member itself, or an administrator, says what it thinks of the image. Raises: BadRequest, Forbidden."""
    if status not in MEMBER_STATUSES:
        raise BadRequest(f"Status must be one of {', '.join(MEMBER_STATUSES)}, not {status!r}")
    if not caller.is_admin and row["member_id"] != caller.project_id:
        raise Forbidden("You are not permitted to modify the status of this image member.", type="Forbidden")
    changed = {"status": status, "updated_at": moment(tx)}
    tx.execute(update(members).where(*_is(row)).values(changed))
    tx.changed("image", row["image_id"])
    return query.with_values(row, changed)


def remove(tx: Tx, row: MemberRow) -> None:
    tx.execute(delete(members).where(*_is(row)))
    tx.changed("image", row["image_id"])


def _owns(caller: Caller, image: ImageRow) -> bool:
    return caller.is_admin or image["owner"] == caller.project_id


def _is(row: MemberRow) -> tuple[ColumnElement[bool], ...]:
    return members.c.image_id == row["image_id"], members.c.member_id == row["member_id"]


def _member(row: Row[Any]) -> MemberRow:
    return cast("MemberRow", dict(row._mapping))

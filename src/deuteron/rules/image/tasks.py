"""Tasks: what is done for an image after the request was answered.

    pending --begin--> processing --succeed--> success
       `-------------------+-----fail--------> failure

A task that is done is kept for `TIME_TO_LIVE`. What a stop or a crash found unfinished has failed, and `bootstrap` of
`data` says so at the next start.

Source: glance/domain/__init__.py (transitions), glance/db/sqlalchemy/api.py (who sees which), and the option
`task_time_to_live`.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import timedelta
from typing import Final, cast

from sqlalchemy import ColumnElement, delete, or_, update

from deuteron.model.caller import Caller
from deuteron.model.errors import BadRequest, NotFound
from deuteron.model.image import TASK, TASK_STATUSES
from deuteron.model.image_rows import TaskRow
from deuteron.store import filters, listing, query
from deuteron.store.database import Tx
from deuteron.store.image_tables import tasks
from deuteron.store.listing import Asked, Listing, Part
from deuteron.store.query import Order

TIME_TO_LIVE: Final = timedelta(hours=48)
MAX_MESSAGE_LENGTH: Final = 1000
UNFINISHED: Final = ("pending", "processing")
_NEWEST_FIRST: Final = (Order("created_at", descending=True), Order("id", descending=True))


def make(
    tx: Tx, caller: Caller, type: str, input: Mapping[str, object], image_id: str | None, request_id: str
) -> TaskRow:
    """A new task of the caller's project, pending. Those that have expired go."""
    now = _text(tx, timedelta())
    tx.execute(delete(tasks).where(tasks.c.expires_at < now))
    id = str(uuid.uuid4())
    made = {
        "id": id,
        "type": type,
        "status": "pending",
        "owner": caller.project_id,
        "input": dict(input),
        "message": "",
        "image_id": image_id,
        "request_id": request_id,
        "user_id": caller.user_id,
        "created_at": now,
        "updated_at": now,
    }
    query.add(tx, tasks, made)
    return find(tx, id)


def begin(tx: Tx, task_id: str) -> bool:
    """Whether it was pending, and is under way now."""
    waiting = update(tasks).where(tasks.c.id == task_id, tasks.c.status == "pending")
    return tx.execute(waiting.values(status="processing", updated_at=_text(tx, timedelta()))).rowcount == 1


def succeed(tx: Tx, task_id: str, result: Mapping[str, object], message: str) -> None:
    _end(tx, tasks.c.id == task_id, status="success", result=dict(result), message=message)


def fail(tx: Tx, task_id: str, message: str) -> None:
    """Unless it is done already."""
    _end(tx, tasks.c.id == task_id, status="failure", message=message[:MAX_MESSAGE_LENGTH])


def makes_images(tx: Tx, task_id: str) -> bool:
    """Whether the image of the task is its own, and goes when it fails."""
    return query.first(tx, tasks, tasks.c.id == task_id, tasks.c.type == "import") is not None


def fail_unfinished(tx: Tx, message: str) -> None:
    _end(tx, tasks.c.status.in_(UNFINISHED), status="failure", message=message)


def find(tx: Tx, task_id: str) -> TaskRow:
    """The task, whoever asks. Raises: NotFound."""
    row = query.row_by_id(tx, tasks, task_id, _lives(tx))
    if row is None:
        raise NotFound(f"No task found with ID {task_id}", type="NotFound")
    return row


def page(tx: Tx, asked: Asked) -> Part[TaskRow]:
    """Tasks of everybody, the newest first unless the query sorts otherwise. Raises: BadRequest."""
    for name, text in asked.filters:
        if name == "status" and text not in TASK_STATUSES:
            raise BadRequest(f"Invalid status value: {text}")
        if name == "type" and text != "import":
            raise BadRequest(f"Invalid type value: {text}")
    conditions = [_lives(tx), *filters.conditions(tasks, TASK.by_name, asked.filters, filters.Words())]
    column = listing.sorted_by(TASK)
    order = listing.order_of(asked, WORDS, TASK.collection, column, default=_NEWEST_FIRST, last=_NEWEST_FIRST)
    found = listing.whole_rows(tx, Listing(tasks, conditions, order), asked, WORDS)
    return Part([cast("TaskRow", dict(row._mapping)) for row in found.rows], found.more)


def of_image(tx: Tx, caller: Caller, image_id: str) -> list[TaskRow]:
    """Those of the image that the caller's project asked for, all for an administrator; the oldest first."""
    conditions: list[ColumnElement[bool]] = [tasks.c.image_id == image_id, _lives(tx)]
    if not caller.is_admin:
        conditions.append(tasks.c.owner == caller.project_id)
    return query.rows(tx, tasks, *conditions, order_by=(tasks.c.created_at, tasks.c.id))


def _end(tx: Tx, which: ColumnElement[bool], **values: object) -> None:
    times = {"updated_at": _text(tx, timedelta()), "expires_at": _text(tx, TIME_TO_LIVE)}
    tx.execute(update(tasks).where(which, tasks.c.status.in_(UNFINISHED)).values({**values, **times}))


def _lives(tx: Tx) -> ColumnElement[bool]:
    return or_(tasks.c.expires_at.is_(None), tasks.c.expires_at >= _text(tx, timedelta()))


def _text(tx: Tx, later: timedelta) -> str:
    return (tx.now + later).strftime("%Y-%m-%dT%H:%M:%S.%f")


WORDS: Final = listing.Words(
    bad_limit=lambda text: BadRequest(f"limit param must be {'positive' if text.startswith('-') else 'an integer'}"),
    no_marker=lambda marker: BadRequest(f"No task found with ID {marker}"),
    bad_keys=lambda _, keys: BadRequest(f"Sort key supplied was not valid: {keys[0]}"),
    bad_directions=lambda given: BadRequest(f"Invalid sort direction: {listing.odd(given)[0]}"),
    default_limit=25,
    max_limit=1000,
    direction="desc",
    turns_default=True,
    many_keys=False,
)

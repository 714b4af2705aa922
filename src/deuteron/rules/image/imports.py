"""Imports: data that were staged, or that lie elsewhere, become an image's.

A request says what is to be imported and makes a task; the states of image and task then change here, in transactions
of the job that does it. The image is what tells whether the job may go on: one that was deleted, or is not being
imported by this task, takes nothing.

Source: glance/api/v2/images.py (`import_image`), glance/async_/flows/api_image_import.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import update

from deuteron.model.caller import Caller
from deuteron.model.errors import ApiError, Conflict, Gone
from deuteron.model.image_rows import ImageRow, TaskRow
from deuteron.model.settings import ImageOptions, Settings
from deuteron.rules.image import data, images, limits, tasks
from deuteron.rules.image.data import Declared, Received
from deuteron.rules.image.images import moment
from deuteron.rules.image.inspect import Inspection
from deuteron.store import query
from deuteron.store.database import Tx
from deuteron.store.image_tables import images as table


@dataclass(frozen=True)
class Begun:
    """What an import is about: the image as it was declared, and how many bytes there is room for."""

    declared: Declared
    most_bytes: int


def begin_stage(tx: Tx, options: ImageOptions, row: ImageRow, size: int) -> None:
    """Data are about to be staged, of `size` bytes if that is known. Raises: Conflict, TooLarge."""
    limits.check_stage(tx, options, row["owner"], size)
    if row["status"] != "queued":
        raise Conflict(f"Image status transition from {row['status']} to uploading is not allowed")
    limits.check_uploading(tx, options, row["owner"])
    images.change(tx, row, {"status": "uploading"})


def finish_stage(tx: Tx, image_id: str, size: int) -> None:
    """The data are staged whole. Raises: Gone when the image was deleted meanwhile."""
    staged = update(table).where(table.c.id == image_id, table.c.status == "uploading", table.c.size.is_(None))
    if tx.execute(staged.values(size=size, updated_at=moment(tx))).rowcount != 1:
        raise Gone(f"Image {image_id} could not be found after the upload. It may have been deleted during the upload.")
    tx.changed("image", image_id)


def give_back_stage(tx: Tx, settings: Settings, image_id: str) -> None:
    """Make the image queued again and remove its file, unless staging was finished after all."""
    row = query.row_by_id(tx, table, image_id)
    if row is not None and (row["status"] != "uploading" or row["size"] is not None):
        return
    data.staged_path(settings, image_id).unlink(missing_ok=True)
    if row is not None:
        images.change(tx, row, {"status": "queued"})


def begin(
    tx: Tx,
    caller: Caller,
    options: ImageOptions,
    row: ImageRow,
    method: str,
    request: Mapping[str, object],
    request_id: str,
) -> TaskRow:
    """The image is being imported from now on, by the task. `request` is the body, which the task shows.

    Raises: Conflict for an image that is not in the state for it, or without formats; TooLarge.
    """
    given = {"image_id": row["id"], "import_req": dict(request), "backend": [None]}
    return _begin(tx, caller, options, row, method, "api_image_import", given, request_id)


def begin_whole(
    tx: Tx, caller: Caller, options: ImageOptions, row: ImageRow, given: Mapping[str, object], request_id: str
) -> TaskRow:
    """A task made the image, and downloads its data. Raises: what `begin` does."""
    return _begin(tx, caller, options, row, "web-download", "import", given, request_id)


def _begin(
    tx: Tx,
    caller: Caller,
    options: ImageOptions,
    row: ImageRow,
    method: str,
    type: str,
    given: Mapping[str, object],
    request_id: str,
) -> TaskRow:
    refuse(row, method)
    limits.check_size(tx, options, row["owner"], 0)
    if method == "web-download":
        limits.check_uploading(tx, options, row["owner"])
    task = tasks.make(tx, caller, type, given, row["id"], request_id)
    notes = {data.TASK_PROPERTY: task["id"], data.IMPORTING_PROPERTY: "", data.FAILED_PROPERTY: ""}
    images.change(tx, row, {"status": "importing", "properties": {**row["properties"], **notes}})
    return task


def refuse(row: ImageRow, method: str) -> None:
    """Raises: Conflict for an image that is not in the state for the method, or without formats."""
    if row["status"] == "active":
        raise Conflict("Image with status active cannot be target for import")
    if method == "web-download" and row["status"] != "queued":
        raise Conflict(f"Image needs to be in 'queued' state to use '{method}' method")
    if method == "glance-direct" and (row["status"] != "uploading" or row["size"] is None):
        raise Conflict("Image needs to be staged before 'glance-direct' method can be used")
    for name in ("container_format", "disk_format"):
        if not row.get(name):
            raise Conflict(f"'{name}' needs to be set before import")


def start(tx: Tx, options: ImageOptions, task_id: str, image_id: str) -> Begun:
    """The job begins. Raises: Gone when there is nothing to do any more; TooLarge."""
    if not tasks.begin(tx, task_id):
        raise Gone(f"Task {task_id} is not waiting")
    row = _held(tx, task_id, image_id)
    if row is None or row["disk_format"] is None or row["container_format"] is None:
        raise Gone("Image has been deleted, aborting import.")
    size = row["size"]
    if size is not None:
        limits.check_size(tx, options, row["owner"], size)
    declared = Declared(row["id"], row["disk_format"], row["container_format"])
    return Begun(declared, limits.room(tx, options, row["owner"]))


def finish(tx: Tx, task_id: str, declared: Declared, received: Received, result: Inspection | None) -> None:
    """The data are in place. Raises: Gone when the image was deleted meanwhile."""
    row = _held(tx, task_id, declared.id)
    if row is None:
        raise Gone("Image has been deleted, aborting import.")
    data.finish(tx, declared, received, result, before="importing")
    properties = {name: value for name, value in row["properties"].items() if name != data.TASK_PROPERTY}
    query.change(tx, table, declared.id, {"properties": properties})
    tasks.succeed(tx, task_id, {"image_id": declared.id}, f"Copied {received.size // limits.MIB} MiB")


def fail(tx: Tx, settings: Settings, task_id: str, image_id: str, error: ApiError) -> None:
    """The import has failed: its image is queued again, without data, unless somebody else has it.

    One that the task itself made goes.
    """
    tasks.fail(tx, task_id, error.message)
    row = query.row_by_id(tx, table, image_id)
    if row is not None and (row["status"] != "importing" or row["properties"].get(data.TASK_PROPERTY) != task_id):
        return
    data.path_of(settings, image_id).unlink(missing_ok=True)
    data.staged_path(settings, image_id).unlink(missing_ok=True)
    if row is not None and tasks.makes_images(tx, task_id):
        images.remove(tx, query.with_values(row, {"protected": False}))
    elif row is not None:
        data.forget_import(tx, image_id, status="queued", size=None)


def _held(tx: Tx, task_id: str, image_id: str) -> ImageRow | None:
    """The image, if the task is importing it."""
    row = query.row_by_id(tx, table, image_id)
    if row is None or row["status"] != "importing" or row["properties"].get(data.TASK_PROPERTY) != task_id:
        return None
    return row

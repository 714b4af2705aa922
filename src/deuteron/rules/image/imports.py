"""Imports: data that were staged, or that lie elsewhere, become an image's; or data of one go to more stores.

A request says what is to be imported and makes a task; the states of image and task then change here, in transactions
of the job that does it. The image is what tells whether the job may go on: one that was deleted, or is not being
imported by this task, takes nothing.

Notes in the image's properties say which stores the data are still to come to, and to which they did not come. If all
stores must succeed, the data are the image's once they are in the last one; if not, once they are in the first.

Source: glance/api/v2/images.py (`import_image`), glance/async_/flows/api_image_import.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sqlalchemy import update

from deuteron.model.caller import Caller
from deuteron.model.errors import ApiError, BadRequest, Conflict, Gone
from deuteron.model.image_rows import ImageRow, TaskRow
from deuteron.model.settings import ImageOptions, Settings
from deuteron.rules.image import data, images, limits, stores, tasks
from deuteron.rules.image.data import Declared, Received
from deuteron.rules.image.images import moment
from deuteron.rules.image.inspect import Inspection
from deuteron.store import query
from deuteron.store.database import Tx
from deuteron.store.image_tables import images as table

COPY: Final = "copy-image"


@dataclass(frozen=True)
class Target:
    """A store that an import is to; without a name the place that there is where an operator set none."""

    name: str | None
    folder: str


@dataclass(frozen=True)
class Begun:
    """What an import is about: the image as it was declared, how many bytes there is room for, and where they go."""

    declared: Declared
    most_bytes: int
    targets: tuple[Target, ...]
    must_succeed: bool
    """In every store."""


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
    names: Sequence[str | None],
    request_id: str,
) -> TaskRow | None:
    """The image is being imported to these stores from now on, by the task. `request` is the body, which it shows.

    None when all stores are asked for, and have the data.

    Raises: Conflict for an image that is not in the state for it, or without formats; BadRequest for a copy to a store
    that has one; TooLarge.
    """
    refuse(row, method)
    if method == COPY:
        present = stores.names_of(options, row)
        if request.get("all_stores"):
            names = [name for name in names if name not in present]
            if not names:
                return None
        for name in names:
            if name in present:
                raise BadRequest(f"Image is already present at store '{name}'")
    given = {"image_id": row["id"], "import_req": dict(request), "backend": list(names)}
    return _begin(tx, caller, options, row, method, "api_image_import", given, names, request_id)


def begin_whole(
    tx: Tx, caller: Caller, options: ImageOptions, row: ImageRow, given: Mapping[str, object], request_id: str
) -> TaskRow:
    """A task made the image, and downloads its data. Raises: what `begin` does."""
    refuse(row, "web-download")
    return _begin(tx, caller, options, row, "web-download", "import", given, [], request_id)


def _begin(
    tx: Tx,
    caller: Caller,
    options: ImageOptions,
    row: ImageRow,
    method: str,
    type: str,
    given: Mapping[str, object],
    to: Sequence[str | None],
    request_id: str,
) -> TaskRow:
    limits.check_size(tx, options, row["owner"], 0)
    if method != "glance-direct":
        limits.check_uploading(tx, options, row["owner"])
    task = tasks.make(tx, caller, type, given, row["id"], request_id)
    names = {name for name in to if name is not None}
    failed = data.split(row["properties"].get(data.FAILED_PROPERTY)) - names
    notes = {
        data.TASK_PROPERTY: task["id"],
        data.IMPORTING_PROPERTY: data.joined(names),
        data.FAILED_PROPERTY: data.joined(failed),
    }
    status = row["status"] if method == COPY else "importing"
    images.change(tx, row, {"status": status, "properties": {**row["properties"], **notes}})
    return task


def refuse(row: ImageRow, method: str) -> None:
    """Raises: Conflict for an image that is not in the state for the method, or without formats."""
    if row["status"] == "active" and method != COPY:
        raise Conflict("Image with status active cannot be target for import")
    if row["status"] != "active" and method == COPY:
        raise Conflict("Only images with status active can be targeted for copying")
    if method == "web-download" and row["status"] != "queued":
        raise Conflict(f"Image needs to be in 'queued' state to use '{method}' method")
    if method == "glance-direct" and (row["status"] != "uploading" or row["size"] is None):
        raise Conflict("Image needs to be staged before 'glance-direct' method can be used")
    for name in ("container_format", "disk_format"):
        if not row.get(name):
            raise Conflict(f"'{name}' needs to be set before import")
    if data.TASK_PROPERTY in row["properties"]:
        raise Conflict("Image has active task")


def start(tx: Tx, options: ImageOptions, task_id: str, image_id: str) -> Begun:
    """The job begins. Raises: Gone when there is nothing to do any more; TooLarge."""
    if not tasks.begin(tx, task_id):
        raise Gone(f"Task {task_id} is not waiting")
    row = _held(tx, task_id, image_id)
    if row["disk_format"] is None or row["container_format"] is None:
        raise Gone("Image has been deleted, aborting import.")
    size = row["size"]
    if size is not None and row["status"] == "importing":
        limits.check_size(tx, options, row["owner"], size)
    declared = Declared(row["id"], row["disk_format"], row["container_format"])
    given = tasks.find(tx, task_id)["input"]
    must_succeed = given.get("import_req", {}).get("all_stores_must_succeed", True)
    targets = tuple(_target(options, name) for name in given.get("backend", [None]))
    return Begun(declared, limits.room(tx, options, row["owner"]), targets, must_succeed)


def source_of(tx: Tx, settings: Settings, image_id: str) -> tuple[list[Path], int, str]:
    """The files that a copy may be made of, the best first, and the size and SHA-256 of each. Raises: Gone."""
    row = query.row_by_id(tx, table, image_id)
    if row is None or row["size"] is None or row["sha256"] is None:
        raise Gone("Image has been deleted, aborting import.")
    return stores.readable(settings, row), row["size"], row["sha256"]


def note_place(
    tx: Tx,
    task_id: str,
    begun: Begun,
    target: Target,
    received: Received,
    result: Inspection | None,
) -> None:
    """The data are in a store. Raises: Gone when the image was deleted meanwhile."""
    row = _noted(tx, task_id, begun, target)
    if begun.must_succeed:
        return
    if row["status"] == "importing":
        data.finish(tx, begun.declared, received, result, before="importing", folders=[target.folder])
    else:
        _add_folders(tx, row, [target])


def note_failure(tx: Tx, task_id: str, begun: Begun, target: Target) -> None:
    """The data did not come to a store, and need not. Raises: Gone when the image was deleted meanwhile."""
    row = _noted(tx, task_id, begun, target)
    failed = {*data.split(row["properties"].get(data.FAILED_PROPERTY)), *data.split(target.name)}
    images.change(tx, row, {"properties": {**row["properties"], data.FAILED_PROPERTY: data.joined(failed)}})


def finish(
    tx: Tx,
    task_id: str,
    begun: Begun,
    placed: Sequence[Target],
    received: Received,
    result: Inspection | None,
) -> None:
    """The data are in place, wherever they have come to. Raises: Gone when the image was deleted meanwhile."""
    row = _held(tx, task_id, begun.declared.id)
    if row["status"] == "importing":
        if not placed:
            raise ApiError("None of the uploads finished!")
        folders = [target.folder for target in placed]
        data.finish(tx, begun.declared, received, result, before="importing", folders=folders)
    elif begun.must_succeed:
        _add_folders(tx, row, placed)
    properties = {name: value for name, value in row["properties"].items() if name != data.TASK_PROPERTY}
    query.change(tx, table, row["id"], {"properties": properties})
    tasks.succeed(tx, task_id, {"image_id": row["id"]}, f"Copied {received.size // limits.MIB} MiB")
    tx.changed("image", row["id"])


def fail(
    tx: Tx, settings: Settings, task_id: str, image_id: str, error: ApiError, target: Target | None = None
) -> None:
    """The import has failed, at a store if it was at one: its image is queued again, without data, or has those that it
    had, unless somebody else has it.

    One that the task itself made goes.
    """
    tasks.fail(tx, task_id, error.message)
    row = query.row_by_id(tx, table, image_id)
    if row is not None and row["properties"].get(data.TASK_PROPERTY) != task_id:
        return
    kept = [] if row is None else stores.folders_of(row)
    for folder, place in stores.places(settings):
        if folder not in kept:
            (place / image_id).unlink(missing_ok=True)
    data.staged_path(settings, image_id).unlink(missing_ok=True)
    if row is None:
        return
    if tasks.makes_images(tx, task_id):
        images.remove(tx, query.with_values(row, {"protected": False}))
        return
    if row["status"] == "importing":
        data.forget_import(tx, image_id, status="queued", size=None)
    data.forget_copy(tx, image_id, failed="" if target is None else target.name or "")


def _target(options: ImageOptions, name: str | None) -> Target:
    store = None if name is None else stores.named(options, name)
    return Target(name, stores.default_folder(options) if store is None else store.folder)


def _noted(tx: Tx, task_id: str, begun: Begun, target: Target) -> ImageRow:
    """The image, which waits for this store no longer. Raises: Gone."""
    row = _held(tx, task_id, begun.declared.id)
    waiting = data.split(row["properties"].get(data.IMPORTING_PROPERTY)) - data.split(target.name)
    properties = {**row["properties"], data.IMPORTING_PROPERTY: data.joined(waiting)}
    return images.change(tx, row, {"properties": properties})


def _add_folders(tx: Tx, row: ImageRow, targets: Sequence[Target]) -> None:
    folders = [*stores.folders_of(row), *(target.folder for target in targets)]
    images.change(tx, row, {"folders": stores.column_of(list(dict.fromkeys(folders)))})


def _held(tx: Tx, task_id: str, image_id: str) -> ImageRow:
    """The image, if the task is importing it. Raises: Gone."""
    row = query.row_by_id(tx, table, image_id)
    if row is None or row["properties"].get(data.TASK_PROPERTY) != task_id:
        raise Gone("Image has been deleted, aborting import.")
    return row

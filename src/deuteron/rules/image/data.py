"""The data of images: files in the API's folder, one for each image, named by its id; and the states on the way there.

    images/<id>                 the data of an active or deactivated image; never written again
    images/.upload-<id>-<n>     an upload or a download under way
    images/.staged-<id>         data that were staged whole, until they are imported

    queued --begin--> saving --finish--> active
       ^----give_back---'

    queued --imports.begin_stage--> uploading --imports.begin--> importing --finish--> active
       ^---------------------------------------------imports.fail----'

What a crash leaves, `bootstrap` removes at the next start: temporary files, files without an image, and states of what
is no longer under way. What was staged whole can be imported again. This supposes one API process for the folder.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sqlalchemy import select, update

from deuteron.model.errors import BadRequest, Conflict, Gone, NotFound
from deuteron.model.image import ImageId
from deuteron.model.image_rows import ImageRow
from deuteron.model.settings import ImageOptions, Settings
from deuteron.rules.image import images as descriptions
from deuteron.rules.image import limits, tasks
from deuteron.rules.image.images import moment
from deuteron.rules.image.inspect import Inspection
from deuteron.store import query
from deuteron.store.database import Tx
from deuteron.store.image_tables import images

WITH_DATA: Final = ("active", "deactivated")
UNDER_WAY: Final = ("saving", "uploading", "importing")
TASK_PROPERTY: Final = "os_glance_import_task"
IMPORTING_PROPERTY: Final = "os_glance_importing_to_stores"
FAILED_PROPERTY: Final = "os_glance_failed_import"
PLAIN_CONTAINERS: Final = ("bare", "aki", "ari", "ami")
"""Containers that hold the disk as it is; what others hold is not looked into, and cannot be booted."""


@dataclass(frozen=True)
class Declared:
    """What an image was declared to be when its upload began."""

    id: str
    disk_format: str
    container_format: str


@dataclass(frozen=True)
class Received:
    """Size and digests of what was received."""

    size: int
    md5: str
    sha256: str
    sha512: str


def folder(settings: Settings) -> Path:
    return Path(settings.state_dir) / "images"


def path_of(settings: Settings, image_id: str) -> Path:
    """Where the data of the image are, once it has any."""
    return folder(settings) / image_id


def staged_path(settings: Settings, image_id: str) -> Path:
    """Where the data of an image wait for their import, once they are staged whole."""
    return folder(settings) / f".staged-{image_id}"


def new_upload(settings: Settings, image_id: str) -> Path:
    """A name that no other upload has."""
    return folder(settings) / f".upload-{image_id}-{secrets.token_hex(4)}"


def bootstrap(tx: Tx, settings: Settings) -> None:
    """Make the folder, and remove what a crash left in it. Run at every start, before requests are served."""
    place = folder(settings)
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    wanted = set(tx.scalars(select(images.c.id).where(images.c.status.in_(WITH_DATA))))
    for row in tx.all(select(images.c.id, images.c.size).where(images.c.status.in_(UNDER_WAY))):
        image = descriptions.find(tx, row.id)
        if tasks.makes_images(tx, image["properties"].get(TASK_PROPERTY, "")):
            descriptions.remove(tx, query.with_values(image, {"protected": False}))
            continue
        staged = staged_path(settings, row.id)
        is_staged = row.size is not None and staged.exists()
        if is_staged:
            wanted.add(staged.name)
        forget_import(tx, row.id, status="uploading" if is_staged else "queued", size=row.size if is_staged else None)
    tasks.fail_unfinished(tx, "The image service was stopped while the task was under way.")
    for entry in place.iterdir():
        if entry.is_file() and entry.name not in wanted:
            entry.unlink()


def forget_import(tx: Tx, image_id: str, *, status: str, size: int | None) -> None:
    """The image is no longer being imported, or uploaded: its status, and the size of what is staged."""
    properties = dict(descriptions.find(tx, image_id)["properties"])
    if properties.pop(TASK_PROPERTY, None) is not None:
        properties[IMPORTING_PROPERTY] = ""
    values = {"status": status, "size": size, "properties": properties, "updated_at": moment(tx)}
    tx.execute(update(images).where(images.c.id == image_id).values(values))
    tx.changed("image", image_id)


def open_image(settings: Settings, tx: Tx, image_id: str) -> tuple[Path, int, str]:
    """Path, size in bytes and SHA-256 of an image's data, for the agents.

    Raises: NotFound without such an image or its data; Conflict for data that were not inspected.
    """
    row = descriptions.find(tx, image_id)
    if row["status"] not in WITH_DATA or row["size"] is None or row["sha256"] is None:
        raise NotFound(f"image {image_id} has no data: its status is {row['status']}")
    if not row["is_inspected"]:
        raise Conflict(
            f"image {image_id} cannot be booted: its container format is {row['container_format']}, "
            f"and its content was not found to be {row['disk_format']}"
        )
    return path_of(settings, row["id"]), row["size"], row["sha256"]


def begin(tx: Tx, options: ImageOptions, row: ImageRow) -> Declared:
    """An upload begins. Raises: Conflict for an image that has data; BadRequest for one without formats; TooLarge."""
    if row["status"] != "queued":
        raise Conflict(f"Image status transition from {row['status']} to saving is not allowed")
    missing = [name for name in ("disk_format", "container_format") if row.get(name) is None]
    if missing or row["disk_format"] is None or row["container_format"] is None:
        raise BadRequest(f"Properties {', '.join(missing)} must be set prior to saving data.")
    limits.check_upload(tx, options, row["owner"])
    ImageId().decode(row["id"])
    descriptions.change(tx, row, {"status": "saving"})
    return Declared(row["id"], row["disk_format"], row["container_format"])


def finish(tx: Tx, declared: Declared, received: Received, result: Inspection | None, before: str = "saving") -> None:
    """The data are in place. Raises: Gone when the image was deleted meanwhile."""
    done = tx.execute(
        update(images)
        .where(images.c.id == declared.id, images.c.status == before)
        .values(
            status="active",
            size=received.size,
            virtual_size=None if result is None else result.virtual_size,
            checksum=received.md5,
            os_hash_algo="sha512",
            os_hash_value=received.sha512,
            sha256=received.sha256,
            is_inspected=result is not None,
            updated_at=moment(tx),
        )
    )
    if done.rowcount != 1:
        raise Gone(
            f"Image {declared.id} could not be found after upload. The image may have been deleted during the upload."
        )
    tx.changed("image", declared.id)


def give_back(tx: Tx, settings: Settings, image_id: str) -> None:
    """Make the image queued again and remove its file, unless the upload was finished after all."""
    if tx.first(select(images.c.id).where(images.c.id == image_id, images.c.status.in_(WITH_DATA))) is not None:
        return
    path_of(settings, image_id).unlink(missing_ok=True)
    done = tx.execute(
        update(images)
        .where(images.c.id == image_id, images.c.status == "saving")
        .values(status="queued", updated_at=moment(tx))
    )
    if done.rowcount:
        tx.changed("image", image_id)

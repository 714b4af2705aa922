"""The data of images: files in the API's folder, named by its image's id; and the states on the way there.

    images/<id>                 the data of an active or deactivated image; never written again
    images/.upload-<id>-<n>     an upload, a download or a copy under way, or what is being deleted
    images/.staged-<id>         data that were staged whole, until they are imported

The first two are in the folders of other stores, too (`stores`).

    queued --begin--> saving --finish--> active
       ^----give_back---'

    queued --imports.begin_stage--> uploading --imports.begin--> importing --finish--> active
       ^---------------------------------------------imports.fail----'

What a crash leaves, `bootstrap` removes at the next start: temporary files, files without an image, and states of what
is no longer under way. What was staged whole can be imported again. This supposes one API process for the folder.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sqlalchemy import select, update

from deuteron.model.errors import BadRequest, Conflict, Gone, NotFound
from deuteron.model.image import ImageId
from deuteron.model.image_rows import ImageRow
from deuteron.model.settings import ImageOptions, Settings
from deuteron.rules.image import images as descriptions
from deuteron.rules.image import limits, stores, tasks
from deuteron.rules.image.images import moment
from deuteron.rules.image.inspect import Inspection
from deuteron.rules.image.stores import FIRST, WITH_DATA
from deuteron.store import query
from deuteron.store.database import Tx
from deuteron.store.expressions import text_field
from deuteron.store.image_tables import images

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
    folder: str = FIRST
    """Of the store where the data go."""


@dataclass(frozen=True)
class Received:
    """Size and digests of what was received."""

    size: int
    md5: str
    sha256: str
    sha512: str


def path_of(settings: Settings, image_id: str, folder: str = FIRST) -> Path:
    """Where a store has the data of the image, once it has any."""
    return stores.place_of(settings, folder) / image_id


def copies_of(settings: Settings, image_id: str) -> list[Path]:
    """Wherever there may be data of the image: for one that is gone."""
    return [place / image_id for _, place in stores.places(settings)]


def staged_path(settings: Settings, image_id: str) -> Path:
    """Where the data of an image wait for their import, once they are staged whole."""
    return stores.place_of(settings, FIRST) / f".staged-{image_id}"


def new_upload(settings: Settings, image_id: str, folder: str = FIRST) -> Path:
    """A name that no other upload has."""
    return stores.place_of(settings, folder) / f".upload-{image_id}-{secrets.token_hex(4)}"


def bootstrap(tx: Tx, settings: Settings) -> None:
    """Make the folders, and remove what a crash left in them. Run at every start, before requests are served."""
    wanted: dict[str, set[str]] = {}
    for row in tx.all(select(images.c.id, images.c.folders).where(images.c.status.in_(WITH_DATA))):
        for folder in stores.folders_in(row.folders):
            wanted.setdefault(folder, set()).add(row.id)
    for row in tx.all(select(images.c.id, images.c.size).where(images.c.status.in_(UNDER_WAY))):
        image = descriptions.find(tx, row.id)
        if tasks.makes_images(tx, image["properties"].get(TASK_PROPERTY, "")):
            descriptions.remove(tx, query.with_values(image, {"protected": False}))
            continue
        staged = staged_path(settings, row.id)
        is_staged = row.size is not None and staged.exists()
        if is_staged:
            wanted.setdefault(FIRST, set()).add(staged.name)
        forget_import(tx, row.id, status="uploading" if is_staged else "queued", size=row.size if is_staged else None)
    copied = select(images.c.id).where(text_field(images.c.properties, TASK_PROPERTY).is_not(None))
    for image_id in list(tx.scalars(copied)):
        forget_copy(tx, image_id)
    tasks.fail_unfinished(tx, "The image service was stopped while the task was under way.")
    for folder, place in stores.places(settings):
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        for entry in place.iterdir():
            if entry.is_file() and entry.name not in wanted.get(folder, ()):
                entry.unlink()


def forget_import(tx: Tx, image_id: str, *, status: str, size: int | None) -> None:
    """The image is no longer being imported, or uploaded: its status, and the size of what is staged."""
    properties = dict(descriptions.find(tx, image_id)["properties"])
    if properties.pop(TASK_PROPERTY, None) is not None:
        properties[IMPORTING_PROPERTY] = ""
    values = {"status": status, "size": size, "properties": properties, "updated_at": moment(tx)}
    tx.execute(update(images).where(images.c.id == image_id).values(values))
    tx.changed("image", image_id)


def forget_copy(tx: Tx, image_id: str, failed: str | None = None) -> None:
    """An image that has data is no longer being copied. `failed` is the store that failed; None for all left over."""
    row = descriptions.find(tx, image_id)
    properties = dict(row["properties"])
    properties.pop(TASK_PROPERTY, None)
    lost = properties.get(IMPORTING_PROPERTY, "") if failed is None else failed
    properties[FAILED_PROPERTY] = joined({*split(properties.get(FAILED_PROPERTY)), *split(lost)})
    properties[IMPORTING_PROPERTY] = ""
    descriptions.change(tx, row, {"properties": properties})


def split(names: str | None) -> set[str]:
    """The stores that a note names."""
    return {name for name in (names or "").split(",") if name}


def joined(names: Iterable[str]) -> str:
    return ",".join(sorted(names))


def open_image(settings: Settings, tx: Tx, image_id: str) -> tuple[list[Path], int, str]:
    """Paths, the best first, size in bytes and SHA-256 of an image's data, for the agents.

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
    return stores.readable(settings, row), row["size"], row["sha256"]


def begin(tx: Tx, options: ImageOptions, row: ImageRow, folder: str | None = None) -> Declared:
    """An upload begins, to the folder of a store, or of the default one.

    Raises: Conflict for an image that has data; BadRequest for one without formats; TooLarge.
    """
    if row["status"] != "queued":
        raise Conflict(f"Image status transition from {row['status']} to saving is not allowed")
    missing = [name for name in ("disk_format", "container_format") if row.get(name) is None]
    if missing or row["disk_format"] is None or row["container_format"] is None:
        raise BadRequest(f"Properties {', '.join(missing)} must be set prior to saving data.")
    limits.check_upload(tx, options, row["owner"])
    ImageId().decode(row["id"])
    descriptions.change(tx, row, {"status": "saving"})
    where = stores.default_folder(options) if folder is None else folder
    return Declared(row["id"], row["disk_format"], row["container_format"], where)


def finish(
    tx: Tx,
    declared: Declared,
    received: Received,
    result: Inspection | None,
    before: str = "saving",
    folders: Sequence[str] | None = None,
) -> None:
    """The data are in place: in `folders`, or in the one that they were declared for.

    Raises: Gone when the image was deleted meanwhile.
    """
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
            folders=stores.column_of([declared.folder] if folders is None else folders),
            updated_at=moment(tx),
        )
    )
    if done.rowcount != 1:
        raise Gone(
            f"Image {declared.id} could not be found after upload. The image may have been deleted during the upload."
        )
    tx.changed("image", declared.id)


def give_back(tx: Tx, settings: Settings, declared: Declared) -> None:
    """Make the image queued again and remove its file, unless the upload was finished after all."""
    image_id = declared.id
    if tx.first(select(images.c.id).where(images.c.id == image_id, images.c.status.in_(WITH_DATA))) is not None:
        return
    path_of(settings, image_id, declared.folder).unlink(missing_ok=True)
    done = tx.execute(
        update(images)
        .where(images.c.id == image_id, images.c.status == "saving")
        .values(status="queued", updated_at=moment(tx))
    )
    if done.rowcount:
        tx.changed("image", image_id)

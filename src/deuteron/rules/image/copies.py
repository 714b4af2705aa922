"""A copy of an image's data is taken out of one store, and stays in the others.

The row says first that the store has none; then the file goes, if the store has not been given another copy meanwhile.
A crash in between leaves a file that no row names, which `data.bootstrap` removes.

Source: glance/api/v2/images.py `delete_from_store`.
"""

from __future__ import annotations

from pathlib import Path

from deuteron.model.errors import Conflict, Forbidden, NotFound
from deuteron.model.image_rows import ImageRow
from deuteron.model.settings import Settings
from deuteron.rules.image import data, images, stores
from deuteron.rules.image.stores import Store
from deuteron.store import query
from deuteron.store.database import Tx
from deuteron.store.image_tables import images as table


def take_out(tx: Tx, row: ImageRow, store: Store) -> None:
    """The store has the image's data no longer. Raises: Conflict, Forbidden for the only one, NotFound."""
    if row["status"] != "active":
        raise Conflict("It's not allowed to remove image data from store if image status is not 'active'")
    folders = stores.folders_of(row)
    if len(folders) == 1:
        raise Forbidden(
            "Cannot delete image data from the only store containing it. Consider deleting the image instead.",
            type="Forbidden",
        )
    if store.folder not in folders:
        raise NotFound(f"Image {row['id']} is not stored in store {store.name}.")
    kept = [folder for folder in folders if folder != store.folder]
    images.change(tx, row, {"folders": stores.column_of(kept)})


def set_aside(tx: Tx, settings: Settings, image_id: str, store: Store) -> Path | None:
    """The file that is to be deleted, under a name that nobody looks for; None if the store is to have it again.

    It is only renamed here, for deleting a large one takes its time.
    """
    row = query.row_by_id(tx, table, image_id)
    if row is not None:
        waiting = data.split(row["properties"].get(data.IMPORTING_PROPERTY))
        if store.name in waiting or store.folder in stores.folders_of(row):
            return None
        if row["properties"].get(data.TASK_PROPERTY) is not None:
            # It may have come there already, and be said so with the others of its task.
            return None
    aside = data.new_upload(settings, image_id, store.folder)
    try:
        data.path_of(settings, image_id, store.folder).rename(aside)
    except FileNotFoundError:
        return None
    return aside
